//! What the machine says about a target: /proc, ELF, sockets, clocks. Nothing here changes anything.

pub mod clock;
mod error;
pub mod files;
pub mod libwrap;
pub mod listeners;
pub mod local;
pub mod netns;
pub mod process;
pub mod sockdiag;
pub mod symbols;
pub mod thread;

pub use error::HostError;
