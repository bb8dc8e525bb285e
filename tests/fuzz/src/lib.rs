//! Fuzz targets: each takes any bytes, does with them what wrapwatch would, and panics where that breaks a promise.
//!
//! Two drivers run them: `cargo xtask fuzz` links libFuzzer, which looks for inputs that reach new code; and `tests/corpus.rs`, part of
//! `cargo xtask test`, runs what is committed in `corpus/TARGET` and small changes of it. An input that once broke something
//! is committed there too, as `found-…`.

pub mod dns;
pub mod elf;
pub mod proc;
pub mod record;
pub mod rules;
pub mod strace;
pub mod trace;

/// A target: a name and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("record", record::run),
    ("dns", dns::run),
    ("trace", trace::run),
    ("strace", strace::run),
    ("rules", rules::run),
    ("elf", elf::run),
    ("proc", proc::run),
];

/// What is printed on a terminal must hold nothing that commands one.
fn assert_harmless(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(bad.is_none(), "{bad:?} in {text:?}");
}
