//! `cargo xtask soak`: something for a long time, under a storm, while everything changes around it.
//!
//! This builds; running and judging is done by programs of the tests' package: `wrapwatch-soak` drives the lab, `wrapwatch-bench` makes connections by itself.

use anyhow::Result;

use crate::{
    cli::{self, Soaked},
    demo,
    setup::{self, Purpose},
};

/// The command. Like the demo it does not come back when all goes well.
pub(crate) fn run(options: &cli::Soak) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    eprintln!("building …");
    demo::build(&["--release", "--quiet"])?;
    let (program, what) = match options.what {
        Soaked::Recorder => ("wrapwatch-soak", "recorder"),
        Soaked::Publish => ("wrapwatch-bench", "--soak"),
    };
    demo::become_root_program("release", program, &[what.to_owned(), options.time.to_string()])
}
