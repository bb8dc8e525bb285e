//! The server's `/dev/log`: read, or frozen with a full buffer, so that whoever logs blocks.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What the buffer is filled with.
const FILLER: &[u8] = b"<7>filler of the lab";
/// More than any queue holds.
const MOST_SENDERS: usize = 4096;

struct State {
    socket: UnixDatagram,
    messages: Vec<String>,
    frozen: bool,
}

impl State {
    /// Reads all there is.
    fn read(&mut self) {
        let mut message = [0; 8192];
        while let Ok(len) = self.socket.recv(&mut message) {
            if &message[..len] != FILLER {
                self.messages.push(String::from_utf8_lossy(&message[..len]).into_owned());
            }
        }
    }
}

/// The log's reader.
pub(super) struct Syslog {
    path: PathBuf,
    shared: Arc<(Mutex<State>, Condvar)>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Syslog {
    /// Makes the socket and begins to read.
    pub(super) fn start(path: PathBuf) -> Result<Self> {
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot make {}", path.display()))?;
        socket.set_nonblocking(true)?;
        let polled = socket.try_clone()?;
        let state = State { socket, messages: Vec::new(), frozen: false };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("syslog".into()).spawn(move || read(&polled, &theirs))?;
        Ok(Self { path, shared })
    }

    /// All messages sent so far, unless it is frozen.
    pub(super) fn messages(&self, clear: bool) -> Vec<String> {
        let mut state = lock(&self.shared.0);
        if !state.frozen {
            state.read();
        }
        if clear { std::mem::take(&mut state.messages) } else { state.messages.clone() }
    }

    /// From its return on nobody reads and the buffer is full, or it is read again.
    pub(super) fn freeze(&self, frozen: bool) -> Result<()> {
        lock(&self.shared.0).frozen = frozen;
        self.shared.1.notify_all();
        if !frozen {
            return Ok(());
        }
        // One sender's own buffer may be full before the reader's queue is: only a new sender tells.
        for _ in 0..MOST_SENDERS {
            let sender = UnixDatagram::unbound()?;
            sender.set_nonblocking(true)?;
            sender.connect(&self.path)?;
            let mut sent = 0;
            let error = loop {
                match sender.send(FILLER) {
                    Ok(_) => sent += 1,
                    Err(error) => break error,
                }
            };
            match (error.kind(), sent) {
                (ErrorKind::WouldBlock, 0) => return Ok(()),
                (ErrorKind::WouldBlock, _) => {}
                _ => return Err(error).context("cannot fill the syslog socket"),
            }
        }
        bail!("the syslog socket does not fill up")
    }
}

fn read(socket: &UnixDatagram, (state, changed): &(Mutex<State>, Condvar)) {
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        // Held while it reads: once frozen is set, nothing is taken out any more.
        let thawed = changed.wait_while(lock(state), |state| state.frozen);
        thawed.unwrap_or_else(PoisonError::into_inner).read();
    }
}
