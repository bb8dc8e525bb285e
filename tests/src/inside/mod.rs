//! What runs within the lab's own namespaces, behind the binary `wrapwatch-lab`.
//!
//! `cradle` makes the process tree that dies as one; `namespaces`, `network` and `files` make its world; `server`, `daemon`,
//! `syslog`, `capture`, `burn` and `exec` are the things in it; `control` obeys what comes on stdin.
//! Nothing here touches the machine's own mounts or networks: all of it comes after `unshare`.

mod burn;
mod capture;
mod control;
mod cradle;
mod daemon;
mod exec;
mod files;
mod ident;
mod namespaces;
mod network;
mod resolved;
mod server;
mod syslog;

pub use cradle::main;
