//! DNS messages: read whole and in pieces over TCP, and redacted.

use wrapwatch::decode::dns::{Framer, parse, qtype_text, rcode_text};

/// A message; read as a stream too, cut where its own bytes say.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    if let Some(message) = parse(bytes) {
        assert!(!rcode_text(message.rcode).is_empty());
        let names = message.question.iter().map(|question| question.name.as_str());
        for text in names.chain(message.answers.iter().map(String::as_str)) {
            super::assert_harmless(text);
            assert!(text.is_ascii(), "{text:?}");
        }
        if let Some(question) = &message.question {
            assert!(question.same(question) && !qtype_text(question.qtype).is_empty());
        }
        assert_eq!(parse(bytes), Some(message));
    }
    frames(bytes);
}

/// However a stream is cut, the same messages come out.
fn frames(bytes: &[u8]) {
    let cut = |sizes: &mut dyn Iterator<Item = usize>| {
        let (mut framer, mut rest, mut messages) = (Framer::default(), bytes, Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            framer.push(piece, u32::try_from(piece.len()).unwrap_or(u32::MAX), |message| {
                messages.push(message.to_vec());
            });
            rest = after;
        }
        messages
    };
    let whole = cut(&mut std::iter::repeat(usize::MAX));
    assert_eq!(whole, cut(&mut std::iter::repeat(1)));
    assert_eq!(whole, cut(&mut bytes.iter().rev().map(|&byte| usize::from(byte) + 1)));
    assert!(whole.iter().all(|message| message.len() <= 512));
    // Bytes that the record does not carry.
    Framer::default().push(bytes, u32::MAX, |_| ());
}
