//! The lab as tests and the demo use it: a typed wrapper around the binary `wrapwatch-lab`, with which it talks in JSON lines.
//!
//! A lab is a process tree in namespaces of its own (process ids, mounts, networks): a real mariadbd with wrapper checks, clients with
//! addresses by the thousand, and a programmable nameserver. It shows nothing on the machine outside but its processes,
//! which wrapwatch traces from outside, and is gone as soon as its first process is, however that ended.
//!
//! ```no_run
//! use wrapwatch_tests::{clients::ClientsSpec, lab::{Lab, LabConfig}, nameserver::Rule};
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::start(LabConfig::default())?;
//! lab.rules([Rule::delay(300)])?;
//! let results = lab.clients(ClientsSpec::at_once(20))?;
//! # Ok(()) }
//! ```

mod config;
mod handle;
pub mod parts;
mod protocol;

pub use config::{Engine, Files, LabConfig, Program, ServerConfig, Write};
pub use handle::{Lab, Pending};
pub use protocol::{
    Capture, Command, ExecResult, Ident, LabInfo, Link, Namespace, Reply, Request, Signal, Welcome,
};
