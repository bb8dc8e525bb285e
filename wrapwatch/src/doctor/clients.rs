//! A server's own question for its recent clients: their names, asked at its nameservers from its network, as a wrapper check will ask.
//!
//! Bounded: eight clients, each nameserver once for each, side by side, a second for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};

use super::nameservers::answered;
use crate::{
    host::{HostError, nameserver, netns, sockdiag::SockDiag},
    model::doctor::{ClientName, RecentClients},
    wrappers::HostsFile,
};

/// Clients whose names are asked for.
const AT_MOST: usize = 8;

/// The clients of these listeners, in the network namespace of process `viewer`. `hosts` is what is asked before DNS.
pub(super) fn examine(
    viewer: u32,
    listeners: &[SocketAddr],
    nameservers: &[IpAddr],
    hosts: Option<&HostsFile>,
) -> RecentClients {
    let failed =
        |error: HostError| RecentClients { error: Some(error.to_string()), ..RecentClients::default() };
    let seen = match recent(viewer, listeners) {
        Ok(seen) => seen,
        Err(error) => return failed(error),
    };
    let needs_dns = |client: &IpAddr| hosts.and_then(|hosts| hosts.reverse(*client)).is_none();
    let mut clients: Vec<(IpAddr, bool)> =
        seen.iter().map(|(client, connected)| (*client, *connected)).collect();
    clients.retain(|(client, _)| needs_dns(client));
    let need_no_dns = (seen.len() - clients.len()) as u64;
    clients.sort_by_key(|(_, connected)| !connected);
    clients.truncate(AT_MOST);
    let counted = RecentClients { seen: seen.len() as u64, need_no_dns, ..RecentClients::default() };
    let questions: Vec<(IpAddr, IpAddr)> =
        clients.iter().flat_map(|(client, _)| nameservers.iter().map(|server| (*server, *client))).collect();
    let answers = match netns::within(viewer, || Ok(nameserver::ask_all(&questions))) {
        Ok(answers) => answers,
        Err(error) => return RecentClients { error: Some(error.to_string()), ..counted },
    };
    let mut answers = answers.into_iter().zip(&questions);
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
    RecentClients { asked, ..counted }
}

/// Whoever has or had a connection to one of the listeners, and whether there is one now.
fn recent(viewer: u32, listeners: &[SocketAddr]) -> Result<BTreeMap<IpAddr, bool>, HostError> {
    let mut diag = SockDiag::open(viewer)?;
    let ports: BTreeSet<u16> = listeners.iter().map(SocketAddr::port).collect();
    let mut seen: BTreeMap<IpAddr, bool> = BTreeMap::new();
    let ended = StateFlags::TIME_WAIT
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING;
    for (states, connected) in [(StateFlags::ESTABLISHED, true), (ended, false)] {
        for port in &ports {
            for socket in diag.dump(IPPROTO_TCP, &states, *port)? {
                if listeners.iter().any(|listener| is_of(listener, &socket.local)) {
                    *seen.entry(socket.peer.ip().to_canonical()).or_insert(connected) |= connected;
                }
            }
        }
    }
    Ok(seen)
}

/// Whether a connection with this end came to a listener; another server may listen on another address of the same port.
fn is_of(listener: &SocketAddr, local: &SocketAddr) -> bool {
    let (at, ip) = (listener.ip(), local.ip().to_canonical());
    // An IPv6 listener takes IPv4 as well, unless told otherwise.
    let any = at.is_unspecified() && (at.is_ipv6() || ip.is_ipv4());
    listener.port() == local.port() && (any || at.to_canonical() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_of_the_listener_on_its_address() {
        for (listener, local, expected) in [
            ("0.0.0.0:3306", "10.0.2.1:3306", true),
            ("0.0.0.0:3306", "[2001:db8::1]:3306", false),
            ("0.0.0.0:3306", "10.0.2.1:3307", false),
            ("[::]:3306", "10.0.2.1:3306", true),
            ("[::]:3306", "[::1]:3306", true),
            ("127.0.0.1:3306", "127.0.0.1:3306", true),
            ("127.0.0.1:3306", "127.0.0.2:3306", false),
            ("127.0.0.1:3306", "[::ffff:127.0.0.1]:3306", true),
        ] {
            let (listener, local) = (listener.parse().unwrap(), local.parse().unwrap());
            assert_eq!(is_of(&listener, &local), expected, "{listener} {local}");
        }
    }

    #[test]
    fn another_servers_clients_on_the_same_port_are_not_asked_for() {
        use std::net::{TcpListener, TcpStream};
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let theirs = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let _client = TcpStream::connect(theirs.local_addr().unwrap()).unwrap();
        let seen = |listener: &TcpListener, hosts: &str| {
            let hosts = HostsFile::parse(hosts.as_bytes());
            let found = examine(std::process::id(), &[listener.local_addr().unwrap()], &[], Some(&hosts));
            (found.seen, found.need_no_dns, found.asked.len(), found.error)
        };
        assert_eq!(seen(&ours, ""), (0, 0, 0, None));
        // The machine's own address is asked for like any other.
        assert_eq!(seen(&theirs, ""), (1, 0, 1, None));
        assert_eq!(seen(&theirs, "127.0.0.1 localhost\n"), (1, 1, 0, None));
        let nobody = examine(u32::MAX / 2, &[ours.local_addr().unwrap()], &[], None);
        assert!(nobody.error.is_some(), "{nobody:?}");
    }
}
