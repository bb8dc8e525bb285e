//! The decoder against records made byte by byte, whole, cut and misplaced.

use std::mem::offset_of;

use wrapwatch_common::records as abi;

use super::{DecodeError, Event, decode};

/// Each kind, the size of its body, and where the length of its tail stands.
const KINDS: [(abi::Kind, usize, Option<usize>); 23] = [
    (abi::Kind::Accept, size_of::<abi::Accept>(), None),
    (abi::Kind::Open, size_of::<abi::Open>(), Some(offset_of!(abi::Open, path_len))),
    (abi::Kind::Connect, size_of::<abi::Connect>(), Some(offset_of!(abi::Connect, path_len))),
    (abi::Kind::Send, size_of::<abi::Payload>(), Some(offset_of!(abi::Payload, payload_len))),
    (abi::Kind::Recv, size_of::<abi::Payload>(), Some(offset_of!(abi::Payload, payload_len))),
    (abi::Kind::Io, size_of::<abi::Io>(), None),
    (abi::Kind::Close, size_of::<abi::Close>(), None),
    (abi::Kind::Shutdown, size_of::<abi::Shutdown>(), None),
    (abi::Kind::FirstPacket, size_of::<abi::FirstPacket>(), None),
    (abi::Kind::SockState, size_of::<abi::SockState>(), None),
    (abi::Kind::Peer, size_of::<abi::Peer>(), None),
    (abi::Kind::Wait, size_of::<abi::Wait>(), None),
    (abi::Kind::Rule, size_of::<abi::Rule>(), Some(offset_of!(abi::Rule, file_len))),
    (abi::Kind::Check, size_of::<abi::Check>(), None),
    (abi::Kind::Exit, size_of::<abi::Exit>(), None),
    (abi::Kind::Exec, size_of::<abi::Exec>(), None),
    (abi::Kind::SockError, size_of::<abi::SockError>(), None),
    (abi::Kind::AcceptFailed, size_of::<abi::AcceptFailed>(), None),
    (abi::Kind::AcceptSocket, size_of::<abi::AcceptSocket>(), None),
    (abi::Kind::Fork, size_of::<abi::Fork>(), None),
    (abi::Kind::Request, size_of::<abi::Request>(), Some(offset_of!(abi::Request, daemon_len))),
    (abi::Kind::Subject, size_of::<abi::Subject>(), None),
    (abi::Kind::Login, size_of::<abi::Login>(), None),
];

const TAIL: &[u8] = b"/etc/hosts.allow";

/// A record of this kind, with `TAIL` where it has a tail; every other byte is its own place.
fn record(kind: abi::Kind, body: usize, tail_len_at: Option<usize>) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..u8::MAX).cycle().take(body).collect();
    put_u16(&mut bytes, offset_of!(abi::Header, kind), kind as u16);
    if let Some(at) = tail_len_at {
        put_u16(&mut bytes, at, u16::try_from(TAIL.len()).unwrap());
        bytes.extend_from_slice(TAIL);
    }
    bytes
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

fn tail<'a>(event: &Event<'a>) -> Option<&'a [u8]> {
    match event {
        Event::Open(_, tail)
        | Event::Connect(_, tail)
        | Event::Send(_, tail)
        | Event::Recv(_, tail)
        | Event::Rule(_, tail)
        | Event::Request(_, tail) => Some(tail),
        _ => None,
    }
}

#[test]
fn no_kind_is_left_out_here() {
    assert_eq!(KINDS.map(|(kind, ..)| kind), abi::Kind::ALL);
}

#[test]
fn each_kind_becomes_its_own_event() {
    for (kind, body, tail_len_at) in KINDS {
        let bytes = record(kind, body, tail_len_at);
        let event = decode(&bytes).unwrap();
        assert!(format!("{event:?}").starts_with(&format!("{kind:?}(")), "{kind:?} became {event:?}");
        assert_eq!(event.header().kind, kind as u16);
        assert_eq!(event.header().ts_ns, u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(tail(&event), tail_len_at.map(|_| TAIL), "{kind:?}");
    }
}

#[test]
fn a_record_cut_anywhere_is_short() {
    for (kind, body, tail_len_at) in KINDS {
        let bytes = record(kind, body, tail_len_at);
        for have in 0..bytes.len() {
            match decode(&bytes[..have]) {
                Err(DecodeError::Short { have: said, need }) => {
                    assert_eq!(said, have);
                    assert!(
                        need > have && need <= bytes.len(),
                        "{kind:?}: {need} for {have} of {}",
                        bytes.len()
                    );
                }
                other => panic!("{kind:?} cut at {have}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_follows_a_record_is_not_in_it() {
    for (kind, body, tail_len_at) in KINDS {
        let mut bytes = record(kind, body, tail_len_at);
        let alone = format!("{:?}", decode(&bytes));
        bytes.extend_from_slice(&[0xaa; 8]);
        assert_eq!(format!("{:?}", decode(&bytes)), alone);
    }
}

#[test]
fn alignment_does_not_matter() {
    for (kind, body, tail_len_at) in KINDS {
        let bytes = record(kind, body, tail_len_at);
        let shifted: Vec<u8> = [0xaa].into_iter().chain(bytes.iter().copied()).collect();
        assert_eq!(decode(&shifted[1..]), decode(&bytes));
    }
}

#[test]
fn unknown_kinds_are_named() {
    let next = abi::Kind::ALL.last().map_or(0, |last| *last as u16 + 1);
    for raw in [0, next, u16::MAX] {
        let mut bytes = record(abi::Kind::SockState, size_of::<abi::SockState>(), None);
        put_u16(&mut bytes, offset_of!(abi::Header, kind), raw);
        assert_eq!(decode(&bytes), Err(DecodeError::UnknownKind(raw)));
    }
}
