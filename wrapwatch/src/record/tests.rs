//! The flight recorder keeps to its limit, and what it saves holds what set it off, whatever comes.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{FlightPlan, Plan, Recorder};
use crate::{
    correlate::tests as lab,
    decode::decode,
    model::{Connection, KtimeNs, Line, Outcome},
    observe::Observer as _,
    trace::{
        Condition, End, FlightOptions, Head, Input, Reader, Sample, Snapshot, SnapshotMeta, SnapshotRole,
        Target, numbered,
        synth::{SplitMix, Synth},
    },
};

const SECOND_NS: u64 = 1_000_000_000;

/// A server whose clients come at any rate, and a recorder beside it.
struct Case {
    random: SplitMix,
    dir: tempfile::TempDir,
    limit: u64,
    told: Connection,
    recorder: Recorder,
    synth: Synth,
    /// Records of each connection, by its number less one.
    records: Vec<usize>,
    /// What a trace will be saved for.
    armed: Option<u64>,
    /// What traces were saved for, in turn.
    saved_for: Vec<u64>,
    largest: u64,
    bytes: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let limit = [256 << 10, 300_000, 1 << 20, 4 << 20][usize::try_from(seed % 4).unwrap()];
        let dir = tempfile::tempdir().unwrap();
        let per_s = [10, 300, 3_000, 20_000][usize::try_from(random.below(4)).unwrap()];
        let plan = FlightPlan {
            ring: FlightOptions::within(limit, (1 + random.below(600)) * SECOND_NS),
            when: vec![Condition::Refused],
            after_ns: [1, 200_000_000, 30 * SECOND_NS][usize::try_from(random.below(3)).unwrap()],
            cooldown_ns: 1 + random.below(SECOND_NS),
        };
        let path = dir.path().join("f.wwt");
        let mut recorder = Recorder::new(&path, Plan::Flight(plan), false, Vec::new()).unwrap();
        let target = Target { pid: 24_516, comm: "mysqld".to_owned(), ..Target::default() };
        let head = Head { targets: vec![target], ..Head::default() };
        recorder.input(&(&head).into()).unwrap();
        Self {
            random,
            dir,
            limit,
            told: told(),
            recorder,
            synth: Synth::new(seed, SECOND_NS, per_s),
            records: Vec::new(),
            armed: None,
            saved_for: Vec::new(),
            largest: 0,
            bytes: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("f.wwt")
    }

    fn now(&self) -> KtimeNs {
        KtimeNs(self.synth.now_ns())
    }

    /// After each write: all there is keeps to the limit.
    fn look(&mut self) {
        let bytes = self.recorder.progress().bytes;
        if bytes != self.bytes {
            self.bytes = bytes;
            let there = bytes_in(self.dir.path());
            self.largest = self.largest.max(there);
            assert!(there <= self.limit, "{there} bytes of {}", self.limit);
        }
    }

    fn connection(&mut self) {
        let mut records = Vec::new();
        let begun = self.now();
        self.synth.connection(&mut |record| records.push(record.to_vec()));
        let conn = self.synth.connections();
        let of_it = records.iter().filter(|record| conn_of(record) == conn).count();
        self.records.push(of_it);
        for record in &records {
            self.recorder.input(&Input::Record(record)).unwrap();
            self.look();
        }
        let refused = self.random.below(10) == 0;
        let outcome = if refused { Outcome::Refused } else { Outcome::Greeted };
        let line = Connection { conn, accepted_ktime: begun, outcome, queued_ns: None, ..self.told.clone() };
        self.recorder.line(&Line::Connection(Box::new(line))).unwrap();
        self.look();
        self.listen(conn);
    }

    /// What the recorder says of its saves.
    fn listen(&mut self, conn: u64) {
        for message in self.recorder.take_messages() {
            if message.contains("will be saved") {
                self.saved_for.extend(self.armed.replace(conn));
            } else if message.contains("not saved") {
                self.armed = None;
            }
        }
    }

    /// Something else that is written from time to time.
    fn other(&mut self) {
        let at = self.now();
        match self.random.below(40) {
            0 => {
                let sample = Sample { at, ..Sample::default() };
                self.recorder.input(&(&sample).into()).unwrap();
            }
            1 => {
                // A table that somebody edits, of any size, and as hard to compress as can be.
                let size = self.random.below(17);
                let words = self.random.below(1 << size);
                let bytes: Vec<u8> = (0..words).flat_map(|_| self.random.next().to_le_bytes()).collect();
                let role = SnapshotRole::HostsAllow;
                let path = format!("/etc/hosts.allow.{}", self.random.below(30));
                let meta = SnapshotMeta { at, role, path, pid: Some(24_516), ..SnapshotMeta::default() };
                self.recorder.input(&Snapshot { meta, bytes }.into()).unwrap();
            }
            2 => {
                let pid = 24_516 + u32::try_from(self.random.below(3)).unwrap();
                let cmdline = vec![format!("{:x}", self.random.next()); 100];
                let target = Target { pid, cmdline, ..Target::default() };
                self.recorder.input(&(&target).into()).unwrap();
            }
            3..=9 => self.recorder.tick(at).unwrap(),
            _ => return,
        }
        self.look();
        self.listen(0);
    }

    /// Ends it, and looks at all that was saved.
    fn end(mut self) -> (u64, usize) {
        let end = End { at: self.now(), ..End::default() };
        self.recorder.input(&(&end).into()).unwrap();
        let path = self.path();
        let saved_at_end = self.recorder.finish().is_ok();
        if saved_at_end {
            self.saved_for.extend(self.armed.take());
        }
        assert!(bytes_in(self.dir.path()) <= self.limit);
        for (n, conn) in (0..).zip(&self.saved_for) {
            let trace = if n == 0 { path.clone() } else { numbered(&path, n) };
            let made = self.records[usize::try_from(*conn - 1).unwrap()];
            let kept = records_of(&trace, *conn);
            assert_eq!(kept, made, "{} was saved for connection {conn}", trace.display());
        }
        (self.largest, self.saved_for.len())
    }
}

/// A connection as it is told, to be changed.
fn told() -> Connection {
    let mut correlator = lab::correlator();
    let records = lab::scenes::turned_away();
    for record in &records {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    correlator.finish(KtimeNs(records.last().unwrap().ts));
    *correlator.pop().unwrap()
}

fn conn_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(record[8..16].try_into().unwrap())
}

/// How many records of a connection are in a trace.
fn records_of(trace: &Path, conn: u64) -> usize {
    let mut reader = Reader::new(std::fs::File::open(trace).unwrap());
    let mut count = 0;
    while let Some(item) = reader.next_input().unwrap() {
        count += usize::from(matches!(item, Input::Record(record) if conn_of(record) == conn));
    }
    count
}

/// Bytes of all files in a directory and below. Traces are saved beside, by another thread: one that goes or gets its name while this looks counts for nothing, or once.
fn bytes_in(dir: &Path) -> u64 {
    fn add(dir: &Path, files: &mut HashMap<u64, u64>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() => add(&path, files),
                Ok(meta) => {
                    files.insert(meta.ino(), meta.len());
                }
                Err(_) => {}
            }
        }
    }
    let mut files = HashMap::new();
    add(dir, &mut files);
    files.values().sum()
}

#[test]
fn the_limit_holds_at_every_moment_and_what_is_saved_holds_what_set_it_off() {
    let mut saved = 0;
    for seed in 0..8 {
        let mut case = Case::new(seed);
        for _ in 0..1_200 {
            case.connection();
            case.other();
        }
        let limit = case.limit;
        let (largest, traces) = case.end();
        println!("seed {seed}: {largest} of {limit} bytes, {traces} saved");
        saved += traces;
    }
    assert!(saved > 8, "something was tested: {saved}");
}

#[test]
fn a_request_sets_the_recorder_off_as_a_connection_does() {
    let mut case = Case::new(0);
    case.connection();
    case.recorder.take_messages();
    let now = case.now();
    let told = |outcome| Connection { accepted_ktime: now, outcome, within: Some(1), ..told() };
    let mut said = |outcome| {
        case.recorder.line(&Line::Request(Box::new(told(outcome)))).unwrap();
        case.recorder.take_messages().iter().any(|message| message.contains("will be saved"))
    };
    assert_eq!((said(Outcome::Admitted), said(Outcome::Refused)), (false, true));
}
