//! `cargo xtask soak`: recorder and `publish` for long, see `tests/src/bench/soak.rs`. This builds.

use anyhow::Result;

use crate::{
    cli, demo,
    setup::{self, Purpose},
};

/// The command. Like the demo it does not come back when all goes well.
pub(crate) fn run(options: &cli::Soak) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    eprintln!("building …");
    demo::build(&["--release", "--quiet"])?;
    let args = ["--soak".to_owned(), options.time.to_string()];
    demo::become_root_program("release", "wrapwatch-bench", &args)
}
