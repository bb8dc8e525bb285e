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
use crate::wrappers::lint::{Client, Input, Report, lint};
use crate::wrappers::nsswitch::{self, Service};
use crate::wrappers::{Endpoint, FileText, HostsFile, ResolvConf, Table, TableKind, Tables};

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// hosts.allow and hosts.deny.
    pub tables: [PathBuf; 2],
    /// resolv.conf.
    pub resolv: PathBuf,
    /// hosts.
    pub hosts: PathBuf,
    /// nsswitch.conf.
    pub nsswitch: PathBuf,
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
    nsswitch_path: String,
    named: BTreeMap<String, FileText>,
    /// Files that are not there: nothing is said of them.
    absent: Vec<String>,
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
            let given = &paths.tables[slot];
            let path = if given == Path::new(kind.default_path()) { Path::new(its_path) } else { given };
            shown[slot] = path.to_string_lossy().into_owned();
            let table = match copy_or_file(recorded, path, its_path, role)? {
                Found::Text(text) => {
                    texts[slot] = text;
                    Table::parse(&texts[slot])
                }
                Found::Missing => Table::missing(),
                Found::Unusable(why) => Table::unreadable(why),
            };
            *(if kind == TableKind::Allow { &mut tables.allow } else { &mut tables.deny }) = table;
        }
        let mut absent = Vec::new();
        let mut other = |path: &Path, default: &str, role| -> Result<(String, Vec<u8>), HostError> {
            let shown = path.to_string_lossy().into_owned();
            let text = match copy_or_file(recorded, path, default, role)? {
                Found::Text(text) => text,
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
        Ok(Self {
            tables,
            texts,
            paths: shown,
            conf: ResolvConf::parse(&resolv),
            resolv_path,
            hosts_file: HostsFile::parse(&hosts),
            hosts,
            hosts_path,
            services: nsswitch::hosts(&nsswitch),
            nsswitch_path,
            named,
            absent,
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
            table.entry_at(problem.line?).map(|entry| table.text(entry))
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
        Some(FileCopy::NotKept(_)) | None => FileText::Elsewhere,
    }
}

fn named_file(path: &str) -> FileText {
    match local::read(Path::new(path)) {
        Ok(Found::Text(text)) => FileText::Text(text),
        Ok(Found::Missing) => FileText::Missing,
        Ok(Found::Unusable(why)) => FileText::Unreadable(why),
        Err(error) => FileText::Unreadable(error.to_string()),
    }
}

/// The copy in the trace, unless the path was given by an option.
fn copy_or_file(
    recorded: &LintInput,
    path: &Path,
    default: &str,
    role: SnapshotRole,
) -> Result<Found, HostError> {
    Ok(match recorded.file(role, default).filter(|_| path == Path::new(default)) {
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
        let paths = Paths {
            tables: ["/etc/hosts.allow".into(), "/etc/hosts.deny".into()],
            resolv: none(),
            hosts: none(),
            nsswitch: none(),
        };
        let files = Files::read(&paths, Some(&trace)).unwrap();
        let of = |path: &str| files.named[path].clone();
        assert_eq!(of(here), FileText::Elsewhere);
        assert_eq!(
            (of("/gone"), of("/closed")),
            (FileText::Missing, FileText::Unreadable("EACCES".to_owned()))
        );
        assert_eq!(of("/copied"), FileText::Text(b"10.0.2.15\n".to_vec()));
        let own = Paths { tables: [folder.path().join("allow"), none()], ..paths };
        std::fs::write(&own.tables[0], allow).unwrap();
        let files = Files::read(&own, None).unwrap();
        assert_eq!(files.named[here], FileText::Text(b"10.0.2.14\n".to_vec()), "without a trace it is read");
    }
}
