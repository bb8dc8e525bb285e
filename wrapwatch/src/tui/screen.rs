//! The observer that hands lines to the screen.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::Fact;
use crate::model::{ClockPair, KtimeNs, Line};
use crate::observe::{Notice, Observer};
use crate::trace::{Input, Target};

use super::log::Told;
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
    clock: Option<ClockPair>,
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
        Self { shared: Arc::new(Mutex::new(shared)), look, terminal: None, clock: None }
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

    fn while_wanted(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        self.with(|shared| {
            if shared.quit {
                return Err(ErrorKind::BrokenPipe.into());
            }
            change(&mut shared.state);
            Ok(())
        })
    }

    fn fact(&self, input: &Input<'_>) -> io::Result<()> {
        let Some(fact) = Fact::of(input) else { return Ok(()) };
        let at = match input {
            Input::Sample(sample) => self.clock.map(|clock| clock.wall(sample.at).0),
            Input::Head(head) => Some(head.clock.wall(head.clock.ktime).0),
            _ => None,
        };
        self.while_wanted(|state| {
            at.into_iter().for_each(|at| state.passed(at));
            state.told(Told::Fact(Box::new(fact)));
        })
    }

    fn server(&self, target: &Target) -> io::Result<()> {
        let name = format!("{} ({})", target.comm, target.pid);
        self.while_wanted(|state| {
            if !state.servers.contains(&name) {
                state.servers.push(name);
            }
        })
    }
}

impl Observer for Screen {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        if self.terminal.is_none() {
            self.terminal = Some(Terminal::start(self.shared.clone(), self.look)?);
        }
        match input {
            Input::Clock(clock) => self.clock = Some(*clock),
            // A recording has one; each of its files begins with it.
            Input::Head(_) if self.clock.is_some() => return Ok(()),
            Input::Head(head) => {
                self.clock = Some(head.clock);
                head.targets.iter().try_for_each(|target| self.server(target))?;
            }
            Input::Target(target) => self.server(target)?,
            _ => {}
        }
        self.fact(input)
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        if matches!(line, Line::Summary(_)) {
            // The screen sums up by itself, up to the moment that it shows.
            return Ok(());
        }
        self.while_wanted(|state| state.told(Told::Line(Box::new(line.clone()))))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.while_wanted(|state| state.follows = true)
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        let at = self.clock.map(|clock| clock.wall(now).0);
        self.while_wanted(|state| at.into_iter().for_each(|at| state.passed(at)))
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Exited(target) = notice {
            let name = format!("{} ({})", target.comm, target.pid);
            self.with(|shared| shared.state.servers.retain(|server| *server != name));
        }
    }
}
