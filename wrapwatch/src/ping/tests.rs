//! Against listeners that do what servers and kernels do, on real sockets of the loopback.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};

use super::{Done, News, Settings, allowed, attempt, run};
use crate::model::Protocol;
use crate::model::ping::{PingAttempt, PingOutcome, PingStop};

const GREETING: &[u8] = b"\x14\0\0\0\x0a8.0.36\0\x07\0\0\0saltsalt";
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(1500);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn once(address: SocketAddr, patience: Duration) -> (PingAttempt, Option<String>) {
    block_on(attempt(1, address, patience, Protocol::Mysql))
}

/// What becomes of a client of a server that does this with its connection.
fn served(serve: impl FnOnce(TcpStream) + Send) -> (PingAttempt, Option<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| serve(listener.accept().unwrap().0));
        once(address, LONG)
    })
}

fn outcome(serve: impl FnOnce(TcpStream) + Send) -> PingOutcome {
    let (attempt, _) = served(serve);
    assert!(attempt.connect_ns.is_some() && attempt.syn_retries == 0, "{attempt:?}");
    attempt.outcome
}

#[test]
fn a_greeting_in_pieces_is_timed_by_its_first_byte() {
    let (last, sent_last) = std::sync::mpsc::channel();
    let began = Instant::now();
    let (attempt, version) = served(|mut client| {
        client.set_nodelay(true).unwrap();
        for byte in GREETING {
            thread::sleep(Duration::from_millis(5));
            last.send(began.elapsed()).unwrap();
            client.write_all(&[*byte]).unwrap();
        }
    });
    assert_eq!((attempt.outcome, version.as_deref()), (PingOutcome::Greeted, Some("8.0.36")));
    let whole = sent_last.try_iter().last().unwrap();
    assert!(Duration::from_nanos(attempt.greeting_ns.unwrap()) < whole, "{attempt:?}");
    assert_eq!(attempt.total_ns, attempt.connect_ns.unwrap() + attempt.greeting_ns.unwrap());
    assert!(attempt.local.unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn the_server_sees_an_orderly_end_and_no_byte() {
    let (sender, seen) = std::sync::mpsc::channel();
    served(|mut client| {
        client.write_all(GREETING).unwrap();
        sender.send(std::io::Read::read(&mut client, &mut [0; 8]).map_err(|e| e.kind())).unwrap();
    });
    assert_eq!(seen.recv().unwrap(), Ok(0));
}

#[test]
fn ends_without_a_greeting_are_told_apart() {
    assert_eq!(outcome(drop), PingOutcome::Closed);
    let reset = |client: TcpStream| {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    };
    assert_eq!(outcome(reset), PingOutcome::Reset);
    assert_eq!(outcome(|mut client| client.write_all(b"SSH-2.0-x\r\n").unwrap()), PingOutcome::NotMysql);
    let (half, _) = served(|mut client| client.write_all(&GREETING[..9]).unwrap());
    assert_eq!(half.outcome, PingOutcome::HalfGreeting);
    assert_eq!(half.error.as_deref(), Some("the server closed the connection"));
    let (attempt, _) = served(|mut client| client.write_all(b"\x07\0\0\0\xff\x10\x04many").unwrap());
    assert_eq!((attempt.outcome, attempt.error_code), (PingOutcome::ServerError, Some(1040)));
    assert_eq!(attempt.error.as_deref(), Some("many"));
}

#[test]
fn half_a_greeting_is_none_and_the_time_that_was_waited() {
    for (half, protocol) in [
        (&GREETING[..9], Protocol::Mysql),
        (b"SSH-2.0-Open", Protocol::Ssh),
        (b"220 mail.example", Protocol::Smtp),
        (b"220-welcome", Protocol::Ftp),
        (b"* OK ready", Protocol::Imap),
        (b"+OK", Protocol::Pop3),
        (b"\x30\x0c\x02\x01\x01\x61\x07", Protocol::Ldap),
    ] {
        let mut patience = Duration::from_millis(500);
        let (mut attempt, mut version) = half_a_greeting(half, protocol, patience);
        // A machine that gives the server no CPU in that time has shown nothing yet.
        while attempt.outcome == PingOutcome::Silent && patience < LONG {
            patience *= 2;
            (attempt, version) = half_a_greeting(half, protocol, patience);
        }
        assert_eq!((attempt.outcome, version), (PingOutcome::HalfGreeting, None), "{protocol:?}");
        assert!(attempt.total_ns >= 500_000_000 && attempt.greeting_ns.is_none(), "{attempt:?}");
        assert!(attempt.first_byte_ns.unwrap() < attempt.total_ns, "{attempt:?}");
        assert_eq!(attempt.error, None, "nothing ended it");
    }
}

/// A server that says this and then nothing, as seen by somebody who waits so long.
fn half_a_greeting(
    half: &'static [u8],
    protocol: Protocol,
    patience: Duration,
) -> (PingAttempt, Option<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut client = listener.accept().unwrap().0;
            client.write_all(half).unwrap();
            let _ = wait.recv();
        });
        let seen = block_on(attempt(1, address, patience, protocol));
        drop(done);
        seen
    })
}

/// A server that says this, as seen by somebody who waits for this protocol's greeting.
fn said(text: &'static [u8], protocol: Protocol) -> (PingAttempt, Option<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = listener.accept().unwrap().0;
            if !protocol.opening().is_empty() {
                std::io::Read::read_exact(&mut client, &mut vec![0; protocol.opening().len()]).unwrap();
            }
            client.write_all(text).unwrap();
        });
        block_on(attempt(1, address, LONG, protocol))
    })
}

#[test]
fn other_protocols_are_greeted_in() {
    for (text, protocol) in [
        (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], Protocol::Ssh),
        (b"220 mail ESMTP\r\n", Protocol::Smtp),
        (b"220 (vsFTPd 3.0.3)\r\n", Protocol::Ftp),
        (b"* OK ready\r\n", Protocol::Imap),
        (b"+OK ready\r\n", Protocol::Pop3),
        (b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00", Protocol::Ldap),
    ] {
        let (attempt, version) = said(text, protocol);
        assert_eq!(attempt.outcome, PingOutcome::Greeted, "{protocol:?}");
        assert!(version.is_some() && attempt.greeting_ns.is_some(), "{protocol:?}");
    }
    let (attempt, _) = said(b"220 mail", Protocol::Smtp);
    assert_eq!(
        (attempt.outcome, attempt.greeting_ns),
        (PingOutcome::HalfGreeting, None),
        "closed behind half of it"
    );
    assert_eq!(attempt.error.as_deref(), Some("the server closed the connection"));
    let (attempt, _) = said(b"421 too many connections\r\n", Protocol::Ftp);
    assert_eq!((attempt.outcome, attempt.error_code), (PingOutcome::ServerError, Some(421)));
}

#[test]
fn what_is_no_greeting_is_quoted() {
    let (attempt, _) = said(b"Access from here is not allowed.\n", Protocol::Mysql);
    assert_eq!((attempt.outcome, attempt.greeting_ns), (PingOutcome::NotMysql, None));
    assert_eq!(attempt.said.as_deref(), Some("Access from here is not allowed."));
    let (attempt, _) = said(b"SSH-2.0-OpenSSH_9.2p1\r\n", Protocol::Mysql);
    assert_eq!(attempt.said.as_deref(), Some("SSH-2.0-OpenSSH_9.2p1"));
}

#[test]
fn nobody_there_and_nobody_at_home() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel accepts for it.
    let (attempt, _) = once(address, Duration::from_millis(200));
    assert_eq!(attempt.outcome, PingOutcome::Silent);
    assert!(attempt.connect_ns.unwrap() < attempt.total_ns && attempt.total_ns >= 200_000_000, "{attempt:?}");
    drop(listener);
    let (attempt, _) = once(address, LONG);
    assert_eq!((attempt.outcome, attempt.connect_ns), (PingOutcome::Refused, None));
}

/// A listener with room for one, and that one.
fn full() -> (TcpListener, SocketAddr, TcpStream) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&fd, Backlog::new(0).unwrap()).unwrap();
    let name: SockaddrIn = getsockname(std::os::fd::AsRawFd::as_raw_fd(&fd)).unwrap();
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), name.port());
    let filler = TcpStream::connect(address).unwrap();
    (TcpListener::from(fd), address, filler)
}

/// Whether somebody's SYN to this port has been sent again (proc_pid_net(5): state 02, then the column `retrnsmt`).
fn syn_sent_again(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 6
            && fields[2].ends_with(&format!(":{port:04X}"))
            && fields[3] == "02"
            && fields[6] != "00000000"
    })
}

#[test]
fn a_full_queue_is_told_from_a_slow_server() {
    let (listener, address, _filler) = full();
    let (attempt, _) = once(address, SHORT);
    assert_eq!((attempt.outcome, attempt.connect_ns), (PingOutcome::NoAnswer, None));
    assert!(attempt.syn_retries >= 1, "{attempt:?}");
    let (attempt, version) = thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = Instant::now() + LONG;
            while !syn_sent_again(address.port()) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            drop(listener.accept().unwrap());
            listener.accept().unwrap().0.write_all(GREETING).unwrap();
        });
        once(address, LONG)
    });
    assert_eq!((attempt.outcome, version.as_deref()), (PingOutcome::Greeted, Some("8.0.36")));
    assert!(attempt.syn_retries >= 1, "{attempt:?}");
    // The first SYN goes again after a second (RFC 6298, 2.1).
    assert!(attempt.connect_ns.unwrap() >= 900_000_000, "{attempt:?}");
    assert!(attempt.greeting_ns.unwrap() < attempt.connect_ns.unwrap(), "{attempt:?}");
}

#[test]
fn so_many_at_once_and_in_all() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let settings = Settings {
        address: listener.local_addr().unwrap(),
        count: 7,
        at_once: 3,
        interval: Duration::from_millis(1),
        timeout: LONG,
        force: false,
        protocol: Protocol::Mysql,
    };
    let mut told = 0;
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            let mut waiting: Vec<TcpStream> = Vec::new();
            for _ in 0..7 {
                waiting.push(listener.accept().unwrap().0);
                // The first three have to be there before anybody is greeted, and from then on one at a time.
                if waiting.len() == 3 {
                    waiting.remove(0).write_all(GREETING).unwrap();
                }
            }
            for mut client in waiting {
                client.write_all(GREETING).unwrap();
            }
        });
        let news = |news: News<'_>| told += usize::from(matches!(news, News::Attempt(..)));
        block_on(run(&settings, news, std::future::pending()))
    });
    assert_eq!((told, done.stopped), (7, None));
    let numbers: Vec<u64> = done.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(done.version.as_deref(), Some("8.0.36"));
}

#[test]
fn an_interrupt_keeps_what_has_ended() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let settings = Settings {
        address: listener.local_addr().unwrap(),
        count: 5,
        at_once: 1,
        interval: Duration::from_millis(1),
        timeout: LONG,
        force: false,
        protocol: Protocol::Mysql,
    };
    let (sender, interrupted) = tokio::sync::oneshot::channel::<()>();
    let done: Done = thread::scope(|scope| {
        scope.spawn(|| {
            listener.accept().unwrap().0.write_all(GREETING).unwrap();
            let second = listener.accept().unwrap();
            sender.send(()).unwrap();
            drop(second);
        });
        block_on(run(&settings, |_| {}, async {
            let _ = interrupted.await;
        }))
    });
    assert_eq!(done.stopped, Some(PingStop::Interrupted));
    assert!((1..=2).contains(&done.attempts.len()), "{done:?}");
}

fn settings(address: &str, count: usize, force: bool) -> Settings {
    Settings {
        address: address.parse().unwrap(),
        count,
        at_once: 1,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        force,
        protocol: Protocol::Mysql,
    }
}

#[test]
fn no_host_gets_itself_blocked() {
    let (new, old) = (Some("10.11.6-MariaDB"), Some("5.5.62"));
    let outside = |count| settings("10.0.0.1:3306", count, false);
    assert_eq!(allowed(&outside(5), new), (5, 100));
    assert_eq!(allowed(&outside(500), new), (99, 100));
    assert_eq!(allowed(&outside(99), new), (99, 100));
    assert_eq!(allowed(&outside(500), old), (9, 10));
    assert_eq!(allowed(&outside(500), None), (9, 10));
    assert_eq!(allowed(&settings("10.0.0.1:3306", 500, true), old), (500, 10));
    assert_eq!(allowed(&settings("127.0.0.1:3306", 500, false), old), (500, 10));
    assert_eq!(allowed(&settings("[::ffff:127.0.0.1]:3306", 500, false), old), (500, 10));
}
