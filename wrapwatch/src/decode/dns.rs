//! DNS messages (RFC 1035) as they are seen on a resolver's socket: possibly cut at the 512 bytes a record carries, over
//! TCP (RFC 1035, 4.2.2) in arbitrary pieces, and always hostile. Parsing is `domain`'s; here is what survives of a message
//! that ends in the middle, and names in a form that cannot be mistaken.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use domain::base::iana::Rtype;
use domain::base::message::RecordSection;
use domain::base::{Message as Wire, Name, ParseRecordData, ParsedName, ParsedRecord, ToName};
use domain::rdata;

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

/// The name that an address is asked for by (RFC 1035, 3.5; RFC 3596, 2.5); one of IPv4 in IPv6 as the former.
pub fn reverse_name(address: IpAddr) -> Name<Vec<u8>> {
    // Neither family's is longer than a name may be.
    let mut name = Name::reverse_from_addr(address.to_canonical()).unwrap_or_else(|_| Name::root_vec());
    // As resolvers write it: digits in lower case.
    name.make_canonical();
    name
}

/// The address whose name this is the question for (RFC 1035, 3.5 and RFC 3596, 2.5); none for another name, or for a part of an address.
pub fn ptr_address(name: &str) -> Option<IpAddr> {
    let mut labels = name.trim_end_matches('.').rsplit('.');
    labels.next().filter(|label| label.eq_ignore_ascii_case("arpa"))?;
    let family = labels.next()?;
    let address = if family.eq_ignore_ascii_case("in-addr") {
        let mut octets = [0; 4];
        for octet in &mut octets {
            let digits = labels.next().filter(|label| label.bytes().all(|byte| byte.is_ascii_digit()))?;
            *octet = digits.parse().ok()?;
        }
        IpAddr::from(octets)
    } else if family.eq_ignore_ascii_case("ip6") {
        let mut bits = 0;
        for _ in 0..32 {
            let digit = labels.next().filter(|label| label.len() == 1)?;
            bits = bits << 4 | u128::from_str_radix(digit, 16).ok()?;
        }
        Ipv6Addr::from_bits(bits).into()
    } else {
        return None;
    };
    labels.next().is_none().then_some(address)
}

/// Mnemonic of a type, `TYPE65280` where there is none (RFC 3597, 5).
pub fn qtype_text(qtype: u16) -> Cow<'static, str> {
    match Rtype::from_int(qtype).to_mnemonic_str() {
        Some(known) => known.into(),
        None => format!("TYPE{qtype}").into(),
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
pub fn name_text(name: &impl ToName) -> String {
    plain_text(name).unwrap_or_else(|| escaped_text(name))
}

/// Whether a byte stands for itself in a name's text. A table: every byte of every name is looked at.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        plain[byte] = byte != b'.' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// The text of a name in which nothing is to be escaped, as almost every one is: its bytes, with dots in the lengths' places.
fn plain_text(name: &impl ToName) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.compose_len().into());
    let Ok(()) = name.compose(&mut bytes);
    let mut rest = bytes.as_mut_slice();
    while let Some((len, behind)) = rest.split_first_mut() {
        let (label, after) = behind.split_at_mut_checked(usize::from(*len))?;
        if !label.iter().all(|byte| PLAIN[usize::from(*byte)]) {
            return None;
        }
        *len = b'.';
        rest = after;
    }
    // The root's; and that before the first label, which the root alone does not have.
    bytes.pop();
    if bytes.is_empty() {
        return None;
    }
    bytes.remove(0);
    String::from_utf8(bytes).ok()
}

fn escaped_text(name: &impl ToName) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label.as_slice() {
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
    let wire = Wire::from_slice(bytes).ok()?;
    let header = wire.header();
    let mut message = Message {
        id: header.id(),
        response: header.qr(),
        truncated: header.tc(),
        rcode: header.rcode().to_int(),
        question: None,
        answers: Vec::new(),
        has_answer: false,
        cut: false,
        asks_reverse: false,
    };
    let mut questions = wire.question();
    for (index, question) in questions.by_ref().enumerate() {
        let Ok(question) = question else {
            if index == 0 {
                message.cut = true;
                message.has_answer = wire.header_counts().ancount() > 0;
                message.asks_reverse = asks_reverse(bytes);
            }
            return Some(message);
        };
        if index == 0 {
            let name = name_text(question.qname());
            message.question = Some(Question { name, qtype: question.qtype().to_int() });
        }
    }
    if let Ok(answers) = questions.answer() {
        read_answers(answers, &mut message);
    }
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

fn read_answers(answers: RecordSection<'_, [u8]>, message: &mut Message) {
    let asked = message.question.as_ref().map(|question| question.qtype);
    for record in answers {
        let Some((qtype, text)) =
            record.ok().and_then(|record| Some((record.rtype().to_int(), data_text(&record)?)))
        else {
            return;
        };
        if asked.is_none_or(|asked| asked == qtype) {
            message.has_answer = true;
        }
        if message.answers.len() < ANSWERS_MAX {
            message.answers.push(text);
        }
    }
}

/// What a record says; none where its data make no sense. Of other types than these, the type says enough.
fn data_text(record: &ParsedRecord<'_, [u8]>) -> Option<String> {
    type To<'a> = ParsedName<&'a [u8]>;
    Some(match record.rtype() {
        Rtype::A => data::<rdata::A>(record)?.addr().to_string(),
        Rtype::AAAA => data::<rdata::Aaaa>(record)?.addr().to_string(),
        Rtype::PTR => name_text(data::<rdata::Ptr<To>>(record)?.ptrdname()),
        Rtype::CNAME => name_text(data::<rdata::Cname<To>>(record)?.cname()),
        Rtype::NS => name_text(data::<rdata::Ns<To>>(record)?.nsdname()),
        other => qtype_text(other.to_int()).into_owned(),
    })
}

/// The data of a record as that of a type.
pub(crate) fn data<'a, D: ParseRecordData<'a, [u8]>>(record: &ParsedRecord<'a, [u8]>) -> Option<D> {
    Some(record.to_record().ok()??.into_data())
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
