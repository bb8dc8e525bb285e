//! The maps that user space writes and reads.

use std::{collections::BTreeSet, net::SocketAddr};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use wrapwatch_common::{
    maps::{Conn, FD_SLOTS, Inflight, NOBODY, Target, Thread, Watch, call, call_slot, thread_key, watch_key},
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
trait AsArray {
    type Array: aya::Pod;
    fn array(&self) -> Self::Array;
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
        }
    )*};
}
as_array!(Target, Watch, Thread, Conn, Inflight);

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

/// Tells the kernel side whom to compare with. `several`: whether there are, or ever were, several targets at once. The tables that spare look-ups
/// are right for one only.
pub(super) fn set_only_target(
    ebpf: &mut Ebpf,
    targets: &BTreeSet<u32>,
    several: bool,
) -> Result<(), ProbeError> {
    let only = match targets.first() {
        _ if several => SEVERAL,
        None => NOBODY,
        Some(pid) => *pid,
    };
    array(ebpf, "ONLY_TARGET")?.set(0, only, 0).map_err(ProbeError::map("ONLY_TARGET"))
}

/// Adds to a counter that the kernel side keeps too: only while there is no target that runs.
fn add(ebpf: &mut Ebpf, name: &'static str, more: i64) -> Result<(), ProbeError> {
    let mut counter = array::<u64>(ebpf, name)?;
    let entries = counter.get(&0, 0).map_err(ProbeError::map(name))?;
    counter.set(0, entries.saturating_add_signed(more), 0).map_err(ProbeError::map(name))
}

/// How many that is, for [`add`].
fn as_more(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}

/// Notes that a descriptor is a process', as the kernel side does when it enters one.
fn mark_fd(ebpf: &mut Ebpf, fd: i32, pid: u32) -> Result<(), ProbeError> {
    match u32::try_from(fd) {
        Ok(fd) if fd < FD_SLOTS => array(ebpf, "FDS")?.set(fd, pid, 0).map_err(ProbeError::map("FDS")),
        // Looked up always.
        _ => Ok(()),
    }
}

/// In `ONLY_TARGET`: ask `TARGETS`.
const SEVERAL: u32 = 0;

/// Enters threads that may be in a call which began before the probes were there. To be called before the process is a target: nothing of it is
/// remembered then, so that nobody else counts in its threads' slots.
pub(super) fn seed_threads(ebpf: &mut Ebpf, pid: u32, threads: &[u32]) -> Result<(), ProbeError> {
    let mut inflight = table::<u64, Bytes<Inflight>>(ebpf, "INFLIGHT")?;
    let midway = Inflight { call: call::MIDWAY, fd: -1, ..Inflight::default() }.array();
    for &tid in threads {
        inflight.insert(thread_key(pid, tid), midway, 0).map_err(ProbeError::map("INFLIGHT"))?;
    }
    let mut calls = array::<u64>(ebpf, "CALLS")?;
    for &tid in threads {
        let slot = call_slot(tid);
        let entries = calls.get(&slot, 0).map_err(ProbeError::map("CALLS"))?;
        calls.set(slot, entries.saturating_add(1), 0).map_err(ProbeError::map("CALLS"))?;
    }
    add(ebpf, "ALL_CALLS", as_more(threads.len()))
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
    let mut named = named(&table::<u64, Bytes<Watch>>(ebpf, "WATCH")?, pid);
    named.extend(self::named(&table::<u64, Bytes<Thread>>(ebpf, "THREADS")?, pid));
    let mut open = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
    for conn in named.range(..=last) {
        let _ = open.remove(conn);
    }
    Ok(())
}

/// The connections, with whose number a value begins, that a process' entries name.
fn named<const N: usize>(map: &HashMap<&mut MapData, u64, [u8; N]>, pid: u32) -> BTreeSet<u64>
where
    [u8; N]: aya::Pod,
{
    let mine = map.iter().filter_map(Result::ok).filter(|(key, _)| (key >> 32) == u64::from(pid));
    mine.map(|(_, value)| u64::from_ne_bytes(first_eight(&value))).collect()
}

/// Ports stay: another target may listen on them, and an event too many does no harm. What its going took from the counters matters to the next target:
/// then this one has exited.
pub(super) fn remove_target(ebpf: &mut Ebpf, pid: u32) -> Result<(), ProbeError> {
    // It may have gone before: what counts is that it is not there.
    let _ = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?.remove(&pid);
    let mut watch = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?;
    let mine = |key: &u64| (key >> 32) == u64::from(pid);
    let keys: Vec<u64> = watch.keys().filter_map(Result::ok).filter(mine).collect();
    let mut conns = Vec::new();
    let mut unwatched = 0;
    for key in keys {
        if let Ok(value) = watch.get(&key, 0) {
            conns.push(u64::from_ne_bytes(first_eight(&value)));
        }
        unwatched += usize::from(watch.remove(&key).is_ok());
    }
    add(ebpf, "ALL_FDS", -as_more(unwatched))?;
    drop_keys(table::<u64, Bytes<Thread>>(ebpf, "THREADS")?, pid);
    let forgotten = drop_keys(table::<u64, Bytes<Inflight>>(ebpf, "INFLIGHT")?, pid);
    add(ebpf, "ALL_CALLS", -as_more(forgotten))?;
    let mut open = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
    let closed = conns.iter().filter(|conn| open.remove(conn).is_ok()).count();
    add(ebpf, "ALL_CONNS", -as_more(closed))
}

/// Forgets a process' threads, and says how many.
fn drop_keys<V: aya::Pod>(mut map: HashMap<&mut MapData, u64, V>, pid: u32) -> usize {
    let keys: Vec<u64> =
        map.keys().filter_map(Result::ok).filter(|key| (key >> 32) == u64::from(pid)).collect();
    keys.iter().filter(|key| map.remove(key).is_ok()).count()
}

fn first_eight(bytes: &[u8]) -> [u8; 8] {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().zip(bytes) {
        *to = *from;
    }
    eight
}

/// Gives the check a connection number, as accept would have, and enters its thread and descriptors.
pub(super) fn seed(ebpf: &mut Ebpf, pid: u32, seed: &Seed) -> Result<u64, ProbeError> {
    let conn = next_conn(ebpf)?;
    let mut conns = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
    conns.insert(conn, Conn::default().array(), 0).map_err(ProbeError::map("CONNS"))?;
    let mut threads = table::<u64, Bytes<Thread>>(ebpf, "THREADS")?;
    threads
        .insert(thread_key(pid, seed.tid), Thread { conn }.array(), 0)
        .map_err(ProbeError::map("THREADS"))?;
    let mut watch = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?;
    let mut enter = |fd: i32, class: Class, sock_type: i32| {
        let sock_type = u8::try_from(sock_type).unwrap_or(0);
        let value = Watch { conn, class: class as u8, sock_type, pad: [0; 6] };
        watch.insert(watch_key(pid, fd), value.array(), 0).map_err(ProbeError::map("WATCH"))
    };
    if let Some(fd) = seed.accepted {
        enter(fd, Class::Accepted, libc::SOCK_STREAM)?;
    }
    for &fd in &seed.tables {
        enter(fd, Class::File, 0)?;
    }
    for (fd, _) in &seed.dns {
        enter(*fd, Class::Dns, libc::SOCK_DGRAM)?;
    }
    let dns = seed.dns.iter().map(|(fd, _)| fd);
    let fds: Vec<i32> = seed.accepted.iter().chain(&seed.tables).chain(dns).copied().collect();
    for fd in &fds {
        mark_fd(ebpf, *fd, pid)?;
    }
    add(ebpf, "ALL_FDS", as_more(fds.len()))?;
    add(ebpf, "ALL_CONNS", 1)?;
    Ok(conn)
}

fn next_conn(ebpf: &mut Ebpf) -> Result<u64, ProbeError> {
    let mut last = array::<u64>(ebpf, "LAST_CONN")?;
    let conn = last.get(&0, 0).map_err(ProbeError::map("LAST_CONN"))? + 1;
    last.set(0, conn, 0).map_err(ProbeError::map("LAST_CONN"))?;
    Ok(conn)
}

pub(super) fn unwatch(ebpf: &mut Ebpf, pid: u32, fd: i32) -> Result<(), ProbeError> {
    // Its mark stays, which costs a look-up and no more: the number may be the server's own entry's by now.
    let _ = table::<u64, Bytes<Watch>>(ebpf, "WATCH")?.remove(&watch_key(pid, fd));
    Ok(())
}

pub(super) fn forget_conn(ebpf: &mut Ebpf, conn: u64) -> Result<(), ProbeError> {
    let _ = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?.remove(&conn);
    Ok(())
}
