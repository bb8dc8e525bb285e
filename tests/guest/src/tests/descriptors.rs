//! A server with so many descriptors open that its connections have numbers beyond those that the kernel side has a slot for
//! ([`FD_SLOTS`]): they are told as any other.

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{Connection, LookupKind, Outcome, QueryOutcome};
use wrapwatch_common::maps::FD_SLOTS;
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

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    report.test("descriptors beyond the slots", || {
        let server = StandIn::start(PORT, FD_SLOTS)?;
        let come = || {
            let mut clients = site.clients(&ClientsSpec { port: PORT, ..ClientsSpec::one_by_one(3) })?;
            // The numbers of the first are used again.
            clients.extend(site.clients(&ClientsSpec { port: PORT, ..ClientsSpec::at_once(3) })?);
            Ok(clients)
        };
        let (seen, clients) = skipped::watched(|| Watch::pid(server.pid()), come)?;
        for client in &clients {
            ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
        }
        for client in skipped::undoubted(&seen, &clients)? {
            whole(of(&seen, client)?)?;
        }
        let summary = seen.summary()?;
        let all = summary.accepts == clients.len() as u64 || skipped::happened(&seen);
        ensure!(all, "{} accepts", summary.accepts);
        ensure!(summary.connections == summary.accepts, "told of {}", summary.connections);
        Ok(())
    });
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
