//! A client of a unix socket, which waits in the queue behind the check of somebody who came by TCP. Where the kernel does not show that, it is said.

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{Client, Connection, DegradationKind, Line, Outcome};
use wrapwatch_tests::{
    clients::ClientsSpec,
    nameserver::Rule,
    watch::{Seen, Watch},
};

use super::{has_direct_calls, skipped};
use crate::{
    report::Report,
    site::{Site, StandIn},
};

const PORT: u16 = 3310;
/// How much later the nameserver answers.
const SLOW_MS: u64 = 400;

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    report.test("local clients", || {
        site.rules([Rule::delay(SLOW_MS).qtype("PTR")])?;
        let mut judged = false;
        for _ in 0..skipped::ROUNDS {
            judged = judge(&once(site)?)?;
            if judged {
                break;
            }
        }
        ensure!(judged, "the kernel left out calls each time");
        site.rules([])
    });
}

/// One by TCP, and while that is checked one by the socket.
fn once(site: &Site) -> Result<Seen> {
    static ROUND: AtomicU32 = AtomicU32::new(0);
    let path = format!("/run/stand-in-{}.sock", ROUND.fetch_add(1, Ordering::Relaxed));
    let server = StandIn::with_local(PORT, &path)?;
    let mut watch = Watch::pid(server.pid())?;
    site.forget_asked();
    thread::scope(|scope| {
        let slow = scope.spawn(|| site.clients(&ClientsSpec { port: PORT, ..ClientsSpec::one_by_one(1) }));
        site.wait_asked()?;
        let mut local = UnixStream::connect(&path)?;
        local.read_exact(&mut [0; 4])?;
        slow.join().map_err(|_| anyhow::anyhow!("the client by TCP failed"))?
    })?;
    watch.wait_connections(2)?;
    watch.stop()
}

/// Whether what was told can be judged; it is right then.
fn judge(seen: &Seen) -> Result<bool> {
    let told = seen.connections();
    let is_local = |told: &&&Connection| told.peer == Some(Client::Unix);
    let local = told.iter().find(is_local);
    let slow = told.iter().find(|told| !is_local(told));
    let (Some(local), Some(slow)) = (local, slow) else {
        ensure!(skipped::happened(seen), "not both were told of: {told:#?}");
        return Ok(false);
    };
    if skipped::may_lack(seen, local) || skipped::may_lack(seen, slow) {
        return Ok(false);
    }
    ensure!(local.complete && local.outcome == Outcome::Greeted, "{local:#?}");
    let said = seen.lines.iter().any(
        |line| matches!(line, Line::Degradation(lost) if lost.kind == DegradationKind::NoLocalQueueTime),
    );
    ensure!(said != has_direct_calls(), "that its wait is not seen: {said}");
    if said {
        ensure!(local.queued_ns.is_none(), "{local:#?}");
        return Ok(true);
    }
    let queued = local.queued_ns.context("its wait in the queue was not seen")?;
    ensure!(queued >= SLOW_MS * 1_000_000 / 4, "queued for {queued} ns");
    ensure!(local.queued_behind == [slow.conn], "behind {:?}", local.queued_behind);
    Ok(true)
}
