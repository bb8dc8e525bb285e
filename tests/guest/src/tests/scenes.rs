//! The lab's main scenarios against the stand-in server, all in one recording for each way of attaching: attaching takes most of the time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use wrapwatch::{
    model::{
        COMPUTING_MAX_NS, Connection, DegradationKind, LookupKind, LookupOutcome, Missing, Outcome,
        QueryOutcome, StallCause,
    },
    probe::raw_skips_calls,
};
use wrapwatch_tests::{
    clients::{self, ClientResult, ClientsSpec},
    nameserver::Rule,
    watch::{Seen, Watch, binary},
};

use super::{given, has_trampolines, programs, skipped};
use crate::{
    record::Record,
    report::{Report, Skipped},
    site::{self, NS1, NS2, Site},
};

const MS: u64 = 1_000_000;
/// How much later the slow nameserver answers.
const SLOW_MS: u64 = 150;
/// Clients of the scene without any trouble.
const FAST: usize = 20;

/// A way of attaching.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// In the tests' names.
    name: &'static str,
    /// Further arguments of `wrapwatch record`.
    args: &'static [&'static str],
}

impl Way {
    /// All of them. With what is not on by itself, so that this kernel's verifier sees it.
    pub(super) const ALL: [Self; 4] = [
        Self { name: "raw", args: Self::RAW_ARGS },
        Self { name: "tracepoint", args: &["--hooks", "tracepoint", "--logins"] },
        Self { name: "trampoline", args: Self::TRAMPOLINE_ARGS },
        Self { name: "no-uprobes", args: Self::NO_UPROBES_ARGS },
    ];

    const NO_UPROBES_ARGS: &'static [&'static str] = &["--no-uprobes"];
    const TRAMPOLINE_ARGS: &'static [&'static str] = &["--hooks", "trampoline", "--logins"];

    const RAW_ARGS: &'static [&'static str] = &["--hooks", "raw", "--logins"];

    /// The first.
    pub(super) const RAW: &'static [Self] = &[Self::ALL[0]];
}

/// Everything that one recording brought.
struct Run {
    way: Way,
    /// What was told while it went on.
    seen: Seen,
    file: PathBuf,
    fast: Vec<ClientResult>,
    slow: Vec<ClientResult>,
    dead: Vec<ClientResult>,
    refused: Vec<ClientResult>,
    /// What the verifier went through.
    programs: Vec<Record>,
}

/// What judges a run.
type Check = fn(&Run) -> Result<()>;

/// The tests of each way, by what their names end with.
const CHECKS: [(&str, Check); 7] = [
    ("fast", fast),
    ("slow", slow),
    ("first server dead", first_server_dead),
    ("refused", refused),
    ("accepts add up", accepts_add_up),
    ("degradations", degradations),
    ("report", report_tells_the_same),
];

/// The tests.
pub(super) fn run(report: &mut Report, site: &Site, ways: &[Way]) {
    for way in ways {
        if way.args == Way::RAW_ARGS && raw_skips_calls() {
            only_attach(report, site, way);
            continue;
        }
        if way.args == Way::TRAMPOLINE_ARGS && !has_trampolines() {
            report.test("trampolines: not here", || is_refused(site, way));
            continue;
        }
        let mut made = None;
        report.test(&format!("{}: record", way.name), || {
            let run = made.insert(record(site, way));
            given(run).map(|_| ())
        });
        let Some(made) = made else { continue };
        if let Ok(run) = &made {
            run.programs.iter().for_each(|program| report.must_say(program));
        }
        for (name, check) in CHECKS {
            let name = format!("{}: {name}", way.name);
            report.begin(&name);
            let began = Instant::now();
            let result = match &made {
                Ok(run) => check(run),
                Err(_) => Err(anyhow::anyhow!("there is no recording")),
            };
            report.ended(&name, began, result);
        }
    }
}

/// On a kernel that has no trampolines, or not all that they need: one line says so.
fn is_refused(site: &Site, way: &Way) -> Result<()> {
    let file = Path::new("/tmp/refused.wwt");
    let Err(error) = Watch::record(site.pid(), file, way.args) else { bail!("it was not refused") };
    let said = format!("{error:#}");
    ensure!(said.contains("fentry") || said.contains("fexit") || said.contains("trampolines"), "{said}");
    ensure!(!file.exists(), "it left a file");
    Ok(())
}

/// On a kernel that leaves out calls on raw tracepoints: what is told there is no test, but that they attach and what is said of it is.
fn only_attach(report: &mut Report, site: &Site, way: &Way) {
    let mut loaded = Vec::new();
    report.test(&format!("{}: record", way.name), || {
        let file = Path::new("/tmp").join(format!("{}.wwt", way.name));
        programs::wait_gone()?;
        let watch = Watch::record(site.pid(), &file, way.args)?;
        loaded = programs::loaded(way.name)?;
        let seen = watch.stop()?;
        ensure!(seen.status == Some(0), "wrapwatch ended with {:?}: {}", seen.status, seen.stderr.trim());
        let kinds: Vec<DegradationKind> = seen.degradations().iter().map(|told| told.kind).collect();
        ensure!(kinds == [DegradationKind::SkippedCalls], "told {kinds:?}");
        Ok(())
    });
    loaded.iter().for_each(|program| report.must_say(program));
    for (name, _) in CHECKS {
        report.test(&format!("{}: {name}", way.name), || {
            Err(Skipped("this kernel leaves out calls on raw tracepoints".to_owned()).into())
        });
    }
}

/// Records all four scenes; where the kernel leaves out calls, again, until something is told without doubt of one of those that come one after another.
fn record(site: &Site, way: &Way) -> Result<Run> {
    for _ in 1..skipped::ROUNDS {
        let run = record_once(site, way)?;
        if !raw_skips_calls() || !skipped::undoubted(&run.seen, &run.fast)?.is_empty() {
            return Ok(run);
        }
        // A recording never takes the place of another.
        fs::remove_file(&run.file).with_context(|| run.file.display().to_string())?;
    }
    record_once(site, way)
}

fn record_once(site: &Site, way: &Way) -> Result<Run> {
    site::tables(site::ALLOW, site::DENY)?;
    site.rules([])?;
    let run = recorded(site, way);
    // Whatever became of it, the tests to come find the site as they expect it.
    site.rules([])?;
    site::tables(site::ALLOW, site::DENY)?;
    run
}

fn recorded(site: &Site, way: &Way) -> Result<Run> {
    let file = Path::new("/tmp").join(format!("{}.wwt", way.name));
    programs::wait_gone()?;
    let mut watch = Watch::record(site.pid(), &file, way.args)?;
    let programs = programs::loaded(way.name)?;
    let fast = site.clients(&ClientsSpec { concurrency: 4, ..ClientsSpec::one_by_one(FAST) })?;
    site.rules([Rule::delay(SLOW_MS)])?;
    let slow = site.clients(&ClientsSpec::at_once(3))?;
    site.rules([Rule::silent().at(NS1)])?;
    let dead = site.clients(&ClientsSpec::one_by_one(1))?;
    site.rules([])?;
    site::tables("ALL: 10.99.\n", "# nobody\nALL: ALL\n")?;
    let refused = site.clients(&ClientsSpec::at_once(2))?;
    let all = fast.len() + slow.len() + dead.len() + refused.len();
    let waited = watch.wait_connections_unless(all, skipped::says_so);
    let seen = watch.stop()?;
    if let Err(error) = waited
        && !skipped::happened(&seen)
    {
        let told = seen.connections().len();
        bail!("{error:#}: told of {told} of {all}: {:?}: {}", seen.summary(), seen.stderr.trim());
    }
    ensure!(seen.status == Some(0), "wrapwatch ended with {:?}: {}", seen.status, seen.stderr.trim());
    Ok(Run { way: *way, seen, file, fast, slow, dead, refused, programs })
}

/// The connection of a client, with everything that holds in every scene.
fn of<'a>(run: &'a Run, client: &ClientResult) -> Result<&'a Connection> {
    let source = client.source.context("a client has no address")?;
    let peers = || run.seen.connections().into_iter().map(|c| (c.conn, c.peer)).collect::<Vec<_>>();
    let connection = run.seen.of(&source.to_string()).with_context(|| format!("told of {:?}", peers()))?;
    ensure!(connection.complete, "not all of {source} was seen: {:?}", connection.missing);
    ensure!(connection.queued_ns.is_some(), "the wait of {source} in the accept queue was not seen");
    let (parts, check) = (connection.parts.total(), connection.wrapper_ns);
    ensure!(parts == check, "the check of {source} took {check} ns, its parts {parts} ns");
    Ok(connection)
}

fn greeted<'a>(run: &'a Run, client: &ClientResult) -> Result<&'a Connection> {
    ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
    let connection = of(run, client)?;
    ensure!(connection.outcome == Outcome::Greeted, "greeted, but told as {:?}", connection.outcome);
    let rule = connection.rule.as_ref().context("no rule asked for the lookup")?;
    ensure!((&*rule.file, rule.line) == ("/etc/hosts.allow", 1), "the wrong rule: {rule:?}");
    ensure!(rule.text.as_deref() == Some("ALL: .lab.example"), "the wrong text: {rule:?}");
    Ok(connection)
}

/// Servers and outcomes of a lookup's queries.
fn queries(connection: &Connection, kind: LookupKind) -> Result<Vec<(String, QueryOutcome)>> {
    let lookup = connection.lookups.iter().find(|lookup| lookup.kind == kind);
    let lookup = lookup.with_context(|| format!("no {kind:?} lookup: {:?}", connection.lookups))?;
    ensure!(lookup.outcome == LookupOutcome::Found, "the {kind:?} lookup is {:?}", lookup.outcome);
    Ok(lookup.queries.iter().map(|query| (query.server.to_string(), query.outcome)).collect())
}

fn fast(run: &Run) -> Result<()> {
    ensure!(run.fast.len() == FAST, "{} clients", run.fast.len());
    let undoubted = skipped::undoubted(&run.seen, &run.fast)?;
    ensure!(!undoubted.is_empty(), "the kernel left out calls at each of {} connections", run.fast.len());
    for client in undoubted {
        let connection = greeted(run, client)?;
        for kind in [LookupKind::Reverse, LookupKind::Forward] {
            let asked = queries(connection, kind)?;
            ensure!(asked == [(format!("{NS1}:53"), QueryOutcome::Answered)], "{kind:?}: {asked:?}");
        }
    }
    Ok(())
}

fn slow(run: &Run) -> Result<()> {
    let (mut behind, mut most) = (0, 0);
    for client in skipped::undoubted(&run.seen, &run.slow)? {
        let connection = greeted(run, client)?;
        // Two lookups, each that much later; what the thread then waited for a processor is nobody's. On a busy machine a sleep may be taken for such a wait
        // (see `correlate::cpu`): where nobody could look whether it slept.
        let off_cpu = connection.blame.iter().filter(|blame| blame.cause == StallCause::OffCpu);
        let off_cpu: u64 = off_cpu.map(|blame| blame.own_ns).sum();
        let (dns, check) = (connection.parts.dns_ns, connection.wrapper_ns);
        most = most.max(dns);
        ensure!(
            dns + off_cpu >= 2 * SLOW_MS * MS,
            "{dns} ns of DNS and {off_cpu} without a processor in {check} ns: {:?}; {:?}",
            connection.parts,
            connection.lookups
        );
        let rtts =
            connection.lookups.iter().flat_map(|lookup| &lookup.queries).filter_map(|query| query.rtt_ns);
        ensure!(rtts.clone().count() == 2, "not two answers: {:?}", connection.lookups);
        for rtt in rtts {
            ensure!(rtt >= SLOW_MS * MS, "a round trip of {rtt} ns");
        }
        behind += usize::from(connection.queued_behind_count > 0);
    }
    let told = skipped::undoubted(&run.seen, &run.slow)?.len();
    ensure!(told == 0 || most >= SLOW_MS * MS, "at most {most} ns of DNS");
    // They came together, and one thread accepts.
    let whole = told == run.slow.len();
    ensure!(!whole || behind == run.slow.len() - 1, "{behind} were queued behind another");
    Ok(())
}

fn first_server_dead(run: &Run) -> Result<()> {
    for client in skipped::undoubted(&run.seen, &run.dead)? {
        let connection = greeted(run, client)?;
        for kind in [LookupKind::Reverse, LookupKind::Forward] {
            let asked = queries(connection, kind)?;
            let wanted =
                [(format!("{NS1}:53"), QueryOutcome::Timeout), (format!("{NS2}:53"), QueryOutcome::Answered)];
            ensure!(asked == wanted, "{kind:?}: {asked:?}");
        }
        // resolv.conf says three seconds, and there are two lookups.
        ensure!(connection.wrapper_ns >= 6000 * MS, "a check of {} ns", connection.wrapper_ns);
    }
    Ok(())
}

fn refused(run: &Run) -> Result<()> {
    for client in skipped::undoubted(&run.seen, &run.refused)? {
        ensure!(client.outcome == clients::Outcome::Closed, "a refused client saw {:?}", client.outcome);
        if was_closed_late(run, client)? {
            continue;
        }
        let connection = of(run, client)?;
        ensure!(connection.outcome == Outcome::Refused, "refused, but told as {:?}", connection.outcome);
        let rule = connection.verdict_rule.as_ref().context("no rule refused it")?;
        ensure!((&*rule.file, rule.line) == ("/etc/hosts.deny", 2), "the wrong rule: {rule:?}");
    }
    Ok(())
}

/// Without uprobes one that is not closed at once may have been kept for something else, as wrapwatch says: on a busy machine one comes about now and then.
fn was_closed_late(run: &Run, client: &ClientResult) -> Result<bool> {
    let connection = run.seen.of(&client.source.context("a client has no address")?.to_string())?;
    let known = connection.queued_ns.unwrap_or(0) + connection.wrapper_ns;
    let after = connection.total_ns.unwrap_or(0).saturating_sub(known);
    let says_so = connection.missing == [Missing::ChecksUnseen];
    Ok(run.way.args == Way::NO_UPROBES_ARGS && says_so && after > COMPUTING_MAX_NS)
}

/// The kernel side counts accepts beside the ring: each is told of, or told lost.
fn accepts_add_up(run: &Run) -> Result<()> {
    let summary = run.seen.summary()?;
    let clients = run.fast.len() + run.slow.len() + run.dead.len() + run.refused.len();
    let told = run.seen.connections().len();
    let made = summary.connections + summary.lost_accepts;
    ensure!(summary.accepts == made, "{} accepts, but {made} told or lost", summary.accepts);
    ensure!(summary.connections == told as u64, "{} in the summary, {told} told", summary.connections);
    let all =
        summary.accepts == clients as u64 || skipped::happened(&run.seen) && summary.accepts < clients as u64;
    ensure!(all, "{} accepts of {clients} clients", summary.accepts);
    // Nobody else attaches here: what the way to the programs takes was measured.
    let server =
        summary.cost.and_then(|cost| cost.server).context("what the server pays was not measured")?;
    ensure!(server.way_ns_per_run > 0.0 && server.way_ns_per_run < server.ns_per_run, "{server:?}");
    Ok(())
}

/// What cannot be seen is said, and nothing else is.
fn degradations(run: &Run) -> Result<()> {
    let kinds: Vec<DegradationKind> = run.seen.degradations().iter().map(|told| told.kind).collect();
    // Some kernels have no tracepoint for errors of UDP sockets.
    let old = !Path::new("/sys/kernel/tracing/events/sock/inet_sk_error_report").exists();
    let mut wanted = if old { vec![DegradationKind::NoHook] } else { Vec::new() };
    if run.way.args == Way::NO_UPROBES_ARGS {
        // The only one that leaves the choice of hooks open.
        // The stand-in server is not called mysqld: it may have its clients checked by others.
        wanted.extend([DegradationKind::NoUprobes, DegradationKind::ChecksUnseen]);
    }
    ensure!(kinds == wanted, "told {kinds:?}, not {wanted:?}");
    Ok(())
}

/// The trace tells later what was told then.
fn report_tells_the_same(run: &Run) -> Result<()> {
    let output = Command::new(binary()?).args(["report", "--json"]).arg(&run.file).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "report failed: {}", stderr.trim());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let summary = report.get("summary").context("no summary")?;
    let told = run.seen.summary()?;
    for (name, wanted) in
        [("connections", told.connections), ("accepts", told.accepts), ("incomplete", told.incomplete)]
    {
        let found = summary.get(name).and_then(serde_json::Value::as_u64);
        ensure!(found == Some(wanted), "{name}: {found:?}, told as {wanted}");
    }
    let findings = report.get("findings").and_then(serde_json::Value::as_array).context("no findings")?;
    let ids: Vec<&str> = findings.iter().filter_map(|finding| finding.get("id")?.as_str()).collect();
    if !ids.contains(&"dns-in-accept-path") {
        bail!("dns-in-accept-path is not among the findings: {ids:?}");
    }
    Ok(())
}
