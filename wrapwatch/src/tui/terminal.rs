//! The terminal: keys in, the screen out, and everything as it was when it ends, also after a panic.

use std::io::{self, BufWriter, Stdout, Write as _, stdout};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor,
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, terminal as term,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use ratatui::{Terminal as Drawing, backend::CrosstermBackend, buffer::Buffer};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use super::draw::draw;
use super::keys::Key;
use super::look::Look;
use super::state::{Effect, State};

#[cfg(test)]
mod tests;

/// Least time between two screens.
const FRAME: Duration = Duration::from_millis(100);
/// What most screens take: written at once, or half of one would be seen.
const SCREEN: usize = 64 << 10;
/// How long the rest of a key's sequence may take; 0 would not even read what is there.
const KEY: Duration = Duration::from_millis(1);
/// How long an end may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a panic waits for the last screen to be drawn; whoever draws it may wait for what the panic holds.
const LAST_FRAME: Duration = Duration::from_millis(300);

/// What the screen and whoever feeds it share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: State,
    /// Somebody has quit, or it is to end.
    pub(super) quit: bool,
}

/// The terminal while the view is on it.
#[derive(Debug)]
pub(super) struct Terminal {
    thread: JoinHandle<io::Result<()>>,
    shared: Arc<Mutex<Shared>>,
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal for what is shared.
    pub(super) fn start(shared: Arc<Mutex<Shared>>, look: Look) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register(signal, ended.clone())?;
        }
        let taken = Taken::take()?;
        let done = Arc::new(AtomicBool::new(false));
        let (its_shared, its_ended, its_done) = (shared.clone(), ended.clone(), done.clone());
        let thread = thread::Builder::new().name("tui".to_owned()).spawn(move || {
            let drawing = Drawn { shared: its_shared, done: its_done };
            run(&drawing.shared, look, taken, &its_ended)
        })?;
        restore_on_panic(thread.thread().id(), ended.clone(), done);
        Ok(Self { thread, shared, ended })
    }

    /// Whether it was asked to end, or has.
    pub(super) fn is_ending(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.thread.is_finished()
    }

    /// Waits until somebody quits. A terminal that is gone may hold its reader for ever, and this process with it: it is not waited for.
    pub(super) fn wait(self) -> io::Result<()> {
        let mut patience = PATIENCE;
        while !self.thread.is_finished() {
            if self.ended.load(Ordering::Relaxed) || lock(&self.shared).quit {
                let Some(left) = patience.checked_sub(FRAME) else {
                    give_back();
                    return Ok(());
                };
                patience = left;
            }
            thread::sleep(FRAME);
        }
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the live view has failed")))
    }
}

/// What is drawn. When that ends, be it by a panic, those who feed it are to end too.
struct Drawn {
    shared: Arc<Mutex<Shared>>,
    done: Arc<AtomicBool>,
}

impl Drop for Drawn {
    fn drop(&mut self) {
        lock(&self.shared).quit = true;
        self.done.store(true, Ordering::Relaxed);
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The terminal in its other screen; given back when this ends.
struct Taken;

impl Taken {
    fn take() -> io::Result<Self> {
        term::enable_raw_mode()?;
        let taken = Self;
        execute!(stdout(), term::EnterAlternateScreen, cursor::Hide)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // There is nothing left to do where the terminal is gone.
    let _ = execute!(stdout(), cursor::Show, term::LeaveAlternateScreen);
    let _ = term::disable_raw_mode();
}

/// Gives the terminal back before the panic is told, and has no screen drawn over that.
fn restore_on_panic(drawer: thread::ThreadId, ended: Arc<AtomicBool>, done: Arc<AtomicBool>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        ended.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        while thread::current().id() != drawer
            && !done.load(Ordering::Relaxed)
            && begun.elapsed() < LAST_FRAME
        {
            thread::sleep(KEY);
        }
        give_back();
        before(info);
    }));
}

fn run(shared: &Mutex<Shared>, look: Look, mut taken: Taken, ended: &AtomicBool) -> io::Result<()> {
    let mut drawing = Drawing::new(CrosstermBackend::new(BufWriter::with_capacity(SCREEN, stdout())))?;
    let mut drawn = Instant::now();
    show(shared, look, &mut drawing, ended)?;
    loop {
        if ended.load(Ordering::Relaxed) || lock(shared).quit {
            return Ok(());
        }
        let mut keys = Vec::new();
        match wait(FRAME.saturating_sub(drawn.elapsed()))? {
            Stdin::Gone => return Ok(()),
            Stdin::Nothing => {}
            // A change of the size is seen by each drawing.
            Stdin::Ready => {
                while event::poll(KEY)? {
                    if let Event::Key(key) = event::read()? {
                        keys.extend(known(key));
                    }
                }
            }
        }
        for key in keys {
            let effect = lock(shared).state.key(key);
            match effect {
                Effect::None => {}
                Effect::Quit { keep } => {
                    let last = drawing.current_buffer_mut().clone();
                    let last = if keep {
                        Some(show(shared, look, &mut drawing, ended)?.unwrap_or(last))
                    } else {
                        None
                    };
                    drop(taken);
                    return last.map_or(Ok(()), |buffer| print(&buffer));
                }
                Effect::Suspend => {
                    drop(taken);
                    // SAFETY: no memory is involved; the process stops, and goes on here when it is continued.
                    unsafe { libc::raise(libc::SIGTSTP) };
                    taken = Taken::take()?;
                    drawing.clear()?;
                }
                // Into the clipboard of whoever sits at the terminal.
                Effect::Copy(text) => execute!(stdout(), CopyToClipboard::to_clipboard_from(text))?,
            }
        }
        if drawn.elapsed() >= FRAME {
            drawn = Instant::now();
            show(shared, look, &mut drawing, ended)?;
        }
    }
}

/// What there is to read.
enum Stdin {
    Nothing,
    Ready,
    /// There is no terminal any more; whatever reads keys would wait for them without end.
    Gone,
}

/// Waits for something to read, so long at most.
fn wait(at_most: Duration) -> io::Result<Stdin> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // What is left of a millisecond counts as one, or it would be asked again at once.
    let at_most = PollTimeout::try_from(at_most.saturating_add(Duration::from_micros(999)));
    match poll(&mut fds, at_most.unwrap_or(PollTimeout::ZERO)) {
        Ok(0) | Err(Errno::EINTR) => Ok(Stdin::Nothing),
        Ok(_) => {
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            let is_gone = fds[0].revents().is_some_and(|events| events.intersects(gone));
            Ok(if is_gone { Stdin::Gone } else { Stdin::Ready })
        }
        Err(error) => Err(error.into()),
    }
}

/// Draws; gives what was drawn. Nothing once it is to end: a panic may have given the terminal back.
fn show(
    shared: &Mutex<Shared>,
    look: Look,
    drawing: &mut Drawing<CrosstermBackend<BufWriter<Stdout>>>,
    ended: &AtomicBool,
) -> io::Result<Option<Buffer>> {
    let mut drawn = None;
    let outcome = drawing.try_draw(|frame| {
        let area = frame.area();
        let mut shared = lock(shared);
        if ended.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        draw(&mut shared.state, look, area, frame.buffer_mut());
        drawn = Some(frame.buffer_mut().clone());
        Ok(())
    });
    match outcome {
        Err(_) if ended.load(Ordering::Relaxed) => Ok(None),
        outcome => outcome.map(|_| drawn),
    }
}

/// The last screen as text.
fn print(buffer: &Buffer) -> io::Result<()> {
    let mut out = stdout().lock();
    for row in buffer.area.rows() {
        let text: String = row
            .columns()
            .filter_map(|cell| buffer.cell(cell.as_position()))
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        writeln!(out, "{}", text.trim_end())?;
    }
    out.flush()
}

fn known(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::CtrlC,
        KeyCode::Char('z') if control => Key::CtrlZ,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
