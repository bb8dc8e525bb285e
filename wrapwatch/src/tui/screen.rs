//! The observer that hands lines to the screen.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::model::{KtimeNs, Line};
use crate::observe::{Notice, Observer};
use crate::trace::Input;

use super::feed::{self, Feed};
use super::look::Look;
use super::state::{Source, State};
use super::terminal::{Shared, Terminal};

/// How often it is looked whether somebody wants more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Takes inputs and lines, and the terminal with the first of them: by then a live trace has given up what rights it had, and threads are made without them.
/// Once somebody quits it says so by `BrokenPipe`, which ends a live trace as if asked to; also where a trace is to be told again ([`Screen::begins_again`]).
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

    /// Nothing more comes; waits until somebody quits, or a trace is to be told again.
    pub fn stay(&self, why: &str) {
        self.with(|shared| {
            shared.state.ended = Some(why.to_owned());
            shared.state.follows = false;
        });
        if let Some(terminal) = &self.terminal {
            while !terminal.is_ending() && wanted(&self.shared).is_ok() {
                thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Whether somebody looks at what of a trace is no longer kept: then it is to be told again from its beginning.
    pub fn begins_again(&mut self) -> bool {
        let again = self.with(|shared| {
            let again = !shared.quit && shared.state.wants_again();
            if again {
                shared.state.begin_again();
            }
            again
        });
        if again {
            self.feed = Feed::default();
        }
        again
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

/// What is shared, while somebody wants more of it.
fn wanted(shared: &Mutex<Shared>) -> io::Result<MutexGuard<'_, Shared>> {
    let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.quit || shared.state.wants_again() { Err(ErrorKind::BrokenPipe.into()) } else { Ok(shared) }
}

/// The same, once there is room for more.
fn wanted_on(shared: &Mutex<Shared>) -> io::Result<MutexGuard<'_, Shared>> {
    loop {
        let shared = wanted(shared)?;
        if !shared.state.has_enough() {
            return Ok(shared);
        }
        drop(shared);
        thread::sleep(LOOK_EVERY);
    }
}

impl Observer for Screen {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        if self.terminal.is_none() {
            self.terminal = Some(Terminal::start(self.shared.clone(), self.look)?);
        }
        if !Feed::takes(input) {
            return Ok(());
        }
        let mut shared = wanted_on(&self.shared)?;
        self.feed.input(&mut shared.state, input);
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        Feed::line(&mut wanted_on(&self.shared)?.state, line);
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
