//! One traced process: what is known of it, and what is looked at again and again beside the events.

use std::{
    ffi::OsStr,
    mem,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wrapwatch_common::records as abi;

use crate::{
    engine,
    host::{
        HostError, clock,
        describe::{self, Description},
        files::Copy,
        libwrap::Libwrap,
        listeners::{self, Listener},
        local_listeners::{self, LocalListener},
        netstat,
        process::{self, ProcessInfo},
        servers,
        sockdiag::SockDiag,
        thread::{self, InProgress},
        watch::{self, Watch},
    },
    model::{Degradation, DegradationKind, KtimeNs},
    trace::SnapshotRole,
};

/// The resolver's settings.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Files besides the tables that decide what a check costs.
const FILES: [(SnapshotRole, &str); 3] = [
    (SnapshotRole::ResolvConf, RESOLV_CONF),
    (SnapshotRole::NsswitchConf, "/etc/nsswitch.conf"),
    (SnapshotRole::Hosts, "/etc/hosts"),
];

/// A file of the target that is new, or not what it was.
#[derive(Debug)]
pub struct Changed {
    /// What it is to the check.
    pub role: SnapshotRole,
    /// Its path in the target.
    pub path: Arc<str>,
    /// As it is now, or why it cannot be read.
    pub content: Result<Copy, HostError>,
    /// When it was looked at.
    pub at: KtimeNs,
    /// Since when it is so, by its change time; none where there is no file, or it was read for the first time.
    pub since: Option<KtimeNs>,
}

impl Changed {
    /// From when on checks that open it find it so.
    pub fn from(&self) -> KtimeNs {
        self.since.unwrap_or(self.at)
    }
}

/// A traced process.
pub struct Process {
    /// As it was when it was found.
    pub info: ProcessInfo,
    /// The process itself, whatever its number is given to.
    pidfd: OwnedFd,
    /// libwrap in it.
    pub libwrap: Option<Libwrap>,
    /// As in [`Description`].
    wrapped_child: Result<Option<u32>, HostError>,
    /// As in [`Description`].
    installed: Result<Option<Libwrap>, HostError>,
    /// Its listeners as they were when last looked at.
    pub listeners: Vec<Listener>,
    /// Its listening unix sockets, or why they are not known.
    pub local_listeners: Result<Vec<LocalListener>, HostError>,
    /// Its network namespace.
    pub namespace: netstat::Namespace,
    /// Paths of its tables, as it opens them.
    pub tables: engine::TablePaths,
    /// None where its network namespace or its descriptors are closed to us.
    diag: Option<SockDiag>,
    /// Tables and resolver files, as they are looked at.
    files: Watch<SnapshotRole>,
    /// They were looked at, and what has changed was not asked for since.
    just_looked: bool,
}

impl Process {
    /// Looks the process up that accepts for `pid`: itself, or one that it comes from and works for.
    pub fn open_server(pid: u32) -> Result<Self, HostError> {
        match Self::open(pid) {
            Err(HostError::NotListening { pid, comm }) => match servers::accepts_for(pid) {
                Some(server) if server != servers::INIT => Self::open(server),
                _ => Err(HostError::NotListening { pid, comm }),
            },
            opened => opened,
        }
    }

    /// Looks it up. Of a process without a TCP listener nothing could be shown, but where it asks libwrap about datagrams.
    pub fn open(pid: u32) -> Result<Self, HostError> {
        // First of all: what is read by the number afterwards is of this process as long as it lives.
        let pidfd = process::pidfd(pid)?;
        let described = describe::describe(pid)?;
        let (listeners, mut diag) = listeners::of(pid)?;
        let mut tracee = Self::of(pidfd, described, listeners, diag.as_mut())?;
        tracee.diag = diag;
        tracee.find_local_listeners();
        Ok(tracee)
    }

    /// The same process as another program, after an `execve`; as [`Self::open`] where it is in another network namespace now. `self` is to be
    /// replaced by it.
    pub fn reopen(&mut self) -> Result<Self, HostError> {
        let pid = self.info.pid;
        let described = describe::describe(pid)?;
        // A way to its sockets takes privileges which are not there any more: kept as long as it leads to the same ones.
        let Some(mut diag) = self.diag.take_if(|_| described.info.netns == self.info.netns) else {
            return Self::open(pid);
        };
        let pidfd = self.pidfd.try_clone().map_err(|error| HostError::io("pidfd", error));
        let found = pidfd.and_then(|pidfd| {
            let listeners = listeners::read(pid, &mut diag)?;
            Self::of(pidfd, described, listeners, Some(&mut diag))
        });
        match found {
            Ok(mut tracee) => {
                tracee.diag = Some(diag);
                tracee.find_local_listeners();
                Ok(tracee)
            }
            Err(error) => {
                self.diag = Some(diag);
                Err(error)
            }
        }
    }

    /// What [`Self::reopen`] gave is not to replace it yet.
    pub fn take_back(&mut self, other: Self) {
        self.diag = self.diag.take().or(other.diag);
    }

    fn find_local_listeners(&mut self) {
        self.local_listeners = local_listeners::read(self.info.pid, self.diag.as_mut());
    }

    fn of(
        pidfd: OwnedFd,
        described: Description,
        listeners: Vec<Listener>,
        diag: Option<&mut SockDiag>,
    ) -> Result<Self, HostError> {
        let Description { info, libwrap, wrapped_child, installed, table_paths } = described;
        let pid = info.pid;
        let serves = || libwrap.is_some() && listeners::serves_datagrams(pid, diag).unwrap_or(false);
        if listeners.is_empty() && !serves() {
            return Err(HostError::NotListening { pid, comm: info.comm });
        }
        let namespace = netstat::Namespace::open(pid);
        let tables = engine::TablePaths::default();
        let watched = [(SnapshotRole::HostsAllow, &tables.allow), (SnapshotRole::HostsDeny, &tables.deny)];
        let watched = watched.map(|(role, path)| (role, Arc::clone(path)));
        let others = FILES.map(|(role, path)| (role, path.into())).to_vec();
        let mut tracee = Self {
            info,
            pidfd,
            libwrap,
            wrapped_child,
            installed,
            listeners,
            local_listeners: Ok(Vec::new()),
            namespace,
            tables,
            diag: None,
            files: Watch::new(pid, table_paths, watched, others),
            just_looked: false,
        };
        tracee.tables_moved();
        // Whoever begins to trace it asks for what it is by then.
        tracee.just_looked = false;
        if tracee.has_ended() { Err(HostError::Exited(pid)) } else { Ok(tracee) }
    }

    /// Whether it has ended: then its number may be another's.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// A descriptor that becomes readable at its end.
    pub fn pidfd(&self) -> std::io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Looks where libwrap takes the tables from, and at all files; whether the tables are elsewhere than before. See [`Watch::look`] for how long that takes.
    pub fn tables_moved(&mut self) -> bool {
        let moved = self.files.look();
        self.just_looked = true;
        let [allow, deny] = self.files.tables().map(Arc::clone);
        self.tables.allow = allow;
        self.tables.deny = deny;
        moved
    }

    /// Whether this, as a record has it, is a table's name.
    pub fn is_table(&self, name: &[u8]) -> bool {
        [&self.tables.allow, &self.tables.deny].iter().any(|table| abi::is_rule_file(name, table.as_bytes()))
    }

    /// Whether the processes that it makes may serve its clients. mysqld and mariadbd have threads for that: where only they are traced, a call of anybody else costs a comparison.
    pub fn may_hand_over(&self) -> bool {
        !process::SERVER_NAMES.contains(&self.program())
    }

    /// Whether a process that was passed a client's socket may ask libwrap about it, or one that it starts: it uses libwrap itself, or is known for programs that do.
    pub fn may_check_elsewhere(&self) -> bool {
        self.may_hand_over() && (self.libwrap.is_some() || servers::starts_checks(self.program()))
    }

    fn program(&self) -> &str {
        let program = self.info.exe.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
        program.unwrap_or(&self.info.comm)
    }

    /// The libwrap whose functions tell of its checks: the one that it maps, or the one that programs which it starts map.
    pub fn watched_libwrap(&self) -> Option<&Libwrap> {
        self.libwrap.as_ref().or_else(|| self.installed().filter(|_| self.may_hand_over()))
    }

    fn installed(&self) -> Option<&Libwrap> {
        self.installed.as_ref().ok()?.as_ref()
    }

    /// Its ports.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.listeners.iter().map(|listener| listener.local.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What will not be seen of it.
    pub fn degradations(&self) -> Vec<Degradation> {
        let about =
            |kind, message: &str| Degradation { kind, pid: Some(self.info.pid), message: message.to_owned() };
        let mut lost = Vec::new();
        if self.diag.is_none() {
            lost.push(about(
                DegradationKind::BeganMidway,
                "cannot list its sockets (that takes CAP_SYS_ADMIN for another network namespace, CAP_DAC_READ_SEARCH for another user, and the kernel module tcp_diag): checks already running at attach are detected late",
            ));
        }
        match &self.libwrap {
            // What a process that it makes maps is known when that checks.
            None if self.may_hand_over() && self.installed().is_some() => {}
            None => lost.push(match &self.wrapped_child {
                Ok(None) if let Some(why) = self.installed.as_ref().err().filter(|_| self.may_hand_over()) => about(
                    DegradationKind::NoProcessAccess,
                    &format!("this server does not use libwrap; wrapwatch does not know whether programs that it starts do, and does not see their checks: {why}"),
                ),
                Ok(None) => about(
                    DegradationKind::NotWrapped,
                    "this server does not use libwrap (neither it nor a child of its maps it): if clients wait, look elsewhere; queue, the server's own lookups and outcomes are still shown",
                ),
                Ok(Some(child)) => about(
                    DegradationKind::NotFollowed,
                    &format!("this server does not use libwrap, but its child does (pid {child}): wrapwatch does not see the child's checks; trace it as well (-p {child})"),
                ),
                Err(why) => about(
                    DegradationKind::NoProcessAccess,
                    &format!("this server does not use libwrap; wrapwatch does not know whether its children do: {why}"),
                ),
            }),
            Some(Libwrap { unread: Some(why), .. }) => lost.push(about(
                DegradationKind::NoRuleContext,
                &format!("wrapwatch cannot see which rule asked, because it could not read the server's libwrap: {why}"),
            )),
            Some(libwrap) if libwrap.tcpd_context.is_none() => lost.push(about(
                DegradationKind::NoRuleContext,
                "this libwrap does not export tcpd_context: wrapwatch cannot see which rule asked",
            )),
            Some(_) => {}
        }
        lost
    }

    /// Whether its files were looked at after `at`.
    pub fn looked_since(&self, at: KtimeNs) -> bool {
        self.files.looked().is_some_and(|looked| looked > at)
    }

    /// Files that changed since this was last asked (all of them, the first time), as far as they have come.
    pub fn changed_files(&mut self) -> Vec<Changed> {
        if !mem::take(&mut self.just_looked) {
            self.tables_moved();
            self.just_looked = false;
        }
        let changed = self.files.changed();
        changed.into_iter().map(Self::changed_file).collect()
    }

    fn changed_file(file: watch::Changed<SnapshotRole>) -> Changed {
        let watch::Changed { key: role, path, content, before } = file;
        let clock = clock::pair();
        // Between this look and the last one, whatever the wall clock was turned to.
        let since = content.as_ref().ok().filter(|copy| copy.exists).zip(before);
        let since = since.map(|(copy, before)| clock.ktime(copy.mark.ctime_ns()).clamp(before, clock.ktime));
        Changed { role, path, content, at: clock.ktime, since }
    }

    /// Connections waiting in the fullest accept queue of its listeners, and that queue's limit; None where they cannot be read now.
    pub fn queue(&mut self) -> Option<(u32, u32)> {
        match &mut self.diag {
            Some(diag) => listeners::refresh(diag, &mut self.listeners),
            None => listeners::refresh_by_descriptor(self.info.pid, &mut self.listeners),
        }
        .ok()?;
        if let (Some(diag), Ok(locals)) = (&mut self.diag, &mut self.local_listeners) {
            local_listeners::refresh(diag, locals);
        }
        let local = self.local_listeners.iter().flatten().filter_map(|listener| listener.queue);
        let all = self.listeners.iter().map(|l| (l.queued, l.limit)).chain(local);
        all.max_by_key(|(queued, _)| *queued)
    }

    /// A check that is going on right now, as its descriptors show it.
    pub fn in_progress(&mut self) -> Result<Option<InProgress>, HostError> {
        let tables = [&self.tables.allow, &self.tables.deny].map(ToString::to_string);
        let ports = self.ports();
        let Some(diag) = &mut self.diag else { return Ok(None) };
        thread::in_progress(self.info.pid, diag, &tables, &ports)
    }

    /// Whether a thread of it waits for the next client; None where that cannot be seen.
    pub fn at_listener(&self, tid: u32) -> Option<bool> {
        let listeners: Vec<i32> = self.listeners.iter().map(|listener| listener.fd).collect();
        thread::at_listener(self.info.pid, tid, &listeners)
    }

    /// Whether a thread of it is stopped (SIGSTOP, a debugger).
    pub fn stopped(&self, tid: u32) -> bool {
        process::thread_state(self.info.pid, tid).is_some_and(|state| matches!(state, 'T' | 't'))
    }

    /// Whether a thread of it sleeps: it waits for something, and not for a CPU.
    pub fn is_asleep(&self, tid: u32) -> bool {
        process::thread_state(self.info.pid, tid).is_some_and(|state| matches!(state, 'S' | 'D'))
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("info", &self.info).finish_non_exhaustive()
    }
}
