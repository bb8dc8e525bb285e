//! Threads and processes that end, and programs that replace a process.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    records::{Exec, Exit, Kind},
};

use crate::{
    emit,
    maps::{INFLIGHT, THREADS},
    watch,
};

#[tracepoint]
pub fn sched_process_exit(_ctx: TracePointContext) -> u32 {
    let key = watch::thread();
    let leader = (key >> 32) as u32 == key as u32 && watch::target().is_some();
    let conn = watch::working_for();
    if leader || conn.is_some() {
        let hdr = emit::header(Kind::Exit, conn.unwrap_or(0), emit::now(), size_of::<Exit>());
        emit::fixed(&Exit { hdr, leader: u32::from(leader), pad: 0 }, Counter::LostOther);
    }
    let _ = THREADS.remove(key);
    let _ = INFLIGHT.remove(key);
    0
}

#[tracepoint]
pub fn sched_process_exec(_ctx: TracePointContext) -> u32 {
    if watch::target().is_some() {
        let conn = watch::working_for().unwrap_or(0);
        let hdr = emit::header(Kind::Exec, conn, emit::now(), size_of::<Exec>());
        emit::fixed(&Exec { hdr }, Counter::LostOther);
    }
    0
}
