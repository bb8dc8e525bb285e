//! The file that users get in a root that has nothing else: no libraries, no /etc, no shell.

use std::{fs, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};
use wrapwatch::model::Outcome;
use wrapwatch_tests::{
    clients::ClientsSpec,
    watch::{Watch, binary},
};

use super::skipped;
use crate::{report::Report, site::Site};

const ROOT: &str = "/run/bare";
/// Of one of these the kernel leaves out nothing.
const SEVERAL: usize = 5;

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    report.test("in a bare root", || {
        let root = Path::new(ROOT);
        for (kind, place) in [("proc", "proc"), ("sysfs", "sys")] {
            let place = root.join(place);
            fs::create_dir_all(&place)?;
            mount(Some(kind), &place, Some(kind), MsFlags::empty(), None::<&str>)
                .with_context(|| format!("cannot mount {kind} in the bare root"))?;
        }
        fs::copy(binary()?, root.join("wrapwatch"))?;
        let output = inside(&["--version"]).output()?;
        ensure!(output.status.success(), "it does not run: {}", String::from_utf8_lossy(&output.stderr));
        let pid = site.pid().to_string();
        let start = || Watch::run(inside(&["live", "--json", "-p", &pid]));
        let (seen, clients) = skipped::watched(start, || site.clients(&ClientsSpec::one_by_one(SEVERAL)))?;
        let first = skipped::undoubted(&seen, &clients)?.first().and_then(|client| client.source);
        let source = first.context("no client")?;
        let connection = seen.of(&source.to_string())?;
        ensure!(connection.outcome == Outcome::Greeted, "told as {connection:?}");
        let rule = connection.rule.as_ref().context("no rule")?;
        ensure!(rule.text.is_some(), "the rule's text is not there: {rule:?}");
        Ok(())
    });
}

/// wrapwatch in that root.
fn inside(args: &[&str]) -> Command {
    let mut command = Command::new("/wrapwatch");
    command.args(args);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            chroot(ROOT)?;
            chdir("/").map_err(io::Error::from)
        })
    };
    command
}
