//! What all connections share: targets, nameservers, paths, unix sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use wrapwatch_common::maps::watch_key;
use wrapwatch_common::records as abi;

use crate::model::KtimeNs;

use super::blind::Blind;
use super::check::PathKind;
use super::config::{Limits, TableText, TargetInfo};
use super::inferred::Inferred;
use super::map::HashMap;
use super::servers::Servers;
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
/// Memory of all tables' texts. A target decides how large its tables are and how often they are others. So all of it together has a bound, and of whoever takes most the
/// oldest goes first: a small table of one target never makes room for a large one of another.
const TEXTS_MOST_BYTES: usize = 4 << 20;

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
    pub(super) fn gives(&self, tgid: u32, local: Option<SocketAddr>) -> bool {
        let target = self.targets.get(&tgid);
        target.zip(local).is_some_and(|(target, local)| target.gives.contains(&local.port()))
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
    pub(super) fn rule_text(&mut self, tgid: u32, file: &str, line: u32, at: KtimeNs) -> Option<Arc<str>> {
        self.targets.get_mut(&tgid)?.texts.at_mut(file, at)?.rule(line)
    }
}

/// Enters a text, and forgets others until all fit.
pub(super) fn set_text(
    targets: &mut HashMap<u32, Target>,
    tgid: u32,
    path: &str,
    text: Option<TableText>,
    from: KtimeNs,
) {
    let target = targets.entry(tgid).or_default();
    target.inferred.clear();
    target.texts.set(path, text, from);
    keep_to(TEXTS_MOST_BYTES, targets);
}

fn keep_to(most_bytes: usize, targets: &mut HashMap<u32, Target>) {
    while targets.values().map(|target| target.texts.memory_bytes()).sum::<usize>() > most_bytes {
        // Of two that take as much, the same one whenever this is told again.
        let largest = targets.iter_mut().max_by_key(|(tgid, target)| (target.texts.memory_bytes(), **tgid));
        if !largest.is_some_and(|(_, target)| target.texts.forget_oldest()) {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::super::texts::VERSIONS_MAX;
    use super::*;

    fn text(rules: usize) -> TableText {
        TableText::new(&"ALL: 10.0.2.14\n".repeat(rules))
    }

    fn set(targets: &mut HashMap<u32, Target>, tgid: u32, path: &str, text: TableText, from: u64) {
        super::set_text(targets, tgid, path, Some(text), KtimeNs(from));
    }

    #[test]
    fn whoever_takes_most_loses_his_oldest() {
        let mut targets = HashMap::default();
        set(&mut targets, 1, "/small", text(1), 0);
        for at in 1..5 {
            set(&mut targets, 2, "/large", text(1000), at);
        }
        keep_to(3 * text(1000).memory_bytes(), &mut targets);
        let of = |tgid: u32, path, at| targets[&tgid].texts.at(path, KtimeNs(at)).map(|(from, _)| from.0);
        assert!(of(1, "/small", 9).is_some(), "older than all others, and of another");
        assert_eq!((of(2, "/large", 0), of(2, "/large", 1), of(2, "/large", 2)), (None, None, None));
        assert_eq!((of(2, "/large", 3), of(2, "/large", 4)), (Some(3), Some(4)));
    }

    #[test]
    fn what_was_before_the_versions_that_are_kept_is_not_known() {
        let mut targets = HashMap::default();
        for at in 1..=u64::try_from(VERSIONS_MAX).unwrap() {
            set(&mut targets, 1, "/table", text(1), at);
        }
        assert!(targets[&1].texts.at("/table", KtimeNs(0)).is_some(), "it was so before anybody looked");
        set(&mut targets, 1, "/table", text(1), 99);
        assert!(targets[&1].texts.at("/table", KtimeNs(1)).is_none());
        assert!(targets[&1].texts.at("/table", KtimeNs(2)).is_some());
    }

    #[test]
    fn a_version_that_is_not_known_hides_those_before_it() {
        let mut targets = HashMap::default();
        set(&mut targets, 1, "/table", text(1), 1);
        super::set_text(&mut targets, 1, "/table", None, KtimeNs(2));
        assert!(targets[&1].texts.at("/table", KtimeNs(1)).is_some());
        assert!(targets[&1].texts.at("/table", KtimeNs(2)).is_none());
    }

    #[test]
    fn moving_tables_of_a_mebibyte_stay_within_the_bound() {
        let mut targets = HashMap::default();
        let large = TableText::new(&"a:b\n".repeat((1 << 20) / 4));
        for at in 0..64 {
            set(&mut targets, 1, &format!("/table/{}", at % 16), large.clone(), at);
        }
        assert!(targets[&1].texts.memory_bytes() <= TEXTS_MOST_BYTES);
        assert!(targets[&1].texts.at("/table/15", KtimeNs(63)).is_some(), "the newest stays");
    }
}
