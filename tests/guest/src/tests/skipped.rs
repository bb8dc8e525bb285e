//! A kernel that leaves out a call's program on a CPU on which a thread was preempted within it (Linux 7.0 and later), and threads that preempt all the
//! time and make such calls. What is told then may lack much, but nothing of it may be said to be whole and be wrong.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{Connection, Line, Missing, Outcome};
use wrapwatch_tests::{
    clients::{self, ClientResult, ClientsSpec},
    watch::{Seen, Watch},
};

use crate::{report::Report, site::Site};

/// One for each processor of a guest.
const PREEMPTING: usize = 2;
/// How long each sleeps; shorter, and an emulated machine does nothing else.
const PAUSE: Duration = Duration::from_millis(1);
const CLIENTS: usize = 20;
/// How often something is tried that the kernel may leave out. Where guests share few processors, most rounds may have a call left out: 5 were not
/// enough once in some 60 runs of ten.
pub(super) const ROUNDS: u32 = 20;

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    if !wrapwatch::probe::raw_skips_calls() {
        return;
    }
    report.test("calls skipped", || {
        let watch = Watch::pid(site.pid())?;
        let go_on = AtomicBool::new(true);
        let clients = thread::scope(|scope| {
            for _ in 0..PREEMPTING {
                scope.spawn(|| preempt(&go_on));
            }
            let clients = site.clients(&ClientsSpec { concurrency: 4, ..ClientsSpec::one_by_one(CLIENTS) });
            go_on.store(false, Ordering::Relaxed);
            clients
        })?;
        let seen = watch.stop()?;
        ensure!(seen.lost("skipped_calls") > 0, "no call was told to be left out: {:?}", seen.summary());
        for client in &clients {
            ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
            judge(&seen, &client.source.context("a client has no address")?.to_string())?;
        }
        Ok(())
    });
}

/// Whether the kernel left out calls while this connection was made, and this was told: then no more has to be right of it. Only from Linux 7.0 on.
pub(super) fn may_lack(seen: &Seen, connection: &Connection) -> bool {
    let said = connection.missing.contains(&Missing::CallsSkipped);
    happened(seen) && !connection.complete && said
}

/// Whether this line says that the kernel left out calls.
pub(super) fn says_so(line: &Line) -> bool {
    matches!(line, Line::Lost(lost) if lost.by.iter().any(|(name, _)| name == "skipped_calls"))
}

/// Whether the kernel left out calls and this was told.
pub(super) fn happened(seen: &Seen) -> bool {
    wrapwatch::probe::raw_skips_calls() && seen.lost("skipped_calls") > 0
}

/// The clients whose connections have to be told rightly: of the others it is told that they may not be. The accept, too, may be what was left out.
pub(super) fn undoubted<'a>(seen: &Seen, clients: &'a [ClientResult]) -> Result<Vec<&'a ClientResult>> {
    let mut undoubted = Vec::new();
    for client in clients {
        let source = client.source.context("a client has no address")?.to_string();
        let doubted =
            seen.of(&source).map_or_else(|_| happened(seen), |connection| may_lack(seen, connection));
        if !doubted {
            undoubted.push(client);
        }
    }
    Ok(undoubted)
}

/// Has a server watched while clients come to it; where the kernel leaves out calls, again, until something is told of them without doubt.
pub(super) fn watched(
    start: impl Fn() -> Result<Watch>,
    come: impl Fn() -> Result<Vec<ClientResult>>,
) -> Result<(Seen, Vec<ClientResult>)> {
    let mut left = ROUNDS;
    loop {
        let mut watch = start()?;
        let clients = come()?;
        let waited = watch.wait_connections_unless(clients.len(), says_so);
        let seen = watch.stop()?;
        if !happened(&seen) {
            waited?;
            return Ok((seen, clients));
        }
        if !undoubted(&seen, &clients)?.is_empty() {
            return Ok((seen, clients));
        }
        left -= 1;
        ensure!(
            left > 0,
            "the kernel left out calls at each of {} connections, {ROUNDS} times",
            clients.len()
        );
    }
}

/// Wakes up before everybody else, again and again, and makes calls that are watched.
fn preempt(go_on: &AtomicBool) -> Result<()> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: of the calling thread; the parameter lives until the call is over.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    ensure!(done == 0, "sched_setscheduler: {}", std::io::Error::last_os_error());
    while go_on.load(Ordering::Relaxed) {
        // SAFETY: there is no descriptor of this number, and no buffer is named.
        unsafe {
            libc::read(-1, std::ptr::null_mut(), 0);
            libc::write(-1, std::ptr::null(), 0);
            libc::send(-1, std::ptr::null(), 0, 0);
            libc::recv(-1, std::ptr::null_mut(), 0, 0);
            libc::accept(-1, std::ptr::null_mut(), std::ptr::null_mut());
            libc::close(-1);
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Told rightly, or said to be incomplete, or, where the accept itself was left out, not told.
fn judge(seen: &Seen, peer: &str) -> Result<()> {
    let Ok(connection) = seen.of(peer) else { return Ok(()) };
    let right = connection.outcome == Outcome::Greeted && connection.lookups.len() == 2;
    ensure!(
        right || !connection.complete,
        "{peer} is told to be complete, as {:?} with {:?}",
        connection.outcome,
        connection.lookups
    );
    Ok(())
}
