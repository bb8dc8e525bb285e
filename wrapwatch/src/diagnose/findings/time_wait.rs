//! About as many sockets in TIME_WAIT as there are local ports: what is seen first in such an outage, and never its cause.

use crate::model::{Evidence, Finding, FindingId, Severity, Share};

use super::support::finding;
use super::{Case, Detector};

/// Share of the port range from which on it looks as if ports had run out.
const NEAR: f64 = 0.8;

#[derive(Debug, Default)]
pub(super) struct TimeWait;

impl Detector for TimeWait {
    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let near = case.facts.netns.values().find_map(|digest| {
            let (low, high) = digest.port_range?;
            let ports = u64::from(high.checked_sub(low)?) + 1;
            let sockets = digest.time_wait_max?;
            (Share::of(sockets, ports).0 >= NEAR).then_some((sockets, ports))
        });
        let Some((sockets, ports)) = near else { return Vec::new() };
        let message = format!(
            "{sockets} sockets in TIME_WAIT, about as many as there are local ports ({ports}): on a server they cost nothing, for they take no local port."
        );
        let evidence = Evidence {
            facts: vec![format!("{sockets} in TIME_WAIT, {ports} in ip_local_port_range")],
            ..Evidence::default()
        };
        let change = "Leave ip_local_port_range and tcp_tw_reuse alone: both concern connections that this machine opens, not those it accepts. Many short \
                      connections come from clients that try again; cure the wait, or use a connection pool.";
        vec![finding(
            FindingId::TimeWaitNearPortRange,
            Severity::Info,
            message,
            evidence,
            Some(change.into()),
        )]
    }
}
