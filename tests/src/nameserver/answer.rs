//! From a query's bytes to a reply's.

use domain::base::iana::{Opcode, Rcode as Code, Rtype};
use domain::base::message_builder::HashCompressor;
use domain::base::{Message, MessageBuilder, Question, ToName as _};
use wrapwatch::decode::dns;

use super::zone::{self, Exceptions, Owner};
use super::{Rcode, Reply, Transport, Wrong};

/// Longest message there is over TCP (RFC 1035, 4.2.2).
const LONGEST: usize = 65_535;

/// A query that could be read.
pub(super) struct Asked {
    id: u16,
    opcode: Opcode,
    recursion_desired: bool,
    question: Question<Owner>,
    /// Lower case, without the last dot.
    pub(super) qname: String,
    /// `PTR`, `A`, …
    pub(super) qtype: String,
}

impl Asked {
    /// None where it is not a query with one question, all there: such a message is dropped.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_slice(bytes).ok()?;
        let header = message.header();
        if header.qr() || message.iter().any(|record| record.is_err()) {
            return None;
        }
        let question = message.sole_question().ok()?;
        let qname = dns::name_text(question.qname()).trim_end_matches('.').to_ascii_lowercase();
        let qtype = dns::qtype_text(question.qtype().to_int()).into_owned();
        let question = Question::new(question.qname().to_vec(), question.qtype(), question.qclass());
        let (id, opcode, recursion_desired) = (header.id(), header.opcode(), header.rd());
        Some(Self { id, opcode, recursion_desired, question, qname, qtype })
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// The reply's bytes, without TCP's length; None where it cannot be put into bytes.
    pub(super) fn reply(
        &self,
        reply: &Reply,
        exceptions: &Exceptions,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let (name, qtype) = (self.question.qname(), self.question.qtype());
        let (rcode, mut answers) = match (&reply.rcode, &reply.answers) {
            (Some(rcode), _) => (*rcode, Vec::new()),
            (None, Some(answers)) => (Rcode::NoError, zone::records(name, qtype, answers)),
            (None, None) => zone::look_up(exceptions, name, &self.qname, qtype),
        };
        let mut message = MessageBuilder::from_target(HashCompressor::new(Vec::new())).ok()?;
        message.set_push_limit(LONGEST);
        let header = message.header_mut();
        header.set_id(if reply.wrong == Some(Wrong::Id) { self.id.wrapping_add(1) } else { self.id });
        header.set_opcode(self.opcode);
        header.set_qr(true);
        header.set_aa(true);
        header.set_rd(self.recursion_desired);
        header.set_ra(true);
        header.set_rcode(code(rcode));
        if reply.tc && transport == Transport::Udp {
            header.set_tc(true);
            answers.clear();
        }
        let mut message = message.question();
        match reply.wrong {
            Some(Wrong::Question) => message.push(other_question(qtype)?).ok()?,
            Some(Wrong::Id | Wrong::Source) | None => message.push(&self.question).ok()?,
        }
        let mut message = message.answer();
        for answer in answers {
            message.push(answer).ok()?;
        }
        Some(message.finish().into_target())
    }
}

fn other_question(qtype: Rtype) -> Option<Question<Owner>> {
    Some(Question::new_in(format!("another-name.{}", zone::DOMAIN).parse().ok()?, qtype))
}

fn code(rcode: Rcode) -> Code {
    match rcode {
        Rcode::NoError => Code::NOERROR,
        Rcode::FormErr => Code::FORMERR,
        Rcode::ServFail => Code::SERVFAIL,
        Rcode::NXDomain => Code::NXDOMAIN,
        Rcode::NotImp => Code::NOTIMP,
        Rcode::Refused => Code::REFUSED,
    }
}
