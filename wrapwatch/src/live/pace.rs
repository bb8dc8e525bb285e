//! How much of a target's files is an input: whoever edits a table finds each version told and recorded; a large one that moves all the time fills neither the disk nor memory.
//!
//! Each file (a process's hosts.allow, wherever that is) may have some mebibytes in a row, and then so many bytes a second. A version beyond that waits, and it is said that the file is
//! another one by now ([`TOO_OFTEN`]), so that nothing is concluded from an old version; the newest one comes when its time has come. All this happens before the engine and
//! the recorder, so that a recording tells what was told live.

use crate::{
    model::KtimeNs,
    trace::{Snapshot, SnapshotMeta, SnapshotRole, TOO_OFTEN},
};

/// So many bytes of a file's versions come at once.
const BURST_BYTES: u64 = 8 << 20;
/// And then as many as a large version has, in this time.
const LARGE_BYTES: u64 = 1 << 20;
const LARGE_NS: u64 = 5_000_000_000;
/// What a version counts for at least: files are looked at ten times a second, so that versions up to this size all come.
const LEAST_BYTES: u64 = 20_000;
/// Files that are told apart; the further ones are held to the pace of one.
const FILES_MAX: usize = 256;
/// Bytes of versions that wait for their time, of all files.
const HELD_MAX_BYTES: usize = 4 << 20;

/// A file: whose, what it is, and for those that rules name, where.
type Key = (Option<u32>, SnapshotRole, Option<String>);

fn key(meta: &SnapshotMeta) -> Key {
    (meta.pid, meta.role, (meta.role == SnapshotRole::Other).then(|| meta.path.clone()))
}

/// One file's pace.
#[derive(Debug)]
struct Pace {
    key: Key,
    /// Bytes that may come at once, at the time `since`.
    left_bytes: u64,
    since: KtimeNs,
    /// The newest version, which waits.
    held: Option<Snapshot>,
    /// The file of which it was told that it changes too often, and of which no version came since.
    told: Option<Key>,
}

impl Pace {
    const fn new(key: Key, now: KtimeNs) -> Self {
        Self { key, left_bytes: BURST_BYTES, since: now, held: None, told: None }
    }

    /// Whether a version of this size may come now.
    fn take(&mut self, bytes: usize, now: KtimeNs) -> bool {
        let full_ns = LARGE_NS * BURST_BYTES / LARGE_BYTES;
        let more = now.since(self.since).min(full_ns) * LARGE_BYTES / LARGE_NS;
        self.left_bytes = (self.left_bytes + more).min(BURST_BYTES);
        // The part of a byte that is left over is not lost.
        self.since = self.since.plus((more * LARGE_NS).div_ceil(LARGE_BYTES));
        if self.left_bytes == BURST_BYTES {
            self.since = self.since.max(now);
        }
        // One that is larger than all that may come at once waits for all of it.
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).clamp(LEAST_BYTES, BURST_BYTES);
        let may = self.left_bytes >= cost;
        self.left_bytes -= if may { cost } else { 0 };
        may
    }

    fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |file| file.bytes.len())
    }
}

/// The paces of all files.
#[derive(Debug, Default)]
pub(super) struct Paces {
    files: Vec<Pace>,
}

impl Paces {
    /// A version has come: what is to be told now, of it or of that there is one.
    pub(super) fn pass(&mut self, file: Snapshot) -> Option<Snapshot> {
        let (key, now) = (key(&file.meta), file.meta.at);
        let Some(pace) = self.of(&key, now) else { return Some(file) };
        pace.held = None;
        if pace.take(file.bytes.len(), now) {
            pace.told = None;
            return Some(file);
        }
        let told = pace.told.as_ref() == Some(&key);
        pace.told = Some(key);
        let mark = SnapshotMeta { error: Some(TOO_OFTEN.to_owned()), truncated: false, ..file.meta.clone() };
        pace.held = Some(file);
        self.keep_held();
        (!told).then(|| Snapshot { meta: mark, bytes: Vec::new() })
    }

    /// The pace of a file; one for all that are too many to be told apart.
    fn of(&mut self, key: &Key, now: KtimeNs) -> Option<&mut Pace> {
        let at = match self.files.iter().position(|pace| pace.key == *key) {
            Some(at) => at,
            None if self.files.len() < FILES_MAX => {
                self.files.push(Pace::new(key.clone(), now));
                self.files.len() - 1
            }
            None => FILES_MAX - 1,
        };
        self.files.get_mut(at)
    }

    /// Where too much waits, the largest version goes first, so that nobody's large table costs another's small one: what it has stays unknown until it changes again.
    fn keep_held(&mut self) {
        while self.files.iter().map(Pace::held_bytes).sum::<usize>() > HELD_MAX_BYTES {
            let Some(largest) = self.files.iter_mut().max_by_key(|pace| pace.held_bytes()) else { return };
            largest.held = None;
        }
    }

    /// A version whose time has come.
    pub(super) fn due(&mut self, now: KtimeNs) -> Option<Snapshot> {
        let mut waiting = self.files.iter_mut().filter(|pace| pace.held.is_some());
        let pace = waiting.find_map(|pace| pace.take(pace.held_bytes(), now).then_some(pace))?;
        pace.told = None;
        pace.held.take()
    }

    /// A version that still waits, of one process where `pid` says so: the last one is told whatever its pace, before the process or the trace ends.
    pub(super) fn last(&mut self, pid: Option<u32>) -> Option<Snapshot> {
        let of =
            |pace: &&mut Pace| pid.is_none() || pace.held.as_ref().is_some_and(|file| file.meta.pid == pid);
        self.files.iter_mut().filter(of).find_map(|pace| pace.held.take())
    }

    /// A process has ended: its number may be another's.
    pub(super) fn forget(&mut self, pid: u32) {
        self.files.retain(|pace| pace.key.0 != Some(pid) || pace.held.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn version(at_ms: u64, path: &str, bytes: &[u8]) -> Snapshot {
        let meta = SnapshotMeta {
            at: KtimeNs(at_ms * MS),
            role: SnapshotRole::HostsAllow,
            path: path.to_owned(),
            pid: Some(7),
            ..SnapshotMeta::default()
        };
        Snapshot { meta, bytes: bytes.to_vec() }
    }

    fn is_mark(file: &Snapshot) -> bool {
        file.meta.error.as_deref() == Some(TOO_OFTEN) && file.bytes.is_empty()
    }

    #[test]
    fn edits_of_a_usual_table_all_come_however_often() {
        let mut paces = Paces::default();
        for n in 0..3_000 {
            let edit = version(n * 100, "/etc/hosts.allow", &[b'#'; 16_000]);
            assert_eq!(paces.pass(edit.clone()), Some(edit));
        }
        assert!(paces.due(KtimeNs(u64::MAX)).is_none());
    }

    #[test]
    fn a_table_that_moves_all_the_time_comes_once_in_a_while_and_the_newest_last() {
        let mut paces = Paces::default();
        let table = vec![b'x'; 1 << 20];
        let (mut whole, mut marks) = (0, 0);
        for n in 0..1_000 {
            // Ten times a second, for a hundred seconds.
            let at = n * 100;
            let path = format!("/tmp/{}", n % 16);
            match paces.pass(version(at, &path, &table)) {
                Some(mark) if is_mark(&mark) => marks += 1,
                Some(_) => whole += 1,
                None => {}
            }
            while paces.due(KtimeNs(at * MS)).is_some() {
                whole += 1;
            }
        }
        assert!((20..=30).contains(&whole) && marks <= whole, "{whole} written, {marks} marks");
        let last = paces.last(Some(7)).unwrap();
        assert_eq!((last.meta.at, last.bytes.len()), (KtimeNs(999 * 100 * MS), 1 << 20));
        assert!(paces.last(None).is_none());
    }

    #[test]
    fn what_waits_comes_when_its_time_has_come() {
        let mut paces = Paces::default();
        let table = vec![b'x'; 1 << 20];
        let told: Vec<_> = (0..=8).map(|n| paces.pass(version(0, &format!("/{n}"), &table))).collect();
        assert!(told[..8].iter().all(|file| file.as_ref().is_some_and(|file| !is_mark(file))));
        let mark = told[8].as_ref().unwrap();
        assert!(is_mark(mark) && mark.meta.path == "/8", "at once it is known that it is another");
        assert!(paces.due(KtimeNs(LARGE_NS - 1)).is_none());
        let due = paces.due(KtimeNs(LARGE_NS + 1)).unwrap();
        assert_eq!((due.meta.path.as_str(), due.bytes.len()), ("/8", 1 << 20));
        assert!(paces.due(KtimeNs(3 * LARGE_NS)).is_none());
    }

    #[test]
    fn a_small_table_waits_though_large_ones_take_all_the_room() {
        let mut paces = Paces::default();
        let large = vec![b'x'; 1 << 20];
        let mut pass = |pid, bytes: &[u8]| {
            let mut file = version(0, "/etc/hosts.allow", bytes);
            file.meta.pid = Some(pid);
            paces.pass(file)
        };
        for _ in 0..500 {
            pass(1, &large[..20_000]);
        }
        for pid in 2..40 {
            (0..9).for_each(|_| drop(pass(pid, &large)));
        }
        assert_eq!(paces.last(Some(1)).map(|file| file.bytes.len()), Some(20_000));
    }

    #[test]
    fn files_without_number_and_without_size_take_no_more_than_their_part_and_each_is_told() {
        let mut paces = Paces::default();
        let table = vec![b'x'; 1 << 20];
        let mut told = std::collections::BTreeMap::new();
        for n in 0..20_000_u32 {
            let mut file = version(u64::from(n / 2_000), "/etc/hosts.allow", &table);
            file.meta.pid = Some(n % 2_000);
            if let Some(file) = paces.pass(file) {
                told.insert(file.meta.pid, is_mark(&file));
            }
        }
        assert!(paces.files.iter().map(Pace::held_bytes).sum::<usize>() <= HELD_MAX_BYTES);
        assert!(paces.files.len() <= FILES_MAX);
        assert!(told.values().all(|&mark| mark), "the old version of nobody counts as the one in force");
        assert_eq!(told.len(), 2_000);
    }
}
