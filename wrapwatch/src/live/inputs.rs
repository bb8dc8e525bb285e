//! Inputs besides records: the head, targets, their files, samples.

use std::collections::BTreeMap;

use wrapwatch_common::counters::Counter;

use super::{Process, session::Session, target::Changed};
use crate::{
    host::{HostError, clock, usage},
    model::{Degradation, KtimeNs},
    probe,
    trace::{
        Head, Input, Listener, ListenerSample, NetnsSample, ProcessSample, Sample, Snapshot, SnapshotMeta,
        Target,
    },
};

impl Session<'_> {
    /// Feeds the head: the trace has begun, with everything that was found so far.
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
        self.feed.input(&head.into());
        for file in beginning.files {
            self.feed.input(&file.into());
        }
    }

    /// Feeds a target, or keeps it for the head.
    pub(super) fn describe(&mut self, target: Target) {
        match &mut self.beginning {
            Some(beginning) => beginning.targets.push(target),
            None => self.feed.input(&target.into()),
        }
    }

    /// Feeds something that cannot be seen, or keeps it for the head; once.
    pub(super) fn degraded(&mut self, degradation: Degradation) {
        if self.degradations.contains(&degradation) {
            return;
        }
        if self.beginning.is_none() {
            self.feed.input(&Input::from(&degradation));
        }
        self.degradations.push(degradation);
    }

    /// Feeds a file where it does not come too often, or keeps it for after the head.
    pub(super) fn file(&mut self, pid: u32, file: Changed) {
        let Some(file) = self.paces.pass(snapshot(pid, file)) else { return };
        match &mut self.beginning {
            Some(beginning) => beginning.files.push(file),
            None => self.feed.input(&file.into()),
        }
    }

    /// Feeds the files that had come too often, and whose time has come.
    pub(super) fn files_due(&mut self, now: KtimeNs) {
        while let Some(file) = self.paces.due(now) {
            self.feed.input(&file.into());
        }
    }

    /// Feeds the files that still wait, of one process where `pid` says so.
    pub(super) fn last_files(&mut self, pid: Option<u32>) {
        while let Some(file) = self.paces.last(pid) {
            self.feed.input(&file.into());
        }
    }

    /// Feeds where threads were seen to be: at once, for what comes next is to be seen in its light.
    pub(super) fn seen(&mut self, at: KtimeNs, targets: Vec<ProcessSample>) {
        if !targets.is_empty() {
            self.feed.input(&Sample { at, targets, ..Sample::default() }.into());
        }
    }

    /// Feeds the sample of a second: everything that events do not show.
    pub(super) fn sample_of_second(&mut self, at: KtimeNs) {
        let own_pid = std::process::id();
        let own = ProcessSample { cpu_ns: Some(clock::own_cpu_ns()), ..process(own_pid) };
        let (programs, counters) = (self.window.take(), named(self.losses.counts()));
        let mut sample = Sample { at, own, counters, programs, ..Sample::default() };
        for (&pid, tracee) in &mut self.targets {
            sample.targets.push(process(pid));
            let netns = u64::from(tracee.info.netns);
            sample.listeners.extend(queues(pid, tracee));
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
        self.feed.input(&sample.into());
    }

    /// Feeds how many clients are still queued as the trace ends.
    pub(super) fn queues_at_end(&mut self) {
        let queues = self.targets.iter_mut().flat_map(|(&pid, tracee)| queues(pid, tracee));
        let listeners: Vec<ListenerSample> = queues.collect();
        if !listeners.is_empty() {
            self.feed.input(&Sample { at: clock::now(), listeners, ..Sample::default() }.into());
        }
    }
}

/// A target's accept queues. Those that cannot be read now are better missing than old.
fn queues(pid: u32, tracee: &mut Process) -> Vec<ListenerSample> {
    if tracee.queue().is_none() {
        return Vec::new();
    }
    let netns = Some(u64::from(tracee.info.netns));
    let sample = |address, (queued, queue_limit)| ListenerSample {
        pid: Some(pid),
        address,
        netns,
        queued,
        queue_limit,
    };
    let tcp = tracee.listeners.iter().map(|l| sample(l.local.to_string(), (l.queued, l.limit)));
    let local = tracee.local_listeners.iter().flatten();
    tcp.chain(local.filter_map(|l| Some(sample(l.path.clone(), l.queue?)))).collect()
}

fn snapshot(pid: u32, file: Changed) -> Snapshot {
    let mut meta = SnapshotMeta {
        at: file.at,
        since: file.since,
        pid: Some(pid),
        role: file.role,
        path: file.path.to_string(),
        ..SnapshotMeta::default()
    };
    let bytes = match file.content {
        Ok(copy) if copy.exists => {
            meta.inode = Some(copy.mark.inode);
            meta.size = Some(copy.mark.size);
            meta.mtime_ns = Some(copy.mark.mtime_ns());
            meta.truncated = copy.mark.size > copy.bytes.len() as u64;
            copy.bytes
        }
        Ok(_) => {
            meta.error = Some("ENOENT".to_owned());
            Vec::new()
        }
        Err(error) => {
            meta.error = Some(reason(&error));
            Vec::new()
        }
    };
    Snapshot { meta, bytes }
}

/// The kernel side's counters by name.
pub(super) fn named(counts: &probe::Counts) -> BTreeMap<String, u64> {
    Counter::ALL.iter().map(|&(counter, name)| (name.to_owned(), counts.get(counter))).collect()
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

/// A target as it is.
pub(super) fn describe(tracee: &Process) -> Target {
    let info = &tracee.info;
    let daemon = info.cmdline.first().and_then(|program| program.rsplit('/').next());
    let table = |path: &str| tracee.libwrap.is_some().then(|| path.to_owned());
    let (allow, deny) = (table(&tracee.tables.allow), table(&tracee.tables.deny));
    let mut target = Target {
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
            .chain(tracee.local_listeners.iter().flatten().map(|listener| Listener {
                fd: Some(listener.fd),
                address: listener.path.clone(),
                queue_limit: listener.queue.map(|(_, limit)| limit),
            }))
            .collect(),
        netns: Some(u64::from(info.netns)),
        libwrap: tracee.libwrap.as_ref().map(|libwrap| libwrap.path.clone()),
        daemon: daemon.map(ToOwned::to_owned),
        allow_table: allow,
        deny_table: deny,
        in_check: None,
        ended: false,
    };
    target.shorten();
    target
}
