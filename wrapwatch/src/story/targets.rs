//! What a trace says of its targets, as the correlator takes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Facts;
use crate::correlate::{Listener, SeededCheck, SeededSocket, TablePaths, TableText, TargetInfo};
use crate::trace::{InCheck, Snapshot, SnapshotMeta, SnapshotRole, Target};

/// For [`crate::correlate::Correlator::add_target`].
pub(super) fn info(target: &Target, facts: &Facts) -> TargetInfo {
    let mut listeners = BTreeMap::new();
    for listener in &target.listeners {
        let Some(fd) = listener.fd else { continue };
        match listener.address.parse::<SocketAddr>() {
            Ok(address) => listeners.insert(fd, Listener::Tcp(address)),
            Err(_) if listener.address.starts_with(['/', '@']) => listeners.insert(fd, Listener::Unix),
            Err(_) => None,
        };
    }
    let default = TablePaths::default();
    let path = |path: &Option<String>, default| path.as_deref().map_or(default, Into::into);
    TargetInfo {
        // The records have 32 bits for it, as the kernel has.
        netns: target.netns.and_then(|netns| u32::try_from(netns).ok()).unwrap_or(0),
        listeners,
        tables: TablePaths {
            allow: path(&target.allow_table, default.allow),
            deny: path(&target.deny_table, default.deny),
        },
        resolver_wait_ns: facts.resolv_conf(target.pid).map(|conf| conf.longest_wait_ns()),
        daemon: target.daemon.clone(),
    }
}

/// For [`crate::correlate::Correlator::seed`].
pub(super) fn seeded(pid: u32, check: &InCheck) -> SeededCheck {
    let address = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let sockets = check.sockets.iter().map(|socket| {
        let server = socket.server.parse().ok();
        SeededSocket { fd: socket.fd, server, stream: socket.stream }
    });
    SeededCheck {
        conn: check.conn,
        tgid: pid,
        tid: check.tid,
        at: check.at,
        fd: check.fd,
        peer: address(&check.peer),
        local: address(&check.local),
        table: check.table.clone(),
        sockets: sockets.collect(),
    }
}

pub(super) fn is_resolv_conf(meta: &SnapshotMeta) -> bool {
    meta.role == SnapshotRole::ResolvConf
}

/// The text to quote rules from; none where the file is no table.
pub(super) fn table_text(snapshot: &Snapshot) -> Option<TableText> {
    matches!(snapshot.meta.role, SnapshotRole::HostsAllow | SnapshotRole::HostsDeny)
        .then(|| TableText::new(&String::from_utf8_lossy(&snapshot.bytes)))
}
