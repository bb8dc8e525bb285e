//! What `check-once` is asked and answers: one wrapper check by the real libwrap with the real glibc, in namespaces of its own, with nameservers, an
//! ident service and netgroups as they are wanted.

use serde::{Deserialize, Serialize};

use crate::resolver::{Question, Took};

/// How the client's ident service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ident {
    /// Nothing listens: the kernel says so at once.
    Refuses,
    /// It takes the connection and says nothing.
    Silent,
    /// It says a letter ten times a second, and never ends its line.
    Dribbles,
    /// Its queue is full: whoever connects hears nothing.
    Full,
    /// It answers so late, in milliseconds.
    Late {
        /// After the question came.
        after_ms: u64,
    },
}

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The resolver's files, the nameservers, the client. An address of the loopback, so that its ident service can be played.
    pub world: Question,
    /// hosts.allow.
    pub allow: String,
    /// hosts.deny.
    pub deny: String,
    /// netgroup.
    pub netgroup: String,
    /// The server's address.
    pub server: String,
    /// The client's ident service.
    pub ident: Ident,
    /// Whether the process blocks SIGALRM, as some servers do: libwrap's own clock for the ident service then never rings.
    pub blocks_alarm: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How long it took.
    pub took: Took,
    /// `hosts_access`'s result.
    pub allowed: bool,
    /// Whether the client's ident service saw a question.
    pub ident_asked: bool,
}
