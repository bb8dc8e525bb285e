//! What the processor does while nobody else wants it, so that it is never idle and what all others did can be told: each turn of a loop is as many instructions as
//! the next, and it counts its turns.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result};

use crate::processor;

/// Instructions of a turn. Nearly all do nothing, which an emulated processor does fastest.
const TURN: u64 = 500;
/// Turns so far.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// Starts it, below everybody else; it ends with the machine.
pub(super) fn start() -> Result<()> {
    let (say, said) = std::sync::mpsc::channel();
    thread::Builder::new().name("filler".into()).spawn(move || {
        let _ = say.send(processor::schedule(libc::SCHED_IDLE));
        turn()
    })?;
    said.recv()?.context("the filler cannot go below everybody else")
}

#[cfg(target_arch = "x86_64")]
fn turn() -> ! {
    // SAFETY: it adds to the counter, which lives as long as the program and has no other writer, and touches nothing else.
    unsafe {
        core::arch::asm!(
            "2:",
            "inc qword ptr [{turns}]",
            ".rept 498",
            "nop",
            ".endr",
            "jmp 2b",
            turns = in(reg) TURNS.as_ptr(),
            options(noreturn, nostack)
        )
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn turn() -> ! {
    loop {
        TURNS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    clock: u64,
    turns: u64,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        Self { clock: processor::now(), turns: TURNS.load(Ordering::Relaxed) }
    }

    /// Instructions since, of all but the filler.
    pub(super) fn passed(self) -> u64 {
        let now = Self::now();
        let filled = now.turns.saturating_sub(self.turns).saturating_mul(TURN);
        now.clock.saturating_sub(self.clock).saturating_sub(filled)
    }
}
