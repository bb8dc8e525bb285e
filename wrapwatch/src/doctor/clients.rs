//! A server's own question for its recent clients: their names, asked at its nameservers from its network, as a wrapper check will ask.
//!
//! Bounded: eight clients, each nameserver once for each, side by side, a second for all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};

use super::resolver::answered;
use crate::{
    host::{HostError, nameserver, netns, sockdiag::SockDiag},
    model::doctor::{ClientName, RecentClients},
    wrappers::HostsFile,
};

/// Clients whose names are asked for.
const AT_MOST: usize = 8;

/// The clients of listeners on these ports, in the network namespace of process `viewer`.
pub(super) fn examine(
    viewer: u32,
    ports: &[u16],
    nameservers: &[IpAddr],
    hosts: &HostsFile,
) -> Result<RecentClients, HostError> {
    let mut diag = SockDiag::open(viewer)?;
    // Those connected now first.
    let mut seen: BTreeMap<IpAddr, bool> = BTreeMap::new();
    let ended = StateFlags::TIME_WAIT
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING;
    for (states, connected) in [(StateFlags::ESTABLISHED, true), (ended, false)] {
        for port in ports {
            for socket in diag.dump(IPPROTO_TCP, &states, *port)? {
                *seen.entry(socket.peer.ip().to_canonical()).or_insert(connected) |= connected;
            }
        }
    }
    let needs_dns = |address: &IpAddr| !address.is_loopback() && hosts.reverse(*address).is_none();
    let mut clients: Vec<(IpAddr, bool)> =
        seen.iter().map(|(client, connected)| (*client, *connected)).collect();
    clients.retain(|(client, _)| needs_dns(client));
    let need_no_dns = (seen.len() - clients.len()) as u64;
    clients.sort_by_key(|(_, connected)| !connected);
    clients.truncate(AT_MOST);
    let questions: Vec<(IpAddr, IpAddr)> =
        clients.iter().flat_map(|(client, _)| nameservers.iter().map(|server| (*server, *client))).collect();
    let mut answers =
        netns::within(viewer, || Ok(nameserver::ask_all(&questions)))?.into_iter().zip(&questions);
    let asked = clients
        .into_iter()
        .map(|(client, connected)| ClientName {
            client,
            connected,
            answers: answers
                .by_ref()
                .take(nameservers.len())
                .map(|(asked, (server, _))| answered(*server, asked))
                .collect(),
        })
        .collect();
    Ok(RecentClients { seen: seen.len() as u64, need_no_dns, asked })
}
