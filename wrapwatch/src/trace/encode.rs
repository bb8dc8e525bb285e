//! Events → the bytes the kernel side would have written: the inverse of [`crate::decode::decode`].
//!
//! For what makes records outside the kernel: the strace importer, the redaction, tests.

use wrapwatch_common::{
    abi::{AF_INET, AF_INET6},
    records as abi,
};
use zerocopy::{Immutable, IntoBytes};

use crate::decode::Event;

macro_rules! encoder {
    ($($(#[$doc:meta])* $kind:ident = $number:literal: $body:ident { $($column:ident)* } $(+ [$byte:ty; $len:ident <= $max:ident])?;)*) => {
        /// Appends the record of `event` to `out`. `hdr.kind`, `hdr.len` and the tail's length are filled in here, whatever the event
        /// says; a tail longer than its kind allows is cut, as the kernel side does.
        pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
            match event {
                $(Event::$kind(body $(, $len)?) => {
                    $(let $len = cut($len, abi::$max);)?
                    let body = abi::$body { $($len: short($len),)? ..*body };
                    put(out, abi::Kind::$kind, &body, &[$($len)?]);
                })*
            }
        }
    };
}
wrapwatch_common::records!(encoder);

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

fn short(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

fn put<T: IntoBytes + Immutable>(out: &mut Vec<u8>, kind: abi::Kind, body: &T, tail: &[&[u8]]) {
    let start = out.len();
    out.extend_from_slice(body.as_bytes());
    tail.iter().for_each(|tail| out.extend_from_slice(tail));
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
