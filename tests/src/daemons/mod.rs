//! Other servers than mysqld, real ones from Debian's packages: whether wrapwatch tells the truth of each.
//!
//! - [`spec`]: a daemon as `tests/daemons/NAME.toml` has it: packages, configuration, clients, what has to be told.
//! - [`world`]: the lab with the packages over its `/usr`, and the daemon in it.
//! - [`client`], [`noise`]: clients that follow a script, with a clock of their own; what the machine's scheduler adds to it.
//! - [`told`]: what wrapwatch says. [`mod@judge`]: whether that is right; pure.
//! - [`mod@run`]: one daemon from beginning to end. [`cost`]: what tracing costs one.
//!
//! A daemon is started in the foreground, in namespaces of its own, and wrapwatch is attached to the process that was started, as a person would who
//! read the pid file. Nameservers answer after 400 ms, so that a client that is looked up waits long enough to be told from one that is not.

pub mod client;
pub mod cost;
pub mod judge;
pub mod noise;
pub mod run;
pub mod spec;
pub mod told;
pub mod world;

pub use judge::{Judgement, judge};
pub use run::{Row, run};
pub use spec::{Daemon, Standing, all};
