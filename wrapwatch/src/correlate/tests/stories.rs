//! Threads, outcomes, queues, stalls: what becomes of connections.

use wrapwatch_common::records::{Kind, OP_WRITE, WHAT_HOSTS_ACCESS, WHAT_SHELL_CMD};

use super::sim::TOO_MANY;
use super::*;
use crate::correlate::{SeededCheck, SeededSocket};
use crate::model::{Client, Degradation, DegradationKind, LeaveKind, LookupKind, StallCause};

const SERVER_CLOSES: (u8, u8) = (1, 4);
const FIN: (u8, u8) = (1, 8);
const RST: (u8, u8) = (1, 7);

fn client(n: u64) -> std::net::SocketAddr {
    addr(&format!("10.77.0.{n}:40000"))
}

/// A whole connection: established at `est`, accepted when the thread gets to it, `dns_ns` of waiting for one nameserver, greeted.
fn connection(sim: &mut Sim, th: &mut Thread, n: u64, est: u64, dns_ns: u64) {
    sim.established(est, 0x1000 + n, client(n));
    th.t = th.t.max(est) + 20_000;
    let fd = 100 + i32::try_from(n).unwrap();
    sim.accept(th, n, fd, Some(client(n)));
    sim.open(th, ALLOW, 33);
    sim.read(th, 33, 161);
    if dns_ns > 0 {
        let asked = query(u16::try_from(n).unwrap(), &format!("{n}.0.77.10.in-addr.arpa"), dns::PTR);
        sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
        sim.send(th, 34, &asked);
        th.t += dns_ns;
        sim.recv(th, 34, &answer(&asked, 0, Some("c1.lan.example")));
        sim.close(th, 34, Class::Dns);
    }
    sim.close(th, 33, Class::File);
    let mut other = Thread { tid: 1000 + u32::try_from(n).unwrap(), conn: n, t: th.t + 50_000 };
    sim.peer(&mut other, fd, 0);
    sim.first_packet(&mut other, fd, GREETING);
}

#[test]
fn those_behind_a_slow_check_wait_in_the_queue() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let t0 = th.t;
    connection(&mut sim, &mut th, 1, t0, 800 * MS);
    for n in 2..=8 {
        connection(&mut sim, &mut th, n, t0 + n * MS, 200_000);
    }
    // Later, alone.
    connection(&mut sim, &mut th, 9, t0 + 5 * SEC, 200_000);
    let told = run(sim);
    assert_eq!(told.len(), 9);
    for late in &told[1..8] {
        assert!(late.queued_ns.unwrap() > 790 * MS && late.wrapper_ns < MS, "{late:#?}");
        assert_eq!(late.queued_behind.first(), Some(&1));
        assert_eq!(late.queued_behind_count, late.conn - 1);
        let dns = late.blame.iter().find(|blame| blame.cause == StallCause::Dns).unwrap();
        assert_eq!(dns.server.as_deref(), Some(NS1));
        assert!(dns.queued_ns > 780 * MS && dns.own_ns < MS);
        let in_checks: u64 = late.blame.iter().map(|blame| blame.queued_ns).sum();
        assert!(in_checks <= late.queued_ns.unwrap());
    }
    // Service: to the next accept where one was queued, else the check.
    assert!(told[0].service_ns > told[0].wrapper_ns && told[0].service_ns < told[0].wrapper_ns + 30_000);
    assert_eq!(told[7].service_ns, told[7].wrapper_ns);
    assert_eq!((told[8].queued_behind_count, told[8].queued_ns), (0, Some(20_000)));
}

#[test]
fn a_next_accept_within_the_linger_counts_whenever_it_comes() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let t0 = th.t;
    connection(&mut sim, &mut th, 1, t0, 5 * MS);
    th.t += 10 * MS;
    connection(&mut sim, &mut th, 2, t0 + MS, 0);
    th.t += 500 * MS;
    // Queued during the last check, but the thread was away for half a second: that is not this check's service.
    connection(&mut sim, &mut th, 3, t0 + 15 * MS, 0);
    let told = run(sim);
    assert!(told[0].service_ns > 15 * MS, "{}", told[0].service_ns);
    assert_eq!(told[1].service_ns, told[1].wrapper_ns);
}

#[test]
fn an_error_instead_of_a_greeting() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    sim.first_packet(&mut th, 31, TOO_MANY);
    sim.close(&mut th, 31, Class::Accepted);
    let told = one(sim);
    assert_eq!((told.outcome, told.error_code, told.complete), (Outcome::ServerError, Some(1040), true));
    assert_eq!(told.handover_ns, None);
}

#[test]
fn unix_clients_hold_the_thread_and_are_not_checked() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.accept(&mut th, 1, 31, None);
    th.t += 3 * MS;
    let mut other = Thread { tid: 200, conn: 1, t: th.t };
    sim.peer(&mut other, 31, 0);
    sim.first_packet(&mut other, 31, GREETING);
    let est = th.t - 4 * MS;
    connection(&mut sim, &mut th, 2, est, 0);
    let told = run(sim);
    assert_eq!((told[0].peer, told[0].wrapper_ns, told[0].complete), (Some(Client::Unix), 0, true));
    assert_eq!((told[0].queued_ns, told[1].queued_behind.as_slice()), (None, [1].as_slice()));
}

#[test]
fn unix_clients_wait_behind_the_check_that_their_thread_is_in() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.queued_locally(th.t, 0x2002);
    silent_first_server(&mut sim, &mut th);
    admit(&mut sim, &mut th);
    sim.accept_locally(&mut th, 2, 35, 0x2002);
    let mut other = Thread { tid: 200, conn: 2, t: th.t + MS };
    sim.first_packet(&mut other, 35, GREETING);
    let told = run(sim);
    let local = &told[1];
    assert_eq!((local.peer, local.local, local.complete), (Some(Client::Unix), None, true), "{local:#?}");
    let behind: u64 = local.blame.iter().map(|blame| blame.queued_ns).sum();
    assert!(behind > SEC && behind <= local.queued_ns.unwrap(), "{local:#?}");
    assert_eq!(local.queued_behind, [1]);
}

#[test]
fn unix_clients_that_a_process_was_made_for_have_no_end_that_was_seen() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.queued_locally(th.t - MS, 0x2001);
    sim.accept_locally(&mut th, 1, 31, 0x2001);
    sim.fork(&mut th, 501);
    sim.close(&mut th, 31, Class::Accepted);
    let told = one(sim);
    assert_eq!((told.outcome, told.complete), (Outcome::HandedOver, false), "{told:#?}");
    assert_eq!(told.queued_ns, Some(MS));
}

#[test]
fn unix_clients_whose_beginning_was_not_seen_waited_nobody_knows_how_long() {
    for (blind, missing) in [(false, &[Missing::HandshakeUnseen][..]), (true, &[])] {
        let mut sim = Sim::default();
        let mut th = main_thread();
        sim.accept_locally(&mut th, 1, 31, 0x2001);
        let mut other = Thread { tid: 200, conn: 1, t: th.t + MS };
        sim.first_packet(&mut other, 31, GREETING);
        let mut correlator = correlator();
        if blind {
            let kind = DegradationKind::NoLocalQueueTime;
            correlator.note_degradation(&Degradation { kind, pid: Some(TGID), message: String::new() });
        }
        let told = run_with(&mut correlator, &sim.records());
        assert_eq!((told[0].queued_ns, told[0].missing.as_slice()), (None, missing));
    }
}

#[test]
fn clients_that_left() {
    let left = |when: i64, states: &[(u8, u8)]| {
        let mut sim = Sim::default();
        let mut th = main_thread();
        begin(&mut sim, &mut th, 1);
        for (i, state) in states.iter().enumerate() {
            let ts = th.t.checked_add_signed(when).unwrap() + u64::try_from(i).unwrap();
            sim.state(ts, 0x1001, addr("10.77.0.1:36061"), *state, NETNS);
        }
        admit(&mut sim, &mut th);
        let told = one(sim);
        told.client_left.map(|left| (left.how, left.after_ns.unwrap()))
    };
    // While queued, while checked, after the greeting.
    assert!(matches!(left(-200_000, &[FIN, (8, 7)]), Some((LeaveKind::Fin, ns)) if ns < MS));
    assert!(matches!(left(0, &[RST]), Some((LeaveKind::Rst, ns)) if ns > MS));
    assert_eq!(left(10_000_000, &[FIN]), None);
    // The server closing first is not the client leaving.
    assert_eq!(left(0, &[SERVER_CLOSES, (4, 7)]), None);
}

#[test]
fn a_fin_that_is_told_of_late_still_counts() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let t0 = th.t;
    connection(&mut sim, &mut th, 1, t0, 0);
    connection(&mut sim, &mut th, 2, t0 + 1_000, 0);
    let mut records = sim.records();
    let at = |kind: Kind, records: &[Rec]| {
        records.iter().position(|rec| rec.conn == 1 && rec.kind == kind).unwrap()
    };
    let greeted = records[at(Kind::FirstPacket, &records)].ts;
    let mut fin = Sim::default();
    fin.state(greeted - 10_000, 0x1001, client(1), FIN, NETNS);
    // It happened on another CPU, and comes after the next accept and the greeting.
    let behind = records.iter().position(|rec| rec.ts > greeted + 100_000).unwrap_or(records.len());
    records.insert(behind, fin.records().remove(0));
    let told = run_with(&mut correlator(), &records);
    assert_eq!(told[0].client_left.map(|left| left.how), Some(LeaveKind::Fin));
}

#[test]
fn a_reset_shows_by_enotconn_too() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.peer(&mut th, 31, -107);
    sim.close(&mut th, 33, Class::File);
    sim.shutdown(&mut th, 31);
    sim.close(&mut th, 31, Class::Accepted);
    let told = one(sim);
    assert_eq!(
        (told.outcome, told.client_left.map(|left| left.how)),
        (Outcome::Refused, Some(LeaveKind::Rst))
    );
}

#[test]
fn with_uprobes_the_check_ends_where_hosts_access_returns() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let peer = addr("10.77.0.1:36061");
    sim.established(th.t - MS, 0x1001, peer);
    sim.accept(&mut th, 1, 31, Some(peer));
    let accepted = th.t;
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 0, 0);
    sim.open(&mut th, ALLOW, 33);
    sim.read(&mut th, 33, 161);
    sim.rule(&mut th, ALLOW, 4);
    sim.close(&mut th, 33, Class::File);
    th.t += 7_000;
    let returned = th.t;
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 1);
    greet(&mut sim, &mut th);
    let told = one(sim);
    assert_eq!((told.wrapper_ns, told.outcome), (returned - accepted, Outcome::Greeted));
    assert_eq!(told.verdict_rule.map(|rule| rule.line), Some(4));
}

#[test]
fn closed_without_a_check_is_not_refused() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.established(th.t - MS, 0x1001, client(1));
    sim.accept(&mut th, 1, 31, Some(client(1)));
    sim.close(&mut th, 31, Class::Accepted);
    let told = one(sim);
    // A process that accepts, closes and keeps nothing has given the socket to another one.
    assert_eq!((told.outcome, told.wrapper_ns), (Outcome::HandedOver, 0));
    assert!(told.missing == [Missing::HandedOver] && told.total_ns.is_some(), "{told:#?}");
}

#[test]
fn tables_that_do_not_exist_admit_without_a_rule() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.established(th.t - MS, 0x1001, client(1));
    sim.accept(&mut th, 1, 31, Some(client(1)));
    sim.open(&mut th, ALLOW, -2);
    sim.open(&mut th, DENY, -2);
    greet(&mut sim, &mut th);
    let told = one(sim);
    assert_eq!((told.outcome, told.verdict_rule), (Outcome::Greeted, None));
    assert!(told.wrapper_ns > 0 && told.parts.files_ns == 10_000);
    assert_eq!(told.files[0].error.as_deref(), Some("ENOENT"));
}

/// hosts.allow read to its end, then hosts.deny: `eof` whether that, too.
fn second_table(eof: bool, refuse: bool) -> Connection {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.read(&mut th, 33, 0);
    sim.rule(&mut th, ALLOW, 4);
    sim.close(&mut th, 33, Class::File);
    sim.open(&mut th, DENY, 33);
    sim.read(&mut th, 33, 9);
    // Of the first table there is a record of the last read, as an import has it; of this one its close tells.
    sim.rule(&mut th, DENY, 1);
    if eof {
        sim.close_at_end(&mut th, 33);
    } else {
        sim.close(&mut th, 33, Class::File);
    }
    if refuse {
        sim.shutdown(&mut th, 31);
        sim.close(&mut th, 31, Class::Accepted);
    } else {
        greet(&mut sim, &mut th);
    }
    one(sim)
}

#[test]
fn the_verdict_has_the_rule_that_decided() {
    let rule = |told: Connection| told.verdict_rule.map(|rule| (rule.file, rule.line));
    assert_eq!(rule(second_table(true, false)), None, "no match admits");
    assert_eq!(rule(second_table(false, false)), Some((DENY.into(), 1)), "option allow in hosts.deny");
    assert_eq!(rule(second_table(true, true)), Some((DENY.into(), 1)));
    let reads = second_table(true, true).files.into_iter().map(|file| (file.path, file.reads));
    assert_eq!(reads.collect::<Vec<_>>(), [(ALLOW.into(), 2), (DENY.into(), 2)]);
}

/// A connection without one Rule record: reverse lookup answered with `name` (none: NXDOMAIN), forward with the client's address; refused or greeted.
fn unnamed_rules(allow: &str, name: Option<&str>, refuse: bool) -> Connection {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    let ptr = query(1, PTR_NAME, dns::PTR);
    sim.connect(&mut th, 34, addr(NS1), Class::Dns, false, 0, 1_000);
    sim.send(&mut th, 34, &ptr);
    sim.recv(&mut th, 34, &answer(&ptr, if name.is_some() { 0 } else { 3 }, name));
    if let Some(name) = name {
        let forward = query(2, name, dns::A);
        sim.send(&mut th, 34, &forward);
        sim.recv(&mut th, 34, &answer(&forward, 0, Some("10.77.0.1")));
    }
    sim.close(&mut th, 34, Class::Dns);
    sim.close(&mut th, 33, Class::File);
    if refuse {
        sim.open(&mut th, DENY, 33);
        sim.read(&mut th, 33, 9);
        sim.close(&mut th, 33, Class::File);
        sim.shutdown(&mut th, 31);
        sim.close(&mut th, 31, Class::Accepted);
    } else {
        greet(&mut sim, &mut th);
    }
    let mut correlator = correlator();
    correlator.set_table_text(TGID, ALLOW, Some(TableText::new(allow)), KtimeNs(0));
    run_with(&mut correlator, &sim.records()).remove(0)
}

#[test]
fn a_rule_is_quoted_as_it_was_when_its_table_was_opened() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    let opened = th.t;
    // Edited while this check waits for the nameserver.
    th.t += 50 * MS;
    sim.rule(&mut th, ALLOW, 4);
    admit(&mut sim, &mut th);
    let records = sim.records();
    let quoted = |from: u64| {
        let mut correlator = correlator();
        let edited = TableText::new("\n\n\nsshd: ALL\n");
        // Known before the events are.
        correlator.set_table_text(TGID, ALLOW, Some(edited), KtimeNs(from));
        run_with(&mut correlator, &records).remove(0).verdict_rule.and_then(|rule| rule.text)
    };
    assert_eq!(quoted(opened + MS).as_deref(), Some("mysqld: 10.77."));
    assert_eq!(quoted(opened - 10 * MS).as_deref(), Some("sshd: ALL"));
}

#[test]
fn rules_that_libwrap_did_not_name_are_inferred_or_left_open() {
    const ALLOWED: &str = "# ours\nsshd: .lan.example\nmysqld: .corp.example\nALL: .lan.example\n";
    let lines = |told: &Connection| {
        let line = |rule: &Option<crate::model::RuleRef>| {
            rule.as_ref().map(|rule| {
                assert_eq!(rule.how, crate::model::How::Inferred);
                (rule.file.clone(), rule.line)
            })
        };
        (line(&told.rule), line(&told.verdict_rule))
    };
    let at = |file: &str, line| Some((file.into(), line));
    // Line 3 needs the name first (line 2 is another daemon's); line 4 decides.
    assert_eq!(lines(&unnamed_rules(ALLOWED, Some("c1.lan.example"), false)), (at(ALLOW, 3), at(ALLOW, 4)));
    assert_eq!(lines(&unnamed_rules(ALLOWED, None, true)), (at(ALLOW, 3), at(DENY, 1)));
    // By this text the client would have been admitted: it is not the text that was in force.
    assert_eq!(lines(&unnamed_rules("ALL: ALL EXCEPT .bad\n", Some("c1.lan.example"), true)).1, None);
    // No rule of this text needs a name.
    assert_eq!(lines(&unnamed_rules("ALL: 10.77.\n", Some("c1.lan.example"), false)).0, None);
}

#[test]
fn twist_ends_the_process_and_says_so() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    sim.exec(&th);
    let told = one(sim);
    assert_eq!(told.outcome, Outcome::Unfinished);
    assert!(told.missing.contains(&Missing::ServerReplaced), "{:?}", told.missing);
}

#[test]
fn twist_that_has_moved_the_clients_socket_is_no_refusal() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.rule(&mut th, ALLOW, 4);
    // libwrap's twist: dup2 onto 0, 1 and 2, a line to syslog, close, exec.
    sim.io(&mut th, 12, Class::Unix, OP_WRITE, 80, 30_000);
    sim.close(&mut th, 101, Class::Accepted);
    th.t += MS;
    sim.exec(&th);
    let told = one(sim);
    assert_eq!((told.outcome, told.complete), (Outcome::Unfinished, false), "{told:#?}");
    assert!(told.missing.contains(&Missing::ServerReplaced), "{:?}", told.missing);
}

#[test]
fn twist_of_a_thread_that_is_not_the_leader_is_one_too() {
    for (closes, execs) in [(true, true), (false, true), (false, false)] {
        let mut sim = Sim::default();
        let mut th = Thread { tid: TGID + 7, ..main_thread() };
        begin(&mut sim, &mut th, 1);
        sim.rule(&mut th, ALLOW, 4);
        sim.io(&mut th, 12, Class::Unix, OP_WRITE, 80, 30_000);
        if closes {
            sim.close(&mut th, 101, Class::Accepted);
        }
        // Within `execve` the kernel ends the others first, the leader too.
        th.t += MS;
        sim.exit(&Thread { tid: TGID, ..th }, 1);
        th.t += MS;
        let why = if execs { Missing::ServerReplaced } else { Missing::ServerEnded };
        if execs {
            sim.exec(&th);
        }
        let told = one(sim);
        assert_eq!((told.outcome, told.complete), (Outcome::Unfinished, false), "{told:#?}");
        assert_eq!(told.missing, [why]);
    }
}

#[test]
fn what_looks_like_a_twist_is_a_refusal_where_the_process_ends() {
    let mut sim = Sim::default();
    let mut th = Thread { tid: TGID + 7, ..main_thread() };
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    sim.open(&mut th, DENY, 33);
    sim.read(&mut th, 33, 9);
    sim.close(&mut th, 33, Class::File);
    sim.close(&mut th, 31, Class::Accepted);
    sim.exit(&Thread { t: th.t + MS, ..main_thread() }, 1);
    let told = one(sim);
    assert_eq!(told.outcome, Outcome::Refused, "{told:#?}");
}

#[test]
fn a_refusal_that_hangs_is_a_stall_of_syslog() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 0, 0);
    sim.close(&mut th, 33, Class::File);
    sim.check(&mut th, WHAT_HOSTS_ACCESS, 1, 0);
    let mut correlator = correlator();
    for record in sim.records() {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    let stalls = correlator.stalls(KtimeNs(th.t + SEC), 100 * MS);
    assert_eq!((stalls[0].cause, stalls[0].certain), (StallCause::Syslog, true));
}

#[test]
fn a_process_that_ends_takes_its_connections_along() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.exit(&th, 1);
    th.t += MS;
    // The pid again.
    begin(&mut sim, &mut th, 2);
    admit(&mut sim, &mut th);
    let told = run(sim);
    assert_eq!((told[0].conn, told[0].complete, told[1].complete), (1, false, true));
    assert_eq!(told[1].queued_behind_count, 0);
}

#[test]
fn a_stall_names_what_it_hangs_on() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    let accepted = 10 * SEC;
    hosts(&mut sim, &mut th);
    sim.rule(&mut th, ALLOW, 2);
    sim.connect(&mut th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
    sim.send(&mut th, 34, &query(7, PTR_NAME, dns::PTR));
    let mut correlator = correlator();
    for record in sim.records() {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    let now = KtimeNs(accepted + 7_300 * MS);
    assert_eq!(correlator.stalls(KtimeNs(accepted + 50 * MS), 100 * MS), []);
    let [check] = correlator.stalls(now, 100 * MS).try_into().unwrap();
    assert_eq!(
        (check.cause, check.lookup, check.certain),
        (StallCause::Dns, Some(LookupKind::Reverse), true)
    );
    assert_eq!((check.name.as_deref(), check.server.as_deref()), (Some(PTR_NAME), Some(NS1)));
    assert_eq!((check.table.as_deref(), check.rule.as_ref().map(|rule| rule.line)), (Some(ALLOW), Some(2)));
    let stall = check.stall(now, &clock(), Some((80, 80)));
    assert_eq!((stall.blocked_ns, stall.queued), (7_300 * MS, Some(80)));
    correlator.finish(now);
    let told = *correlator.pop().unwrap();
    assert_eq!(
        (told.wrapper_ns, told.parts.dns_ns / SEC),
        (7_300 * MS, 7),
        "the check lasts until the trace's end"
    );
    assert!(!told.complete);
}

/// In the middle of its first lookup, and the records so far taken.
fn asking() -> (Sim, Thread, Correlator) {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    hosts(&mut sim, &mut th);
    sim.connect(&mut th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
    sim.send(&mut th, 34, &query(7, PTR_NAME, dns::PTR));
    let mut correlator = correlator();
    for record in sim.clone().records() {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    (sim, th, correlator)
}

#[test]
fn after_a_loss_a_stall_is_doubted_until_its_thread_was_looked_at() {
    use wrapwatch_common::counters::Counter;
    let (_, th, mut correlator) = asking();
    let at = |s: u64| KtimeNs(th.t + s * SEC);
    let accept_thread = vec![(TGID, TGID)];
    let state = |correlator: &Correlator, now| {
        let stalls = correlator.stalls(now, SEC).len();
        (stalls, correlator.doubted(now, SEC))
    };
    assert_eq!(state(&correlator, at(2)), (1, vec![]));
    correlator.note_lost(&[(Counter::LostSockState, 1)]);
    assert_eq!(state(&correlator, at(2)), (1, vec![]), "a client's packets do not end a check");
    correlator.advance(at(2));
    correlator.note_lost(&[(Counter::LostFile, 1)]);
    assert_eq!(state(&correlator, at(3)), (0, accept_thread.clone()));
    correlator.note_accept_thread(TGID, TGID, at(3), false);
    assert_eq!(state(&correlator, at(4)), (1, vec![]), "it is still in its check");
    correlator.advance(at(4));
    correlator.note_lost(&[(Counter::LostPayload, 1)]);
    assert_eq!(state(&correlator, at(5)), (0, accept_thread));
    correlator.note_accept_thread(TGID, TGID, at(5), true);
    assert_eq!(state(&correlator, at(60)), (0, vec![]), "it is over");
    correlator.finish(at(60));
    let told = *correlator.pop().unwrap();
    assert!(!told.complete && told.missing.contains(&Missing::CheckEndUnseen), "{:?}", told.missing);
    assert!(told.wrapper_ns < SEC, "as far as it was seen: {told:#?}");
    assert_eq!(told.parts.total(), told.wrapper_ns);
}

#[test]
fn what_is_seen_after_a_loss_needs_no_doubt() {
    use wrapwatch_common::counters::Counter;
    let (mut sim, mut th, mut correlator) = asking();
    let seen = sim.clone().records().len();
    correlator.note_lost(&[(Counter::LostFile, 3)]);
    th.t += 5 * SEC;
    sim.close(&mut th, 34, Class::Dns);
    sim.connect(&mut th, 34, addr(NS2), Class::Dns, false, 0, 10_000);
    for record in &sim.records()[seen..] {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    let now = KtimeNs(th.t + SEC);
    assert_eq!((correlator.stalls(now, SEC).len(), correlator.doubted(now, SEC)), (1, vec![]));
}

#[test]
fn a_stall_of_a_spawned_command() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    let uncertain = sim.clone().records();
    sim.check(&mut th, WHAT_SHELL_CMD, 0, 0);
    let look = |records: Vec<Rec>| {
        let mut correlator = correlator();
        for record in records {
            correlator.push(&decode(&record.bytes).unwrap());
        }
        let [check] = correlator.stalls(KtimeNs(15 * SEC), SEC).try_into().unwrap();
        (check.cause, check.certain)
    };
    assert_eq!(look(sim.records()), (StallCause::Spawn, true));
    assert_eq!(look(uncertain), (StallCause::Other, false), "without uprobes nothing shows it");
}

#[test]
fn a_check_that_began_before_the_trace() {
    let mut sim = Sim::default();
    let mut th = Thread { conn: 1, ..main_thread() };
    let asked = query(7, PTR_NAME, dns::PTR);
    th.t += 2 * SEC;
    sim.rule(&mut th, ALLOW, 2);
    sim.connect(&mut th, 35, addr(NS2), Class::Dns, false, 0, 10_000);
    sim.send(&mut th, 35, &asked);
    let mut later = sim.clone();
    let mut end = th;
    end.t += 3 * MS;
    later.recv(&mut end, 35, &answer(&asked, 0, Some("c1.lan.example")));
    later.close(&mut end, 34, Class::Dns);
    later.close(&mut end, 35, Class::Dns);
    admit(&mut later, &mut end);

    let seed = SeededCheck {
        conn: 1,
        tgid: TGID,
        tid: TGID,
        at: KtimeNs(10 * SEC),
        fd: 31,
        peer: Some(addr("10.77.0.1:36061")),
        local: None,
        table: Some((33, ALLOW.to_owned())),
        sockets: vec![SeededSocket { fd: 34, server: Some(addr(NS1)), stream: false }],
    };
    let mut correlator = correlator();
    correlator.seed(&seed);
    let [check] = correlator.stalls(KtimeNs(11 * SEC), MS).try_into().unwrap();
    assert_eq!((check.cause, check.server.as_deref()), (StallCause::Dns, Some(NS1)));
    assert_eq!((check.table.as_deref(), check.since_attach), (Some(ALLOW), true));
    for record in sim.records() {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    let [check] = correlator.stalls(KtimeNs(13 * SEC), MS).try_into().unwrap();
    assert_eq!((check.name.as_deref(), check.server.as_deref()), (Some(PTR_NAME), Some(NS2)));

    let mut correlator = super::correlator();
    correlator.seed(&seed);
    let told = &run_with(&mut correlator, &later.records())[0];
    assert_eq!((told.outcome, told.complete, told.queued_ns), (Outcome::Greeted, false, None));
    let queries: Vec<_> = told.lookups[0].queries.iter().map(|q| (&*q.server, q.outcome)).collect();
    assert_eq!(queries, [(NS1, QueryOutcome::Unseen), (NS2, QueryOutcome::Answered)]);
    assert_eq!((told.parts.total(), told.parts.dns_ns / SEC), (told.wrapper_ns, 2));
    assert_eq!(correlator.stats().seeded, 1);
}

/// Other hooks take the place of those that the kernel runs no more while a client waits in its check.
#[test]
fn a_check_that_is_found_again_ends_what_was_seen_of_it_before() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.accept(&mut th, 1, 31, Some(client(1)));
    sim.open(&mut th, ALLOW, 33);
    let mut correlator = correlator();
    for record in sim.records() {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    assert_eq!(correlator.pop(), None);
    correlator.seed(&SeededCheck {
        conn: 2,
        tgid: TGID,
        tid: TGID,
        at: KtimeNs(10 * SEC),
        fd: 31,
        peer: Some(addr("10.77.0.1:36061")),
        local: None,
        table: Some((33, ALLOW.to_owned())),
        sockets: Vec::new(),
    });
    let told = correlator.pop().unwrap();
    assert_eq!((told.conn, told.outcome, told.complete), (1, Outcome::Unfinished, false));
    assert!(told.missing.contains(&Missing::EndUnseen), "{:?}", told.missing);
    let [check] = correlator.stalls(KtimeNs(11 * SEC), MS).try_into().unwrap();
    assert!(check.since_attach, "{check:?}");
}

#[test]
fn two_targets_with_the_same_clients_in_two_namespaces() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    sim.state(th.t - 5 * MS, 0x1, client(1), (3, 1), 777);
    sim.state(th.t - 3 * MS, 0x2, client(1), (3, 1), NETNS);
    sim.accept(&mut th, 1, 31, Some(client(1)));
    let records = sim.records();
    let mut correlator = correlator();
    correlator.add_target(TGID + 1, TargetInfo { netns: 777, ..TargetInfo::default() });
    assert_eq!(run_with(&mut correlator, &records)[0].queued_ns, Some(3 * MS));
    // Where the namespaces are not known, nothing is claimed.
    let mut correlator = super::correlator();
    correlator.add_target(TGID, TargetInfo::default());
    let told = &run_with(&mut correlator, &records)[0];
    assert!(
        told.queued_ns.is_none() && told.missing.contains(&Missing::HandshakeAmbiguous),
        "{:?}",
        told.missing
    );
}

#[test]
fn a_descriptor_given_again_ends_the_old_story() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    // Its first packet was lost; the number 31 comes again.
    begin(&mut sim, &mut th, 2);
    admit(&mut sim, &mut th);
    let told = run(sim);
    assert_eq!((told[0].conn, told[0].outcome, told[0].complete), (1, Outcome::Unfinished, false));
    assert!(told[1].complete);
}

#[test]
fn a_lost_accept_is_marked_on_its_neighbours() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let t0 = th.t;
    for n in 1..=4 {
        connection(&mut sim, &mut th, n, t0, 50 * MS);
    }
    let mut records = sim.records();
    let lost = records.iter().position(|rec| rec.conn == 2).unwrap();
    records.remove(lost);
    let mut correlator = correlator();
    let told = run_with(&mut correlator, &records);
    let complete: Vec<_> = told.iter().map(|told| (told.conn, told.complete)).collect();
    assert_eq!(complete, [(1, false), (3, false), (4, true)]);
    // It held the thread all the same.
    assert!(told[2].queued_behind.contains(&2), "{:?}", told[2].queued_behind);
    assert_eq!((correlator.stats().orphans, correlator.stats().told), (1, 3));
}

#[test]
fn memory_is_bounded_by_open_connections() {
    let config = Config {
        limits: crate::correlate::Limits { open: 10, ..crate::correlate::Limits::DEFAULT },
        ..Config::new(clock())
    };
    let mut correlator = Correlator::new(config);
    let mut sim = Sim::default();
    let mut th = main_thread();
    for n in 1..=50 {
        sim.accept(&mut th, n, i32::try_from(n).unwrap(), Some(client(n)));
        sim.io(&mut th, 3, Class::Other, OP_WRITE, 1, 5);
        th.t += MS;
    }
    let told = run_with(&mut correlator, &sim.records());
    assert_eq!((told.len(), correlator.stats().evicted), (50, 40));
    assert!(told.iter().all(|told| !told.complete));
}

/// Descriptors go up to `fs.nr_open`, 1 048 576 and more: their numbers are never cut to 16 bits, in no record and in no table.
#[test]
fn descriptors_above_65535_are_told_apart_from_those_below() {
    let fd = |low: i32, high: bool| low + if high { 0x10_0000 } else { 0 };
    let mut sim = Sim::default();
    // Two servers' worth of threads of one process: the same numbers in the lower 16 bits, at the same time.
    for (conn, tid, high) in [(1, TGID, false), (2, TGID + 1, true)] {
        let mut th = Thread { tid, conn: 0, t: 10 * SEC + conn * 1_000 };
        let client = addr(&format!("10.77.0.{conn}:36061"));
        sim.established(th.t - MS, 0x1000 + conn, client);
        sim.accept(&mut th, conn, fd(31, high), Some(client));
        sim.open(&mut th, ALLOW, fd(33, high));
        sim.read(&mut th, fd(33, high), 161);
        let asked = query(7, &format!("{conn}.0.77.10.in-addr.arpa"), dns::PTR);
        sim.connect(&mut th, fd(34, high), addr(NS1), Class::Dns, false, 0, 10_000);
        sim.send(&mut th, fd(34, high), &asked);
        th.t += (3 - conn) * MS;
        sim.recv(&mut th, fd(34, high), &answer(&asked, 0, Some(&format!("c{conn}.lan.example"))));
        sim.close(&mut th, fd(34, high), Class::Dns);
        sim.close(&mut th, fd(33, high), Class::File);
        let mut own = Thread { tid: 200 + tid, conn, t: th.t + 100_000 };
        sim.peer(&mut own, fd(31, high), 0);
        sim.first_packet(&mut own, fd(31, high), GREETING);
    }
    let told = run(sim);
    assert_eq!(told.len(), 2);
    for told in told {
        assert_eq!((told.complete, told.outcome), (true, Outcome::Greeted), "{told:#?}");
        let queries: Vec<_> = told.lookups.iter().flat_map(|lookup| &lookup.queries).collect();
        assert_eq!(queries.len(), 1);
        assert_eq!(queries[0].answers, [format!("c{}.lan.example", told.conn)]);
        assert_eq!(told.parts.dns_ns / MS, 3 - told.conn);
    }
    let keys = [fd(31, false), fd(31, true), 0xffff, 0x1_0000, i32::MAX]
        .map(|fd| wrapwatch_common::maps::watch_key(TGID, fd));
    let different: std::collections::BTreeSet<_> = keys.into_iter().collect();
    assert_eq!(different.len(), keys.len());
    assert!(keys.iter().all(|key| key >> 32 == u64::from(TGID)));
}

/// An accept may be among the calls that were left out: of who came into the queue by then it is not known whom it waited behind.
#[test]
fn who_was_queued_while_calls_were_left_out_is_not_complete() {
    let begun = main_thread().t;
    for (until, doubted) in [(begun + 2 * MS, true), (begun + MS / 2, false)] {
        let (mut sim, mut th) = (Sim::default(), main_thread());
        connection(&mut sim, &mut th, 1, begun - MS, 10 * MS);
        connection(&mut sim, &mut th, 2, begun + MS, MS);
        let mut correlator = correlator();
        correlator.note_skipped(KtimeNs(0), KtimeNs(until));
        let told = run_with(&mut correlator, &sim.records());
        assert!(told[1].accepted_ktime > KtimeNs(until), "{:?}", told[1]);
        assert_eq!(told[1].missing.contains(&Missing::CallsSkipped), doubted, "{:?}", told[1].missing);
    }
}

#[test]
fn what_was_going_on_while_calls_were_left_out_is_not_complete() {
    let marked = |connection: &Connection| connection.missing.contains(&Missing::CallsSkipped);
    let (_, th, mut open) = asking();
    open.note_skipped(KtimeNs(th.t - 1), KtimeNs(th.t));
    open.finish(KtimeNs(th.t + SEC));
    let told = open.pop().unwrap();
    assert!(!told.complete && marked(&told), "{:?}", told.missing);
    // Its accept may have come before that, and be taken from the ring now, or later.
    for (until, doubted) in [(th.t, true), (1, false)] {
        let (sim, th, _) = asking();
        let mut to_come = correlator();
        to_come.note_skipped(KtimeNs(0), KtimeNs(until));
        for record in sim.clone().records() {
            to_come.push(&decode(&record.bytes).unwrap());
        }
        to_come.finish(KtimeNs(th.t + SEC));
        let told = to_come.pop().unwrap();
        assert_eq!(marked(&told), doubted, "{:?}", told.missing);
    }
}

#[test]
fn where_calls_are_left_out_a_connection_waits_for_that_to_be_told() {
    for (since, doubted) in [(0, true), (MS, false)] {
        let mut sim = Sim::default();
        let mut th = main_thread();
        let t0 = th.t;
        connection(&mut sim, &mut th, 1, t0, 5 * MS);
        let mut correlator = Correlator::new(Config::new(clock()).skipping(true));
        for record in sim.records() {
            correlator.push(&decode(&record.bytes).unwrap());
        }
        let ended = th.t + 50_000;
        correlator.advance(KtimeNs(ended + 100 * MS));
        assert_eq!(correlator.pop(), None);
        correlator.note_skipped(KtimeNs(ended + since), KtimeNs(ended + 2 * MS));
        correlator.advance(KtimeNs(ended + SEC));
        let told = correlator.pop().unwrap();
        assert_eq!(told.missing.contains(&Missing::CallsSkipped), doubted, "{:?}", told.missing);
    }
}
