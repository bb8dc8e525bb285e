//! What is done while instructions are counted. The first process, the plain server and, for `work` in its lines, `cargo xtask vm --instructions` name it alike.

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A point select over a connection that stays open.
    Query,
    /// A connection, from the client's `connect` to its end, checked without DNS.
    Connection,
    /// The same, checked with two lookups.
    ConnectionLookups,
}

impl Work {
    /// Each, in the order of lines.
    pub(crate) const ALL: [Self; 3] = [Self::Query, Self::Connection, Self::ConnectionLookups];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Connection => "connection",
            Self::ConnectionLookups => "connection-lookups",
        }
    }
}
