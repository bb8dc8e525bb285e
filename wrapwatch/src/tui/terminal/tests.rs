//! However a process with a screen ends, its terminal is as it was: on a real pseudo-terminal, in a process of its own.

use std::fs::File;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, atomic::AtomicBool};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Drawn, Look, Shared, Terminal, lock};
use crate::tui::state::{Source, State};

/// How the process in the terminal is to end.
const HOW: &str = "WRAPWATCH_TEST_ENDS_BY";
const LOOK: Look = Look { color: true, unicode: true, zone: None, local: false };
/// A hung test is to fail, not to hang.
const AT_MOST: Duration = Duration::from_mins(1);

fn shared() -> Arc<Mutex<Shared>> {
    Arc::new(Mutex::new(Shared { state: State::new(Source::Trace), quit: false }))
}

/// The process in the terminal; for whoever runs all tests it does nothing.
#[test]
fn a_process_with_a_screen() {
    let Ok(how) = std::env::var(HOW) else { return };
    let shared = shared();
    let terminal = Terminal::start(shared.clone(), LOOK).unwrap();
    match how.as_str() {
        "panic" => panic!("it fails on purpose"),
        "panic with the state" => {
            let _held = lock(&shared);
            panic!("it fails on purpose");
        }
        _ => terminal.wait().unwrap(),
    }
}

/// A terminal of 80 columns and 24 rows, what its user sees, and how it was.
struct Pty {
    user: File,
    process: OwnedFd,
    before: libc::termios,
}

impl Pty {
    fn open() -> Self {
        let (mut user, mut process) = (-1, -1);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the numbers are written to, the size is read, and null is allowed for what is not wanted.
        let opened = unsafe {
            libc::openpty(
                &raw mut user,
                &raw mut process,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both are open, and nobody else's.
        let (user, process) = unsafe { (File::from_raw_fd(user), OwnedFd::from_raw_fd(process)) };
        let before = modes(&process);
        Self { user, process, before }
    }

    /// Runs the process that ends so.
    fn run(&self, how: &str) -> Child {
        let end = || self.process.try_clone().unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "tui::terminal::tests::a_process_with_a_screen"])
            .env(HOW, how)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap()
    }

    /// What comes, until nobody has the terminal any more.
    fn read(&self) -> Receiver<String> {
        let (tell, told) = channel();
        let mut user = self.user.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = user.read(&mut bytes) {
                let _ = tell.send(String::from_utf8_lossy(&bytes[..n]).into_owned());
            }
        });
        told
    }
}

fn modes(terminal: &OwnedFd) -> libc::termios {
    let mut modes = MaybeUninit::uninit();
    // SAFETY: it is written as a whole where the call succeeds.
    unsafe {
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), modes.as_mut_ptr()), 0);
        modes.assume_init()
    }
}

/// Until this was written.
fn read_until(told: &Receiver<String>, what: &str) -> String {
    let mut all = String::new();
    while !all.contains(what) {
        let next = told.recv_timeout(AT_MOST);
        all.push_str(&next.unwrap_or_else(|error| panic!("{error} before {what:?}:\n{all:?}")));
    }
    all
}

/// What a process wrote that ended so, and its status; `also` is done once its screen is there.
fn ended(how: &str, also: impl FnOnce(&Child)) -> (String, Option<i32>) {
    let pty = Pty::open();
    let told = pty.read();
    let mut child = pty.run(how);
    // Only once it has the terminal.
    let mut all = read_until(&told, "\x1b[?1049h");
    also(&child);
    let status = child.wait().unwrap();
    let (before, after) = (pty.before, modes(&pty.process));
    assert_eq!((after.c_lflag, after.c_iflag), (before.c_lflag, before.c_iflag), "{how}: its modes");
    drop(pty.process);
    loop {
        match told.recv_timeout(AT_MOST) {
            Ok(more) => all.push_str(&more),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{how}: somebody has the terminal:\n{all:?}"),
        }
    }
    (all, status.code())
}

/// What was written once the screen before was there again.
fn after_the_screen<'a>(how: &str, all: &'a str) -> &'a str {
    let back = all.split_once("\x1b[?1049l").unwrap_or_else(|| panic!("{how}: no way back:\n{all:?}"));
    assert!(back.0.contains("\x1b[?25l") && all.ends_with_shown_cursor(), "{how}: no cursor:\n{all:?}");
    assert!(
        !back.1.contains("\x1b[?1049h") && !back.1.contains("conn/s"),
        "{how}: a screen after it:\n{all:?}"
    );
    back.1
}

trait Cursor {
    fn ends_with_shown_cursor(&self) -> bool;
}

impl Cursor for str {
    fn ends_with_shown_cursor(&self) -> bool {
        self.rfind("\x1b[?25h") > self.rfind("\x1b[?25l")
    }
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_read() {
    for how in ["panic", "panic with the state"] {
        let (all, status) = ended(how, |_| ());
        let after = after_the_screen(how, &all);
        assert!(after.contains("it fails on purpose"), "{how}: it is on the screen that stays:\n{all:?}");
        assert_eq!(status, Some(101), "{all:?}");
    }
}

#[test]
fn each_signal_that_ends_gives_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let send = |child: &Child| kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let (all, status) = ended(signal.as_str(), send);
        after_the_screen(signal.as_str(), &all);
        assert_eq!(status, Some(0), "{signal}: {all:?}");
    }
}

#[test]
fn who_feeds_a_screen_ends_with_whoever_draws_it() {
    let (shared, done) = (shared(), Arc::new(AtomicBool::new(false)));
    let drawn = Drawn { shared: shared.clone(), done: done.clone() };
    let drawer = thread::spawn(move || {
        let _drawn = &drawn;
        let _held = lock(&drawn.shared);
        std::panic::resume_unwind(Box::new("drawing fails"));
    });
    assert!(drawer.join().is_err());
    assert!(lock(&shared).quit && done.load(std::sync::atomic::Ordering::Relaxed));
}
