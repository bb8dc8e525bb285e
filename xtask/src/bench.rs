//! `cargo xtask bench`: what wrapwatch costs, beside other tools; the table of `docs/performance.md`.
//!
//! This builds; measuring is `wrapwatch-bench` in the tests' package, since it drives the lab.

use anyhow::Result;

use crate::{
    cli, demo,
    setup::{self, Purpose},
};

/// The command. Like the demo it does not come back when all goes well.
pub(crate) fn run(options: &cli::Bench) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab, Purpose::Bench])?;
    eprintln!("building …");
    demo::build(&["--release", "--quiet"])?;
    let mut args = Vec::new();
    for (name, given) in [("--quick", options.quick), ("--own", options.own), ("--json", options.json)] {
        if given {
            args.push(name.to_owned());
        }
    }
    for row in &options.only {
        args.extend(["--only".to_owned(), row.clone()]);
    }
    demo::become_root_program("release", "wrapwatch-bench", &args)
}
