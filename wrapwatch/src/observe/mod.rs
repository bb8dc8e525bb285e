//! What takes inputs and the lines that the engine makes of them: text, JSON, a recording. One file each; a [`Tee`] joins two.

mod json;
mod stalls;
mod tee;
mod text;

use std::io;

pub use json::JsonLines;
pub use stalls::NewStalls;
pub use tee::Tee;
pub use text::TextLines;

use crate::model::{Cost, KtimeNs, Line};
use crate::trace::{Input, Target};

/// Takes inputs and lines, in order: an input, then the lines that come of it. An error of kind `BrokenPipe` ends a live trace as if asked to.
pub trait Observer {
    /// An input, before anything was made of it.
    fn input(&mut self, _input: &Input<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Whether it takes lines of connections and requests. Where nobody does, none are made.
    fn wants_connections(&self) -> bool {
        true
    }

    /// How many connections there were so far; before each [`Self::tick`], and at the end.
    fn count(&mut self, _connections: u64) {}

    /// Something to tell.
    fn line(&mut self, _line: &Line) -> io::Result<()> {
        Ok(())
    }

    /// What was told so far is to be seen: nothing more comes at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What time it is; ten times a second while a trace is live.
    fn tick(&mut self, _now: KtimeNs) -> io::Result<()> {
        Ok(())
    }

    /// Something about the run itself, which is no part of a trace.
    fn notice(&mut self, _notice: &Notice<'_>) {}
}

/// Something about a live trace itself.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// Nothing to trace yet; what is waited for.
    Waiting(&'a str),
    /// A target is traced from now on.
    Watching(&'a Target),
    /// A target has ended.
    Exited(&'a Target),
    /// A target replaced its program: `twist`, or an upgrade in place.
    Replaced(&'a Target),
    /// What it has cost so far; once a second.
    Cost(&'a Cost),
    /// All is told, and the kernel still takes the programs off.
    Detaching,
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observer for Nobody {}
