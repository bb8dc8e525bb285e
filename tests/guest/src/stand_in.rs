//! A server that behaves like mysqld up to its greeting, and is nothing beside: the main thread accepts (and, with the preloaded library,
//! checks), a thread of the connection's own asks who it is and greets.
//!
//! Linked dynamically, so that the real libwrap and glibc's resolver can be preloaded into it. Port 3306 on every address.

use std::{
    io::{ErrorKind, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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

fn greet(mut stream: TcpStream, connection: u32) {
    // mysqld's connection threads do this before anything else.
    let _ = stream.peer_addr();
    let _ = stream.write_all(&greeting(connection));
    // The client goes first, as it does with mysqld.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn main() -> std::io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 3306))?;
    listener.set_nonblocking(true)?;
    println!("listening");
    loop {
        // mysqld, too, waits here and not in accept.
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let connection = NEXT.fetch_add(1, Ordering::Relaxed);
                    let serve = move || greet(stream, connection);
                    let _ = thread::Builder::new().name("connection".into()).spawn(serve);
                }
                // A refused client looks like an interrupted call.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}
