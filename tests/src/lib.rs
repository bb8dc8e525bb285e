//! The lab, and what end-to-end tests need of it.
//!
//! - [`lab`]: what tests and the demo use: start a lab, change it while it runs, drive clients, ask what was seen.
//! - [`inside`]: what runs within the lab's own namespaces, behind the binary `wrapwatch-lab`.
//! - [`watch`]: wrapwatch itself beside a lab. [`seccomp`]: with less than it would like.
//! - [`disk`]: a small disk of its own for what it writes.
//! - [`inotify`]: whether a file is opened.
//! - [`gates`]: what its kernel side counts.
//! - [`mod@bench`]: what wrapwatch costs, beside other tools.
//! - [`daemons`]: other servers, real ones, and whether wrapwatch tells the truth of them.
//! - [`soak`]: recorders for a long time.
//! - [`python()`], [`tshark()`]: other programs that read what wrapwatch writes.
//! - [`nameserver`], [`clients`]: its programmable nameserver and its clients, which know nothing of namespaces.

pub mod bench;
pub mod clients;
pub mod clock;
pub mod daemons;
pub mod disk;
pub mod gates;
pub mod inotify;
pub mod inside;
pub mod lab;
pub mod named_tests;
pub mod nameserver;
mod python;
pub mod seccomp;
pub mod soak;
pub mod tmux;
mod tshark;
pub mod wait;
pub mod watch;

pub use python::python;
pub use tshark::tshark;
pub use wait::{next_tick, wait_for};
