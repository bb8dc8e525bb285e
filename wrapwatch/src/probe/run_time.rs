//! How long the programs run, as the kernel counts it while it is asked to (`BPF_ENABLE_STATS`, Linux 5.8): it costs every run of every program
//! 20 to 30 ns, so it is asked for short windows.
//!
//! Asking takes CAP_SYS_ADMIN each time, which a trace gives up once it is attached. So a thread of its own keeps that capability, and that alone, and does
//! nothing but this; capabilities belong to threads (capabilities(7)).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::mpsc,
    time::Duration,
};

use aya::{
    Ebpf,
    programs::Program,
    sys::{Stats, enable_stats},
};
use caps::Capability;

use super::privileges;

/// Longest time for one system call of a thread that does nothing else.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs of programs and the time they took, since they were loaded, as far as the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Nanoseconds.
    pub ns: u64,
    /// How many.
    pub runs: u64,
}

impl RunTime {
    /// What came after an earlier look.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { ns: self.ns.saturating_sub(before.ns), runs: self.runs.saturating_sub(before.runs) }
    }
}

/// Turns the kernel's counting on and off. Dropping it turns it off.
#[derive(Debug)]
pub struct Switch {
    wanted: mpsc::Sender<bool>,
    is: mpsc::Receiver<io::Result<bool>>,
}

impl Switch {
    /// To be called while CAP_SYS_ADMIN is there.
    pub fn new() -> io::Result<Self> {
        let (wanted, asked) = mpsc::channel();
        let (tell, is) = mpsc::channel();
        std::thread::Builder::new().name("run times".to_owned()).spawn(move || obey(&asked, &tell))?;
        Ok(Self { wanted, is })
    }

    /// Asks for it; [`Self::answer`] says when it is done.
    pub fn turn(&self, on: bool) {
        // A thread that has ended answers with an error below.
        let _ = self.wanted.send(on);
    }

    /// As [`Self::answer`], but waits for it: a system call's time.
    pub fn first_answer(&self) -> io::Result<bool> {
        self.is.recv_timeout(PATIENCE).unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether it is on now, once after each [`Self::turn`]; None while that is not done.
    pub fn answer(&self) -> Option<io::Result<bool>> {
        match self.is.try_recv() {
            Ok(answer) => Some(answer),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(io::Error::other("its thread has ended"))),
        }
    }
}

/// The thread: ends when nobody can ask any more.
fn obey(asked: &mpsc::Receiver<bool>, tell: &mpsc::Sender<io::Result<bool>>) {
    privileges::keep_only(&[Capability::CAP_SYS_ADMIN]);
    let mut counting: Option<OwnedFd> = None;
    for on in asked {
        let done = if on { enable_stats(Stats::RunTime).map(Some) } else { Ok(None) };
        let answer = done.map(|now| counting = now).map_err(|error| error.io_error);
        if tell.send(answer.map(|()| on)).is_err() {
            return;
        }
    }
    drop(counting);
}

/// Of all programs of an object.
pub(super) fn read(ebpf: &Ebpf) -> RunTime {
    let mut sum = RunTime::default();
    for (_, program) in ebpf.programs() {
        let Ok(fd) = fd(program) else { continue };
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sum.ns += value("run_time_ns:");
        sum.runs += value("run_cnt:");
    }
    sum
}

/// Of a program that is loaded.
fn fd(program: &Program) -> Result<i32, aya::programs::ProgramError> {
    Ok(program.fd()?.as_fd().as_raw_fd())
}
