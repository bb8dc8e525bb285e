//! Captures as tshark reads them: what the kernel side saw is compared with somebody else's idea of it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The fields (tshark's names) of all packets that match the display filter, in the order of the capture.
/// Booleans are `0` and `1`, whatever this tshark prints; a field that a packet has not is empty.
pub fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-n", "-T", "fields", "-Y", filter]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().context("cannot run tshark; run: cargo xtask setup")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark cannot read {}: {}", capture.display(), errors.trim());
    let value = |text: &str| match text {
        "False" => "0".to_owned(),
        "True" => "1".to_owned(),
        other => other.to_owned(),
    };
    let text = String::from_utf8(output.stdout).context("tshark printed what is not UTF-8")?;
    Ok(text.lines().map(|line| line.split('\t').map(value).collect()).collect())
}
