//! Replies whose time has not come yet: one thread and a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::now_ns;

/// Something to do at a time.
type Job = Box<dyn FnOnce() + Send>;

struct Entry {
    due_ns: u64,
    /// Keeps those of one moment in the order they came.
    number: u64,
    job: Job,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.due_ns, self.number) == (other.due_ns, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.number).cmp(&(other.due_ns, other.number))
    }
}

#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    number: u64,
    stopped: bool,
}

/// Does jobs at their times; what is left when it is dropped is not done.
pub(super) struct Later {
    shared: Arc<(Mutex<Queue>, Condvar)>,
}

impl Later {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("dns-later".into()).spawn(move || run(&theirs))?;
        Ok(Self { shared })
    }

    pub(super) fn at(&self, due_ns: u64, job: Job) {
        let (queue, changed) = &*self.shared;
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.number += 1;
        let number = queue.number;
        queue.heap.push(Reverse(Entry { due_ns, number, job }));
        changed.notify_one();
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.1.notify_one();
    }
}

fn run(shared: &(Mutex<Queue>, Condvar)) {
    let (queue, changed) = shared;
    let mut held = queue.lock().unwrap_or_else(PoisonError::into_inner);
    while !held.stopped {
        let Some(Reverse(first)) = held.heap.peek() else {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let now = now_ns();
        if first.due_ns > now {
            let wait = Duration::from_nanos(first.due_ns - now);
            held = changed.wait_timeout(held, wait).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        if let Some(Reverse(entry)) = held.heap.pop() {
            drop(held);
            (entry.job)();
            held = queue.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}
