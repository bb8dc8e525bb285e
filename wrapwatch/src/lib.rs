//! Shows where the clients of a server with TCP wrappers wait. The command `wrapwatch` is made of this library.
//!
//! # What is public
//!
//! * [`trace`]: the .wwt file. [`trace::Reader`] gives one [`trace::Input`] after another.
//! * [`engine`]: [`engine::Engine`] is fed with inputs and gives lines. It is pure: no I/O, no clock.
//! * [`model`]: [`model::Line`] and all that it holds: connections, stalls, degradations, the summary, with their JSON form.
//! * [`replay`]: reader and engine in one.
//! * [`wrappers`]: hosts.allow and hosts.deny as libwrap reads them: what a check decides, and which lookups it makes.
//!
//! Everything else is hidden in this documentation. The command and the tests use it, and it changes without notice. A list of all public names is kept in
//! `wrapwatch/public-api.txt`; `cargo xtask docs --api` renews it. `ARCHITECTURE.md` says how data flows from inputs through the engine to what is printed.
//!
//! # Who waited longest?
//!
//! ```
//! use std::fs::File;
//!
//! use wrapwatch::{engine::{Engine, Options}, model::Line, trace::Reader};
//!
//! # const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/traces/format-1-abi-3.wwt");
//! let mut reader = Reader::new(File::open(TRACE)?);
//! let mut engine = Engine::new(Options::default());
//! let mut longest = 0;
//! let mut see = |line: Line| match line {
//!     Line::Connection(connection) => longest = longest.max(connection.total_ns.unwrap_or(0)),
//!     Line::Summary(summary) => println!("{}", summary.verdict),
//!     _ => {}
//! };
//! while let Some(input) = reader.next_input()? {
//!     engine.feed(&input);
//!     while let Some(line) = engine.next_line() {
//!         see(line);
//!     }
//! }
//! engine.finish();
//! while let Some(line) = engine.next_line() {
//!     see(line);
//! }
//! assert!(longest > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Each line as JSON
//!
//! ```
//! # use std::fs::File;
//! use wrapwatch::replay::{Options, Replay};
//!
//! # const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/traces/format-1-abi-3.wwt");
//! for line in Replay::new(File::open(TRACE)?, Options::default()) {
//!     println!("{}", serde_json::to_string(&line?)?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What do the tables say to a client?
//!
//! ```
//! use wrapwatch::wrappers::{Endpoint, FixedNames, Request, Table, Tables, Verdict, evaluate};
//!
//! let tables = Tables { allow: Table::parse(b"mysqld: .example.com\n"), deny: Table::parse(b"ALL: ALL\n") };
//! let request = Request::new("mysqld", Endpoint::new([10, 0, 2, 14].into(), 50123));
//!
//! let known = evaluate(&tables, &request, &mut FixedNames::verified("db1.example.com", [10, 0, 2, 14].into()));
//! assert_eq!((known.verdict, known.lookups.len()), (Verdict::Allow, 2));
//!
//! let dns_is_down = evaluate(&tables, &request, &mut FixedNames::unknown());
//! assert_eq!(dns_is_down.verdict, Verdict::Deny);
//! ```

pub mod engine;
pub mod model;
pub mod replay;
pub mod trace;
pub mod wrappers;

#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod context;
#[doc(hidden)]
pub mod correlate;
#[doc(hidden)]
pub mod decode;
#[doc(hidden)]
pub mod diagnose;
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod export;
#[doc(hidden)]
pub mod host;
#[doc(hidden)]
pub mod import;
#[doc(hidden)]
pub mod linter;
#[doc(hidden)]
pub mod live;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod observe;
#[doc(hidden)]
pub mod ping;
#[doc(hidden)]
pub mod probe;
#[doc(hidden)]
pub mod publish;
#[doc(hidden)]
pub mod record;
#[doc(hidden)]
pub mod render;
#[cfg(feature = "tui")]
#[doc(hidden)]
pub mod tui;

#[cfg(test)]
mod folders;
#[cfg(test)]
mod sources;
