//! A trace is published while it is written, rotated, begun anew, cut; what was counted is what was written.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::*;
use crate::engine::Options;
use crate::model::{ClockPair, KtimeNs, Line};
use crate::observe::Observer;
use crate::trace::synth::Synth;
use crate::trace::{End, Head, Limits, Sample, Segmented, SingleFile, Writer, WriterOptions};

const S: u64 = 1_000_000_000;

fn head(began_s: u64) -> Head {
    let wall_ns = 1_795_326_000_000_000_000 + i64::try_from(began_s * S).unwrap();
    Head { clock: ClockPair { ktime: KtimeNs(began_s * S), wall_ns }, ..Head::default() }
}

/// A recorder without a kernel: ten connections a block, and a sample.
pub(super) struct Recorder {
    writer: Writer<Segmented>,
    synth: Synth,
}

impl Recorder {
    pub(super) fn begin(path: &Path, began_s: u64, limits: Limits) -> Self {
        let out = Segmented::rotating(path, true, limits).unwrap();
        let writer = Writer::new(out, &head(began_s), WriterOptions::offline()).unwrap();
        Self { writer, synth: Synth::new(began_s, began_s * S, 100) }
    }

    pub(super) fn blocks(&mut self, blocks: usize) {
        for _ in 0..blocks {
            for _ in 0..10 {
                self.synth.connection(&mut |record| self.writer.record(record).unwrap());
            }
            self.writer.flush_block().unwrap();
            let accepts = self.synth.connections();
            let counters = [("accepts".to_owned(), accepts)].into();
            let at = KtimeNs(self.synth.now_ns());
            self.writer.write(&Sample { at, counters, ..Sample::default() }.into()).unwrap();
        }
    }

    /// So much later that the last connection has been told of.
    pub(super) fn end(self) {
        let at = KtimeNs(self.synth.now_ns() + 2 * S);
        self.writer.finish(End { at, ..End::default() }).1.unwrap();
    }
}

pub(super) fn read_on(publisher: &mut Publisher) {
    while publisher.poll(1_000).unwrap() == Polled::More {}
}

/// The value of a series without labels; 0 where it has none.
pub(super) fn value(publisher: &Publisher, name: &str) -> u64 {
    let text = publisher.metrics().prometheus_text();
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.map_or(0, |value| value.parse().unwrap())
}

pub(super) fn waits(publisher: &Publisher) -> u64 {
    value(publisher, "wrapwatch_client_wait_seconds_count")
}

pub(super) fn rotating(file_bytes: u64, keep_files: Option<usize>) -> Limits {
    Limits { file_bytes: Some(file_bytes), keep_files, ..Limits::default() }
}

#[test]
fn what_is_written_is_published_over_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    // Begun before the recorder: it waits for the trace.
    let mut publisher = Publisher::new(&path, true, None).unwrap();
    read_on(&mut publisher);
    let mut recorder = Recorder::begin(&path, 1, rotating(20_000, Some(1)));
    for _ in 0..60 {
        recorder.blocks(1);
        read_on(&mut publisher);
        assert_eq!(value(&publisher, "wrapwatch_accepts_total"), recorder.synth.connections());
    }
    recorder.end();
    read_on(&mut publisher);
    assert_eq!(waits(&publisher), 600);
    assert_eq!(value(&publisher, "wrapwatch_files_missed_total"), 0);
    assert_eq!(publisher.take_notes(), Vec::<String>::new());
    assert!(!publisher.metrics().prometheus_text().contains("trace_damages_total{"));
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 2, "the first files are gone");
}

#[test]
fn what_was_gone_before_it_could_be_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, rotating(20_000, Some(1)));
    recorder.blocks(1);
    let mut publisher = Publisher::new(&path, true, None).unwrap();
    read_on(&mut publisher);
    recorder.blocks(60);
    read_on(&mut publisher);
    let missed = value(&publisher, "wrapwatch_files_missed_total");
    assert!(missed > 1, "{missed}");
    let notes = publisher.take_notes();
    assert!(notes.len() == 1 && notes[0].starts_with(&missed.to_string()), "{notes:?}");
    let told = waits(&publisher);
    assert!((20..600).contains(&told), "{told}");
    // The kernel side's own count shows how many there were.
    assert_eq!(value(&publisher, "wrapwatch_accepts_total"), 610);
}

#[test]
fn a_recorder_that_is_started_anew_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut publisher = Publisher::new(&path, true, None).unwrap();
    let mut first = Recorder::begin(&path, 1, Limits::default());
    first.blocks(3);
    read_on(&mut publisher);
    // Killed: the trace has no end.
    drop(first);
    let mut second = Recorder::begin(&path, 100, Limits::default());
    second.blocks(2);
    second.end();
    read_on(&mut publisher);
    assert_eq!((waits(&publisher), value(&publisher, "wrapwatch_recordings_total")), (50, 2));
    assert_eq!(value(&publisher, "wrapwatch_accepts_total"), 50);
    assert_eq!(value(&publisher, "wrapwatch_trace_damages_total{kind=\"no_end\"}"), 1);
}

/// Its numbers go on, though the first ones are free again: what the earlier one has left does not come behind what is new.
#[test]
fn a_recorder_that_is_started_anew_with_few_files_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut publisher = Publisher::new(&path, true, None).unwrap();
    for since in [1, 1_000] {
        let mut recorder = Recorder::begin(&path, since, rotating(20_000, Some(2)));
        for _ in 0..60 {
            recorder.blocks(1);
            read_on(&mut publisher);
        }
        recorder.end();
        read_on(&mut publisher);
    }
    assert_eq!((waits(&publisher), value(&publisher, "wrapwatch_recordings_total")), (1_200, 2));
    assert!(!dir.path().join("a.000001.wwt").exists());
}

#[test]
fn a_block_that_is_half_there_is_waited_for() {
    let whole = tempfile::tempdir().unwrap();
    let path = whole.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, Limits::default());
    recorder.blocks(4);
    recorder.end();
    let bytes = fs::read(&path).unwrap();
    let grown = whole.path().join("b.wwt");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&grown).unwrap();
    let mut publisher = Publisher::new(&grown, true, None).unwrap();
    for piece in bytes.chunks(37) {
        file.write_all(piece).unwrap();
        read_on(&mut publisher);
    }
    assert_eq!(waits(&publisher), 40);
    assert!(!publisher.metrics().prometheus_text().contains("trace_damages_total{"));
}

#[test]
fn behind_a_cut_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, Limits::default());
    recorder.blocks(4);
    let mut publisher = Publisher::new(&path, true, None).unwrap();
    read_on(&mut publisher);
    // Somebody empties the file under the recorder, which goes on appending.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    read_on(&mut publisher);
    assert_eq!(publisher.take_notes(), [format!("{} was cut while it was read", path.display())]);
    recorder.blocks(2);
    recorder.end();
    read_on(&mut publisher);
    assert_eq!(waits(&publisher), 60);
}

#[test]
fn a_later_run_counts_nothing_twice() {
    // The earlier run is killed after so many blocks.
    for blocks in [0_u8, 1, 7, 20, 30] {
        let dir = tempfile::tempdir().unwrap();
        let (path, position) = (dir.path().join("a.wwt"), dir.path().join("position"));
        let mut recorder = Recorder::begin(&path, 1, rotating(20_000, None));
        let mut earlier = Publisher::new(&path, true, Some(position.clone())).unwrap();
        for _ in 0..blocks {
            recorder.blocks(1);
            read_on(&mut earlier);
            earlier.published().unwrap();
        }
        let counted = (waits(&earlier), value(&earlier, "wrapwatch_accepts_total"));
        drop(earlier);
        let mut later = Publisher::new(&path, true, Some(position.clone())).unwrap();
        assert_eq!(later.is_ready(), blocks == 0, "what was published is read again first");
        read_on(&mut later);
        assert!(later.is_ready());
        if blocks > 0 {
            assert_eq!((waits(&later), value(&later, "wrapwatch_accepts_total")), (0, 0), "after {blocks}");
        }
        recorder.blocks(10);
        recorder.end();
        read_on(&mut later);
        let all = (counted.0 + waits(&later), counted.1 + value(&later, "wrapwatch_accepts_total"));
        let written = 10 * (u64::from(blocks) + 10);
        assert_eq!(all, (written, written), "after {blocks} blocks");
        assert_eq!(value(&later, "wrapwatch_files_missed_total"), 0);
    }
}

#[test]
fn a_later_run_says_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, position) = (dir.path().join("a.wwt"), dir.path().join("position"));
    let mut recorder = Recorder::begin(&path, 1, rotating(20_000, Some(1)));
    recorder.blocks(1);
    let mut earlier = Publisher::new(&path, true, Some(position.clone())).unwrap();
    read_on(&mut earlier);
    earlier.published().unwrap();
    recorder.blocks(60);
    let mut later = Publisher::new(&path, true, Some(position)).unwrap();
    read_on(&mut later);
    assert!(value(&later, "wrapwatch_files_missed_total") > 1);
    assert_eq!(later.take_notes().len(), 1);
    assert!(waits(&later) > 0);
}

#[test]
fn what_is_no_trace_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    fs::write(&path, "[client]\nuser=root\n").unwrap();
    for follow in [true, false] {
        let error = Publisher::new(&path, follow, None).unwrap().poll(10).unwrap_err().to_string();
        assert!(error.contains("a.wwt") && error.contains("not a wrapwatch trace"), "{error}");
    }
    let error = Publisher::new(dir.path(), false, None).unwrap().poll(10).unwrap_err().to_string();
    assert!(error.starts_with("no trace in "), "{error}");
    let error = Publisher::new(&dir.path().join("b.wwt"), false, None).unwrap_err().to_string();
    assert!(error.contains("cannot read ") && error.contains("b.wwt"), "{error}");
}

#[test]
fn a_whole_trace_is_told_to_its_end() {
    let mut writer = Writer::new(SingleFile::new(Vec::new()), &head(1), WriterOptions::offline()).unwrap();
    let mut synth = Synth::new(1, S, 100);
    let mut records = Vec::new();
    synth.connection(&mut |record| records.push(record.to_vec()));
    // Still in its check.
    records.iter().take(6).for_each(|record| writer.record(record).unwrap());
    let (out, ended) = writer.finish(End { at: KtimeNs(9 * S), ..End::default() });
    ended.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    fs::write(&path, out.into_inner()).unwrap();
    let unfinished = |follow| {
        let mut publisher = Publisher::new(&path, follow, None).unwrap();
        read_on(&mut publisher);
        value(&publisher, "wrapwatch_connections_total{outcome=\"unfinished\"}")
    };
    // Also where others are waited for: of this one nothing more comes.
    assert_eq!([false, true].map(unfinished), [1, 1]);
}

#[test]
fn the_text_file_is_replaced_in_one_step() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.prom");
    write_textfile(&path, &Metrics::new()).unwrap();
    fs::write(&path, "old").unwrap();
    write_textfile(&path, &Metrics::new()).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("wrapwatch_build_info{"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

/// Has the recorder write on whenever there is nothing to read.
struct Waiting<'a> {
    recorder: Option<Recorder>,
    path: &'a Path,
    connections: usize,
    waits: usize,
    /// Another recorder begins instead of the first one's end.
    replaced: bool,
}

impl Observer for Waiting<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.connections += usize::from(matches!(line, Line::Connection(_)));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.waits += 1;
        match &mut self.recorder {
            Some(recorder) if self.waits < 40 => recorder.blocks(1),
            recorder if self.waits == 40 => {
                let recorder = recorder.take().unwrap();
                if self.replaced {
                    drop(recorder);
                    Recorder::begin(self.path, 2, Limits::default()).blocks(1);
                } else {
                    recorder.end();
                }
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(())
    }
}

fn tell_growing(path: &Path, recorder: Recorder, replaced: bool) -> (usize, usize, Growth) {
    let mut observer = Waiting { recorder: Some(recorder), path, connections: 0, waits: 0, replaced };
    let follower = Follower::here(path).unwrap();
    let (_, growth) = tell(follower, Options::default(), &mut observer, Duration::ZERO).unwrap();
    (observer.connections, observer.waits, growth)
}

#[test]
fn a_trace_that_grows_is_told_to_its_recorders_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let recorder = Recorder::begin(&path, 1, Limits::default());
    assert_eq!(tell_growing(&path, recorder, false), (390, 40, Growth::Ended));
    // Rotated away while it is told.
    let rotated = dir.path().join("b.wwt");
    let recorder = Recorder::begin(&rotated, 1, rotating(20_000, None));
    assert_eq!(tell_growing(&rotated, recorder, false), (390, 40, Growth::Ended));
    assert!(fs::read_dir(dir.path()).unwrap().count() > 3);
}

#[test]
fn a_trace_ends_where_another_recording_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let recorder = Recorder::begin(&path, 1, rotating(20_000, None));
    assert_eq!(tell_growing(&path, recorder, true), (390, 40, Growth::Ended));
}

#[test]
fn a_trace_whose_recorder_does_not_end_is_told_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, Limits::default());
    recorder.blocks(3);
    let mut observer = Waiting { recorder: None, path: &path, connections: 0, waits: 40, replaced: false };
    let follower = Follower::here(&path).unwrap();
    let (_, growth) = tell(follower, Options::default(), &mut observer, Duration::ZERO).unwrap();
    assert_eq!(growth, Growth::Open);
    assert!((1..=30).contains(&observer.connections), "{}", observer.connections);
}

#[test]
fn a_file_that_was_rotated_away_is_told_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, rotating(20_000, None));
    recorder.blocks(20);
    let first = dir.path().join("a.000001.wwt");
    let mut observer = Waiting { recorder: None, path: &path, connections: 0, waits: 0, replaced: false };
    let told = tell(Follower::here(&first).unwrap(), Options::default(), &mut observer, Duration::ZERO);
    assert_eq!((told.unwrap().1, observer.waits), (Growth::Ended, 0));
    assert!((1..200).contains(&observer.connections), "{}", observer.connections);
}
