//! What `doctor` makes of what it found: what will hurt, and what cannot be seen. One file each for the server, its resolver, the kernel.

mod clients;
mod kernel;
mod limits;
mod resolver;
mod server;

use std::collections::BTreeMap;

pub use kernel::{Trial, missing, taken};

use crate::{
    model::Severity,
    model::doctor::{DoctorProblem, DoctorProblemKind, ServerProblem, Target, Wrapped},
    wrappers::{
        FileText, HostsFile, LookupKind, ResolvConf, Table, Tables, Wait,
        bound::{self, Steps},
        cost::Resolver,
        daemons,
        nsswitch::{self, Service},
        problems::{self, Problem, ProblemKind, Scene},
    },
};

/// Paths of the files a check reads, as the server sees them (hosts_access(5), resolv.conf(5), nsswitch.conf(5), hosts(5)).
pub mod paths {
    /// The tables.
    pub const TABLES: [&str; 2] = ["/etc/hosts.allow", "/etc/hosts.deny"];
    /// The resolver's settings.
    pub const RESOLV_CONF: &str = "/etc/resolv.conf";
    /// Who is asked.
    pub const NSSWITCH_CONF: &str = "/etc/nsswitch.conf";
    /// Names that need no DNS.
    pub const HOSTS: &str = "/etc/hosts";
}

/// The texts of a server's files, taken apart.
#[derive(Debug)]
pub struct Texts {
    /// The tables.
    pub tables: Tables,
    /// Their texts.
    pub raw: [Vec<u8>; 2],
    /// resolv.conf.
    pub conf: ResolvConf,
    /// nsswitch.conf's hosts line.
    pub services: Vec<Service>,
    /// nsswitch.conf's netgroup line.
    pub netgroup: Vec<Service>,
    /// /etc/hosts.
    pub hosts: HostsFile,
    /// Files that rules name.
    pub named: BTreeMap<String, FileText>,
    /// What keeps each table from being known.
    pub doubts: [Option<TableDoubt>; 2],
}

/// Why the rules of a table are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableDoubt {
    /// It could not be read, or not whole, which says nothing of libwrap.
    NotLookedAt(String),
    /// A FIFO.
    Fifo,
}

impl Texts {
    /// Of these texts; what is `Err` is there and cannot be read, `None` is not there.
    pub fn of(
        tables: [Result<Option<Vec<u8>>, String>; 2],
        conf: &[u8],
        nsswitch: &[u8],
        hosts: &[u8],
    ) -> Self {
        let parse = |table: &Result<Option<Vec<u8>>, String>| match table {
            Ok(Some(text)) => Table::parse(text),
            Ok(None) => Table::missing(),
            Err(why) => Table::unreadable(why.clone()),
        };
        Self {
            tables: Tables { allow: parse(&tables[0]), deny: parse(&tables[1]) },
            raw: tables.map(|table| table.ok().flatten().unwrap_or_default()),
            conf: ResolvConf::parse(conf),
            services: nsswitch::hosts(nsswitch),
            netgroup: nsswitch::netgroup(nsswitch),
            hosts: HostsFile::parse(hosts),
            named: BTreeMap::new(),
            doubts: [None, None],
        }
    }

    /// What decides how long lookups take.
    fn resolver(&self) -> Resolver<'_> {
        Resolver { conf: &self.conf, services: &self.services, netgroup: &self.netgroup, own_domain: None }
    }

    /// What is wrong with them, for a server of this name.
    fn problems(&self, target: &Target) -> Vec<Problem> {
        let mut found = problems::find(&Scene {
            tables: &self.tables,
            texts: [&self.raw[0], &self.raw[1]],
            paths: paths::TABLES,
            daemon: &target.daemon,
            port: first_port(target),
            resolver: self.resolver(),
            resolv_path: paths::RESOLV_CONF,
            nsswitch_path: paths::NSSWITCH_CONF,
            hosts: &self.hosts,
            hosts_path: paths::HOSTS,
            files: &self.named,
        });
        found.retain(|problem| !problem.other_daemons);
        found
    }
}

/// The port of its first listener, MySQL's own where that is not known.
fn first_port(target: &Target) -> u16 {
    let first = target.listeners.as_ref().and_then(|listeners| listeners.first());
    first.and_then(|listener| listener.local.rsplit(':').next()?.parse().ok()).unwrap_or(3306)
}

/// What the problems of one server depend on.
struct Case<'a> {
    target: &'a Target,
    texts: &'a Texts,
    /// It checks its clients, by all signs.
    wrapped: bool,
    /// A rule about it needs names.
    looks_up: bool,
    /// A rule is about it; where its configuration gives the name that libwrap gets, that is not known.
    has_rules: Option<bool>,
    /// What its longest check consists of.
    waits: Vec<Wait>,
}

impl Case<'_> {
    /// Its longest check; none where nothing that is known here bounds it.
    fn worst_ns(&self) -> Option<u64> {
        bound::sum(&self.waits)
    }

    /// Whether resolv.conf's settings alone keep the bound from being known; what nothing bounds has none whatever they are.
    fn is_bound_unknown(&self) -> bool {
        let is_dns = |wait: &Wait| matches!(wait.lookup, Some(LookupKind::Reverse | LookupKind::Forward));
        let unbounded = |wait: &Wait| wait.ns.is_none() && !is_dns(wait);
        self.texts.conf.unknown.is_some() && self.worst_ns().is_none() && !self.waits.iter().any(unbounded)
    }

    /// Of what that consists, as the middle of a sentence.
    fn parts(&self) -> String {
        let one = |wait: &Wait| match wait.lookup {
            Some(lookup) => format!("{}: {}", lookup.name(), wait.of),
            None => wait.of.clone(),
        };
        self.waits.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn problem(&self, kind: ServerProblem, severity: Severity, message: impl Into<String>) -> DoctorProblem {
        DoctorProblem {
            pid: self.target.pid,
            kind: DoctorProblemKind::Server(kind),
            severity,
            file: None,
            line: None,
            message: message.into(),
            change: None,
        }
    }
}

impl DoctorProblem {
    fn change(self, change: impl Into<String>) -> Self {
        Self { change: Some(change.into()), ..self }
    }

    fn file(self, file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }
}

/// What will hurt in one server, worst first.
pub fn problems(target: &Target, texts: &Texts) -> Vec<DoctorProblem> {
    let wrapped = matches!(target.libwrap.state, Wrapped::Mapped | Wrapped::Static);
    let doubtful = texts.doubts.iter().any(Option::is_some);
    // What is not wrapped reads no tables. Of two tables of which one is not known nothing can be said: each decides what the other one's rules come to.
    let helper = daemons::find(&target.daemon).and_then(|daemon| daemon.helper);
    let reads_none =
        target.libwrap.state == Wrapped::No && helper.is_none() && target.libwrap.wrapped_child.is_none();
    let mut of_rules = if reads_none || doubtful { Vec::new() } else { texts.problems(target) };
    // Under which name it asks is not known: no rule may be said to be missing.
    if target.named_by.is_some() {
        of_rules.retain(|problem| problem.kind != ProblemKind::NoRuleForDaemon);
    }
    let empty = !doubtful
        && [&texts.tables.allow, &texts.tables.deny].iter().all(|table| table.entries().next().is_none());
    let has = |kind| of_rules.iter().any(|problem| problem.kind == kind);
    let daemon = (target.daemon.as_str(), first_port(target));
    let steps = Steps {
        names: has(ProblemKind::DnsLookup),
        server_name: has(ProblemKind::ServerName),
        ident: has(ProblemKind::Ident),
        netgroup: has(ProblemKind::Netgroup),
        command: (has(ProblemKind::BlockingSpawn) || has(ProblemKind::Aclexec))
            && bound::waits_for_commands(&texts.tables, daemon),
    };
    let case = Case {
        target,
        texts,
        wrapped,
        looks_up: steps.names || steps.server_name,
        has_rules: match &target.named_by {
            Some(_) if !empty => None,
            _ => Some(!empty && !has(ProblemKind::NoRuleForDaemon)),
        },
        waits: bound::worst(&texts.tables, daemon, &texts.resolver(), steps),
    };
    let mut out = Vec::new();
    server::find(&case, &mut out);
    resolver::find(&case, &mut out);
    clients::find(&case, &mut out);
    limits::find(&case, &mut out);
    out.extend(of_rules.into_iter().map(|problem| DoctorProblem {
        pid: target.pid,
        kind: DoctorProblemKind::Rules(problem.kind),
        severity: problem.severity,
        file: Some(problem.file),
        line: problem.line,
        message: problem.message,
        change: problem.change,
    }));
    out.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    out
}

#[cfg(test)]
pub(in crate::diagnose) mod tests;
