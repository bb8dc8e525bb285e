//! What can be asked of the nameserver, in JSON and in Rust.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP
    Udp,
    /// TCP
    Tcp,
}

/// Response codes (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Rcode {
    NoError,
    FormErr,
    ServFail,
    NXDomain,
    NotImp,
    Refused,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// The id is another one.
    Id,
    /// The question is another name.
    Question,
    /// It is sent from another port of the same address.
    Source,
}

/// One message in answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Milliseconds after the query came. Replies are sent in the order of this, whatever the order in the list.
    pub after_ms: u64,
    /// This response code and no answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcode: Option<Rcode>,
    /// Over UDP: cut (TC) and empty. Over TCP it changes nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tc: bool,
    /// Wrong in this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<Wrong>,
    /// These instead of what the zone has: addresses for A and AAAA, names for PTR and CNAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<String>>,
}

impl Reply {
    /// The right answer, this much later.
    pub fn after(ms: u64) -> Self {
        Self { after_ms: ms, ..Self::default() }
    }

    /// A response code at once.
    pub fn rcode(rcode: Rcode) -> Self {
        Self { rcode: Some(rcode), ..Self::default() }
    }

    /// The right answer, but wrong in this way.
    pub fn wrong(wrong: Wrong) -> Self {
        Self { wrong: Some(wrong), ..Self::default() }
    }

    /// Over UDP a truncated answer.
    pub fn truncated() -> Self {
        Self { tc: true, ..Self::default() }
    }
}

/// What happens to queries that match. Without any condition: to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only at this nameserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<IpAddr>,
    /// Only this name (without the last dot), or with a leading dot every name that ends so. Letter case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only this type: `PTR`, `A`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qtype: Option<String>,
    /// Only over this transport.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Only the first so many queries that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What is sent. None: silence. Several: duplicates, or a wrong answer before the right one.
    pub replies: Vec<Reply>,
}

impl Rule {
    /// To every query: silence.
    pub fn silent() -> Self {
        Self::default()
    }

    /// To every query: these.
    pub fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: replies.into_iter().collect(), ..Self::default() }
    }

    /// To every query: the right answer, this much later.
    pub fn delay(ms: u64) -> Self {
        Self::replies([Reply::after(ms)])
    }

    /// Only at this nameserver.
    #[must_use]
    pub fn at(mut self, server: impl Into<IpAddr>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Only for this name, or with a leading dot this ending.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only for this type.
    #[must_use]
    pub fn qtype(mut self, qtype: impl Into<String>) -> Self {
        self.qtype = Some(qtype.into());
        self
    }

    /// Only over this transport.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Only the first so many queries that match.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    pub(super) fn matches(&self, server: IpAddr, transport: Transport, qname: &str, qtype: &str) -> bool {
        let name_matches = |wanted: &String| {
            let wanted = wanted.trim_end_matches('.').to_ascii_lowercase();
            if wanted.starts_with('.') { qname.ends_with(&wanted) } else { qname == wanted }
        };
        self.times != Some(0)
            && self.server.is_none_or(|wanted| wanted == server)
            && self.transport.is_none_or(|wanted| wanted == transport)
            && self.qtype.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(qtype))
            && self.name.as_ref().is_none_or(name_matches)
    }
}

/// One query, as the nameserver saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Which nameserver.
    pub server: IpAddr,
    /// Who asked.
    pub client: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Message id.
    pub id: u16,
    /// Name, lower case, without the last dot.
    pub qname: String,
    /// `PTR`, `A`, …
    pub qtype: String,
    /// When it had been read, `CLOCK_MONOTONIC`.
    pub received_ns: u64,
    /// Just before the first reply was sent; null while or where none was.
    pub replied_ns: Option<u64>,
    /// Replies sent so far.
    pub replies: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_by_all_its_conditions() {
        let here = IpAddr::from([10, 1, 1, 53]);
        let other = IpAddr::from([10, 1, 1, 54]);
        let rule = Rule::silent().at(here).name(".Lab.example").qtype("a").over(Transport::Udp);
        assert!(rule.matches(here, Transport::Udp, "c-1.lab.example", "A"));
        assert!(!rule.matches(other, Transport::Udp, "c-1.lab.example", "A"));
        assert!(!rule.matches(here, Transport::Tcp, "c-1.lab.example", "A"));
        assert!(!rule.matches(here, Transport::Udp, "c-1.lab.example", "AAAA"));
        assert!(!rule.matches(here, Transport::Udp, "lab.example", "A"), "a suffix begins at a dot");
        assert!(!rule.clone().times(0).matches(here, Transport::Udp, "c-1.lab.example", "A"));
        assert!(Rule::silent().name("db.example.").matches(here, Transport::Udp, "db.example", "A"));
        assert!(!Rule::silent().name("db.example").matches(here, Transport::Udp, "x.db.example", "A"));
    }
}
