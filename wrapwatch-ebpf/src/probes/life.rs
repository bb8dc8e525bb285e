//! Threads and processes that begin and end, and programs that replace a process.

use wrapwatch_common::{
    counters::Counter,
    maps::{SEVERAL, Target, Thread, thread_key},
    records::{Exec, Exit, Fork, Header, Kind},
};

use super::close;
use crate::{
    emit, kernel,
    maps::{CONNS, TARGETS, THREADS},
    user,
    watch::{calls, conns, subjects, targets},
};

/// Whether a thread is of a process that user space has entered, and not of one that it has made.
#[inline(always)]
fn is_of_server(thread: u64) -> bool {
    targets::only() != SEVERAL
        || targets::current().is_none_or(|target| target.server == (thread >> 32) as u32)
}

/// `sched_process_fork`, in the thread that makes the new one, before that runs. A process made within a check is a command that a rule spawned: it serves nobody.
#[inline(always)]
pub fn fork(child: u64) {
    if child == 0 || !targets::is_current() || !kernel::numbers_are_global() {
        return;
    }
    let Some(target) = targets::current() else { return };
    if target.follows == 0 || is_in_check(&target) {
        return;
    }
    let process = (child >> 32) as u32;
    let added = process == targets::process() || targets::add(process, target);
    let Some(conn) = conns::working_for().filter(|conn| !conns::is_subject(*conn)) else { return };
    let followed = conns::set(child, Thread { conn, made_for: 1, ..Thread::default() }) && added;
    if let Some(state) = CONNS.get_ptr_mut(conn) {
        // SAFETY: a live map value.
        unsafe { (*state).socket_ends = 1 };
    }
    let hdr = emit::header(Kind::Fork, conn, kernel::now(), size_of::<Fork>());
    emit::fixed(&Fork { hdr, child: child as u32, followed: u32::from(followed) }, Counter::LostOther);
}

/// Whether the current thread is in a check: uprobes tell. Without them what libwrap says of itself, which stays as it was after a rule with the option `allow` or `deny`
/// (hosts_options(5)) for good.
#[inline(always)]
fn is_in_check(target: &Target) -> bool {
    // SAFETY: only this thread writes its entry.
    if unsafe { THREADS.get(targets::thread()) }.is_some_and(|thread| thread.in_check != 0) {
        return true;
    }
    target.follows != Target::CHECKS_TOLD
        && target.tcpd_context != 0
        && user::read::<u64>(target.tcpd_context).is_some_and(|file| file != 0)
}

/// A thread ends, or goes on as another program: a check that it was in, or a lookup, is over.
#[inline(always)]
fn forget_subjects(thread: u64) {
    let value = subjects::current(thread);
    if conns::is_passing_subject(value.conn) {
        close::ended(value.conn);
    }
    conns::forget_subject(value.before);
}

/// A process that a target has made is another program now, with other descriptors open and libwrap elsewhere. For whom it works stays.
#[inline(always)]
fn child_exec(caller: u64) {
    let Some(target) = targets::current() else { return };
    let now = Target { tcpd_context: 0, generation: targets::generation(), ..target };
    let _ = TARGETS.insert(targets::process(), now, 0);
    forget_subjects(caller);
    let (conn, made_for) = (conns::worked_for(caller), subjects::current(caller).made_for);
    let _ = THREADS.remove(caller);
    if let Some(conn) = conn {
        conns::set(targets::thread(), Thread { conn, made_for, ..Thread::default() });
    }
}

/// A thread of a process that a target has made ends. What it has open is closed after this; the socket's own end tells of a connection's, but where its client has reset it.
#[inline(always)]
fn child_exit(key: u64) {
    if let Some(conn) = conns::working_for()
        && let Some(state) = CONNS.get_ptr(conn)
    {
        // SAFETY: a live map value.
        if unsafe { (*state).reset } != 0 {
            close::ended(conn);
        }
    }
    if conns::working_for().is_none() {
        let _ = THREADS.remove(key);
    }
    calls::forget();
    if kernel::is_last_thread() {
        targets::remove();
    }
}

/// `sched_process_exit`, in the thread that ends.
#[inline(always)]
pub fn exit() {
    if !targets::is_current() {
        return;
    }
    let key = targets::thread();
    forget_subjects(key);
    if !is_of_server(key) {
        return child_exit(key);
    }
    let leader = (key >> 32) as u32 == key as u32;
    let conn = conns::working_for();
    // A thread that was made for a connection is one of several that work for it: the socket tells its end.
    let conn = conn.filter(|conn| !conns::ends_by_socket(*conn));
    if leader || conn.is_some() {
        let hdr = emit::header(Kind::Exit, conn.unwrap_or(0), kernel::now(), size_of::<Exit>());
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
    if !is_of_server(key) {
        return child_exec(key);
    }
    forget_subjects(key);
    let conn = conns::worked_for(key).unwrap_or(0);
    let hdr = emit::header(Kind::Exec, conn, kernel::now(), size_of::<Exec>());
    emit::fixed(&Exec { hdr: Header { tid: caller, ..hdr } }, Counter::LostOther);
    let _ = THREADS.remove(key);
}
