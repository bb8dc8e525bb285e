//! Messages from real captures (straces of a mysqld 5.5.62 with libwrap, taken for this project) and broken ones.

use super::*;

/// PTR 1.0.77.10.in-addr.arpa, id 0x74ce: the strace of a first nameserver that does not answer.
const PTR_QUERY: &[u8] =
    b"t\xce\x01\0\0\x01\0\0\0\0\0\0\x011\x010\x0277\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01";
/// Its answer by the second: c1.lan.example.
const PTR_ANSWER: &[u8] = b"t\xce\x85\x80\0\x01\0\x01\0\0\0\0\x011\x010\x0277\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01\xc0\x0c\0\x0c\0\x01\0\0\0<\0\x10\x02c1\x03lan\x07example\0";

#[test]
fn a_query_and_its_answer_are_read() {
    let query = parse(PTR_QUERY).unwrap();
    assert_eq!((query.id, query.response, query.rcode), (0x74ce, false, 0));
    let question = query.question.unwrap();
    assert_eq!((question.name.as_str(), question.qtype), ("1.0.77.10.in-addr.arpa", PTR));

    let answer = parse(PTR_ANSWER).unwrap();
    assert!(answer.response && answer.has_answer && !answer.truncated);
    assert_eq!(answer.answers, ["c1.lan.example"]);
    assert!(answer.question.unwrap().same(&question));
}

#[test]
fn a_cut_message_keeps_what_was_there() {
    for end in 0..PTR_ANSWER.len() {
        match parse(&PTR_ANSWER[..end]) {
            None => assert!(end < 12, "the header is there from 12 bytes on"),
            Some(message) => {
                assert_eq!(message.id, 0x74ce);
                assert_eq!(message.question.is_some(), end >= 40, "question of a message cut at {end}");
                assert!(message.answers.is_empty());
            }
        }
    }
}

#[test]
fn names_cannot_be_mistaken() {
    let name = |bytes: &[u8]| {
        let mut message = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.extend_from_slice(bytes);
        message.extend_from_slice(b"\0\0\x01\0\x01");
        parse(&message).unwrap().question.unwrap().name
    };
    assert_eq!(name(b""), ".");
    assert_eq!(name(b"\x03a.b\x01c"), "a\\.b.c");
    assert_eq!(name(b"\x04\x1b[2J"), "\\027[2J");
    assert_eq!(name(b"\x02\xc3\xa9"), "\\195\\169");
    assert_eq!(name(b"\x02\\ "), "\\\\\\032");
}

#[test]
fn a_compression_loop_ends() {
    let mut message = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    message.extend_from_slice(b"\xc0\x0c\0\x0c\0\x01");
    assert_eq!(parse(&message).unwrap().question, None);
}

#[test]
fn codes_have_their_names() {
    assert_eq!(rcode_text(3), "NXDOMAIN");
    assert_eq!(rcode_text(15), "RCODE15");
    assert_eq!(qtype_text(PTR), "PTR");
    assert_eq!(qtype_text(65280), "TYPE65280");
}

fn frames(pieces: &[(&[u8], u32)]) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    let mut out = Vec::new();
    for (bytes, full) in pieces {
        framer.push(bytes, *full, |message| out.push(message.to_vec()));
    }
    out
}

#[test]
fn tcp_messages_come_out_whole_however_they_were_cut() {
    let stream = b"\0\x03abc\0\x02de";
    let want = vec![b"abc".to_vec(), b"de".to_vec()];
    for first in 0..stream.len() {
        for second in first..stream.len() {
            let (a, b, c) = (&stream[..first], &stream[first..second], &stream[second..]);
            let len = |piece: &[u8]| u32::try_from(piece.len()).unwrap();
            assert_eq!(frames(&[(a, len(a)), (b, len(b)), (c, len(c))]), want);
        }
    }
}

#[test]
fn bytes_that_a_record_did_not_carry_are_counted() {
    // 600 bytes of message, of which the record carries 510; the next message follows in the next call.
    let mut first = vec![2, 88];
    first.resize(512, b'x');
    let out = frames(&[(&first, 602), (b"\0\x01y", 3)]);
    assert_eq!(out.len(), 2);
    assert_eq!((out[0].len(), out[1].as_slice()), (510, b"y".as_slice()));
    // A length hidden in what was not carried: nothing more is claimed.
    assert_eq!(frames(&[(&first, 700), (b"\0\x01y", 3)]).len(), 1);
}

#[test]
fn the_name_of_an_address_leads_back_to_it() {
    assert_eq!(ptr_address("7.3.0.10.in-addr.arpa"), Some("10.0.3.7".parse().unwrap()));
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(ptr_address(v6), Some("2001:db8::1".parse().unwrap()));
    for other in
        ["3.0.10.in-addr.arpa", "host.example", "999.3.0.10.in-addr.arpa", "", "x.3.0.10.in-addr.arpa"]
    {
        assert_eq!(ptr_address(other), None, "{other}");
    }
}

#[test]
fn an_address_is_asked_for_in_lower_case_and_as_what_it_is() {
    let name = |address: &str| name_text(&reverse_name(address.parse().unwrap()));
    assert_eq!(name("10.0.3.7"), "7.3.0.10.in-addr.arpa");
    assert_eq!(name("::ffff:10.0.3.7"), "7.3.0.10.in-addr.arpa");
    let v6 = "f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(name("2001:db8::f"), v6);
}
