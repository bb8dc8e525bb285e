//! One check's lookups by the real glibc, or the check by the real libwrap, in a process and namespaces of their own.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wrapwatch_differential::check::{Check, Checked};
use wrapwatch_differential::resolver::{Question, Timing};

/// Asks glibc.
pub fn measure(question: &Question) -> Result<Timing, String> {
    ask(env!("CARGO_BIN_EXE_resolve-once"), question)
}

/// Has libwrap check.
pub fn check(check: &Check) -> Result<Checked, String> {
    ask(env!("CARGO_BIN_EXE_check-once"), check)
}

fn ask<Answer: DeserializeOwned>(program: &str, question: &impl Serialize) -> Result<Answer, String> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let input = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    child.stdin.take().expect("a pipe").write_all(&input).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}
