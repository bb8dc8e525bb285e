//! What all connections share: targets, nameservers, paths, unix sockets.

use std::collections::BTreeSet;
use std::sync::Arc;

use wrapwatch_common::maps::watch_key;
use wrapwatch_common::records as abi;

use crate::model::KtimeNs;

use super::check::PathKind;
use super::config::{Limits, TargetInfo};
use super::infer::Inferred;
use super::map::HashMap;
use super::open_connection::OpenConnection;
use super::servers::Servers;
use super::sight::Blind;
use super::texts::Texts;
use super::workers::Workers;

/// A traced process, its tables' texts and when it was stopped.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub info: TargetInfo,
    pub texts: Texts,
    pub stops: Vec<(KtimeNs, KtimeNs)>,
    /// What the trace does not show of it.
    pub blind: Blind,
    pub inferred: Inferred,
    /// What its threads looked up lately.
    pub workers: Workers,
    /// Ports whose clients are served by processes or threads that are made for them.
    pub gives: BTreeSet<u16>,
}

/// Most stops remembered of a target.
const STOPS_MAX: usize = 64;
impl Target {
    pub(super) fn stopped(&mut self, from: KtimeNs, to: KtimeNs) {
        match self.stops.last_mut() {
            Some((_, last)) if from <= *last => *last = to.max(*last),
            _ => self.stops.push((from, to)),
        }
        if self.stops.len() > STOPS_MAX {
            self.stops.remove(0);
        }
    }
}

/// The shared things.
#[derive(Debug)]
pub(super) struct Shared {
    pub servers: Servers,
    pub unix: UnixPaths,
    pub paths: Paths,
    pub targets: HashMap<u32, Target>,
    /// What the trace does not show of any target.
    pub blind: Blind,
    pub limits: Limits,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            servers: Servers::new(limits.servers),
            unix: UnixPaths::default(),
            paths: Paths::default(),
            targets: HashMap::default(),
            blind: Blind::default(),
            limits,
        }
    }

    /// What the trace does not show of a target.
    pub(super) fn blind(&self, tgid: u32) -> Blind {
        self.targets.get(&tgid).map_or(self.blind, |target| self.blind.and(target.blind))
    }

    /// Whether the clients of this port are served by processes or threads that are made for them.
    pub(super) fn gives(&self, ongoing: &OpenConnection) -> bool {
        let target = self.targets.get(&ongoing.tgid);
        target.zip(ongoing.local).is_some_and(|(target, local)| target.gives.contains(&local.port()))
    }

    /// A path and what it is to a target's check.
    pub(super) fn path(&mut self, tgid: u32, path: &[u8]) -> (Arc<str>, PathKind) {
        let shared = self.paths.share(path);
        let tables = self.targets.get(&tgid).map(|target| &target.info.tables);
        let kind = if tables.is_some_and(|tables| tables.allow == shared) || shared.ends_with("/hosts.allow")
        {
            PathKind::Allow
        } else if tables.is_some_and(|tables| tables.deny == shared) || shared.ends_with("/hosts.deny") {
            PathKind::Deny
        } else if &*shared == "/etc/hosts" {
            PathKind::Hosts
        } else {
            PathKind::Else
        };
        (shared, kind)
    }

    /// The table that a rule's record names, which may have no more than the path's beginning.
    pub(super) fn table(&mut self, tgid: u32, name: &[u8]) -> Arc<str> {
        let tables = self.targets.get(&tgid).map(|target| &target.info.tables);
        let mut known = tables.into_iter().flat_map(|tables| [&tables.allow, &tables.deny]);
        match known.find(|path| abi::is_rule_file(name, path.as_bytes())) {
            Some(path) => path.clone(),
            None => self.paths.share(name),
        }
    }

    /// Text of a rule by the table's copy in force at `at`.
    pub(super) fn rule_text(&self, tgid: u32, file: &str, line: u32, at: KtimeNs) -> Option<Arc<str>> {
        self.targets.get(&tgid)?.texts.at(file, at)?.1.rule(line)
    }
}

/// Paths seen before, so that a check does not copy the same ten again.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Arc<str>>);

/// Beyond this, paths are copied.
const PATHS_MAX: usize = 64;

impl Paths {
    pub(super) fn share(&mut self, path: &[u8]) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| known.as_bytes() == path) {
            return known.clone();
        }
        let shared: Arc<str> = String::from_utf8_lossy(path).into();
        if self.0.len() < PATHS_MAX {
            self.0.push(shared.clone());
        }
        shared
    }
}

/// Paths of connected unix sockets, by process and descriptor: syslog's is opened once and used by later connections.
#[derive(Debug, Default)]
pub(super) struct UnixPaths(HashMap<u64, Box<[u8]>>);

impl UnixPaths {
    pub(super) fn insert(&mut self, tgid: u32, fd: i32, path: &[u8], limit: usize) {
        let key = watch_key(tgid, fd);
        if self.0.len() < limit || self.0.contains_key(&key) {
            self.0.insert(key, path.into());
        }
    }

    pub(super) fn get(&self, tgid: u32, fd: i32) -> Option<&[u8]> {
        self.0.get(&watch_key(tgid, fd)).map(|path| &**path)
    }

    pub(super) fn remove(&mut self, tgid: u32, fd: i32) {
        self.0.remove(&watch_key(tgid, fd));
    }

    pub(super) fn forget(&mut self, tgid: u32) {
        self.0.retain(|key, _| key >> 32 != u64::from(tgid));
    }
}
