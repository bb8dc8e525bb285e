//! What a trace holds besides records: the head, samples, snapshots of files, the end. All of it JSON.
//!
//! Forward compatible: a field that is not known is skipped, and a field that came later has a default, so that old files
//! stay readable. Fields are added, never renamed or given another meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wrapwatch_common::ABI_VERSION;

use super::bounded;
use super::versions::FORMAT_VERSION;
use crate::model::{AcceptErrors, ClockPair, Cost, Degradation, KtimeNs};

/// Where a trace's records come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The kernel side of wrapwatch.
    #[default]
    Kernel,
    /// A log of strace.
    Strace,
    /// An origin that a later version knows.
    #[serde(other)]
    Unknown,
}

/// A socket that a target listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Listener {
    /// Descriptor in the target.
    pub fd: Option<i32>,
    /// `address:port`, `[address]:port`, or a unix socket's path.
    pub address: String,
    /// Limit of its accept queue.
    pub queue_limit: Option<u32>,
}

/// A traced process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Target {
    /// Process, in the PID namespace of the /proc that was read, as in the records.
    pub pid: u32,
    /// Command name (`/proc/PID/comm`).
    pub comm: String,
    /// Arguments.
    #[serde(deserialize_with = "bounded::names")]
    pub cmdline: Vec<String>,
    /// Program file.
    pub exe: Option<String>,
    /// When it was started, monotonic.
    #[schemars(with = "Option<u64>")]
    pub started: Option<KtimeNs>,
    /// Accept threads, where they could be told.
    #[serde(deserialize_with = "bounded::names")]
    pub accept_threads: Vec<u32>,
    /// What it listens on.
    #[serde(deserialize_with = "bounded::names")]
    pub listeners: Vec<Listener>,
    /// Inode of its network namespace.
    pub netns: Option<u64>,
    /// Path of the libwrap it has mapped; null where none.
    pub libwrap: Option<String>,
    /// Name the rules know it by: the base name of its first argument.
    pub daemon: Option<String>,
    /// Path of its hosts.allow, as it opens it (libwrap's `hosts_allow_table`).
    pub allow_table: Option<String>,
    /// Path of its hosts.deny (libwrap's `hosts_deny_table`).
    pub deny_table: Option<String>,
    /// The check that its accept thread was in when the trace began; told once, with the first description of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_check: Option<Box<InCheck>>,
    /// It has ended, as its pidfd says: the number may be another process' from here on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// Most bytes of a target's arguments that are noted.
const CMDLINE_MAX: usize = 4096;

impl Target {
    /// Leaves out what a command line has beyond some kilobytes: it is to be recognised by, and may have megabytes.
    pub fn shorten(&mut self) {
        let mut bytes = 0;
        let fits = |argument: &&String| {
            bytes += argument.len() + 1;
            bytes <= CMDLINE_MAX
        };
        let kept = self.cmdline.iter().take_while(fits).count();
        if kept < self.cmdline.len() {
            let left_out = self.cmdline.len() - kept;
            self.cmdline.truncate(kept);
            self.cmdline.push(format!("… ({left_out} more)"));
        }
    }
}

/// A socket of a check that was going on when the trace began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InCheckSocket {
    /// Its descriptor.
    pub fd: i32,
    /// `address:port` it is connected to; empty where that is not known (an import's).
    pub server: String,
    /// A stream socket.
    pub stream: bool,
}

/// A check that was going on when the trace began, as the accept thread's descriptors showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InCheck {
    /// Number given to its connection, as in the records that follow.
    pub conn: u64,
    /// The accept thread.
    pub tid: u32,
    /// When it was found.
    #[schemars(with = "u64")]
    pub at: KtimeNs,
    /// The accepted socket; -1 where not known.
    pub fd: i32,
    /// Its client, `address:port`.
    pub peer: Option<String>,
    /// The server's side, `address:port`.
    pub local: Option<String>,
    /// The open table: descriptor and path.
    pub table: Option<(i32, String)>,
    /// Sockets to nameservers (port 53) or ident (113), oldest first.
    #[serde(deserialize_with = "bounded::names")]
    pub sockets: Vec<InCheckSocket>,
}

/// The first block of a trace: everything about it that does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Head {
    /// Version of the format.
    pub format: u16,
    /// Version of the records' layout.
    pub abi: u32,
    /// Version of the wrapwatch that wrote it.
    pub wrapwatch: String,
    /// Where the records come from.
    pub origin: Origin,
    /// Which file of a rotated recording this is, from 0.
    pub file: u64,
    /// Names and addresses were replaced by pseudonyms.
    pub redacted: bool,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Name of the machine.
    pub hostname: String,
    /// Both clocks at the beginning; more pairs follow in blocks of their own.
    #[schemars(with = "BTreeMap<String, i64>")]
    pub clock: ClockPair,
    /// Traced processes; later ones follow in blocks of their own.
    #[serde(deserialize_with = "bounded::targets")]
    pub targets: Vec<Target>,
    /// Probes attached.
    #[serde(deserialize_with = "bounded::names")]
    pub probes: Vec<String>,
    /// What cannot be seen; later ones follow in blocks of their own.
    #[serde(deserialize_with = "bounded::known")]
    pub degradations: Vec<Degradation>,
    /// Options of the recording that a reader may want to know (`slow_ns`, `when`, …).
    #[serde(deserialize_with = "bounded::map")]
    pub options: BTreeMap<String, String>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            format: FORMAT_VERSION,
            abi: ABI_VERSION,
            wrapwatch: env!("CARGO_PKG_VERSION").to_owned(),
            origin: Origin::default(),
            file: 0,
            redacted: false,
            kernel: String::new(),
            hostname: String::new(),
            clock: ClockPair { ktime: KtimeNs(0), wall_ns: 0 },
            targets: Vec::new(),
            probes: Vec::new(),
            degradations: Vec::new(),
            options: BTreeMap::new(),
        }
    }
}

/// One listener's accept queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ListenerSample {
    /// Target whose it is; null where that was not noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its address, as in [`Listener`].
    pub address: String,
    /// Inode of its network namespace.
    pub netns: Option<u64>,
    /// Connections waiting in the accept queue.
    pub queued: u32,
    /// The queue's limit.
    pub queue_limit: u32,
}

impl ListenerSample {
    /// Whether it is a unix socket.
    pub fn is_local(&self) -> bool {
        self.address.starts_with(['/', '@'])
    }
}

/// Counters of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetnsSample {
    /// Its inode.
    pub netns: u64,
    /// `ListenOverflows` of `/proc/PID/net/netstat`, since boot.
    pub listen_overflows: Option<u64>,
    /// `ListenDrops`, since boot.
    pub listen_drops: Option<u64>,
    /// `SyncookiesSent`, since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncookies_sent: Option<u64>,
    /// Sockets in TIME_WAIT.
    pub time_wait: Option<u64>,
    /// `ip_local_port_range`.
    pub port_range: Option<(u16, u16)>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessSample {
    /// Process.
    pub pid: u32,
    /// Its threads.
    pub threads: Option<u32>,
    /// CPU time used since its start, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// It was seen stopped (state `T` of proc(5)) all the time since then, monotonic. A sample with this is written while it is stopped and when that
    /// is found to be over, so that it comes before the records of whatever the stop delayed.
    #[schemars(with = "Option<u64>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_since: Option<KtimeNs>,
    /// Where accept threads were seen to be, because lost events may have hidden the end of their check.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::names")]
    pub accept_threads: Vec<AcceptThread>,
    /// Accept threads that were seen asleep in their check (states `S` and `D` of proc(5)), so that they were not waiting for a CPU.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::names")]
    pub asleep: Vec<u32>,
}

/// Where an accept thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AcceptThread {
    /// The thread.
    pub tid: u32,
    /// It waits for the next client; otherwise it is busy, with its check.
    pub at_listener: bool,
}

/// Run time of the BPF programs in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProgramsSample {
    /// How long the window was.
    pub window_ns: u64,
    /// How long the programs ran in it, on all CPUs together, with the kernel's way to them.
    pub run_ns: u64,
    /// How often.
    pub runs: u64,
    /// Of `run_ns`, the kernel's way to the programs; 0 where that was not measured.
    pub way_ns: u64,
}

/// What is looked at from time to time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sample {
    /// When.
    #[schemars(with = "u64")]
    pub at: KtimeNs,
    /// Accept queues.
    #[serde(deserialize_with = "bounded::queues")]
    pub listeners: Vec<ListenerSample>,
    /// Network namespaces.
    #[serde(deserialize_with = "bounded::names")]
    pub netns: Vec<NetnsSample>,
    /// Targets.
    #[serde(deserialize_with = "bounded::names")]
    pub targets: Vec<ProcessSample>,
    /// wrapwatch itself.
    pub own: ProcessSample,
    /// The kernel side's counters (`wrapwatch_common::counters::Counter::ALL`), since attach.
    #[serde(deserialize_with = "bounded::map")]
    pub counters: BTreeMap<String, u64>,
    /// Run time of the programs, where a window of measuring it has closed since the last sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<ProgramsSample>,
    /// Calls of `accept` that failed since the trace began, by process and error. An earlier sample's are in it. Of an imported log: a recording has
    /// records of kind 18.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept_errors: Vec<AcceptErrorSample>,
}

/// Calls of `accept` in one process that failed with one error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AcceptErrorSample {
    /// Process.
    pub pid: u32,
    /// Name of the error: `EMFILE`, `EBADF`, …
    pub errno: String,
    /// How often.
    pub count: u64,
    /// The first; null where it is not known.
    #[schemars(with = "Option<u64>")]
    pub first: Option<KtimeNs>,
    /// The last.
    #[schemars(with = "Option<u64>")]
    pub last: Option<KtimeNs>,
}

impl Sample {
    /// It is one of those of every second, which bear counters: the others tell only where some threads are, or who is stopped or asleep.
    pub fn is_whole(&self) -> bool {
        !self.counters.is_empty()
    }
}

impl AcceptErrorSample {
    /// As a summary tells it.
    pub fn told(&self, clock: &ClockPair) -> AcceptErrors {
        AcceptErrors {
            pid: self.pid,
            errno: self.errno.clone(),
            count: self.count,
            first: self.first.map(|at| clock.wall(at)),
            last: self.last.map(|at| clock.wall(at)),
        }
    }
}

/// What a file is to the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotRole {
    /// The first table.
    HostsAllow,
    /// The second table.
    HostsDeny,
    /// resolv.conf(5)
    ResolvConf,
    /// nsswitch.conf(5)
    NsswitchConf,
    /// hosts(5)
    Hosts,
    /// A file that a rule names, or of a role that a later version knows.
    #[default]
    #[serde(other)]
    Other,
}

/// A file of the target as it was at one time. A later one of the same `pid` and `path` replaces it from its time on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotMeta {
    /// When it was read.
    #[schemars(with = "u64")]
    pub at: KtimeNs,
    /// Since when it is so, by its change time; null: not known.
    #[schemars(with = "Option<u64>")]
    #[serde(default)]
    pub since: Option<KtimeNs>,
    /// Target whose file it is; null: the machine's.
    pub pid: Option<u32>,
    /// What it is.
    pub role: SnapshotRole,
    /// Path as the target sees it.
    pub path: String,
    /// Inode.
    pub inode: Option<u64>,
    /// Last change, wall clock, nanoseconds since 1970.
    pub mtime_ns: Option<i64>,
    /// Size as stat(2) says.
    pub size: Option<u64>,
    /// Only the beginning is here.
    pub truncated: bool,
    /// Why it could not be read (`ENOENT`, …), or was not kept; the bytes are empty then.
    pub error: Option<String>,
}

impl SnapshotMeta {
    /// From when on the file counts as being so.
    pub fn from(&self) -> KtimeNs {
        self.since.unwrap_or(self.at)
    }
}

/// A file of the target and its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// About it.
    pub meta: SnapshotMeta,
    /// Its bytes as they were.
    pub bytes: Vec<u8>,
}

/// The last block: the recorder ended by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct End {
    /// When.
    #[schemars(with = "u64")]
    pub at: KtimeNs,
    /// Why it ended, for a person ("asked to end", "every target has exited", "continued in the next file").
    pub reason: String,
    /// Records offered to the writer since the recording began. Filled in by the writer.
    pub records: u64,
    /// Of these, dropped because their block could not be written. Filled in by the writer.
    pub dropped: u64,
    /// The kernel side's last counters.
    #[serde(deserialize_with = "bounded::map")]
    pub counters: BTreeMap<String, u64>,
    /// What the trace cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lost;

    #[test]
    fn every_field_is_described_in_the_docs_and_no_other() {
        use schemars::schema_for;
        let schemas = [
            schema_for!(Head),
            schema_for!(Sample),
            schema_for!(SnapshotMeta),
            schema_for!(End),
            schema_for!(Lost),
        ];
        let mut known =
            BTreeMap::from([("ClockPair".to_owned(), vec!["ktime".to_owned(), "wall_ns".to_owned()])]);
        let fields = |schema: &serde_json::Value| {
            let fields = schema.get("properties")?.as_object()?;
            Some(fields.keys().cloned().collect::<Vec<_>>())
        };
        for schema in schemas.iter().map(schemars::Schema::as_value) {
            let others = schema["$defs"].as_object().into_iter().flatten();
            let all = others.map(|(name, schema)| (name.as_str(), schema));
            for (name, schema) in all.chain([(schema["title"].as_str().unwrap(), schema)]) {
                known.extend(fields(schema).map(|fields| (name.to_owned(), fields)));
            }
        }
        let docs = include_str!("../../../docs/trace-format.md");
        let mut described = BTreeMap::new();
        for section in docs.split("\n### ").skip(1) {
            let names = section.lines().filter_map(|line| {
                line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned())
            });
            let mut names: Vec<_> = names.collect();
            names.sort();
            described.insert(section.lines().next().unwrap().to_owned(), names);
        }
        known.values_mut().for_each(|fields| fields.sort());
        assert_eq!(described, known);
    }

    #[test]
    fn a_head_of_a_later_version_is_read_without_what_it_has_more() {
        let text = r#"{"format":1,"abi":1,"hostname":"db1","colour":"blue","origin":"video",
            "degradations":[{"kind":"no-weather","message":"?"},{"kind":"no-uprobes","pid":null,"message":"!"}],
            "targets":[{"pid":7,"cgroup":"/x","listeners":[{"address":"0.0.0.0:3306"}]}]}"#;
        let head: Head = serde_json::from_str(text).unwrap();
        assert_eq!(head.targets[0].pid, 7);
        assert_eq!(head.targets[0].listeners[0].address, "0.0.0.0:3306");
        assert_eq!((head.hostname.as_str(), head.origin), ("db1", Origin::Unknown));
        assert_eq!(head.degradations.len(), 1);
    }

    #[test]
    fn a_role_of_a_later_version_is_other() {
        let meta: SnapshotMeta =
            serde_json::from_str(r#"{"role":"host-conf","path":"/etc/host.conf"}"#).unwrap();
        assert_eq!(meta.role, SnapshotRole::Other);
    }
}
