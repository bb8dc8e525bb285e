//! Addresses in records of every kind.

use std::mem::offset_of;

use wrapwatch_common::records as abi;
use zerocopy::IntoBytes as _;

use super::super::{names::Names, records::Records, text::Text};
use super::*;
use crate::decode::addr::from_socket_addr;

/// How long a body of this kind is, and where in it addresses stand.
fn addresses(kind: abi::Kind) -> (usize, Vec<usize>) {
    use abi::Kind;
    match kind {
        Kind::Accept => (size_of::<abi::Accept>(), vec![offset_of!(abi::Accept, peer)]),
        Kind::AcceptSocket => {
            let at = vec![offset_of!(abi::AcceptSocket, local), offset_of!(abi::AcceptSocket, peer)];
            (size_of::<abi::AcceptSocket>(), at)
        }
        Kind::Connect => (size_of::<abi::Connect>(), vec![offset_of!(abi::Connect, addr)]),
        Kind::Send | Kind::Recv => (size_of::<abi::Payload>(), vec![offset_of!(abi::Payload, addr)]),
        Kind::SockState => {
            let at = vec![offset_of!(abi::SockState, local), offset_of!(abi::SockState, peer)];
            (size_of::<abi::SockState>(), at)
        }
        Kind::SockError => {
            let at = vec![offset_of!(abi::SockError, local), offset_of!(abi::SockError, peer)];
            (size_of::<abi::SockError>(), at)
        }
        Kind::Subject => (size_of::<abi::Subject>(), vec![offset_of!(abi::Subject, peer)]),
        // Whoever adds a kind has to say.
        Kind::Open
        | Kind::Io
        | Kind::Close
        | Kind::Shutdown
        | Kind::FirstPacket
        | Kind::Peer
        | Kind::Wait
        | Kind::Rule
        | Kind::Check
        | Kind::Exit
        | Kind::Exec
        | Kind::AcceptFailed
        | Kind::Fork
        | Kind::Request
        | Kind::Login => (0, Vec::new()),
    }
}

#[test]
fn no_address_is_left_in_a_record_of_any_kind() {
    const SECRET: [u8; 4] = [10, 77, 9, 201];
    let addr = from_socket_addr((SECRET, 40_000).into());
    let text = Text::new(Names::new(key()));
    let mut seen = 0;
    for &kind in abi::Kind::ALL {
        let (size, places) = addresses(kind);
        for at in places {
            let mut record = vec![0; size];
            record[offset_of!(abi::Header, kind)..][..2].copy_from_slice(&(kind as u16).to_ne_bytes());
            record[at..at + size_of::<abi::Addr>()].copy_from_slice(addr.as_bytes());
            let mut copy = Vec::new();
            Records::new(key()).map(&text, &record, &mut copy);
            assert_eq!(copy.len(), size, "{kind:?} is copied");
            assert!(!contains(&copy, &SECRET), "{kind:?}, byte {at}");
            seen += 1;
        }
    }
    assert_eq!(seen, 11);
}
