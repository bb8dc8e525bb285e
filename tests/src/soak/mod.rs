//! For a long time: recorders beside a server under a storm, while everything changes around them.

mod recorder;
mod rounds;

pub use rounds::{Outcome, run};
