//! The way of an input: to the observer as it is, into the engine, and the lines that come of it to the observer.

use std::io;

use crate::{
    engine::Engine,
    model::{KtimeNs, Line},
    observe::{Notice, Observer},
    trace::Input,
};

/// An engine and who observes it.
pub(super) struct Feed<'a> {
    observer: &'a mut dyn Observer,
    engine: Engine,
    /// The first error of the observer; it ends the trace at the next turn of the loop.
    failed: Option<io::Error>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(observer: &'a mut dyn Observer, engine: Engine) -> Self {
        Self { observer, engine, failed: None }
    }

    /// Hands on an input, and the lines that come of it.
    pub(super) fn input(&mut self, input: &Input<'_>) {
        let taken = self.observer.input(input);
        self.keep_error(taken);
        self.engine.feed(input);
        self.lines();
    }

    /// No record of before `now` is still to come.
    pub(super) fn time(&mut self, now: KtimeNs) {
        if self.engine.waits_for(now) {
            self.input(&Input::Time(now));
        }
    }

    /// No input will come any more.
    pub(super) fn finish(&mut self, tell_summary: bool) {
        self.engine.finish();
        self.observer.count(self.engine.told());
        while let Some(line) = self.engine.next_line() {
            if tell_summary || !matches!(line, Line::Summary(_)) {
                let told = self.observer.line(&line);
                self.keep_error(told);
            }
        }
        self.flush();
    }

    /// Has what was told so far be seen. Once for all lines of a turn: for each it would cost a system call, and whoever reads a wake-up.
    pub(super) fn flush(&mut self) {
        let flushed = self.observer.flush();
        self.keep_error(flushed);
    }

    pub(super) fn tick(&mut self, now: KtimeNs) {
        self.observer.count(self.engine.told());
        let ticked = self.observer.tick(now);
        self.keep_error(ticked);
    }

    pub(super) fn notice(&mut self, notice: &Notice<'_>) {
        self.observer.notice(notice);
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(super) const fn take_error(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    fn lines(&mut self) {
        while let Some(line) = self.engine.next_line() {
            let told = self.observer.line(&line);
            self.keep_error(told);
        }
    }

    fn keep_error(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}
