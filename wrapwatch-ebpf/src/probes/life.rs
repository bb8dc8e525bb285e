//! Threads and processes that end, and programs that replace a process.

use wrapwatch_common::{
    counters::Counter,
    records::{Exec, Exit, Kind},
};

use crate::{emit, kernel, maps::THREADS, watch};

/// `sched_process_exit`, in the thread that ends.
#[inline(always)]
pub fn exit() {
    if !watch::of_target() {
        return;
    }
    let key = watch::thread();
    let leader = (key >> 32) as u32 == key as u32;
    let conn = watch::working_for();
    if leader || conn.is_some() {
        let hdr = emit::header(Kind::Exit, conn.unwrap_or(0), emit::now(), size_of::<Exit>());
        emit::fixed(&Exit { hdr, leader: u32::from(leader), pad: 0 }, Counter::LostOther);
    }
    let _ = THREADS.remove(key);
    watch::forget();
    if kernel::is_last_thread() {
        watch::let_go();
    }
}

/// `sched_process_exec`, in the thread that goes on as another program.
#[inline(always)]
pub fn exec() {
    if watch::of_target() {
        let conn = watch::working_for().unwrap_or(0);
        let hdr = emit::header(Kind::Exec, conn, emit::now(), size_of::<Exec>());
        emit::fixed(&Exec { hdr }, Counter::LostOther);
    }
}
