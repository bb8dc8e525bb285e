//! The targets of a live trace: how they come, how they go, what they turn into, and their files.
//!
//! A process is its pidfd. Its number is given to another one as soon as it is gone, so what was read by it holds only where the process had not ended
//! afterwards; the kernel side lets go of a number by itself when its process ends.

use tokio::io::unix::AsyncFd;

use super::{Notice, Session, SessionError, Tracee, seed, tracee::Changed};
use crate::{
    correlate::TableText,
    decode::Event,
    host::{clock, process},
    model::{Degradation, DegradationKind, KtimeNs},
    trace::SnapshotRole,
};

/// How long a program may take until its libraries are mapped: one that listens and has no libwrap by then has none.
const BEGINNING_NS: u64 = 1_000_000_000;

impl Session<'_> {
    /// Begins to trace a process. Order: what began before, then the process, then what may have changed meanwhile.
    pub(super) fn add(&mut self, mut tracee: Tracee) -> Result<(), SessionError> {
        let pid = tracee.info.pid;
        self.watch_exit(&tracee)?;
        for degradation in tracee.degradations() {
            self.degraded(degradation);
        }
        self.attach_uprobes(&tracee);
        self.correlator.add_target(pid, tracee.correlator_info());
        let files = tracee.changed_files();
        let seeded = seed::find(&mut self.probe, &mut tracee)?;
        self.probe.add_target(&tracee.info, tracee.libwrap.as_ref(), &tracee.ports())?;
        let seeded = match seeded {
            Some(found) => seed::confirm(found, &mut self.probe, &mut tracee, &mut self.correlator)?,
            None => None,
        };
        if tracee.has_ended() {
            // Its end comes by the channel; until then nobody who is given its number is taken for it.
            self.probe.remove_target(pid)?;
        }
        self.target_aside(&tracee, seeded.as_ref());
        self.targets.insert(pid, tracee);
        for file in &files {
            self.file_changed(pid, file);
        }
        Ok(())
    }

    /// Puts uprobes on its libwrap, where it has one and they are wanted.
    fn attach_uprobes(&mut self, tracee: &Tracee) {
        let Some(libwrap) = &tracee.libwrap else { return };
        let pid = tracee.info.pid;
        let why = if self.settings.uprobes {
            match self.probe.attach_uprobes(pid, libwrap) {
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
            message: format!("{why}: the check's end is taken from the last table's close"),
        });
    }

    /// Whether the target, as what it was until now, had uprobes on this file.
    fn has_uprobes_on(&self, pid: u32, inode: u64) -> bool {
        let mapped = self.targets.get(&pid).and_then(|tracee| tracee.libwrap.as_ref());
        self.probe.has_uprobes(pid) && mapped.is_some_and(|libwrap| libwrap.inode == inode)
    }

    /// A target is another program now: nothing that was known of it holds any more, not even where its libwrap is.
    pub(super) fn is_replaced(&mut self, pid: u32, last_conn: u64) {
        let Some(tracee) = self.targets.get(&pid) else { return };
        self.sink.notice(&Notice::Replaced(&tracee.info));
        if let Err(error) = self.probe.replaced(pid, last_conn) {
            log::warn!("forgetting what pid {pid} was: {error}");
        }
        self.replaced.insert(pid, clock::now());
    }

    /// Looks at targets that are another program now, until it is seen what that is: it has to begin, to map its libraries and to listen.
    pub(super) fn look_at_replaced(&mut self, now: KtimeNs) -> Result<(), SessionError> {
        for (pid, since) in self.replaced.clone() {
            let Some(Ok(tracee)) = self.targets.get_mut(&pid).map(Tracee::reopen) else { continue };
            let known = tracee.libwrap.is_some() || now.since(since) >= BEGINNING_NS;
            if known {
                self.replaced.remove(&pid);
                self.add_anew(tracee)?;
            } else if let Some(before) = self.targets.get_mut(&pid) {
                before.take_back(tracee);
            }
        }
        Ok(())
    }

    /// Goes on with a target as the program that it is now.
    fn add_anew(&mut self, mut tracee: Tracee) -> Result<(), SessionError> {
        let pid = tracee.info.pid;
        for degradation in tracee.degradations() {
            if !self.degradations.contains(&degradation) {
                self.degraded(degradation);
            }
        }
        self.attach_uprobes(&tracee);
        self.correlator.add_target(pid, tracee.correlator_info());
        let files = tracee.changed_files();
        self.probe.look_anew(pid, tracee.libwrap.as_ref(), &tracee.ports())?;
        self.target_aside(&tracee, None);
        self.sink.notice(&Notice::Watching(&tracee));
        self.targets.insert(pid, tracee);
        for file in &files {
            self.file_changed(pid, file);
        }
        Ok(())
    }

    /// A file of a target is new, or not what it was.
    fn file_changed(&mut self, pid: u32, file: &Changed) {
        self.snapshot_aside(pid, file);
        match (file.role, &file.content) {
            (SnapshotRole::HostsAllow | SnapshotRole::HostsDeny, Ok(copy)) => {
                let text = TableText::new(&String::from_utf8_lossy(&copy.bytes));
                self.correlator.set_table_text(pid, &file.path, text, file.from());
            }
            (SnapshotRole::ResolvConf, Ok(_)) => {
                if let Some(tracee) = self.targets.get(&pid) {
                    self.correlator.add_target(pid, tracee.correlator_info());
                }
            }
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, pid: u32) -> Result<(), SessionError> {
        self.probe.remove_target(pid)?;
        self.correlator.target_gone(pid);
        if let Some(tracee) = self.targets.remove(&pid) {
            self.sink.notice(&Notice::Exited(&tracee.info));
        }
        self.stopped.remove(&pid);
        self.replaced.remove(&pid);
        Ok(())
    }

    /// Tells of the process's end through the channel.
    fn watch_exit(&self, tracee: &Tracee) -> Result<(), SessionError> {
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

    /// Looks for a process to trace.
    pub(super) fn look(&mut self) -> Result<(), SessionError> {
        for pid in process::find(&self.settings.wanted).unwrap_or_default() {
            match Tracee::open(pid) {
                // Starting up: it will listen soon, and be found the next time.
                Err(_) => {}
                Ok(tracee) => {
                    self.add(tracee)?;
                    if let Some(tracee) = self.targets.get(&pid) {
                        self.sink.notice(&Notice::Watching(tracee));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a target's files again where an event quotes from them that is younger than the last look.
    ///
    /// It costs some ten system calls, but none of the events that are in the ring by then asks for it again.
    pub(super) fn look_before(&mut self, event: &Event<'_>) {
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

    fn look_at_files_of(&mut self, pid: u32) {
        let Some(tracee) = self.targets.get_mut(&pid) else { return };
        let moved = tracee.tables_moved().then(|| tracee.correlator_info());
        let files = tracee.changed_files();
        // Else they may be those of another process, which has its number now.
        if tracee.has_ended() {
            return;
        }
        if let Some(info) = moved {
            self.correlator.add_target(pid, info);
            self.changed_target_aside(pid);
        }
        for file in &files {
            self.file_changed(pid, file);
        }
    }
}
