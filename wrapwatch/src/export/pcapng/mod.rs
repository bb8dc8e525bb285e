//! A trace's DNS messages for Wireshark: with their real bytes and times, made-up IP and UDP headers (which the file says of itself), and a comment each that says whose
//! message it is, for which rule, and what became of it. `packaging/wireshark/wrapwatch.lua` makes fields of the comment, to filter by.
//!
//! A message is written when its connection is told, since only then it is known what became of it. Until then messages are held, in bounded memory: where there are too
//! many, those of the oldest connection are written without that.

mod blocks;
mod headers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use headers::Way;
use wrapwatch_common::records as abi;

use crate::decode::addr::socket_addr;
use crate::decode::dns::Framer;
use crate::decode::{Event, decode};
use crate::model::{ClockPair, Connection, KtimeNs, Line, Lookup, Query};
use crate::observe::Observer;
use crate::trace::Input;

/// Bytes of messages held until their connections are told.
const HELD_MAX_BYTES: usize = 16 << 20;
/// Memory that a message takes beside its bytes, about.
const MESSAGE_BYTES: usize = 128;
/// Memory that a socket takes, with what it keeps of a message that is not whole, about.
const SOCKET_BYTES: usize = 2048;
/// Sockets of one connection that are remembered.
const SOCKETS_MAX: usize = 64;
/// `SOCK_STREAM`.
const STREAM: u8 = 1;
/// First of the made-up ports, and how many there are.
const PORTS: (u64, u64) = (32_768, 28_000);

/// What the file says of itself.
const ABOUT: &str = "Made by wrapwatch from a trace. DNS messages and times are real; IP and UDP headers are made up: the server's own address is 192.0.2.1 or 2001:db8::1, \
its ports are made up, messages over TCP are shown as over UDP. A message is cut at 512 bytes. packaging/wireshark/wrapwatch.lua makes fields of the packets' comments.";

/// A DNS message.
#[derive(Debug)]
struct Message {
    at: KtimeNs,
    way: Way,
    server: SocketAddr,
    fd: i32,
    bytes: Vec<u8>,
    full_len: usize,
}

/// A socket to a nameserver.
#[derive(Debug, Default)]
struct Socket {
    server: Option<SocketAddr>,
    outgoing: Framer,
    incoming: Framer,
}

/// What is held of a connection.
#[derive(Debug, Default)]
struct Held {
    sockets: BTreeMap<i32, Socket>,
    messages: Vec<Message>,
    bytes: usize,
}

/// Writes what Wireshark reads, see the [module](self).
#[derive(Debug)]
pub struct Pcapng<W> {
    out: W,
    begun: bool,
    clock: ClockPair,
    held: BTreeMap<u64, Held>,
    bytes: usize,
}

impl Held {
    /// A socket; where there are too many, the one of the lowest number is forgotten for it.
    fn socket(&mut self, fd: i32) -> &mut Socket {
        if !self.sockets.contains_key(&fd) {
            if self.sockets.len() >= SOCKETS_MAX {
                self.sockets.pop_first();
            }
            self.bytes += SOCKET_BYTES;
        }
        self.sockets.entry(fd).or_default()
    }
}

impl<W: Write> Pcapng<W> {
    /// To `out`, which had better be buffered.
    pub const fn new(out: W) -> Self {
        let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 0 };
        Self { out, begun: false, clock, held: BTreeMap::new(), bytes: 0 }
    }

    /// The rest, when everything is told.
    pub fn finish(mut self) -> io::Result<()> {
        while self.let_go()? {}
        self.begin()?;
        self.out.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) { Ok(()) } else { blocks::begin(ABOUT, &mut self.out) }
    }

    fn record(&mut self, record: &[u8]) -> io::Result<()> {
        match decode(record) {
            Ok(Event::Connect(connect, _)) => self.connects(&connect),
            Ok(Event::Send(payload, bytes)) => self.takes(&payload, bytes, Way::ToServer),
            Ok(Event::Recv(payload, bytes)) => self.takes(&payload, bytes, Way::FromServer),
            _ => {}
        }
        while self.bytes > HELD_MAX_BYTES && self.let_go()? {}
        Ok(())
    }

    fn connects(&mut self, connect: &abi::Connect) {
        let Some(server) = socket_addr(&connect.addr) else { return };
        if connect.hdr.conn == 0 || server.port() != 53 {
            return;
        }
        let held = self.held.entry(connect.hdr.conn).or_default();
        let before = held.bytes;
        // A socket of that number is another one from here on.
        *held.socket(connect.fd) = Socket { server: Some(server), ..Socket::default() };
        self.bytes += held.bytes - before;
    }

    fn takes(&mut self, payload: &abi::Payload, bytes: &[u8], way: Way) {
        if payload.hdr.conn == 0 {
            return;
        }
        let held = self.held.entry(payload.hdr.conn).or_default();
        let before = held.bytes;
        let mut messages = Vec::new();
        let socket = held.socket(payload.fd);
        if let Some(server) = socket_addr(&payload.addr).or(socket.server) {
            let mut message = |bytes: &[u8], full_len: usize| {
                let (at, bytes) = (KtimeNs(payload.hdr.ts_ns), bytes.to_vec());
                messages.push(Message { at, way, server, fd: payload.fd, bytes, full_len });
            };
            if payload.sock_type == STREAM {
                let framer = if way == Way::ToServer { &mut socket.outgoing } else { &mut socket.incoming };
                framer.push(bytes, payload.full_len, |bytes| message(bytes, bytes.len()));
            } else if !bytes.is_empty() {
                message(bytes, usize::try_from(payload.full_len).unwrap_or(bytes.len()));
            }
        }
        held.bytes += messages.iter().map(|message| MESSAGE_BYTES + message.bytes.len()).sum::<usize>();
        held.messages.append(&mut messages);
        self.bytes += held.bytes - before;
    }

    /// Writes what is held of the oldest connection; false where there is none.
    fn let_go(&mut self) -> io::Result<bool> {
        let Some((conn, held)) = self.held.pop_first() else { return Ok(false) };
        self.bytes -= held.bytes;
        self.begin()?;
        for message in &held.messages {
            let at = wall_ns(self.clock, message.at);
            write(&mut self.out, conn, message, at, &format!("wrapwatch conn={conn}"))?;
        }
        Ok(true)
    }

    fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        let Some(held) = self.held.remove(&connection.conn) else { return Ok(()) };
        self.bytes -= held.bytes;
        self.begin()?;
        let clock = connection.clock();
        for message in &held.messages {
            let comment = comment(connection, message);
            write(&mut self.out, connection.conn, message, wall_ns(clock, message.at), &comment)?;
        }
        Ok(())
    }
}

fn wall_ns(clock: ClockPair, at: KtimeNs) -> u64 {
    u64::try_from(clock.wall(at).0.as_nanosecond()).unwrap_or(0)
}

fn write(out: &mut impl Write, conn: u64, message: &Message, wall_ns: u64, comment: &str) -> io::Result<()> {
    let of_socket = conn.wrapping_mul(64).wrapping_add(u64::from(message.fd.unsigned_abs()));
    let port = u16::try_from(PORTS.0 + of_socket % PORTS.1).unwrap_or(u16::MAX);
    let (packet, len) = headers::packet(message.server, port, message.way, &message.bytes, message.full_len);
    blocks::packet(wall_ns, &packet, len, comment, out)
}

/// Whose message it is: `key=value`, separated by spaces; the rule's text, which has spaces itself, is the last.
fn comment(connection: &Connection, message: &Message) -> String {
    let mut text =
        format!("wrapwatch conn={} pid={} tid={}", connection.conn, connection.pid, connection.tid);
    if let Some(peer) = connection.peer {
        text.push_str(&format!(" client={peer}"));
    }
    let outcome: &str = connection.outcome.into();
    text.push_str(&format!(" client_outcome={outcome}"));
    if let Some((lookup, query)) = query_of(connection, message) {
        let (kind, thread): (&str, &str) = (lookup.kind.into(), lookup.thread.into());
        let outcome: &str = query.outcome.into();
        text.push_str(&format!(" lookup={kind} thread={thread} outcome={outcome}"));
        if let Some(rtt_ns) = query.rtt_ns {
            text.push_str(&format!(" rtt_ns={rtt_ns}"));
        }
    }
    if let Some(rule) = &connection.rule {
        text.push_str(&format!(" rule={}:{}", rule.file.replace(' ', "\\x20"), rule.line));
        if let Some(rule) = &rule.text {
            text.push_str(&format!(" rule_text={rule}"));
        }
    }
    // One line, whatever a table's path or text has.
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The query that a message is, or answers: by its id and nameserver, the last one that was sent by then.
fn query_of<'a>(connection: &'a Connection, message: &Message) -> Option<(&'a Lookup, &'a Query)> {
    let id = message.bytes.first_chunk().map(|id| u16::from_be_bytes(*id));
    let at_ns = message.at.since(connection.accepted_ktime);
    let server = message.server.to_string();
    let all =
        connection.lookups.iter().flat_map(|lookup| lookup.queries.iter().map(move |query| (lookup, query)));
    all.filter(|(_, query)| query.id == id && *query.server == *server && query.at_ns <= at_ns)
        .max_by_key(|(_, query)| query.at_ns)
}

impl<W: Write> Observer for Pcapng<W> {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        match input {
            Input::Head(head) => self.clock = head.clock,
            Input::Clock(clock) => self.clock = *clock,
            Input::Record(record) => self.record(record)?,
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Connection(connection) | Line::Request(connection) => self.connection(connection),
            _ => Ok(()),
        }
    }
}
