//! Watched descriptors: slots by number while there is one target, a table for all others.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use wrapwatch_common::{
    counters::Counter,
    maps::{SEVERAL, Watch, watch_key},
    records::Class,
};

use super::{conns, targets};
use crate::{
    counts::count,
    maps::{BUSY, FDS, WATCH},
    shared::{add, load},
};

/// Whether a descriptor of a target may be watched. No takes no look-up, and where none is watched not even the descriptor, which takes the call of a helper.
#[inline(always)]
pub fn may_be_watched(fd: impl FnOnce() -> i32) -> bool {
    if load!(BUSY, fds) == 0 {
        return false;
    }
    let only = targets::only();
    if only == SEVERAL {
        return true;
    }
    let fd = fd();
    fd >= 0 && FDS.get(fd as u32).is_none_or(|slot| slot.process == only)
}

/// The watched descriptor `fd` of the current process.
#[inline(always)]
pub fn watched(fd: i32) -> Option<Watch> {
    if load!(BUSY, fds) == 0 || fd < 0 {
        return None;
    }
    let process = targets::process();
    if let Some(slot) = FDS.get(fd as u32) {
        if slot.process == process {
            return Some(*slot);
        }
        if targets::only() != SEVERAL {
            return None;
        }
    }
    let target = targets::current()?;
    // SAFETY: an entry is changed only by threads that use this descriptor; a stale one gives a stale connection number, never a bad access.
    if let Some(watch) = unsafe { WATCH.get(watch_key(process, fd)) }
        && watch.generation == target.generation
    {
        return Some(*watch);
    }
    if target.follows == 0 {
        return None;
    }
    let conn = conns::inherited(fd)?;
    Some(Watch { conn, class: Class::Accepted as u8, ..Watch::default() })
}

/// Watches a descriptor of the current process.
#[inline(always)]
pub fn watch(fd: i32, conn: u64, class: Class, sock_type: u8) {
    watch_as(fd, conn, class as u8, sock_type);
}

/// As [`watch`], by the class's number.
#[inline(always)]
pub fn watch_as(fd: i32, conn: u64, class: u8, sock_type: u8) {
    let process = targets::process();
    let generation =
        if targets::only() == SEVERAL { targets::current().map_or(0, |t| t.generation) } else { 0 };
    let value = Watch { conn, class, sock_type, generation, process };
    if let Some(slot) = FDS.get_ptr_mut(fd as u32) {
        // SAFETY: a live map value. Nobody else writes it meanwhile: a descriptor's number is one thread's from its opening to its closing, and
        // a slot is taken by the only target alone.
        let is_mine = unsafe { (*slot).process } == process;
        if is_mine || targets::only() == process {
            // SAFETY: as above.
            unsafe { *slot = value };
            if !is_mine {
                add!(BUSY, fds, 1);
            }
            return;
        }
    }
    let key = watch_key(process, fd);
    if WATCH.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() {
        add!(BUSY, fds, 1);
    } else if WATCH.insert(key, value, u64::from(BPF_EXIST)).is_err() {
        count(Counter::FullWatch);
    }
}

/// Notes that a read found a file's end, for its close to tell; false where the descriptor is not watched.
#[inline(always)]
pub fn read_to_end(fd: i32) -> bool {
    let process = targets::process();
    let slot = FDS.get_ptr_mut(fd as u32).filter(|slot| {
        // SAFETY: as in `watch_as`.
        unsafe { (**slot).process == process }
    });
    let Some(watch) = slot.or_else(|| WATCH.get_ptr_mut(watch_key(process, fd))) else { return false };
    // SAFETY: as in `watch_as`.
    unsafe { (*watch).sock_type = 1 };
    true
}

/// Forgets a descriptor of the current process.
#[inline(always)]
pub fn unwatch(fd: i32) {
    let process = targets::process();
    if let Some(slot) = FDS.get_ptr_mut(fd as u32) {
        // SAFETY: as in `watch_as`.
        if unsafe { (*slot).process } == process {
            // SAFETY: as above.
            unsafe { (*slot).process = 0 };
            add!(BUSY, fds, u64::MAX);
            return;
        }
        if targets::only() != SEVERAL {
            return;
        }
    }
    if WATCH.remove(watch_key(process, fd)).is_ok() {
        add!(BUSY, fds, u64::MAX);
    }
}
