//! What connections come to: the summary and its verdict, findings with their proof, what-if. Nothing here prints or does I/O.

mod charts;
pub mod check;
mod closed_loop;
mod diff;
pub mod doctor;
mod findings;
mod handover;
mod headline;
mod load;
pub mod ping;
mod report;
mod scenario;
mod server;
mod summary;
mod verdict;
mod waiting;
mod what_if;

pub use charts::{Bar, WaitColumn, Waits, Waterfall, waits, waterfall};
pub use diff::{Diff, FileChange, FindingChange, NameserverChange, SpreadChange, diff};
pub use headline::rate;
pub use load::{Job, Load, Stretch};
pub use report::{Diagnosis, Report, TraceInfo, took_ns};
pub use scenario::SCENARIOS;
pub use summary::{Counts, SummaryBuilder};
pub use verdict::bare;
pub use waiting::waiting;

#[cfg(test)]
mod tests;
