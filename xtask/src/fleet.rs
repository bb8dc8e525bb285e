//! `cargo xtask fleet`: the questions of docs/fleet.md over many made-up hosts, in DuckDB and in ClickHouse, with what they take. The test is in `tests/tests/exports/fleet.rs`; this
//! fetches ClickHouse, as a library, and builds.

use std::process::Command;

use anyhow::Result;

use crate::{
    cli, demo,
    process::{cargo, run as run_command},
    setup::{self, Purpose, parts_directory},
    workspace,
};

/// ClickHouse as a library, from Python's package index: half a gigabyte, which is why not everybody gets it.
const CHDB: &str = "chdb-core==26.9.0";
/// The test.
const TEST: &str = "fleet::clickhouse_answers_as_duckdb_does";

/// The command.
pub(crate) fn run(options: &cli::Fleet) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    let chdb = parts_directory().join("chdb");
    if !chdb.join("chdb").exists() {
        eprintln!("unpacking {CHDB} …");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
        run_command(pip.arg(chdb).arg(CHDB).env("PIP_ROOT_USER_ACTION", "ignore"))?;
    }
    eprintln!("building …");
    demo::build(&["--release", "--quiet"])?;
    let mut test =
        cargo(&["test", "--locked", "--release", "--quiet", "-p", "wrapwatch-tests", "--test", "exports"])?;
    test.args(["--", "--exact", TEST, "--ignored", "--nocapture"]).env("WRAPWATCH_FLEET", &options.size);
    for (name, path) in workspace::artefacts(&workspace::target_dir()?.join("release")) {
        test.env(name, path);
    }
    run_command(&mut test)
}
