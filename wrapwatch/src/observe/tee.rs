//! Two observers as one: the second is given what the first has taken.

use std::io;

use super::{Notice, Observer};
use crate::{
    model::{KtimeNs, Line},
    trace::Input,
};

/// Both of them, in order. Where the first fails the second is not asked: what is shown of a recording is in it.
#[derive(Debug)]
pub struct Tee<A, B>(pub A, pub B);

impl<A: Observer, B: Observer> Observer for Tee<A, B> {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.0.input(input)?;
        self.1.input(input)
    }

    fn wants_connections(&self) -> bool {
        self.0.wants_connections() || self.1.wants_connections()
    }

    fn count(&mut self, connections: u64) {
        self.0.count(connections);
        self.1.count(connections);
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.0.line(line)?;
        self.1.line(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        self.0.tick(now)?;
        self.1.tick(now)
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        self.0.notice(notice);
        self.1.notice(notice);
    }
}

/// One that may be there.
impl<T: Observer> Observer for Option<T> {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.input(input))
    }

    fn wants_connections(&self) -> bool {
        self.as_ref().is_some_and(T::wants_connections)
    }

    fn count(&mut self, connections: u64) {
        if let Some(observer) = self {
            observer.count(connections);
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.line(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), T::flush)
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.tick(now))
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if let Some(observer) = self {
            observer.notice(notice);
        }
    }
}
