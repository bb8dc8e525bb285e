//! wrapwatch shows, for every connection that a mysqld with TCP wrappers accepts, where the time went.
//!
//! Data flows one way: inputs (`live`, `trace`, `import`) → `engine` (`decode`, `correlate`, `context`, `model`) → observers (`observe`, `record`, `render`). The folders are
//! drawn in `ARCHITECTURE.md`. `decode`, `correlate`, `context`, `engine`, `model`, `diagnose` and `wrappers` are pure: bytes and values in, values out,
//! no I/O and no clock.

pub mod cli;
pub mod context;
pub mod correlate;
pub mod decode;
pub mod diagnose;
pub mod doctor;
pub mod engine;
pub mod export;
pub mod host;
pub mod import;
pub mod linter;
pub mod live;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod ping;
pub mod probe;
pub mod publish;
pub mod record;
pub mod render;
pub mod replay;
pub mod trace;
#[cfg(feature = "tui")]
pub mod tui;
pub mod wrappers;

#[cfg(test)]
mod folders;
#[cfg(test)]
mod sources;
