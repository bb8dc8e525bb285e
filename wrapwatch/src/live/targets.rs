//! The targets of a live trace: how they come, how they go, what they turn into, and their files.
//!
//! A process is its pidfd. Its number is given to another one as soon as it is gone, so what was read by it holds only where the process had not ended
//! afterwards; the kernel side lets go of a number by itself when its process ends.

use std::collections::HashMap;

use tokio::io::unix::AsyncFd;
use wrapwatch_common::records::Kind;

use super::{
    Process, SessionError,
    inputs::describe,
    seed,
    session::{Replaced, Session},
};
use crate::{
    decode::{self, Event},
    host::{
        clock, servers,
        wanted::{self, Wanted},
    },
    model::{Degradation, DegradationKind, KtimeNs},
    observe::Notice,
    probe::{ProbeError, Ring},
    trace::{InCheck, Target},
};

/// How long a program may take until its libraries are mapped: one that listens and has no libwrap by then has none.
const BEGINNING_NS: u64 = 1_000_000_000;
/// How often what the kernel side keeps of a target is forgotten because it is another program; one that calls `execve` more often waits.
const FORGET_NS: u64 = 1_000_000_000;

impl Session<'_> {
    /// Begins to trace the first processes: all their uprobes before any of them is traced, for attaching takes long, and nobody empties the ring meanwhile.
    pub(super) fn add_first(&mut self, first: Vec<Process>) -> Result<(), SessionError> {
        for tracee in &first {
            self.attach_uprobes(tracee);
        }
        if first.len() > 1 {
            self.probe.expect_several()?;
        }
        let mut failed = None;
        for tracee in first {
            let (target, start) = (describe(&tracee), tracee.info.start_ticks);
            if let Err(error) = self.enter(tracee) {
                self.refuse(&target, start, &error);
                failed = failed.or(Some(error));
            }
        }
        match failed {
            Some(error) if self.targets.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins to trace a process. Where that fails it is said, and costs that process only.
    fn add(&mut self, tracee: Process) {
        let (target, start) = (describe(&tracee), tracee.info.start_ticks);
        self.attach_uprobes(&tracee);
        match self.enter(tracee) {
            Ok(()) => self.feed.notice(&Notice::Watching(&target)),
            Err(error) => self.refuse(&target, start, &error),
        }
    }

    fn enter(&mut self, tracee: Process) -> Result<(), SessionError> {
        self.watch_exit(&tracee)?;
        self.trace(tracee)
    }

    /// Order: what began before, then the process, then what may have changed meanwhile.
    pub(super) fn trace(&mut self, mut tracee: Process) -> Result<(), SessionError> {
        let pid = tracee.info.pid;
        let files = tracee.changed_files();
        if tracee.may_hand_over() {
            self.probe.expect_several()?;
        }
        let seeded = seed::find(&mut self.probe, &mut tracee)?;
        self.probe.add_target(&tracee.info, tracee.libwrap.as_ref(), &tracee.ports())?;
        self.follow_family(&tracee);
        self.watch_local(&tracee);
        let seeded = match seeded {
            Some(found) => seed::confirm(found, &mut self.probe, &mut tracee)?,
            None => None,
        };
        if tracee.has_ended() {
            // Its end comes by the channel; until then nobody who is given its number is taken for it.
            self.probe.remove_target(pid)?;
        }
        for degradation in tracee.degradations() {
            self.degraded(degradation);
        }
        self.describe(Target { in_check: seeded.map(Box::<InCheck>::new), ..describe(&tracee) });
        self.targets.insert(pid, tracee);
        for file in files {
            self.file(pid, file);
        }
        Ok(())
    }

    /// A process is not traced: says why, and does not try again.
    pub(super) fn refuse(&mut self, target: &Target, start_ticks: u64, error: &SessionError) {
        if let Err(error) = self.probe.remove_target(target.pid) {
            log::debug!("forgetting pid {}: {error}", target.pid);
        }
        self.refused.insert((target.pid, start_ticks));
        self.degraded(Degradation {
            kind: DegradationKind::NoProcessAccess,
            pid: Some(target.pid),
            message: format!("pid {} ({}) is not traced: {error}", target.pid, target.comm),
        });
    }

    /// Follows the processes that it makes, where they may serve its clients.
    fn follow_family(&mut self, tracee: &Process) {
        let pid = tracee.info.pid;
        if !tracee.may_hand_over() {
            if !self.probe.receives() {
                let message = "these hooks do not show what a server receives on TCP by recv, recvfrom or recvmsg (glibc's resolver uses read): whether a query over TCP was answered so is not known";
                let kind = DegradationKind::NoTcpAnswers;
                self.degraded(Degradation { kind, pid: Some(pid), message: message.to_owned() });
            }
            return;
        }
        if let Err(why) = self.probe.follow(pid, tracee.watched_libwrap()) {
            let message = format!(
                "wrapwatch cannot follow all processes that this server makes ({why}): it does not see what they do for its clients"
            );
            self.degraded(Degradation { kind: DegradationKind::NoHook, pid: Some(pid), message });
        }
    }

    /// Watches the queues of its unix sockets.
    fn watch_local(&mut self, tracee: &Process) {
        let pid = tracee.info.pid;
        let watched = match &tracee.local_listeners {
            Ok(listeners) => {
                let inodes: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
                self.probe.watch_local(pid, &inodes)
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = watched {
            let message = format!(
                "wrapwatch does not see how long clients of this server's unix sockets wait until they are accepted ({why})"
            );
            self.degraded(Degradation { kind: DegradationKind::NoLocalQueueTime, pid: Some(pid), message });
        }
    }

    /// Puts uprobes on its libwrap, where it has one and they are wanted.
    fn attach_uprobes(&mut self, tracee: &Process) {
        let Some(libwrap) = tracee.watched_libwrap() else { return };
        let pid = tracee.info.pid;
        let why = if self.settings.uprobes {
            match self.probe.attach_uprobes(pid, libwrap, tracee.may_hand_over()) {
                Ok(()) => return,
                // They are on the file: another program that maps the same one has them too.
                Err(_) if self.has_uprobes_on(pid, libwrap.inode) => return,
                Err(error) => format!("{error} (uprobes take CAP_SYS_ADMIN)"),
            }
        } else {
            "as asked, no uprobes on libwrap".to_owned()
        };
        self.degraded(Degradation {
            kind: DegradationKind::NoUprobes,
            pid: Some(pid),
            message: format!("{why}: wrapwatch takes the last table's close as the check's end"),
        });
        if tracee.may_check_elsewhere() {
            let message = "wrapwatch sees only the tables that a process with the client's socket reads: it knows nothing of checks in helpers, for datagrams and after the first byte";
            let kind = DegradationKind::ChecksUnseen;
            self.degraded(Degradation { kind, pid: Some(pid), message: message.to_owned() });
        }
    }

    /// Whether the target, as what it was until now, had uprobes on this file.
    fn has_uprobes_on(&self, pid: u32, inode: u64) -> bool {
        let mapped = self.targets.get(&pid).and_then(|tracee| tracee.libwrap.as_ref());
        self.probe.has_uprobes(pid) && mapped.is_some_and(|libwrap| libwrap.inode == inode)
    }

    /// A target is another program now: nothing that was known of it holds any more, not even where its libwrap is.
    pub(super) fn is_replaced(&mut self, pid: u32) {
        let Some(tracee) = self.targets.get(&pid) else { return };
        let now = clock::now();
        if let Some(replaced) = self.replaced.get_mut(&pid) {
            (replaced.since, replaced.again) = (now, true);
            return;
        }
        self.feed.notice(&Notice::Replaced(&describe(tracee)));
        self.replaced.insert(pid, Replaced { since: now, forgotten: now, again: false });
        self.forget(pid);
    }

    /// Has the kernel side forget what the target was.
    fn forget(&mut self, pid: u32) {
        if let Err(error) = self.probe.replaced(pid, self.last_conn()) {
            log::warn!("forgetting what pid {pid} was: {error}");
        }
    }

    /// Looks at targets that are another program now, until it is seen what that is: it has to begin, to map its libraries and to listen.
    pub(super) fn look_at_replaced(&mut self, now: KtimeNs) {
        for (pid, replaced) in self.replaced.clone() {
            if now.since(replaced.forgotten) < FORGET_NS && replaced.again {
                continue;
            }
            if replaced.again {
                self.replaced.insert(pid, Replaced { forgotten: now, again: false, ..replaced });
                self.forget(pid);
            }
            let Some(Ok(tracee)) = self.targets.get_mut(&pid).map(Process::reopen) else { continue };
            let known = tracee.libwrap.is_some() || now.since(replaced.since) >= BEGINNING_NS;
            if known {
                self.replaced.remove(&pid);
                self.add_anew(tracee);
            } else if let Some(before) = self.targets.get_mut(&pid) {
                before.take_back(tracee);
            }
        }
    }

    /// Goes on with a target as the program that it is now.
    fn add_anew(&mut self, mut tracee: Process) {
        let pid = tracee.info.pid;
        for degradation in tracee.degradations() {
            self.degraded(degradation);
        }
        self.attach_uprobes(&tracee);
        let target = describe(&tracee);
        let files = tracee.changed_files();
        let anew = self.probe.look_anew(&tracee.info, tracee.libwrap.as_ref(), &tracee.ports());
        self.follow_family(&tracee);
        self.watch_local(&tracee);
        if let Err(error @ ProbeError::Program32 { .. }) = anew {
            // Nothing is seen of it any more but handshakes, which would look like clients whom nobody accepts.
            self.remove(pid);
            return self.refuse(&target, tracee.info.start_ticks, &error.into());
        }
        if let Err(error) = anew {
            let message =
                format!("pid {pid} ({}) is seen in part since it replaced its program: {error}", target.comm);
            self.degraded(Degradation { kind: DegradationKind::NoProcessAccess, pid: Some(pid), message });
        }
        self.feed.notice(&Notice::Watching(&target));
        self.describe(target);
        self.targets.insert(pid, tracee);
        for file in files {
            self.file(pid, file);
        }
    }

    /// A target has ended.
    pub(super) fn remove(&mut self, pid: u32) {
        if let Err(error) = self.probe.remove_target(pid) {
            log::warn!("taking pid {pid} off the targets: {error}");
        }
        if let Some(tracee) = self.targets.remove(&pid) {
            self.last_files(Some(pid));
            self.paces.forget(pid);
            let target = Target { ended: true, ..describe(&tracee) };
            self.feed.notice(&Notice::Exited(&target));
            self.describe(target);
        }
        self.stopped.remove(&pid);
        self.replaced.remove(&pid);
    }

    /// Tells of the process's end through the channel.
    fn watch_exit(&self, tracee: &Process) -> Result<(), SessionError> {
        let (pid, pidfd) = (tracee.info.pid, tracee.pidfd()?);
        // SAFETY: an OwnedFd returns the same open descriptor for as long as it lives, and AsyncFd owns it.
        let pidfd = unsafe { AsyncFd::register(pidfd) }.map_err(std::io::Error::from)?;
        let exited = self.exited.clone();
        tokio::spawn(async move {
            // An error would mean that the runtime is going down: then nobody listens either.
            let _ = pidfd.readable().await;
            let _ = exited.send(pid);
        });
        Ok(())
    }

    /// Looks for processes to trace that are not traced yet. The ring is emptied after each, for it takes long.
    pub(super) fn look(&mut self, ring: &mut Ring) {
        let pids = wanted::find(&self.settings.wanted).unwrap_or_default();
        let by_number = matches!(self.settings.wanted, Wanted::Pids(_));
        let heads = if by_number { HashMap::new() } else { servers::heads(&pids) };
        for pid in pids {
            let head = heads.get(&pid).and_then(|head| self.targets.get(head));
            if self.targets.contains_key(&pid) || head.is_some_and(Process::may_hand_over) {
                continue;
            }
            // By name many may be helpers of one that is traced: looking for whose they are, again and again, would take long.
            match if by_number { Process::open_server(pid) } else { Process::open(pid) } {
                // Starting up: it will listen soon, and be found the next time.
                Err(_) => {}
                Ok(tracee) if self.targets.contains_key(&tracee.info.pid) => {}
                Ok(tracee) if self.refused.contains(&(tracee.info.pid, tracee.info.start_ticks)) => {}
                Ok(tracee) => {
                    self.add(tracee);
                    self.drain(ring);
                }
            }
        }
    }

    /// Looks at a target's files again where a record quotes from them that is younger than the last look.
    ///
    /// It costs some ten system calls, but none of the records that are in the ring by then asks for it again.
    pub(super) fn look_before(&mut self, kind: u16, record: &[u8]) {
        if kind != Kind::Open as u16 && kind != Kind::Rule as u16 {
            return;
        }
        let Ok(event) = decode::decode(record) else { return };
        let header = event.header();
        let Some(tracee) = self.targets.get(&header.tgid) else { return };
        let quotes = match event {
            Event::Open(_, path) => tracee.is_table(path),
            // A table that is not known, too: it may be elsewhere now.
            Event::Rule(_, table) => !table.is_empty(),
            _ => false,
        };
        if quotes && !tracee.looked_since(KtimeNs(header.ts_ns)) {
            self.look_at_files_of(header.tgid);
        }
    }

    /// Tables and resolver files that have changed, or are elsewhere now.
    pub(super) fn look_at_files(&mut self) {
        for pid in self.targets.keys().copied().collect::<Vec<_>>() {
            self.look_at_files_of(pid);
        }
    }

    /// The same of those that were last looked at before that.
    pub(super) fn look_at_files_not_looked_at_since(&mut self, at: KtimeNs) {
        let due = self.targets.iter().filter(|(_, tracee)| !tracee.looked_since(at));
        for pid in due.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.look_at_files_of(pid);
        }
    }

    fn look_at_files_of(&mut self, pid: u32) {
        let Some(tracee) = self.targets.get_mut(&pid) else { return };
        let moved = tracee.tables_moved();
        let files = tracee.changed_files();
        // Else they may be those of another process, which has its number now.
        if tracee.has_ended() {
            return;
        }
        let target = moved.then(|| describe(tracee));
        if let Some(target) = target {
            self.describe(target);
        }
        for file in files {
            self.file(pid, file);
        }
    }
}
