//! DNS messages, whole, cut, in pieces, hostile. Read back as every type of record that `domain` knows, of which the redaction uses a few.

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, ParsedName, Record};
use domain::rdata::AllRecordData;
use proptest::prelude::*;
use wrapwatch_common::abi::{SOCK_DGRAM, SOCK_STREAM};
use wrapwatch_common::records as abi;

use super::super::{dns, names::Names, records::Records, text::Text};
use super::*;
use crate::decode::{Event, decode};
use crate::trace::encode::{NO_ADDR, encode};

fn names() -> Names {
    Names::new(key())
}

/// A PTR answer for 10.77.0.1 with a CNAME, an authority section with an SOA, a TXT record and EDNS with a client subnet (RFC 7871) of 10.77.0.0/24.
fn answer() -> Vec<u8> {
    let mut m: Vec<u8> = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 1, 0, 2];
    m.extend(b"\x011\x010\x0277\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01");
    // CNAME: the name in the question → x.0.77.10.in-addr.arpa
    m.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'x', 0xc0, 14]);
    // PTR: → web1.corp.example
    m.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, 19]);
    m.extend(b"\x04web1\x04corp\x07example\0");
    // SOA of 77.10.in-addr.arpa
    m.extend([0xc0, 16, 0, 6, 0, 1, 0, 0, 0, 60, 0, 33]);
    m.extend(b"\x02ns\x04corp\0\x05admin\0");
    m.extend([0; 13 + 7]);
    let soa_len = 9 + 7 + 20;
    let at = m.len() - soa_len - 1;
    m[at] = u8::try_from(soa_len).unwrap();
    // TXT
    m.extend([0, 0, 16, 0, 1, 0, 0, 0, 60, 0, 10, 9]);
    m.extend(b"10.77.0.1");
    // OPT with option 8
    m.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 10, 77, 0]);
    m
}

type Read<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

/// All records of a message.
fn records(bytes: &[u8]) -> Vec<Read<'_>> {
    let message = Message::from_slice(bytes).unwrap();
    message.iter().map(|record| record.unwrap().0.into_any_record().unwrap()).collect()
}

#[test]
fn a_message_stays_the_same_message_about_pseudonyms() {
    let original = answer();
    let bytes = dns::message(&names(), &original).unwrap();
    assert_eq!(bytes[..12], original[..12]);
    let types =
        |records: &[Read]| -> Vec<_> { records.iter().map(|r| (r.rtype(), r.class(), r.ttl())).collect() };
    let mapped = records(&bytes);
    assert_eq!(types(&mapped), types(&records(&original)));
    let n = names();
    let query = Message::from_slice(&bytes).unwrap().sole_question().unwrap();
    assert_eq!(query.qname().to_string(), n.text("1.0.77.10.in-addr.arpa"));
    assert_eq!((query.qtype(), query.qclass()), (Rtype::PTR, Class::IN));
    let AllRecordData::Ptr(to) = mapped[1].data() else { panic!("{mapped:?}") };
    assert_eq!(to.ptrdname().to_string(), n.text("web1.corp.example"));
    assert_eq!(mapped[1].owner(), query.qname());
    assert_eq!(mapped[2].owner().to_string(), n.text("77.10.in-addr.arpa"));
    for leak in [&b"web1"[..], b"corp", b"admin", b"10.77", &[10, 77, 0], b"\x0277\x0210"] {
        assert!(contains(&answer(), leak), "{leak:?} is there");
        assert!(!contains(&bytes, leak), "{leak:?}");
    }
}

#[test]
fn of_a_cut_message_as_much_is_kept_as_can_be_read() {
    let whole = answer();
    for len in 0..whole.len() {
        let cut = &whole[..len];
        let before = crate::decode::dns::parse(cut);
        let after = dns::message(&names(), cut).map(|bytes| crate::decode::dns::parse(&bytes).unwrap());
        assert_eq!(before.is_some(), after.is_some(), "{len}");
        let (Some(before), Some(after)) = (before, after) else { continue };
        assert_eq!(
            (before.id, before.rcode, before.has_answer),
            (after.id, after.rcode, after.has_answer),
            "{len}"
        );
        assert_eq!(before.answers.len(), after.answers.len(), "{len}");
        assert_eq!(before.question.is_some(), after.question.is_some(), "{len}");
    }
}

#[test]
fn a_name_whose_pseudonym_is_longer_than_a_name_may_be_ends_the_message() {
    let query = |kept: usize| {
        let labels = [b"\x01a".repeat(26), b"\x01*".repeat(kept)].concat();
        [&answer()[..12], &labels, b"\x07in-addr\x04arpa\0\0\x0c\0\x01"].concat()
    };
    // Below in-addr.arpa 26 pseudonyms of nine bytes and stars of two: 254 bytes, then 256.
    let len = |kept| dns::message(&names(), &query(kept)).unwrap().len();
    assert_eq!(len(3), 12 + 254 + 4);
    assert_eq!(len(4), 12);
}

fn payload(bytes: &[u8], full_len: usize, sock_type: u8, out: bool) -> Vec<u8> {
    let hdr = abi::Header { ts_ns: 1, conn: 1, tgid: 7, tid: 7, seq: 1, kind: 0, len: 0 };
    let body = abi::Payload {
        hdr,
        enter_ns: 1,
        run_delay_ns: 0,
        addr: NO_ADDR,
        fd: 34,
        full_len: u32::try_from(full_len).unwrap(),
        payload_len: 0,
        index: 0,
        sock_type,
        pad: [0; 3],
    };
    let mut record = Vec::new();
    encode(&if out { Event::Send(body, bytes) } else { Event::Recv(body, bytes) }, &mut record);
    record
}

/// Redacts records one after the other; gives the payloads and full lengths.
fn map(records: &[Vec<u8>]) -> (Vec<(Vec<u8>, u32)>, u64) {
    let (text, mut mapper) = (Text::new(names()), Records::new(key()));
    let mapped = records
        .iter()
        .map(|record| {
            let mut out = Vec::new();
            mapper.map(&text, record, &mut out);
            let (Event::Send(r, bytes) | Event::Recv(r, bytes)) = decode(&out).unwrap() else {
                panic!("{out:?}")
            };
            (bytes.to_vec(), r.full_len)
        })
        .collect();
    (mapped, mapper.zeroed_messages)
}

#[test]
fn a_datagram_is_as_much_longer_than_its_record_as_before() {
    let whole = answer();
    let (mapped, _) = map(&[
        payload(&whole, whole.len(), SOCK_DGRAM, false),
        payload(&whole, whole.len() + 100, SOCK_DGRAM, false),
    ]);
    assert_eq!(mapped[0].1 as usize, mapped[0].0.len());
    assert_eq!(mapped[1].1 as usize, mapped[1].0.len() + 100);
}

#[test]
fn bytes_that_are_no_message_are_zeroed() {
    let (mapped, zeroed) = map(&[payload(b"10.77.0.1", 9, SOCK_DGRAM, true)]);
    assert_eq!((mapped, zeroed), (vec![(vec![0; 9], 9)], 1));
}

#[test]
fn messages_over_tcp_are_found_in_any_pieces() {
    let message = answer();
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let expected = dns::message(&names(), &message).unwrap();
    for pieces in [vec![framed.len()], vec![2], vec![1, 1], vec![2, 10, 20], vec![framed.len() - 1]] {
        let (mut records, mut rest) = (Vec::new(), &framed[..]);
        for piece in pieces {
            let (now, after) = rest.split_at(piece);
            records.push(payload(now, now.len(), SOCK_STREAM, false));
            rest = after;
        }
        if !rest.is_empty() {
            records.push(payload(rest, rest.len(), SOCK_STREAM, false));
        }
        let (mapped, _) = map(&records);
        let mut framer = crate::decode::dns::Framer::default();
        let mut messages = Vec::new();
        for (bytes, full_len) in &mapped {
            assert!(*full_len > 0, "zero bytes would be the end of the connection");
            framer.push(bytes, *full_len, |m| messages.push(m.to_vec()));
        }
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0], expected);
    }
    let (end, _) = map(&[payload(b"", 0, SOCK_STREAM, false)]);
    assert_eq!(end, [(Vec::new(), 0)]);
}

proptest! {
    #[test]
    fn arbitrary_payload_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), stream: bool) {
        let kind = if stream { SOCK_STREAM } else { SOCK_DGRAM };
        map(&[payload(&bytes, bytes.len(), kind, true), payload(&bytes, bytes.len() + 7, kind, true)]);
    }

    #[test]
    fn a_spoilt_message_does_no_harm(at in any::<prop::sample::Index>(), value: u8) {
        let mut bytes = answer();
        let at = at.index(bytes.len());
        bytes[at] = value;
        dns::message(&names(), &bytes);
    }
}
