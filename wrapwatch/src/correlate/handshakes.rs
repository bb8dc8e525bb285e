//! Handshakes that were completed and not yet accepted: the beginning of a client's wait.
//!
//! A client of a unix socket has none: the beginning of its wait stands for it.
//!
//! A socket that turned ESTABLISHED waits here until `accept` returns it. Listening ports collide across network namespaces, so
//! connections nobody will ever accept come in too; they leave when their server closes them, and the oldest go when
//! there are too many.

use std::collections::VecDeque;
use std::net::SocketAddr;

use smallvec::SmallVec;
use wrapwatch_common::records as abi;

use super::map::HashMap;
use crate::decode::addr::{client, socket_addr};
use crate::model::{Client, KtimeNs, LeaveKind};

/// States of include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;

/// A completed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    pub sk: u64,
    /// None of a unix socket.
    pub local: Option<SocketAddr>,
    pub peer: Client,
    pub netns: u32,
    pub at: KtimeNs,
    /// The client's leaving, where it left before it was accepted.
    pub left: Option<(LeaveKind, KtimeNs)>,
}

/// Result of looking for the handshake of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This one.
    One(Handshake),
    /// Several fit, and nothing tells them apart.
    Ambiguous,
    /// None was seen.
    None,
}

/// Whose handshake is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub peer: SocketAddr,
    /// The listener's port; `None` where the listener is not known.
    pub port: Option<u16>,
    /// 0 where it is not known.
    pub netns: u32,
}

/// What a socket state means for whoever watches the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The handshake is complete.
    Established,
    /// The client left.
    Left(LeaveKind),
    /// The server closed it: somebody had accepted it.
    ServerClosed,
    /// Nothing of interest.
    Nothing,
}

/// What a change of state says (tcp(7), RFC 9293 3.3.2).
pub(super) const fn step(old: u8, new: u8) -> Step {
    match (old, new) {
        (SYN_RECV, ESTABLISHED) => Step::Established,
        (ESTABLISHED, CLOSE_WAIT) => Step::Left(LeaveKind::Fin),
        (ESTABLISHED | CLOSE_WAIT, CLOSE) => Step::Left(LeaveKind::Rst),
        (ESTABLISHED | CLOSE_WAIT, _) => Step::ServerClosed,
        _ => Step::Nothing,
    }
}

/// All that wait to be accepted.
#[derive(Debug)]
pub(super) struct Handshakes {
    by_sk: HashMap<u64, (u64, Handshake)>,
    /// Sockets of one client address and port, oldest first.
    by_peer: HashMap<SocketAddr, SmallVec<[u64; 2]>>,
    /// Number and socket in the order they came, for the bound. A list: nearly all leave from one of its ends.
    by_age: VecDeque<(u64, u64)>,
    next: u64,
    limit: usize,
    dropped: u64,
}

impl Handshakes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_sk: HashMap::default(),
            by_peer: HashMap::default(),
            by_age: VecDeque::new(),
            next: 0,
            limit: limit.max(1),
            dropped: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_sk.len()
    }

    /// How many were dropped because there were too many.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Handshake> {
        self.by_age.iter().filter_map(|(_, sk)| self.by_sk.get(sk)).map(|(_, handshake)| handshake)
    }

    /// A handshake was completed. The kernel reuses socket structures, so one with the same address replaces the other.
    pub(super) fn establish(&mut self, record: &abi::SockState) {
        let local = socket_addr(&record.local);
        let Some(peer) = client(&record.peer).filter(|peer| local.is_some() || *peer == Client::Unix) else {
            return;
        };
        self.remove(record.sk);
        while self.by_sk.len() >= self.limit {
            let Some(&(_, oldest)) = self.by_age.front() else { break };
            self.remove(oldest);
            self.dropped += 1;
        }
        let handshake = Handshake {
            sk: record.sk,
            local,
            peer,
            netns: record.netns,
            at: KtimeNs(record.hdr.ts_ns),
            left: None,
        };
        self.next += 1;
        self.by_sk.insert(record.sk, (self.next, handshake));
        if let Client::Ip(peer) = peer {
            self.by_peer.entry(peer).or_default().push(record.sk);
        }
        self.by_age.push_back((self.next, record.sk));
    }

    /// A client left before it was accepted.
    pub(super) fn left(&mut self, sk: u64, how: LeaveKind, at: KtimeNs) {
        if let Some((_, handshake)) = self.by_sk.get_mut(&sk) {
            handshake.left.get_or_insert((how, at));
        }
    }

    /// Forgets a socket.
    pub(super) fn remove(&mut self, sk: u64) {
        let Some((age, handshake)) = self.by_sk.remove(&sk) else { return };
        if let Ok(place) = self.by_age.binary_search_by_key(&age, |&(age, _)| age) {
            self.by_age.remove(place);
        }
        let Client::Ip(peer) = handshake.peer else { return };
        if let Some(same) = self.by_peer.get_mut(&peer) {
            same.retain(|other| *other != sk);
            if same.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// Takes the handshake of this very socket.
    pub(super) fn take_socket(&mut self, sk: u64) -> Option<Handshake> {
        let (_, handshake) = *self.by_sk.get(&sk)?;
        self.remove(sk);
        Some(handshake)
    }

    /// Finds and takes the handshake of a connection that `accept` returned, by its ends. Of several in one namespace it is the oldest: accept
    /// queues are first come, first served. Where the namespace of any is not known, several are ambiguous and stay.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Found {
        let Some(same) = self.by_peer.get(&wanted.peer) else { return Found::None };
        let fits = |handshake: &&Handshake| {
            wanted.port.is_none_or(|port| handshake.local.is_none_or(|local| port == local.port()))
                && (wanted.netns == 0 || handshake.netns == 0 || wanted.netns == handshake.netns)
        };
        let mut fitting = same.iter().filter_map(|sk| self.by_sk.get(sk)).map(|(_, h)| h).filter(fits);
        let Some(&first) = fitting.next() else { return Found::None };
        let sure = |handshake: &Handshake| wanted.netns != 0 && handshake.netns != 0 && wanted.port.is_some();
        if let Some(second) = fitting.next()
            && !(sure(&first) && sure(second))
        {
            return Found::Ambiguous;
        }
        self.remove(first.sk);
        Found::One(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::addr::from_socket_addr;

    fn state(sk: u64, peer: &str, netns: u32, ts: u64) -> abi::SockState {
        let header = abi::Header {
            ts_ns: ts,
            conn: 0,
            tgid: 0,
            tid: 0,
            seq: 0,
            kind: abi::Kind::SockState as u16,
            len: 96,
        };
        abi::SockState {
            hdr: header,
            sk,
            local: from_socket_addr("10.0.0.1:3306".parse().unwrap()),
            peer: from_socket_addr(peer.parse().unwrap()),
            netns,
            old: SYN_RECV,
            new: ESTABLISHED,
            pad: 0,
        }
    }

    fn wanted(peer: &str, netns: u32) -> Wanted {
        Wanted { peer: peer.parse().unwrap(), port: Some(3306), netns }
    }

    #[test]
    fn two_namespaces_with_the_same_addresses_are_told_apart_or_nothing_is_said() {
        let mut all = Handshakes::new(10);
        all.establish(&state(1, "10.0.0.9:4000", 77, 5));
        all.establish(&state(2, "10.0.0.9:4000", 88, 6));
        assert_eq!(all.take(&wanted("10.0.0.9:4000", 0)), Found::Ambiguous);
        assert!(matches!(all.take(&wanted("10.0.0.9:4000", 88)), Found::One(h) if h.sk == 2));
        assert_eq!(all.take(&wanted("10.0.0.9:4000", 88)), Found::None);
        assert!(matches!(all.take(&wanted("10.0.0.9:4000", 0)), Found::One(h) if h.sk == 1));
    }

    #[test]
    fn the_same_client_port_again_is_first_come_first_served() {
        let mut all = Handshakes::new(10);
        all.establish(&state(1, "10.0.0.9:4000", 77, 5));
        all.left(1, LeaveKind::Rst, KtimeNs(6));
        all.establish(&state(2, "10.0.0.9:4000", 77, 7));
        let Found::One(first) = all.take(&wanted("10.0.0.9:4000", 77)) else { panic!() };
        assert_eq!((first.sk, first.left), (1, Some((LeaveKind::Rst, KtimeNs(6)))));
    }

    #[test]
    fn memory_is_bounded_and_sockets_are_reused() {
        let mut all = Handshakes::new(3);
        for sk in 0..10 {
            all.establish(&state(sk, "10.0.0.9:4000", 77, sk));
            all.establish(&state(sk, "10.0.0.9:4001", 77, sk));
        }
        assert_eq!((all.len(), all.by_age.len(), all.dropped()), (3, 3, 7));
        assert_eq!(all.by_peer.values().map(SmallVec::len).sum::<usize>(), 3);
    }

    #[test]
    fn a_server_that_closes_is_not_a_client_that_left() {
        assert_eq!(step(ESTABLISHED, 4), Step::ServerClosed);
        assert_eq!(step(CLOSE_WAIT, 9), Step::ServerClosed);
        assert_eq!(step(4, CLOSE), Step::Nothing);
        assert_eq!(step(ESTABLISHED, CLOSE), Step::Left(LeaveKind::Rst));
    }
}
