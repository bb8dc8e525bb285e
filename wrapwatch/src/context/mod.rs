//! What inputs say besides connections: head, targets, their files in each version, samples summed up, damage. Everything is capped.

mod fact;
pub(crate) mod losses;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Degradation, KtimeNs, WallTime};
use crate::trace::{
    AcceptErrorSample, Damage, End, Head, Sample, Snapshot, SnapshotMeta, SnapshotRole, TOO_MUCH, Target,
};
use crate::wrappers::{ResolvConf, Table, Tables};

pub use fact::Fact;
pub use losses::Losses;

/// Most versions of files kept, of all files together.
const VERSIONS_MAX: usize = 256;
/// Bytes in memory that the files' versions may take, all together: the largest one three times.
const FILES_MAX_BYTES: usize = 4 << 20;
/// Most targets, degradations, damages kept, each.
const KEPT_MAX: usize = 256;
/// Points kept of the queue's length over time; from there on, two become one.
const POINTS_MAX: usize = 2048;

/// A file of a target as it was from `meta.from()` on.
#[derive(Clone, Debug)]
pub struct FileVersion {
    /// About it.
    pub meta: SnapshotMeta,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Taken apart, where it is a table and known; with these bytes as its text.
    pub table: Option<Table>,
}

impl FileVersion {
    /// With its table, if it is one.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let Snapshot { meta, bytes } = snapshot;
        let bytes: Arc<[u8]> = bytes.as_slice().into();
        let table = match meta.error {
            _ if !is_table(meta) || !meta.is_known() => None,
            Some(_) => Some(Table::missing()),
            None => Some(Table::parse_shared(Arc::clone(&bytes))),
        };
        Self { meta: meta.clone(), bytes, table }
    }

    /// What it takes in memory, about: a table has its text in these bytes.
    fn memory_bytes(&self) -> usize {
        self.table.as_ref().map_or(self.bytes.len(), Table::memory_bytes)
    }

    fn is_forgotten(&self) -> bool {
        self.meta.error.as_deref() == Some(TOO_MUCH)
    }

    /// Its content is not known any more.
    fn forget(&mut self) {
        self.meta.error = Some(TOO_MUCH.to_owned());
        self.bytes = Arc::from([]);
        self.table = None;
    }
}

/// What the inputs said besides connections.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The head; the default one where the file lacks it.
    pub head: Head,
    /// Targets as last described.
    pub targets: Vec<Target>,
    /// Degradations, those of the head included.
    pub degradations: Vec<Degradation>,
    /// Files in order of time.
    pub files: Vec<FileVersion>,
    /// Accept queues.
    pub queue: QueueDigest,
    /// Network namespaces by inode.
    pub netns: BTreeMap<u64, NetnsDigest>,
    /// Calls of `accept` that failed, by process and error, as last told.
    pub accept_errors: Vec<AcceptErrorSample>,
    /// The kernel side's last counters.
    pub counters: BTreeMap<String, u64>,
    /// Damage, the first of it.
    pub damages: Vec<Damage>,
    /// How much there was.
    pub damage_count: u64,
    /// The end, where the recorder ended by itself.
    pub end: Option<End>,
    /// Last moment of the trace; once it is told.
    pub to: Option<WallTime>,
}

pub(crate) const fn is_table(meta: &SnapshotMeta) -> bool {
    matches!(meta.role, SnapshotRole::HostsAllow | SnapshotRole::HostsDeny)
}

impl Context {
    /// The head, but for its targets.
    pub(crate) fn head(&mut self, head: &Head) {
        head.degradations.iter().for_each(|degradation| self.degradation(degradation));
        self.head = head.clone();
    }

    pub(crate) fn degradation(&mut self, degradation: &Degradation) {
        if self.degradations.len() < KEPT_MAX && !self.degradations.contains(degradation) {
            self.degradations.push(degradation.clone());
        }
    }

    pub(crate) fn target(&mut self, target: &Target) {
        if let Some(known) = self.targets.iter_mut().find(|known| known.pid == target.pid) {
            known.clone_from(target);
        } else if self.targets.len() < KEPT_MAX {
            self.targets.push(target.clone());
        }
    }

    /// A file as it is now.
    pub(crate) fn file_version(&mut self, version: FileVersion) {
        self.files.push(version);
        self.forget_files();
    }

    /// Keeps the files' versions within their bounds: of the oldest ones only that they were there stays, and of many such in a row the first.
    fn forget_files(&mut self) {
        let mut bytes: usize = self.files.iter().map(FileVersion::memory_bytes).sum();
        for file in &mut self.files {
            if bytes <= FILES_MAX_BYTES {
                break;
            }
            bytes -= file.memory_bytes();
            file.forget();
        }
        while self.files.len() > VERSIONS_MAX {
            let forgotten = (1..self.files.len()).find(|&at| {
                self.files.get(at).is_some_and(FileVersion::is_forgotten) && self.is_behind_forgotten(at)
            });
            if let Some(at) = forgotten {
                self.files.remove(at);
            } else if let Some(file) = self.files.iter_mut().find(|file| !file.is_forgotten()) {
                file.forget();
            } else {
                // Of more files than that none is known: they are not a server's.
                self.files.pop();
            }
        }
    }

    /// Whether the version before this one of the same file is forgotten as well.
    fn is_behind_forgotten(&self, at: usize) -> bool {
        let Some((before, [file, ..])) = self.files.split_at_checked(at) else { return false };
        let same =
            |other: &&FileVersion| other.meta.pid == file.meta.pid && other.meta.role == file.meta.role;
        before.iter().rfind(same).is_some_and(FileVersion::is_forgotten)
    }

    pub(crate) fn sample(&mut self, sample: &Sample) {
        self.queue.take(sample);
        for netns in &sample.netns {
            if self.netns.len() < KEPT_MAX || self.netns.contains_key(&netns.netns) {
                self.netns.entry(netns.netns).or_default().take(netns);
            }
        }
        for errors in &sample.accept_errors {
            self.accepts_failed(errors);
        }
        if sample.is_whole() {
            self.counters.clone_from(&sample.counters);
        }
    }

    /// So often have accepts of a process failed with an error by now. Of two threads that fail at the same time, the lower number may come last.
    pub(crate) fn accepts_failed(&mut self, errors: &AcceptErrorSample) {
        let same = |known: &&mut AcceptErrorSample| known.pid == errors.pid && known.errno == errors.errno;
        if let Some(known) = self.accept_errors.iter_mut().find(same) {
            known.count = known.count.max(errors.count);
            known.last = known.last.max(errors.last);
        } else if self.accept_errors.len() < KEPT_MAX {
            self.accept_errors.push(errors.clone());
        }
    }

    pub(crate) fn end(&mut self, end: &End) {
        self.counters.clone_from(&end.counters);
        self.end = Some(end.clone());
    }

    pub(crate) fn damage(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damages.len() < KEPT_MAX {
            self.damages.push(damage);
        }
    }

    /// The targets that a file of `pid` (none: the machine's) concerns.
    pub(crate) fn targets_of(&self, pid: Option<u32>) -> Vec<Target> {
        self.targets.iter().filter(|target| pid.is_none_or(|pid| pid == target.pid)).cloned().collect()
    }

    pub(crate) fn pids(&self, pid: Option<u32>) -> Vec<u32> {
        pid.map_or_else(|| self.targets.iter().map(|target| target.pid).collect(), |pid| vec![pid])
    }

    /// A target.
    pub fn target_by_pid(&self, pid: u32) -> Option<&Target> {
        self.targets.iter().find(|target| target.pid == pid)
    }

    /// A target's file as it was at `at`; before its first version, the first.
    pub fn file(&self, pid: u32, role: SnapshotRole, at: KtimeNs) -> Option<&FileVersion> {
        let mut versions = self
            .files
            .iter()
            .filter(|file| file.meta.role == role && file.meta.pid.is_none_or(|of| of == pid));
        let first = versions.clone().next();
        versions.rfind(|file| file.meta.from() <= at).or(first)
    }

    /// The last version of a target's file.
    pub fn last_file(&self, pid: u32, role: SnapshotRole) -> Option<&FileVersion> {
        self.file(pid, role, KtimeNs(u64::MAX))
    }

    /// A target's tables as they were at `at`; `None` where there is neither, or what one has is not known. Of the two, one that was never there counts as
    /// missing: it was not read.
    pub fn tables(&self, pid: u32, at: KtimeNs) -> Option<Tables> {
        let [allow, deny] =
            [SnapshotRole::HostsAllow, SnapshotRole::HostsDeny].map(|role| self.file(pid, role, at));
        allow.or(deny)?;
        let table = |file: Option<&FileVersion>| {
            file.map_or_else(|| Some(Table::missing()), |file| file.table.clone())
        };
        Some(Tables { allow: table(allow)?, deny: table(deny)? })
    }

    /// A target's resolv.conf as it was last; none where it is not known, or not whole. Without the file glibc has its defaults.
    pub fn resolv_conf(&self, pid: u32) -> Option<ResolvConf> {
        let file = self.last_file(pid, SnapshotRole::ResolvConf)?;
        match file.meta.error.as_deref() {
            None if file.meta.truncated => None,
            None => Some(ResolvConf::parse(&file.bytes)),
            Some("ENOENT") => Some(ResolvConf::default()),
            Some(_) => None,
        }
    }
}

/// The fullest accept queue at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePoint {
    /// When.
    pub at: KtimeNs,
    /// Connections waiting.
    pub queued: u32,
    /// The queue's limit.
    pub limit: u32,
}

impl QueuePoint {
    /// By share of its limit.
    fn is_fuller(self, than: Self) -> bool {
        u64::from(self.queued) * u64::from(than.limit.max(1))
            > u64::from(than.queued) * u64::from(self.limit.max(1))
    }

    /// Whether whoever comes next finds no room.
    pub(crate) const fn is_full(self) -> bool {
        self.limit > 0 && self.queued >= self.limit
    }
}

/// Accept queues over time.
#[derive(Clone, Debug, Default)]
pub struct QueueDigest {
    points: Vec<QueuePoint>,
    /// The fullest of TCP, by share of its limit.
    pub fullest: Option<QueuePoint>,
    /// The same of unix sockets: nobody is dropped there.
    pub fullest_local: Option<QueuePoint>,
    /// Each target's fullest one as sampled last, and that of samples that do not say whose queues they are.
    last: BTreeMap<Option<u32>, QueuePoint>,
    /// Samples that become one point.
    step: usize,
    pending: Option<(QueuePoint, usize)>,
}

impl QueueDigest {
    fn take(&mut self, sample: &Sample) {
        let points = sample.listeners.iter().map(|listener| {
            let point = QueuePoint { at: sample.at, queued: listener.queued, limit: listener.queue_limit };
            (listener.is_local(), point)
        });
        let Some((_, point)) = points.clone().max_by_key(|(_, point)| point.queued) else { return };
        self.remember(sample);
        for (is_local, point) in points {
            let known = if is_local { &mut self.fullest_local } else { &mut self.fullest };
            if known.is_none_or(|known| point.is_fuller(known)) {
                *known = Some(point);
            }
        }
        let (kept, n) = self.pending.take().unwrap_or((point, 0));
        let kept = if point.queued > kept.queued { point } else { kept };
        if n + 1 < self.step.max(1) {
            self.pending = Some((kept, n + 1));
            return;
        }
        self.points.push(kept);
        if self.points.len() >= POINTS_MAX {
            self.step = self.step.max(1) * 2;
            let pairs =
                self.points.chunks(2).filter_map(|pair| pair.iter().max_by_key(|p| p.queued).copied());
            self.points = pairs.collect();
        }
    }

    /// Its length over time: of each stretch the fullest moment.
    pub fn points(&self) -> &[QueuePoint] {
        &self.points
    }

    /// Length of the fullest queue by the last samples.
    pub(crate) fn fullest_at_end(&self) -> Option<u32> {
        let newest = self.last.values().map(|last| last.at).max()?;
        self.last.values().filter(|last| last.at == newest).map(|last| last.queued).max()
    }

    fn remember(&mut self, sample: &Sample) {
        for listener in &sample.listeners {
            if self.last.len() >= KEPT_MAX && !self.last.contains_key(&listener.pid) {
                continue;
            }
            let point = QueuePoint { at: sample.at, queued: listener.queued, limit: listener.queue_limit };
            let last = self.last.entry(listener.pid).or_insert(point);
            if last.at < point.at || last.queued <= point.queued {
                *last = point;
            }
        }
    }

    /// Length and limit of a target's fullest queue at `now`, where a sample is not older than this.
    pub(crate) fn last(&self, pid: u32, now: KtimeNs, fresh_ns: u64) -> Option<(u32, u32)> {
        let last = self.last.get(&Some(pid)).or_else(|| self.last.get(&None))?;
        (now.since(last.at) <= fresh_ns).then_some((last.queued, last.limit))
    }
}

/// A network namespace's counters, first and last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetnsDigest {
    first_overflows: Option<u64>,
    last_overflows: Option<u64>,
    first_drops: Option<u64>,
    last_drops: Option<u64>,
    first_cookies: Option<u64>,
    last_cookies: Option<u64>,
    /// Most sockets in TIME_WAIT.
    pub time_wait_max: Option<u64>,
    /// `ip_local_port_range`, as last seen.
    pub port_range: Option<(u16, u16)>,
}

impl NetnsDigest {
    fn take(&mut self, sample: &crate::trace::NetnsSample) {
        self.first_overflows = self.first_overflows.or(sample.listen_overflows);
        self.last_overflows = sample.listen_overflows.or(self.last_overflows);
        self.first_drops = self.first_drops.or(sample.listen_drops);
        self.last_drops = sample.listen_drops.or(self.last_drops);
        self.first_cookies = self.first_cookies.or(sample.syncookies_sent);
        self.last_cookies = sample.syncookies_sent.or(self.last_cookies);
        self.time_wait_max = self.time_wait_max.max(sample.time_wait);
        self.port_range = sample.port_range.or(self.port_range);
    }

    /// `ListenOverflows` during the trace.
    pub fn overflows(&self) -> u64 {
        self.last_overflows.unwrap_or(0).saturating_sub(self.first_overflows.unwrap_or(0))
    }

    /// `SyncookiesSent` during the trace.
    pub fn syncookies(&self) -> u64 {
        self.last_cookies.unwrap_or(0).saturating_sub(self.first_cookies.unwrap_or(0))
    }

    /// `ListenDrops` during the trace.
    pub fn drops(&self) -> u64 {
        self.last_drops.unwrap_or(0).saturating_sub(self.first_drops.unwrap_or(0))
    }
}
