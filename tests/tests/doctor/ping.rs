//! `ping` against a real MariaDB behind the real libwrap, and against what the network says of it.

use std::collections::HashMap;

use wrapwatch::model::ping::{Ping, PingOutcome, PingProblemKind, PingServed, PingStop};
use wrapwatch_tests::{
    clients::{ClientsSpec, Mode},
    lab::{Files, Lab, LabConfig, Link, ServerConfig, Signal},
    nameserver::Rule,
    tshark, wait_for,
};

use crate::support::{doctor, kinds, ping, ping_and_status};

/// Where the server is, seen from the clients.
const SERVER: &str = "10.0.0.1:3306";
/// What a capture and ping may differ by.
const AGREEMENT_NS: i64 = 1_000_000;

/// What the capture says of one connection: SYN to SYN-ACK, SYN-ACK to the first packet, nanoseconds.
fn captured(lab: &Lab, connections: usize) -> HashMap<String, (i64, i64)> {
    let capture = lab.stop_capture(Link::Clients).unwrap();
    let fields =
        ["frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.flags.syn", "tcp.flags.ack", "tcp.len"];
    // Nanoseconds of a time with nine decimals; all are of the same day.
    let ns = |text: &str| -> i64 {
        let (seconds, fraction) = text.split_once('.').unwrap();
        seconds.parse::<i64>().unwrap() * 1_000_000_000 + fraction.parse::<i64>().unwrap()
    };
    let mut seen: HashMap<String, [Option<i64>; 3]> = HashMap::new();
    for packet in tshark(&capture.path, "tcp.port == 3306", &fields).unwrap() {
        let [time, from, to, syn, ack, len] = packet.as_slice() else { panic!("{packet:?}") };
        let (step, port) = match (from.as_str() == "3306", syn == "1", ack == "1", len != "0") {
            (false, true, false, _) => (0, from),
            (true, true, true, _) => (1, to),
            (true, false, _, true) => (2, to),
            _ => continue,
        };
        seen.entry(port.clone()).or_default()[step].get_or_insert(ns(time));
    }
    assert_eq!(seen.len(), connections);
    seen.into_iter()
        .map(|(port, [syn, answer, packet])| {
            (port, (answer.unwrap() - syn.unwrap(), packet.unwrap() - answer.unwrap()))
        })
        .collect()
}

/// How far the middle one of these differences is from nothing: a machine that gave this process no CPU at the wrong moment spoils single ones.
fn middle(mut differences: Vec<i64>) -> i64 {
    differences.sort_by_key(|difference| difference.abs());
    differences[differences.len() / 2].abs()
}

#[test]
fn it_agrees_with_a_packet_capture() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    lab.start_capture(Link::Clients).unwrap();
    let seen = ping(&lab, &[SERVER, "-n", "21", "--interval", "20ms"]);
    let capture = captured(&lab, 21);
    assert_eq!(kinds(&seen), []);
    assert!(seen.version.as_ref().unwrap().contains("MariaDB"), "{seen:#?}");
    let mut connect = Vec::new();
    let mut greeting = Vec::new();
    for attempt in &seen.attempts {
        assert_eq!((attempt.outcome, attempt.syn_retries), (PingOutcome::Greeted, 0));
        let port = attempt.local.as_ref().unwrap().rsplit(':').next().unwrap();
        let (connected, greeted) = capture[port];
        let ns = |ns: Option<u64>| i64::try_from(ns.unwrap()).unwrap();
        connect.push(ns(attempt.connect_ns) - connected);
        greeting.push(ns(attempt.greeting_ns) - greeted);
    }
    assert!(connect.iter().all(|difference| *difference >= 0), "the SYN went before connect was called");
    assert!(middle(connect.clone()) < AGREEMENT_NS, "{connect:?}");
    assert!(middle(greeting.clone()) < AGREEMENT_NS, "{greeting:?}");
}

/// One check at a time: what a client's side can tell of the wait in the queue.
#[test]
fn clients_that_are_checked_one_by_one_are_told_by_their_greetings() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    // Two lookups for each, and nothing of them is kept. Long ones: what a busy machine adds to one turn must not hide that they are turns.
    lab.rules([Rule::delay(400)]).unwrap();
    let seen = ping(&lab, &[SERVER, "-n", "5", "-c", "5"]);
    assert_eq!((seen.queue.served, seen.queue.together), (Some(PingServed::OneByOne), 5), "{seen:#?}");
    let (turn, behind) = (seen.queue.turn_ns.unwrap(), seen.queue.behind_ns.unwrap());
    // Both lookups of a check, and four checks ahead of the last. By how much the first one's check began late is missing from the mean.
    assert!(turn > 600_000_000 && behind >= 3 * turn, "{seen:#?}");
    assert!(kinds(&seen).contains(&PingProblemKind::ServedOneByOne), "{seen:#?}");
    // Each is over when the next one begins.
    lab.rules([Rule::delay(100)]).unwrap();
    let alone = ping(&lab, &[SERVER, "-n", "3", "--interval", "1s"]);
    assert_eq!((alone.queue.served, alone.queue.together), (None, 1), "{alone:#?}");
}

#[test]
fn a_full_queue_is_seen_from_both_sides() {
    let options = vec!["--back-log=2".into()];
    let server = ServerConfig { options, wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    lab.signal(Signal::Stop).unwrap();
    // The queue takes one more than its limit.
    let waiting = lab.begin_clients(ClientsSpec { timeout_ms: 8_000, ..ClientsSpec::at_once(3) }).unwrap();
    let pid = lab.server_pid().unwrap();
    wait_for("the queue is full", || {
        let mut diag = wrapwatch::host::sockdiag::SockDiag::open(pid)?;
        let listeners = wrapwatch::host::listeners::read(pid, &mut diag)?;
        Ok(listeners.iter().any(|listener| listener.queued > listener.limit))
    })
    .unwrap();
    let (seen, status) = ping_and_status(&lab, &[SERVER, "-n", "2", "-c", "2", "--timeout", "1500ms"]);
    assert_eq!((kinds(&seen), status), (vec![PingProblemKind::NoAnswer], Some(1)));
    for attempt in &seen.attempts {
        assert_eq!((attempt.outcome, attempt.connect_ns), (PingOutcome::NoAnswer, None));
        assert!(attempt.syn_retries >= 1, "{attempt:?}");
    }
    let run = doctor(pid, &["--fail-on", "critical"]);
    assert_eq!(run.status, Some(3));
    let full = run.problem("queue-full");
    assert!(full.message.contains("3306") && full.change.is_some(), "{full:?}");
    run.problem("stopped");
    assert!(run.target().network.listen_overflows.unwrap() >= 2, "{:?}", run.target().network);
    lab.signal(Signal::Cont).unwrap();
    waiting.wait().unwrap();
    // And with room again: no more problems, whatever it was.
    assert_eq!(kinds(&ping(&lab, &[SERVER, "-n", "1"])), []);
}

#[test]
fn what_a_server_says_instead_of_a_greeting() {
    let options = vec!["--max-connections=10".into()];
    let server = ServerConfig { options, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    // libwrap refuses.
    lab.files(Files::tables("", "ALL: ALL\n")).unwrap();
    let (seen, status) = ping_and_status(&lab, &[SERVER, "-n", "2"]);
    assert_eq!((kinds(&seen), status), (vec![PingProblemKind::ClosedWithoutGreeting], Some(1)));
    lab.files(Files::tables("ALL: ALL\n", "")).unwrap();
    // Nothing listens; no way there.
    assert_eq!(kinds(&ping(&lab, &["10.0.0.1:3307", "-n", "1"])), [PingProblemKind::NothingListens]);
    assert_eq!(kinds(&ping(&lab, &["192.0.2.1:3306", "-n", "1"])), [PingProblemKind::Unreachable]);
    // Accepted by the kernel, and nobody at home.
    lab.signal(Signal::Stop).unwrap();
    let seen = ping(&lab, &[SERVER, "-n", "2", "-c", "2", "--timeout", "300ms"]);
    lab.signal(Signal::Cont).unwrap();
    assert_eq!(kinds(&seen), [PingProblemKind::NoGreeting]);
    assert!(seen.attempts.iter().all(|attempt| attempt.connect_ns.unwrap() < 300_000_000), "{seen:#?}");
    // Too many connections: MariaDB keeps one for an administrator.
    // Held for longer than it is waited for below. Pings from before may still have places as these come: whoever then leaves one is followed by one more.
    let hold = |n| {
        let spec = ClientsSpec { mode: Mode::Hold { ms: 20_000 }, ..ClientsSpec::at_once(n) };
        lab.begin_clients(spec).unwrap()
    };
    let mut holding = vec![hold(11)];
    let mut seen = None;
    let full = wait_for("all connections are taken", || {
        let now = ping(&lab, &[SERVER, "-n", "1"]);
        let full = now.attempts[0].error_code == Some(1040);
        if !full {
            holding.push(hold(1));
        }
        seen = Some(now);
        Ok(full)
    });
    assert!(full.is_ok(), "{full:?}: {seen:#?}");
    assert_eq!(kinds(&seen.unwrap()), [PingProblemKind::TooManyConnections]);
    drop(holding);
}

#[test]
fn a_host_that_is_not_allowed() {
    let server = ServerConfig { grant_tables: true, wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let (seen, status) = ping_and_status(&lab, &[SERVER, "-n", "2"]);
    assert_eq!((kinds(&seen), status), (vec![PingProblemKind::HostNotAllowed], Some(1)));
    assert!(seen.attempts[0].error.as_ref().unwrap().contains("not allowed"), "{seen:#?}");
}

/// What the caution is for: on a real server, as many pings as `max_connect_errors` get the host blocked.
#[test]
fn too_many_pings_get_the_host_blocked() {
    let options = vec!["--max-connect-errors=3".into()];
    let server =
        ServerConfig { options, skip_name_resolve: false, wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let seen = ping(&lab, &[SERVER, "-n", "5"]);
    assert_eq!(kinds(&seen), [PingProblemKind::HostBlocked]);
    let greeted = seen.attempts.iter().filter(|attempt| attempt.outcome == PingOutcome::Greeted).count();
    assert_eq!(greeted, 3, "{seen:#?}");
}

#[test]
fn it_stops_before_that() {
    let server = ServerConfig { wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let seen = ping(&lab, &[SERVER, "-n", "150", "-c", "10", "--interval", "1ms"]);
    assert_eq!((seen.attempts.len(), seen.stopped), (99, Some(PingStop::MaxConnectErrors)));
    let Ping { attempts, stopped, .. } =
        ping(&lab, &[SERVER, "-n", "110", "-c", "10", "--interval", "1ms", "--force"]);
    assert_eq!((attempts.len(), stopped), (110, None));
}
