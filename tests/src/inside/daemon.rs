//! Any other server: a program that runs in the server's namespaces as long as the lab does.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::files::HOME;
use super::namespaces::Namespaces;
use crate::lab::Namespace;

/// File within [`HOME`] with what daemons print.
pub(super) const LOG: &str = "daemon.log";

/// Starts it; gives its process id as seen from outside. A thread waits for its end, so that it never stays as a zombie.
pub(super) fn start(namespaces: &Namespaces, argv: &[String]) -> Result<u32> {
    let (program, arguments) = argv.split_first().context("no program")?;
    let log = File::options().create(true).append(true).open(Path::new(HOME).join(LOG))?;
    let mut command = namespaces.command(Namespace::Server, program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let (mut child, outer_pid) = namespaces.spawn(command)?;
    std::thread::Builder::new().name("daemon's end".into()).spawn(move || child.wait())?;
    Ok(outer_pid)
}
