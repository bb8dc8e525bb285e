//! What user space enters into the kernel side's maps, and takes out again: targets, what they listen on, what began before the probes were there.
//!
//! The kernel side counts what it enters, so that nearly all calls can be let go by a look at one number. User space must count the same way. Counting is
//! exact for one target only; from the moment there are two, numbers stand for "many" and everything is looked up. That rule is [`Keep`]'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use aya::{Ebpf, maps::MapError};
use wrapwatch_common::{
    maps::{
        Busy, CALL_SLOTS, Conn, FD_SLOTS, Failures, Gate, Inflight, MANY, NOBODY, SEVERAL, Slot, Target,
        Thread, Watch, call_slot, port_bit, thread_key, watch_key,
    },
    records::Class,
    syscalls::{call, class},
};

use super::{
    ProbeError,
    mapped::Mapped,
    maps::{AsArray, Bytes, array, change, drop_keys, insert, table},
};

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

/// Section, and so map, of the kernel side's [`Gate`].
const GATE: &str = ".data.gate";
/// Section, and so map, of the kernel side's [`Busy`].
const BUSY: &str = ".data.busy";
/// Flag of an insertion: only where there is one (bpf(2)).
const BPF_EXIST: u64 = 2;
/// Only where there is none.
const BPF_NOEXIST: u64 = 1;

/// Changes what lets calls go. The kernel side writes it too, so only while there is no target that runs, or [`MANY`] makes its counting of no matter.
fn change_gate(ebpf: &mut Ebpf, gate: impl FnOnce(&mut Gate)) -> Result<(), ProbeError> {
    change(ebpf, GATE, 0, gate)
}

/// Changes what is counted at calls, under the same condition.
fn change_busy(ebpf: &mut Ebpf, busy: impl FnOnce(&mut Busy)) -> Result<(), ProbeError> {
    change(ebpf, BUSY, 0, busy)
}

/// Has the kernel side take this process alone for a target, without more: to try it out.
pub(super) fn only_target(ebpf: &mut Ebpf, process: u32) -> Result<(), ProbeError> {
    change_gate(ebpf, |gate| gate.only_target = process)
}

/// Enters what each system call is to us, by its number.
pub(super) fn set_syscalls(ebpf: &mut Ebpf, classes: &[(u32, u32)]) -> Result<(), ProbeError> {
    let mut syscalls = array::<u32>(ebpf, "SYSCALLS")?;
    for &(number, class) in classes {
        syscalls.set(number, class, 0).map_err(ProbeError::map("SYSCALLS"))?;
    }
    change_gate(ebpf, |gate| {
        for &(number, _) in classes.iter().filter(|(_, class)| class::always(*class)) {
            if let Some(word) = gate.always.get_mut((number / 64) as usize) {
                *word |= 1 << (number % 64);
            }
        }
    })
}

/// Takes entries out of processes, in the high half of keys, that are no targets any more.
fn drop_left<T: AsArray>(
    ebpf: &mut Ebpf,
    name: &'static str,
    is_left: impl Fn(&T) -> bool,
) -> Result<(), ProbeError> {
    let map = table::<u64, T::Array>(ebpf, name)?;
    let entries = map.iter().filter_map(Result::ok);
    let left: Vec<u64> = entries.filter(|(_, value)| is_left(&T::of(value))).map(|(key, _)| key).collect();
    if left.is_empty() {
        return Ok(());
    }
    // Read after them: a process that is made meanwhile is not among those that are gone.
    let targets: BTreeSet<u32> =
        table::<u32, Bytes<Target>>(ebpf, "TARGETS")?.keys().filter_map(Result::ok).collect();
    let mut map = table::<u64, T::Array>(ebpf, name)?;
    for key in left {
        if u32::try_from(key >> 32).is_ok_and(|process| !targets.contains(&process)) {
            let _ = map.remove(&key);
        }
    }
    Ok(())
}

/// How entries are kept: where they are, and whether they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// One target, or none yet: entries are in slots, and counted.
    Exact,
    /// Several targets, now or before: entries are in tables, and everything is looked up.
    LookedUp,
}

impl Keep {
    /// Enters a call that a thread is in.
    fn enter_call(self, ebpf: &mut Ebpf, thread: u64, call: Inflight) -> Result<(), ProbeError> {
        if self == Self::LookedUp {
            return insert(ebpf, "INFLIGHT", thread, &Inflight { counted: 0, ..call });
        }
        let call = Inflight { counted: 1, ..call };
        let slot = call_slot(u32::try_from(thread & u64::from(u32::MAX)).unwrap_or(0));
        let mut has_slot = false;
        change::<Slot>(ebpf, "CALLS", slot, |slot| {
            slot.entries += 1;
            if slot.entries == 1 {
                (slot.thread, slot.call, has_slot) = (thread, call, true);
            }
        })?;
        change_busy(ebpf, |busy| busy.calls += 1)?;
        if has_slot { Ok(()) } else { insert(ebpf, "INFLIGHT", thread, &call) }
    }

    /// Watches a descriptor, where the kernel side would look for it.
    fn enter_fd(self, ebpf: &mut Ebpf, fd: i32, value: Watch) -> Result<(), ProbeError> {
        let slot = u32::try_from(fd).ok().filter(|slot| self == Self::Exact && *slot < FD_SLOTS);
        match slot {
            Some(slot) => change::<Watch>(ebpf, "FDS", slot, |watch| *watch = value)?,
            None => insert(ebpf, "WATCH", watch_key(value.process, fd), &value)?,
        }
        if self == Self::Exact { change_busy(ebpf, |busy| busy.fds += 1) } else { Ok(()) }
    }

    /// A connection was entered.
    fn opened(self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if self == Self::Exact { change_gate(ebpf, |gate| gate.conns += 1) } else { Ok(()) }
    }
}

/// Where a target listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listening {
    /// Its network namespace; 0, which stands for any, where it is not known.
    netns: u32,
    ports: BTreeSet<u16>,
}

/// How many targets listen on a port.
#[derive(Debug, Default)]
struct Ports(BTreeMap<u16, usize>);

impl Ports {
    fn add(&mut self, port: u16) {
        *self.0.entry(port).or_default() += 1;
    }

    fn remove(&mut self, port: u16) {
        if let Some(targets) = self.0.get_mut(&port) {
            *targets -= 1;
            if *targets == 0 {
                self.0.remove(&port);
            }
        }
    }

    /// A word of the bitmap.
    fn word(&self, word: u32) -> u64 {
        let first = u16::try_from(word * 64).unwrap_or(u16::MAX);
        let ports = self.0.range(first..=first.saturating_add(63)).map(|(port, _)| port_bit(*port));
        ports.fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// The targets, and how what is entered for them is kept.
pub(super) struct Registry {
    keep: Keep,
    targets: BTreeMap<u32, Target>,
    listening: BTreeMap<u32, Listening>,
    ports: Ports,
    fds: Mapped,
    calls: Mapped,
}

impl Registry {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, ProbeError> {
        Ok(Self {
            keep: Keep::Exact,
            targets: BTreeMap::new(),
            listening: BTreeMap::new(),
            ports: Ports::default(),
            fds: Mapped::to_write(ebpf, "FDS", FD_SLOTS as usize * size_of::<Watch>())?,
            calls: Mapped::to_write(ebpf, "CALLS", CALL_SLOTS as usize * size_of::<Slot>())?,
        })
    }

    /// Has the kernel side look every call up where there is a target already. To be called before anything of another one is entered: user space does not
    /// count as the kernel side does while a target runs.
    fn expect_another(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if self.targets.is_empty() { Ok(()) } else { self.look_everything_up(ebpf) }
    }

    /// Has the kernel side look every call up. Best before there is a target: the kernel may copy a map's value byte by byte, and a call that reads the only target's
    /// number in the midst of that is let go.
    pub(super) fn look_everything_up(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if self.keep == Keep::LookedUp {
            return Ok(());
        }
        self.keep = Keep::LookedUp;
        change_busy(ebpf, |busy| *busy = Busy { calls: MANY, fds: MANY })?;
        change_gate(ebpf, |gate| (gate.only_target, gate.conns) = (SEVERAL, MANY))
    }

    /// Makes a process a target. `midway` are its threads that may be in a call which began before the probes were there: they are entered before the process is
    /// a target, so that nobody else counts in their slots.
    pub(super) fn add(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        tcpd_context: u64,
        midway: &[u32],
    ) -> Result<(), ProbeError> {
        self.expect_another(ebpf)?;
        for &tid in midway {
            let call = Inflight { call: call::MIDWAY, fd: -1, ..Inflight::default() };
            self.keep.enter_call(ebpf, thread_key(pid, tid), call)?;
        }
        let target = Target { tcpd_context, server: pid, ..Target::default() };
        self.targets.insert(pid, target);
        if self.keep == Keep::Exact {
            change_gate(ebpf, |gate| gate.only_target = pid)?;
        }
        insert(ebpf, "TARGETS", pid, &target)
    }

    /// Follows the processes that a target makes from now on, which the kernel side makes targets: `follows` as in [`Target::follows`].
    pub(super) fn follow(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        follows: u16,
        context_from_check: u64,
    ) -> Result<(), ProbeError> {
        self.look_everything_up(ebpf)?;
        let Some(target) = self.targets.get_mut(&pid) else { return Ok(()) };
        (target.follows, target.context_from_check) = (follows, context_from_check);
        Self::change_target(ebpf, pid, *target)
    }

    /// Follows a process that a target has made before. `midway`, as for [`Self::add`].
    pub(super) fn adopt(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        child: u32,
        midway: &[u32],
    ) -> Result<(), ProbeError> {
        let Some(target) = self.targets.get(&pid).copied() else { return Ok(()) };
        for &tid in midway {
            let call = Inflight { call: call::MIDWAY, fd: -1, ..Inflight::default() };
            self.keep.enter_call(ebpf, thread_key(child, tid), call)?;
        }
        let mut targets = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?;
        // It may be another program, which has libwrap elsewhere: its first check says where.
        let target = Target { tcpd_context: 0, ..target };
        match targets.insert(child, target.array(), BPF_NOEXIST) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                Ok(())
            }
            other => other.map_err(ProbeError::map("TARGETS")),
        }
    }

    /// Takes out what processes that were followed have left behind: descriptors that went without a call, threads that worked for a connection when they ended.
    pub(super) fn sweep(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if self.targets.values().all(|target| target.follows == 0) {
            return Ok(());
        }
        drop_left::<Watch>(ebpf, "WATCH", |_| true)?;
        drop_left::<Inflight>(ebpf, "INFLIGHT", |_| true)?;
        // What a process has open is closed after it has ended: whom it worked for must be known until then.
        let open: BTreeSet<u64> =
            table::<u64, Bytes<Conn>>(ebpf, "CONNS")?.keys().filter_map(Result::ok).collect();
        drop_left::<Thread>(ebpf, "THREADS", |thread| !open.contains(&thread.conn))
    }

    /// Says where a target listens; what was said before of it holds no more.
    pub(super) fn listens(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        netns: u32,
        ports: &[u16],
    ) -> Result<(), ProbeError> {
        let now = Listening { netns, ports: ports.iter().copied().collect() };
        let before = self.listening.insert(pid, now.clone());
        self.change_listening(ebpf, &now, &before.unwrap_or_default())
    }

    /// Enters a target's namespace and ports, and takes those of `before` out that no target has any more.
    fn change_listening(
        &mut self,
        ebpf: &mut Ebpf,
        now: &Listening,
        before: &Listening,
    ) -> Result<(), ProbeError> {
        now.ports.iter().for_each(|port| self.ports.add(*port));
        before.ports.iter().for_each(|port| self.ports.remove(*port));
        let words: BTreeSet<u32> =
            now.ports.iter().chain(&before.ports).map(|port| port_bit(*port).0).collect();
        let mut map = array::<u64>(ebpf, "PORTS")?;
        for word in words {
            map.set(word, self.ports.word(word), 0).map_err(ProbeError::map("PORTS"))?;
        }
        let is_used = |netns| self.listening.values().any(|listening| listening.netns == netns);
        let mut map = table::<u32, u8>(ebpf, "NETNS")?;
        if !is_used(before.netns) {
            let _ = map.remove(&before.netns);
        }
        if is_used(now.netns) {
            map.insert(now.netns, 1, 0).map_err(ProbeError::map("NETNS"))?;
        }
        Ok(())
    }

    /// Of a target that is there still: one that has ended was taken out by the kernel side, and its number may be another's.
    pub(super) fn set_context(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        tcpd_context: u64,
    ) -> Result<(), ProbeError> {
        let Some(target) = self.targets.get_mut(&pid) else { return Ok(()) };
        target.tcpd_context = tcpd_context;
        Self::change_target(ebpf, pid, *target)
    }

    fn change_target(ebpf: &mut Ebpf, pid: u32, target: Target) -> Result<(), ProbeError> {
        let mut targets = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?;
        match targets.insert(pid, target.array(), BPF_EXIST) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(())
            }
            other => other.map_err(ProbeError::map("TARGETS")),
        }
    }

    /// Forgets the open connections up to this number that a process accepted. What of its descriptors and threads names one counts for nothing any more, and
    /// stays until the number of the descriptor or thread is used again.
    pub(super) fn forget_conns(ebpf: &mut Ebpf, pid: u32, last: u64) -> Result<(), ProbeError> {
        let mut conns = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?;
        let open = conns.iter().filter_map(Result::ok).filter(|(conn, _)| *conn <= last);
        let of_process: Vec<u64> =
            open.filter(|(_, value)| Conn::of(value).process == pid).map(|(conn, _)| conn).collect();
        let mut socks = Vec::new();
        for conn in of_process {
            socks.extend(conns.get(&conn, 0).ok().map(|value| Conn::of(&value).sk));
            let _ = conns.remove(&conn);
        }
        let mut known = table::<u64, u64>(ebpf, "SOCKS")?;
        for sk in socks.into_iter().filter(|sk| *sk != 0) {
            let _ = known.remove(&sk);
        }
        Ok(())
    }

    /// Forgets a process that has exited, or never became a target.
    pub(super) fn remove(&mut self, ebpf: &mut Ebpf, pid: u32) -> Result<(), ProbeError> {
        let follows = self.targets.remove(&pid).is_some_and(|target| target.follows != 0);
        // What is counted is another target's where there is one: a process that was refused, or has gone twice, has no part in it.
        let none_left = self.keep == Keep::Exact && self.targets.is_empty();
        if none_left {
            change_gate(ebpf, |gate| gate.only_target = NOBODY)?;
        }
        // It may have gone before: what counts is that it is not there.
        let mut family = BTreeSet::from([pid]);
        let mut targets = table::<u32, Bytes<Target>>(ebpf, "TARGETS")?;
        if follows {
            let all = targets.iter().filter_map(Result::ok);
            family
                .extend(all.filter(|(_, value)| Target::of(value).server == pid).map(|(process, _)| process));
        }
        for process in &family {
            let _ = targets.remove(process);
        }
        let is_of_it = |process: u32| family.contains(&process);
        if let Some(before) = self.listening.remove(&pid) {
            self.change_listening(ebpf, &Listening { netns: before.netns, ..Listening::default() }, &before)?;
        }
        Self::forget_conns(ebpf, pid, u64::MAX)?;
        self.fds.empty(|slot: &Watch| slot.process == pid);
        drop_keys(table::<u64, Bytes<Watch>>(ebpf, "WATCH")?, is_of_it);
        drop_keys(table::<u64, Bytes<Thread>>(ebpf, "THREADS")?, is_of_it);
        drop_keys(table::<u64, Bytes<Inflight>>(ebpf, "INFLIGHT")?, is_of_it);
        drop_keys(table::<u64, Bytes<Failures>>(ebpf, "FAILURES")?, is_of_it);
        if none_left {
            self.calls.empty(|slot: &Slot| *slot != Slot::default());
            change_busy(ebpf, |busy| *busy = Busy::default())?;
            change_gate(ebpf, |gate| gate.conns = 0)?;
        }
        Ok(())
    }

    /// Gives the check a connection number, as accept would have, and enters its thread and descriptors.
    pub(super) fn seed(&mut self, ebpf: &mut Ebpf, pid: u32, seed: &Seed) -> Result<u64, ProbeError> {
        self.expect_another(ebpf)?;
        let conn = next_conn(ebpf)?;
        insert(ebpf, "CONNS", conn, &Conn { process: pid, ..Conn::default() })?;
        insert(ebpf, "THREADS", thread_key(pid, seed.tid), &Thread { conn, ..Thread::default() })?;
        let accepted = seed.accepted.iter().map(|fd| (*fd, Class::Accepted, libc::SOCK_STREAM));
        let tables = seed.tables.iter().map(|fd| (*fd, Class::File, 0));
        let dns = seed.dns.iter().map(|(fd, _)| (*fd, Class::Dns, libc::SOCK_DGRAM));
        for (fd, class, sock_type) in accepted.chain(tables).chain(dns) {
            let sock_type = u8::try_from(sock_type).unwrap_or(0);
            let value = Watch { conn, class: class as u8, sock_type, generation: 0, process: pid };
            self.keep.enter_fd(ebpf, fd, value)?;
        }
        self.keep.opened(ebpf)?;
        Ok(conn)
    }

    /// Takes a descriptor back. The counters keep it, which costs a look and no more: the target runs, and the number may be the server's own entry's by now.
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

    /// Takes a connection back.
    pub(super) fn forget_conn(ebpf: &mut Ebpf, conn: u64) -> Result<(), ProbeError> {
        let _ = table::<u64, Bytes<Conn>>(ebpf, "CONNS")?.remove(&conn);
        Ok(())
    }
}

fn next_conn(ebpf: &mut Ebpf) -> Result<u64, ProbeError> {
    let mut last = array::<u64>(ebpf, "LAST_CONN")?;
    let conn = last.get(&0, 0).map_err(ProbeError::map("LAST_CONN"))? + 1;
    last.set(0, conn, 0).map_err(ProbeError::map("LAST_CONN"))?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_there_as_long_as_a_target_listens_on_it() {
        let mut ports = Ports::default();
        for port in [3306, 3306, 3307, 65_535, 0] {
            ports.add(port);
        }
        let (word, bit) = port_bit(3306);
        assert_eq!(ports.word(word), bit | port_bit(3307).1);
        ports.remove(3306);
        assert_eq!(ports.word(word), bit | port_bit(3307).1);
        ports.remove(3306);
        ports.remove(3306);
        assert_eq!(ports.word(word), port_bit(3307).1);
        assert_eq!((ports.word(1023), ports.word(0)), (1 << 63, 1));
    }
}
