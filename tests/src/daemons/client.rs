//! Clients that follow a script, each with a clock of its own.
//!
//! The moment when something came is the kernel's (`SO_TIMESTAMPNS`), so that a client that gets no CPU is not late by that.

use std::io::{self, IoSliceMut, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use super::spec::{Step, Transport};
use crate::clock::now_ns;

/// A client waits no longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client saw, `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Just before `connect`, or before the request was sent.
    pub called_ns: u64,
    /// `connect` had returned, or the request was sent.
    pub connected_ns: u64,
    /// Its first bytes were sent, where it speaks first: a server that defers (tcp(7), `TCP_DEFER_ACCEPT`) gets to see it only then.
    pub sent_ns: Option<u64>,
    /// The server's first byte came.
    pub first_ns: Option<u64>,
    /// The server's end came: then it was seen.
    pub ended_ns: Option<u64>,
    /// It was there before it was waited for, so that it came at any moment until then. The kernel gives it no time.
    pub end_was_there: bool,
    /// All that came.
    pub received: Vec<u8>,
    /// What was not as the script says.
    pub failed: Option<String>,
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its own address.
    pub from: IpAddr,
    /// The server.
    pub to: SocketAddr,
    /// What they speak.
    pub transport: Transport,
}

/// Follows the script; the connection is closed at its end.
pub fn follow(way: Way, steps: &[Step]) -> Clock {
    let mut clock = Clock::default();
    if let Err(error) = talk(way, steps, &mut clock) {
        clock.failed = Some(error.to_string());
    }
    clock
}

/// Runs a program as client; it has to end well. When the first byte came is not known.
pub fn run_program(argv: &[String]) -> Clock {
    let mut clock = Clock { called_ns: now_ns(), ..Clock::default() };
    clock.connected_ns = clock.called_ns;
    let output = Command::new("timeout").arg("30").args(argv).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => clock.received = output.stdout,
        Ok(output) => {
            clock.failed = Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        Err(error) => clock.failed = Some(error.to_string()),
    }
    clock
}

fn talk(way: Way, steps: &[Step], clock: &mut Clock) -> io::Result<()> {
    let kind = match way.transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(way.to), kind, None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.bind(&SocketAddr::new(way.from, 0).into())?;
    clock.called_ns = now_ns();
    if way.transport == Transport::Tcp {
        socket.connect(&way.to.into())?;
        socket.set_tcp_nodelay(true)?;
    }
    clock.connected_ns = now_ns();
    let send = |bytes: &[u8]| match way.transport {
        Transport::Tcp => (&socket).write_all(bytes),
        // Not connected: the answer may come from another port.
        Transport::Udp => socket.send_to(bytes, &way.to.into()).map(drop),
    };
    for step in steps {
        match step {
            Step::Send(text) => send(text.as_bytes())?,
            Step::Hex(text) => send(&bytes(text)?)?,
            Step::Zeros(count) => send(&vec![0; *count])?,
            Step::Shutdown(_) => socket.shutdown(Shutdown::Write)?,
            Step::Read(text) => read_until(&socket, text.as_bytes(), clock)?,
            Step::End(_) => while receive(&socket, clock)? {},
        }
        if matches!(step, Step::Send(_) | Step::Hex(_) | Step::Zeros(_)) && clock.first_ns.is_none() {
            clock.sent_ns.get_or_insert_with(now_ns);
        }
        if way.transport == Transport::Udp && clock.received.is_empty() {
            clock.connected_ns = now_ns();
        }
    }
    Ok(())
}

fn read_until(socket: &Socket, wanted: &[u8], clock: &mut Clock) -> io::Result<()> {
    let from = clock.received.len();
    loop {
        if !receive(socket, clock)? {
            return Err(io::Error::other(format!(
                "the server closed before it said {:?}: {:?}",
                String::from_utf8_lossy(wanted),
                String::from_utf8_lossy(&clock.received)
            )));
        }
        let new = clock.received.get(from..).unwrap_or_default();
        if wanted.is_empty() || new.windows(wanted.len()).any(|window| window == wanted) {
            return Ok(());
        }
    }
}

/// Receives something; false at the server's end, a reset included.
fn receive(socket: &Socket, clock: &mut Clock) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    // Of the first byte alone, for what is received together has the last packet's time. A datagram is one packet.
    let first_of_stream = clock.first_ns.is_none() && socket.r#type()? == Type::STREAM;
    let room = if first_of_stream { 1 } else { buffer.len() };
    let buffer = buffer.get_mut(..room).unwrap_or_default();
    let at_once = receive_once(socket, buffer, MsgFlags::MSG_DONTWAIT);
    let was_there = !matches!(&at_once, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    let received = if was_there { at_once } else { receive_once(socket, buffer, MsgFlags::empty()) };
    let (length, came_ns) = received?;
    if length == 0 {
        clock.ended_ns = Some(came_ns);
        clock.end_was_there = was_there;
        return Ok(false);
    }
    clock.first_ns.get_or_insert(came_ns);
    clock.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(true)
}

/// How much came, and when; nothing at the end.
fn receive_once(socket: &Socket, buffer: &mut [u8], flags: MsgFlags) -> io::Result<(usize, u64)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
        Ok(message) => Ok((message.bytes, stamp(message.cmsgs()?).map_or_else(now_ns, monotonic))),
        Err(nix::errno::Errno::ECONNRESET) => Ok((0, now_ns())),
        Err(error) => Err(error.into()),
    }
}

fn stamp(mut messages: impl Iterator<Item = ControlMessageOwned>) -> Option<u64> {
    messages.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => u64::try_from(Duration::from(at).as_nanos()).ok(),
        _ => None,
    })
}

/// A moment of the wall clock on the monotonic one.
fn monotonic(wall_ns: u64) -> u64 {
    let wall = || {
        clock_gettime(ClockId::CLOCK_REALTIME)
            .map_or(0, |now| u64::try_from(Duration::from(now).as_nanos()).unwrap_or_default())
    };
    // The closest of a few: between two readings the thread may lose its CPU.
    let pair = || {
        let before = now_ns();
        let wall = wall();
        (now_ns() - before, before, wall)
    };
    let (_, now, wall_now) = (0..5).map(|_| pair()).min().unwrap_or_default();
    now.saturating_sub(wall_now.saturating_sub(wall_ns))
}

/// Bytes from hexadecimal digits.
fn bytes(text: &str) -> io::Result<Vec<u8>> {
    let digits: String = text.split_whitespace().collect();
    let pair = |at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>();
    bytes.ok_or_else(|| io::Error::other(format!("not hexadecimal: {text}")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_client_follows_its_script_and_notes_the_first_byte() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = server.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut client, _) = server.accept().unwrap();
            let mut said = [0; 2];
            client.read_exact(&mut said).unwrap();
            client.write_all(b"220 hello\r\n").unwrap();
            said
        });
        let way = Way { from: Ipv4Addr::LOCALHOST.into(), to, transport: Transport::Tcp };
        let steps = [Step::Hex("68 69".into()), Step::Read("hello".into()), Step::End(true)];
        let clock = follow(way, &steps);
        assert_eq!((served.join().unwrap(), clock.failed), (*b"hi", None));
        assert_eq!(clock.received, b"220 hello\r\n");
        let first = clock.first_ns.unwrap();
        assert!(clock.called_ns <= clock.connected_ns && clock.connected_ns <= first, "{first}");
        assert!(clock.connected_ns <= clock.sent_ns.unwrap());
        assert!(first <= clock.ended_ns.unwrap() && first <= now_ns());
    }

    #[test]
    fn an_end_that_was_there_before_somebody_waited_for_it_is_told_from_one_that_came() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect(&server.local_addr().unwrap().into()).unwrap();
        let (client, _) = server.accept().unwrap();
        let mut clock = Clock::default();
        let is_waiting = {
            let own = format!("/proc/self/task/{}/stat", nix::unistd::gettid());
            move || std::fs::read_to_string(&own).is_ok_and(|stat| stat.contains(") S "))
        };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while !is_waiting() {
                    std::thread::yield_now();
                }
                drop(client);
            });
            assert!(!receive(&socket, &mut clock).unwrap() && !clock.end_was_there);
        });
        assert!(!receive(&socket, &mut clock).unwrap() && clock.end_was_there);
    }

    #[test]
    fn an_end_that_the_script_does_not_have_is_a_failure() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = server.local_addr().unwrap();
        let served = std::thread::spawn(move || drop(server.accept().unwrap()));
        let way = Way { from: Ipv4Addr::LOCALHOST.into(), to, transport: Transport::Tcp };
        let clock = follow(way, &[Step::Read("hello".into())]);
        served.join().unwrap();
        assert!(clock.failed.is_some() && clock.ended_ns.is_some() && clock.first_ns.is_none());
        assert!(bytes("0g").is_err() && bytes("0").is_err());
    }
}
