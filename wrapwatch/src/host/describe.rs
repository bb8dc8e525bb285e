//! A process as far as a trace needs it, asked for all at once from a worker.
//!
//! Command line and memory map are read through the target's own memory, and wait with it: where they do not come, the trace goes on without this target,
//! and it is asked for again. Asked about one that has not answered yet, no second question is put.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{
    HostError,
    libwrap::{self, Libwrap, TablePaths},
    process::ProcessInfo,
    reader::{self, Answer, Heard, Patience},
};

/// What is waited for at most, and for all processes together.
const MOST: Duration = Duration::from_secs(2);
/// As [`MOST`], over time: one part in this many.
const ONE_IN: u32 = 5;
/// Questions without an answer that are remembered; each holds a worker.
const MOST_OPEN: usize = 64;

/// What is known of a process.
#[derive(Debug)]
pub struct Description {
    /// As it is now.
    pub info: ProcessInfo,
    /// libwrap in it.
    pub libwrap: Option<Libwrap>,
    /// Where it maps no libwrap: one of its children that does. An error where that could not be seen.
    pub wrapped_child: Result<Option<u32>, HostError>,
    /// Where it maps no libwrap: the file that a program which it starts would map. An error where that could not be seen.
    pub installed: Result<Option<Libwrap>, HostError>,
    /// Where the tables' paths are to be read; None where that is not possible.
    pub table_paths: Option<TablePaths>,
}

type Answered = Answer<Result<Description, HostError>>;

struct Open {
    questions: HashMap<u32, Answered>,
    patience: Patience,
}

fn open() -> &'static Mutex<Open> {
    static OPEN: OnceLock<Mutex<Open>> = OnceLock::new();
    OPEN.get_or_init(|| Mutex::new(Open { questions: HashMap::new(), patience: Patience::new(MOST, ONE_IN) }))
}

/// Describes process `pid`. [`HostError::Slow`] where that takes too long; asked again, it looks whether the answer has come.
pub fn describe(pid: u32) -> Result<Description, HostError> {
    let mut open = open().lock().unwrap_or_else(PoisonError::into_inner);
    // Those of processes that nobody asks about any more.
    if open.questions.len() >= MOST_OPEN {
        open.questions.clear();
    }
    if let Some(answer) = open.questions.remove(&pid) {
        match answer.look() {
            // Of what it was then: it may be another program since, or another process.
            Heard::Said(_) | Heard::Over => {}
            Heard::NotYet => {
                open.questions.insert(pid, answer);
                return Err(slow(pid, Duration::ZERO));
            }
        }
    }
    let answer = reader::ask(pid, move |says| {
        says(here(pid));
    })?;
    let limit = open.patience.left().min(MOST).max(Duration::from_millis(20));
    let since = Instant::now();
    let heard = answer.wait(limit);
    open.patience.waited(since.elapsed());
    match heard {
        Heard::Said(described) => described,
        Heard::NotYet => {
            open.questions.insert(pid, answer);
            Err(slow(pid, limit))
        }
        Heard::Over => Err(HostError::Exited(pid)),
    }
}

fn slow(pid: u32, limit: Duration) -> HostError {
    HostError::Slow { what: format!("what pid {pid} is"), limit }
}

fn here(pid: u32) -> Result<Description, HostError> {
    let info = ProcessInfo::read(pid)?;
    let libwrap = libwrap::find_here(pid)?;
    let table_paths = libwrap.as_ref().and_then(|libwrap| {
        let opened = TablePaths::open(pid, libwrap);
        opened.inspect_err(|error| log::info!("taking the tables to be the usual ones: {error}")).ok()
    });
    let wrapped_child = match &libwrap {
        Some(_) => Ok(None),
        None => libwrap::child_with(pid),
    };
    let installed = match &libwrap {
        Some(_) => Ok(None),
        None => libwrap::installed_here(pid),
    };
    Ok(Description { info, libwrap, wrapped_child, installed, table_paths })
}
