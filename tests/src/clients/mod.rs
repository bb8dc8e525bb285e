//! Clients of the server under test, by the thousand, each measured on its own clock: when it called `connect`, when that returned,
//! when the first byte came, when it was over and how.
//!
//! They speak just enough of the MySQL protocol to read a greeting or an error, to log in without a password and to send
//! one query. They never wait without a limit.

mod drive;
mod one;
mod protocol;
mod spec;

pub use drive::{Addresses, drive};
pub use spec::{ClientResult, ClientsSpec, LeaveBy, Mode, Outcome, Source};
