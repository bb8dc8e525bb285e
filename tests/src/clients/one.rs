//! One client, from `connect` to its end.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::{self, First, Packet};
use super::{ClientResult, LeaveBy, Mode, Outcome};
use crate::clock::{now_ns, wait_until};

/// From where to where.
pub(super) enum Way<'a> {
    Tcp { from: SocketAddr, to: SocketAddr },
    Unix(&'a Path),
}

/// Runs it. Everything that can happen to it is in the result.
pub(super) fn run(index: usize, way: &Way<'_>, mode: &Mode, timeout: Duration) -> ClientResult {
    let mut client = Client {
        result: ClientResult {
            index,
            source: None,
            t_connect_called_ns: now_ns(),
            t_connected_ns: None,
            t_first_byte_ns: None,
            t_closed_ns: 0,
            outcome: Outcome::Failed,
            error_code: None,
            error: None,
            version: None,
            connection_id: None,
            rows: Vec::new(),
        },
        timeout,
    };
    client.result.outcome = match client.connect(way) {
        Ok(socket) => {
            let outcome = client.talk(&socket, mode).unwrap_or_else(|error| client.failure(&error));
            if matches!(outcome, Outcome::Greeting | Outcome::Error | Outcome::Timeout | Outcome::Failed) {
                drop(socket);
                client.result.t_closed_ns = now_ns();
                return ClientResult { outcome, ..client.result };
            }
            // The server's end, or the moment it gave up, is the end; closing comes after.
            client.result.t_closed_ns = now_ns();
            outcome
        }
        Err(error) => {
            client.result.t_closed_ns = now_ns();
            client.result.error = Some(error.to_string());
            // Linux: a connect limited by SO_SNDTIMEO ends with EINPROGRESS (socket(7)).
            let timed_out = error.raw_os_error() == Some(libc::EINPROGRESS)
                || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
            if timed_out { Outcome::Timeout } else { Outcome::ConnectFailed }
        }
    };
    client.result
}

struct Client {
    result: ClientResult,
    timeout: Duration,
}

impl Client {
    fn connect(&mut self, way: &Way<'_>) -> io::Result<Socket> {
        let (domain, to) = match way {
            Way::Tcp { to, .. } => (Domain::for_address(*to), SockAddr::from(*to)),
            Way::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        if let Way::Tcp { from, .. } = way {
            // The port is chosen at connect, so that ports are used up by destination and not by address.
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&(*from).into())?;
        }
        self.result.t_connect_called_ns = now_ns();
        socket.connect(&to)?;
        self.result.t_connected_ns = Some(now_ns());
        if matches!(way, Way::Tcp { .. }) {
            socket.set_tcp_nodelay(true)?;
            self.result.source = socket.local_addr()?.as_socket();
        }
        Ok(socket)
    }

    fn talk(&mut self, socket: &Socket, mode: &Mode) -> io::Result<Outcome> {
        if let Mode::GiveUp { after_ms, .. } = mode {
            // A limit of 0 would mean none.
            socket.set_read_timeout(Some(Duration::from_millis((*after_ms).max(1))))?;
        }
        let mut first = [0];
        match (&mut &*socket).read(&mut first) {
            Ok(0) => return Ok(Outcome::Closed),
            Ok(_) => self.result.t_first_byte_ns = Some(now_ns()),
            Err(error) => return Self::nothing(socket, mode, error),
        }
        socket.set_read_timeout(Some(self.timeout))?;
        let outcome = self.first_packet(&Packet::read_after(first[0], &mut &*socket)?);
        if outcome != Outcome::Greeting {
            return Ok(outcome);
        }
        match mode {
            Mode::Query { sql } => return self.query(&mut &*socket, sql),
            Mode::LogIn { after_ms, database } => {
                wait_until(now_ns() + after_ms * 1_000_000);
                return self.log_in(&mut &*socket, database.as_deref());
            }
            Mode::Hold { ms } => wait_until(now_ns() + ms * 1_000_000),
            Mode::Greeting | Mode::GiveUp { .. } => {}
        }
        Ok(outcome)
    }

    /// No first byte came.
    fn nothing(socket: &Socket, mode: &Mode, error: io::Error) -> io::Result<Outcome> {
        match (error.kind(), mode) {
            (io::ErrorKind::WouldBlock, Mode::GiveUp { by, .. }) => {
                if *by == LeaveBy::Rst {
                    socket.set_linger(Some(Duration::ZERO))?;
                }
                Ok(Outcome::GaveUp)
            }
            (io::ErrorKind::WouldBlock, _) => Ok(Outcome::Timeout),
            _ => Err(error),
        }
    }

    fn first_packet(&mut self, packet: &Packet) -> Outcome {
        match packet.first() {
            First::Greeting { version, connection_id } => {
                self.result.version = Some(version);
                self.result.connection_id = Some(connection_id);
                Outcome::Greeting
            }
            First::Error { code, text } => self.server_error((code, text)),
            First::Unknown => {
                self.result.error = Some(format!("unknown first packet {:02x?}", packet.0));
                Outcome::Failed
            }
        }
    }

    fn server_error(&mut self, (code, text): (u16, String)) -> Outcome {
        self.result.error_code = Some(code);
        self.result.error = Some(text);
        Outcome::Error
    }

    fn log_in(&mut self, stream: &mut (impl Read + Write), database: Option<&str>) -> io::Result<Outcome> {
        if let Err(error) = protocol::log_in(stream, database)? {
            return Ok(self.server_error(error));
        }
        protocol::quit(stream)?;
        Ok(Outcome::Greeting)
    }

    fn query(&mut self, stream: &mut (impl Read + Write), sql: &str) -> io::Result<Outcome> {
        if let Err(error) = protocol::log_in(stream, None)? {
            return Ok(self.server_error(error));
        }
        match protocol::query(stream, sql)? {
            Ok(rows) => self.result.rows = rows,
            Err(error) => return Ok(self.server_error(error)),
        }
        protocol::quit(stream)?;
        Ok(Outcome::Greeting)
    }

    fn failure(&mut self, error: &io::Error) -> Outcome {
        self.result.error = Some(error.to_string());
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Outcome::Cut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Outcome::Reset,
            io::ErrorKind::WouldBlock => Outcome::Timeout,
            _ => Outcome::Failed,
        }
    }
}
