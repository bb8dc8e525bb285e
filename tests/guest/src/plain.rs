//! The plain server of `cargo xtask vm --instructions`: the system calls that a server behind TCP wrappers makes for a query and for a connection, and nothing else.
//! It is its own client, so that nothing is left to the scheduler.
//!
//! Told on stdin what to do and how often (`query 1000`), it answers with what its calls as a server usually took, in instructions.

mod processor;
mod work;

use std::{
    fs::File,
    io::{BufRead as _, Error, ErrorKind, Read as _, Result, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, connect, recv, send, setsockopt, socket,
        sockopt::Linger,
    },
};
use processor::timed;
use work::Work;

const PORT: u16 = 3306;
const NAMESERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 53), 53);
/// As long as a short query, its answer, a greeting, a login.
const QUERY: [u8; 100] = [b'q'; 100];
const ANSWER: [u8; 100] = [b'a'; 100];
const GREETING: [u8; 80] = [b'g'; 80];
const WELCOME: [u8; 11] = [b'w'; 11];
/// Of a DNS message: flags, and the types of address and name.
const RECURSION_DESIRED: u16 = 0x0100;
const A: u16 = 1;
const PTR: u16 = 12;

struct Plain {
    listener: TcpListener,
    /// Both ends of the connection that stays open.
    client: TcpStream,
    server: TcpStream,
    buffer: Box<[u8; 4096]>,
    /// The last DNS message's.
    id: u16,
}

impl Plain {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        Ok(Self { listener, client, server, buffer: Box::new([0; 4096]), id: 0 })
    }

    /// Does it once; what the server's calls took.
    fn once(&mut self, work: Work) -> Result<u64> {
        match work {
            Work::Query => self.query(),
            Work::Connection => self.connection(false),
            Work::ConnectionLookups => self.connection(true),
        }
    }

    /// It finds nothing yet, waits, reads a query, answers.
    fn query(&mut self) -> Result<u64> {
        let mut sum = 0;
        timed(&mut sum, || nothing_yet(&self.server, &mut self.buffer[..4]))?;
        (&self.client).write_all(&QUERY)?;
        let mut waits = [PollFd::new(self.server.as_fd(), PollFlags::POLLIN | PollFlags::POLLPRI)];
        timed(&mut sum, || {
            poll(&mut waits, PollTimeout::NONE)?;
            recv(self.server.as_raw_fd(), &mut self.buffer[..100], MsgFlags::MSG_DONTWAIT)?;
            send(self.server.as_raw_fd(), &ANSWER, MsgFlags::MSG_DONTWAIT)
        })?;
        recv(self.client.as_raw_fd(), &mut *self.buffer, MsgFlags::empty())?;
        Ok(sum)
    }

    /// Accepts, checks, greets, reads the login, welcomes, finds the client gone.
    fn connection(&mut self, lookups: bool) -> Result<u64> {
        let mut sum = 0;
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
        let server = timed(&mut sum, || {
            let (server, _) = self.listener.accept()?;
            server.peer_addr().map(|_| server)
        })?;
        self.check(lookups, &mut sum)?;
        let fd = server.as_raw_fd();
        timed(&mut sum, || {
            fcntl(&server, FcntlArg::F_SETFL(OFlag::O_RDWR))?;
            server.set_nodelay(true)?;
            Result::Ok(send(fd, &GREETING, MsgFlags::MSG_DONTWAIT)?)
        })?;
        (&client).write_all(&QUERY)?;
        recv(client.as_raw_fd(), &mut *self.buffer, MsgFlags::empty())?;
        timed(&mut sum, || {
            recv(fd, &mut self.buffer[..4], MsgFlags::MSG_DONTWAIT)?;
            recv(fd, &mut self.buffer[..96], MsgFlags::MSG_DONTWAIT)?;
            send(fd, &WELCOME, MsgFlags::MSG_DONTWAIT)
        })?;
        recv(client.as_raw_fd(), &mut *self.buffer, MsgFlags::empty())?;
        // A reset, so that nothing is left in TIME_WAIT.
        setsockopt(&client, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
        drop(client);
        timed(&mut sum, || {
            let gone = recv(fd, &mut self.buffer[..4], MsgFlags::MSG_DONTWAIT);
            let _ = server.shutdown(Shutdown::Both);
            drop(server);
            gone
        })
        .map_or_else(|_| Ok(sum), |n| Err(Error::other(format!("{n} bytes of a client that is gone"))))
    }

    /// Reads both tables as libwrap does; where a rule asks for a name, looks it up in between.
    fn check(&mut self, lookups: bool, sum: &mut u64) -> Result<()> {
        let mut allow = timed(sum, || {
            let mut allow = File::open("/etc/hosts.allow")?;
            allow.read(&mut *self.buffer).map(|_| allow)
        })?;
        if lookups {
            self.lookup(PTR, &[b"1", b"0", b"0", b"127", b"in-addr", b"arpa"], sum)?;
            self.lookup(A, &[b"client", b"lab", b"example"], sum)?;
        }
        timed(sum, || {
            let _nothing_more = allow.read(&mut *self.buffer)?;
            drop(allow);
            self.read_whole("/etc/hosts.deny")
        })
    }

    fn read_whole(&mut self, path: &str) -> Result<()> {
        let mut file = File::open(path)?;
        while file.read(&mut *self.buffer)? > 0 {}
        Ok(())
    }

    /// As the C library looks a name up: its own file, then the nameserver. Waiting is not counted: it is the nameserver's time.
    fn lookup(&mut self, kind: u16, name: &[&[u8]], sum: &mut u64) -> Result<()> {
        self.id = self.id.wrapping_add(1);
        let question = question(self.id, kind, name);
        let socket = timed(sum, || {
            self.read_whole("/etc/hosts")?;
            asked(&question)
        })?;
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        let length = timed(sum, || {
            let length = recv(socket.as_raw_fd(), &mut *self.buffer, MsgFlags::MSG_DONTWAIT);
            drop(socket);
            length
        })?;
        let answers = length > question.len() && self.buffer[..2] == question[..2];
        answers.then_some(()).ok_or_else(|| Error::other("no answer"))
    }
}

/// Reads where nothing is to be read.
fn nothing_yet(stream: &TcpStream, buffer: &mut [u8]) -> Result<()> {
    match recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
        Err(nix::errno::Errno::EAGAIN) => Ok(()),
        other => Err(Error::other(format!("read too much: {other:?}"))),
    }
}

/// A socket to the nameserver, over which the question has gone.
fn asked(question: &[u8]) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(NAMESERVER))?;
    send(socket.as_raw_fd(), question, MsgFlags::MSG_NOSIGNAL)?;
    Ok(socket)
}

/// A DNS message with one question.
fn question(id: u16, kind: u16, name: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    for label in name {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(*label);
    }
    message.push(0);
    // In the Internet's class.
    for word in [kind, 1] {
        message.extend(word.to_be_bytes());
    }
    message
}

fn wanted(line: &str) -> Option<(Work, u32)> {
    let (name, times) = line.split_once(' ')?;
    let work = Work::ALL.into_iter().find(|work| work.name() == name)?;
    Some((work, times.parse().ok()?))
}

fn main() -> Result<()> {
    processor::schedule(libc::SCHED_BATCH)?;
    let mut plain = Plain::start()?;
    println!("listening");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (work, times) = wanted(&line).ok_or_else(|| Error::new(ErrorKind::InvalidInput, line))?;
        let mut took = (0..times).map(|_| plain.once(work)).collect::<Result<Vec<u64>>>()?;
        println!("{}", processor::usual(&mut took));
    }
    Ok(())
}
