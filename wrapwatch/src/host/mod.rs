//! What the machine says about a target: /proc, ELF, sockets, clocks. Nothing here changes anything.

pub mod children;
pub mod clock;
pub mod confine;
pub mod confinement;
pub mod describe;
pub mod descriptors;
pub mod elf;
mod error;
pub mod files;
pub mod heap;
pub mod holders;
pub mod kernel;
pub mod libwrap;
pub mod listeners;
pub mod local;
pub mod local_listeners;
pub mod maps;
pub mod mysql;
pub mod nameserver;
pub mod netns;
pub mod netstat;
pub mod network;
pub mod process;
pub mod reader;
pub mod rights;
pub mod servers;
pub mod sockdiag;
pub mod tables;
pub mod thread;
mod unasked;
pub mod usage;
mod walk;
pub mod wanted;
pub mod watch;
pub mod word_size;

pub use error::HostError;
