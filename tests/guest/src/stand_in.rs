//! A server that behaves like mysqld up to its greeting, and is nothing beside: the main thread accepts (and, with the preloaded library,
//! checks), a thread of the connection's own asks who it is and greets.
//!
//! Linked dynamically, so that the real libwrap and glibc's resolver can be preloaded into it. Arguments: the port on which it listens, on every
//! address, and a number below which it leaves no descriptor free. With a third one, a second thread accepts on the next port, in a blocking call, and
//! its number is so much higher than the main thread's. With a fourth one, a path, the main thread accepts on that unix socket, too.

use std::{
    env,
    fs::File,
    io::{Error, ErrorKind, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixListener,
    },
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::resource::{Resource, setrlimit},
};
use socket2::Socket;

/// Descriptors that connections and their checks may have beyond those held.
const SPARE: u64 = 1024;
/// How often a thread's number is tried to get.
const TRIES: u32 = 100;

/// Version 10, a server version, and behind the connection's number what a client needs not to stumble: 8 bytes of salt, capabilities
/// (PROTOCOL_41, SECURE_CONNECTION), character set, status, the length of the salt, its rest.
fn greeting(connection: u32) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend_from_slice(b"5.5.62-stand-in\0");
    payload.extend_from_slice(&connection.to_le_bytes());
    payload.extend_from_slice(b"saltsalt\0");
    payload.extend_from_slice(&[0x00, 0x82, 33, 2, 0, 0, 0, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"saltsaltsalt\0");
    let mut packet = vec![u8::try_from(payload.len()).unwrap_or(u8::MAX), 0, 0, 0];
    packet.append(&mut payload);
    packet
}

fn greet(stream: &Socket, connection: u32) {
    // mysqld's connection threads do this before anything else.
    let _ = stream.peer_addr();
    let _ = (&*stream).write_all(&greeting(connection));
    // The client goes first, as it does with mysqld.
    let _ = std::io::copy(&mut &*stream, &mut std::io::sink());
}

/// Takes every descriptor with a number below this: a new one gets the lowest that is free.
fn hold(below: u32) -> std::io::Result<Vec<File>> {
    let mut held = Vec::new();
    if below == 0 {
        return Ok(held);
    }
    let limit = u64::from(below) + SPARE;
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    let first = File::open("/dev/null")?;
    loop {
        let next = first.try_clone()?;
        // One past: what has this number goes back, and is the first that is free.
        if u32::try_from(next.as_raw_fd()).is_ok_and(|number| number >= below) {
            held.push(first);
            return Ok(held);
        }
        held.push(next);
    }
}

/// Serves a client in a thread of its own.
fn serve(stream: impl Into<Socket>) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (stream, connection) = (stream.into(), NEXT.fetch_add(1, Ordering::Relaxed));
    let _ = thread::Builder::new().name("connection".into()).spawn(move || greet(&stream, connection));
}

/// Starts the second accept thread. The kernel gives a new thread the number after the last one (proc(5), `ns_last_pid`), unless somebody was faster.
fn neighbour(listener: &TcpListener, distance: u32) -> std::io::Result<()> {
    let wanted = nix::unistd::gettid().as_raw().saturating_add_unsigned(distance);
    for _ in 0..TRIES {
        let listener = listener.try_clone()?;
        let (tell, told) = mpsc::channel();
        std::fs::write("/proc/sys/kernel/ns_last_pid", wanted.saturating_sub(1).to_string())?;
        thread::Builder::new().name("neighbour".into()).spawn(move || {
            let right = nix::unistd::gettid().as_raw() == wanted;
            let _ = tell.send(right);
            if right {
                listener.incoming().flatten().for_each(serve);
            }
        })?;
        if told.recv() == Ok(true) {
            return Ok(());
        }
    }
    Err(Error::other("no thread of the number wanted"))
}

fn argument(number: usize) -> Option<u32> {
    env::args().nth(number)?.parse().ok()
}

fn main() -> std::io::Result<()> {
    let usage = || {
        Error::new(ErrorKind::InvalidInput, "usage: wrapwatch-stand-in PORT DESCRIPTORS [DISTANCE [SOCKET]]")
    };
    let (port, below) = (argument(1).ok_or_else(usage)?, argument(2).ok_or_else(usage)?);
    let port = u16::try_from(port).map_err(|_| usage())?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    let _held = hold(below)?;
    if let Some(distance) = argument(3).filter(|distance| *distance > 0) {
        neighbour(&TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.saturating_add(1)))?, distance)?;
    }
    let local = env::args().nth(4).map(UnixListener::bind).transpose()?;
    if let Some(local) = &local {
        local.set_nonblocking(true)?;
    }
    println!("listening");
    loop {
        let listeners = [Some(listener.as_fd()), local.as_ref().map(|local| local.as_fd())];
        let mut polled: Vec<PollFd<'_>> =
            listeners.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // mysqld, too, waits here and not in accept.
        poll(&mut polled, PollTimeout::NONE)?;
        serve_all(|| listener.accept());
        if let Some(local) = &local {
            serve_all(|| local.accept());
        }
    }
}

/// Serves everybody who is in a listener's queue.
fn serve_all<S: Into<Socket>, A>(accept: impl Fn() -> std::io::Result<(S, A)>) {
    loop {
        match accept() {
            Ok((stream, _)) => serve(stream),
            // A refused client looks like an interrupted call.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
}
