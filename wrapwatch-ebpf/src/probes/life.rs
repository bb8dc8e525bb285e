//! Threads and processes that end, and programs that replace a process.

use wrapwatch_common::{
    counters::Counter,
    maps::thread_key,
    records::{Exec, Exit, Header, Kind},
};

use crate::{
    emit, kernel,
    maps::THREADS,
    watch::{calls, conns, targets},
};

/// `sched_process_exit`, in the thread that ends.
#[inline(always)]
pub fn exit() {
    if !targets::is_current() {
        return;
    }
    let key = targets::thread();
    let leader = (key >> 32) as u32 == key as u32;
    let conn = conns::working_for();
    if leader || conn.is_some() {
        let hdr = emit::header(Kind::Exit, conn.unwrap_or(0), emit::now(), size_of::<Exit>());
        emit::fixed(&Exit { hdr, leader: u32::from(leader), pad: 0 }, Counter::LostOther);
    }
    let _ = THREADS.remove(key);
    calls::forget();
    if kernel::is_last_thread() {
        targets::remove();
    }
}

/// `sched_process_exec`, in the thread that goes on as another program. By now the other threads are gone and it has the leader's number;
/// `caller` is the one that it had before in the first PID namespace, by which it is known; in another one that cannot be told any more.
#[inline(always)]
pub fn exec(caller: u32) {
    if !targets::is_current() {
        return;
    }
    let caller = kernel::known_as(caller);
    let key = thread_key(targets::process(), caller);
    let conn = conns::worked_for(key).unwrap_or(0);
    let hdr = emit::header(Kind::Exec, conn, emit::now(), size_of::<Exec>());
    emit::fixed(&Exec { hdr: Header { tid: caller, ..hdr } }, Counter::LostOther);
    let _ = THREADS.remove(key);
}
