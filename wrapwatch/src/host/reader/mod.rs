//! Threads that read what targets name, so that nobody else waits for it.
//!
//! Reading a target's file can take for ever (a file system that does not answer, memory of the target that nobody brings), and takes rights that the rest
//! of wrapwatch gives up (see [`super::rights`]). So there are threads for it, and who asks them waits as long as it likes. [`start`] is to be called as
//! long as the rights are there, before any are given up; a thread that makes the others keeps what they need. A question that is never answered
//! holds one thread; of one process there are [`MOST_OF_ONE`] at a time, so that it can hold no more.

mod patience;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use caps::{CapSet, Capability, CapsHashSet};

pub use self::patience::Patience;
use super::{HostError, rights};

/// How long a command that has nothing else to do waits for one answer.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Questions about one process that are asked at the same time.
const MOST_OF_ONE: usize = 8;
/// Threads, whoever the questions are about.
const MOST_THREADS: usize = 256;
/// A thread without work ends after this time.
const IDLE: Duration = Duration::from_secs(10);
/// Address space of a thread's stack; what is read is on the heap.
const STACK_BYTES: usize = 256 << 10;

/// What the threads need: looking into processes, becoming their users, and reading what these may read.
const NEEDED: [Capability; 4] = [
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_DAC_READ_SEARCH,
];

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    pid: u32,
    work: Work,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    idle: usize,
    threads: usize,
    /// Questions about each process that are not answered.
    asked: HashMap<u32, usize>,
    /// Capabilities beyond [`NEEDED`] that are still of use; None as long as all are.
    extra: Option<Vec<Capability>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Work has come, or the rest of the rights is to be given up.
    work: Condvar,
    /// A thread is wanted.
    wanted: Condvar,
    /// A thread has nothing to do any more.
    rests: Condvar,
}

static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the calling thread's rights for reading, if that was not done before.
pub fn start() {
    shared();
}

fn shared() -> &'static Arc<Shared> {
    SHARED.get_or_init(|| {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        if let Err(error) = thread::Builder::new()
            .name("wwt-readers".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || make_threads(&its))
        {
            // Every question will end with its time limit.
            log::warn!("nothing of a target can be read: {error}");
        }
        shared
    })
}

/// Everything is attached: from now on the threads keep what reading takes and `extra`, and nothing else.
pub fn give_up_all_but(extra: &[Capability]) {
    let Some(shared) = SHARED.get() else { return };
    shared.lock().extra = Some(extra.to_vec());
    shared.work.notify_all();
    shared.wanted.notify_all();
}

/// Waits until no thread does anything, for `limit` at most: then they all sleep, and hold no lock but that they sleep on.
pub fn rest(limit: Duration) {
    let Some(shared) = SHARED.get() else { return };
    let state = shared.lock();
    let busy = |state: &mut State| state.idle < state.threads || !state.queue.is_empty();
    drop(shared.rests.wait_timeout_while(state, limit, busy));
}

/// An answer that comes, or does not.
#[derive(Debug)]
pub struct Answer<T>(mpsc::Receiver<T>);

/// What there is of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// It, or its next part.
    Said(T),
    /// Nothing yet.
    NotYet,
    /// All of it has come.
    Over,
}

impl<T> Answer<T> {
    /// Waits for it, or for its next part.
    pub fn wait(&self, limit: Duration) -> Heard<T> {
        match self.0.recv_timeout(limit) {
            Ok(said) => Heard::Said(said),
            Err(RecvTimeoutError::Timeout) => Heard::NotYet,
            Err(RecvTimeoutError::Disconnected) => Heard::Over,
        }
    }

    /// As [`Self::wait`] without waiting.
    pub fn look(&self) -> Heard<T> {
        match self.0.try_recv() {
            Ok(said) => Heard::Said(said),
            Err(TryRecvError::Empty) => Heard::NotYet,
            Err(TryRecvError::Disconnected) => Heard::Over,
        }
    }
}

/// Asks about process `pid`. `work` runs on a thread of its own and answers as often as it likes; it is told when nobody listens any more.
pub fn ask<T: Send + 'static>(
    pid: u32,
    work: impl FnOnce(&dyn Fn(T) -> bool) + Send + 'static,
) -> Result<Answer<T>, HostError> {
    let shared = shared();
    let (says, hears) = mpsc::channel();
    let mut state = shared.lock();
    let asked = state.asked.entry(pid).or_default();
    if *asked >= MOST_OF_ONE {
        return Err(HostError::Stuck(pid));
    }
    *asked = asked.saturating_add(1);
    let work = Box::new(move || work(&|part| says.send(part).is_ok()));
    state.queue.push_back(Job { pid, work });
    let wanting = state.idle < state.queue.len();
    drop(state);
    shared.work.notify_one();
    if wanting {
        shared.wanted.notify_one();
    }
    Ok(Answer(hears))
}

/// Asks about process `pid` and waits `limit` for the answer; `what` is asked for, in words.
pub fn run<T: Send + 'static>(
    pid: u32,
    what: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HostError> {
    let answer = ask(pid, move |says| {
        says(work());
    })?;
    match answer.wait(limit) {
        Heard::Said(said) => Ok(said),
        Heard::NotYet => Err(HostError::Slow { what: what.to_owned(), limit }),
        Heard::Over => Err(HostError::Unusable {
            what: what.to_owned(),
            why: "the thread that read it ended unexpectedly".to_owned(),
        }),
    }
}

/// Makes threads as they are wanted: with the rights of this one, whatever the others have given up.
fn make_threads(shared: &Arc<Shared>) {
    let mut given_up = false;
    let mut state = shared.lock();
    loop {
        give_up_once(&mut given_up, &state);
        while state.idle < state.queue.len() && state.threads < MOST_THREADS {
            let its = Arc::clone(shared);
            let made = thread::Builder::new()
                .name("wwt-reader".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&its));
            if let Err(error) = made {
                log::warn!("a question about a target has to wait: {error}");
                break;
            }
            state.threads = state.threads.saturating_add(1);
            // What has no thread yet counts as taken by the one that begins.
            state.idle = state.idle.saturating_add(1);
        }
        state = shared.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// One thread: counts as idle when it begins.
fn work(shared: &Shared) {
    let mut given_up = false;
    let mut state = shared.lock();
    loop {
        give_up_once(&mut given_up, &state);
        let Some(job) = state.queue.pop_front() else {
            shared.rests.notify_all();
            let since = Instant::now();
            let waited = shared.work.wait_timeout(state, IDLE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.queue.is_empty() && since.elapsed() >= IDLE {
                break;
            }
            continue;
        };
        state.idle = state.idle.saturating_sub(1);
        drop(state);
        let pid = job.pid;
        // A panic would be a mistake of ours; whoever asked hears that there is no answer, and the thread does the next job.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work));
        state = shared.lock();
        state.idle = state.idle.saturating_add(1);
        if let Some(asked) = state.asked.get_mut(&pid) {
            *asked = asked.saturating_sub(1);
            if *asked == 0 {
                state.asked.remove(&pid);
            }
        }
        if ended.is_err() || rights::is_spoiled() {
            log::warn!("a thread that reads for pid {pid} ended unexpectedly");
            break;
        }
    }
    state.idle = state.idle.saturating_sub(1);
    state.threads = state.threads.saturating_sub(1);
    shared.rests.notify_all();
    if state.idle < state.queue.len() {
        shared.wanted.notify_one();
    }
}

/// Gives up what is of no use any more, the first time that this is known.
fn give_up_once(given_up: &mut bool, state: &State) {
    if *given_up {
        return;
    }
    if let Some(extra) = &state.extra {
        *given_up = true;
        keep(extra);
    }
}

/// Keeps this of what the thread has: also a thread that becomes somebody else needs no more.
fn keep(extra: &[Capability]) {
    let mut keep: CapsHashSet = NEEDED.into_iter().chain(extra.iter().copied()).collect();
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    keep.retain(|capability| permitted.contains(capability));
    for set in [CapSet::Effective, CapSet::Permitted] {
        if let Err(error) = caps::set(None, set, &keep) {
            log::info!("a reading thread keeps capabilities that it does not need: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No process has this number: `PID_MAX_LIMIT` is 2^22.
    const NOBODY: u32 = 1 << 23;

    fn answer(says: &dyn Fn(()) -> bool) {
        says(());
    }

    #[test]
    fn what_does_not_come_holds_up_nobody_else() {
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut waiting = Vec::new();
        for _ in 0..MOST_OF_ONE {
            let held = Arc::clone(&held);
            waiting.push(ask(NOBODY, move |says| {
                let _ = held.lock().unwrap().recv();
                says(7);
            }));
        }
        assert!(
            waiting.iter().all(|asked| asked.as_ref().is_ok_and(|answer| answer.look() == Heard::NotYet))
        );
        assert!(matches!(ask(NOBODY, answer), Err(HostError::Stuck(NOBODY))));
        // Another process is read for all the same, and its answer is waited for.
        assert_eq!(run(NOBODY + 1, "a number", LIMIT, || 8).unwrap(), 8);
        let slow = waiting.pop().unwrap().unwrap();
        assert_eq!(slow.wait(Duration::from_millis(1)), Heard::NotYet);
        drop(release);
        assert_eq!((slow.wait(LIMIT), slow.wait(LIMIT)), (Heard::Said(7), Heard::Over));
        for answer in waiting {
            assert_eq!(answer.unwrap().wait(LIMIT), Heard::Said(7));
        }
        // Answered questions count no more, a moment after their answers.
        while let Err(error) = ask(NOBODY, answer) {
            assert!(matches!(error, HostError::Stuck(_)));
            thread::yield_now();
        }
    }

    #[test]
    fn a_mistake_is_an_error_and_not_the_end() {
        let gone = run(NOBODY + 2, "a mistake", LIMIT, || -> u32 { panic!("on purpose") });
        assert!(gone.unwrap_err().to_string().contains("ended unexpectedly"));
        assert_eq!(run(NOBODY + 2, "a number", LIMIT, || 9).unwrap(), 9);
    }
}
