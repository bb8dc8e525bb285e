//! A check that is going on at attach: found by its open table, entered on both sides.
//!
//! Between looking and tracing, the check may move on. So its descriptors are entered first, then the target, and then looked at again: what is no longer what it
//! was is taken back.

use crate::{
    host::{HostError, clock, thread::InProgress},
    probe::{Probe, ProbeError, Seed},
    trace::{InCheck, InCheckSocket},
};

use super::target::Process;

/// What was found before the trace began.
pub(super) struct Found {
    before: InProgress,
    conn: u64,
    tid: u32,
}

/// Looks, and enters what is there on the kernel side. To be called before the target is added.
pub(super) fn find(probe: &mut Probe, tracee: &mut Process) -> Result<Option<Found>, ProbeError> {
    let Some(before) = look(tracee) else { return Ok(None) };
    // mysqld and mariadbd accept in their first thread.
    let tid = tracee.info.pid;
    let seed = Seed {
        tid,
        accepted: accepted(&before).map(|(fd, _, _)| fd),
        tables: before.tables.iter().map(|(fd, _)| *fd).collect(),
        dns: before.dns.clone(),
    };
    let conn = probe.seed(tracee.info.pid, &seed)?;
    Ok(Some(Found { before, conn, tid }))
}

/// Looks again, takes back what has gone, and gives the rest. To be called once the target is added.
pub(super) fn confirm(
    found: Found,
    probe: &mut Probe,
    tracee: &mut Process,
) -> Result<Option<InCheck>, ProbeError> {
    let pid = tracee.info.pid;
    let after = look(tracee).unwrap_or_default();
    let Found { before, conn, tid } = found;
    for (fd, _) in before.tables.iter().filter(|table| !after.tables.contains(table)) {
        probe.unwatch(pid, *fd)?;
    }
    for (fd, _) in before.dns.iter().filter(|socket| !after.dns.contains(socket)) {
        probe.unwatch(pid, *fd)?;
    }
    let still = before.tables.iter().find(|table| after.tables.contains(table));
    let Some(table) = still else {
        // The check has ended meanwhile; its connection is before our time.
        if let Some((fd, _, _)) = accepted(&before) {
            probe.unwatch(pid, fd)?;
        }
        probe.forget_conn(conn)?;
        return Ok(None);
    };
    let client = accepted(&before).filter(|socket| after.ungreeted.contains(socket));
    let sockets = before.dns.iter().filter(|socket| after.dns.contains(socket));
    Ok(Some(InCheck {
        conn,
        tid,
        at: clock::now(),
        fd: client.map_or(-1, |(fd, _, _)| fd),
        peer: client.map(|(_, _, peer)| peer.to_string()),
        local: client.map(|(_, local, _)| local.to_string()),
        table: Some(table.clone()),
        sockets: sockets
            .map(|&(fd, server)| InCheckSocket { fd, server: server.to_string(), stream: false })
            .collect(),
    }))
}

/// The accepted socket of the check. Where several connections have got no byte yet, it is not known which of them is being checked.
fn accepted(found: &InProgress) -> Option<(i32, std::net::SocketAddr, std::net::SocketAddr)> {
    match found.ungreeted.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

fn look(tracee: &mut Process) -> Option<InProgress> {
    tracee.in_progress().unwrap_or_else(|error: HostError| {
        log::info!("cannot see whether a check is going on: {error}");
        None
    })
}
