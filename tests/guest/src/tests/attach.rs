//! Every probe, loaded and attached by itself, as `wrapwatch doctor` tries them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::doctor::{Doctor, HookKind, HookState};
use wrapwatch_tests::watch::binary;

use super::has_trampolines;
use crate::{report::Report, site::Site};

/// The tests.
pub(super) fn run(report: &mut Report, site: &Site) {
    report.test("every probe", || {
        let doctor = doctor(site.pid())?;
        ensure!(!doctor.hooks.is_empty(), "no hooks");
        let refused: Vec<String> = doctor
            .hooks
            .iter()
            .filter(|hook| !matches!(hook.state, HookState::Works | HookState::Absent))
            .filter(|hook| hook.kind != HookKind::Trampoline || has_trampolines())
            .map(|hook| format!("{} {:?}: {}", hook.name, hook.state, hook.error.as_deref().unwrap_or("-")))
            .collect();
        ensure!(refused.is_empty(), "{}", refused.join("; "));
        let absent: Vec<&str> = doctor
            .hooks
            .iter()
            .filter(|hook| hook.state == HookState::Absent && hook.required)
            .map(|hook| hook.name.as_str())
            .collect();
        ensure!(absent.is_empty(), "not on this kernel, but required: {}", absent.join(", "));
        Ok(())
    });
}

/// What `wrapwatch doctor --json` says of a process.
fn doctor(pid: u32) -> Result<Doctor> {
    let output = Command::new(binary()?)
        .args(["doctor", "--json", "--no-queries", "-p", &pid.to_string()])
        .output()
        .context("cannot run wrapwatch")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "doctor failed: {}", stderr.trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("not doctor's JSON; stderr: {stderr}"))
}
