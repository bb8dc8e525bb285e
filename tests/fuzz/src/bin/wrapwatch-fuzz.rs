//! The targets with libFuzzer as driver; `WRAPWATCH_FUZZ_TARGET` names the one. Built and run by `cargo xtask fuzz`.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use wrapwatch_fuzz::TARGETS;

/// Names the target.
const VARIABLE: &str = "WRAPWATCH_FUZZ_TARGET";

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn target() -> fn(&[u8]) {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let Some((_, run)) = TARGETS.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("{VARIABLE} is none of: {}", names.join(", "));
        std::process::exit(2);
    };
    *run
}

fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(target)(bytes));
