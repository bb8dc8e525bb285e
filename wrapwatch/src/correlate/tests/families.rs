//! Servers that give the client's socket to a process or a thread of its own, and those that serve all with one thread.

use wrapwatch_common::records::{WHAT_HOSTS_ACCESS, WHAT_RFC931};

use super::*;
use crate::model::StallCause;

pub(crate) fn client(n: u64) -> std::net::SocketAddr {
    addr(&format!("10.77.0.{n}:40000"))
}

/// What was seen of its wait, and what is unknown, add up to it.
pub(crate) fn adds_up(told: &Connection) {
    let waiting = crate::diagnose::waiting(told);
    let sum = waiting.explained() + waiting.unexplained() + waiting.unknown_ns;
    assert_eq!(sum, waiting.total_ns, "{waiting:#?} {told:#?}");
}

/// Established, accepted 0.1 ms later on descriptor 5, whatever number that has elsewhere.
pub(crate) fn accepted(sim: &mut Sim, th: &mut Thread, n: u64) {
    accepted_on(sim, th, n, 5);
}

/// As [`accepted`], on another descriptor.
pub(crate) fn accepted_on(sim: &mut Sim, th: &mut Thread, n: u64, fd: i32) {
    sim.established(th.t, 0x1000 + n, client(n));
    th.t += 100_000;
    sim.accept_socket(th, n, fd, 0x1000 + n, client(n));
}

/// A name is looked up in this thread.
pub(crate) fn looks_up(sim: &mut Sim, th: &mut Thread, name: &str, ns: u64) {
    let asked = query(7, name, dns::PTR);
    sim.connect(th, 7, addr(NS1), Class::Dns, false, 0, 10_000);
    sim.send(th, 7, &asked);
    th.t += ns;
    sim.recv(th, 7, &answer(&asked, 0, Some("c1.corp.example")));
    sim.close(th, 7, Class::Dns);
}

/// libwrap is asked in this thread and says `ret` after a lookup of `dns_ns`.
pub(crate) fn checks(sim: &mut Sim, th: &mut Thread, daemon: &str, dns_ns: u64, ret: i32) {
    sim.request(th, 4, daemon);
    sim.open(th, ALLOW, 6);
    sim.read(th, 6, 161);
    let name = format!("{}.0.77.10.in-addr.arpa", th.conn);
    looks_up(sim, th, &name, dns_ns);
    sim.close(th, 6, Class::File);
    sim.check(th, WHAT_HOSTS_ACCESS, 1, ret);
}

/// Three clients, each with a process of its own, at once.
fn forked(each: impl Fn(&mut Sim, &mut Thread)) -> Vec<Connection> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in 1..=3 {
        accepted(&mut sim, &mut th, n);
        let mut child = sim.fork(&mut th, 500 + u32::try_from(n).unwrap());
        child.t += 3 * MS;
        each(&mut sim, &mut child);
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told.len(), 3);
    told
}

#[test]
fn each_process_checks_for_its_own_client_and_nobody_waits_behind_it() {
    let told = forked(|sim, child| {
        checks(sim, child, "sshd", 800 * MS, 1);
        sim.first_packet(child, 4, *b"SSH-2.0");
    });
    for told in &told {
        assert!(told.complete, "{told:#?}");
        assert_eq!((told.outcome, told.pid, told.tid), (Outcome::Greeted, TGID, TGID));
        assert_eq!(told.peer, Some(crate::model::Client::Ip(client(told.conn))));
        assert_eq!((told.queued_ns, told.queued_behind_count), (Some(100_000), 0));
        assert!((800 * MS..805 * MS).contains(&told.wrapper_ns) && told.parts.dns_ns >= 800 * MS);
        // The accept thread had it until the process was there.
        assert!(told.service_ns < MS, "{}", told.service_ns);
        assert_eq!(told.checks.len(), 1);
        let check = &told.checks[0];
        assert_eq!((&*check.daemon, &*check.call, check.allowed), ("sshd", "hosts_access", Some(true)));
        assert_eq!(u64::from(check.tid), 500 + told.conn);
        assert!(check.dur_ns.unwrap() >= 800 * MS);
        assert_eq!(told.lookups[0].thread, ThreadRole::Checker);
    }
}

#[test]
fn one_that_is_refused_waits_for_the_verdict_and_not_for_the_close_after_it() {
    let told = forked(|sim, child| {
        checks(sim, child, "sshd", 800 * MS, 0);
        // libwrap's `refuse` sleeps, and then the process ends: its socket says so, no call.
        child.t += 5 * SEC;
        sim.close(child, -1, Class::Accepted);
    });
    for told in &told {
        assert_eq!((told.outcome, told.complete), (Outcome::Refused, true), "{told:#?}");
        assert_eq!(told.held_ns.unwrap() / SEC, 5);
        assert!(told.total_ns.unwrap() > 5 * SEC && told.waited_ns < 810 * MS && told.wrapper_ns < 810 * MS);
        assert_eq!(crate::diagnose::took_ns(told), told.waited_ns);
    }
}

#[test]
fn one_that_is_told_why_it_is_refused_is_not_greeted() {
    let told = forked(|sim, child| {
        checks(sim, child, "vsftpd", 800 * MS, 0);
        sim.first_packet(child, 0, *b"421 Ser");
    });
    assert!(told.iter().all(|told| told.outcome == Outcome::Refused && told.complete), "{told:#?}");
}

/// The server looks the client up itself.
pub(crate) fn asks_itself(sim: &mut Sim, th: &mut Thread, dns_ns: u64) {
    let name = format!("{}.0.77.10.in-addr.arpa", th.conn);
    looks_up(sim, th, &name, dns_ns);
}

#[test]
fn a_lookup_of_the_process_itself_is_the_servers_own() {
    let told = forked(|sim, child| {
        asks_itself(sim, child, 400 * MS);
        sim.first_packet(child, 9, *b"R\0\0\0\x08\0\0");
    });
    for told in &told {
        assert!(told.complete && told.checks.is_empty(), "{told:#?}");
        assert_eq!((told.wrapper_ns, told.parts.dns_ns), (0, 0));
        assert!((400 * MS..401 * MS).contains(&told.resolve_ns));
        assert!(told.handover_ns.unwrap() < MS && told.service_ns < MS);
    }
}

#[test]
fn a_helper_that_was_given_the_socket_checks_for_it() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut serving = sim.fork(&mut th, 501);
    let mut helper = Thread { tid: 90, conn: 1, t: serving.t + MS };
    checks(&mut sim, &mut helper, "tunsvc", 800 * MS, 1);
    // What it does in between was watched: it works for this client since it was made.
    serving.t = helper.t + 50 * MS;
    sim.first_packet(&mut serving, 5, *b"220 hel");
    let told = one(sim);
    assert!(told.complete && told.outcome == Outcome::Greeted, "{told:#?}");
    assert_eq!((told.checks[0].tid, told.unknown_ns < 3 * MS), (90, true), "{told:#?}");
    assert!(told.parts.dns_ns >= 800 * MS);
}

#[test]
fn a_socket_at_the_place_of_an_earlier_one_has_its_own_handshake() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    // Somebody else's, at the same place; its end was not seen.
    sim.established(th.t, 0x1001, client(9));
    th.t += MS;
    sim.established(th.t, 0x1001, client(1));
    th.t += 2 * MS;
    sim.accept_socket(&mut th, 1, 5, 0x1001, client(1));
    sim.first_packet(&mut th, 5, GREETING);
    let told = one(sim);
    assert_eq!((told.queued_ns, told.complete), (Some(2 * MS), true), "{told:#?}");

    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.established(th.t, 0x1001, client(9));
    th.t += 2 * MS;
    sim.accept_socket(&mut th, 1, 5, 0x1001, client(1));
    sim.first_packet(&mut th, 5, GREETING);
    let told = one(sim);
    assert_eq!((told.queued_ns, told.complete), (None, false), "another client's handshake is not its own");
}

#[test]
fn collecting_a_process_is_no_command_of_a_rule() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    // Before the child is seen to check, the acceptor collects another one.
    sim.wait(&mut th, 20 * MS);
    child.t = th.t;
    checks(&mut sim, &mut child, "nrpe", 800 * MS, 1);
    sim.first_packet(&mut child, 4, *b"\0\x02\0\0\0\0\0");
    let told = one(sim);
    assert_eq!((told.parts.spawn_ns, told.complete), (0, true), "{told:#?}");
}

#[test]
fn one_thread_that_serves_all_keeps_those_waiting_whom_it_has_checked() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in 1..=4 {
        sim.established(main_thread().t, 0x1000 + n, client(n));
    }
    th.t += 100_000;
    for n in 1..=4_u64 {
        sim.accept_socket(&mut th, n, 5 + i32::try_from(n).unwrap(), 0x1000 + n, client(n));
        checks(&mut sim, &mut th, "mosquitto", 800 * MS, 1);
    }
    for n in 1..=4 {
        th.conn = n;
        sim.first_packet(&mut th, 5 + i32::try_from(n).unwrap(), *b" \x02\0\0\0\0\0");
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told.len(), 4);
    for told in &told {
        let others: u64 = told.blame.iter().filter(|b| b.cause == StallCause::Dns).map(|b| b.queued_ns).sum();
        let own: u64 = told.blame.iter().filter(|b| b.cause == StallCause::Dns).map(|b| b.own_ns).sum();
        assert!((2_400 * MS..2_401 * MS).contains(&others), "{others} {told:#?}");
        assert_eq!(own / (800 * MS), 1);
        assert_eq!(told.served_behind_ns / (800 * MS), 4 - told.conn, "{told:#?}");
        assert!(told.complete && told.unknown_ns < 10 * MS, "{told:#?}");
        let waiting = crate::diagnose::waiting(told);
        assert!(waiting.lookups() * 100 > waiting.total_ns * 99, "{waiting:#?}");
        assert_eq!(waiting.explained() + waiting.unexplained() + waiting.unknown_ns, waiting.total_ns);
    }
}

#[test]
fn one_that_the_server_answers_itself_while_others_get_a_process_was_dropped() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    checks(&mut sim, &mut child, "sshd", 800 * MS, 1);
    sim.first_packet(&mut child, 4, *b"SSH-2.0");
    th.t += MS;
    accepted(&mut sim, &mut th, 2);
    sim.first_packet(&mut th, 5, *b"Exceede");
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    let outcomes: Vec<_> = told.iter().map(|told| (told.outcome, told.complete)).collect();
    assert_eq!(outcomes, [(Outcome::Greeted, true), (Outcome::Dropped, true)]);
}

#[test]
fn a_lookup_before_libwrap_is_asked_is_the_servers_own() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let asked = query(9, "1.0.77.10.in-addr.arpa", dns::PTR);
    sim.connect(&mut th, 8, addr(NS1), Class::Dns, false, 0, 10_000);
    sim.send(&mut th, 8, &asked);
    th.t += 400 * MS;
    sim.recv(&mut th, 8, &answer(&asked, 0, Some("c1.corp.example")));
    sim.close(&mut th, 8, Class::Dns);
    // The next client is queued meanwhile.
    sim.established(th.t - 300 * MS, 0x1002, client(2));
    sim.request(&mut th, -1, "slapd");
    sim.open(&mut th, ALLOW, 6);
    sim.close(&mut th, 6, Class::File);
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 1);
    sim.first_packet(&mut th, 5, GREETING);
    sim.accept_socket(&mut th, 2, 5, 0x1002, client(2));
    sim.first_packet(&mut th, 5, GREETING);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    let first = &told[0];
    assert!(first.wrapper_ns < MS && first.parts.dns_ns == 0, "{first:#?}");
    assert!((400 * MS..402 * MS).contains(&first.resolve_ns) && first.unknown_ns == 0, "{first:#?}");
    assert!((400 * MS..402 * MS).contains(&first.check_at_ns), "{first:#?}");
    assert_eq!((told[1].check_at_ns, told[1].wrapper_ns), (0, 0));
    assert!((299 * MS..=300 * MS).contains(&told[1].queued_resolve_ns), "{:#?}", told[1]);
    for told in &told {
        let waiting = crate::diagnose::waiting(told);
        assert_eq!(waiting.explained() + waiting.unexplained() + waiting.unknown_ns, waiting.total_ns);
    }
}

#[test]
fn what_libwrap_is_asked_for_no_connection_is_counted() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    th.conn = 0;
    sim.request(&mut th, -1, "rpcbind");
    let mut correlator = correlator();
    assert_eq!(run_with(&mut correlator, &sim.records()), []);
    assert_eq!(correlator.stats().unowned_checks, 1);
}

#[test]
fn a_check_before_the_process_is_made_holds_the_accept_thread() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    sim.established(th.t, 0x1002, client(2));
    checks(&mut sim, &mut th, "mysvc", 800 * MS, 1);
    let mut child = sim.fork(&mut th, 501);
    sim.first_packet(&mut child, 6, *b"hello\n\0");
    sim.accept_socket(&mut th, 2, 5, 0x1002, client(2));
    checks(&mut sim, &mut th, "mysvc", 0, 1);
    let mut child = sim.fork(&mut th, 502);
    sim.first_packet(&mut child, 6, *b"hello\n\0");
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!((told[0].service_ns / (800 * MS), told[0].complete), (1, true), "{:#?}", told[0]);
    let behind: u64 = told[1].blame.iter().filter(|b| b.cause == StallCause::Dns).map(|b| b.queued_ns).sum();
    assert_eq!((behind / (800 * MS), &*told[1].queued_behind), (1, [1].as_slice()), "{:#?}", told[1]);
}

/// One thread accepts three clients at once, then asks libwrap for each when its request has come, the last one first.
fn each_at_its_request(uprobes: bool) -> Vec<Connection> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in 1..=3 {
        accepted_on(&mut sim, &mut th, n, 4 + i32::try_from(n).unwrap());
    }
    // A request comes when its client likes.
    th.t += 50 * MS;
    for n in [3, 1, 2] {
        th.conn = n;
        if uprobes {
            sim.request(&mut th, -1, "rpcbind");
        }
        sim.open(&mut th, ALLOW, 8);
        sim.read(&mut th, 8, 161);
        let asked = query(7, &format!("{n}.0.77.10.in-addr.arpa"), dns::PTR);
        sim.connect(&mut th, 9, addr(NS1), Class::Dns, false, 0, 10_000);
        sim.send(&mut th, 9, &asked);
        th.t += 800 * MS;
        sim.recv(&mut th, 9, &answer(&asked, 0, Some("c1.corp.example")));
        sim.close(&mut th, 9, Class::Dns);
        sim.close(&mut th, 8, Class::File);
        if uprobes {
            sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 1);
        }
        sim.first_packet(&mut th, 4 + i32::try_from(n).unwrap(), *b"\x80\0\0\x1c\0\0\0");
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    told
}

#[test]
fn a_thread_that_serves_all_may_check_each_when_its_request_has_come() {
    for uprobes in [true, false] {
        let told = each_at_its_request(uprobes);
        for (told, turn) in told.iter().zip([1, 2, 0]) {
            assert!(told.complete && told.outcome == Outcome::Greeted, "{told:#?}");
            assert_eq!((told.parts.dns_ns / (100 * MS), told.resolve_ns), (8, 0), "{told:#?}");
            assert_eq!(told.served_behind_ns / (100 * MS), turn * 8, "{told:#?}");
            adds_up(told);
            // Without uprobes it is not known what the thread did until it opened a table for the one that it had accepted last.
            if uprobes {
                assert_eq!(told.unknown_ns, 0, "{told:#?}");
                assert!((800 * MS..802 * MS).contains(&told.wrapper_ns), "{told:#?}");
                assert!(told.check_at_ns >= turn * 800 * MS + 50 * MS, "{told:#?}");
            } else {
                assert!((45 * MS..50 * MS).contains(&told.unknown_ns), "{told:#?}");
            }
        }
    }
}

#[test]
fn who_comes_while_a_request_is_checked_waits_behind_it() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted_on(&mut sim, &mut th, 1, 5);
    accepted_on(&mut sim, &mut th, 2, 6);
    th.conn = 1;
    sim.established(th.t + 100 * MS, 0x1003, client(3));
    checks(&mut sim, &mut th, "rpcbind", 800 * MS, 1);
    sim.first_packet(&mut th, 5, *b"\x80\0\0\x1c\0\0\0");
    sim.accept_socket(&mut th, 3, 5, 0x1003, client(3));
    for n in [2, 3] {
        th.conn = n;
        checks(&mut sim, &mut th, "rpcbind", 100 * MS, 1);
        sim.first_packet(&mut th, 5, *b"\x80\0\0\x1c\0\0\0");
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(
        (told[2].queued_ns.unwrap() / (100 * MS), told[2].queued_behind.as_slice()),
        (7, [1].as_slice())
    );
    assert_eq!((told[1].served_behind_ns / (100 * MS), told[2].served_behind_ns / (100 * MS)), (8, 1));
    told.iter().for_each(adds_up);
}

#[test]
fn who_waits_for_the_check_of_a_datagram_waits_for_what_is_not_known() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted_on(&mut sim, &mut th, 1, 5);
    th.conn = 0;
    sim.established(th.t + 100 * MS, 0x1002, client(2));
    sim.request(&mut th, -1, "rpcbind");
    th.t += 800 * MS;
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 1);
    sim.accept_socket(&mut th, 2, 6, 0x1002, client(2));
    for n in [1, 2] {
        th.conn = n;
        checks(&mut sim, &mut th, "rpcbind", 100 * MS, 1);
        sim.first_packet(&mut th, 5, *b"\x80\0\0\x1c\0\0\0");
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!((told[0].unknown_ns / (100 * MS), told[1].unknown_ns / (100 * MS)), (8, 7), "{told:#?}");
    assert_eq!((told[1].queued_behind_count, told[0].served_behind_ns), (0, 0));
    assert_eq!(told[1].served_behind_ns / (100 * MS), 1, "the other one's check");
    told.iter().for_each(adds_up);
}

#[test]
fn an_ident_lookup_ends_no_check_of_a_datagram() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted_on(&mut sim, &mut th, 1, 5);
    th.conn = 0;
    sim.request(&mut th, -1, "rpcbind");
    th.t += MS;
    sim.check(&mut th, WHAT_RFC931, 1, 0);
    th.t += 800 * MS;
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 1);
    th.conn = 1;
    checks(&mut sim, &mut th, "rpcbind", MS, 1);
    sim.first_packet(&mut th, 5, *b"\x80\0\0\x1c\0\0\0");
    let told = run(sim);
    assert_eq!(told[0].unknown_ns / (100 * MS), 8, "{:#?}", told[0]);
}

#[test]
fn what_the_server_looks_up_before_it_asks_libwrap_at_once_holds_its_thread() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    super::doubts::looks_up(&mut sim, &mut th, 400 * MS);
    sim.established(th.t - 300 * MS, 0x1002, client(2));
    checks(&mut sim, &mut th, "slapd", MS, 1);
    sim.first_packet(&mut th, 5, GREETING);
    sim.accept_socket(&mut th, 2, 5, 0x1002, client(2));
    sim.first_packet(&mut th, 5, GREETING);
    let told = run(sim);
    assert_eq!(told[0].service_ns / (100 * MS), 4, "{:#?}", told[0]);
}

#[test]
fn where_what_it_waited_behind_before_its_check_is_forgotten_it_is_not_complete() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let all = [(1, 5), (2, 6), (3, 7), (4, 8)];
    for (n, fd) in all {
        accepted_on(&mut sim, &mut th, n, fd);
    }
    for (n, fd) in all {
        th.conn = n;
        checks(&mut sim, &mut th, "rpcbind", 100 * MS, 1);
        sim.first_packet(&mut th, fd, GREETING);
    }
    let mut config = Config::new(clock());
    config.limits.history = 1;
    let mut told = run_with(&mut Correlator::new(config), &sim.records());
    told.sort_by_key(|told| told.conn);
    assert!(told[3].missing.contains(&Missing::PastForgotten) && !told[3].complete, "{:#?}", told[3]);
}

#[test]
fn a_check_is_the_wrappers_also_where_the_server_looked_its_client_up_when_it_came() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted_on(&mut sim, &mut th, 1, 5);
    super::doubts::looks_up(&mut sim, &mut th, 100 * MS);
    accepted_on(&mut sim, &mut th, 2, 6);
    th.t += 50 * MS;
    th.conn = 1;
    sim.established(th.t, 0x1003, client(3));
    checks(&mut sim, &mut th, "rpcbind", 800 * MS, 1);
    sim.first_packet(&mut th, 5, GREETING);
    sim.accept_socket(&mut th, 3, 7, 0x1003, client(3));
    for (n, fd) in [(2, 6), (3, 7)] {
        th.conn = n;
        checks(&mut sim, &mut th, "rpcbind", MS, 1);
        sim.first_packet(&mut th, fd, GREETING);
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    let first = &told[0];
    assert_eq!((first.wrapper_ns / (100 * MS), first.parts.dns_ns / (100 * MS)), (8, 8), "{first:#?}");
    assert_eq!(first.resolve_ns / (100 * MS), 1, "{first:#?}");
    assert_eq!(
        (told[1].served_behind_ns / (100 * MS), told[1].handover_resolve_ns),
        (8, 0),
        "{:#?}",
        told[1]
    );
    let queued: u64 = told[2].blame.iter().map(|blame| blame.queued_ns).sum();
    assert_eq!((queued / (100 * MS), told[2].queued_resolve_ns), (8, 0), "{:#?}", told[2]);
    told.iter().for_each(adds_up);
}

#[test]
fn who_is_queued_while_all_of_a_pool_check_waits_behind_the_one_that_took_it() {
    let mut sim = Sim::default();
    // Two threads accept and check, each for itself.
    let mut pool = [101, 102].map(|tid| Thread { tid, ..main_thread() });
    for (th, (n, dns_ns)) in pool.iter_mut().zip([(1, 800 * MS), (2, 500 * MS)]) {
        accepted_on(&mut sim, th, n, 4 + i32::try_from(n).unwrap());
        checks(&mut sim, th, "svc", dns_ns, 1);
        sim.first_packet(th, 4 + i32::try_from(n).unwrap(), GREETING);
    }
    // A third client comes while both are in their checks; the second thread is free first.
    let th = &mut pool[1];
    sim.established(main_thread().t + 200 * MS, 0x1003, client(3));
    sim.accept_socket(th, 3, 7, 0x1003, client(3));
    checks(&mut sim, th, "svc", MS, 1);
    sim.first_packet(th, 7, GREETING);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    let third = &told[2];
    assert_eq!(
        (third.queued_behind.as_slice(), third.queued_behind_count),
        ([2].as_slice(), 1),
        "{third:#?}"
    );
    let queued: u64 =
        third.blame.iter().filter(|blame| blame.cause == StallCause::Dns).map(|blame| blame.queued_ns).sum();
    assert!(queued + MS >= third.queued_ns.unwrap() && third.complete, "{third:#?}");
    told.iter().for_each(adds_up);
}
