//! Findings: each a detector in a file of its own that sees every connection once, remembers little, and at the end tells what it can prove.

mod accept_thread_saturated;
mod accepts_failed;
mod blocking_spawn;
mod clients_dropped;
mod clients_gave_up;
mod clients_refused;
mod dns_in_accept_path;
mod events_lost;
mod forward_mismatch;
mod ident_rule;
mod names_before_addresses;
mod nameservers;
mod ptr_missing;
mod queue_overflow;
mod refused_unknown;
mod search_list_queries;
mod server_own_lookups;
mod support;
mod syn_cookies;
mod table_unreadable;
mod time_wait;
mod twist;
mod verdict_flipped;
mod wrapped;

use std::net::IpAddr;

use crate::context::Context as Facts;
use crate::model::{Connection, Finding, Summary};

use super::load::{Load, Stretch};
use super::server::Server;

/// A connection and what is known besides it when it is told.
pub(super) struct Seen<'a> {
    pub connection: &'a Connection,
    /// The client's address.
    pub client: Option<IpAddr>,
    pub facts: &'a Facts,
}

/// Everything at the end.
pub(super) struct Case<'a> {
    pub summary: &'a Summary,
    pub facts: &'a Facts,
    pub load: &'a Load,
    /// The busiest accept thread's longest stretch of checks back to back.
    pub stretch: Stretch,
    /// How long the trace lasted.
    pub elapsed_ns: u64,
    /// Which server it is, for texts.
    pub server: &'a Server,
}

/// Finds one thing, or a few of a kind.
pub(super) trait Detector: std::fmt::Debug + Send {
    /// Looks at a connection.
    fn see(&mut self, _seen: &Seen<'_>) {}

    /// Looks at a request: what is said of accept threads and greetings does not hold for it.
    fn see_request(&mut self, _seen: &Seen<'_>) {}

    /// Tells what was found.
    fn tell(&self, case: &Case<'_>) -> Vec<Finding>;
}

#[cfg(test)]
mod tests;

/// One of each.
pub(super) fn detectors() -> Vec<Box<dyn Detector>> {
    vec![
        Box::<table_unreadable::TableUnreadable>::default(),
        Box::<accepts_failed::AcceptsFailed>::default(),
        Box::<accept_thread_saturated::AcceptThreadSaturated>::default(),
        Box::<queue_overflow::QueueOverflow>::default(),
        Box::<syn_cookies::SynCookies>::default(),
        Box::<clients_dropped::ClientsDropped>::default(),
        Box::<clients_refused::ClientsRefused>::default(),
        Box::<clients_gave_up::ClientsGaveUp>::default(),
        Box::<nameservers::Nameservers>::default(),
        Box::<dns_in_accept_path::DnsInAcceptPath>::default(),
        Box::<names_before_addresses::NamesBeforeAddresses>::default(),
        Box::<ptr_missing::PtrMissing>::default(),
        Box::<forward_mismatch::ForwardMismatch>::default(),
        Box::<verdict_flipped::VerdictFlipped>::default(),
        Box::<refused_unknown::RefusedUnknown>::default(),
        Box::<ident_rule::IdentRule>::default(),
        Box::<blocking_spawn::BlockingSpawn>::default(),
        Box::<twist::Twist>::default(),
        Box::<search_list_queries::SearchListQueries>::default(),
        Box::<server_own_lookups::ServerOwnLookups>::default(),
        Box::<time_wait::TimeWait>::default(),
        Box::<wrapped::Wrapped>::default(),
        Box::<events_lost::EventsLost>::default(),
    ]
}

/// The findings, worst first; of equals in the order of the list above.
pub(super) fn tell(detectors: &[Box<dyn Detector>], case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = detectors.iter().flat_map(|detector| detector.tell(case)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
