//! What a live trace tells, its recording tells again, line by line: with losses, full maps, calls left out, and a libwrap that names no rules.

mod acquittal;

use std::collections::BTreeMap;

use wrapwatch_common::records::{self as abi, Class, Kind};

use super::*;
use crate::correlate::tests::families::{accepted, accepted_on, checks};
use crate::correlate::tests::scenes::{admit, arrive, refuse, resolve};
use crate::correlate::tests::sim::{GREETING, LISTENER, MS, NETNS, Rec, SEC, Sim, TGID};
use crate::correlate::tests::{ALLOW, DENY, clock, main_thread};
use crate::model::{Degradation, Outcome};
use crate::observe::{JsonLines, Observer as _};
use crate::replay::{Replay, TraceReport, Wanted};
use crate::trace::encode::encode;
use crate::trace::{
    Listener, ListenerSample, ProcessSample, Reader, SingleFile, SnapshotMeta, SnapshotRole, Writer,
    WriterOptions,
};

/// What `live` does with an input: it is recorded, then the engine is fed with it.
struct Live {
    writer: Writer<SingleFile<Vec<u8>>>,
    engine: Engine,
    json: JsonLines<Vec<u8>>,
}

impl Live {
    fn begin(head: &Head) -> Self {
        let writer = Writer::new(SingleFile::new(Vec::new()), head, WriterOptions::offline()).unwrap();
        let mut live =
            Self { writer, engine: Engine::new(Options::default()), json: JsonLines::new(Vec::new()) };
        live.engine.feed(&head.into());
        live.tell();
        live
    }

    fn feed<'a>(&mut self, input: impl Into<Input<'a>>) {
        let input = input.into();
        self.writer.write(&input).unwrap();
        self.engine.feed(&input);
        self.tell();
    }

    /// Whether it had an effect.
    fn time(&mut self, at: u64) -> bool {
        let told = self.engine.waits_for(KtimeNs(at));
        if told {
            self.feed(Input::Time(KtimeNs(at)));
        }
        told
    }

    fn tell(&mut self) {
        while let Some(line) = self.engine.next_line() {
            self.json.line(&line).unwrap();
        }
    }

    /// The lines of `live --json`, and the trace.
    fn end(mut self, end: End) -> (Vec<u8>, Vec<u8>) {
        self.engine.feed(&(&end).into());
        self.engine.finish();
        self.tell();
        let (out, ended) = self.writer.finish(end);
        ended.unwrap();
        (self.json.written().clone(), out.into_inner())
    }
}

/// Clients with two lookups each; the third is refused, and the last one's nameserver has not answered when the trace ends.
fn records(rules: bool) -> Vec<Rec> {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    for n in 1..=6 {
        arrive(&mut sim, &mut th, n, SEC + n * 700 * MS);
        resolve(&mut sim, &mut th, n, n % 2 == 0, 5 * MS);
        if n == 3 { refuse(&mut sim, &mut th) } else { admit(&mut sim, &mut th, GREETING) }
    }
    arrive(&mut sim, &mut th, 7, 12 * SEC);
    let records = sim.records();
    if rules { records } else { without_rules(records) }
}

/// Who is asleep is looked at when the ring was emptied, and by then it has more.
#[test]
fn a_look_at_threads_ends_nothing_of_which_more_is_to_come() {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "syslog-ng", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    checks(&mut sim, &mut th, "syslog-ng", 800 * MS, 1);
    th.conn = 1;
    sim.shutdown(&mut th, 5);
    sim.close(&mut th, 5, Class::Accepted);
    let mut live = Live::begin(&Head { kernel: "6.12.0".to_owned(), ..head(true) });
    for record in sim.records() {
        live.feed(Input::Record(&record.bytes));
        if record.kind == Kind::Shutdown {
            let asleep = vec![ProcessSample { pid: TGID, asleep: vec![TGID], ..ProcessSample::default() }];
            let at = KtimeNs(record.ts + 20 * MS);
            live.feed(&Sample { at, targets: asleep, ..Sample::default() });
        }
    }
    let (lines, _) = live.end(End { at: KtimeNs(th.t + SEC), ..End::default() });
    let told = String::from_utf8(lines).unwrap();
    let told: serde_json::Value =
        serde_json::from_str(told.lines().find(|line| line.contains("\"conn\":1,")).unwrap()).unwrap();
    assert_eq!(told["served_behind_ns"].as_u64().unwrap_or(0) / (100 * MS), 8, "{told:#}");
}

/// As of a libwrap without `tcpd_context`: the records that come after a rule's have the number before.
fn without_rules(records: Vec<Rec>) -> Vec<Rec> {
    let mut left_out = BTreeMap::<u64, u32>::new();
    let mut kept = Vec::new();
    for mut record in records {
        let header = decode::header(&record.bytes).unwrap();
        let before = left_out.entry(header.conn).or_default();
        if header.kind == Kind::Rule as u16 {
            *before += 1;
        } else {
            record.bytes[24..28].copy_from_slice(&header.seq.saturating_sub(*before).to_le_bytes());
            kept.push(record);
        }
    }
    kept
}

fn head(rules: bool) -> Head {
    let degradation = Degradation {
        kind: DegradationKind::NoRuleContext,
        pid: Some(TGID),
        message: "this libwrap does not export tcpd_context".to_owned(),
    };
    let listener = Listener { fd: Some(LISTENER), address: "0.0.0.0:3306".to_owned(), queue_limit: Some(80) };
    let target = Target {
        pid: TGID,
        comm: "mysqld".to_owned(),
        daemon: Some("mysqld".to_owned()),
        started: Some(KtimeNs(1)),
        listeners: vec![listener],
        netns: Some(u64::from(NETNS)),
        ..Target::default()
    };
    Head {
        clock: clock(),
        targets: vec![target],
        degradations: if rules { Vec::new() } else { vec![degradation] },
        kernel: "7.2.0".to_owned(),
        ..Head::default()
    }
}

fn file(role: SnapshotRole, path: &str, text: &str) -> Snapshot {
    let meta = SnapshotMeta { pid: Some(TGID), role, path: path.to_owned(), ..SnapshotMeta::default() };
    Snapshot { meta, bytes: text.as_bytes().to_vec() }
}

fn second(at: u64, full: u64) -> Sample {
    let counters = [("accepts".to_owned(), 7), ("full_watch".to_owned(), full)].into();
    let queue =
        |pid, queued| ListenerSample { pid: Some(pid), queued, queue_limit: 80, ..ListenerSample::default() };
    let listeners = vec![queue(TGID, 3), queue(TGID + 1, 50)];
    Sample { at: KtimeNs(at), counters, listeners, ..Sample::default() }
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    rules: bool,
    /// Every how manyth record is lost; 0: none.
    lost: usize,
    full: u64,
    skipped: bool,
    gone: bool,
    /// How often time is told, beside records.
    tick_ns: u64,
}

/// Runs it as `live` would: the lines, and the trace.
fn live(trouble: Trouble) -> (Vec<u8>, Vec<u8>) {
    let mut live = Live::begin(&head(trouble.rules));
    let allow = "# rules\nmysqld: .lan.example\nALL: localhost\nmysqld: 10.77.\n";
    live.feed(file(SnapshotRole::HostsAllow, ALLOW, allow));
    live.feed(file(SnapshotRole::HostsDeny, DENY, "ALL: ALL\n"));
    live.feed(file(
        SnapshotRole::ResolvConf,
        "/etc/resolv.conf",
        "nameserver 10.77.53.1\noptions timeout:1\n",
    ));
    let (mut tick, mut next_second) = (SEC, 2 * SEC);
    for (n, record) in records(trouble.rules).iter().enumerate() {
        while tick + trouble.tick_ns <= record.ts {
            tick += trouble.tick_ns;
            if live.time(tick) && trouble.lost > 0 {
                // Behind what time had told, and before any record.
                let by = vec![("lost_file".to_owned(), 1)];
                live.feed(Lost { events: 1, by, since_ns: Some(tick - MS), until_ns: Some(tick) });
            }
            for question in live.engine.questions(KtimeNs(tick)) {
                let Question::Asleep { pid, tid } = question else { continue };
                let seen = ProcessSample { pid, asleep: vec![tid], ..ProcessSample::default() };
                live.feed(Sample { at: KtimeNs(tick), targets: vec![seen], ..Sample::default() });
            }
            if tick >= next_second {
                next_second = tick + SEC;
                live.feed(ClockPair {
                    ktime: KtimeNs(tick),
                    wall_ns: clock().wall_ns + i64::try_from(tick + 5).unwrap(),
                });
                live.feed(second(tick, trouble.full));
            }
        }
        if trouble.lost > 0 && n % trouble.lost == trouble.lost - 1 {
            let by = vec![("lost_accept".to_owned(), 1), ("full_conns".to_owned(), trouble.full)];
            let (since_ns, until_ns) = (Some(tick), Some(record.ts));
            live.feed(Lost { events: 1 + trouble.full, by, since_ns, until_ns });
            continue;
        }
        if trouble.skipped && n % 40 == 0 {
            let by = vec![("skipped_calls".to_owned(), 2)];
            live.feed(Lost { events: 0, by, since_ns: Some(record.ts - MS), until_ns: Some(record.ts) });
        }
        live.feed(Input::Record(&record.bytes));
    }
    if trouble.gone {
        live.feed(Target { pid: TGID, ended: true, ..Target::default() });
    }
    for at in 1..4 {
        live.feed(second(13 * SEC + at * SEC, trouble.full));
    }
    let counters = [("accepts".to_owned(), 7), ("full_watch".to_owned(), trouble.full)].into();
    live.end(End { at: KtimeNs(17 * SEC), counters, reason: "asked to end".to_owned(), ..End::default() })
}

fn troubles() -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for rules in [true, false] {
        for lost in [0, 7, 40] {
            for (full, skipped, gone) in
                [(0, false, false), (3, false, true), (0, true, false), (2, true, true)]
            {
                for tick_ns in [7 * MS, 100 * MS] {
                    troubles.push(Trouble { rules, lost, full, skipped, gone, tick_ns });
                }
            }
        }
    }
    troubles
}

fn text(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().lines().collect()
}

#[test]
fn a_recording_tells_line_by_line_what_live_told() {
    for trouble in troubles() {
        let (told, trace) = live(trouble);
        let mut json = JsonLines::new(Vec::new());
        let mut replay = Replay::new(trace.as_slice(), Options::default());
        while let Some(line) = replay.next_line().unwrap() {
            json.line(&line).unwrap();
        }
        assert_eq!(text(json.written()), text(&told), "{trouble:?}");
        assert!(text(&told).len() > 7, "{trouble:?}");
    }
}

/// A recorder wants no lines of connections: it counts as many, and looks at the same things at the same time.
#[test]
fn who_only_counts_asks_the_same_and_counts_what_is_told() {
    for trouble in troubles() {
        let (_, trace) = live(trouble);
        let mut tells = Engine::new(Options::default());
        let mut counts = Engine::new(Options { connections: false, ..Options::default() });
        let (mut told, mut asked) = (0, 0);
        let mut reader = Reader::new(trace.as_slice());
        while let Some(input) = reader.next_input().unwrap() {
            for engine in [&mut tells, &mut counts] {
                engine.feed(&input);
            }
            told += connections_of(&mut tells);
            assert_eq!(connections_of(&mut counts), 0, "{trouble:?}");
            let soon = KtimeNs(tells.now().0 + SEC);
            assert_eq!(counts.questions(soon), tells.questions(soon), "{trouble:?}");
            assert_eq!(counts.waits_for(soon), tells.waits_for(soon), "{trouble:?}");
            assert_eq!(counts.told(), told, "{trouble:?}");
            asked += tells.questions(soon).len();
        }
        assert!(told > 2 && asked > 0, "{trouble:?}: {told} told, {asked} asked");
    }
}

fn connections_of(engine: &mut Engine) -> u64 {
    let lines = std::iter::from_fn(|| engine.next_line());
    lines.map(|line| u64::from(matches!(line, Line::Connection(_)))).sum()
}

#[test]
fn a_report_has_the_summary_and_the_connections_that_live_told() {
    for trouble in troubles().into_iter().filter(|trouble| trouble.tick_ns == 100 * MS) {
        let (told, trace) = live(trouble);
        let lines: Vec<serde_json::Value> =
            text(&told).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str| {
            let lines = lines.iter().filter(|line| line["type"] == kind);
            lines.map(|line| without_type(line.clone())).collect::<Vec<_>>()
        };
        let wanted = Wanted { slowest: 100, ..Wanted::default() };
        let report = TraceReport::read(trace.as_slice(), &wanted, |_| {}).unwrap().report;
        // Read as the lines are: numbers with a fraction are rounded on the way.
        let report: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(report["summary"], of("summary")[0], "{trouble:?}");
        let by_number = |connections: Vec<serde_json::Value>| {
            connections.into_iter().map(|c| (c["conn"].as_u64(), c)).collect::<BTreeMap<_, _>>()
        };
        let reported = by_number(report["connections"].as_array().unwrap().clone());
        assert_eq!(reported, by_number(of("connection")), "{trouble:?}");
    }
}

fn without_type(mut line: serde_json::Value) -> serde_json::Value {
    line.as_object_mut().unwrap().remove("type");
    line
}

#[test]
fn what_a_full_map_cost_is_lost() {
    let (told, _) =
        live(Trouble { rules: true, lost: 0, full: 3, skipped: true, gone: false, tick_ns: 100 * MS });
    let summary: serde_json::Value = serde_json::from_str(text(&told).last().unwrap()).unwrap();
    assert_eq!(summary["lost"], 3);
}

#[test]
fn rules_that_libwrap_did_not_name_are_worked_out() {
    let (told, _) =
        live(Trouble { rules: false, lost: 0, full: 0, skipped: false, gone: false, tick_ns: 100 * MS });
    let refused =
        text(&told).into_iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let refused = refused.filter(|line| line["outcome"] == serde_json::to_value(Outcome::Refused).unwrap());
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|line| line["rule"]["how"] == "inferred"), "{refused:?}");
}

#[test]
fn a_stall_tells_the_queue_of_its_own_target() {
    let (told, _) =
        live(Trouble { rules: true, lost: 0, full: 0, skipped: false, gone: false, tick_ns: 100 * MS });
    let lines = text(&told).into_iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let stalls: Vec<_> = lines.filter(|line| line["type"] == "stall").collect();
    assert!(stalls.len() >= 3, "{stalls:?}");
    assert!(stalls.iter().all(|stall| stall["queued"] == 3), "{stalls:?}");
}

/// Losses that are counted before the ring is emptied are told after it, and may be younger than the last record that came through.
#[test]
fn a_check_that_began_before_a_loss_was_counted_is_no_stall() {
    let mut live = Live::begin(&head(true));
    let records = records(true);
    let last = records.last().unwrap().ts;
    // The check's beginning came through, and was in the ring while what followed was lost.
    let (before, check): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.ts < 12 * SEC);
    before.iter().for_each(|record| live.feed(Input::Record(&record.bytes)));
    let by = vec![("lost_file".to_owned(), 1)];
    live.feed(Lost { events: 1, by, since_ns: Some(SEC), until_ns: Some(last + 40 * SEC) });
    check.iter().for_each(|record| live.feed(Input::Record(&record.bytes)));
    live.feed(second(last + 43 * SEC, 0));
    assert!(!text(live.json.written()).iter().any(|line| line.contains(r#""type":"stall""#)));
    let asked = live.engine.questions(KtimeNs(last + 43 * SEC));
    assert!(asked.iter().any(|question| matches!(question, Question::AtListener { .. })), "{asked:?}");
}

/// What was not seen to end has no length: a check whose records were lost did not last until the trace's end.
#[test]
fn a_check_whose_end_may_be_lost_is_not_told_as_lasting_until_the_end() {
    let ended = |lost: bool| {
        let mut live = Live::begin(&head(true));
        let records = records(true);
        let last = records.last().unwrap().ts;
        records.iter().for_each(|record| live.feed(Input::Record(&record.bytes)));
        if lost {
            let by = vec![("lost_file".to_owned(), 1)];
            live.feed(Lost { events: 1, by, since_ns: Some(last), until_ns: Some(last + SEC) });
        }
        let (told, _) = live.end(End { at: KtimeNs(last + 43 * SEC), ..End::default() });
        let mut lines =
            text(&told).into_iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.rfind(|line| line["conn"] == 7).unwrap()
    };
    assert!(ended(false)["wrapper_ns"].as_u64().unwrap() >= 43 * SEC);
    let doubted = ended(true);
    assert!(doubted["wrapper_ns"].as_u64().unwrap() < SEC, "{doubted}");
    assert_eq!(doubted["complete"], false);
}

/// The kernel side tells the first failure, and then some: each says how often it was by then.
#[test]
fn accepts_that_fail_are_in_the_summary_of_a_recording_too() {
    let failed = |failures: u64, error, ms: u64| {
        let (kind, len) = (Kind::AcceptFailed as u16, 0);
        let hdr = abi::Header { ts_ns: SEC + ms * MS, conn: 0, tgid: TGID, tid: TGID, seq: 0, kind, len };
        let record = abi::AcceptFailed { hdr, enter_ns: 0, failures, listener: LISTENER, error };
        let mut bytes = Vec::new();
        encode(&Event::AcceptFailed(record), &mut bytes);
        bytes
    };
    let mut live = Live::begin(&head(true));
    let (emfile, enfile) = (libc::EMFILE, libc::ENFILE);
    // Two threads; and the first of the other error was lost.
    for bytes in
        [failed(1, emfile, 0), failed(9_000, emfile, 100), failed(8_999, emfile, 100), failed(3, enfile, 150)]
    {
        live.feed(Input::Record(&bytes));
    }
    let (told, trace) = live.end(End { at: KtimeNs(3 * SEC), ..End::default() });
    let summary: serde_json::Value = serde_json::from_str(text(&told).last().unwrap()).unwrap();
    let at = |ms| clock().wall(KtimeNs(SEC + ms * MS)).to_string();
    let expected = serde_json::json!([
        { "pid": TGID, "errno": "EMFILE", "count": 9_000, "first": at(0), "last": at(100) },
        { "pid": TGID, "errno": "ENFILE", "count": 3, "first": null, "last": at(150) },
    ]);
    assert_eq!(summary["accept_errors"], expected);
    let report = TraceReport::read(trace.as_slice(), &Wanted::default(), |_| {}).unwrap().report;
    let accepts_failed =
        report.findings.iter().filter(|finding| finding.id == crate::model::FindingId::AcceptsFailed);
    assert_eq!(accepts_failed.map(|finding| finding.evidence.count).collect::<Vec<_>>(), [9_000, 3]);
    assert_eq!(serde_json::to_value(&report.summary.accept_errors).unwrap(), expected);
}

/// Three clients are greeted at once and are in a check at their login, of which the beginning was lost.
#[test]
fn a_request_whose_beginning_was_lost_acquits_nobody() {
    let (mut sim, mut th) = (Sim::default(), main_thread());
    for n in 1..=3 {
        accepted(&mut sim, &mut th, n);
        let mut child = sim.fork(&mut th, 500 + u32::try_from(n).unwrap());
        sim.first_packet(&mut child, 6, *b"hello\n\0");
        sim.subject(&mut child, 100 + n, None, n, false);
        checks(&mut sim, &mut child, "proftpd", 800 * MS, 1);
        th.t = child.t + SEC;
    }
    let records = sim.records();
    let kinds = |lost: bool| {
        let mut engine = Engine::new(Options::default());
        for rec in records.iter().filter(|rec| !lost || rec.kind != Kind::Subject) {
            engine.feed(&Input::Record(&rec.bytes));
        }
        engine.finish();
        let requests =
            std::iter::from_fn(|| engine.next_line()).filter(|line| matches!(line, Line::Request(_)));
        (requests.count(), engine.summary().verdict_kind)
    };
    assert_eq!(kinds(false), (3, crate::model::VerdictKind::Wrappers));
    assert_eq!(kinds(true), (0, crate::model::VerdictKind::CannotTell));
}
