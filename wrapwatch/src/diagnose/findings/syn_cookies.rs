//! The kernel answered with SYN cookies: it keeps nothing of such a client, so one whose last packet is dropped for a full queue believes to be connected, and the
//! server never hears of it (tcp(7), `tcp_syncookies`).

use crate::model::{Evidence, Finding, FindingId, Severity};

use super::support::{counted, finding};
use super::{Case, Detector};

#[derive(Debug, Default)]
pub(super) struct SynCookies;

impl Detector for SynCookies {
    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let netns = case.facts.netns.values();
        let (cookies, overflows) = netns.fold((0_u64, 0_u64), |(cookies, overflows), digest| {
            (cookies.saturating_add(digest.syncookies()), overflows.saturating_add(digest.overflows()))
        });
        if cookies == 0 {
            return Vec::new();
        }
        let message = format!(
            "The kernel sent {}: clients may believe that they are connected and hang until they give up, though neither the server nor this trace knows of them.",
            counted(cookies, "SYN cookie", "SYN cookies")
        );
        let facts = vec![format!("SyncookiesSent rose by {cookies}, ListenOverflows by {overflows}")];
        let backlog =
            if case.server.is_mysqld { "back_log of the server".to_owned() } else { case.server.backlog() };
        let change = format!(
            "Cure what holds the accept thread (see the other findings). Until then a queue that is long enough for the rush (raise both {backlog} and net.core.somaxconn) keeps clients where wrapwatch sees them; `wrapwatch ping` on a client's machine counts those that hang."
        );
        let severity = if overflows > 0 { Severity::Critical } else { Severity::Warning };
        let evidence = Evidence { facts, ..Evidence::default() };
        vec![finding(FindingId::SynCookies, severity, message, evidence, Some(change))]
    }
}
