//! One connection, from its first SYN to its end.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    decode::{
        first_packet::{FirstPacket, HEAD, parse, payload_len},
        greeting::{self, Progress, Said},
    },
    model::{
        Protocol, WallTime,
        ping::{PingAttempt, PingOutcome},
    },
};

/// After its greeting and our end of the connection, the server gets this long to close its own.
const CLOSING: Duration = Duration::from_secs(1);

/// A text that goes on after this is not waited for.
const QUIET: Duration = Duration::from_millis(300);
/// Bytes of a text that are read, and characters of it that are kept.
const TEXT_MAX: usize = 1024;
const SAID_MAX: usize = 200;

/// Makes a connection, waits for the first packet, closes. The server's version where it was greeted.
pub async fn attempt(
    number: u64,
    address: SocketAddr,
    patience: Duration,
    protocol: Protocol,
) -> (PingAttempt, Option<String>) {
    let mut attempt = PingAttempt {
        number,
        started: WallTime(jiff::Timestamp::now()),
        local: None,
        outcome: PingOutcome::Failed,
        syn_retries: 0,
        connect_ns: None,
        greeting_ns: None,
        first_byte_ns: None,
        said: None,
        total_ns: 0,
        error_code: None,
        error: None,
    };
    let began = Instant::now();
    let mut version = None;
    match connect(&mut attempt, address, began, patience).await {
        Ok(mut stream) => {
            let connected = began + Duration::from_nanos(attempt.connect_ns.unwrap_or(0));
            let first = first_packet(&mut stream, &mut attempt, connected, protocol);
            match timeout_at(began + patience, first).await {
                Ok(Ok(first)) => version = judge(&mut attempt, &first, protocol),
                Ok(Err(error)) => fail(&mut attempt, &error),
                Err(_) if attempt.first_byte_ns.is_some() => attempt.outcome = PingOutcome::HalfGreeting,
                Err(_) => attempt.outcome = PingOutcome::Silent,
            }
            if attempt.outcome == PingOutcome::Greeted || attempt.outcome == PingOutcome::ServerError {
                attempt.greeting_ns = attempt.first_byte_ns;
            }
            attempt.total_ns = match (attempt.connect_ns, attempt.greeting_ns) {
                (Some(connect), Some(greeting)) => connect.saturating_add(greeting),
                _ => nanos(began.elapsed()),
            };
            close(stream).await;
        }
        Err(()) => attempt.total_ns = nanos(began.elapsed()),
    }
    (attempt, version)
}

/// Connects; what became of it otherwise is in the attempt.
async fn connect(
    attempt: &mut PingAttempt,
    address: SocketAddr,
    began: Instant,
    patience: Duration,
) -> Result<TcpStream, ()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    // A second descriptor, for what the socket can tell when connecting has consumed the first.
    let both = socket.and_then(|socket| Ok((socket.as_fd().try_clone_to_owned()?, socket)));
    let (second, socket) = both.map_err(|error| fail(attempt, &error))?;
    let connected = timeout_at(began + patience, socket.connect(address)).await;
    let took = nanos(began.elapsed());
    attempt.syn_retries = retransmits(&second).unwrap_or(0);
    match connected {
        Ok(Ok(stream)) => {
            attempt.connect_ns = Some(took);
            attempt.local = stream.local_addr().ok().map(|local| local.to_string());
            Ok(stream)
        }
        Ok(Err(error)) => {
            // A SYN is answered by a refusal; what is reset was connected, and reset before anybody here looked.
            if error.raw_os_error() == Some(libc::ECONNRESET) {
                attempt.connect_ns = Some(took);
            }
            fail(attempt, &error);
            Err(())
        }
        Err(_) => {
            attempt.outcome = PingOutcome::NoAnswer;
            Err(())
        }
    }
}

/// What came first.
enum First {
    /// A packet of a MySQL server: its payload.
    Packet(Vec<u8>),
    /// The beginning of one, and what ended the connection then.
    Half(String),
    /// Something else, as far as it came at once.
    Text(Vec<u8>),
}

/// Reads what comes first. An end before its first byte is an error of kind `UnexpectedEof`.
async fn first_packet(
    stream: &mut TcpStream,
    attempt: &mut PingAttempt,
    connected: Instant,
    protocol: Protocol,
) -> io::Result<First> {
    stream.write_all(protocol.opening()).await?;
    let mut head = [0; HEAD];
    let read = stream.read(&mut head).await?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    attempt.first_byte_ns = Some(nanos(connected.elapsed()));
    let seen = head.get(..read).unwrap_or_default().to_vec();
    if protocol != Protocol::Mysql {
        return line(stream, seen, protocol).await;
    }
    let rest = head.get_mut(read..).unwrap_or_default();
    if stream.read_exact(rest).await.is_err() {
        return Ok(First::Text(seen));
    }
    let Some(len) = payload_len(head) else {
        return Ok(First::Text(text(stream, head.to_vec()).await));
    };
    let mut payload = vec![0; len];
    match stream.read_exact(&mut payload).await {
        Ok(_) => Ok(First::Packet(payload)),
        Err(error) => Ok(First::Half(ended(&error))),
    }
}

/// What ended a connection in the middle of a greeting.
fn ended(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        _ => error.to_string(),
    }
}

/// A greeting that has begun, to its end; whoever calls has the patience. What is no greeting goes on for a moment only.
async fn line(stream: &mut TcpStream, mut seen: Vec<u8>, protocol: Protocol) -> io::Result<First> {
    let mut buffer = [0; 256];
    while seen.len() < TEXT_MAX {
        match greeting::progress(&seen, protocol) {
            Progress::Whole => break,
            Progress::Other => return Ok(First::Text(text(stream, seen).await)),
            Progress::Half => {}
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => seen.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Ok(_) => return Ok(First::Half(ended(&io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => return Ok(First::Half(ended(&error))),
        }
    }
    Ok(First::Text(seen))
}

/// What belongs to a text that has begun: up to a newline, or until nothing has come for a moment.
async fn text(stream: &mut TcpStream, mut seen: Vec<u8>) -> Vec<u8> {
    let mut buffer = [0; 256];
    while seen.len() < TEXT_MAX && !seen.contains(&b'\n') {
        match timeout(QUIET, stream.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => seen.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            _ => break,
        }
    }
    seen
}

fn judge(attempt: &mut PingAttempt, first: &First, protocol: Protocol) -> Option<String> {
    let payload = match first {
        First::Packet(payload) => payload,
        First::Half(ended) => {
            attempt.outcome = PingOutcome::HalfGreeting;
            attempt.error = Some(ended.clone());
            return None;
        }
        First::Text(text) => return judge_text(attempt, text, protocol),
    };
    match parse(payload) {
        FirstPacket::Greeting { version } => {
            attempt.outcome = PingOutcome::Greeted;
            Some(version)
        }
        FirstPacket::Error { code, message } => {
            attempt.outcome = PingOutcome::ServerError;
            attempt.error_code = Some(code);
            attempt.error = Some(message);
            None
        }
        FirstPacket::Unknown => {
            attempt.outcome = PingOutcome::NotMysql;
            None
        }
    }
}

fn judge_text(attempt: &mut PingAttempt, text: &[u8], expected: Protocol) -> Option<String> {
    let said = greeting::parse(text, expected);
    let mysql = expected == Protocol::Mysql;
    match said {
        Said::Greeting { protocol, text } if protocol == expected => {
            attempt.outcome = PingOutcome::Greeted;
            return Some(text);
        }
        Said::Refusal { code, text } if !mysql => {
            attempt.outcome = PingOutcome::ServerError;
            attempt.error_code = code;
            attempt.error = Some(text);
            return None;
        }
        Said::Greeting { text, .. } | Said::Refusal { text, .. } | Said::Other(text) => {
            attempt.said = Some(text.chars().take(SAID_MAX).collect());
        }
    }
    attempt.outcome = PingOutcome::NotMysql;
    None
}

/// By the error that ended it (tcp(7), ip(7)).
fn fail(attempt: &mut PingAttempt, error: &io::Error) {
    let connected = attempt.connect_ns.is_some();
    attempt.outcome = match (error.raw_os_error(), connected) {
        (Some(libc::ECONNREFUSED), false) => PingOutcome::Refused,
        (Some(libc::ECONNRESET | libc::EPIPE), _) => PingOutcome::Reset,
        (Some(libc::ETIMEDOUT), false) => PingOutcome::NoAnswer,
        (Some(libc::ETIMEDOUT), true) => PingOutcome::Silent,
        (Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN), _) => {
            PingOutcome::Unreachable
        }
        _ if connected && error.kind() == io::ErrorKind::UnexpectedEof => PingOutcome::Closed,
        _ => PingOutcome::Failed,
    };
    if matches!(attempt.outcome, PingOutcome::Unreachable | PingOutcome::Failed) {
        attempt.error = Some(error.to_string());
    }
}

/// Closes in order: the server sees the end of the stream, not a reset, and is given the time to close first, so that it has one connection less
/// before the next one comes.
async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0; 512];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    // A server that keeps its end open is left so.
    let _ = timeout(CLOSING, drained).await;
}

/// Segments this socket has sent again, its SYN included (tcp(7), `TCP_INFO`).
fn retransmits(socket: &OwnedFd) -> Option<u32> {
    // SAFETY: tcp_info is a structure of integers; all zeroes is a value of it.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the descriptor is open, and the buffer is as long as `len` says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(info.tcpi_total_retrans)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
