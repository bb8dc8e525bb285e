//! What a trace has for `lint`: the clients that came, with the names that DNS gave them, the daemon's name, and the target's files as they were last.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Options, Replay};
use crate::context::Context;
use crate::diagnose::doctor::paths;
use crate::model::{Client, Line};
use crate::trace::{ReadError, SnapshotRole};

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
    pub named: BTreeMap<String, Vec<u8>>,
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
}

/// How opening each path went last: the error, none where it was opened.
type Opened = HashMap<Arc<str>, Option<String>>;

/// Paths that are kept apart; the tables come first in every check.
const PATHS_MAX: usize = 64;

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
                if opened.len() < PATHS_MAX || opened.contains_key(&file.path) {
                    opened.insert(file.path.clone(), file.error.as_deref().map(str::to_owned));
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
        seen.files_of(replay.into_context());
        seen.tables_not_opened(&opened);
        Ok(seen)
    }

    /// A table that the server could not open in its last check counted as empty there, whatever a copy of it has.
    fn tables_not_opened(&mut self, opened: &Opened) {
        let roles = [SnapshotRole::HostsAllow, SnapshotRole::HostsDeny];
        for (role, usual) in roles.into_iter().zip(paths::TABLES) {
            let error = opened.get(usual).and_then(Option::as_deref).filter(|error| *error != "ENOENT");
            if let Some(error) = error {
                self.files.retain(|(of, _)| *of != role);
                self.files.push((role, FileCopy::Unreadable(format!("{error} in the server's last check"))));
            }
        }
    }

    fn files_of(&mut self, context: Context) {
        let target = context.targets.first();
        let pid = target.map(|target| target.pid);
        self.several_servers = context.targets.len() > 1;
        self.daemon = target.and_then(|target| target.daemon.clone()).filter(|daemon| !daemon.is_empty());
        for file in context.files {
            if file.meta.pid.is_some() && pid.is_some() && file.meta.pid != pid {
                continue;
            }
            let copy = match file.meta.error {
                None => FileCopy::Text(file.bytes.to_vec()),
                Some(error) if error == "ENOENT" => FileCopy::Missing,
                Some(error) => FileCopy::Unreadable(error),
            };
            // They are in order of time: the last one stays.
            match (file.meta.role, copy) {
                (SnapshotRole::Other, FileCopy::Text(text)) => drop(self.named.insert(file.meta.path, text)),
                (SnapshotRole::Other, _) => {}
                (role, copy) => {
                    self.files.retain(|(of, _)| *of != role);
                    self.files.push((role, copy));
                }
            }
        }
    }

    /// The copy of the file of this role.
    pub fn file(&self, role: SnapshotRole) -> Option<&FileCopy> {
        self.files.iter().find(|(of, _)| *of == role).map(|(_, copy)| copy)
    }
}
