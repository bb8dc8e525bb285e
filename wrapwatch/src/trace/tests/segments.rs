//! Recordings in several files: rotation, the flight recorder's ring.

use std::path::{Path, PathBuf};

use super::*;
use crate::trace::{
    BlockSink, CreateError, DamageKind, FlightOptions, FlightRing, Limits, Save, SaveError, Segmented,
    Trigger, WriteError, is_continued, numbered,
};

const S: u64 = 1_000_000_000;

fn read_file(path: &Path) -> Vec<Owned> {
    read(&std::fs::read(path).unwrap()).unwrap()
}

fn records_of(items: &[Owned]) -> Vec<Vec<u8>> {
    items.iter().filter_map(|item| if let Owned::Record(r) = item { Some(r.clone()) } else { None }).collect()
}

fn table(text: &str) -> Input<'static> {
    let meta = SnapshotMeta { path: "/etc/hosts.allow".to_owned(), pid: Some(7), ..SnapshotMeta::default() };
    Snapshot { meta, bytes: text.as_bytes().to_vec() }.into()
}

/// Records `connections`, one every `gap_ns`, a block for each ten; the table changes after 100.
fn record<B: BlockSink>(w: &mut Writer<B>, connections: usize, per_s: u64) -> Vec<Vec<u8>> {
    w.write(&table("mysqld: ALL\n")).unwrap();
    let mut all = Vec::new();
    let mut synth = Synth::new(3, S, per_s);
    for n in 1..=connections {
        synth.connection(&mut |record| {
            all.push(record.to_vec());
            w.record(record).unwrap();
        });
        if n == 100 {
            w.write(&table("mysqld: 10.\n")).unwrap();
        }
        if n % 10 == 0 {
            w.flush_block().unwrap();
        }
    }
    all
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn rotated_files_are_small_complete_and_readable_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let limits = Limits { file_bytes: Some(20_000), ..Limits::default() };
    let out = Segmented::rotating(&path, false, limits).unwrap();
    let mut w = Writer::new(out, &head(), WriterOptions::offline()).unwrap();
    let all = record(&mut w, 500, 1_000);
    w.finish(End::default()).1.unwrap();
    let names = names(dir.path());
    assert!(names.len() > 4, "{names:?}");
    // The one being written last sorts behind the numbered ones.
    assert_eq!((names[0].as_str(), names[names.len() - 1].as_str()), ("a.000001.wwt", "a.wwt"));
    let mut seen = Vec::new();
    for (n, name) in (0..).zip(&names) {
        let path = dir.path().join(name);
        assert!(path.metadata().unwrap().len() <= 20_000, "{name}");
        let items = read_file(&path);
        let Owned::Head(h) = &items[0] else { panic!("{name}: {:?}", items[0]) };
        assert_eq!((h.file, h.hostname.as_str()), (n, "db1"));
        let first_snapshot =
            items.iter().find_map(|i| if let Owned::Snapshot(s) = i { Some(s) } else { None });
        let text = &first_snapshot.unwrap().bytes;
        let changed = seen.len() >= 100 * 30;
        assert_eq!(
            text.as_slice(),
            if changed { b"mysqld: 10.\n".as_slice() } else { b"mysqld: ALL\n" },
            "{name}"
        );
        assert!(!items.iter().any(|item| matches!(item, Owned::Damage(_))), "{name}");
        let Some(Owned::End(end)) = items.last() else { panic!("{name} has no end") };
        assert_eq!(is_continued(end), n + 1 < names.len() as u64);
        seen.extend(records_of(&items));
        assert_eq!(end.records, seen.len() as u64);
    }
    assert_eq!(seen, all);
}

#[test]
fn only_the_latest_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let limits = Limits { file_bytes: Some(20_000), keep_files: Some(2), ..Limits::default() };
    let out = Segmented::rotating(&path, false, limits).unwrap();
    let mut w = Writer::new(out, &head(), WriterOptions::offline()).unwrap();
    let all = record(&mut w, 500, 1_000);
    let size = w.size();
    w.finish(End::default()).1.unwrap();
    let names = names(dir.path());
    assert_eq!(names.len(), 3, "{names:?}");
    let kept: Vec<Vec<u8>> =
        names.iter().flat_map(|name| records_of(&read_file(&dir.path().join(name)))).collect();
    assert_eq!(kept, all[all.len() - kept.len()..]);
    assert!(size > 60_000, "what is gone counts as written");
}

#[test]
fn rotation_touches_nothing_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    std::fs::write(dir.path().join("a.000001.wwt"), "old").unwrap();
    let limits = Limits { file_bytes: Some(20_000), keep_files: Some(1), ..Limits::default() };
    let out = Segmented::rotating(&path, false, limits).unwrap();
    let mut w = Writer::new(out, &head(), WriterOptions::offline()).unwrap();
    record(&mut w, 300, 1_000);
    drop(w);
    assert_eq!(std::fs::read(dir.path().join("a.000001.wwt")).unwrap(), b"old");
    let again = Segmented::rotating(&path, false, limits);
    assert!(matches!(again, Err(WriteError::Create(CreateError::Exists(_)))));
}

fn flight(dir: &Path, last_s: u64, ring_bytes: u64, total_bytes: u64) -> (PathBuf, Writer<FlightRing>) {
    let path = dir.join("f.wwt");
    let options = FlightOptions { last_ns: last_s * S, ring_bytes, total_bytes };
    let ring = FlightRing::create(&path, false, options).unwrap();
    (path, Writer::new(ring, &head(), WriterOptions::offline()).unwrap())
}

#[test]
fn the_ring_holds_the_last_minutes_and_saves_them_as_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut w) = flight(dir.path(), 10, 1 << 30, 1 << 32);
    let all = record(&mut w, 600, 10);
    assert!(!path.exists(), "nothing happened yet");
    let segments = names(&dir.path().join("f.wwt.ring")).len();
    assert!((8..=11).contains(&segments), "{segments}");
    let now = u64::from_le_bytes(all[all.len() - 1][..8].try_into().unwrap());
    let saved = w.out_mut().save("queued>1s", KtimeNs(now)).unwrap().run().unwrap();
    assert_eq!(saved.path, path);
    let items = read_file(&path);
    assert_eq!(saved.bytes, path.metadata().unwrap().len());
    let kept = records_of(&items);
    assert_eq!(kept, all[all.len() - kept.len()..], "the latest, without a gap");
    let first = u64::from_le_bytes(kept[0][..8].try_into().unwrap());
    // The record before the first may be just older.
    assert!(now - first >= 10 * S - S / 5, "all of the time asked for");
    assert!(now - first <= 13 * S, "and little more");
    let count = |f: &dyn Fn(&Owned) -> bool| items.iter().filter(|item| f(item)).count();
    assert_eq!(count(&|item| matches!(item, Owned::Damage(_))), 0);
    assert_eq!(count(&|item| matches!(item, Owned::Head(_))), 1);
    assert_eq!(count(&|item| matches!(item, Owned::Snapshot(s) if s.bytes == b"mysqld: 10.\n")), 1);
    let Some(Owned::End(end)) = items.last() else { panic!("no end") };
    assert_eq!(end.reason, "queued>1s");
    let second = w.out_mut().save("lost", KtimeNs(now)).unwrap().run().unwrap();
    assert_eq!(second.path, numbered(&path, 1));
    let (ring, ended) = w.finish(End::default());
    ended.unwrap();
    ring.remove().unwrap();
    assert_eq!(names(dir.path()), ["f.000001.wwt", "f.wwt"]);
}

#[test]
fn the_ring_is_no_larger_than_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let options = FlightOptions::within(2 << 20, 3600 * S);
    let ring = FlightRing::create(&dir.path().join("f.wwt"), false, options).unwrap();
    let ring_bytes = options.ring_bytes;
    let mut w = Writer::new(ring, &head(), WriterOptions::offline()).unwrap();
    let mut largest = 0;
    let mut synth = Synth::new(3, S, 1_000);
    for n in 0..8_000 {
        synth.connection(&mut |record| w.record(record).unwrap());
        if n % 100 == 0 {
            w.flush_block().unwrap();
            largest = largest.max(w.out().segments.present_bytes());
        }
    }
    assert!(largest > 400_000, "it was full: {largest}");
    assert!(largest <= ring_bytes, "{largest}");
    let on_disk: u64 =
        std::fs::read_dir(w.out().dir()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(on_disk <= ring_bytes, "{on_disk}");
    for n in 0..10 {
        match w.out_mut().save("lost", KtimeNs(0)) {
            Ok(save) => {
                let saved = save.run().unwrap();
                w.out_mut().saved(&saved.path);
                assert!(saved.bytes > 0 && n < 3);
            }
            Err(SaveError::Cap { .. }) => {
                assert_eq!(n, 3, "with the ring itself, 2 MiB hold three");
                return;
            }
            Err(err) => panic!("{err}"),
        }
    }
    panic!("no limit");
}

#[test]
fn a_ring_left_behind_becomes_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut w) = flight(dir.path(), 10, 1 << 30, 1 << 32);
    let all = record(&mut w, 200, 10);
    let ring = w.out().dir().to_owned();
    // Killed: nothing is finished.
    std::mem::forget(w);
    let saved = Save::of_dir(&ring, &path, false).unwrap().run().unwrap();
    let items = read_file(&saved.path);
    let kept = records_of(&items);
    assert_eq!(kept, all[all.len() - kept.len()..]);
    assert!(
        kept.len() > 90 * 30
            && !items.iter().any(|item| matches!(item, Owned::Damage(d) if d.kind != DamageKind::NoEnd))
    );
    let options = FlightOptions::within(1 << 20, S);
    assert!(FlightRing::create(&path, false, options).is_err(), "the ring is there");
    assert!(FlightRing::create(&path, true, options).is_ok());
    assert_eq!(read_file(&path).len(), items.len(), "what was saved stays as it is");
}

#[test]
fn a_trigger_waits_for_the_end_of_it_and_then_rests() {
    let mut t = Trigger::new(5, 100);
    assert_eq!(t.due(KtimeNs(1)), None);
    assert!(t.happened(KtimeNs(10), "queued>1s"));
    assert!(!t.happened(KtimeNs(12), "refused"), "is saved with the first");
    assert_eq!(t.due(KtimeNs(14)), None);
    assert_eq!(t.due(KtimeNs(15)).as_deref(), Some("queued>1s"));
    assert_eq!(t.due(KtimeNs(16)), None, "told once");
    assert!(!t.happened(KtimeNs(114), "refused"), "cooling");
    assert_eq!(t.suppressed(), 2);
    assert!(t.happened(KtimeNs(115), "lost"));
    assert_eq!(t.pending().as_deref(), Some("lost"));
    assert_eq!(t.pending(), None);
}
