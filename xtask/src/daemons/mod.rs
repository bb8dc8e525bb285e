//! `cargo xtask daemons`: whether wrapwatch tells the truth of real daemons.
//!
//! This fetches their packages and builds; running and judging is `wrapwatch-daemons` in the tests' package, since it drives the lab. What a daemon is
//! stands in `tests/daemons/NAME.toml`.

mod packages;

use anyhow::Result;

use crate::{
    cli, demo,
    setup::{self, Purpose},
};

/// The command. Like the demo it does not come back when all goes well.
pub(crate) fn run(options: &cli::Daemons) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    packages::ensure()?;
    eprintln!("building …");
    demo::build(&["--quiet"])?;
    let json = options.json.then(|| "--json".to_owned());
    let args: Vec<String> = json.into_iter().chain(options.names.iter().cloned()).collect();
    demo::become_root_program("debug", "wrapwatch-daemons", &args)
}
