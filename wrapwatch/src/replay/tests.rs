//! Traces in memory, told.

use std::collections::BTreeMap;

use super::*;
use crate::engine::Filter;
use crate::model::{Lost, Outcome};
use crate::trace::synth::Synth;
use crate::trace::{End, Head, Origin, Sample, SingleFile, Writer, WriterOptions};

const SECOND_NS: u64 = 1_000_000_000;

fn trace(connections: u64) -> Vec<u8> {
    let head = Head {
        clock: ClockPair { ktime: KtimeNs(1_000), wall_ns: 1_795_326_189_000_000_000 },
        ..Head::default()
    };
    let mut writer = Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap();
    let mut synth = Synth::new(7, 1_000_000_000, 100);
    for _ in 0..connections {
        synth.connection(&mut |record| writer.record(record).unwrap());
    }
    let end = End { at: KtimeNs(synth.now_ns()), ..End::default() };
    let (out, result) = writer.finish(end);
    result.unwrap();
    out.into_inner()
}

fn lines(bytes: &[u8], filter: Filter) -> Vec<Line> {
    let options = Options { filter, ..Options::default() };
    Replay::new(bytes, options).collect::<Result<_, _>>().unwrap()
}

fn connections(lines: &[Line]) -> usize {
    lines.iter().filter(|line| matches!(line, Line::Connection(_))).count()
}

#[test]
fn every_connection_is_told_and_the_summary_is_the_last_line() {
    let lines = lines(&trace(50), Filter::default());
    assert_eq!(connections(&lines), 50);
    let Some(Line::Summary(summary)) = lines.last() else { panic!("{:?}", lines.last()) };
    assert_eq!((summary.connections, summary.incomplete, summary.accepts), (50, 0, 50));
    assert_eq!(summary.outcomes[0].outcome, Outcome::Greeted);
}

#[test]
fn filters_choose_connections_and_the_summary_is_of_those() {
    let bytes = trace(50);
    let filter = Filter { until: Some("+1200ms".parse().unwrap()), ..Filter::default() };
    let early = lines(&bytes, filter);
    assert!((15..25).contains(&connections(&early)), "{}", connections(&early));
    let Some(Line::Summary(summary)) = early.last() else { panic!() };
    assert_eq!(summary.connections, connections(&early) as u64);
    let none = |filter| assert_eq!(connections(&lines(&bytes, filter)), 0);
    none(Filter { outcomes: vec![Outcome::Refused], ..Filter::default() });
    none(Filter { nameservers: vec!["10.9.9.9".parse().unwrap()], ..Filter::default() });
    none(Filter { slow_ns: Some(10_000_000_000), ..Filter::default() });
    none(Filter { peers: vec!["192.0.2.0/24".parse().unwrap()], ..Filter::default() });
    let all = |filter| assert_eq!(connections(&lines(&bytes, filter)), 50);
    all(Filter { peers: vec!["10.0.0.0/8".parse().unwrap()], ..Filter::default() });
    all(Filter { nameservers: vec!["10.77.53.2".parse().unwrap()], ..Filter::default() });
}

#[test]
fn a_report_of_nobody_says_that_there_are_others() {
    let bytes = trace(5);
    let filter = Filter { peers: vec!["192.0.2.0/24".parse().unwrap()], ..Filter::default() };
    let whole = TraceReport::read(bytes.as_slice(), &Wanted { filter, ..Wanted::default() }, |_| {}).unwrap();
    assert_eq!(whole.report.verdict, "The filter matched none of the trace's 5 connections.");
    assert_eq!(whole.report.summary.verdict, whole.report.verdict);
}

#[test]
fn a_cut_trace_is_told_up_to_the_cut() {
    let bytes = trace(50);
    let mut replay = Replay::new(&bytes[..bytes.len() - 20], Options::default());
    while replay.next_line().unwrap().is_some() {}
    assert_eq!(replay.context().damage_count, 1);
    assert!(replay.context().end.is_none());
}

/// A check that has begun and does not end, then what `rest` writes.
fn hanging(origin: Origin, rest: impl FnOnce(&mut Writer<SingleFile<Vec<u8>>>)) -> usize {
    let clock = ClockPair { ktime: KtimeNs(1_000), wall_ns: 0 };
    let head = Head { origin, clock, ..Head::default() };
    let mut writer = Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap();
    let mut records = Vec::new();
    Synth::new(7, SECOND_NS, 100).connection(&mut |record| records.push(record.to_vec()));
    records.iter().take(6).for_each(|record| writer.record(record).unwrap());
    rest(&mut writer);
    let (out, ended) = writer.finish(End { at: KtimeNs(51 * 3600 * SECOND_NS), ..End::default() });
    ended.unwrap();
    let lines = lines(&out.into_inner(), Filter::default());
    lines.iter().filter(|line| matches!(line, Line::Stall(_))).count()
}

fn sample(second: u64, whole: bool) -> Sample {
    let counters = if whole { [("accepts".to_owned(), 1)].into() } else { BTreeMap::new() };
    Sample { at: KtimeNs(second * SECOND_NS), counters, ..Sample::default() }
}

#[test]
fn of_hours_without_an_event_not_every_second_is_told() {
    let stalls = hanging(Origin::Strace, |writer| {
        (1..=50).for_each(|hour| writer.write(&sample(hour * 3600, true).into()).unwrap());
    });
    assert!((3 * 3600..5 * 3600).contains(&stalls), "{stalls}");
}

#[test]
fn a_stall_is_told_at_the_samples_of_each_second() {
    let seconds = [(5, false), (6, true), (7, true)];
    let stalls = hanging(Origin::Kernel, |writer| {
        seconds.iter().for_each(|&(second, whole)| writer.write(&sample(second, whole).into()).unwrap());
    });
    assert_eq!(stalls, 2);
}

/// What comes before may be later than the loss: the recorder was told of it only afterwards.
#[test]
fn what_was_lost_within_a_second_is_told_before_its_stalls() {
    let stalls = hanging(Origin::Kernel, |writer| {
        writer.write(&sample(5, false).into()).unwrap();
        let by = vec![("lost_other".to_owned(), 3)];
        writer.write(&Lost { events: 3, by, ..Lost::default() }.into()).unwrap();
        writer.write(&sample(6, true).into()).unwrap();
    });
    assert_eq!(stalls, 0);
}
