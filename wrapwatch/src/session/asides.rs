//! What a recording needs besides the events: the head, targets, their files, samples. Looked at only for a sink that wants it.

use std::collections::BTreeMap;

use wrapwatch_common::counters::Counter;

use super::{Aside, Session, Tracee, tracee::Changed};
use crate::{
    correlate::SeededCheck,
    host::{HostError, clock, usage},
    model::KtimeNs,
    probe,
    trace::{
        Head, InCheck, InCheckSocket, Listener, ListenerSample, NetnsSample, ProcessSample, Sample, Snapshot,
        SnapshotMeta, Target,
    },
};

/// What was found before the head was complete.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    targets: Vec<Target>,
    snapshots: Vec<Snapshot>,
}

impl Session<'_> {
    pub(super) fn aside(&mut self, aside: &Aside<'_>) {
        if self.sink.wants_asides() {
            let taken = self.sink.aside(aside);
            self.keep_error(taken);
        }
    }

    /// Tells that the trace has begun, with everything that was found so far.
    pub(super) fn begin(&mut self) {
        let Some(beginning) = self.beginning.take() else { return };
        let name = nix::sys::utsname::uname().ok();
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let head = Head {
            kernel: name.as_ref().map(|name| text(name.release())).unwrap_or_default(),
            hostname: name.as_ref().map(|name| text(name.nodename())).unwrap_or_default(),
            clock: clock::pair(),
            targets: beginning.targets,
            probes: self.probe.hooks().to_vec(),
            degradations: self.degradations.clone(),
            options: BTreeMap::from([("slow_ns".to_owned(), self.settings.slow_ns.to_string())]),
            ..Head::default()
        };
        self.aside(&Aside::Begun(&head));
        for file in &beginning.snapshots {
            self.aside(&Aside::Snapshot(file));
        }
    }

    /// Tells of a process that is traced now.
    pub(super) fn target_aside(&mut self, tracee: &Tracee, seeded: Option<&SeededCheck>) {
        self.described(describe(tracee, seeded));
    }

    /// Tells of a traced process of which something is not as it was.
    pub(super) fn changed_target_aside(&mut self, pid: u32) {
        if let Some(target) = self.targets.get(&pid).map(|tracee| describe(tracee, None)) {
            self.described(target);
        }
    }

    fn described(&mut self, target: Target) {
        match &mut self.beginning {
            Some(beginning) => beginning.targets.push(target),
            None => self.aside(&Aside::Target(&target)),
        }
    }

    /// Tells of a file.
    pub(super) fn snapshot_aside(&mut self, pid: u32, file: &Changed) {
        let mut meta = SnapshotMeta {
            at: file.at,
            since: file.since,
            pid: Some(pid),
            role: file.role,
            path: file.path.to_string(),
            ..SnapshotMeta::default()
        };
        let bytes: &[u8] = match &file.content {
            Ok(copy) if copy.exists => {
                meta.inode = Some(copy.mark.inode);
                meta.size = Some(copy.mark.size);
                meta.mtime_ns = Some(copy.mark.mtime_ns());
                meta.truncated = copy.mark.size > copy.bytes.len() as u64;
                &copy.bytes
            }
            Ok(_) => {
                meta.error = Some("ENOENT".to_owned());
                &[]
            }
            Err(error) => {
                meta.error = Some(reason(error));
                &[]
            }
        };
        let file = Snapshot { meta, bytes: bytes.to_vec() };
        match &mut self.beginning {
            Some(beginning) => beginning.snapshots.push(file),
            None => self.aside(&Aside::Snapshot(&file)),
        }
    }

    /// Tells where threads were seen to be: at once, for what comes next is to be seen in its light.
    pub(super) fn threads_aside(&mut self, at: KtimeNs, targets: Vec<ProcessSample>) {
        if !targets.is_empty() {
            self.aside(&Aside::Sample(&Sample { at, targets, ..Sample::default() }));
        }
    }

    /// Looks at everything that events do not show.
    pub(super) fn sample_aside(&mut self, at: KtimeNs) {
        if !self.sink.wants_asides() {
            return;
        }
        let own_pid = std::process::id();
        let own = ProcessSample { cpu_ns: Some(clock::own_cpu_ns()), ..process(own_pid) };
        let programs = self.window.take();
        let mut sample = Sample { at, own, counters: named(&self.counted), programs, ..Sample::default() };
        for (&pid, tracee) in &mut self.targets {
            sample.targets.push(process(pid));
            let netns = u64::from(tracee.info.netns);
            // Queues that cannot be read now are better missing than old.
            if tracee.queue().is_some() {
                sample.listeners.extend(tracee.listeners.iter().map(|listener| ListenerSample {
                    address: listener.local.to_string(),
                    netns: Some(netns),
                    queued: listener.queued,
                    queue_limit: listener.limit,
                }));
            }
            if sample.netns.iter().all(|known| known.netns != netns) {
                let counters = tracee.namespace.read();
                sample.netns.push(NetnsSample {
                    netns,
                    listen_overflows: counters.listen_overflows,
                    listen_drops: counters.listen_drops,
                    syncookies_sent: counters.syncookies_sent,
                    time_wait: counters.time_wait,
                    port_range: counters.port_range,
                });
            }
        }
        self.aside(&Aside::Sample(&sample));
    }
}

/// The kernel side's counters by name.
pub(super) fn named(counts: &probe::Counts) -> BTreeMap<String, u64> {
    Counter::ALL.iter().map(|&(counter, name)| (name.to_owned(), counts.get(counter))).collect()
}

/// How much was lost by what, by the counters' names.
pub(super) fn by_name(lost: &[(Counter, u64)]) -> Vec<(String, u64)> {
    let name = |counter| Counter::ALL.iter().find(|(c, _)| *c == counter).map_or("other", |(_, name)| *name);
    lost.iter().map(|&(counter, n)| (name(counter).to_owned(), n)).collect()
}

fn process(pid: u32) -> ProcessSample {
    let usage = usage::read(pid).ok();
    ProcessSample {
        pid,
        threads: usage.map(|usage| usage.threads),
        cpu_ns: usage.map(|usage| usage.cpu_ns),
        rss_bytes: usage.map(|usage| usage.rss_bytes),
        ..ProcessSample::default()
    }
}

/// The errno's name where there is one: that is what a reader can work with.
fn reason(error: &HostError) -> String {
    let errno = match error {
        HostError::Io { source, .. } => source.raw_os_error().map(nix::errno::Errno::from_raw),
        HostError::Permission { .. } => Some(nix::errno::Errno::EACCES),
        _ => None,
    };
    errno.map_or_else(|| error.to_string(), |errno| format!("{errno:?}"))
}

fn describe(tracee: &Tracee, seeded: Option<&SeededCheck>) -> Target {
    let info = &tracee.info;
    let daemon = info.cmdline.first().and_then(|program| program.rsplit('/').next());
    let table = |path: &str| tracee.libwrap.is_some().then(|| path.to_owned());
    let (allow, deny) = (table(&tracee.tables.allow), table(&tracee.tables.deny));
    Target {
        pid: info.pid,
        comm: info.comm.clone(),
        cmdline: info.cmdline.clone(),
        exe: info.exe.as_ref().map(|exe| exe.display().to_string()),
        started: Some(clock::since_boot(usage::ticks_ns(info.start_ticks))),
        accept_threads: Vec::new(),
        listeners: tracee
            .listeners
            .iter()
            .map(|listener| Listener {
                fd: Some(listener.fd),
                address: listener.local.to_string(),
                queue_limit: Some(listener.limit),
            })
            .collect(),
        netns: Some(u64::from(info.netns)),
        libwrap: tracee.libwrap.as_ref().map(|libwrap| libwrap.path.clone()),
        daemon: daemon.map(ToOwned::to_owned),
        allow_table: allow,
        deny_table: deny,
        in_check: seeded.map(|check| Box::new(in_check(check))),
    }
}

fn in_check(check: &SeededCheck) -> InCheck {
    InCheck {
        conn: check.conn,
        tid: check.tid,
        at: check.at,
        fd: check.fd,
        peer: check.peer.map(|peer| peer.to_string()),
        local: check.local.map(|local| local.to_string()),
        table: check.table.clone(),
        sockets: check
            .sockets
            .iter()
            .map(|socket| InCheckSocket {
                fd: socket.fd,
                server: socket.server.map(|server| server.to_string()).unwrap_or_default(),
                stream: socket.stream,
            })
            .collect(),
    }
}
