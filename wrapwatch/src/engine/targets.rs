//! What inputs say of targets, as the correlator takes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::context::Context;
use crate::correlate::{Listener, SeededCheck, SeededSocket, TablePaths, TargetInfo, longest_wait_ns};
use crate::trace::{InCheck, SnapshotMeta, SnapshotRole, Target};
use crate::wrappers::ResolvConf;

/// For [`crate::correlate::Correlator::add_target`].
pub(super) fn info(target: &Target, context: &Context) -> TargetInfo {
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
        resolver_wait_ns: context.resolv_conf(target.pid).and_then(|conf| wait_ns(&conf)),
        daemon: Some(daemon(target).to_owned()),
    }
}

/// The name that rules know a target by; where neither its arguments nor its program's name are known, that of the server this is for.
fn daemon(target: &Target) -> &str {
    let named = [target.daemon.as_deref(), Some(target.comm.as_str())];
    named.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("mysqld")
}

/// The longest wait for one answer by UDP; over TCP glibc waits as long as the connection lives.
fn wait_ns(conf: &ResolvConf) -> Option<u64> {
    let servers = u32::try_from(conf.nameservers.len()).unwrap_or(1);
    let timeout = u32::try_from(conf.timeout_s).unwrap_or(0);
    (!conf.use_vc).then(|| longest_wait_ns(timeout, servers))
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
