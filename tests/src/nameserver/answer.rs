//! From a query's bytes to a reply's.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::zone::{self, Exceptions};
use super::{Rcode, Reply, Transport, Wrong};

/// A query that could be read.
pub(super) struct Asked {
    message: Message,
    question: Query,
    /// Lower case, without the last dot.
    pub(super) qname: String,
    /// `PTR`, `A`, …
    pub(super) qtype: String,
}

impl Asked {
    /// None where it is not a query with one question: such a message is dropped.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        if message.metadata.message_type != MessageType::Query {
            return None;
        }
        let [question] = message.queries.as_slice() else { return None };
        let question = question.clone();
        let qname = question.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let qtype = question.query_type.to_string();
        Some(Self { message, question, qname, qtype })
    }

    pub(super) fn id(&self) -> u16 {
        self.message.metadata.id
    }

    /// The reply's bytes, without TCP's length; None where it cannot be put into bytes.
    pub(super) fn reply(
        &self,
        reply: &Reply,
        exceptions: &Exceptions,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let asked = &self.message.metadata;
        let mut message = Message::response(asked.id, asked.op_code);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = asked.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(self.question.clone());
        let (name, qtype) = (&self.question.name, self.question.query_type);
        let (rcode, answers) = match (&reply.rcode, &reply.answers) {
            (Some(rcode), _) => (*rcode, Vec::new()),
            (None, Some(answers)) => (Rcode::NoError, zone::records(name, qtype, answers)),
            (None, None) => zone::look_up(exceptions, name, &self.qname, qtype),
        };
        message.metadata.response_code = code(rcode);
        if reply.tc && transport == Transport::Udp {
            message.metadata.truncation = true;
        } else {
            message.add_answers(answers);
        }
        match reply.wrong {
            Some(Wrong::Id) => message.metadata.id = asked.id.wrapping_add(1),
            Some(Wrong::Question) => message.queries = vec![other_question(qtype)?],
            Some(Wrong::Source) | None => {}
        }
        message.to_vec().ok()
    }
}

fn other_question(qtype: RecordType) -> Option<Query> {
    Some(Query::query(Name::from_ascii(format!("another-name.{}.", zone::DOMAIN)).ok()?, qtype))
}

fn code(rcode: Rcode) -> ResponseCode {
    match rcode {
        Rcode::NoError => ResponseCode::NoError,
        Rcode::FormErr => ResponseCode::FormErr,
        Rcode::ServFail => ResponseCode::ServFail,
        Rcode::NXDomain => ResponseCode::NXDomain,
        Rcode::NotImp => ResponseCode::NotImp,
        Rcode::Refused => ResponseCode::Refused,
    }
}
