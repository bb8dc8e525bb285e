//! What is not known of a server that gives its clients away, or serves all with one thread, is said to be unknown.

use wrapwatch_common::records::{Kind, WHAT_HOSTS_ACCESS};

use super::families::{accepted, accepted_on, adds_up, checks, client};
use super::*;
use crate::model::{Stage, StallCause, UnknownReason};

/// In tenths of a second, where it is at least one.
fn unknown(told: &Connection) -> Vec<(UnknownReason, Stage, u64)> {
    let parts = told.unknown.iter().map(|part| (part.reason, part.stage, part.ns / (100 * MS)));
    parts.filter(|(.., tenths)| *tenths > 0).collect()
}

#[test]
fn what_a_process_does_that_could_not_be_followed_is_not_known() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork_to(&mut th, 501, 0);
    child.t += 800 * MS;
    sim.close(&mut child, -1, Class::Accepted);
    let told = one(sim);
    assert!(told.missing.contains(&Missing::NotFollowed), "{told:#?}");
    assert_eq!(unknown(&told), [(UnknownReason::NotFollowed, Stage::Thread, 8)], "{told:#?}");
    adds_up(&told);
}

/// Two clients are accepted and checked one after the other, then served. `during` is what the thread does within the second check.
fn one_thread_for_all(during: impl Fn(&mut Sim, &mut Thread)) -> Vec<Connection> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "mosquitto", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    during(&mut sim, &mut th);
    for (n, fd) in [(1, 5), (2, 9)] {
        th.conn = n;
        sim.first_packet(&mut th, fd, *b" \x02\0\0\0\0\0");
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told.len(), 2);
    told.iter().for_each(adds_up);
    told
}

#[test]
fn behind_a_check_that_was_in_no_call_that_was_seen_is_not_known() {
    let told = one_thread_for_all(|sim, th| {
        sim.request(th, 5, "mosquitto");
        sim.open(th, ALLOW, 6);
        th.t += 800 * MS;
        sim.close(th, 6, Class::File);
        sim.check(th, WHAT_HOSTS_ACCESS, 1, 1);
    });
    let behind = &told[0];
    assert!(behind.served_behind_ns < 10 * MS, "{behind:#?}");
    assert!(behind.blame.iter().all(|blame| blame.cause != StallCause::Other || blame.queued_ns == 0));
    assert_eq!(unknown(behind), [(UnknownReason::UnwatchedCall, Stage::Thread, 7)], "{behind:#?}");
    assert_eq!(unknown(&told[1]), [(UnknownReason::UnwatchedCall, Stage::Check, 7)], "{told:#?}");
}

/// The server looks its client up by itself.
pub(super) fn looks_up(sim: &mut Sim, th: &mut Thread, ns: u64) {
    let asked = query(9, "1.0.77.10.in-addr.arpa", dns::PTR);
    sim.connect(th, 8, addr(NS1), Class::Dns, false, 0, 10_000);
    sim.send(th, 8, &asked);
    th.t += ns;
    sim.recv(th, 8, &answer(&asked, 0, Some("c1.corp.example")));
    sim.close(th, 8, Class::Dns);
}

#[test]
fn behind_the_servers_own_lookup_for_another_client_is_behind_a_lookup() {
    let told = one_thread_for_all(|sim, th| {
        looks_up(sim, th, 800 * MS);
        checks(sim, th, "mosquitto", MS, 1);
    });
    let behind = &told[0];
    assert_eq!(behind.handover_resolve_ns / (100 * MS), 8, "{behind:#?}");
    assert_eq!(crate::diagnose::waiting(behind).resolve_ns / (100 * MS), 8, "{behind:#?}");
    assert_eq!(unknown(behind), [], "{behind:#?}");
}

#[test]
fn a_servers_own_lookup_for_its_client_counts_once() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    th.t += 200 * MS;
    looks_up(&mut sim, &mut th, 800 * MS);
    sim.first_packet(&mut th, 5, GREETING);
    let told = one(sim);
    assert_eq!((told.resolve_ns / (100 * MS), told.handover_resolve_ns), (8, 0), "{told:#?}");
    let waiting = crate::diagnose::waiting(&told);
    assert_eq!(waiting.lookups() / (100 * MS), 8, "{waiting:#?}");
    adds_up(&told);
}

#[test]
fn a_lookup_after_the_check_holds_the_accept_thread_too() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    sim.established(th.t, 0x1002, client(2));
    checks(&mut sim, &mut th, "conserver", 800 * MS, 1);
    looks_up(&mut sim, &mut th, 400 * MS);
    sim.first_packet(&mut th, 5, GREETING);
    sim.accept_socket(&mut th, 2, 5, 0x1002, client(2));
    checks(&mut sim, &mut th, "conserver", MS, 1);
    sim.first_packet(&mut th, 5, GREETING);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    let behind: u64 = told[1].blame.iter().map(|blame| blame.queued_ns).sum();
    assert_eq!((behind / (100 * MS), told[1].queued_resolve_ns / (100 * MS)), (8, 4), "{told:#?}");
    assert_eq!(crate::diagnose::waiting(&told[1]).lookups() / (100 * MS), 12);
    told.iter().for_each(adds_up);
}

#[test]
fn one_that_is_closed_without_a_word_was_served_then() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "syslog-ng", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    checks(&mut sim, &mut th, "syslog-ng", 800 * MS, 1);
    for (n, fd) in [(1, 5), (2, 9)] {
        th.conn = n;
        sim.close(&mut th, fd, Class::Accepted);
    }
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(
        (told[0].outcome, told[0].served_behind_ns / (100 * MS)),
        (Outcome::Unfinished, 8),
        "{told:#?}"
    );
    told.iter().for_each(adds_up);
}

#[test]
fn one_that_a_thread_took_over_while_another_is_checked_waited_for_something_else() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "mysqld", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    checks(&mut sim, &mut th, "mysqld", 8 * SEC, 1);
    sim.established(th.t, 0x1003, client(3));
    th.t += 1_000;
    sim.accept_socket(&mut th, 3, 11, 0x1003, client(3));
    // In the midst of the third one's check.
    let mut worker = Thread { tid: 301, conn: 1, t: th.t + 100 * MS };
    sim.peer(&mut worker, 5, 0);
    sim.first_packet(&mut worker, 5, GREETING);
    sim.request(&mut th, 11, "mysqld");
    sim.open(&mut th, ALLOW, 6);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told[0].served_behind_ns, 0, "{:#?}", told[0]);
    adds_up(&told[0]);
}

#[test]
fn a_lookup_after_a_hold_that_was_written_down_early_holds_the_thread_too() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "conserver", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    checks(&mut sim, &mut th, "conserver", 100 * MS, 1);
    // The first one is served and told, then the second one is looked up while a third is queued.
    th.conn = 1;
    sim.first_packet(&mut th, 5, GREETING);
    th.conn = 2;
    th.t += 50 * MS;
    sim.established(th.t, 0x1003, client(3));
    looks_up(&mut sim, &mut th, 400 * MS);
    sim.accept_socket(&mut th, 3, 11, 0x1003, client(3));
    checks(&mut sim, &mut th, "conserver", MS, 1);
    sim.first_packet(&mut th, 11, GREETING);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told[0].served_behind_ns / (100 * MS), 1, "{:#?}", told[0]);
    assert_eq!(told[2].queued_resolve_ns / (100 * MS), 4, "{:#?}", told[2]);
    told.iter().for_each(adds_up);
}

/// The first client's check ends, the thread checks the second for 800 ms, and `late` later another thread reads what the first has sent.
fn given_to_a_thread(late: u64) -> Connection {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    checks(&mut sim, &mut th, "syslog-ng", MS, 1);
    accepted_on(&mut sim, &mut th, 2, 9);
    checks(&mut sim, &mut th, "syslog-ng", 800 * MS, 1);
    let mut reader = Thread { tid: 301, conn: 1, t: th.t + late };
    sim.peer(&mut reader, 5, 0);
    reader.t += MS;
    sim.close(&mut reader, 5, Class::Accepted);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    adds_up(&told[0]);
    told.remove(0)
}

#[test]
fn one_that_a_thread_took_over_when_the_others_were_checked_waited_for_them() {
    for late in [100_000, 30 * MS] {
        let told = given_to_a_thread(late);
        assert_eq!(told.served_behind_ns / (100 * MS), 8, "{told:#?}");
        assert!(crate::diagnose::waiting(&told).handover_ns < 2 * MS + late);
    }
    // This one waited for something else.
    let told = given_to_a_thread(300 * MS);
    assert_eq!(told.served_behind_ns, 0, "{told:#?}");
    assert_eq!(crate::diagnose::waiting(&told).handover_ns / (100 * MS), 11);
}

#[test]
fn a_gap_before_the_check_is_not_known_where_events_were_lost() {
    let gap = |lose: bool| {
        let mut sim = Sim::default();
        let mut th = main_thread();
        accepted(&mut sim, &mut th, 1);
        looks_up(&mut sim, &mut th, MS);
        sim.peer(&mut th, 5, 0);
        th.t += 800 * MS;
        checks(&mut sim, &mut th, "slapd", MS, 1);
        sim.first_packet(&mut th, 5, GREETING);
        let mut records = sim.records();
        records.retain(|record| !lose || record.kind != Kind::Peer);
        let told = run_with(&mut correlator(), &records).remove(0);
        adds_up(&told);
        told
    };
    assert_eq!(unknown(&gap(false)), []);
    let lost = gap(true);
    assert_eq!(unknown(&lost), [(UnknownReason::EventsLost, Stage::Check, 8)], "{lost:#?}");
}

#[test]
fn without_uprobes_a_lookup_before_the_first_table_is_the_servers_own() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    looks_up(&mut sim, &mut th, 800 * MS);
    sim.open(&mut th, ALLOW, 6);
    sim.close(&mut th, 6, Class::File);
    sim.first_packet(&mut th, 5, GREETING);
    let told = one(sim);
    assert_eq!((told.resolve_ns / (100 * MS), told.wrapper_ns / (100 * MS)), (8, 0), "{told:#?}");
    adds_up(&told);
}

/// One client gets a process; `then` is what becomes of the next one.
fn after_one_with_a_process(then: impl Fn(&mut Sim, &mut Thread)) -> Connection {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    sim.first_packet(&mut child, 4, *b"SSH-2.0");
    th.t += MS;
    then(&mut sim, &mut th);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert_eq!(told.len(), 2);
    told.remove(1)
}

#[test]
fn one_that_is_closed_without_a_word_may_be_another_processs_by_then() {
    let told = after_one_with_a_process(|sim, th| {
        accepted(sim, th, 2);
        sim.close(th, 5, Class::Accepted);
    });
    assert_eq!(told.outcome, Outcome::HandedOver, "{told:#?}");
    assert!(told.missing.contains(&Missing::HandedOver));
}

#[test]
fn a_client_of_another_port_is_not_dropped_when_the_server_answers_it_itself() {
    let told = after_one_with_a_process(|sim, th| {
        sim.established(th.t, 0x1002, client(2));
        th.t += 100_000;
        sim.accept_at(th, 2, 5, 0x1002, client(2), "10.77.0.2:13");
        sim.first_packet(th, 5, *b"Sun Nov");
    });
    assert_eq!(told.outcome, Outcome::Greeted, "{told:#?}");
}

#[test]
fn a_process_that_writes_a_log_serves_nobody() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in 1..=2 {
        accepted(&mut sim, &mut th, n);
        let _logs = sim.fork(&mut th, 500 + u32::try_from(n).unwrap());
        sim.first_packet(&mut th, 5, GREETING);
    }
    accepted(&mut sim, &mut th, 3);
    sim.first_packet(&mut th, 5, GREETING);
    let told = run(sim);
    assert!(told.iter().all(|told| told.outcome == Outcome::Greeted), "{told:#?}");
}

#[test]
fn of_a_socket_that_is_not_known_the_acceptors_close_is_not_the_end() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.accept(&mut th, 1, 5, None);
    let _child = sim.fork(&mut th, 501);
    sim.close(&mut th, 5, Class::Accepted);
    let told = one(sim);
    assert_eq!(told.outcome, Outcome::HandedOver, "{told:#?}");
}

#[test]
fn a_socket_at_the_place_of_one_whose_end_was_not_seen_keeps_its_own_connection() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    // Its end is not seen, and the kernel puts another socket in its place.
    sim.established(th.t, 0x1001, client(2));
    th.t += 100_000;
    sim.accept_socket(&mut th, 2, 5, 0x1001, client(2));
    // The client of the second one leaves.
    th.t += 50 * MS;
    sim.state(th.t, 0x1001, client(2), (1, 8), NETNS);
    th.t += MS;
    sim.first_packet(&mut th, 5, GREETING);
    let mut told = run(sim);
    told.sort_by_key(|told| told.conn);
    assert!(told[1].client_left.is_some(), "{told:#?}");
}

#[test]
fn what_was_kept_after_a_refusal_ends_with_its_close_and_not_with_its_last_word() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    accepted(&mut sim, &mut th, 1);
    let mut child = sim.fork(&mut th, 501);
    checks(&mut sim, &mut child, "vsftpd", MS, 0);
    child.t += SEC;
    sim.first_packet(&mut child, 4, *b"421 No.");
    let told = one(sim);
    assert_eq!((told.outcome, told.held_ns), (Outcome::Refused, None), "{told:#?}");
}

#[test]
fn what_was_lost_since_it_was_last_seen_may_be_what_it_waits_for() {
    use wrapwatch_common::counters::Counter;
    let told = |lost: bool| {
        let (mut sim, mut th) = (Sim::default(), main_thread());
        begin(&mut sim, &mut th, 1);
        sim.close(&mut th, 33, Class::File);
        let mut own = Thread { tid: 200, conn: 1, t: th.t + 100_000 };
        sim.peer(&mut own, 31, 0);
        let mut correlator = correlator();
        sim.records().iter().for_each(|record| correlator.push(&decode(&record.bytes).unwrap()));
        let at = KtimeNs(own.t);
        if lost {
            correlator.note_lost_until(&[(Counter::LostPayload, 1)], at.plus(MS));
        }
        correlator.finish(at.plus(2 * SEC));
        *correlator.pop().unwrap()
    };
    let (seen, lost) = (told(false), told(true));
    assert_eq!(crate::diagnose::waiting(&seen).rest_ns / SEC, 2, "{seen:#?}");
    // Nothing of these two seconds is known: they are not made up.
    assert!(crate::diagnose::waiting(&lost).rest_ns < MS && lost.waited_ns < 10 * MS, "{lost:#?}");
    assert!(!lost.complete);
    adds_up(&lost);
}
