//! Something on port 113 of all clients (RFC 1413): answers, or closes without an answer.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Ident;

/// Port "auth".
const PORT: u16 = 113;

/// It listens as long as this lives.
pub(super) struct IdentServer {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl IdentServer {
    /// It listens when this returns: on all addresses, and all clients' addresses are this namespace's own.
    pub(super) fn start(ident: Ident) -> Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))
            .context("cannot listen on the clients' port 113")?;
        let over = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&over);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.load(Ordering::Acquire) {
                    return;
                }
                let ident = ident.clone();
                std::thread::spawn(move || answer(stream, &ident));
            }
        };
        let thread = std::thread::Builder::new().name("ident".into()).spawn(accept)?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for IdentServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes it out of accept.
        let _ = TcpStream::connect((Ipv6Addr::LOCALHOST, PORT));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A query is `port, port` in a line; the answer repeats it (RFC 1413, "Query/response format").
fn answer(mut stream: TcpStream, ident: &Ident) {
    let mut query = [0; 64];
    let len = stream.read(&mut query).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(ident.after_ms));
    if let Some(user) = &ident.user {
        let ports = String::from_utf8_lossy(&query[..len]).trim().to_owned();
        let _ = write!(stream, "{ports} : USERID : UNIX : {user}\r\n");
    }
}
