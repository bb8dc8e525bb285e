//! wrapwatch on the real thing: a real MariaDB whose accepting thread calls the real libwrap, real clients, a nameserver with programmed faults. Each test
//! has a lab of its own; what wrapwatch says is compared with what others measured: the clients' clock, the nameserver's log, a packet capture.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

mod acquit;
mod bad_input;
mod cost;
mod dns;
mod failing;
mod hook_sets;
mod logins;
mod many;
mod midway;
mod namespaces;
mod outcome;
mod pre_forked;
mod privacy;
mod queue;
mod records;
mod screen;
mod support;
#[cfg(target_arch = "x86_64")]
mod word_size;
