//! A nameserver whose behaviour can be programmed while it runs: several addresses, each over UDP and TCP, with delays, silence,
//! errors, truncation and wrong, duplicate and late answers by server and by name; and a log of every query.
//!
//! What a query gets is decided when it arrives: the first [`Rule`] that matches, or else the right answer at once. What is right is
//! in [`zone`]: every address has a name of its own.

mod answer;
mod later;
mod log;
mod rules;
mod serve;
mod way;
pub mod zone;

pub use rules::{LogEntry, Rcode, Reply, Rule, Transport, Wrong};
pub use serve::{Nameservers, Settings};
