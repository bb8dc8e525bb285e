//! hosts.allow, hosts.deny and the resolver's settings: what a wrapper check decides, which lookups it makes, and what they can cost.
//!
//! The evaluator follows libwrap 7.6.q as Debian builds it (options processing, aclexec, netgroups, `rfc931_timeout=10`), bugs
//! included, and is compared with the real library over thousands of generated tables. Everything here is pure: text in, values out;
//! no I/O, no clock; nothing a file holds can make it panic or run away.

#[doc(hidden)]
pub mod bound;
mod candidates;
mod check;
#[doc(hidden)]
pub mod classify;
#[doc(hidden)]
pub mod cost;
#[doc(hidden)]
pub mod daemons;
mod environment;
mod evaluation;
mod execute;
mod hosts_access;
mod hosts_file;
#[doc(hidden)]
pub mod ignore;
mod inet;
#[doc(hidden)]
pub mod input;
mod lines;
#[doc(hidden)]
pub mod lint;
#[doc(hidden)]
pub mod nsswitch;
mod options;
mod pattern;
mod percent;
#[doc(hidden)]
pub mod problems;
mod request;
mod resolv_conf;
#[doc(hidden)]
pub mod rewrite;
mod table;

#[doc(hidden)]
pub use bound::Wait;
pub use environment::{Addresses, Environment, FileText, FixedNames};
pub use evaluation::{Command, Evaluation, Lookup, LookupKind, Place, Reason, Subject, Verdict, Warning};
pub use hosts_access::evaluate;
pub use hosts_file::{HostsEntry, HostsFile};
#[doc(hidden)]
pub use lines::LINE_BUFFER;
pub use options::{Keyword, OptionError, Step, steps};
pub use request::{Endpoint, Request};
pub use resolv_conf::{Ignored, IgnoredLine, MAX_NAMESERVERS, ResolvConf};
pub use table::{Entry, EntryKind, Table, TableKind, Tables, is_except, words};

#[cfg(test)]
mod field_cases;
#[cfg(test)]
pub(crate) mod test_host;
#[cfg(test)]
mod tests;
