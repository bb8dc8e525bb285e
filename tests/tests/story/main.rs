//! The whole story of a connection, on the real thing: every way that a lookup can go, both threads, every outcome, the rule to blame, who waited for whom.
//! Real MariaDB, real libwrap, real glibc; where something else stands in for a part, the test's name says so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

mod dns;
mod identity;
mod innocent;
mod outcomes;
mod queue;
mod rules;
mod services;
mod soak;
mod stage;
mod support;
mod targets;
mod threads;
mod without_uprobes;
