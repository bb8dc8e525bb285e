//! A log of `strace -f` → the records that the kernel side would have written for the same calls.
//!
//! What strace does not show stays away: socket states (so the accept queue is not known), rules, uprobes. What it shows more —
//! the content of tables as they were read — becomes snapshots.
//!
//! A log is read twice. [`mod@survey`] looks through it: which kinds of calls it has, which times, what was done to its text. Then [`import`]
//! makes records: [`Importer`] brings calls split over lines together and puts their beginnings and ends in order of time,
//! `kernel_model` does what the kernel side does with them. Bounded memory: maps have caps, and what does not fit is counted.
//!
//! Nothing is invented: a kind of call that a log has none of was not traced, and the head's degradations say so, as they say that a log has no
//! times or cut texts.
//!
//! Times: the records' monotonic clock is the log's wall clock, so the head's clock pair is two equal numbers. A call's
//! return is its beginning plus what `-T` says; without `-T`, the beginning of the thread's next line (of the log's, where all threads are in one), which adds
//! the thread's own computing in between. In a log with `-T` only, one call follows on the other; in one without any times all are the same.

mod address;
mod blind;
mod call;
mod clean;
mod clock;
mod errno;
mod foreign;
mod kernel_model;
pub mod line;
mod lines;
mod logs;
mod processes;
mod sharing;
mod survey;
mod text;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::rc::Rc;

pub use call::CallKind;
use call::Name;
pub use clock::{Clock, Dates};
pub use foreign::Looks;
use kernel_model::KernelModel;
use line::{Body, Finish};
pub use logs::{Log, import, survey};
pub use survey::{Survey, Times};

use crate::model::{ClockPair, KtimeNs};
use crate::trace::{Head, Input, Origin, Target};

/// Longest line that is read; the rest of a longer one is left out.
pub const LINE_MAX: usize = 1 << 20;
/// Most threads, descriptors and connections kept in mind at once.
const KEPT_MAX: usize = 1 << 16;
/// Most beginnings and ends of calls kept until their order is known.
const QUEUE_MAX: usize = 1 << 17;
/// Longest argument text kept of a call: a read of a whole table, escaped.
const ARGS_MAX: usize = 1 << 18;
/// Most names of skipped calls that are counted by name.
const NAMES_MAX: usize = 512;

/// What was read and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines.
    pub lines: u64,
    /// Of these, lines without a call: signals, remarks, what is not strace's.
    pub other_lines: u64,
    /// Calls that matter to nothing here, by name.
    pub skipped_calls: BTreeMap<String, u64>,
    /// Ends of calls whose beginning was not in the log.
    pub orphans: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Connections that were in their check when the log began.
    pub began_before: u64,
    /// Calls of `accept` that failed.
    pub failed_accepts: u64,
    /// Connections that other processes than the server accepted.
    pub other_accepts: u64,
    /// How often a table was opened, or tried to be.
    pub table_opens: u64,
    /// Records made.
    pub records: u64,
    /// DNS messages of which strace shows the beginning only (`-s` was small).
    pub cut_messages: u64,
    /// Threads, descriptors or calls that there was no room to keep in mind.
    pub overflow: u64,
    /// Lines without a time.
    pub timeless_lines: u64,
    /// Returns without `-T`.
    pub untimed_returns: u64,
}

/// A call, as far as it is known.
#[derive(Debug)]
struct Call {
    tid: u32,
    name: Name,
    args: String,
    /// 0: before the log.
    start: u64,
    ret: Option<i64>,
    note: String,
}

#[derive(Debug)]
enum What {
    Enter(Rc<Call>),
    Exit(Rc<Call>),
    ThreadEnd(u32),
}

#[derive(Debug)]
struct Event {
    at: u64,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A thread, as the log shows it.
#[derive(Debug, Default)]
struct Thread {
    open: Option<Open>,
    /// Latest time that something of it was seen to happen.
    last: u64,
}

/// What a thread is in the middle of.
#[derive(Debug)]
enum Open {
    /// A call that did not return yet.
    Call { name: Name, args: String, start: u64 },
    /// A call that returned, but it is not said when.
    Untimed(Rc<Call>),
}

/// Lines in, records out.
#[derive(Debug)]
pub struct Importer {
    threads: HashMap<u32, Thread>,
    queue: BinaryHeap<Reverse<Event>>,
    order: u64,
    now: u64,
    survey: Rc<Survey>,
    /// Whether all lines come from one log.
    one_log: bool,
    /// Latest return.
    latest: u64,
    /// Thread of the last line, where this was a call of which it is not said when it returned.
    untimed: Option<u32>,
    kernel: KernelModel,
    stats: Stats,
}

impl Importer {
    /// `pid`: the server's process, where it is known; otherwise the thread that accepts first is taken for its leader. `survey`: of the
    /// logs that are imported.
    pub fn new(pid: Option<u32>, survey: Survey) -> Self {
        let survey = Rc::new(survey);
        Self {
            threads: HashMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            now: 0,
            one_log: false,
            latest: 0,
            untimed: None,
            kernel: KernelModel::new(pid, Rc::clone(&survey)),
            survey,
            stats: Stats::default(),
        }
    }

    /// Takes the next line: its thread (by itself, or the name of its file), its time by a [`Clock`], what it says. Lines of several
    /// files have to come in order of time.
    pub fn line(&mut self, tid: u32, at: u64, body: &Body<'_>, out: &mut dyn FnMut(Input<'_>)) {
        self.stats.lines += 1;
        // Where nothing says how long anything took, nothing took any time.
        let at = if self.survey.times() == Times::Nothing { self.now.max(1) } else { at };
        self.kernel.begin(at);
        self.now = self.now.max(at);
        if !self.threads.contains_key(&tid) && self.threads.len() >= KEPT_MAX {
            self.stats.overflow += 1;
            return;
        }
        let thread = self.threads.entry(tid).or_default();
        // Times are rounded (with -t, to seconds): a thread's call does not begin before its last one ended, and in a log of
        // several threads, none before the end that an earlier line tells of.
        let at = at.max(thread.last).max(if self.one_log { self.latest } else { 0 });
        // Where another thread's line came between, strace would have said that the call is unfinished.
        let other = self.untimed.take().filter(|other| *other != tid && self.one_log);
        for tid in std::iter::once(tid).chain(other) {
            let open = self.threads.get_mut(&tid).map(|thread| &mut thread.open);
            if let Some(Open::Untimed(call)) =
                open.and_then(|open| open.take_if(|open| matches!(open, Open::Untimed(_))))
            {
                self.queue(at, What::Exit(call));
            }
        }
        match *body {
            Body::Whole { name, args, finish } => self.whole(tid, at, name, args, finish),
            Body::Unfinished { name, args } => self.unfinished(tid, at, name, args),
            Body::Resumed { name, args, finish } => self.resumed(tid, at, name, args, finish),
            Body::Exited => {
                self.queue(at, What::ThreadEnd(tid));
                self.threads.remove(&tid);
            }
            Body::Other => self.stats.other_lines += 1,
        }
        self.drain(self.now, out);
    }

    /// Says that lines of `from` were of `to`.
    fn rename(&mut self, from: u32, to: u32) {
        if let Some(thread) = self.threads.remove(&from) {
            self.threads.insert(to, thread);
        }
        self.kernel.rename(from, to);
    }

    /// Says that all lines come from one log, in the order in which strace printed them.
    const fn one_log(&mut self) {
        self.one_log = true;
    }

    /// Counts a line without a time.
    const fn timeless(&mut self) {
        self.stats.timeless_lines += 1;
    }

    /// The log is over.
    pub fn finish(&mut self, out: &mut dyn FnMut(Input<'_>)) {
        let untimed: Vec<Rc<Call>> = self
            .threads
            .drain()
            .filter_map(|(_, thread)| match thread.open? {
                Open::Untimed(call) => Some(call),
                Open::Call { .. } => None,
            })
            .collect();
        for call in untimed {
            self.queue(self.now, What::Exit(call));
        }
        self.drain(u64::MAX, out);
        self.now = self.now.max(self.latest);
        self.kernel.finish(self.now, out);
    }

    /// What was read so far.
    pub fn stats(&self) -> Stats {
        let kernel = self.kernel.stats();
        Stats {
            accepts: kernel.accepts,
            began_before: kernel.began_before,
            failed_accepts: kernel.failed_accepts,
            other_accepts: kernel.other_accepts,
            table_opens: kernel.table_opens,
            records: kernel.records,
            cut_messages: kernel.cut_messages,
            overflow: self.stats.overflow + kernel.overflow,
            ..self.stats.clone()
        }
    }

    /// Time of the latest line.
    pub const fn now(&self) -> KtimeNs {
        KtimeNs(self.now)
    }

    fn whole(&mut self, tid: u32, at: u64, name: &str, args: &str, finish: Finish<'_>) {
        let name = self.name(name);
        let call = call(tid, name, args.to_owned(), at, finish);
        self.queue(at, What::Enter(Rc::clone(&call)));
        if let Some(took) = finish.took_ns {
            self.returned(call, at.saturating_add(took));
        } else {
            self.stats.untimed_returns += 1;
            self.thread(tid).open = Some(Open::Untimed(call));
            self.untimed = Some(tid);
        }
    }

    fn unfinished(&mut self, tid: u32, at: u64, name: &str, args: &str) {
        let name = self.name(name);
        let args = if name == Name::Other { String::new() } else { clip(args).to_owned() };
        let call = Call { tid, name, args: args.clone(), start: at, ret: None, note: String::new() };
        self.queue(at, What::Enter(Rc::new(call)));
        self.thread(tid).open = Some(Open::Call { name, args, start: at });
    }

    fn resumed(&mut self, tid: u32, at: u64, name: &str, rest: &str, finish: Finish<'_>) {
        let name = self.name(name);
        let (mut args, start) = match self.thread(tid).open.take() {
            Some(Open::Call { name: begun, args, start }) if begun == name => (args, start),
            _ => {
                self.stats.orphans += 1;
                // The first argument of every call that matters is printed at its beginning.
                ("?,".to_owned(), 0)
            }
        };
        args.push_str(clip(rest));
        let call = call(tid, name, args, start, finish);
        let took = finish.took_ns.filter(|_| start > 0);
        self.returned(call, took.map_or(at, |took| start.saturating_add(took)));
    }

    fn returned(&mut self, call: Rc<Call>, at: u64) {
        let thread = self.thread(call.tid);
        thread.last = thread.last.max(at);
        self.latest = self.latest.max(at);
        self.queue(at, What::Exit(call));
    }

    /// The thread of a line that [`Self::line`] let in.
    fn thread(&mut self, tid: u32) -> &mut Thread {
        self.threads.entry(tid).or_default()
    }

    /// The call; counts those that do not matter here.
    fn name(&mut self, name: &str) -> Name {
        let known = Name::parse(name);
        if known == Name::Other {
            if let Some(n) = self.stats.skipped_calls.get_mut(name) {
                *n += 1;
            } else if self.stats.skipped_calls.len() < NAMES_MAX {
                self.stats.skipped_calls.insert(clip(name).to_owned(), 1);
            }
        }
        known
    }

    fn queue(&mut self, at: u64, what: What) {
        if matches!(&what, What::Enter(call) | What::Exit(call) if call.name == Name::Other) {
            return;
        }
        self.order += 1;
        self.queue.push(Reverse(Event { at, order: self.order, what }));
    }

    /// Tells the model of the kernel everything up to `until`: no later line can bring anything earlier.
    fn drain(&mut self, until: u64, out: &mut dyn FnMut(Input<'_>)) {
        while let Some(Reverse(event)) = self.queue.peek() {
            if event.at > until && self.queue.len() <= QUEUE_MAX {
                break;
            }
            let Some(Reverse(event)) = self.queue.pop() else { break };
            match event.what {
                What::Enter(call) => self.kernel.enter(&call, event.at, out),
                What::Exit(call) => self.kernel.exit(&call, event.at, out),
                What::ThreadEnd(tid) => self.kernel.thread_end(tid, event.at, out),
            }
        }
    }
}

fn call(tid: u32, name: Name, mut args: String, start: u64, finish: Finish<'_>) -> Rc<Call> {
    let len = if name == Name::Other { 0 } else { clip(&args).len() };
    args.truncate(len);
    Rc::new(Call { tid, name, args, start, ret: finish.ret, note: clip(finish.note).to_owned() })
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(ARGS_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The head of a trace made of a log that begins at `begin`, for a server that was seen accepting.
fn head(begin: u64, target: Target, survey: &Survey) -> Head {
    let clock = ClockPair { ktime: KtimeNs(begin), wall_ns: i64::try_from(begin).unwrap_or(i64::MAX) };
    Head {
        origin: Origin::Strace,
        clock,
        targets: vec![target],
        degradations: blind::degradations(survey),
        ..Head::default()
    }
}
