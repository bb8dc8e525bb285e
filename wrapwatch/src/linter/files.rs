//! The files that a check reads, and what `lint` says of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::{
    HostError,
    local::{self, Found},
    tables::read_named,
};
use crate::replay::{FileCopy, LintInput};
use crate::trace::SnapshotRole;
use crate::wrappers::ignore::{Applied, IgnoreList};
use crate::wrappers::input::{Client, Input};
use crate::wrappers::lint::{Report, lint};
use crate::wrappers::nsswitch::{self, Service};
use crate::wrappers::{Endpoint, FileText, HostsFile, ResolvConf, Table, TableKind, Tables};

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Paths {
    /// hosts.allow and hosts.deny.
    pub tables: [Option<PathBuf>; 2],
    /// resolv.conf.
    pub resolv: Option<PathBuf>,
    /// hosts.
    pub hosts: Option<PathBuf>,
    /// nsswitch.conf.
    pub nsswitch: Option<PathBuf>,
}

/// Whose checks are looked at.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The daemon's name.
    pub daemon: &'a str,
    /// The server's end.
    pub server: Endpoint,
    /// Domain of the host's own name.
    pub own_domain: Option<&'a str>,
    /// The clients.
    pub clients: &'a [Client],
}

/// The files, by what they are to a check.
#[derive(Debug)]
pub struct Files {
    tables: Tables,
    /// hosts.allow and hosts.deny as they are.
    pub texts: [Vec<u8>; 2],
    /// Their paths.
    pub paths: [String; 2],
    conf: ResolvConf,
    resolv_path: String,
    hosts_file: HostsFile,
    /// /etc/hosts as it is.
    pub hosts: Vec<u8>,
    /// Path of /etc/hosts.
    pub hosts_path: String,
    services: Vec<Service>,
    netgroup: Vec<Service>,
    nsswitch_path: String,
    named: BTreeMap<String, FileText>,
    /// Files that are not there: nothing is said of them.
    absent: Vec<String>,
    /// What is not known of them, a sentence each.
    pub remarks: Vec<String>,
}

impl Files {
    /// Reads them; from `recorded` where it has a copy of a file whose path is the usual one: tables are then where the server has them. What rules of a trace name is the server's, and never
    /// read here.
    ///
    /// # Errors
    /// Where a file is there and this process may not read it, or it is no regular file or larger than 1 MiB.
    pub fn read(paths: &Paths, recorded: Option<&LintInput>) -> Result<Self, HostError> {
        match recorded {
            Some(recorded) => Self::read_with(paths, recorded, |path| recorded_file(path, recorded)),
            None => Self::read_with(paths, &LintInput::default(), named_file),
        }
    }

    /// As [`Files::read`]; `named` reads the files that rules name.
    pub(super) fn read_with(
        paths: &Paths,
        recorded: &LintInput,
        named: impl FnMut(&str) -> FileText,
    ) -> Result<Self, HostError> {
        let mut tables = Tables::default();
        let mut texts = [Vec::new(), Vec::new()];
        let mut shown = [String::new(), String::new()];
        for (kind, role) in
            [(TableKind::Allow, SnapshotRole::HostsAllow), (TableKind::Deny, SnapshotRole::HostsDeny)]
        {
            let slot = kind as usize;
            let its_path = recorded.table_path(kind);
            let given = paths.tables[slot].as_deref();
            let path = given.unwrap_or(Path::new(its_path));
            shown[slot] = path.to_string_lossy().into_owned();
            let copy = if given.is_some() { None } else { recorded.file(role, its_path) };
            let table = match copy_or_file(copy, path)? {
                Found::Text(text) => {
                    texts[slot] = text;
                    Table::parse(&texts[slot])
                }
                Found::Missing => Table::missing(),
                Found::Unusable(why) => Table::unreadable(why),
            };
            *(if kind == TableKind::Allow { &mut tables.allow } else { &mut tables.deny }) = table;
        }
        let (mut absent, mut unknown) = (Vec::new(), Vec::new());
        let mut cannot_open = None;
        let mut other = |given: &Option<PathBuf>, default, role| -> Result<(String, Vec<u8>), HostError> {
            let path = given.as_deref().unwrap_or(Path::new(default));
            let shown = path.to_string_lossy().into_owned();
            let copy = if given.is_some() { None } else { recorded.file(role, default) };
            if let Some(FileCopy::NotKept(why)) = copy {
                unknown.push((role, shown.clone(), why));
                return Ok((shown, Vec::new()));
            }
            let text = match copy_or_file(copy, path)? {
                Found::Text(text) => text,
                Found::Unusable(why) if role == SnapshotRole::ResolvConf => {
                    cannot_open = Some(why);
                    Vec::new()
                }
                Found::Missing | Found::Unusable(_) => {
                    absent.push(shown.clone());
                    Vec::new()
                }
            };
            Ok((shown, text))
        };
        let (resolv_path, resolv) = other(&paths.resolv, "/etc/resolv.conf", SnapshotRole::ResolvConf)?;
        let (hosts_path, hosts) = other(&paths.hosts, "/etc/hosts", SnapshotRole::Hosts)?;
        let (nsswitch_path, nsswitch) =
            other(&paths.nsswitch, "/etc/nsswitch.conf", SnapshotRole::NsswitchConf)?;
        let named = read_named(&tables, named);
        let mut conf = ResolvConf { cannot_open, ..ResolvConf::parse(&resolv) };
        let mut remarks = Vec::new();
        for (role, path, why) in unknown {
            remarks.push(match role {
                SnapshotRole::ResolvConf => {
                    format!("{path} is not known, so the time that a lookup takes is not, either: {why}")
                }
                SnapshotRole::Hosts => {
                    format!("{path} is not known; clients that it names would need no DNS: {why}")
                }
                _ => format!("{path} is not known; lint assumes glibc's usual order: {why}"),
            });
            if role == SnapshotRole::ResolvConf {
                conf.unknown = Some(why);
            }
        }
        Ok(Self {
            tables,
            texts,
            paths: shown,
            conf,
            resolv_path,
            hosts_file: HostsFile::parse(&hosts),
            hosts,
            hosts_path,
            services: nsswitch::hosts(&nsswitch),
            netgroup: nsswitch::netgroup(&nsswitch),
            nsswitch_path,
            named,
            absent,
            remarks,
        })
    }

    /// For the evaluator.
    pub fn input<'a>(&'a self, subject: &'a Subject<'_>) -> Input<'a> {
        Input {
            tables: &self.tables,
            texts: [&self.texts[0], &self.texts[1]],
            paths: [&self.paths[0], &self.paths[1]],
            files: &self.named,
            daemon: subject.daemon,
            server: subject.server.clone(),
            conf: &self.conf,
            resolv_path: &self.resolv_path,
            services: &self.services,
            netgroup: &self.netgroup,
            nsswitch_path: &self.nsswitch_path,
            hosts: &self.hosts_file,
            hosts_path: &self.hosts_path,
            own_domain: subject.own_domain,
            clients: subject.clients,
        }
    }

    /// What is wrong, without what is ignored.
    pub fn lint(&self, subject: &Subject<'_>, ignored: &IgnoreList) -> (Report, Applied) {
        let mut report = lint(&self.input(subject));
        let applied = ignored.apply(&mut report.problems, |problem| {
            let slot = self.paths.iter().position(|path| *path == problem.file)?;
            let table = if slot == 0 { &self.tables.allow } else { &self.tables.deny };
            let line = problem.line?;
            let entry =
                if problem.has_editors_line() { table.entry_around(line) } else { table.entry_at(line) };
            entry.map(|entry| table.text(&entry))
        });
        report.ignored = u64::try_from(applied.count).unwrap_or(u64::MAX);
        (report, applied)
    }

    /// Paths of tables that are not there.
    pub fn missing_tables(&self) -> impl Iterator<Item = &str> {
        let tables = [&self.tables.allow, &self.tables.deny];
        self.paths.iter().zip(tables).filter(|(_, table)| table.is_missing()).map(|(path, _)| path.as_str())
    }

    /// Says nothing of files that are not there: those of another host, of whom only the tables are known.
    pub fn forget_absent(&self, report: &mut Report) {
        report.problems.retain(|problem| !self.absent.contains(&problem.file));
    }
}

fn recorded_file(path: &str, recorded: &LintInput) -> FileText {
    match recorded.named.get(path).cloned() {
        Some(FileCopy::Text(text)) => FileText::Text(text),
        Some(FileCopy::Missing) => FileText::Missing,
        Some(FileCopy::Unreadable(why)) => FileText::Unreadable(why),
        Some(FileCopy::NotKept(why)) => FileText::NotKnown(why),
        None => FileText::Elsewhere,
    }
}

/// A file that a rule names. What keeps only this process from it says nothing of libwrap.
pub(super) fn named_file(path: &str) -> FileText {
    match local::read(Path::new(path)) {
        Ok(Found::Text(text)) => FileText::Text(text),
        Ok(Found::Missing) => FileText::Missing,
        Ok(Found::Unusable(why)) => FileText::Unreadable(why),
        Err(error) => FileText::NotKnown(error.why()),
    }
}

/// The copy in the trace, unless the path was given by an option.
fn copy_or_file(copy: Option<FileCopy>, path: &Path) -> Result<Found, HostError> {
    Ok(match copy {
        Some(FileCopy::Text(text)) => Found::Text(text),
        Some(FileCopy::Missing) => Found::Missing,
        Some(FileCopy::Unreadable(why)) => Found::Unusable(why),
        // Nothing is said of a table that is not known: not that it refuses everybody either.
        Some(FileCopy::NotKept(why)) => {
            return Err(HostError::Unusable { what: format!("the trace's copy of {}", path.display()), why });
        }
        None => local::read(path)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_that_cannot_be_opened_is_the_cause_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("allow"), "mysqld: .example.com\n").unwrap();
        std::os::unix::fs::symlink(at("resolv"), at("resolv")).unwrap();
        let paths = Paths {
            tables: [Some(at("allow")), Some(at("deny"))],
            resolv: Some(at("resolv")),
            hosts: Some(at("hosts")),
            nsswitch: Some(at("nsswitch")),
        };
        let files = Files::read(&paths, None).unwrap();
        let server = Endpoint::new("0.0.0.0".parse().unwrap(), 3306);
        let subject = Subject { daemon: "mysqld", server, own_domain: None, clients: &[] };
        let (report, _) = files.lint(&subject, &IgnoreList::default());
        let kind = crate::wrappers::problems::ProblemKind::NoNameserver;
        let told = report.problems.iter().find(|problem| problem.kind == kind).unwrap();
        assert!(told.message.contains("cannot be opened (Too many levels of symbolic links)"), "{told:?}");
    }

    #[test]
    fn settings_that_a_trace_has_by_half_bound_nothing_and_blame_nobody() {
        let text = |text: &str| FileCopy::Text(text.as_bytes().to_vec());
        let paths = Paths::default();
        let trace = LintInput {
            files: vec![
                (SnapshotRole::HostsAllow, text("mysqld: .example.com\n")),
                (SnapshotRole::HostsDeny, text("ALL: ALL\n")),
                (SnapshotRole::Hosts, text("")),
                (SnapshotRole::NsswitchConf, text("hosts: files dns\n")),
                (SnapshotRole::ResolvConf, FileCopy::NotKept("cut".to_owned())),
            ],
            ..LintInput::default()
        };
        let files = Files::read(&paths, Some(&trace)).unwrap();
        assert!(files.remarks[0].contains("/etc/resolv.conf is not known"), "{:?}", files.remarks);
        let client = Client { address: [10, 0, 0, 1].into(), name: None };
        let subject = Subject {
            daemon: "mysqld",
            server: Endpoint::new([0, 0, 0, 0].into(), 3306),
            own_domain: None,
            clients: &[client],
        };
        let (report, _) = files.lint(&subject, &IgnoreList::default());
        assert_eq!((report.clients[0].worst_case_ns, report.clients[0].first_silent_ns), (None, None));
        assert!(report.clients[0].waits[0].of.contains("not known"), "{:?}", report.clients[0].waits);
        assert!(report.problems.iter().all(|problem| problem.file != "/etc/resolv.conf"));
        // What an option names is read, whatever the trace has: also where it has the usual name.
        let named = Paths { resolv: Some("/etc/resolv.conf".into()), ..Paths::default() };
        assert_eq!(Files::read(&named, Some(&trace)).unwrap().remarks, [""; 0]);
        // Of a table nothing may be said without it.
        let mut trace = trace;
        trace.files[0].1 = FileCopy::NotKept("cut".to_owned());
        assert!(Files::read(&paths, Some(&trace)).unwrap_err().to_string().contains("cut"));
    }

    #[test]
    fn what_only_lint_cannot_read_may_hold_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("large"), "10.0.0.1\n".repeat(200_000)).unwrap();
        let large = at("large").to_string_lossy().into_owned();
        std::fs::write(at("allow"), format!("mysqld: {large}\n")).unwrap();
        std::fs::write(at("deny"), "ALL: ALL\n").unwrap();
        let paths = Paths {
            tables: [Some(at("allow")), Some(at("deny"))],
            resolv: Some(at("none")),
            hosts: Some(at("none")),
            nsswitch: Some(at("none")),
        };
        let files = Files::read(&paths, None).unwrap();
        assert_eq!(files.named[&large], FileText::NotKnown("larger than 1 MiB".to_owned()));
        let client = Client { address: [10, 0, 0, 1].into(), name: None };
        let subject = Subject {
            daemon: "mysqld",
            server: Endpoint::new([0, 0, 0, 0].into(), 3306),
            own_domain: None,
            clients: &[client],
        };
        let (report, _) = files.lint(&subject, &IgnoreList::default());
        let reason = report.clients[0].reason.clone().unwrap_or_default();
        assert!(reason.contains(&large) && reason.contains("does not know"), "{reason}");
        let messages: Vec<&str> = report.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(messages.iter().all(|message| !message.contains("matches no client")), "{messages:?}");
        assert!(messages.iter().any(|message| message.contains("(larger than 1 MiB)")), "{messages:?}");
    }

    #[test]
    fn what_a_traces_rules_name_is_the_servers_and_never_this_machines() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("list");
        std::fs::write(&here, "10.0.2.14\n").unwrap();
        let here = here.to_str().unwrap();
        let allow = format!("mysqld: {here} /gone /closed /copied\n");
        let text = |text: &str| FileCopy::Text(text.as_bytes().to_vec());
        let named = [
            ("/gone", FileCopy::Missing),
            ("/closed", FileCopy::Unreadable("EACCES".to_owned())),
            ("/copied", text("10.0.2.15\n")),
        ];
        let trace = LintInput {
            files: vec![
                (SnapshotRole::HostsAllow, text(&allow)),
                (SnapshotRole::HostsDeny, text("ALL: ALL\n")),
            ],
            named: named.into_iter().map(|(path, copy)| (path.to_owned(), copy)).collect(),
            ..LintInput::default()
        };
        let none = || folder.path().join("none");
        let paths =
            Paths { tables: [None, None], resolv: Some(none()), hosts: Some(none()), nsswitch: Some(none()) };
        let files = Files::read(&paths, Some(&trace)).unwrap();
        let of = |path: &str| files.named[path].clone();
        assert_eq!(of(here), FileText::Elsewhere);
        assert_eq!(
            (of("/gone"), of("/closed")),
            (FileText::Missing, FileText::Unreadable("EACCES".to_owned()))
        );
        assert_eq!(of("/copied"), FileText::Text(b"10.0.2.15\n".to_vec()));
        let table = folder.path().join("allow");
        std::fs::write(&table, allow).unwrap();
        let own = Paths { tables: [Some(table), Some(none())], ..paths };
        let files = Files::read(&own, None).unwrap();
        assert_eq!(files.named[here], FileText::Text(b"10.0.2.14\n".to_vec()), "without a trace it is read");
    }
}
