//! Clients that are checked or looked up otherwise than when they connect: logins, requests, datagrams.

use super::families::{accepted, accepted_on, adds_up, checks, client, looks_up};
use super::*;
use wrapwatch_common::mysql::LoginEnd;

use crate::model::{Client, StallCause};

/// Number of the first request.
const REQUEST: u64 = 101;

/// What is told: connections and requests.
fn told(sim: Sim) -> (Vec<Connection>, Vec<Connection>) {
    let mut correlator = correlator();
    let connections = run_with(&mut correlator, &sim.records());
    let requests: Vec<_> = std::iter::from_fn(|| correlator.pop_request()).map(|request| *request).collect();
    assert_eq!(correlator.stats().requests, requests.len() as u64);
    connections.iter().chain(&requests).for_each(adds_up);
    (connections, requests)
}

/// A client with a process of its own, which greets it at once. A second later it is at its login, in that process.
fn greeted(sim: &mut Sim, th: &mut Thread, n: u64) -> Thread {
    accepted(sim, th, n);
    let mut child = sim.fork(th, 500 + u32::try_from(n).unwrap());
    sim.first_packet(&mut child, 6, *b"hello\n\0");
    child.t += SEC;
    child
}

#[test]
fn a_check_at_login_is_a_request_within_its_connection() {
    for (ret, outcome) in [(1, Outcome::Admitted), (0, Outcome::Refused)] {
        let mut sim = Sim::default();
        let mut child = greeted(&mut sim, &mut main_thread(), 1);
        sim.subject(&mut child, REQUEST, Some(client(1)), 1, false);
        checks(&mut sim, &mut child, "proftpd", 800 * MS, ret);
        let (connections, requests) = told(sim);
        let [connection] = connections.as_slice() else { panic!("{connections:#?}") };
        assert!(connection.complete && connection.wrapper_ns == 0 && connection.lookups.is_empty());
        let [request] = requests.as_slice() else { panic!("{requests:#?}") };
        assert_eq!((request.outcome, request.complete), (outcome, true), "{request:#?}");
        assert_eq!((request.within, request.peer), (Some(1), connection.peer));
        assert!((800 * MS..801 * MS).contains(&request.parts.dns_ns), "{request:#?}");
        assert_eq!((request.wrapper_ns, request.resolve_ns), (request.parts.total(), 0));
        assert_eq!(request.waited_ns, request.wrapper_ns);
        assert_eq!((&*request.checks[0].daemon, request.checks[0].allowed), ("proftpd", Some(ret != 0)));
        assert_eq!((request.queued_ns, request.held_ns), (None, None));
    }
}

#[test]
fn what_the_server_looks_up_after_the_first_byte_is_one_request_as_long_as_it_goes_on() {
    let mut sim = Sim::default();
    let mut child = greeted(&mut sim, &mut main_thread(), 1);
    sim.subject(&mut child, REQUEST, None, 1, true);
    looks_up(&mut sim, &mut child, PTR_NAME, 400 * MS);
    // Told only when nothing follows: the name's address is asked for, of the same nameserver.
    child.t += 2 * MS;
    looks_up(&mut sim, &mut child, "c1.corp.example", 300 * MS);
    child.t += SEC;
    // Another connection: time goes on.
    accepted(&mut sim, &mut Thread { t: child.t, ..main_thread() }, 2);
    let (connections, requests) = told(sim);
    let [request] = requests.as_slice() else { panic!("{requests:#?}") };
    assert_eq!((request.outcome, request.complete), (Outcome::LookedUp, true), "{request:#?}");
    assert_eq!((request.within, request.peer), (Some(1), Some(Client::Ip(client(1)))));
    assert!((700 * MS..703 * MS).contains(&request.resolve_ns), "{request:#?}");
    assert_eq!((request.wrapper_ns, request.lookups.len()), (0, 2), "{request:#?}");
    assert!((702 * MS..704 * MS).contains(&request.waited_ns), "{request:#?}");
    assert_eq!(connections[0].resolve_ns, 0, "nobody waits for it before the first byte");
}

#[test]
fn whoever_is_accepted_meanwhile_waits_behind_a_datagrams_check() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    // Nobody was accepted before.
    sim.subject(&mut th, REQUEST, Some(client(3)), 0, false);
    sim.established(th.t + 100 * MS, 0x1002, client(2));
    checks(&mut sim, &mut th, "rpcbind", 800 * MS, 1);
    sim.accept_socket(&mut th, 2, 5, 0x1002, client(2));
    sim.first_packet(&mut th, 5, GREETING);
    let (connections, requests) = told(sim);
    let [request] = requests.as_slice() else { panic!("{requests:#?}") };
    assert_eq!((request.within, request.peer), (None, Some(Client::Ip(client(3)))));
    assert_eq!((request.complete, &*request.missing), (false, [Missing::ArrivalUnseen].as_slice()));
    let [behind] = connections.as_slice() else { panic!("{connections:#?}") };
    assert_eq!(&*behind.queued_behind, [REQUEST].as_slice(), "{behind:#?}");
    let dns: u64 =
        behind.blame.iter().filter(|blame| blame.cause == StallCause::Dns).map(|blame| blame.queued_ns).sum();
    assert!((699 * MS..701 * MS).contains(&dns) && behind.complete, "{behind:#?}");
}

#[test]
fn a_request_of_another_client_is_not_within_the_connection_that_its_process_had() {
    let mut sim = Sim::default();
    let mut child = greeted(&mut sim, &mut main_thread(), 1);
    sim.subject(&mut child, REQUEST, Some(client(5)), 1, false);
    checks(&mut sim, &mut child, "imap", 10 * MS, 1);
    let (_, requests) = told(sim);
    assert_eq!((requests[0].within, requests[0].peer), (None, Some(Client::Ip(client(5)))));
    assert_eq!(&*requests[0].missing, [Missing::ArrivalUnseen].as_slice());
}

#[test]
fn a_check_that_its_thread_left_otherwise_is_not_complete() {
    let mut sim = Sim::default();
    let mut child = greeted(&mut sim, &mut main_thread(), 1);
    sim.subject(&mut child, REQUEST, None, 1, false);
    sim.request(&mut child, -1, "ftpd");
    sim.open(&mut child, ALLOW, 6);
    child.t += 10 * MS;
    sim.close(&mut child, -1, Class::Accepted);
    let (_, requests) = told(sim);
    assert_eq!((requests[0].outcome, requests[0].complete), (Outcome::Unfinished, false));
    assert_eq!(&*requests[0].missing, [Missing::CheckEndUnseen].as_slice());
    assert!(requests[0].waited_ns >= 10 * MS, "{:#?}", requests[0]);
}

#[test]
fn who_it_is_is_known_long_after_the_connection_was_told() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let mut child = greeted(&mut sim, &mut th, 1);
    // Another client comes: the first one's connection is told by then.
    th.t = child.t;
    accepted(&mut sim, &mut th, 2);
    child.t = th.t + SEC;
    sim.subject(&mut child, REQUEST, None, 1, true);
    looks_up(&mut sim, &mut child, PTR_NAME, 400 * MS);
    let (_, requests) = told(sim);
    assert_eq!((requests[0].within, requests[0].peer), (Some(1), Some(Client::Ip(client(1)))));
    assert!(requests[0].complete, "{:#?}", requests[0]);
}

#[test]
fn of_a_process_that_was_forgotten_the_client_is_not_known() {
    let mut sim = Sim::default();
    let mut child = main_thread();
    sim.subject(&mut child, REQUEST, None, 1, true);
    looks_up(&mut sim, &mut child, PTR_NAME, 400 * MS);
    let (_, requests) = told(sim);
    assert_eq!((requests[0].within, requests[0].peer), (Some(1), None));
    assert_eq!(&*requests[0].missing, [Missing::PeerUnseen].as_slice());
}

/// What is told where libwrap's functions are not seen.
fn without_uprobes(sim: Sim) -> Vec<Connection> {
    use crate::model::{Degradation, DegradationKind};

    let mut correlator = correlator();
    let kind = DegradationKind::ChecksUnseen;
    correlator.note_degradation(&Degradation { kind, pid: Some(TGID), message: String::new() });
    let told = run_with(&mut correlator, &sim.records());
    told.iter().for_each(adds_up);
    told
}

/// A check as its tables show it.
fn reads_tables(sim: &mut Sim, th: &mut Thread, dns_ns: u64) {
    sim.open(th, ALLOW, 16);
    sim.read(th, 16, 161);
    looks_up(sim, th, PTR_NAME, dns_ns);
    sim.close(th, 16, Class::File);
}

#[test]
fn without_uprobes_a_helper_may_be_in_a_check_meanwhile() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    th.t += 800 * MS;
    sim.first_packet(&mut th, 5, GREETING);
    let told = without_uprobes(sim).remove(0);
    assert!(told.unknown_ns >= 800 * MS && !told.complete, "{told:#?}");
    assert!(told.missing.contains(&Missing::ChecksUnseen), "{told:#?}");
}

#[test]
fn without_uprobes_tables_that_are_read_for_it_tell_its_check() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    reads_tables(&mut sim, &mut child, 800 * MS);
    sim.first_packet(&mut child, 6, *b"SSH-2.0");
    let told = without_uprobes(sim).remove(0);
    assert!(told.complete && told.parts.dns_ns >= 800 * MS, "{told:#?}");
}

#[test]
fn without_uprobes_how_long_a_refused_clients_socket_is_kept_is_not_known() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    reads_tables(&mut sim, &mut child, 800 * MS);
    child.t += 5 * SEC;
    sim.close(&mut child, -1, Class::Accepted);
    let told = without_uprobes(sim).remove(0);
    assert!(!told.complete && told.unknown_ns >= 5 * SEC, "{told:#?}");
}

#[test]
fn what_is_looked_up_once_the_tables_are_closed_is_the_servers_own() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    reads_tables(&mut sim, &mut th, 800 * MS);
    looks_up(&mut sim, &mut th, PTR_NAME, 400 * MS);
    sim.first_packet(&mut th, 5, GREETING);
    let told = without_uprobes(sim).remove(0);
    assert!((400 * MS..402 * MS).contains(&told.resolve_ns), "{told:#?}");
    assert!((800 * MS..802 * MS).contains(&told.wrapper_ns) && told.complete, "{told:#?}");
}

#[test]
fn without_uprobes_a_name_of_another_client_says_that_the_check_may_be_anothers() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 2);
    reads_tables(&mut sim, &mut th, 800 * MS);
    sim.first_packet(&mut th, 5, GREETING);
    let told = without_uprobes(sim).remove(0);
    assert_eq!(&*told.missing, [Missing::ChecksUnseen].as_slice(), "{told:#?}");
}

#[test]
fn without_uprobes_a_server_that_makes_processes_spawns_no_commands() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    sim.open(&mut th, ALLOW, 16);
    sim.wait(&mut th, 5 * MS);
    sim.close(&mut th, 16, Class::File);
    sim.first_packet(&mut th, 5, GREETING);
    let told = without_uprobes(sim).remove(0);
    assert_eq!(told.parts.spawn_ns, 0, "{told:#?}");
}

/// Of the client with number 1, greeted and told: its login, of which the client itself took a second.
fn login(end: LoginEnd, bytes: [u8; 7], looked_up: bool) -> (Connection, Connection) {
    let mut sim = Sim::default();
    let mut child = greeted(&mut sim, &mut main_thread(), 1);
    sim.logs_in(&mut child, REQUEST, 1);
    child.t += SEC;
    if looked_up {
        looks_up(&mut sim, &mut child, PTR_NAME, 400 * MS);
    }
    child.t += 100 * MS;
    sim.login(&mut child, end, SEC, bytes);
    child.t += SEC;
    accepted(&mut sim, &mut Thread { t: child.t, ..main_thread() }, 2);
    let (mut connections, mut requests) = told(sim);
    assert_eq!(requests.len(), 1, "{requests:#?}");
    (connections.swap_remove(0), requests.swap_remove(0))
}

#[test]
fn a_login_is_told_with_whom_it_waited_for() {
    let (connection, login) = login(LoginEnd::Ok, *b"\x07\0\0\x02\0\0\0", true);
    assert_eq!((connection.outcome, connection.login), (Outcome::Greeted, None));
    assert_eq!((login.outcome, login.within, login.peer), (Outcome::LoggedIn, Some(1), connection.peer));
    let said = login.login.unwrap();
    assert_eq!((said.client_ns, said.packets), (SEC, 1));
    assert!((1500 * MS..1510 * MS).contains(&said.login_ns), "{said:?}");
    // What the client took is nobody's wait.
    assert_eq!((login.waited_ns, login.total_ns), (said.login_ns - SEC, Some(said.login_ns - SEC)));
    assert!((400 * MS..402 * MS).contains(&login.resolve_ns), "{login:#?}");
    assert_eq!((login.unknown_ns, login.complete), (0, true), "{login:#?}");
}

#[test]
fn a_login_ends_in_four_ways() {
    let refused = *b"\x48\0\0\x02\xff\x15\x04";
    for (end, outcome, code) in [
        (LoginEnd::Error, Outcome::ServerError, Some(1045)),
        (LoginEnd::Tls, Outcome::Encrypted, None),
        (LoginEnd::Closed, Outcome::Aborted, None),
        (LoginEnd::Asks, Outcome::Unfinished, None),
    ] {
        let (_, login) = login(end, refused, false);
        assert_eq!((login.outcome, login.error_code), (outcome, code), "{end:?}");
        assert!((100 * MS..102 * MS).contains(&login.waited_ns), "{login:#?}");
    }
}

#[test]
fn of_a_login_that_goes_on_nobody_knows_whom_it_waits_for() {
    let mut sim = Sim::default();
    let mut child = greeted(&mut sim, &mut main_thread(), 1);
    sim.logs_in(&mut child, REQUEST, 1);
    accepted(&mut sim, &mut Thread { t: child.t + 10 * SEC, ..main_thread() }, 2);
    let (_, requests) = told(sim);
    let [login] = requests.as_slice() else { panic!("{requests:#?}") };
    assert_eq!(
        (login.outcome, login.complete, login.login),
        (Outcome::Unfinished, false, None),
        "{login:#?}"
    );
    assert_eq!(login.waited_ns, 0, "{login:#?}");
}

#[test]
fn without_uprobes_a_thread_that_serves_another_has_ended_its_check() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in [1, 2] {
        accepted_on(&mut sim, &mut th, n, 4 + i32::try_from(n).unwrap());
        sim.open(&mut th, ALLOW, 16);
        looks_up(&mut sim, &mut th, &format!("{n}.0.77.10.in-addr.arpa"), 800 * MS);
        sim.close(&mut th, 16, Class::File);
    }
    // The one that was checked first is served when the other's check is over.
    for n in [1, 2] {
        th.conn = n;
        sim.first_packet(&mut th, 4 + i32::try_from(n).unwrap(), GREETING);
    }
    let mut told = without_uprobes(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told[0].served_behind_ns / (100 * MS), 8, "{:#?}", told[0]);
    assert!(told[0].unknown_ns < MS, "{:#?}", told[0]);
}
