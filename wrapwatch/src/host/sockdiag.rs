//! Asking the kernel about sockets of one network namespace: inet_diag and unix_diag (sock_diag(7)).
//!
//! Always with a filter on state or port: `/proc/net/tcp` is never read, for the kernel formats every socket of the machine for it.

use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
    unix::{
        self, ShowFlags, UnixRequest, UnixResponse,
        nlas::{Nla as UnixNla, UnixDiagName},
    },
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use super::{HostError, netns};

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Inode, as `/proc/PID/fd` shows it; 0 where no process holds it.
    pub inode: u64,
    /// This side, v4-mapped addresses as v4.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
    /// For a listener: connections in its accept queue.
    pub recv_queue: u32,
    /// For a listener: the queue's limit.
    pub send_queue: u32,
    /// Segments with data sent so far; None where the kernel does not say.
    pub data_segments_out: Option<u32>,
}

/// A listening unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLocal {
    /// Inode, as `/proc/PID/fd` shows it.
    pub inode: u64,
    /// Its path; an abstract name behind `@`.
    pub path: String,
    /// Connections in its accept queue, and the queue's limit.
    pub queue: Option<(u32, u32)>,
}

/// A netlink socket that stays in the namespace it was opened in.
pub struct SockDiag {
    socket: Socket,
}

impl std::fmt::Debug for SockDiag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SockDiag").finish_non_exhaustive()
    }
}

impl SockDiag {
    /// Opens it in the network namespace of `pid`.
    pub fn open(pid: u32) -> Result<Self, HostError> {
        let socket =
            netns::within(pid, || Socket::new(NETLINK_SOCK_DIAG).map_err(|e| HostError::io("sock_diag", e)))?;
        Ok(Self { socket })
    }

    /// All sockets of a protocol in these states; only those with this local port, unless it is 0. IPv4 and IPv6.
    pub fn dump(
        &mut self,
        protocol: u8,
        states: &StateFlags,
        local_port: u16,
    ) -> Result<Vec<Found>, HostError> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.ask(request(family, protocol, states.clone(), local_port), |answer| {
                if let SockDiagMessage::InetResponse(response) = answer {
                    found.push(inet(&response));
                }
            })?;
        }
        Ok(found)
    }

    /// All unix sockets that listen.
    pub fn local_listeners(&mut self) -> Result<Vec<FoundLocal>, HostError> {
        let mut found = Vec::new();
        let request = UnixRequest {
            state_flags: unix::StateFlags::LISTEN,
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::RQLEN,
            cookie: [0xff; 8],
        };
        self.ask(SockDiagMessage::UnixRequest(request), |answer| {
            if let SockDiagMessage::UnixResponse(response) = answer {
                found.push(local(&response));
            }
        })?;
        Ok(found)
    }

    fn ask(
        &mut self,
        request: SockDiagMessage,
        mut take: impl FnMut(SockDiagMessage),
    ) -> Result<(), HostError> {
        self.socket.send(&message(request), 0).map_err(|e| HostError::io("sock_diag", e))?;
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(|e| HostError::io("sock_diag", e))?;
            if parse(&bytes, &mut take)? {
                return Ok(());
            }
        }
    }
}

fn request(family: u8, protocol: u8, states: StateFlags, local_port: u16) -> SockDiagMessage {
    let mut socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    socket_id.source_port = local_port;
    let extensions = ExtensionFlags::INFO;
    SockDiagMessage::InetRequest(InetRequest { family, protocol, extensions, states, socket_id })
}

fn message(request: SockDiagMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn inet(response: &InetResponse) -> Found {
    let header = &response.header;
    let id = &header.socket_id;
    let data_segments_out = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info.data_segs_out),
        _ => None,
    });
    Found {
        inode: u64::from(header.inode),
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        recv_queue: header.recv_queue,
        send_queue: header.send_queue,
        data_segments_out,
    }
}

fn local(response: &UnixResponse) -> FoundLocal {
    let mut found = FoundLocal { inode: u64::from(response.header.inode), path: String::new(), queue: None };
    for nla in &response.nlas {
        match nla {
            UnixNla::Name(UnixDiagName::Pathname(path)) => found.path = path.to_string_lossy().into_owned(),
            UnixNla::Name(UnixDiagName::Abstract(name)) => {
                found.path = format!("@{}", String::from_utf8_lossy(name));
            }
            UnixNla::ReceiveQueueLength(queued, limit) => found.queue = Some((*queued, *limit)),
            _ => {}
        }
    }
    found
}

/// Takes one datagram's messages; true at the end of the dump.
fn parse(mut bytes: &[u8], take: &mut impl FnMut(SockDiagMessage)) -> Result<bool, HostError> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
            .map_err(|e| HostError::Unusable { what: "sock_diag's answer".into(), why: e.to_string() })?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(HostError::io("sock_diag", error.to_io())),
            NetlinkPayload::InnerMessage(answer) => take(answer),
            _ => {}
        }
        // Netlink messages are aligned to 4 bytes (netlink(7)).
        let step = (message.header.length as usize).next_multiple_of(4).max(4);
        bytes = bytes.get(step..).unwrap_or_default();
    }
    Ok(false)
}
