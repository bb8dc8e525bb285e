//! Whatever a log lacks, the verdict is right or it is that nobody can tell: no false acquittal, and no innocent nameserver accused.
//!
//! The truth is what the whole log says. Then things are taken away from it, as people take them away: kinds of calls (`-e`), threads (no `-f`), the
//! ends of texts (`-s`), times, addresses, single lines, the beginning or the end. `PROPTEST_CASES` says how many are tried.

use proptest::prelude::*;
use proptest::test_runner::{TestRng, TestRunner};

use super::*;
use crate::model::{QueryOutcome, VerdictKind};
use crate::replay::{TraceReport, Wanted};
use crate::trace::{End, SingleFile, Writer, WriterOptions};

const D6: &str = include_str!("../../../../../tests/data/field-cases/strace/D6-threaddns.log");
const F1: &str = include_str!("../../../../../tests/data/field-cases/strace/F1-min.log");
const F5: &str = include_str!("../../../../../tests/data/field-cases/strace/F5-min-fork.log");
const F13C: &str = include_str!("../../../../../tests/data/field-cases/strace/F13c-tcp-read-resolv.log");
const L9: &str = include_str!("../../../../../tests/data/field-cases/strace/L9-indent.log");

/// Three workers that were made before the log.
pub(super) const PREFORK: &str = include_str!("../../../../../tests/data/field-cases/strace/P1-prefork.log");

/// A log of which the truth is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    log: &'static str,
    /// The verdicts that are right. With refusals and a wait, both are.
    right: &'static [VerdictKind],
    /// Nameservers that answered all that they were asked, at once.
    innocent: &'static [&'static str],
}

const KNOWN: [Known; 8] = [
    Known { log: C_TIMEOUT, right: &[VerdictKind::Wrappers], innocent: &["10.77.53.2:53"] },
    Known { log: E2, right: &[VerdictKind::Wrappers], innocent: &[] },
    Known { log: D6, right: &[VerdictKind::ServerLookups], innocent: &["10.9.0.53:53"] },
    Known { log: F1, right: &[VerdictKind::Wrappers], innocent: &["10.9.0.53:53"] },
    Known { log: F5, right: &[VerdictKind::Wrappers], innocent: &[] },
    Known { log: F13C, right: &[VerdictKind::Wrappers], innocent: &[] },
    Known { log: L9, right: &[VerdictKind::Wrappers, VerdictKind::Refusals], innocent: &[] },
    Known {
        log: D_DENIED,
        right: &[VerdictKind::Refusals, VerdictKind::Wrappers, VerdictKind::NobodyWaited],
        innocent: &["10.77.53.1:53", "10.77.53.2:53"],
    },
];

/// A thread accepts, and one of a pool that was there before checks.
fn pool() -> String {
    let lines = F1.lines().map(|line| {
        let accepts = line.contains("accept(") || line.contains("[{fd=3,");
        if accepts { line.to_owned() } else { line.replacen("9  ", "10  ", 1) }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// All of them.
fn known() -> Vec<Known> {
    // Nothing says that the pool's thread works for a client: to tell is allowed, and not to.
    let right = &[VerdictKind::Wrappers, VerdictKind::CannotTell];
    let pool = Known { log: pool().leak(), right, innocent: &["10.9.0.53:53"] };
    let workers = Known { log: PREFORK, right: &[VerdictKind::Wrappers], innocent: &["10.77.53.1:53"] };
    KNOWN.into_iter().chain([pool, workers]).collect()
}

/// What is taken away.
#[derive(Clone, Debug)]
enum Loss {
    /// Calls of these names: they were not traced.
    Calls(Vec<&'static str>),
    /// Everything of one thread or process, by its place among them.
    Thread(prop::sample::Index),
    /// Texts behind so many characters.
    Texts(usize),
    /// How long calls took.
    Durations,
    /// When lines were.
    Times,
    /// Addresses are written over.
    Addresses,
    /// Calls on one file.
    File(&'static str),
    /// One line of so many, from some on.
    Lines(usize, usize),
    /// The beginning, or the end, a share of the log.
    Beginning(u8),
    End(u8),
}

const CALLS: [&str; 16] = [
    "accept",
    "openat",
    "open",
    "read",
    "close",
    "socket",
    "connect",
    "sendto",
    "recvfrom",
    "poll",
    "write",
    "getpeername",
    "clone",
    "shutdown",
    "ioctl",
    "setsockopt",
];

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        4 => prop::sample::subsequence(CALLS.to_vec(), 1..CALLS.len()).prop_map(Loss::Calls),
        3 => prop::sample::subsequence(CALLS.to_vec(), 1..3).prop_map(Loss::Calls),
        2 => any::<prop::sample::Index>().prop_map(Loss::Thread),
        2 => prop::sample::select(vec![0, 4, 16, 32, 40]).prop_map(Loss::Texts),
        1 => Just(Loss::Durations),
        1 => Just(Loss::Times),
        1 => Just(Loss::Addresses),
        1 => prop::sample::select(vec!["resolv.conf", "hosts.allow", "hosts.deny", "/etc/hosts\""]).prop_map(Loss::File),
        2 => (8..60_usize, 0..60_usize).prop_map(|(every, from)| Loss::Lines(every, from)),
        1 => (1..9_u8).prop_map(Loss::Beginning),
        1 => (1..9_u8).prop_map(Loss::End),
    ]
}

fn name_of(line: &str) -> &str {
    match line::parse(line).body {
        Body::Whole { name, .. } | Body::Unfinished { name, .. } | Body::Resumed { name, .. } => name,
        _ => "",
    }
}

/// Every quoted text behind so many escaped characters.
fn cut_texts(line: &str, max: usize) -> String {
    let mut out = String::new();
    let mut parts = line.split('"');
    out.push_str(parts.next().unwrap_or_default());
    while let Some(text) = parts.next() {
        // Paths and addresses are not cut by -s.
        let whole = text.len() <= max || text.starts_with('/') || text.parse::<std::net::IpAddr>().is_ok();
        let mut end = if whole { text.len() } else { max };
        // Not within an escape.
        while end < text.len() && (!text.is_char_boundary(end) || text[..end].ends_with('\\')) {
            end += 1;
        }
        out.push('"');
        out.push_str(&text[..end.min(text.len())]);
        out.push('"');
        if end < text.len() {
            out.push_str("...");
        }
        out.push_str(parts.next().unwrap_or_default());
    }
    out
}

/// Without the time in front of a line that names its thread.
fn without_time(line: &str) -> String {
    let mut words = line.splitn(2, ' ');
    let (tid, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_start());
    let rest = rest.split_once(' ').map_or(rest, |(_, rest)| rest);
    format!("{tid} {rest}")
}

impl Loss {
    fn take(&self, lines: Vec<String>) -> Vec<String> {
        let count = lines.len();
        let keep = |keep: &dyn Fn(usize, &str) -> bool| {
            let kept = lines.iter().enumerate().filter(|(i, line)| keep(*i, line));
            kept.map(|(_, line)| line.clone()).collect()
        };
        let each = |f: &dyn Fn(&str) -> String| lines.iter().map(|line| f(line)).collect();
        match self {
            Self::Calls(names) => {
                keep(&|_, line| !names.contains(&name_of(line).trim_end_matches(['3', '4'])))
            }
            Self::Thread(which) => {
                let mut tids: Vec<_> = lines.iter().filter_map(|line| line::parse(line).tid).collect();
                tids.sort_unstable();
                tids.dedup();
                if tids.is_empty() {
                    return lines;
                }
                let tid = tids[which.index(tids.len())];
                keep(&|_, line| line::parse(line).tid != Some(tid))
            }
            Self::Texts(max) => each(&|line| cut_texts(line, *max)),
            Self::Durations => each(&|line| without_took(line).to_owned()),
            Self::Times => each(&without_time),
            Self::Addresses => {
                each(&|line| line.replace("10.77.53.", "10.77.x.").replace("10.9.0.5", "10.9.x.5"))
            }
            Self::File(path) => keep(&|_, line| !line.contains(path)),
            Self::Lines(every, from) => keep(&|i, _| i % every != from % every),
            Self::Beginning(tenths) => keep(&|i, _| i >= count * usize::from(*tenths) / 10),
            Self::End(tenths) => keep(&|i, _| i < count - count * usize::from(*tenths) / 10),
        }
    }
}

/// As `import` and `report` do; none where there is nothing to report.
pub(super) fn report(log: &str) -> Option<TraceReport> {
    let logs = || vec![Log { tid: None, source: log.as_bytes() }];
    let mut importer = Importer::new(None, survey(logs()).unwrap());
    let mut writer: Option<Writer<SingleFile<Vec<u8>>>> = None;
    super::super::import(&mut importer, logs(), Dates::default(), &mut |input| match (&mut writer, input) {
        (none @ None, Input::Head(head)) => {
            *none = Some(Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap());
        }
        (Some(writer), input) => writer.write(&input).unwrap(),
        _ => panic!("the head comes first"),
    })
    .unwrap();
    let (file, ended) = writer?.finish(End { at: importer.now(), ..End::default() });
    ended.unwrap();
    Some(
        TraceReport::read(file.into_inner().as_slice(), &Wanted { slowest: 9, ..Wanted::default() }, |_| ())
            .unwrap(),
    )
}

/// Why the report on what is left of a log is wrong, if it is.
fn wrong(known: &Known, log: &str) -> Option<String> {
    let report = report(log)?.report;
    let summary = &report.summary;
    let kind = summary.verdict_kind;
    if kind != VerdictKind::CannotTell && !known.right.contains(&kind) {
        return Some(format!("{kind:?}: {}", summary.verdict));
    }
    let accused = |server: &str| {
        let stats = summary.nameservers.iter().find(|stats| stats.server == server);
        stats.filter(|stats| stats.timeouts + stats.unreachable > 0).map(|stats| format!("{stats:?}"))
    };
    let by_query = || {
        let queries = report.connections.iter().flat_map(|c| &c.lookups).flat_map(|l| &l.queries);
        let mut bad =
            queries.filter(|q| matches!(q.outcome, QueryOutcome::Timeout | QueryOutcome::Unreachable));
        bad.find(|q| known.innocent.contains(&&*q.server)).map(|q| format!("{q:?}"))
    };
    known
        .innocent
        .iter()
        .find_map(|server| accused(server))
        .or_else(by_query)
        .map(|why| format!("accused: {why}"))
}

/// Why the report on a log without this is wrong, if it is.
fn without(known: &Known, losses: &[Loss]) -> Option<String> {
    let lines = known.log.lines().map(str::to_owned).collect();
    let left = losses.iter().fold(lines, |lines, loss| loss.take(lines));
    wrong(known, &left.join("\n"))
}

#[test]
fn the_whole_logs_are_told_right() {
    for (i, known) in known().iter().enumerate() {
        let report = report(known.log).unwrap().report;
        assert!(known.right.contains(&report.summary.verdict_kind), "{i}: {:#?}", report.summary);
        assert_eq!(wrong(known, known.log), None, "{i}");
    }
}

/// The same cases each time, so that a failure is one for everybody; more with `PROPTEST_CASES`.
#[test]
fn whatever_a_log_lacks_nobody_is_acquitted_or_accused_for_it() {
    let config = ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let all = known();
    let strategy = (0..all.len(), prop::collection::vec(loss(), 1..4));
    let ended = runner.run(&strategy, |(which, losses)| {
        let why = without(&all[which], &losses);
        prop_assert!(why.is_none(), "log {which} without {losses:?}: {}", why.unwrap_or_default());
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
}

/// What was once told wrong, each with whichever lines are taken.
#[test]
fn what_was_once_acquitted_or_accused_is_not_again() {
    let calls = ["openat", "socket", "poll", "write", "getpeername", "shutdown"];
    let lines = |every: usize| (0..every).map(move |from| Loss::Lines(every, from));
    let first = lines(9).map(|lost| (0, vec![Loss::Calls(calls.to_vec()), lost]));
    let second = lines(8).map(|lost| (2, vec![lost, Loss::Texts(4)]));
    let third = [(4, vec![Loss::Calls(vec!["close", "clone"]), Loss::Durations])];
    let opens = || Loss::Calls(vec!["openat"]);
    let fourth = [(4, vec![opens()]), (7, vec![opens(), Loss::Beginning(1)])];
    let fifth = [(6, vec![Loss::File("hosts.allow")])].into_iter();
    let fifth = fifth.chain(lines(26).map(|lost| (6, vec![lost])));
    let sixth = [(1, vec![Loss::Calls(vec!["close", "socket", "recvfrom", "write"])])];
    let seventh = [(8, vec![Loss::End(2)])];
    let cases = first.chain(second).chain(third).chain(fourth).chain(fifth).chain(sixth).chain(seventh);
    let all = known();
    let red = cases.filter_map(|(which, losses)| {
        without(&all[which], &losses).map(|why| format!("log {which} without {losses:?}: {why}"))
    });
    assert_eq!(red.collect::<Vec<_>>(), [""; 0]);
}

/// A few seconds' worth, or as many as are asked for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}
