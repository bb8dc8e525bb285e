//! Writing records: numbering, counting what is lost, waking the reader.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ringbuf_output},
};
use wrapwatch_common::{
    counters::Counter,
    records::{Header, Kind, RECORD_MAX},
};

use crate::{
    counts::count,
    maps::{CONNS, EVENTS, SCRATCH, SCRATCHES, WAKE_BYTES},
    user,
    watch::targets,
};

/// A record's header: of the current thread, for a connection, at a time. `len` is the fixed body's; a tail is added with it.
#[inline(always)]
pub fn header(kind: Kind, conn: u64, ts_ns: u64, len: usize) -> Header {
    let id = targets::named();
    Header {
        ts_ns,
        conn,
        tgid: (id >> 32) as u32,
        tid: id as u32,
        seq: next_seq(conn),
        kind: kind as u16,
        len: len as u16,
    }
}

/// A header for what happens outside any process of interest.
#[inline(always)]
pub fn anonymous(kind: Kind, ts_ns: u64, len: usize) -> Header {
    Header { ts_ns, conn: 0, tgid: 0, tid: 0, seq: 0, kind: kind as u16, len: len as u16 }
}

/// Counts the attempt, so that a record that does not fit leaves a gap. Two threads of one connection meet only at the
/// hand-over; a number given twice there is no gap.
#[inline(always)]
fn next_seq(conn: u64) -> u32 {
    match CONNS.get_ptr_mut(conn) {
        // SAFETY: the pointer is into a live map value; hash values stay mapped for the program's run.
        Some(state) => unsafe {
            (*state).seq += 1;
            (*state).seq
        },
        None => 0,
    }
}

/// Writes a record without a tail.
#[inline(always)]
pub fn fixed<T>(record: &T, lost: Counter) {
    // SAFETY: a reference is valid for its type's size; records have no padding (wrapwatch-common asserts it).
    unsafe { raw(core::ptr::from_ref(record).cast(), size_of::<T>() as u64, wake_flags(), lost) }
}

/// Writes a record with a tail of at most `MAX` bytes. `fill` copies the tail to where it is told and says how long it is; `body` makes the fixed part for that
/// length, `header` included, which wants the whole record's length.
#[inline(always)]
pub fn with_tail<T, const MAX: u64>(
    lost: Counter,
    fill: impl FnOnce(*mut u8) -> u64,
    body: impl FnOnce(u16, usize) -> T,
) {
    in_slot::<T, MAX>(own_slot(), lost, fill, body);
}

/// The current thread's slot.
#[inline(always)]
pub fn own_slot() -> u32 {
    bpf_get_current_pid_tgid() as u32 & (SCRATCHES - 1)
}

/// As [`with_tail`], in this slot.
#[inline(always)]
pub fn in_slot<T, const MAX: u64>(
    slot: u32,
    lost: Counter,
    fill: impl FnOnce(*mut u8) -> u64,
    body: impl FnOnce(u16, usize) -> T,
) {
    const { assert!(size_of::<T>() + MAX as usize <= RECORD_MAX, "the record fits into the scratch") };
    let Some(scratch) = SCRATCH.get_ptr_mut(slot) else { return };
    let start = scratch.cast::<u8>();
    // SAFETY: the scratch belongs to this CPU, is aligned to 8 bytes as every record is, and has room for this one (asserted above). Who shares it and comes in
    // between writes integers, as this does.
    unsafe {
        let n = user::bound::<MAX>(fill(start.add(size_of::<T>())));
        let len = size_of::<T>() as u64 + n;
        scratch.cast::<T>().write(body(n as u16, len as usize));
        let flags = wake_flags();
        raw(start, user::bound::<{ RECORD_MAX as u64 }>(len), flags, lost);
    }
}

/// Whether the next record wakes the reader.
#[inline(always)]
fn wake_flags() -> u32 {
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    if waiting >= u64::from(WAKE_BYTES.load()) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }
}

/// Writes `len` bytes.
///
/// # Safety
/// `record` must be valid for `len` bytes; the verifier checks it as well.
#[inline(always)]
unsafe fn raw(record: *const u8, len: u64, flags: u32, lost: Counter) {
    // SAFETY: the map is a ring buffer; the caller vouches for the bytes.
    let failed = unsafe {
        bpf_ringbuf_output(
            core::ptr::addr_of!(EVENTS).cast_mut().cast(),
            record.cast_mut().cast(),
            len,
            u64::from(flags),
        )
    } != 0;
    count(if failed { lost } else { Counter::Records });
}
