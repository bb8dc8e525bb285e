//! The observer that hands lines to the screen.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{KtimeNs, Line};
use crate::observe::{Notice, Observer};
use crate::trace::Input;

use super::feed::{self, Feed};
use super::state::{Source, State};
use super::terminal::{Look, Terminal};

/// What the screen and whoever feeds it share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: State,
    /// Somebody has quit, or it is to end.
    pub(super) quit: bool,
}

/// Takes inputs and lines, and the terminal with the first of them: by then a live trace has given up what rights it had, and threads are made without them.
/// Once somebody quits it says so by `BrokenPipe`, which ends a live trace as if asked to.
#[derive(Debug)]
pub struct Screen {
    shared: Arc<Mutex<Shared>>,
    look: Look,
    terminal: Option<Terminal>,
    feed: Feed,
}

impl Screen {
    /// For a live trace.
    pub fn live(look: Look) -> Self {
        Self::of(Source::Live, look)
    }

    /// For a recorded one.
    pub fn trace(look: Look) -> Self {
        Self::of(Source::Trace, look)
    }

    fn of(source: Source, look: Look) -> Self {
        let mut state = State::new(source);
        state.local = look.local;
        let shared = Shared { state, quit: false };
        Self { shared: Arc::new(Mutex::new(shared)), look, terminal: None, feed: Feed::default() }
    }

    /// Nothing more comes; waits until somebody quits.
    ///
    /// # Errors
    /// Where the terminal failed.
    pub fn stay(self, why: &str) -> io::Result<()> {
        self.with(|shared| {
            shared.state.ended = Some(why.to_owned());
            shared.state.follows = false;
        });
        self.terminal.map_or(Ok(()), Terminal::wait)
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// Where the terminal failed.
    pub fn close(self) -> io::Result<()> {
        self.with(|shared| shared.quit = true);
        self.terminal.map_or(Ok(()), Terminal::wait)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is shared, while somebody wants it.
fn wanted(shared: &Mutex<Shared>) -> io::Result<MutexGuard<'_, Shared>> {
    let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.quit { Err(ErrorKind::BrokenPipe.into()) } else { Ok(shared) }
}

impl Observer for Screen {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        if self.terminal.is_none() {
            self.terminal = Some(Terminal::start(self.shared.clone(), self.look)?);
        }
        if !Feed::takes(input) {
            return Ok(());
        }
        let mut shared = wanted(&self.shared)?;
        self.feed.input(&mut shared.state, input);
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        Feed::line(&mut wanted(&self.shared)?.state, line);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        wanted(&self.shared)?.state.follows = true;
        Ok(())
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        self.feed.tick(&mut wanted(&self.shared)?.state, now);
        Ok(())
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Exited(target) = notice {
            let name = feed::name(target);
            self.with(|shared| shared.state.servers.retain(|server| *server != name));
        }
    }
}
