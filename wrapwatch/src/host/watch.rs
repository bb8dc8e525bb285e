//! The files of one target, looked at again and again: the tables, wherever its libwrap takes them from at that moment, and some others.
//!
//! Workers look ([`super::reader`]); whoever asks waits for a target that answers at once, and never long for one that does not. What comes late is told
//! late. A file that does not come for [`HELD`] is told as one that cannot be read, and not asked for until it has come.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{
    HostError, clock,
    files::{self, Copy, Mark, View},
    libwrap::TablePaths,
    reader::{self, Answer, Heard, Patience},
};
use crate::model::KtimeNs;

/// How long a file is waited for.
const HELD: Duration = Duration::from_secs(3);
/// A file that could not be read though it was seen is tried again after this time, changed or not: perhaps somebody held a lease.
const AGAIN: Duration = Duration::from_secs(1);
/// What is waited for one target at most, at once and (one part in this many) over time.
const FOR_ONE: (Duration, u32) = (Duration::from_secs(1), 20);
/// The same for all targets together.
const FOR_ALL: (Duration, u32) = (Duration::from_secs(2), 5);

/// What is waited for all of them at once when the first look is over: a signal or the trace's end waits as well.
const FOR_ALL_LATER: Duration = Duration::from_millis(400);

/// What a file is to whoever asks.
pub trait Key: core::marker::Copy + Eq + Hash + Send + 'static {}

impl<T: core::marker::Copy + Eq + Hash + Send + 'static> Key for T {}

/// A file that is new, or not what it was.
#[derive(Debug)]
pub struct Changed<K> {
    /// What it is.
    pub key: K,
    /// Its path in the target.
    pub path: Arc<str>,
    /// As it is now, or why it cannot be read.
    pub content: Result<Copy, HostError>,
    /// The last look that was over before this one began.
    pub before: Option<KtimeNs>,
}

/// What a file looked like.
#[derive(Clone, Debug)]
struct Known {
    /// None where it could not be looked at.
    mark: Option<Mark>,
    /// Why it could not be read.
    error: Option<String>,
    at: Instant,
}

type Files<K> = Vec<(K, Arc<str>)>;

/// What a worker says, in this order: the tables' paths where they are others, then each file that is not as it was. Of nearly all looks nothing: whoever asks is
/// not woken for each file.
#[derive(Debug)]
enum Part<K> {
    Tables([Option<String>; 2]),
    /// Without content where there is nothing to tell.
    Is(K, Arc<str>, Known, Option<Result<Copy, HostError>>),
}

/// What a worker is looking at, and since when.
#[derive(Debug)]
struct At<K> {
    /// None for where the tables are.
    file: Option<(K, Arc<str>)>,
    since: Instant,
}

/// The worker's end of it, and that of whoever waits: the worker goes on as long as there are both.
type Place<K> = Arc<Mutex<At<K>>>;

/// A look that is not over.
struct Pending<K> {
    answer: Answer<Part<K>>,
    asked: KtimeNs,
    at: Place<K>,
    /// Lives as long as the worker looks.
    looks: Weak<()>,
}

/// What does not come, and what lives as long as the worker is at it.
type Held<K> = (Option<(K, Arc<str>)>, Weak<()>);

/// The files of one target.
pub struct Watch<K> {
    pid: u32,
    memory: Option<Arc<TablePaths>>,
    tables: [(K, Arc<str>); 2],
    others: Files<K>,
    known: HashMap<(K, Arc<str>), Known>,
    pending: Option<Pending<K>>,
    /// What did not come, until it does: None for where the tables are.
    held: Vec<Held<K>>,
    changed: Vec<Changed<K>>,
    moved: bool,
    looked: Option<KtimeNs>,
    patience: Patience,
}

impl<K: Key> Watch<K> {
    /// Nothing is looked at yet.
    pub fn new(pid: u32, memory: Option<TablePaths>, tables: [(K, Arc<str>); 2], others: Files<K>) -> Self {
        Self {
            pid,
            memory: memory.map(Arc::new),
            tables,
            others,
            known: HashMap::new(),
            pending: None,
            held: Vec::new(),
            changed: Vec::new(),
            moved: false,
            looked: None,
            patience: Patience::new(FOR_ONE.0, FOR_ONE.1),
        }
    }

    /// Looks at everything, and waits for it as long as there is patience with this target. Whether the tables are elsewhere than before.
    pub fn look(&mut self) -> bool {
        // One that began before says nothing of now.
        self.hear();
        if self.pending.is_none() {
            self.ask();
            self.hear();
        }
        mem::take(&mut self.moved)
    }

    /// Where the tables are, by the last look.
    pub fn tables(&self) -> [&Arc<str>; 2] {
        self.tables.each_ref().map(|(_, path)| path)
    }

    /// What has changed since this was last called (everything, the first time).
    pub fn changed(&mut self) -> Vec<Changed<K>> {
        mem::take(&mut self.changed)
    }

    /// When the last look began that is over.
    pub const fn looked(&self) -> Option<KtimeNs> {
        self.looked
    }

    fn ask(&mut self) {
        self.held.retain(|(_, looks)| looks.strong_count() > 0);
        let is_held = |what: Option<&(K, Arc<str>)>| self.held.iter().any(|(held, _)| held.as_ref() == what);
        let memory = self.memory.clone().filter(|_| !is_held(None));
        let held: Files<K> = self.held.iter().filter_map(|(what, _)| what.clone()).collect();
        let (pid, tables, others, known) =
            (self.pid, self.tables.clone(), self.others.clone(), self.known.clone());
        let looks = Arc::new(());
        let weak = Arc::downgrade(&looks);
        let asked = clock::now();
        let at = Arc::new(Mutex::new(At { file: None, since: Instant::now() }));
        let place = Arc::clone(&at);
        let answer = reader::ask(pid, move |says: &dyn Fn(Part<K>) -> bool| {
            let mut files = tables;
            if let Some(memory) = memory {
                let paths = memory.read();
                let mut moved = false;
                for ((_, path), now) in files.iter_mut().zip(&paths) {
                    if let Some(now) = now.as_ref().filter(|now| ***now != **path) {
                        *path = now.as_str().into();
                        moved = true;
                    }
                }
                if moved && !says(Part::Tables(paths)) {
                    return;
                }
            }
            let files: Files<K> =
                files.into_iter().chain(others).filter(|file| !held.contains(file)).collect();
            look_at_all(pid, &files, &known, &place, says);
            drop(looks);
        });
        // Too many do not come: what is known is what there is.
        if let Ok(answer) = answer {
            self.pending = Some(Pending { answer, asked, at, looks: weak });
        }
    }

    /// Takes what a worker has said, and waits for the rest.
    fn hear(&mut self) {
        while let Some(pending) = &self.pending {
            let limit = self.patience.left().min(for_all(Patience::left));
            let since = Instant::now();
            let heard = pending.answer.wait(limit);
            let waited = since.elapsed();
            self.patience.waited(waited);
            for_all(|patience| patience.waited(waited));
            match heard {
                Heard::Said(part) => self.take(part),
                Heard::Over => {
                    self.looked = Some(pending.asked);
                    self.pending = None;
                }
                Heard::NotYet => {
                    let at = lock(&pending.at);
                    // Each file has the whole time.
                    if at.since.elapsed() < HELD {
                        return;
                    }
                    let file = at.file.clone();
                    drop(at);
                    self.let_go(file);
                }
            }
        }
    }

    fn take(&mut self, part: Part<K>) {
        match part {
            Part::Tables(paths) => {
                for ((_, path), now) in self.tables.iter_mut().zip(paths) {
                    if let Some(now) = now.filter(|now| **now != **path) {
                        *path = now.into();
                        self.moved = true;
                    }
                }
                // A table that is not read any more, and is one again later, counts as changed.
                let (tables, others) = (&self.tables, &self.others);
                self.known.retain(|file, _| tables.contains(file) || others.contains(file));
            }
            Part::Is(key, path, known, content) => {
                self.known.insert((key, Arc::clone(&path)), known);
                if let Some(content) = content {
                    self.changed.push(Changed { key, path, content, before: self.looked });
                }
            }
        }
    }

    /// Waits no more for what a worker has not come back from; the worker ends its look when it does.
    fn let_go(&mut self, at: Option<(K, Arc<str>)>) {
        let Some(pending) = self.pending.take() else { return };
        if let Some((key, path)) = &at {
            let error = HostError::Slow { what: path.to_string(), limit: HELD };
            let known = Known { mark: None, error: Some(error.to_string()), at: Instant::now() };
            let before = self.known.insert((*key, Arc::clone(path)), known);
            if before.is_none_or(|before| before.error != Some(error.to_string())) {
                let (key, path, before) = (*key, Arc::clone(path), self.looked);
                self.changed.push(Changed { key, path, content: Err(error), before });
            }
        }
        self.held.push((at, pending.looks));
    }
}

impl<K> std::fmt::Debug for Watch<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("pid", &self.pid).finish_non_exhaustive()
    }
}

fn lock<K>(place: &Place<K>) -> MutexGuard<'_, At<K>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The patience with all targets together.
fn for_all<T>(with: impl FnOnce(&mut Patience) -> T) -> T {
    static ALL: OnceLock<Mutex<Patience>> = OnceLock::new();
    let all = ALL.get_or_init(|| Mutex::new(Patience::new(FOR_ALL.0, FOR_ALL.1)));
    with(&mut all.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The first look is over.
pub fn begun() {
    for_all(|patience| patience.shorten(FOR_ALL_LATER));
}

fn look_at_all<K: Key>(
    pid: u32,
    files: &[(K, Arc<str>)],
    known: &HashMap<(K, Arc<str>), Known>,
    place: &Place<K>,
    says: &dyn Fn(Part<K>) -> bool,
) {
    let looked = files::with(pid, |view| {
        for file in files {
            // Nobody waits for it any more.
            if Arc::strong_count(place) == 1 {
                return;
            }
            *lock(place) = At { file: Some(file.clone()), since: Instant::now() };
            let (key, path) = file;
            if let Some((now, content)) = look_at(view, path, known.get(file))
                && !says(Part::Is(*key, Arc::clone(path), now, content))
            {
                return;
            }
        }
    });
    let Err(error) = looked else { return };
    // Its end is told otherwise.
    if matches!(error, HostError::Exited(_) | HostError::NoProcess(_)) {
        return;
    }
    for file in files {
        let (key, path) = file;
        let (now, content) = unread(None, known.get(file), HostError::again(path, &error));
        if !says(Part::Is(*key, Arc::clone(path), now, content)) {
            return;
        }
    }
}

/// What a file is now, with its content or why there is none; None where it is as it was known.
fn look_at(
    view: &View<'_>,
    path: &str,
    known: Option<&Known>,
) -> Option<(Known, Option<Result<Copy, HostError>>)> {
    let mark = match view.mark(path) {
        Ok(mark) => mark,
        // Why it cannot be looked at is why it cannot be read.
        Err(error) => return Some(unread(None, known, error)),
    };
    if known.is_some_and(|known| {
        known.mark == Some(mark) && (known.error.is_none() || known.at.elapsed() < AGAIN)
    }) {
        return None;
    }
    Some(match view.read(path) {
        // The mark of what was read: the file may have changed in between.
        Ok(copy) => (Known { mark: Some(copy.mark), error: None, at: Instant::now() }, Some(Ok(copy))),
        Err(error) => unread(Some(mark), known, error),
    })
}

/// A file that cannot be read is told once, and again when that changes.
fn unread(
    mark: Option<Mark>,
    known: Option<&Known>,
    error: HostError,
) -> (Known, Option<Result<Copy, HostError>>) {
    let text = error.to_string();
    let same = known.is_some_and(|known| known.mark == mark && known.error.as_ref() == Some(&text));
    (Known { mark, error: Some(text), at: Instant::now() }, (!same).then_some(Err(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(paths: [&str; 2]) -> Watch<u8> {
        Watch::new(std::process::id(), None, [(0, paths[0].into()), (1, paths[1].into())], Vec::new())
    }

    /// Looks until this look is over, however busy the machine is.
    fn look(watch: &mut Watch<u8>) -> Vec<Changed<u8>> {
        let before = watch.looked();
        let mut changed = Vec::new();
        while watch.looked() == before {
            watch.look();
            changed.append(&mut watch.changed());
        }
        changed
    }

    #[test]
    fn a_file_is_told_when_it_changes_and_not_between() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("allow"), "ALL: ALL\n").unwrap();
        let mut watch = watch([&path("allow"), &path("none")]);
        let first = look(&mut watch);
        assert_eq!(first.len(), 2);
        assert_eq!(first[0].content.as_ref().unwrap().bytes, b"ALL: ALL\n");
        assert!(!first[1].content.as_ref().unwrap().exists);
        assert!(look(&mut watch).is_empty());
        std::fs::write(path("allow"), "ALL: .example.com\n").unwrap();
        let second = look(&mut watch);
        assert_eq!((second.len(), second[0].key), (1, 0));
        assert!(second[0].before.is_some());
        std::fs::remove_file(path("allow")).unwrap();
        assert!(!look(&mut watch)[0].content.as_ref().unwrap().exists);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut watch = watch([fifo.to_str().unwrap(), "/proc/version"]);
        let first = look(&mut watch);
        assert!(first.len() == 2 && first.iter().all(|file| file.content.is_err()), "{first:?}");
        for _ in 0..3 {
            assert!(look(&mut watch).is_empty());
        }
        std::fs::remove_file(&fifo).unwrap();
        std::fs::write(&fifo, "ALL: ALL\n").unwrap();
        let second = look(&mut watch);
        assert!(second.len() == 1 && second[0].content.is_ok(), "{second:?}");
    }

    #[test]
    fn an_error_is_the_same_as_long_as_mark_and_reason_are() {
        let mark = Mark { inode: 1, ..Mark::default() };
        let error = || HostError::io("/etc/hosts.allow", std::io::ErrorKind::PermissionDenied.into());
        let (known, told) = unread(Some(mark), None, error());
        assert!(told.is_some());
        let (known, told) = unread(Some(mark), Some(&known), error());
        assert!(told.is_none());
        assert!(unread(Some(Mark::default()), Some(&known), error()).1.is_some());
        assert!(unread(Some(mark), Some(&known), HostError::Stuck(1)).1.is_some());
    }
}
