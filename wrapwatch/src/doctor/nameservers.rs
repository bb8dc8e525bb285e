//! Nameservers, each asked once.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    host::{
        nameserver::{self, Asked},
        netns,
    },
    model::doctor::NameserverState,
};

/// Where systemd-resolved listens for glibc (systemd-resolved.service(8)).
pub(super) const STUBS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// Each asked once, from the network of process `viewer`.
pub(super) fn ask(viewer: u32, servers: &[IpAddr], queries: bool) -> Vec<NameserverState> {
    let unasked = |error: Option<String>| {
        servers
            .iter()
            .map(|&server| NameserverState {
                server,
                asked: None,
                found: None,
                outcome: None,
                rtt_ns: None,
                rcode: None,
                error: error.clone(),
            })
            .collect()
    };
    if !queries || servers.is_empty() {
        return unasked(None);
    }
    // Each for its own name: a question that reveals nothing.
    let questions: Vec<_> = servers.iter().map(|&server| (server, server)).collect();
    match netns::within(viewer, || Ok(nameserver::ask_all(&questions))) {
        Ok(answers) => {
            answers.into_iter().zip(servers).map(|(asked, &server)| answered(server, asked)).collect()
        }
        Err(error) => unasked(Some(error.to_string())),
    }
}

/// What a nameserver did, as it is told.
pub(super) fn answered(server: IpAddr, asked: Asked) -> NameserverState {
    NameserverState {
        server,
        asked: Some(asked.name),
        found: asked.found,
        outcome: Some(asked.outcome),
        rtt_ns: asked.rtt.map(|rtt| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX)),
        rcode: asked.rcode,
        error: asked.error,
    }
}
