//! Two reports compared: did the fix work. What differs in percentiles, nameservers, files, findings, and whether the two can be compared at all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::Context as Facts;
use crate::model::{FindingId, NameserverStats, Nanos, Percentiles, Scenario, Severity, Share, Summary};
use crate::trace::SnapshotRole;

use super::{Report, rate};

/// Fewer connections have no percentiles to speak of.
const FEW: u64 = 20;
/// Most lines told of a file's change, each way.
const LINES_MAX: usize = 50;

/// One duration, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpreadChange {
    /// `queued`, `wrapper`, `dns`, `greeting`, `total`, as in a summary.
    pub name: String,
    /// Before.
    pub before: Percentiles,
    /// After.
    pub after: Percentiles,
}

/// One nameserver, before and after; null where it was not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameserverChange {
    /// `address:port`.
    pub server: String,
    /// Before.
    pub before: Option<NameserverStats>,
    /// After.
    pub after: Option<NameserverStats>,
}

/// A table or resolver file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// Lines that are gone.
    pub removed: Vec<String>,
    /// Lines that came.
    pub added: Vec<String>,
    /// The same lines in another order.
    pub reordered: bool,
}

/// One kind of finding, before and after; null where it was not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingChange {
    /// Which.
    pub id: FindingId,
    /// How bad before.
    pub before: Option<Severity>,
    /// How bad after.
    pub after: Option<Severity>,
    /// What was said last of it: after, or before where it is gone.
    pub message: String,
}

/// `diff --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// One or two sentences for a person.
    pub verdict: String,
    /// Why the two should not be compared, or how far; empty: nothing speaks against it.
    pub caveats: Vec<String>,
    /// Connections before and after.
    pub connections: [u64; 2],
    /// Connections a second that the accept thread can check, before and after.
    pub ceiling_per_s: [Option<f64>; 2],
    /// Durations.
    pub percentiles: Vec<SpreadChange>,
    /// Nameservers.
    pub nameservers: Vec<NameserverChange>,
    /// Tables and resolver files that differ.
    pub files: Vec<FileChange>,
    /// Findings that came, went, or changed in severity; then those that stayed.
    pub findings: Vec<FindingChange>,
}

/// Compares two traces' reports; `facts` of each for their files.
pub fn diff(before: (&Report, &Facts), after: (&Report, &Facts)) -> Diff {
    let (b, a) = (before.0, after.0);
    let caveats = caveats(b, a);
    let ceiling_per_s = [ceiling(b), ceiling(a)];
    Diff {
        verdict: verdict(&b.summary, &a.summary, ceiling_per_s),
        caveats,
        connections: [b.summary.connections, a.summary.connections],
        ceiling_per_s,
        percentiles: percentiles(&b.summary, &a.summary),
        nameservers: nameservers(&b.summary, &a.summary),
        files: files(before.1, after.1),
        findings: findings(b, a),
    }
}

fn ceiling(report: &Report) -> Option<f64> {
    report.what_if.iter().find(|row| row.scenario == Scenario::AsItWas).and_then(|row| row.ceiling_per_s)
}

fn verdict(before: &Summary, after: &Summary, ceilings: [Option<f64>; 2]) -> String {
    let (b, a) = (&before.total, &after.total);
    if b.count == 0 || a.count == 0 {
        return "One of the two has no connection to compare.".to_owned();
    }
    let word = |before: u64, after: u64| match (before, after) {
        (b, a) if a.saturating_mul(10) < b.saturating_mul(9) => "shorter",
        (b, a) if a.saturating_mul(9) > b.saturating_mul(10) => "longer",
        _ => "the same",
    };
    let mut text = format!(
        "Clients' waits are {}: half of them {} or less before and {} after, 99 % {} before and {} after.",
        word(b.p50_ns, a.p50_ns),
        Nanos(b.p50_ns),
        Nanos(a.p50_ns),
        Nanos(b.p99_ns),
        Nanos(a.p99_ns)
    );
    if let [Some(before), Some(after)] = ceilings {
        text += &format!(
            " The accept thread can check {} connections a second, before {}.",
            rate(after),
            rate(before)
        );
    }
    let share = |summary: &Summary| Share(summary.wrapper_share.unwrap_or(0.0)).to_string();
    text + &format!(" Wrappers explain {} of the wait, before {}.", share(after), share(before))
}

fn caveats(before: &Report, after: &Report) -> Vec<String> {
    let mut caveats = Vec::new();
    let heads = [&before.trace.head, &after.trace.head];
    let mut differ = |what: &str, [b, a]: [String; 2]| {
        if b != a && !b.is_empty() && !a.is_empty() {
            caveats.push(format!("{what}: {b} before, {a} after"));
        }
    };
    differ("not the same machine", heads.map(|head| head.hostname.clone()));
    let name = |head: &crate::trace::Head| {
        let target = head.targets.first();
        target.map_or(String::new(), |target| target.daemon.clone().unwrap_or_else(|| target.comm.clone()))
    };
    differ("not the same server", heads.map(name));
    let origins = heads.map(|head| format!("{:?}", head.origin).to_lowercase());
    differ("not recorded the same way, so times differ by the recorder's own cost", origins);
    if heads[0].redacted != heads[1].redacted {
        caveats.push("one of the two is redacted: names and addresses are not the same ones".to_owned());
    }
    for (report, when) in [(before, "before"), (after, "after")] {
        let summary = &report.summary;
        if summary.connections < FEW {
            caveats.push(format!(
                "only {} connections {when}: percentiles of so few say little",
                summary.connections
            ));
        }
        if Share::of(summary.incomplete, summary.connections).0 > 0.05 {
            caveats.push(format!(
                "{} of {} connections {when} are incomplete",
                summary.incomplete, summary.connections
            ));
        }
        if report.findings.iter().any(|finding| finding.id == FindingId::QueueOverflow) {
            caveats.push(format!(
                "the accept queue overflowed {when}: waits lack what clients lost before their handshake"
            ));
        }
    }
    if let (Some(b), Some(a)) = (arrivals_per_s(&before.summary), arrivals_per_s(&after.summary))
        && (b > 3.0 * a || a > 3.0 * b)
    {
        caveats.push(format!(
            "the load was not the same ({} connections a second before, {} after): compare ceilings, not waits",
            rate(b),
            rate(a)
        ));
    }
    caveats
}

fn arrivals_per_s(summary: &Summary) -> Option<f64> {
    let seconds = summary.to?.0.duration_since(summary.from?.0).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = summary.connections as f64;
    (seconds > 0.0).then(|| count / seconds)
}

fn percentiles(before: &Summary, after: &Summary) -> Vec<SpreadChange> {
    let spreads = |summary: &Summary| {
        [
            ("total", summary.total),
            ("queued", summary.queued),
            ("wrapper", summary.wrapper),
            ("dns", summary.dns),
            ("greeting", summary.greeting),
        ]
    };
    let pairs = spreads(before).into_iter().zip(spreads(after));
    pairs
        .filter(|((_, b), (_, a))| b.count + a.count > 0)
        .map(|((name, before), (_, after))| SpreadChange { name: name.to_owned(), before, after })
        .collect()
}

fn nameservers(before: &Summary, after: &Summary) -> Vec<NameserverChange> {
    let mut servers: Vec<&String> =
        before.nameservers.iter().chain(&after.nameservers).map(|stats| &stats.server).collect();
    servers.sort_unstable();
    servers.dedup();
    let of = |summary: &Summary, server: &String| {
        summary.nameservers.iter().find(|stats| stats.server == *server).cloned()
    };
    servers
        .into_iter()
        .map(|server| NameserverChange {
            server: server.clone(),
            before: of(before, server),
            after: of(after, server),
        })
        .collect()
}

fn files(before: &Facts, after: &Facts) -> Vec<FileChange> {
    let roles = [
        SnapshotRole::HostsAllow,
        SnapshotRole::HostsDeny,
        SnapshotRole::ResolvConf,
        SnapshotRole::NsswitchConf,
        SnapshotRole::Hosts,
    ];
    roles
        .into_iter()
        .filter_map(|role| {
            let last = |facts: &Facts| {
                let last = facts.files.iter().rev().find(|file| file.meta.role == role);
                let file = last.filter(|file| file.meta.is_known())?;
                Some((file.meta.path.clone(), String::from_utf8_lossy(&file.bytes).into_owned()))
            };
            let ((_, before), (path, after)) = (last(before)?, last(after)?);
            (before != after).then(|| file_change(path, &before, &after))
        })
        .collect()
}

fn file_change(path: String, before: &str, after: &str) -> FileChange {
    let lines = |text: &'_ str| text.lines().map(str::trim_end).map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let lacking = |these: &[String], those: &[String]| -> Vec<String> {
        let known: std::collections::HashSet<&String> = those.iter().collect();
        these
            .iter()
            .filter(|line| !line.is_empty() && !known.contains(line))
            .take(LINES_MAX)
            .cloned()
            .collect()
    };
    let (removed, added) = (lacking(&before, &after), lacking(&after, &before));
    let reordered = removed.is_empty() && added.is_empty();
    FileChange { path, removed, added, reordered }
}

fn findings(before: &Report, after: &Report) -> Vec<FindingChange> {
    let worst = |report: &Report, id| {
        report
            .findings
            .iter()
            .filter(|finding| finding.id == id)
            .max_by_key(|finding| finding.severity)
            .cloned()
    };
    let mut ids: Vec<FindingId> =
        before.findings.iter().chain(&after.findings).map(|finding| finding.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut changes: Vec<FindingChange> = ids
        .into_iter()
        .filter_map(|id| {
            let (b, a) = (worst(before, id), worst(after, id));
            let message = a.as_ref().or(b.as_ref())?.message.clone();
            Some(FindingChange { id, before: b.map(|b| b.severity), after: a.map(|a| a.severity), message })
        })
        .collect();
    changes.sort_by_key(|change| {
        (change.before == change.after, std::cmp::Reverse(change.before.max(change.after)))
    });
    changes
}
