//! Whatever of its records a trace lacks, the verdict is right or it is that nobody can tell: no false acquittal, and no innocent nameserver accused.
//!
//! The truth is what the whole trace says. Then is taken away, and told as it is told live, what a ring loses (single records, kinds of them), what a full map
//! costs (connections), what a trace that begins or ends in the middle lacks, and what fewer privileges do not show ([`sight`]). `PROPTEST_CASES` says how many are tried.

mod sight;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::{TestRng, TestRunner};
use wrapwatch_common::records::OP_READ;

use super::*;
use crate::correlate::tests::families::asks_itself;
use crate::correlate::tests::scenes::{checked_in_a_pool, dead_first_server, in_a_pool, pre_forked};
use crate::correlate::tests::sim::Thread;

use crate::model::{QueryOutcome, VerdictKind};
use crate::trace::Reader;

use sight::Sight;

/// A trace of which the truth is known.
struct Known {
    name: &'static str,
    trace: Vec<u8>,
    /// The verdicts that are right.
    right: &'static [VerdictKind],
    /// Nameservers that answered all that they were asked.
    innocent: &'static [&'static str],
}

const NS1: &str = "10.77.53.1:53";
const NS2: &str = "10.77.53.2:53";
const GOLDEN: &[u8] = include_bytes!("../../../../tests/data/traces/format-1-abi-2.wwt");

fn traced(records: &[Rec]) -> Vec<u8> {
    let mut live = Live::begin(&head(true));
    records.iter().for_each(|record| live.feed(Input::Record(&record.bytes)));
    let at = KtimeNs(records.last().unwrap().ts + 3 * SEC);
    live.end(End { at, ..End::default() }).1
}

fn at_once(mut script: impl FnMut(&mut Sim, &mut Thread, u64)) -> Vec<u8> {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    let start = th.t;
    for n in 1..=12 {
        arrive(&mut sim, &mut th, n, start + n * 10_000);
        script(&mut sim, &mut th, n);
        admit(&mut sim, &mut th, GREETING);
    }
    traced(&sim.records())
}

/// Stopped for seconds while clients come; each check is short.
fn stopped() -> Vec<u8> {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    let start = th.t;
    for n in 1..=12 {
        arrive(&mut sim, &mut th, n, start + n * 100 * MS);
        resolve(&mut sim, &mut th, n, false, 200_000);
        admit(&mut sim, &mut th, GREETING);
        th.t += if n == 1 { 5 * SEC } else { 0 };
    }
    traced(&sim.records())
}

/// A process for each client, made for it.
fn forked() -> Vec<u8> {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    for n in 1..=10 {
        accepted(&mut sim, &mut th, n);
        let mut child = sim.fork(&mut th, 500 + u32::try_from(n).unwrap());
        checks(&mut sim, &mut child, "forkd", 200 * MS, 1);
        sim.first_packet(&mut child, 5, GREETING);
    }
    traced(&sim.records())
}

fn known() -> Vec<Known> {
    use VerdictKind::{CannotTell, Elsewhere, NobodyWaited, Queue, ServerLookups, Wrappers};
    let known = |name, trace, right, innocent| Known { name, trace, right, innocent };
    vec![
        known(
            "slow nameserver",
            at_once(|sim, th, n| resolve(sim, th, n, false, 300 * MS)),
            &[Wrappers],
            &[NS1],
        ),
        known("dead nameserver", traced(&dead_first_server()), &[Wrappers], &[NS2]),
        known(
            "slow disk",
            at_once(|sim, th, n| {
                sim.io(th, 33, abi::Class::File, OP_READ, 100, 200 * MS);
                resolve(sim, th, n, false, 200_000);
            }),
            &[Wrappers],
            &[NS1],
        ),
        known("a pool of two", traced(&in_a_pool(2, 200 * MS)), &[ServerLookups], &[NS1]),
        known("a thread for each", traced(&in_a_pool(10, 200 * MS)), &[ServerLookups], &[NS1]),
        known("a process for each", forked(), &[Wrappers], &[NS1]),
        known(
            "workers made before",
            traced(&pre_forked(2, |sim, th| checks(sim, th, "workd", 200 * MS, 1))),
            &[Wrappers],
            &[NS1],
        ),
        known(
            "workers made before that ask themselves",
            traced(&pre_forked(2, |sim, th| asks_itself(sim, th, 200 * MS))),
            &[ServerLookups],
            &[NS1],
        ),
        known(
            "workers made before that are slow",
            traced(&pre_forked(2, |sim, th| {
                checks(sim, th, "workd", 200_000, 1);
                th.t += 200 * MS;
            })),
            &[Queue, Elsewhere],
            &[NS1],
        ),
        // Whose checks a client waits behind until one of them takes it is not known.
        known(
            "a pool of two that checks",
            traced(&checked_in_a_pool(2, 200 * MS)),
            &[Wrappers, CannotTell],
            &[NS1],
        ),
        known("a pool of ten that checks", traced(&checked_in_a_pool(10, 200 * MS)), &[Wrappers], &[NS1]),
        known("stopped", stopped(), &[Queue, Elsewhere, NobodyWaited], &[NS1]),
        known("golden", GOLDEN.to_vec(), &[NobodyWaited, Wrappers], &[NS2]),
    ]
}

/// What is taken away.
#[derive(Clone, Debug)]
enum Loss {
    /// One record of so many, from some on: the ring was full.
    Records(usize, usize),
    /// All records of these kinds.
    Kinds(Vec<Kind>),
    /// All of one connection of so many, and its accept: a map was full.
    Connections(u64, u64),
    /// Connections that were accepted in the first tenths of the trace: it began behind them.
    Beginning(u64),
    /// The last tenths.
    End(u64),
    /// Without the privileges for it.
    Unseen(Sight),
}

const LOSABLE: [Kind; 15] = [
    Kind::Accept,
    Kind::AcceptSocket,
    Kind::Fork,
    Kind::Request,
    Kind::Open,
    Kind::Connect,
    Kind::Send,
    Kind::Recv,
    Kind::Io,
    Kind::Close,
    Kind::FirstPacket,
    Kind::SockState,
    Kind::Peer,
    Kind::Rule,
    Kind::Check,
];

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        4 => (1..40_usize, 0..40_usize).prop_map(|(every, from)| Loss::Records(every, from)),
        3 => prop::sample::subsequence(LOSABLE.to_vec(), 1..4).prop_map(Loss::Kinds),
        1 => (2..5_u64, 0..5_u64).prop_map(|(every, from)| Loss::Connections(every, from)),
        1 => (1..9_u64).prop_map(Loss::Beginning),
        1 => (1..9_u64).prop_map(Loss::End),
        4 => prop::sample::select(Sight::ALL.to_vec()).prop_map(Loss::Unseen),
    ]
}

/// The counter of a record that the ring had no room for.
const fn counter(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Accept | Kind::AcceptSocket) => "lost_accept",
        Some(Kind::Open | Kind::Io | Kind::Close) => "lost_file",
        Some(Kind::Connect) => "lost_connect",
        Some(Kind::Send | Kind::Recv) => "lost_payload",
        Some(Kind::FirstPacket) => "lost_first_packet",
        Some(Kind::SockState) => "lost_sock_state",
        Some(Kind::SockError) => "lost_sock_error",
        _ => "lost_other",
    }
}

const fn is_accept(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Accept | Kind::AcceptSocket))
}

/// What became of a record.
#[derive(PartialEq, Eq)]
enum Fate {
    Told,
    /// It has a number, and is counted.
    Lost,
    /// It was never written: those behind it have its number.
    Unwritten,
    /// Nothing says that it was.
    Gone,
    /// Nor of anything behind it.
    Over,
}

/// A trace's reader that leaves things out.
struct Lacking<'a> {
    losses: &'a [Loss],
    from: u64,
    to: u64,
    count: usize,
    /// Connections of which nothing is told.
    gone: HashSet<u64>,
    unwritten: HashMap<u64, u32>,
}

impl Lacking<'_> {
    fn fate(&mut self, header: &abi::Header, kind: Option<Kind>) -> Fate {
        self.count += 1;
        let tenth = (self.to - self.from) / 10;
        for loss in self.losses {
            match loss {
                Loss::Unseen(sight) if kind.is_some_and(|kind| sight.hides(header, kind)) => {
                    return Fate::Unwritten;
                }
                Loss::Records(every, from) if self.count % every == from % every => return Fate::Lost,
                Loss::Kinds(kinds) if kind.is_some_and(|kind| kinds.contains(&kind)) => return Fate::Lost,
                Loss::Connections(every, from) if header.conn > 0 && header.conn % every == from % every => {
                    return if is_accept(kind) { Fate::Lost } else { Fate::Gone };
                }
                Loss::Beginning(tenths) => {
                    let early = header.ts_ns < self.from + tenth * tenths;
                    if early && is_accept(kind) {
                        self.gone.insert(header.conn);
                    }
                    if early || self.gone.contains(&header.conn) {
                        return Fate::Gone;
                    }
                }
                Loss::End(tenths) if header.ts_ns > self.to - tenth * tenths => return Fate::Over,
                _ => {}
            }
        }
        Fate::Told
    }
}

/// First and last time of a trace's records.
fn span(trace: &[u8]) -> (u64, u64) {
    let mut reader = Reader::new(trace);
    let mut times = Vec::new();
    while let Some(input) = reader.next_input().unwrap() {
        if let Input::Record(bytes) = input {
            times.push(decode::header(bytes).unwrap().ts_ns);
        }
    }
    (*times.iter().min().unwrap(), *times.iter().max().unwrap())
}

fn unseen(losses: &[Loss]) -> impl Iterator<Item = Sight> {
    losses.iter().filter_map(|loss| if let Loss::Unseen(sight) = loss { Some(*sight) } else { None })
}

/// The lines of a trace without all this.
fn without(trace: &[u8], losses: &[Loss]) -> Vec<Line> {
    let (from, to) = span(trace);
    let mut lacking = Lacking { losses, from, to, count: 0, gone: HashSet::new(), unwritten: HashMap::new() };
    let mut reader = Reader::new(trace);
    let mut engine = Engine::new(Options::default());
    let mut bytes = Vec::new();
    while let Some(input) = reader.next_input().unwrap() {
        match input {
            Input::Head(head) => {
                let mut head = head.into_owned();
                unseen(losses).for_each(|sight| sight.begin(&mut head));
                engine.feed(&head.into());
            }
            Input::Record(record) => {
                let header = decode::header(record).unwrap();
                let kind = Kind::from_raw(header.kind);
                match lacking.fate(&header, kind) {
                    Fate::Told => {
                        bytes.clear();
                        bytes.extend_from_slice(record);
                        unseen(losses).for_each(|sight| sight.blur(&mut bytes));
                        let before = lacking.unwritten.get(&header.conn).copied().unwrap_or(0);
                        bytes[24..28].copy_from_slice(&header.seq.saturating_sub(before).to_le_bytes());
                        engine.feed(&Input::Record(&bytes));
                    }
                    Fate::Lost => {
                        let (name, at) = (counter(kind).to_owned(), Some(header.ts_ns));
                        engine.feed(
                            &Lost { events: 1, by: vec![(name, 1)], since_ns: at, until_ns: at }.into(),
                        );
                    }
                    Fate::Unwritten if header.seq > 0 => {
                        *lacking.unwritten.entry(header.conn).or_default() += 1;
                    }
                    // A torn file says nothing behind it.
                    Fate::Over => break,
                    Fate::Unwritten | Fate::Gone => {}
                }
            }
            Input::File(_) if unseen(losses).any(|sight| sight == Sight::Files) => {}
            other => engine.feed(&other),
        }
    }
    engine.finish();
    std::iter::from_fn(|| engine.next_line()).collect()
}

/// Why what is told of a trace without this is wrong, if it is.
fn wrong(known: &Known, losses: &[Loss]) -> Option<String> {
    let lines = without(&known.trace, losses);
    for line in &lines {
        match line {
            Line::Connection(told) => {
                let queries = told.lookups.iter().flat_map(|lookup| &lookup.queries);
                let accused = |outcome| matches!(outcome, QueryOutcome::Timeout | QueryOutcome::Unreachable);
                let mut accused = queries.filter(|query| accused(query.outcome));
                if let Some(query) = accused.find(|query| known.innocent.contains(&&*query.server)) {
                    return Some(format!("accused: {query:?} of {told:?}"));
                }
            }
            Line::Summary(summary) => {
                let kind = summary.verdict_kind;
                if kind != VerdictKind::CannotTell && !known.right.contains(&kind) {
                    return Some(format!("{kind:?}: {}", summary.verdict));
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn the_whole_traces_are_told_right() {
    for known in known() {
        let lines = without(&known.trace, &[]);
        let Some(Line::Summary(summary)) = lines.last() else { panic!("{}", known.name) };
        assert!(
            known.right.contains(&summary.verdict_kind),
            "{}: {:?} {}",
            known.name,
            summary.verdict_kind,
            summary.verdict
        );
        assert_eq!(wrong(&known, &[]), None, "{}", known.name);
    }
}

#[test]
fn a_lost_first_packet_is_no_wait_until_the_end() {
    for known in known() {
        assert_eq!(wrong(&known, &[Loss::Kinds(vec![Kind::FirstPacket])]), None, "{}", known.name);
    }
}

/// What was once told wrong.
#[test]
fn what_was_once_acquitted_or_accused_is_not_again() {
    let cases = [
        ("workers made before that ask themselves", vec![Loss::Records(3, 8)]),
        ("workers made before that ask themselves", vec![Loss::Records(5, 25), Loss::Beginning(7)]),
        ("workers made before that ask themselves", vec![Loss::Kinds(vec![Kind::Send, Kind::Close])]),
        ("a pool of two that checks", vec![Loss::Unseen(Sight::Uprobes), Loss::Kinds(vec![Kind::Open])]),
        ("a process for each", vec![Loss::Unseen(Sight::Uprobes), Loss::Kinds(vec![Kind::Open])]),
    ];
    let all = known();
    for (name, losses) in cases {
        let known = all.iter().find(|known| known.name == name).unwrap();
        assert_eq!(wrong(known, &losses), None, "{name} without {losses:?}");
    }
}

/// The same cases each time, so that a failure is one for everybody; more with `PROPTEST_CASES`.
#[test]
fn whatever_a_trace_lacks_nobody_is_acquitted_or_accused_for_it() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let all = known();
    let ended = TestRunner::new_with_rng(config, rng).run(
        &(0..all.len(), prop::collection::vec(loss(), 1..4)),
        |(which, losses)| {
            let why = wrong(&all[which], &losses);
            prop_assert!(
                why.is_none(),
                "{} without {losses:?}: {}",
                all[which].name,
                why.unwrap_or_default()
            );
            Ok(())
        },
    );
    if let Err(error) = ended {
        panic!("{error}");
    }
}
