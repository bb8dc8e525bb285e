//! What is seen with fewer privileges, on a locked-down kernel, and without what helps: each set tried on one client.
//!
//! The rows are those of the table in `docs/privileges.md`; `cargo xtask vm` compares what is found with what stands there.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use caps::Capability::{
    self, CAP_BPF, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_RESOURCE,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wrapwatch::{
    model::{DegradationKind, Outcome, QueryOutcome},
    probe,
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    watch::{Seen, Watch, binary},
};

use super::skipped;
use crate::{
    record::{Privileges, Record},
    report::{Report, Skipped},
    site::Site,
    user,
};

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const SEVERAL: usize = 5;
const BTF: &str = "/sys/kernel/btf";

/// One row.
struct Grant {
    /// In the table, and in the test's name.
    name: &'static str,
    /// An ordinary user with these; None: root.
    user: Option<&'static [Capability]>,
    /// `kernel.perf_event_paranoid`; Debian's 3 where nothing is said.
    paranoid: u8,
    /// Further arguments of `wrapwatch live`.
    args: &'static [&'static str],
    /// How the kernel is prepared.
    kernel: Kernel,
}

/// How the kernel is prepared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    AsItIs,
    /// Its types are hidden.
    WithoutBtf,
    /// Locked down to this; there is no way back, so these come last.
    Lockdown(&'static str),
}

const ROOT: Grant = Grant { name: "root", user: None, paranoid: 3, args: &[], kernel: Kernel::AsItIs };

const THREE: &[Capability] = &[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE];
const FOUR: &[Capability] = &[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_SYS_RESOURCE];
const READING: &[Capability] = &[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_SYS_RESOURCE];
const ADMIN: &[Capability] = &[CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_SYS_RESOURCE];

/// All of them, in order.
const GRANTS: [Grant; 10] = [
    Grant { name: "root, no BTF", kernel: Kernel::WithoutBtf, ..ROOT },
    Grant { name: "no capabilities", user: Some(&[]), ..ROOT },
    Grant { name: "BPF", user: Some(&[CAP_BPF]), ..ROOT },
    Grant { name: "BPF, PERFMON, SYS_PTRACE", user: Some(THREE), ..ROOT },
    Grant { name: "BPF, PERFMON, SYS_PTRACE, SYS_RESOURCE", user: Some(FOUR), ..ROOT },
    Grant {
        name: "these and DAC_READ_SEARCH, perf_event_paranoid=2",
        user: Some(READING),
        paranoid: 2,
        ..ROOT
    },
    Grant { name: "SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH, SYS_RESOURCE", user: Some(ADMIN), ..ROOT },
    Grant { name: "root, lockdown=integrity", kernel: Kernel::Lockdown("integrity"), ..ROOT },
    Grant { name: "root, lockdown=confidentiality", kernel: Kernel::Lockdown("confidentiality"), ..ROOT },
    Grant {
        name: "root, lockdown=confidentiality, --no-uprobes",
        kernel: Kernel::Lockdown("confidentiality"),
        args: &["--no-uprobes"],
        ..ROOT
    },
];

/// The tests.
pub(super) fn run(report: &mut Report, site: &Site) {
    for grant in &GRANTS {
        let mut found = None;
        report.test(&format!("privileges: {}", grant.name), || {
            let gives = found.insert(grant.prepared(|| grant.gives(site))?);
            ensure!(!gives.is_empty(), "nothing is said");
            Ok(())
        });
        if let Some(gives) = found {
            report.must_say(&Record::Privileges(Privileges { set: grant.name.to_owned(), gives }));
        }
    }
}

impl Grant {
    /// Does it with the kernel as it is to be.
    fn prepared<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.kernel {
            Kernel::AsItIs => {}
            Kernel::WithoutBtf => {
                mount(Some("tmpfs"), BTF, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                    .context("cannot hide BTF")?;
            }
            Kernel::Lockdown(level) => lock_down(level)?,
        }
        fs::write(PARANOID, self.paranoid.to_string()).with_context(|| PARANOID.to_owned())?;
        let result = work();
        if self.kernel == Kernel::WithoutBtf {
            umount2(BTF, MntFlags::MNT_DETACH)?;
        }
        result
    }

    /// What one client shows with it, in words; where the kernel leaves out calls, one of whom it left out nothing.
    fn gives(&self, site: &Site) -> Result<String> {
        for _ in 1..skipped::ROUNDS {
            let gives = self.tried(site)?;
            if gives.is_some() || !probe::raw_skips_calls() {
                return gives.context("no client");
            }
        }
        self.tried(site)?.context("no client of whom the kernel left out nothing")
    }

    /// None where nothing was told without doubt.
    fn tried(&self, site: &Site) -> Result<Option<String>> {
        let mut command = Command::new(binary()?);
        command.args(["live", "--json", "-p", &site.pid().to_string()]).args(self.args);
        if let Some(capabilities) = self.user {
            user::nobody_with(&mut command, capabilities);
        }
        let mut watch = match Watch::run(command) {
            Ok(watch) => watch,
            // Its own words, which have to name what is missing.
            Err(error) => return nothing(&error.to_string()).map(Some),
        };
        // One of several is seen whole also where the kernel leaves out calls.
        let clients =
            site.clients(&ClientsSpec::one_by_one(if probe::raw_skips_calls() { SEVERAL } else { 1 }))?;
        let waited = watch.wait_connections(1);
        let seen = watch.stop()?;
        if skipped::happened(&seen) {
            let undoubted = skipped::undoubted(&seen, &clients)?;
            let source = undoubted.first().and_then(|client| client.source);
            return source.map(|source| judge(&seen, &source.to_string())).transpose();
        }
        if let Err(error) = waited {
            bail!("{error:#}; it ended with {:?}: {}", seen.status, seen.stderr.trim());
        }
        let source = clients.first().and_then(|client| client.source).context("a client has no address")?;
        judge(&seen, &source.to_string()).map(Some)
    }
}

fn lock_down(level: &str) -> Result<()> {
    let now = fs::read_to_string(LOCKDOWN)
        .map_err(|error| Skipped(format!("this kernel cannot be locked down: {LOCKDOWN}: {error}")))?;
    if now.contains(&format!("[{level}]")) {
        return Ok(());
    }
    fs::write(LOCKDOWN, level).with_context(|| format!("cannot lock the kernel down to {level}"))
}

/// A refusal: one line, which says what is missing.
fn nothing(said: &str) -> Result<String> {
    let line = said.lines().find_map(|line| line.split_once("wrapwatch: ")).map(|(_, line)| line);
    let line = line.with_context(|| format!("no line of wrapwatch's: {said:?}"))?;
    let clear = ["CAP_", "lockdown", "perf_event_paranoid"].iter().any(|word| line.contains(word));
    ensure!(clear, "does not say what is missing: {line}");
    Ok("nothing".to_owned())
}

/// What is seen of a connection that has to be told rightly, whatever is missing.
fn judge(seen: &Seen, peer: &str) -> Result<String> {
    let peers = || seen.connections().into_iter().map(|c| (c.conn, c.peer)).collect::<Vec<_>>();
    let connection = seen.of(peer).with_context(|| format!("told of {:?}", peers()))?;
    ensure!(connection.outcome == Outcome::Greeted, "told as {:?}", connection.outcome);
    let mut lost: Vec<String> = seen.degradations().iter().map(|told| name(told.kind)).collect();
    let answered = connection.lookups.iter().flat_map(|lookup| &lookup.queries);
    let answered = answered.filter(|query| query.outcome == QueryOutcome::Answered).count();
    ensure!(answered == 2, "the queries: {:?}", connection.lookups);
    for (there, what) in [
        (connection.queued_ns.is_some(), "wait in the queue"),
        (connection.rule.as_ref().is_some_and(|rule| rule.line == 1), "rule"),
        (connection.rule.as_ref().is_some_and(|rule| rule.text.is_some()), "rule's text"),
        (connection.peer.is_some(), "client"),
    ] {
        if !there {
            lost.push(what.to_owned());
        }
    }
    ensure!(
        connection.complete || !lost.is_empty(),
        "incomplete, and nothing said: {:?}",
        connection.missing
    );
    lost.sort();
    lost.dedup();
    Ok(if lost.is_empty() { "everything".to_owned() } else { format!("all but: {}", lost.join(", ")) })
}

/// As JSON has it, without the `no-`.
fn name(kind: DegradationKind) -> String {
    let name = serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(ToOwned::to_owned));
    let name = name.unwrap_or_default();
    name.strip_prefix("no-").unwrap_or(&name).replace('-', " ")
}
