//! Running other programs, and saying so.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{toolchain, workspace};

/// Cargo, in the workspace, without what `cargo run` told this program about itself: a nested cargo would take it for
/// a change and build again.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.args(args).current_dir(workspace::root()?).stdin(Stdio::null());
    Ok(command)
}

/// The command as one would type it.
pub(crate) fn display(command: &Command) -> String {
    let quoted = |text: &OsStr| {
        let text = text.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@~%".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{text}'") }
    };
    let program = PathBuf::from(command.get_program());
    // `/home/me/.rustup/toolchains/…/bin/cargo` is `cargo` to everybody.
    let is_cargo = program.file_name() == Some(OsStr::new("cargo"));
    let program = if is_cargo { "cargo".into() } else { quoted(program.as_os_str()) };
    let environment = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(value)))
    });
    environment.chain([program]).chain(command.get_args().map(quoted)).collect::<Vec<_>>().join(" ")
}

/// Runs it; anything but success is an error that quotes it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", display(command)))?;
    if !status.success() {
        bail!("failed ({status}): {}", display(command));
    }
    Ok(())
}

/// Runs it and gives its stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", display(command)))?;
    if !output.status.success() {
        bail!("failed ({}): {}", output.status, display(command));
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: output of {}", display(command)))
}

/// Its stdout if it is there and succeeds; silent if not. For looking whether something is installed.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command
        // Looking must not download a toolchain.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How many things at once that keep a processor busy.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    probe(Command::new("id").arg("-u")).is_some_and(|uid| uid == "0")
}

/// What to put before a command so that it runs as root: nothing, or sudo. None where there is no way.
pub(crate) fn root_prefix() -> Option<&'static [&'static str]> {
    if is_root() {
        Some(&[])
    } else if toolchain::on_path("sudo").is_empty() {
        None
    } else {
        Some(&["sudo"])
    }
}
