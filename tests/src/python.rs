//! Exports as DuckDB and OpenTelemetry's own definitions read them: a few lines of Python, with packages that are only unpacked.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::lab::parts::unpacked;

/// Runs a script with these arguments (`sys.argv[1:]`), and gives what it prints: one JSON value.
pub fn python<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>) -> Result<serde_json::Value> {
    let mut command = Command::new("python3");
    // Times as they are, wherever this runs.
    command.env("PYTHONPATH", unpacked("python")?).env("TZ", "UTC").args(["-c", script]).args(args);
    let output = command.output().context("cannot run python3; run: cargo xtask setup")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
