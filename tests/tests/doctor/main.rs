//! `doctor` and `ping` on real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

mod counters;
mod jail;
mod ping;
mod servers;
mod support;
mod trace;
mod unprivileged;
