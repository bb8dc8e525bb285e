//! The writer and the reader together.

mod damage;
mod fixture;
mod segments;
mod size;

use super::synth::Synth;
use super::{
    End, Head, Input, ReadError, Reader, Sample, SingleFile, Snapshot, SnapshotMeta, SnapshotRole, Target,
    Writer, WriterOptions,
};
use crate::model::{ClockPair, Degradation, DegradationKind, KtimeNs, Lost};

/// An input without its lifetime.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Head(Head),
    Record(Vec<u8>),
    Sample(Sample),
    Snapshot(Snapshot),
    Clock(ClockPair),
    Target(Target),
    Degradation(Degradation),
    Lost(Lost),
    Damage(super::Damage),
    End(End),
}

impl From<Input<'_>> for Owned {
    fn from(input: Input<'_>) -> Self {
        match input {
            Input::Head(x) => Self::Head(x.into_owned()),
            Input::Record(x) => Self::Record(x.to_vec()),
            Input::Sample(x) => Self::Sample(x.into_owned()),
            Input::File(x) => Self::Snapshot(x.into_owned()),
            Input::Clock(x) => Self::Clock(x),
            Input::Target(x) => Self::Target(x.into_owned()),
            Input::Degradation(x) => Self::Degradation(x.into_owned()),
            Input::Loss(x) => Self::Lost(x.into_owned()),
            Input::Damage(x) => Self::Damage(x),
            Input::End(x) => Self::End(x.into_owned()),
            Input::Time(at) => panic!("time is not stored: {at:?}"),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Owned>, ReadError> {
    let mut reader = Reader::new(bytes);
    let mut items = Vec::new();
    while let Some(item) = reader.next_input()? {
        items.push(Owned::from(item));
    }
    assert!(reader.next_input()?.is_none(), "nothing comes behind the end");
    Ok(items)
}

fn head() -> Head {
    let clock = ClockPair { ktime: KtimeNs(1_000), wall_ns: 1_795_326_189_000_000_000 };
    let target = Target { pid: 24_516, comm: "mysqld".to_owned(), ..Target::default() };
    Head { hostname: "db1".to_owned(), clock, targets: vec![target], ..Head::default() }
}

fn records(seed: u64, connections: usize) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut synth = Synth::new(seed, 2_000, 1_000);
    for _ in 0..connections {
        synth.connection(&mut |record| records.push(record.to_vec()));
    }
    records
}

fn writer() -> Writer<SingleFile<Vec<u8>>> {
    Writer::new(SingleFile::new(Vec::new()), &head(), WriterOptions::offline()).unwrap()
}

fn finish(writer: Writer<SingleFile<Vec<u8>>>, end: End) -> Vec<u8> {
    let (out, result) = writer.finish(end);
    result.unwrap();
    out.into_inner()
}

/// A small trace with everything in it, and what it should read as.
fn small() -> (Vec<u8>, Vec<Owned>) {
    let mut expected = vec![Owned::Head(head())];
    let mut w = writer();
    let meta = SnapshotMeta {
        at: KtimeNs(1_100),
        role: SnapshotRole::HostsAllow,
        path: "/etc/hosts.allow".to_owned(),
        ..SnapshotMeta::default()
    };
    // Bytes, not text: a line end and something that is not UTF-8.
    let snapshot = Snapshot { meta, bytes: b"mysqld: .corp.example\n\xff\n".to_vec() };
    w.write(&Input::from(&snapshot)).unwrap();
    expected.push(Owned::Snapshot(snapshot));
    for seed in 1..4 {
        for record in records(seed, 2) {
            w.record(&record).unwrap();
            expected.push(Owned::Record(record));
        }
        let pair = ClockPair { ktime: KtimeNs(seed * 1_000_000), wall_ns: 1_795_326_189_000_000_000 };
        w.write(&pair.into()).unwrap();
        expected.push(Owned::Clock(pair));
    }
    let sample = Sample { at: KtimeNs(9_000_000), ..Sample::default() };
    w.write(&Input::from(&sample)).unwrap();
    let target = Target { pid: 7, ..Target::default() };
    w.write(&Input::from(&target)).unwrap();
    let degradation =
        Degradation { kind: DegradationKind::NoUprobes, pid: None, message: "no uprobes".to_owned() };
    w.write(&Input::from(&degradation)).unwrap();
    let lost = Lost { events: 3, by: vec![("lost_file".to_owned(), 3)], ..Lost::default() };
    w.write(&Input::from(&lost)).unwrap();
    let n = expected.iter().filter(|item| matches!(item, Owned::Record(_))).count() as u64;
    let end = End { at: KtimeNs(10_000_000), reason: "done".to_owned(), ..End::default() };
    let bytes = finish(w, end.clone());
    expected.extend([
        Owned::Sample(sample),
        Owned::Target(target),
        Owned::Degradation(degradation),
        Owned::Lost(lost),
        Owned::End(End { records: n, ..end }),
    ]);
    (bytes, expected)
}

#[test]
fn everything_comes_back_in_order() {
    let (bytes, expected) = small();
    assert_eq!(read(&bytes).unwrap(), expected);
}

#[test]
fn a_block_is_written_when_its_first_record_is_old_enough() {
    let options = WriterOptions::default();
    let mut w = Writer::new(SingleFile::new(Vec::new()), &head(), options).unwrap();
    let record = &records(1, 1)[0];
    let at = u64::from_le_bytes(record[..8].try_into().unwrap());
    w.record(record).unwrap();
    let before = w.size();
    w.tick(KtimeNs(at + 700_000_000)).unwrap();
    assert_eq!(w.size(), before, "too early");
    w.tick(KtimeNs(at + 800_000_000)).unwrap();
    assert!(w.size() > before);
}

#[test]
fn a_block_is_written_when_it_is_large_enough() {
    let options = WriterOptions { block_bytes: 10_000, ..WriterOptions::offline() };
    let mut w = Writer::new(SingleFile::new(Vec::new()), &head(), options).unwrap();
    let records = records(1, 100);
    let mut held = 0;
    for record in &records {
        let before = w.size();
        w.record(record).unwrap();
        held = if w.size() > before { 0 } else { held + record.len() };
        assert!(held < 10_000);
    }
    let back = read(&finish(w, End::default())).unwrap();
    assert_eq!(back.len(), records.len() + 2);
}

#[test]
fn bytes_that_are_not_a_record_are_refused_and_do_no_harm() {
    let mut w = writer();
    assert!(w.record(b"short").is_err());
    let record = &records(1, 1)[0];
    w.record(record).unwrap();
    let back = read(&finish(w, End::default())).unwrap();
    assert_eq!(back[1], Owned::Record(record.clone()));
    assert_eq!(back.len(), 3);
}

#[test]
fn what_the_kernel_rounded_up_is_not_kept() {
    let mut w = writer();
    let mut record = records(1, 1)[0].clone();
    let exact = record.clone();
    record.extend_from_slice(&[0xaa; 5]);
    w.record(&record).unwrap();
    assert_eq!(read(&finish(w, End::default())).unwrap()[1], Owned::Record(exact));
}
