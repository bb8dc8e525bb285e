//! What wrapwatch says: the values behind every line it prints, with their JSON form.
//!
//! JSON names are a contract (see `wrapwatch schema`): fields are added, never renamed. Durations are integer nanoseconds and end in
//! `_ns`; wall-clock times are RFC 3339 in UTC with nanoseconds. A value that was not seen is `null`, never a guess.

mod cause;
mod client;
mod connection;
mod cost;
#[doc(hidden)]
pub mod doctor;
mod errno;
mod event;
mod finding;
mod human;
mod lookup;
mod missing;
mod names;
#[doc(hidden)]
pub mod ping;
mod problem;
mod protocol;
mod release;
mod rule;
mod summary;
mod time;

pub use cause::StallCause;
pub use client::Client;
#[doc(hidden)]
pub use connection::COMPUTING_MAX_NS;
pub use connection::{
    Blame, CheckCall, ClientLeft, Connection, FileUse, LeaveKind, Login, OtherUse, Outcome, Parts,
};
pub use cost::{Cost, ServerCost};
#[doc(hidden)]
pub use cost::{per_second, quotient};
#[doc(hidden)]
pub use errno::errno_name;
pub use event::{Degradation, DegradationKind, Line, Lost, Stall};
pub use finding::{Evidence, Finding, FindingId, Scenario, Severity, WhatIf};
pub(crate) use human::error_line;
pub use human::{Nanos, Share};
pub use lookup::{
    Lookup, LookupKind, LookupOutcome, Query, QueryOutcome, ThreadRole, Transport, UNKNOWN_SERVER,
};
pub use missing::{Missing, Stage, Unknown, UnknownReason, missing_line};
#[doc(hidden)]
pub use problem::ProblemKind;
pub use protocol::Protocol;
#[doc(hidden)]
pub use release::{skips_calls, waits_for_tasks};
pub use rule::{How, RuleRef};
pub use summary::{
    AcceptErrors, AcceptThreadStats, NameserverStats, OutcomeCount, Percentiles, Summary, UnknownTotal,
    VerdictKind, Waiting,
};
pub use time::{ClockPair, KtimeNs, WallTime};

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use strum::VariantArray;

    use super::*;

    fn named_as_in_json<T: VariantArray + Copy + Serialize + Into<&'static str>>() {
        for &value in T::VARIANTS {
            let name: &str = value.into();
            assert_eq!(serde_json::to_value(value).unwrap(), name);
        }
    }

    #[test]
    fn labels_of_metrics_are_the_names_in_json() {
        named_as_in_json::<Outcome>();
        named_as_in_json::<LeaveKind>();
        named_as_in_json::<LookupKind>();
        named_as_in_json::<ThreadRole>();
        named_as_in_json::<LookupOutcome>();
        named_as_in_json::<Transport>();
        named_as_in_json::<QueryOutcome>();
        named_as_in_json::<StallCause>();
        named_as_in_json::<DegradationKind>();
    }
}
