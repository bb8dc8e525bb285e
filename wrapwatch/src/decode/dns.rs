//! DNS messages (RFC 1035) as they are seen on a resolver's socket: possibly cut at the 512 bytes a record carries, over
//! TCP (RFC 1035, 4.2.2) in arbitrary pieces, and always hostile. Parsing is hickory's; here is what survives of a message
//! that ends in the middle, and names in a form that cannot be mistaken.

use std::borrow::Cow;
use std::net::IpAddr;

use hickory_proto::op::{Header, MessageType, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Most answers of one message that are kept.
pub const ANSWERS_MAX: usize = 8;

/// What a message says, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id (RFC 1035, 4.1.1).
    pub id: u16,
    /// A response, not a query.
    pub response: bool,
    /// TC: the answer was cut by the server.
    pub truncated: bool,
    /// Response code, without EDNS' upper bits.
    pub rcode: u8,
    /// The first question; none where the message has none or it could not be read.
    pub question: Option<Question>,
    /// The answer section's data in order: addresses, names (of PTR, CNAME, …); [`ANSWERS_MAX`] at most.
    pub answers: Vec<String>,
    /// Whether a record of the type asked for is among the answers; of a message whose question is cut off, whether it says that it has one.
    pub has_answer: bool,
    /// It ends within its question: only its beginning was seen.
    pub cut: bool,
    /// The part of the question's name that is there is of an address (`in-addr`, `ip6`).
    pub asks_reverse: bool,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name, see [`name_text`].
    pub name: String,
    /// Type, as a number.
    pub qtype: u16,
}

impl Question {
    /// Whether both ask the same: type, and name without regard to case (RFC 4343).
    pub fn same(&self, other: &Self) -> bool {
        self.qtype == other.qtype && self.name.eq_ignore_ascii_case(&other.name)
    }
}

/// `PTR`.
pub const PTR: u16 = 12;
/// `A`.
pub const A: u16 = 1;
/// `AAAA`.
pub const AAAA: u16 = 28;

/// The address whose name this is the question for (RFC 1035, 3.5 and RFC 3596, 2.5); none for another name, or for a part of an address.
pub fn ptr_address(name: &str) -> Option<IpAddr> {
    let net = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).ok()?.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// Mnemonic of a type, `TYPE65280` where there is none (RFC 3597, 5).
pub fn qtype_text(qtype: u16) -> Cow<'static, str> {
    match RecordType::from(qtype) {
        RecordType::Unknown(code) => format!("TYPE{code}").into(),
        known => <&'static str>::from(known).into(),
    }
}

/// Mnemonic of a response code (IANA's registry of DNS RCODEs), `RCODE12` where there is none.
pub fn rcode_text(rcode: u8) -> Cow<'static, str> {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
        "NOTAUTH", "NOTZONE",
    ];
    names.get(usize::from(rcode)).map_or_else(|| format!("RCODE{rcode}").into(), |name| (*name).into())
}

/// A name without the last dot, `.` for the root. Bytes that are not printable ASCII are written `\ddd` in decimal, dots and backslashes inside
/// a label `\.` and `\\` (RFC 1035, 5.1).
pub fn name_text(name: &Name) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for label in name {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                0x21..=0x7e => text.push(char::from(byte)),
                // Writing to memory cannot fail.
                _ => drop(write!(text, "\\{byte:03}")),
            }
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// Reads as much of a message as is there; `None` where not even the header is.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let mut message = Message {
        id: header.metadata.id,
        response: header.metadata.message_type == MessageType::Response,
        truncated: header.metadata.truncation,
        rcode: header.metadata.response_code.low(),
        question: None,
        answers: Vec::new(),
        has_answer: false,
        cut: false,
        asks_reverse: false,
    };
    for index in 0..header.counts.queries {
        let Ok(query) = Query::read(&mut decoder) else {
            if index == 0 {
                message.cut = true;
                message.has_answer = header.counts.answers > 0;
                message.asks_reverse = asks_reverse(bytes);
            }
            return Some(message);
        };
        if index == 0 {
            message.question =
                Some(Question { name: name_text(query.name()), qtype: query.query_type().into() });
        }
    }
    read_answers(&mut decoder, header.counts.answers, &mut message);
    Some(message)
}

/// Whether the labels that are there say that the name is an address'.
fn asks_reverse(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((&len, after)) = rest.split_first() {
        let Some((label, behind)) = after.split_at_checked(usize::from(len)) else { return false };
        if label.eq_ignore_ascii_case(b"in-addr") || label.eq_ignore_ascii_case(b"ip6") {
            return true;
        }
        if len == 0 || len > 63 {
            return false;
        }
        rest = behind;
    }
    false
}

fn read_answers(decoder: &mut BinDecoder<'_>, count: u16, message: &mut Message) {
    let asked = message.question.as_ref().map(|question| question.qtype);
    for _ in 0..count {
        let Ok(record) = Record::<RData>::read(decoder) else { return };
        if asked.is_none_or(|asked| asked == u16::from(record.record_type())) {
            message.has_answer = true;
        }
        if message.answers.len() < ANSWERS_MAX {
            message.answers.push(data_text(&record));
        }
    }
}

fn data_text(record: &Record) -> String {
    match &record.data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::PTR(name) => name_text(&name.0),
        RData::CNAME(name) => name_text(&name.0),
        RData::NS(name) => name_text(&name.0),
        _ => qtype_text(record.record_type().into()).into_owned(),
    }
}

/// Most bytes of one message that [`Framer`] keeps.
const KEPT_MAX: usize = 512;

/// Cuts one direction of a TCP connection into messages: two bytes of length, then the message (RFC 1035, 4.2.2), in
/// whatever pieces the calls came.
#[derive(Debug, Default)]
pub struct Framer {
    prefix: [u8; 2],
    prefix_len: usize,
    /// Bytes of the current message still to come.
    remaining: usize,
    kept: Vec<u8>,
    /// A length was in bytes that the record does not carry: what follows cannot be cut any more.
    lost: bool,
}

impl Framer {
    /// Takes the bytes of one call, of which `bytes` were recorded and `full_len` were there; calls `each` with every message
    /// that they complete.
    pub fn push(&mut self, bytes: &[u8], full_len: u32, mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while !self.lost && !rest.is_empty() {
            if let Some(after) = self.take_prefix(rest) {
                rest = after;
                continue;
            }
            let n = rest.len().min(self.remaining);
            let (part, after) = rest.split_at(n);
            let room = KEPT_MAX.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&part[..part.len().min(room)]);
            rest = after;
            self.advance(n, &mut each);
        }
        let unseen = usize::try_from(full_len).unwrap_or(usize::MAX).saturating_sub(bytes.len());
        if unseen > 0 && !self.lost {
            let inside = if self.in_message() { unseen.min(self.remaining) } else { 0 };
            if inside > 0 {
                self.advance(inside, &mut each);
            }
            self.lost = unseen > inside;
        }
    }

    const fn in_message(&self) -> bool {
        self.prefix_len == 2
    }

    /// Takes one byte of the length where that is what comes next.
    fn take_prefix<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.in_message() {
            return None;
        }
        let (first, after) = bytes.split_first()?;
        self.prefix[self.prefix_len] = *first;
        self.prefix_len += 1;
        if self.in_message() {
            self.remaining = usize::from(u16::from_be_bytes(self.prefix));
            self.kept.clear();
            if self.remaining == 0 {
                self.prefix_len = 0;
            }
        }
        Some(after)
    }

    fn advance(&mut self, n: usize, each: &mut impl FnMut(&[u8])) {
        self.remaining -= n;
        if self.remaining == 0 {
            each(&self.kept);
            self.prefix_len = 0;
        }
    }
}

#[cfg(test)]
mod tests;
