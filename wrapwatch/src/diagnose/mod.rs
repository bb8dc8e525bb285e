//! What connections come to: the summary and its verdict. Nothing here prints or does I/O.

pub mod doctor;
mod summary;
mod verdict;
mod waiting;

pub use summary::{Counts, SummaryBuilder};
pub use waiting::waiting;

#[cfg(test)]
mod tests;
