//! Who is behind a nameserver of this host: the process that has the socket, and whom it asks itself as its configuration files say.
//!
//! What a program was told while it runs (D-Bus, unbound-control) stands in no file. dnsmasq's and unbound's files are read; of others it is not known.

mod dnsmasq;
mod unbound;

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_sock_diag::{constants::IPPROTO_UDP, inet::StateFlags};

use super::configuration::{Host, Source};
use super::nameservers::{STUBS, ask};
use crate::{
    host::{
        HostError, holders,
        process::ProcessInfo,
        sockdiag::{Found, SockDiag},
    },
    model::doctor::{Forwarder, Holder},
};

const PORT: u16 = 53;

/// What a program's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Upstreams {
    /// Those that it asks for any name.
    any: Vec<IpAddr>,
    /// It asks others for some domains.
    others: bool,
    /// It asks the servers of each zone, from the root's on.
    recursive: bool,
}

/// Those of `servers` that are on this host, as process `viewer` reaches them; systemd-resolved says of itself whom it asks.
pub(super) fn examine(viewer: u32, servers: &[IpAddr], queries: bool) -> Vec<Forwarder> {
    let own = |server: &&IpAddr| !STUBS.contains(server);
    let sockets = match sockets(viewer) {
        Ok(sockets) => sockets,
        Err(error) => {
            let loopback = servers.iter().filter(own).filter(|server| server.is_loopback());
            return loopback.map(|&server| unknown(server, error.why())).collect();
        }
    };
    let here: Vec<(IpAddr, Vec<u64>)> = servers
        .iter()
        .filter(own)
        .map(|&server| (server, inodes_at(&sockets, server)))
        .filter(|(server, inodes)| server.is_loopback() || !inodes.is_empty())
        .collect();
    if here.is_empty() {
        return Vec::new();
    }
    let wanted: BTreeSet<u64> = here.iter().flat_map(|(_, inodes)| inodes).copied().collect();
    let holders = holders::find(viewer, &wanted).unwrap_or_default();
    here.into_iter()
        .map(|(server, inodes)| {
            let mut held: Vec<&Holder> =
                inodes.iter().filter_map(|inode| holders.by_inode.get(inode)).flatten().collect();
            held.sort_by_key(|holder| (!is_read(&holder.comm), holder.pid));
            match held.first() {
                Some(holder) => read(server, holder, queries),
                None if inodes.is_empty() => {
                    unknown(server, "no socket of this network has that address and port 53".to_owned())
                }
                None => unknown(server, "cannot tell who has the socket".to_owned()),
            }
        })
        .collect()
}

/// UDP sockets of port 53 in the network of a process.
fn sockets(viewer: u32) -> Result<Vec<Found>, HostError> {
    SockDiag::open(viewer)?.dump(IPPROTO_UDP, &StateFlags::all(), PORT)
}

/// The sockets that get what is sent to `server`: its own, else those of any address.
fn inodes_at(sockets: &[Found], server: IpAddr) -> Vec<u64> {
    let of = |wanted: fn(IpAddr, IpAddr) -> bool| -> Vec<u64> {
        let receives = |socket: &&Found| socket.local.port() == PORT && socket.peer.port() == 0;
        let sockets = sockets.iter().filter(receives).filter(|socket| wanted(socket.local.ip(), server));
        sockets.map(|socket| socket.inode).filter(|&inode| inode != 0).collect()
    };
    let own = of(|local, server| local == server);
    if own.is_empty() && server.is_loopback() { of(|local, _| local.is_unspecified()) } else { own }
}

fn is_read(program: &str) -> bool {
    matches!(program, "dnsmasq" | "unbound")
}

fn unknown(server: IpAddr, why: String) -> Forwarder {
    Forwarder {
        server,
        pid: None,
        program: None,
        files: Vec::new(),
        upstreams: Vec::new(),
        others: false,
        recursive: false,
        doubt: Some(why),
    }
}

fn read(server: IpAddr, holder: &Holder, queries: bool) -> Forwarder {
    let Holder { pid, ref comm, .. } = *holder;
    let mut source = Host::new(pid);
    let cmdline = ProcessInfo::read(pid).map(|info| info.cmdline);
    let found = match (comm.as_str(), &cmdline) {
        ("dnsmasq", Ok(cmdline)) => dnsmasq::read(&mut source, cmdline, server),
        ("unbound", Ok(cmdline)) => unbound::read(&mut source, cmdline),
        (_, Err(error)) => doubtful(&mut source, error.why()),
        (_, Ok(_)) => {
            doubtful(&mut source, "of dnsmasq and unbound alone the configuration is read".to_owned())
        }
    };
    Forwarder {
        server,
        pid: Some(pid),
        program: Some(comm.clone()),
        upstreams: ask(pid, &found.any, queries),
        others: found.others,
        // What was not read may say otherwise.
        recursive: found.recursive && source.doubt.is_none(),
        files: source.files,
        doubt: source.doubt,
    }
}

fn doubtful(source: &mut dyn Source, why: String) -> Upstreams {
    source.doubt(why);
    Upstreams::default()
}

/// An upstream's address and what follows it: a port (behind `port_mark`), a scope, an interface or a name. What is not asked as every nameserver
/// is, is a doubt.
fn address(source: &mut dyn Source, text: &str, port_mark: char) -> Option<IpAddr> {
    let other = if port_mark == '#' { '@' } else { '#' };
    let text = text.split(other).next().unwrap_or_default();
    let (host, port) = text.split_once(port_mark).map_or((text, None), |(host, port)| (host, Some(port)));
    let Ok(address) = host.split('%').next().unwrap_or_default().parse() else {
        source.doubt(format!("it asks {text}, which is no address"));
        return None;
    };
    if let Some(port) = port.filter(|&port| port != "53") {
        source.doubt(format!("it asks {address} at port {port}, where nobody was asked here"));
        return None;
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(local: &str, peer: &str, inode: u64) -> Found {
        let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
        Found { inode, local, peer, recv_queue: 0, send_queue: 0, data_segments_out: None }
    }

    #[test]
    fn a_nameserver_of_this_host_is_who_has_its_socket() {
        let sockets = [
            socket("127.0.0.1:53", "0.0.0.0:0", 1),
            socket("0.0.0.0:53", "0.0.0.0:0", 2),
            socket("10.0.0.9:53", "0.0.0.0:0", 3),
            socket("10.0.0.8:53", "10.1.1.1:4000", 4),
        ];
        let at = |server: &str| inodes_at(&sockets, server.parse().unwrap());
        assert_eq!(at("127.0.0.1"), [1], "the socket of the address comes before that of any");
        assert_eq!(at("127.0.0.2"), [2]);
        assert_eq!(at("10.0.0.9"), [3]);
        assert_eq!((at("10.0.0.8"), at("10.0.0.7")), (vec![], vec![]), "another host, as far as is known");
    }

    #[test]
    fn an_upstream_that_is_not_asked_as_nameservers_are_is_a_doubt() {
        use crate::doctor::configuration::tests::Texts;
        let read = |text: &str, mark| {
            let mut source = Texts::default();
            (address(&mut source, text, mark).map(|ip| ip.to_string()), source.doubt.is_some())
        };
        let known = |ip: &str| (Some(ip.to_owned()), false);
        assert_eq!(read("10.1.1.53", '#'), known("10.1.1.53"));
        assert_eq!(read("10.1.1.53#53@eth0", '#'), known("10.1.1.53"));
        assert_eq!(read("fe80::1%eth0", '#'), known("fe80::1"));
        assert_eq!(read("10.1.1.53@53#dns.example", '@'), known("10.1.1.53"));
        for (text, mark) in
            [("10.1.1.53#5353", '#'), ("10.1.1.53@853#dns.example", '@'), ("dns.example", '#')]
        {
            assert_eq!(read(text, mark), (None, true), "{text}");
        }
    }
}
