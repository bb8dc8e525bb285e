//! The maps that user space writes and reads.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use wrapwatch_common::{
    maps::{
        Busy, CALL_SLOTS, Conn, FD_SLOTS, Gate, Inflight, MANY, NOBODY, Slot, Target, Thread, Watch, call,
        call_slot, syscall, thread_key, watch_key,
    },
    records::Class,
};
use zerocopy::IntoBytes as _;

use super::ProbeError;

/// A check that began before the probes were there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The accept thread.
    pub tid: u32,
    /// The accepted socket, where it is known.
    pub accepted: Option<i32>,
    /// Open tables.
    pub tables: Vec<i32>,
    /// Sockets connected to nameservers.
    pub dns: Vec<(i32, SocketAddr)>,
}

type Bytes<T> = <T as AsArray>::Array;

/// A map value as the array of its bytes, which is what aya moves without further promises.
trait AsArray: Sized {
    type Array: aya::Pod;
    fn array(&self) -> Self::Array;
    fn of(array: &Self::Array) -> Self;
}

macro_rules! as_array {
    ($($type:ty),*) => {$(
        impl AsArray for $type {
            type Array = [u8; size_of::<$type>()];
            fn array(&self) -> Self::Array {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(self.as_bytes());
                array
            }

            fn of(array: &Self::Array) -> Self {
                zerocopy::transmute!(*array)
            }
        }
    )*};
}
as_array!(Target, Watch, Thread, Conn, Inflight, Slot, Gate, Busy);

fn table<'a, K: aya::Pod, V: aya::Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<HashMap<&'a mut MapData, K, V>, ProbeError> {
    let map = ebpf.map_mut(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    HashMap::try_from(map).map_err(ProbeError::map(name))
}

fn array<'a, T: aya::Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<Array<&'a mut MapData, T>, ProbeError> {
    let map = ebpf.map_mut(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    Array::try_from(map).map_err(ProbeError::map(name))
}

/// Reads a value of an array, changes it, writes it back.
fn change<T: AsArray>(
    ebpf: &mut Ebpf,
    name: &'static str,
    index: u32,
    change: impl FnOnce(&mut T),
) -> Result<(), ProbeError> {
    let mut array = array::<T::Array>(ebpf, name)?;
    let mut value = T::of(&array.get(&index, 0).map_err(ProbeError::map(name))?);
    change(&mut value);
    array.set(index, value.array(), 0).map_err(ProbeError::map(name))
}

/// Changes what lets calls go. The kernel side writes it too, so only while there is no target that runs, or [`MANY`] makes its counting of no matter.
fn change_gate(ebpf: &mut Ebpf, gate: impl FnOnce(&mut Gate)) -> Result<(), ProbeError> {
    change(ebpf, GATE, 0, gate)
}

/// The same of what is counted at calls.
fn change_busy(ebpf: &mut Ebpf, busy: impl FnOnce(&mut Busy)) -> Result<(), ProbeError> {
    change(ebpf, BUSY, 0, busy)
}

/// Section, and so map, of the kernel side's [`Gate`].
const GATE: &str = ".data.gate";
/// That of its [`Busy`].
const BUSY: &str = ".data.busy";

/// Enters what each system call is to us, by its number.
pub(super) fn set_syscalls(ebpf: &mut Ebpf, sorts: &[(u32, u32)]) -> Result<(), ProbeError> {
    let mut syscalls = array::<u32>(ebpf, "SYSCALLS")?;
    for &(number, sort) in sorts {
        syscalls.set(number, sort, 0).map_err(ProbeError::map("SYSCALLS"))?;
    }
    change_gate(ebpf, |gate| {
        for &(number, _) in sorts.iter().filter(|(_, sort)| syscall::always(*sort)) {
            if let Some(word) = gate.always.get_mut((number / 64) as usize) {
                *word |= 1 << (number % 64);
            }
        }
    })
}

/// Tells the kernel side whom to compare with.
pub(super) fn set_only_target(ebpf: &mut Ebpf, targets: &BTreeSet<u32>) -> Result<(), ProbeError> {
    let only = targets.first().copied().unwrap_or(NOBODY);
    change_gate(ebpf, |gate| gate.only_target = only)
}

/// Has the kernel side ask the table of targets from here on, and use nothing that is right for one only.
pub(super) fn set_several(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    change_busy(ebpf, |busy| *busy = Busy { calls: MANY, fds: MANY })?;
    change_gate(ebpf, |gate| (gate.only_target, gate.conns) = (SEVERAL, MANY))
}

/// As the only target: ask `TARGETS`.
const SEVERAL: u32 = 0;

/// Enters threads that may be in a call which began before the probes were there. To be called before the process is a target: nothing of it is
/// remembered then, so that nobody else counts in its threads' slots, if there are not `several` targets.
pub(super) fn seed_threads(
    ebpf: &mut Ebpf,
    pid: u32,
    threads: &[u32],
    several: bool,
) -> Result<(), ProbeError> {
    let midway = Inflight { call: call::MIDWAY, fd: -1, counted: u8::from(!several), ..Inflight::default() };
    for &tid in threads {
        let thread = thread_key(pid, tid);
        let mut has_slot = false;
        if !several {
            change::<Slot>(ebpf, "CALLS", call_slot(tid), |slot| {
                slot.entries += 1;
                if slot.entries == 1 {
                    (slot.thread, slot.call, has_slot) = (thread, midway, true);
                }
            })?;
            change_busy(ebpf, |busy| busy.calls += 1)?;
        }
        if !has_slot {
            let mut inflight = table::<u64, Bytes<Inflight>>(ebpf, "INFLIGHT")?;
            inflight.insert(thread, midway.array(), 0).map_err(ProbeError::map("INFLIGHT"))?;
        }
    }
    Ok(())
}

pub(super) fn add_target(ebpf: &mut Ebpf, pid: u32, tcpd_context: u64) -> Result<(), ProbeError> {
    let mut targets = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?;
    targets.insert(pid, Target { tcpd_context }.array(), 0).map_err(ProbeError::map("TARGETS"))
}

/// Of a target that is there still: one that has ended was taken out by the kernel side, and its number may be another's.
pub(super) fn set_context(ebpf: &mut Ebpf, pid: u32, tcpd_context: u64) -> Result<(), ProbeError> {
    let mut targets = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?;
    match targets.insert(pid, Target { tcpd_context }.array(), BPF_EXIST) {
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(ProbeError::map("TARGETS")),
    }
}

/// Flag of an insertion: only where there is one (bpf(2)).
const BPF_EXIST: u64 = 2;

pub(super) fn add_ports(ebpf: &mut Ebpf, ports: &[u16]) -> Result<(), ProbeError> {
    let mut map = table::<u16, u8>(ebpf, "PORTS")?;
    for &port in ports {
        map.insert(port, 1, 0).map_err(ProbeError::map("PORTS"))?;
    }
    Ok(())
}

/// Forgets the connections up to this number that the descriptors and threads of a process name. What names one counts for nothing any more, and
/// stays until the number of the descriptor or thread is used again.
pub(super) fn forget_conns(ebpf: &mut Ebpf, pid: u32, last: u64) -> Result<(), ProbeError> {
    let slots = fd_slots(ebpf, pid)?;
    forget_named(ebpf, pid, &slots, last)
}

/// As that, with the descriptors that are in slots.
fn forget_named(ebpf: &mut Ebpf, pid: u32, slots: &[(u32, Watch)], last: u64) -> Result<(), ProbeError> {
    let mut named: BTreeSet<u64> = slots.iter().map(|(_, slot)| slot.conn).collect();
    let mine = |key: u64| (key >> 32) == u64::from(pid);
    let watch = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?;
    let watched = watch.iter().filter_map(Result::ok).filter(|(key, _)| mine(*key));
    named.extend(watched.map(|(_, value)| Watch::of(&value).conn));
    let threads = table::<u64, Bytes<Thread>>(ebpf, "THREADS")?;
    let working = threads.iter().filter_map(Result::ok).filter(|(key, _)| mine(*key));
    named.extend(working.map(|(_, value)| Thread::of(&value).conn));
    let mut open = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
    for conn in named.range(..=last) {
        let _ = open.remove(conn);
    }
    Ok(())
}

/// Forgets a process that has exited. Ports stay: another target may listen on them, and an event too many does no harm. Where there never were
/// `several` targets nothing is counted any more, whatever its going left.
pub(super) fn remove_target(ebpf: &mut Ebpf, pid: u32, several: bool) -> Result<(), ProbeError> {
    // It may have gone before: what counts is that it is not there.
    let _ = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?.remove(&pid);
    let slots = fd_slots(ebpf, pid)?;
    forget_named(ebpf, pid, &slots, u64::MAX)?;
    empty(ebpf, "FDS", &slots)?;
    drop_keys(table::<u64, Bytes<Watch>>(ebpf, "WATCH")?, pid);
    drop_keys(table::<u64, Bytes<Thread>>(ebpf, "THREADS")?, pid);
    drop_keys(table::<u64, Bytes<Inflight>>(ebpf, "INFLIGHT")?, pid);
    if several {
        return Ok(());
    }
    let used = find(ebpf, "CALLS", CALL_SLOTS, |slot: &Slot| *slot != Slot::default())?;
    empty(ebpf, "CALLS", &used)?;
    change_busy(ebpf, |busy| *busy = Busy::default())?;
    change_gate(ebpf, |gate| gate.conns = 0)
}

/// A process' watched descriptors that are in slots.
fn fd_slots(ebpf: &mut Ebpf, pid: u32) -> Result<Vec<(u32, Watch)>, ProbeError> {
    find(ebpf, "FDS", FD_SLOTS, |slot: &Watch| slot.process == pid)
}

/// The slots of which that is true: only when a target goes or becomes another program.
fn find<T: AsArray + Default>(
    ebpf: &mut Ebpf,
    name: &'static str,
    slots: u32,
    wanted: impl Fn(&T) -> bool,
) -> Result<Vec<(u32, T)>, ProbeError> {
    let values = all::<T>(ebpf, name, slots)?;
    let values = (0..slots).zip(values.iter().map(T::of));
    Ok(values.filter(|(_, value)| wanted(value)).collect())
}

/// `BPF_MAP_LOOKUP_BATCH` (Linux 5.6).
const LOOKUP_BATCH: libc::c_int = 24;

/// `union bpf_attr` for it.
#[repr(C)]
struct Batch {
    from_key: u64,
    next_key: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every slot of an array, by one system call: with one for each a process that calls `execve` in a loop would keep wrapwatch from all else.
fn all<T: AsArray + Default>(
    ebpf: &mut Ebpf,
    name: &'static str,
    slots: u32,
) -> Result<Vec<T::Array>, ProbeError> {
    let map = ebpf.map(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    let Map::Array(data) = map else { return Err(ProbeError::Missing(format!("array {name}"))) };
    // Its values are as long as ours.
    Array::<_, T::Array>::try_from(map).map_err(ProbeError::map(name))?;
    let mut values = vec![T::default().array(); slots as usize];
    let (mut keys, mut next) = (vec![0_u32; slots as usize], 0_u32);
    let mut batch = Batch {
        from_key: 0,
        next_key: (&raw mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: slots,
        map_fd: u32::try_from(data.fd().as_fd().as_raw_fd()).unwrap_or(u32::MAX),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel writes `count` keys of 4 bytes and values of the map's value size, which is that of `T::Array` (asked above), and one key to `next_key`;
    // all of them are as long and live until the call is over.
    let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut batch, size_of::<Batch>()) };
    let error = std::io::Error::last_os_error();
    // At the end of an array it may say that there is no next key.
    if done == 0 || error.raw_os_error() == Some(libc::ENOENT) { Ok(values) } else { Err(error.into()) }
}

/// Empties slots.
fn empty<T: AsArray + Default>(
    ebpf: &mut Ebpf,
    name: &'static str,
    slots: &[(u32, T)],
) -> Result<(), ProbeError> {
    let mut array = array::<T::Array>(ebpf, name)?;
    for (index, _) in slots {
        array.set(*index, T::default().array(), 0).map_err(ProbeError::map(name))?;
    }
    Ok(())
}

/// Forgets a process' entries.
fn drop_keys<V: aya::Pod>(mut map: HashMap<&mut MapData, u64, V>, pid: u32) {
    let keys: Vec<u64> =
        map.keys().filter_map(Result::ok).filter(|key| (key >> 32) == u64::from(pid)).collect();
    for key in keys {
        let _ = map.remove(&key);
    }
}

/// Gives the check a connection number, as accept would have, and enters its thread and descriptors.
pub(super) fn seed(ebpf: &mut Ebpf, pid: u32, seed: &Seed, several: bool) -> Result<u64, ProbeError> {
    let conn = next_conn(ebpf)?;
    let mut conns = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
    conns.insert(conn, Conn::default().array(), 0).map_err(ProbeError::map("CONNS"))?;
    let mut threads = table::<u64, Bytes<Thread>>(ebpf, "THREADS")?;
    threads
        .insert(thread_key(pid, seed.tid), Thread { conn }.array(), 0)
        .map_err(ProbeError::map("THREADS"))?;
    let accepted = seed.accepted.iter().map(|fd| (*fd, Class::Accepted, libc::SOCK_STREAM));
    let tables = seed.tables.iter().map(|fd| (*fd, Class::File, 0));
    let dns = seed.dns.iter().map(|(fd, _)| (*fd, Class::Dns, libc::SOCK_DGRAM));
    for (fd, class, sock_type) in accepted.chain(tables).chain(dns) {
        let sock_type = u8::try_from(sock_type).unwrap_or(0);
        let value = Watch { conn, class: class as u8, sock_type, pad: 0, process: pid };
        enter(ebpf, fd, value, several)?;
    }
    if several {
        return Ok(conn);
    }
    change_gate(ebpf, |gate| gate.conns += 1)?;
    Ok(conn)
}

/// Watches a descriptor, where the kernel side would look for it.
fn enter(ebpf: &mut Ebpf, fd: i32, value: Watch, several: bool) -> Result<(), ProbeError> {
    match u32::try_from(fd) {
        Ok(slot) if slot < FD_SLOTS && !several => {
            array::<Bytes<Watch>>(ebpf, "FDS")?
                .set(slot, value.array(), 0)
                .map_err(ProbeError::map("FDS"))?;
        }
        _ => {
            let mut watch = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?;
            let key = watch_key(value.process, fd);
            watch.insert(key, value.array(), 0).map_err(ProbeError::map("WATCH"))?;
        }
    }
    if several { Ok(()) } else { change_busy(ebpf, |busy| busy.fds += 1) }
}

fn next_conn(ebpf: &mut Ebpf) -> Result<u64, ProbeError> {
    let mut last = array::<u64>(ebpf, "LAST_CONN")?;
    let conn = last.get(&0, 0).map_err(ProbeError::map("LAST_CONN"))? + 1;
    last.set(0, conn, 0).map_err(ProbeError::map("LAST_CONN"))?;
    Ok(conn)
}

/// The counters keep it, which costs a look and no more: the target runs, and the number may be the server's own entry's by now.
pub(super) fn unwatch(ebpf: &mut Ebpf, pid: u32, fd: i32) -> Result<(), ProbeError> {
    if let Some(index) = u32::try_from(fd).ok().filter(|index| *index < FD_SLOTS) {
        let mut fds = array::<Bytes<Watch>>(ebpf, "FDS")?;
        let slot = Watch::of(&fds.get(&index, 0).map_err(ProbeError::map("FDS"))?);
        if slot.process == pid {
            fds.set(index, Watch::default().array(), 0).map_err(ProbeError::map("FDS"))?;
        }
    }
    let _ = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?.remove(&watch_key(pid, fd));
    Ok(())
}

pub(super) fn forget_conn(ebpf: &mut Ebpf, conn: u64) -> Result<(), ProbeError> {
    let _ = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?.remove(&conn);
    Ok(())
}
