//! Events → the bytes the kernel side would have written: the inverse of [`crate::decode::decode`].
//!
//! For what makes records outside the kernel: the strace importer, the redaction, tests.

use wrapwatch_common::records as abi;
use zerocopy::{Immutable, IntoBytes};

use crate::decode::Event;

/// Appends the record of `event` to `out`. `hdr.kind`, `hdr.len` and the tail's length are filled in here, whatever the event
/// says; a tail longer than its kind allows is cut, as the kernel side does.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    use abi::Kind;
    match event {
        Event::Accept(r) => put(out, Kind::Accept, r, &[]),
        Event::Open(r, path) => {
            let path = cut(path, abi::PATH_MAX);
            put(out, Kind::Open, &abi::Open { path_len: short(path), ..*r }, path);
        }
        Event::Connect(r, path) => {
            let path = cut(path, abi::PATH_MAX);
            put(out, Kind::Connect, &abi::Connect { path_len: short(path), ..*r }, path);
        }
        Event::Send(r, bytes) => payload(out, Kind::Send, r, bytes),
        Event::Recv(r, bytes) => payload(out, Kind::Recv, r, bytes),
        Event::Io(r) => put(out, Kind::Io, r, &[]),
        Event::Close(r) => put(out, Kind::Close, r, &[]),
        Event::Shutdown(r) => put(out, Kind::Shutdown, r, &[]),
        Event::FirstPacket(r) => put(out, Kind::FirstPacket, r, &[]),
        Event::SockState(r) => put(out, Kind::SockState, r, &[]),
        Event::Peer(r) => put(out, Kind::Peer, r, &[]),
        Event::Wait(r) => put(out, Kind::Wait, r, &[]),
        Event::Rule(r, file) => {
            let file = cut(file, abi::RULE_FILE_MAX);
            put(out, Kind::Rule, &abi::Rule { file_len: short(file), ..*r }, file);
        }
        Event::Check(r) => put(out, Kind::Check, r, &[]),
        Event::Exit(r) => put(out, Kind::Exit, r, &[]),
        Event::Exec(r) => put(out, Kind::Exec, r, &[]),
        Event::SockError(r) => put(out, Kind::SockError, r, &[]),
    }
}

fn payload(out: &mut Vec<u8>, kind: abi::Kind, r: &abi::Payload, bytes: &[u8]) {
    let bytes = cut(bytes, abi::PAYLOAD_MAX);
    put(out, kind, &abi::Payload { payload_len: short(bytes), ..*r }, bytes);
}

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

fn short(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

fn put<T: IntoBytes + Immutable>(out: &mut Vec<u8>, kind: abi::Kind, body: &T, tail: &[u8]) {
    let start = out.len();
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(tail);
    let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(start + KIND_AT..start + KIND_AT + 4) {
        field[..2].copy_from_slice(&(kind as u16).to_ne_bytes());
        field[2..].copy_from_slice(&len.to_ne_bytes());
    }
}

const KIND_AT: usize = core::mem::offset_of!(abi::Header, kind);

/// An address of no family: where the kernel was given none.
pub const NO_ADDR: abi::Addr = abi::Addr { ip: [0; 16], family: 0, port: 0, scope: 0 };

/// The address as records have it: IPv4 v4-mapped (RFC 4291, 2.5.5.2).
pub fn addr(sock: std::net::SocketAddr) -> abi::Addr {
    match sock {
        std::net::SocketAddr::V4(v4) => {
            abi::Addr { ip: v4.ip().to_ipv6_mapped().octets(), family: AF_INET, port: v4.port(), scope: 0 }
        }
        std::net::SocketAddr::V6(v6) => {
            abi::Addr { ip: v6.ip().octets(), family: AF_INET6, port: v6.port(), scope: v6.scope_id() }
        }
    }
}

/// `AF_UNIX` of Linux.
pub const AF_UNIX: u16 = 1;
/// `AF_INET` of Linux.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of Linux.
pub const AF_INET6: u16 = 10;
/// `SOCK_STREAM` of Linux (x86, arm; not MIPS).
pub const SOCK_STREAM: u8 = 1;
/// `SOCK_DGRAM` of Linux.
pub const SOCK_DGRAM: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let hdr = abi::Header { ts_ns: 7, conn: 3, tgid: 1, tid: 2, seq: 4, kind: 0, len: 0 };
        let open = abi::Open { hdr, enter_ns: 6, ret: -2, path_len: 0, pad: 0 };
        let mut bytes = Vec::new();
        encode(&Event::Open(open, b"/etc/hosts.allow"), &mut bytes);
        assert_eq!(bytes.len(), size_of::<abi::Open>() + 16);
        let Event::Open(back, path) = decode(&bytes).unwrap() else { panic!("not an Open") };
        assert_eq!(path, b"/etc/hosts.allow");
        assert_eq!((back.hdr.len, back.hdr.kind, back.path_len, back.ret), (64, 2, 16, -2));
    }

    #[test]
    fn an_overlong_tail_is_cut() {
        let hdr = abi::Header { ts_ns: 7, conn: 3, tgid: 1, tid: 2, seq: 4, kind: 0, len: 0 };
        let rule = abi::Rule { hdr, line: 1, file_len: 0, pad: 0 };
        let mut bytes = Vec::new();
        encode(&Event::Rule(rule, &[b'x'; 200]), &mut bytes);
        let Event::Rule(back, file) = decode(&bytes).unwrap() else { panic!("not a Rule") };
        assert_eq!((file.len(), back.file_len), (63, 63));
    }
}
