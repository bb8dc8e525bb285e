//! What `wrapwatch doctor` says: what can be seen here, how each server is set up, what in that will hurt.
//!
//! `null` is what could not be found out; a `degradation` then says why.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cost, DegradationKind, ProblemKind, QueryOutcome, Severity, WallTime};

/// Everything `doctor` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// The kernel, and what it lets this user do.
    pub kernel: Kernel,
    /// Each hook, tried.
    pub hooks: Vec<Hook>,
    /// The set of hooks that `live` and `record` take here by themselves; null where none can be had.
    #[serde(default)]
    pub taken: Option<HookKind>,
    /// What will be missing, and how to get it.
    pub degradations: Vec<Missing>,
    /// The servers.
    pub targets: Vec<Target>,
    /// What will hurt, worst first.
    pub problems: Vec<DoctorProblem>,
    /// What tracing these servers costs, where that was measured.
    #[serde(default)]
    pub measured: Option<Cost>,
}

impl Doctor {
    /// The worst problem.
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).max()
    }
}

/// The kernel and what it lets this user do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// The kernel describes its types in `/sys/kernel/btf/vmlinux`.
    pub btf: bool,
    /// `none`, `integrity` or `confidentiality` (kernel_lockdown(7)); null where securityfs is not mounted.
    pub lockdown: Option<String>,
    /// Where tracefs is mounted; null where it is not, or cannot be looked into.
    pub tracefs: Option<String>,
    /// A BPF ring buffer could be made; null where that was not tried.
    pub ring_buffer: Option<bool>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<i64>,
    /// Those of the capabilities wanted that are in effect.
    pub capabilities: Vec<String>,
    /// Those wanted that are not.
    pub capabilities_missing: Vec<String>,
    /// Signs that wrapwatch itself runs in a container.
    pub container: Vec<String>,
}

/// What kind of hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// A raw tracepoint of the kernel: before Linux 7.0 the choice where there are no trampolines.
    RawTracepoint,
    /// A perf tracepoint of the kernel.
    Tracepoint,
    /// A trampoline (fentry, fexit) of a function of the kernel: the first choice.
    Trampoline,
    /// A function of libwrap in one server.
    Uprobe,
}

/// What became of trying a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// Loaded, attached and taken off again.
    Works,
    /// This kernel, or this libwrap, has no such thing.
    Absent,
    /// The kernel refused.
    Refused,
    /// Not tried.
    NotTried,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// `category:event`, or the function; `:return` behind it for its return.
    pub name: String,
    /// What kind.
    pub kind: HookKind,
    /// The server a uprobe was tried in.
    pub pid: Option<u32>,
    /// Nothing works without it.
    pub required: bool,
    /// What became of it.
    pub state: HookState,
    /// The kernel's word.
    pub error: Option<String>,
}

impl Hook {
    /// A hook with what came of trying it.
    pub fn new(
        name: String,
        kind: HookKind,
        pid: Option<u32>,
        required: bool,
        (state, error): (HookState, Option<String>),
    ) -> Self {
        Self { name, kind, pid, required, state, error }
    }
}

/// Something that cannot be seen or was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// Which.
    pub kind: DegradationKind,
    /// Server process it is about; null for all.
    pub pid: Option<u32>,
    /// What will be missing.
    pub message: String,
    /// How to get it; null where there is no way.
    pub change: Option<String>,
}

/// How a server comes to its wrapper checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrapped {
    /// libwrap is mapped into the process.
    Mapped,
    /// libwrap is not mapped, but the tables' names stand in the program: linked in statically, by all signs.
    Static,
    /// Not now, but the program on disk names libwrap: from the next start on.
    NextStart,
    /// No sign of libwrap.
    No,
    /// Could not be found out.
    Unknown,
}

/// libwrap in a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrapState {
    /// What it comes to.
    pub state: Wrapped,
    /// Path of the mapped library.
    pub library: Option<String>,
    /// The mapped library's file has been replaced or removed since.
    pub library_deleted: bool,
    /// The running program names libwrap among the libraries it needs (ELF `DT_NEEDED`).
    pub needed: Option<bool>,
    /// The program's path now leads to another file than the one that runs.
    pub program_replaced: Option<bool>,
    /// That other file names libwrap among the libraries it needs.
    pub needed_on_disk: Option<bool>,
    /// The names of both tables stand in the running program's data.
    pub strings: Option<bool>,
    /// libwrap exports `tcpd_context`: rules can be observed.
    pub tcpd_context: Option<bool>,
    /// Where the server itself has no sign of libwrap: a process that it started and that maps it.
    #[serde(default)]
    pub wrapped_child: Option<u32>,
    /// Where it has none, all processes that it started could be looked at.
    #[serde(default)]
    pub children_seen: bool,
    /// Where it has none: the file of it that a program which the server starts for a client would map. Null where there is none, and for mysqld and mariadbd,
    /// which start none.
    #[serde(default)]
    pub installed: Option<String>,
    /// Why it could not be seen whether there is one. Null where it could.
    #[serde(default)]
    pub installed_not_seen: Option<String>,
}

/// A file the server reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileState {
    /// Its path as the server sees it.
    pub path: String,
    /// Whether it is there; null if unknown.
    pub exists: Option<bool>,
    /// Bytes.
    pub size: Option<u64>,
    /// For a table, its rules; for /etc/hosts, its lines with an address.
    pub entries: Option<u64>,
    /// Why it, or the rest of it, cannot be read.
    pub error: Option<String>,
}

/// A listener and its accept queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerState {
    /// Where it listens.
    pub local: String,
    /// Connections in its accept queue.
    pub queued: u32,
    /// The queue's limit: the smaller of what the server asked for and somaxconn.
    pub limit: u32,
    /// Other processes that hold the same socket, sixteen at most; null where it was not looked for.
    pub held_by: Option<Vec<Holder>>,
    /// All processes were looked through for that.
    pub held_by_complete: bool,
}

/// Another process that holds a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// What it is to the server.
    pub relation: Relation,
}

/// What a process is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The server started it, or one that the server started did.
    Child,
    /// It started the server: systemd, inetd.
    Parent,
    /// The same process started both, and is not the machine's first.
    Sibling,
    /// None of these.
    Other,
}

/// What a security module keeps a server to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confinement {
    /// Name of its AppArmor profile.
    pub profile: String,
    /// `enforce`, `complain`, …
    pub mode: String,
}

/// The server's question for one of its recent clients, put to its nameservers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientName {
    /// The client.
    pub client: IpAddr,
    /// It has a connection now; otherwise one that has ended or is ending.
    pub connected: bool,
    /// What each nameserver did.
    pub answers: Vec<NameserverState>,
}

/// Who was lately connected to a server's listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentClients {
    /// Different addresses that were seen.
    pub seen: u64,
    /// Those of them that /etc/hosts answers for before DNS is asked.
    pub need_no_dns: u64,
    /// Those whose names were asked for, eight at most.
    pub asked: Vec<ClientName>,
    /// Why they could not be looked for, or asked for.
    #[serde(default)]
    pub error: Option<String>,
}

/// The server's network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u32>,
    /// Sockets in TIME_WAIT.
    pub time_wait: Option<u64>,
    /// `net.ipv4.ip_local_port_range`, first and last.
    pub port_range: Option<(u16, u16)>,
    /// `ListenOverflows`: SYNs or handshakes dropped because an accept queue was full, since the namespace began.
    pub listen_overflows: Option<u64>,
    /// `ListenDrops`: those and others dropped by listeners.
    pub listen_drops: Option<u64>,
    /// `SyncookiesSent`: clients that the kernel keeps nothing of until they answer.
    #[serde(default)]
    pub syncookies_sent: Option<u64>,
}

/// What a server's own configuration allows a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginLimits {
    /// The files that were read, in order.
    pub files: Vec<String>,
    /// Why the limits may be others than these.
    pub doubt: Option<String>,
    /// The limits.
    #[serde(flatten)]
    pub limits: Limits,
}

/// The limits of one kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "server", rename_all = "snake_case")]
pub enum Limits {
    /// OpenSSH.
    Sshd {
        /// `LoginGraceTime` in seconds; null where there is no limit. It begins after libwrap's check.
        login_grace_s: Option<u64>,
        /// `MaxStartups`.
        max_startups: MaxStartups,
        /// `UseDNS`: it looks clients up itself, while they log in.
        use_dns: bool,
    },
    /// PostgreSQL.
    Postgres {
        /// `authentication_timeout` in seconds.
        authentication_timeout_s: u64,
        /// `log_hostname`: it looks up each client itself, before that time begins.
        log_hostname: bool,
        /// pg_hba.conf names clients by name, which are looked up within that time; null where it could not be read.
        names_in_hba: Option<bool>,
    },
}

/// sshd's `MaxStartups`: connections that have not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaxStartups {
    /// From so many on, some of the new ones are dropped.
    pub start: u32,
    /// So many percent of them.
    pub rate: u32,
    /// From so many on, all.
    pub full: u32,
}

/// What the server says of itself (`--mysql-defaults-file`). Each is null where the server has no such variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCounters {
    /// `version`.
    pub version: Option<String>,
    /// `port`.
    pub port: Option<u16>,
    /// `skip_name_resolve`.
    pub skip_name_resolve: Option<bool>,
    /// `back_log`.
    pub back_log: Option<u64>,
    /// `max_connections`.
    pub max_connections: Option<u64>,
    /// `thread_handling`.
    pub thread_handling: Option<String>,
    /// `Threads_connected`.
    pub threads_connected: Option<u64>,
    /// `Threads_cached`.
    pub threads_cached: Option<u64>,
    /// `Max_used_connections`.
    pub max_used_connections: Option<u64>,
    /// `Aborted_connects`.
    pub aborted_connects: Option<u64>,
    /// `Aborted_clients`.
    pub aborted_clients: Option<u64>,
    /// `Connection_errors_tcpwrap`: refused by libwrap.
    pub connection_errors_tcpwrap: Option<u64>,
}

/// A nameserver and what it did with one harmless query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameserverState {
    /// Its address.
    pub server: IpAddr,
    /// What it was asked (PTR); null where it was not asked.
    pub asked: Option<String>,
    /// Whether the answer has such a record; null where none came, and where it does not say: cut short, or a failure.
    pub found: Option<bool>,
    /// What came of it: `answered`, `timeout` (silent), `unreachable` (the network or the host refuses); null where it was not asked.
    pub outcome: Option<QueryOutcome>,
    /// Time to the answer.
    pub rtt_ns: Option<u64>,
    /// Response code of the answer.
    pub rcode: Option<String>,
    /// The network's word.
    pub error: Option<String>,
}

/// A local service that names may come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolverSocket {
    /// `nscd` or `systemd-resolved`.
    pub service: String,
    /// Path of its socket.
    pub path: String,
    /// Whether the socket is there; null if unknown.
    pub present: Option<bool>,
}

/// A program of this host that a nameserver line leads to, and whom it asks itself, as its configuration files say: what it learned while it runs
/// stands in no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forwarder {
    /// The nameserver's address.
    pub server: IpAddr,
    /// Its process; null where that is not known.
    pub pid: Option<u32>,
    /// Its name.
    pub program: Option<String>,
    /// The files that were read.
    pub files: Vec<String>,
    /// Those that it asks for any name, and what each did with one query from its network.
    pub upstreams: Vec<NameserverState>,
    /// It asks others for some domains.
    pub others: bool,
    /// It asks the servers of each zone itself, from the root's on.
    pub recursive: bool,
    /// Why it is not known whom it asks, or whether those are all. Null where its files say it.
    pub doubt: Option<String>,
}

impl Forwarder {
    /// For a person: `dnsmasq (pid 812)`, or the address where no more is known.
    pub fn name(&self) -> String {
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => format!("{program} (pid {pid})"),
            _ => self.server.to_string(),
        }
    }
}

/// The server's resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolverState {
    /// resolv.conf, nsswitch.conf, hosts.
    pub files: Vec<FileState>,
    /// Who is asked for host names, in order (nsswitch.conf's `hosts`).
    pub services: Vec<String>,
    /// The nameservers that glibc asks, in order.
    pub nameservers: Vec<NameserverState>,
    /// `timeout:` in seconds.
    pub timeout_s: i32,
    /// `attempts:`.
    pub attempts: i32,
    /// The search list.
    pub search: Vec<String>,
    /// Sockets of local services.
    pub sockets: Vec<ResolverSocket>,
    /// Where systemd-resolved is among the nameservers (127.0.0.53): those that it asks, by /run/systemd/resolve/resolv.conf, and what each did with one
    /// query from the server's network.
    #[serde(default)]
    pub upstreams: Vec<NameserverState>,
    /// Those of the nameservers that are programs of this host other than systemd-resolved, and whom each asks itself.
    #[serde(default)]
    pub forwarders: Vec<Forwarder>,
    /// Why nothing of resolv.conf is known: then there are no nameservers here, and `timeout_s`, `attempts` and `search` say nothing. Null where it is known.
    #[serde(default)]
    pub doubt: Option<String>,
}

/// From where something was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// From inside the server's own namespaces.
    Target,
    /// As wrapwatch itself sees it, for the server's namespaces cannot be entered: may be another's.
    Here,
}

/// One server process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DoctorTarget")]
pub struct Target {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its program; null where it cannot be read.
    pub exe: Option<String>,
    /// Name that libwrap knows it by: the base name of its first argument.
    pub daemon: String,
    /// When it was started.
    pub started: Option<WallTime>,
    /// State as ps shows it: `S`, `R`, `D`, `T` (stopped), …
    pub state: String,
    /// Its threads.
    pub threads: u64,
    /// Established connections to its listeners; null if unknown.
    pub connections: Option<u64>,
    /// Kinds of namespaces that it does not share with wrapwatch: `mnt`, `net`, `pid`, `user`; null if unknown.
    pub own_namespaces: Option<Vec<String>>,
    /// What AppArmor keeps it to; null if it is not confined, or if that is unknown.
    pub confined: Option<Confinement>,
    /// Why `live` and `record` would not trace it; null where they would.
    pub refused: Option<String>,
    /// libwrap.
    pub libwrap: WrapState,
    /// From where files, network and resolver were looked at.
    pub view: View,
    /// The tables it will read.
    pub tables: Vec<FileState>,
    /// Its listeners; null if unknown.
    pub listeners: Option<Vec<ListenerState>>,
    /// Its network namespace.
    pub network: Network,
    /// What it says of itself; null where it was not asked.
    pub counters: Option<ServerCounters>,
    /// Its resolver.
    pub resolver: ResolverState,
    /// Its recent clients' names; null where nobody was asked.
    pub clients: Option<RecentClients>,
    /// Where its configuration gives the name that libwrap gets: what there says it. `daemon` is then a guess.
    #[serde(default)]
    pub named_by: Option<String>,
    /// Where it has no listener: the process that started it and has one.
    #[serde(default)]
    pub accepts_for_it: Option<Holder>,
    /// What its own configuration allows a login; null for servers of which that is not read.
    #[serde(default)]
    pub login_limits: Option<LoginLimits>,
}

/// What will hurt, about a server itself. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerProblem {
    /// The process is stopped: it accepts nothing.
    Stopped,
    /// A check can take longer than clients, or the server's own limit, wait.
    CheckOutlastsClients,
    /// An accept queue is full.
    QueueFull,
    /// An accept queue is more than half full.
    QueueFilling,
    /// somaxconn cuts the queue that the server asked for.
    QueueCut,
    /// Handshakes were dropped for full queues.
    QueueOverflowed,
    /// TIME_WAIT takes most of the port range.
    TimeWait,
    /// Nearly as many connections as the server allows.
    MaxConnections,
    /// libwrap checks every connection, and no rule is about this server.
    WrappedWithoutRules,
    /// libwrap checks every connection in the accept thread.
    Wrapped,
    /// What a table has is not known.
    TableNotKnown,
    /// A table that makes everybody wait who opens it.
    TableBlocks,
    /// What resolv.conf has is not known.
    ResolverNotKnown,
    /// libwrap is linked in statically.
    StaticLibwrap,
    /// The program on disk is linked otherwise than the one that runs.
    WrappedAfterRestart,
    /// No sign of libwrap.
    NotWrapped,
    /// No nameserver answers.
    AllNameserversDead,
    /// The first nameserver does not answer.
    FirstNameserverDead,
    /// A nameserver keeps silent.
    NameserverSilent,
    /// A nameserver refuses.
    NameserverRefuses,
    /// A nameserver takes long.
    NameserverSlow,
    /// Names of the server's own recent clients take long, or cannot be found.
    ClientNamesSlow,
    /// Recent clients have no name.
    ClientsWithoutName,
    /// AppArmor may keep the server from its files.
    Confined,
    /// Another process holds a listener too.
    ListenerShared,
    /// A service of nsswitch.conf that does not run.
    ServiceMissing,
    /// Names do not come over port 53.
    NamesOtherwise,
    /// The server looks up its clients itself as well.
    OwnLookups,
    /// skip_name_resolve is on, but libwrap looks up names.
    SkipNameResolveInVain,
    /// libwrap has refused connections.
    RefusedByWrappers,
    /// Another program than the server may check its clients.
    CheckedElsewhere,
    /// Another process accepts its clients.
    AcceptedElsewhere,
    /// The name that libwrap gets is in the server's configuration.
    DaemonNameConfigured,
    /// The kernel has sent SYN cookies.
    SynCookies,
    /// A nameserver behind systemd-resolved is silent, refuses or takes long.
    UpstreamFails,
    /// Checks hold what the server has a limit of.
    ChecksTakeSlots,
    /// The server's own lookups can last longer than its time for a login.
    LookupsOutlastLogin,
}

/// Which problem: one of the server, or one that `lint` finds too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DoctorProblemKind {
    /// About the server.
    Server(ServerProblem),
    /// About its tables and its resolver's settings.
    Rules(ProblemKind),
}

/// Something that will hurt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorProblem {
    /// Server process.
    pub pid: u32,
    /// Which.
    pub kind: DoctorProblemKind,
    /// How bad.
    pub severity: Severity,
    /// File it is in.
    pub file: Option<String>,
    /// Line there.
    pub line: Option<u32>,
    /// What is wrong, with the numbers.
    pub message: String,
    /// The change to make.
    pub change: Option<String>,
}

/// What wrapwatch touches (`--print-access`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// Hooks in the kernel and in libwrap.
    pub hooks: Vec<String>,
    /// BPF helpers that its kernel side calls.
    pub helpers: Vec<String>,
    /// BPF maps it makes.
    pub maps: Vec<String>,
    /// Files it reads, and why.
    pub files: Vec<Use>,
    /// Capabilities it uses, and why.
    pub capabilities: Vec<Use>,
    /// System calls that reach beyond reading, and why.
    pub calls: Vec<Use>,
}

/// One thing and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    /// What.
    pub what: String,
    /// What for.
    pub purpose: String,
}
