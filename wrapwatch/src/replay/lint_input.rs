//! What a trace has for `lint`: the clients that came, with the names that DNS gave them, the daemon's name, and the target's files as they were last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Options, Replay};
use crate::context::Context;
use crate::model::{Client, Line};
use crate::trace::{ReadError, SnapshotRole};
use crate::wrappers::TableKind;

/// A trace's clients and its target's files.
#[derive(Clone, Debug, Default)]
pub struct LintInput {
    /// Clients in the order they came, each once; with its name, where the lookups of its check gave one that led back to its address.
    pub clients: Vec<(IpAddr, Option<String>)>,
    /// There were more of them.
    pub left_out: bool,
    /// Name that libwrap knows the server by.
    pub daemon: Option<String>,
    /// The last copy of each file of a role.
    pub files: Vec<(SnapshotRole, FileCopy)>,
    /// The last copy of each file that rules name, by its path.
    pub named: BTreeMap<String, FileCopy>,
    /// Why the server could not open a path in its last check, by path; what was not there is not among them.
    pub not_opened: BTreeMap<String, String>,
    /// Paths that the server did open in its last check.
    pub opened: BTreeSet<String>,
    /// Paths of hosts.allow and hosts.deny as the server opens them, where the trace says so.
    pub tables: [Option<String>; 2],
    /// There is more than one server in the trace: this is the first one's.
    pub several_servers: bool,
}

/// A file as the trace has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCopy {
    /// Its bytes.
    Text(Vec<u8>),
    /// It was not there.
    Missing,
    /// Why it could not be read.
    Unreadable(String),
    /// It could be read, and why the trace has no copy, or none is kept.
    NotKept(String),
}

/// How a server's opening of each path went last, by its process: the error, none where it was opened.
type Opened = HashMap<(u32, Arc<str>), Option<String>>;

/// Why a copy is none: the rest of it may say anything.
const CUT: &str = "the trace has no more than its beginning";
/// As [`CUT`], where there is not even that.
const UNREAD: &str = "the server opened it, and the trace does not have what it read";
/// As [`CUT`], where the trace has other files of the server's host.
const NO_COPY: &str = "the trace has no copy of it";

/// Servers' paths that are kept apart; the tables come first in every check.
const PATHS_MAX: usize = 256;

impl LintInput {
    /// Reads a trace to its end; of `max_clients` clients.
    ///
    /// # Errors
    /// Where it cannot be read, or is no trace.
    pub fn read(source: impl Read, max_clients: usize) -> Result<Self, ReadError> {
        let mut replay = Replay::new(source, Options { stalls: false, ..Options::default() });
        let mut seen = Self::default();
        let mut known: HashMap<IpAddr, usize> = HashMap::new();
        let mut opened: Opened = HashMap::new();
        while let Some(line) = replay.next_line()? {
            let Line::Connection(connection) = line else { continue };
            for file in &connection.files {
                let key = (connection.pid, file.path.clone());
                if opened.len() < PATHS_MAX || opened.contains_key(&key) {
                    opened.insert(key, file.error.as_deref().map(str::to_owned));
                }
            }
            let Some(address) = connection.peer.and_then(Client::ip) else { continue };
            let at = match known.get(&address) {
                Some(&at) => at,
                None if seen.clients.len() >= max_clients => {
                    seen.left_out = true;
                    continue;
                }
                None => {
                    known.insert(address, seen.clients.len());
                    seen.clients.push((address, None));
                    seen.clients.len() - 1
                }
            };
            let (name, addresses) = connection.names();
            if let (Some((_, slot)), true) = (seen.clients.get_mut(at), addresses.contains(&address)) {
                *slot = slot.take().or(name);
            }
        }
        seen.files_of(replay.into_context(), opened);
        Ok(seen)
    }

    fn files_of(&mut self, context: Context, opened: Opened) {
        let target = context.targets.first();
        let pid = target.map(|target| target.pid);
        self.several_servers = context.targets.len() > 1;
        for ((of, path), error) in opened {
            match error {
                _ if pid.is_some_and(|pid| pid != of) => {}
                None => drop(self.opened.insert(path.to_string())),
                Some(error) if error == "ENOENT" => {}
                Some(error) => drop(self.not_opened.insert(path.to_string(), error)),
            }
        }
        self.daemon = target.and_then(|target| target.daemon.clone()).filter(|daemon| !daemon.is_empty());
        if let Some(target) = target {
            self.tables = [target.allow_table.clone(), target.deny_table.clone()];
        }
        for file in context.files {
            if file.meta.pid.is_some() && pid.is_some() && file.meta.pid != pid {
                continue;
            }
            let not_kept = file.meta.why_not_kept().map(str::to_owned);
            let copy = match file.meta.error {
                _ if let Some(why) = not_kept => FileCopy::NotKept(why),
                None if file.meta.truncated => FileCopy::NotKept(CUT.to_owned()),
                None => FileCopy::Text(file.bytes.to_vec()),
                Some(error) if error == "ENOENT" => FileCopy::Missing,
                Some(error) => FileCopy::Unreadable(error),
            };
            // They are in order of time: the last one stays.
            match (file.meta.role, copy) {
                (SnapshotRole::Other, copy) => drop(self.named.insert(file.meta.path, copy)),
                (role, copy) => {
                    self.files.retain(|(of, _)| *of != role);
                    self.files.push((role, copy));
                }
            }
        }
    }

    /// Where the server has this table.
    pub fn table_path(&self, kind: TableKind) -> &str {
        let [allow, deny] = &self.tables;
        let known = if kind == TableKind::Allow { allow } else { deny };
        known.as_deref().unwrap_or(kind.default_path())
    }

    /// The copy of the file of this role, which the server has at `path`. A table that it could not open in its last check counted as empty there,
    /// whatever a copy of it has; what it opened is not another file of this machine.
    pub fn file(&self, role: SnapshotRole, path: &str) -> Option<FileCopy> {
        let table = matches!(role, SnapshotRole::HostsAllow | SnapshotRole::HostsDeny);
        if let Some(error) = self.not_opened.get(path).filter(|_| table) {
            return Some(FileCopy::Unreadable(format!("{error} in the server's last check")));
        }
        if let Some((_, copy)) = self.files.iter().find(|(of, _)| *of == role) {
            return Some(copy.clone());
        }
        match role {
            _ if self.opened.contains(path) => Some(FileCopy::NotKept(UNREAD.to_owned())),
            // What the server's resolver is set to is not what this machine's is.
            SnapshotRole::ResolvConf if !self.files.is_empty() => Some(FileCopy::NotKept(NO_COPY.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Target;

    #[test]
    fn what_another_server_could_not_open_is_not_the_first_ones() {
        let table: Arc<str> = "/etc/hosts.allow".into();
        let opened = |first: Option<&str>, second: Option<&str>| {
            let error = |pid: u32, error: Option<&str>| ((pid, table.clone()), error.map(str::to_owned));
            HashMap::from([error(10, first), error(20, second)])
        };
        let target = |pid| Target { pid, ..Target::default() };
        let taken = |opened| {
            let mut seen = LintInput::default();
            seen.files_of(Context { targets: vec![target(10), target(20)], ..Context::default() }, opened);
            seen.file(SnapshotRole::HostsAllow, &table)
        };
        let unreadable = FileCopy::Unreadable("EACCES in the server's last check".to_owned());
        assert_eq!(taken(opened(Some("EACCES"), None)), Some(unreadable));
        let unread = FileCopy::NotKept(UNREAD.to_owned());
        assert_eq!(taken(opened(None, Some("EACCES"))), Some(unread), "the first one opened it");
        assert_eq!(taken(opened(Some("ENOENT"), Some("EACCES"))), None, "what is not there counts as empty");
    }

    #[test]
    fn what_a_trace_has_by_half_or_not_at_all_is_not_known() {
        use crate::context::FileVersion;
        use crate::trace::SnapshotMeta;
        let version = |role, path: &str, truncated| FileVersion {
            meta: SnapshotMeta { role, path: path.to_owned(), truncated, ..SnapshotMeta::default() },
            bytes: Arc::from(*b"options timeout:1\n"),
            table: None,
        };
        let files = vec![
            version(SnapshotRole::ResolvConf, "/etc/resolv.conf", true),
            version(SnapshotRole::Hosts, "/etc/hosts", false),
        ];
        let mut seen = LintInput::default();
        let opened = HashMap::from([((0, "/etc/hosts.allow".into()), None)]);
        seen.files_of(Context { files, ..Context::default() }, opened);
        let why = |seen: &LintInput, role, path: &str| match seen.file(role, path) {
            Some(FileCopy::NotKept(why)) => why,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(why(&seen, SnapshotRole::ResolvConf, "/etc/resolv.conf"), CUT);
        assert_eq!(why(&seen, SnapshotRole::HostsAllow, "/etc/hosts.allow"), UNREAD);
        assert!(matches!(seen.file(SnapshotRole::Hosts, "/etc/hosts"), Some(FileCopy::Text(_))));
        assert_eq!(seen.file(SnapshotRole::HostsDeny, "/etc/hosts.deny"), None, "it was not opened");
        seen.files.retain(|(role, _)| *role != SnapshotRole::ResolvConf);
        assert_eq!(why(&seen, SnapshotRole::ResolvConf, "/etc/resolv.conf"), NO_COPY);
    }

    #[test]
    fn tables_are_where_the_server_has_them() {
        let target =
            Target { pid: 10, allow_table: Some("/opt/db/hosts.allow".to_owned()), ..Target::default() };
        let mut seen = LintInput::default();
        let opened = HashMap::from([((10, "/opt/db/hosts.allow".into()), Some("EACCES".to_owned()))]);
        seen.files_of(Context { targets: vec![target], ..Context::default() }, opened);
        assert_eq!(seen.table_path(TableKind::Allow), "/opt/db/hosts.allow");
        assert_eq!(seen.table_path(TableKind::Deny), "/etc/hosts.deny");
        let copy = seen.file(SnapshotRole::HostsAllow, seen.table_path(TableKind::Allow));
        assert!(matches!(copy, Some(FileCopy::Unreadable(_))), "{copy:?}");
    }
}
