//! wrapwatch shows, for every connection that a mysqld with TCP wrappers accepts, where the time went.
//!
//! Data flows one way: `probe → decode → correlate → model → { record, render, export, diagnose }`. The folders are
//! drawn in `ARCHITECTURE.md`. `decode`, `correlate`, `model`, `diagnose` and `wrappers` are pure: bytes and values in, values out,
//! no I/O and no clock.

pub mod cli;
pub mod correlate;
pub mod decode;
pub mod diagnose;
pub mod doctor;
pub mod host;
pub mod import;
pub mod linter;
pub mod model;
pub mod ping;
pub mod probe;
pub mod record;
pub mod render;
pub mod session;
pub mod story;
pub mod trace;
pub mod wrappers;
