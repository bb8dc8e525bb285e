//! Descriptors and calls have slots on the kernel side, by the descriptor's number and by the thread's. A server with so many descriptors open that its connections
//! have numbers beyond them ([`FD_SLOTS`]), and one with two threads that share a slot ([`CALL_SLOTS`]): their connections are told as any other.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{Connection, LookupKind, Outcome, QueryOutcome};
use wrapwatch_common::maps::{CALL_SLOTS, FD_SLOTS, call_slot};
use wrapwatch_tests::{
    clients::{self, ClientResult, ClientsSpec},
    watch::{Seen, Watch},
};

use super::skipped;
use crate::{
    report::Report,
    site::{NS1, Site, StandIn},
};

const PORT: u16 = 3308;
/// Where a server's second accept thread listens.
const NEXT_PORT: u16 = PORT + 1;

/// The tests.
pub(super) fn run(report: &mut Report, site: &Site) {
    let at_once = |port, n| site.clients(&ClientsSpec { port, ..ClientsSpec::at_once(n) });
    let one_by_one = |port, n| site.clients(&ClientsSpec { port, ..ClientsSpec::one_by_one(n) });

    report.test("descriptors beyond the slots", || {
        let server = StandIn::start(PORT, FD_SLOTS)?;
        // The numbers of the first are used again.
        let come = || Ok([one_by_one(PORT, 3)?, at_once(PORT, 3)?].concat());
        told(&server, come, 0)?;
        Ok(())
    });
    report.test("threads that share a slot", || {
        let server = StandIn::with_neighbour(PORT, CALL_SLOTS)?;
        // After its first client the second thread is back in `accept`, a call that was seen to begin: it has the slot, whatever the first thread does. Of that client
        // the call began before the trace, and but for raw tracepoints nothing says who it is.
        let come = || {
            let by_turns = [one_by_one(NEXT_PORT, 1)?, one_by_one(PORT, 3)?, one_by_one(NEXT_PORT, 1)?];
            Ok([by_turns.concat(), at_once(PORT, 3)?].concat())
        };
        let seen = told(&server, come, 1)?;
        let threads: BTreeSet<u32> = seen.connections().iter().map(|connection| connection.tid).collect();
        let slots: BTreeSet<u32> = threads.iter().map(|tid| call_slot(*tid)).collect();
        ensure!(threads.len() == 2 && slots.len() == 1, "threads {threads:?} in slots {slots:?}");
        Ok(())
    });
}

/// Has clients come, and holds against them what is told; the first ones are only counted.
fn told(server: &StandIn, come: impl Fn() -> Result<Vec<ClientResult>>, first: usize) -> Result<Seen> {
    let (seen, clients) = skipped::watched(|| Watch::pid(server.pid()), come)?;
    for client in &clients {
        ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
    }
    for client in skipped::undoubted(&seen, clients.get(first..).unwrap_or_default())? {
        whole(of(&seen, client)?)?;
    }
    let summary = seen.summary()?;
    let all = summary.accepts == clients.len() as u64 || skipped::happened(&seen);
    ensure!(all, "{} accepts", summary.accepts);
    ensure!(summary.connections == summary.accepts, "told of {}", summary.connections);
    Ok(seen)
}

fn of<'a>(seen: &'a Seen, client: &ClientResult) -> Result<&'a Connection> {
    seen.of(&client.source.context("a client has no address")?.to_string())
}

/// Nothing is missing of it: its wait, its queries, its rule, its end.
fn whole(connection: &Connection) -> Result<()> {
    ensure!(connection.complete, "not all was seen: {:?}", connection.missing);
    ensure!(connection.outcome == Outcome::Greeted, "told as {:?}", connection.outcome);
    ensure!(connection.queued_ns.is_some(), "its wait in the accept queue was not seen");
    ensure!(connection.parts.total() == connection.wrapper_ns, "the check's parts do not add up");
    for kind in [LookupKind::Reverse, LookupKind::Forward] {
        let lookup = connection.lookups.iter().find(|lookup| lookup.kind == kind);
        let lookup = lookup.with_context(|| format!("no {kind:?} lookup: {:?}", connection.lookups))?;
        let asked: Vec<_> = lookup.queries.iter().map(|query| (&*query.server, query.outcome)).collect();
        let server = format!("{NS1}:53");
        ensure!(asked == [(server.as_str(), QueryOutcome::Answered)], "{kind:?}: {asked:?}");
    }
    let rule = connection.rule.as_ref().context("no rule asked for the lookup")?;
    ensure!((&*rule.file, rule.line) == ("/etc/hosts.allow", 1), "the wrong rule: {rule:?}");
    Ok(())
}
