//! What `lint` needs of the machine: the files, from where they are (here, in a trace, in a folder of many hosts'), what somebody wants to hear no more
//! of, and the diff of a fix. What is found in them is [`crate::wrappers`]' business.

mod files;
mod fix;
mod hosts;
mod ignored;

pub use files::{Files, Paths, Subject};
pub use fix::{Change, Changes, Written, changes, write};
pub use hosts::{HostReport, each_host};
pub use ignored::{IGNORE_FILE, IgnoreFile};
