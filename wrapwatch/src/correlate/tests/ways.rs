//! Every way a lookup goes.

use wrapwatch_common::counters::Counter;
use wrapwatch_common::records::{Class, OP_READ, OP_WRITE, WHAT_RFC931, WHAT_SHELL_CMD};

use super::sim::framed;
use super::*;

const NS6: &str = "[fd00:1:1::53]:53";
const NAME: &str = "c1.lan.example";

fn ask_ptr(sim: &mut Sim, th: &mut Thread, fd: i32, server: &str) -> Vec<u8> {
    let asked = query(0x74ce, PTR_NAME, dns::PTR);
    sim.connect(th, fd, addr(server), Class::Dns, false, 0, 10_000);
    sim.send(th, fd, &asked);
    asked
}

fn checked(script: impl FnOnce(&mut Sim, &mut Thread)) -> Connection {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    script(&mut sim, &mut th);
    admit(&mut sim, &mut th);
    let told = one(sim);
    assert_eq!(told.parts.total(), told.wrapper_ns);
    assert_eq!(told.blame.iter().map(|blame| blame.own_ns).sum::<u64>(), told.wrapper_ns);
    told
}

fn only(told: &Connection) -> &crate::model::Lookup {
    assert_eq!(told.lookups.len(), 1, "{:#?}", told.lookups);
    &told.lookups[0]
}

/// Server, outcome and how long it took in ms, of every query of the only lookup.
fn queries(told: &Connection) -> Vec<(&str, QueryOutcome, Option<u64>)> {
    only(told).queries.iter().map(|q| (&*q.server, q.outcome, q.rtt_ns.map(|ns| ns / MS))).collect()
}

#[test]
fn all_dead_round_two_on_the_same_sockets() {
    let told = checked(|sim, th| {
        let asked = ask_ptr(sim, th, 34, NS1);
        th.t += SEC;
        ask_ptr(sim, th, 35, NS2);
        th.t += SEC;
        sim.send(th, 34, &asked);
        th.t += SEC;
        sim.send(th, 35, &asked);
        th.t += SEC;
        sim.close(th, 34, Class::Dns);
        sim.close(th, 35, Class::Dns);
    });
    let timeout = |server| (server, QueryOutcome::Timeout, Some(1000));
    assert_eq!(queries(&told), [timeout(NS1), timeout(NS2), timeout(NS1), timeout(NS2)]);
    assert_eq!(only(&told).outcome, LookupOutcome::Failed);
    assert_eq!(told.parts.dns_ns / SEC, 4);
    let mut by_server: Vec<_> =
        told.blame.iter().filter_map(|b| Some((b.server.as_deref()?, b.own_ns / SEC))).collect();
    by_server.sort_unstable();
    assert_eq!(by_server, [(NS1, 2), (NS2, 2)]);
}

#[test]
fn a_refusal_is_no_timeout() {
    let run = |seen: bool| {
        checked(|sim, th| {
            ask_ptr(sim, th, 34, NS1);
            th.t += 200_000;
            if seen {
                sim.sock_error(th.t - 50_000, addr(NS1));
            }
            sim.close(th, 34, Class::Dns);
            let asked = ask_ptr(sim, th, 34, NS2);
            th.t += 300_000;
            sim.recv(th, 34, &answer(&asked, 3, None));
            sim.close(th, 34, Class::Dns);
        })
    };
    // Without an error that was seen, nobody is accused.
    assert_eq!(queries(&run(false))[0], (NS1, QueryOutcome::Unseen, None));
    let told = run(true);
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Unreachable, Some(0)), (NS2, QueryOutcome::Answered, Some(0))]
    );
    assert_eq!(
        (only(&told).outcome, only(&told).queries[1].rcode.as_deref()),
        (LookupOutcome::NotFound, Some("NXDOMAIN"))
    );
}

#[test]
fn an_icmp_error_after_seconds_is_no_timeout_where_it_was_seen() {
    let run = |seen: bool| {
        checked(|sim, th| {
            ask_ptr(sim, th, 34, NS1);
            th.t += 3 * SEC;
            if seen {
                sim.sock_error(th.t - 50_000, addr(NS1));
            }
            sim.sock_error(th.t - SEC, addr(NS2));
            sim.close(th, 34, Class::Dns);
        })
    };
    assert_eq!(queries(&run(true)), [(NS1, QueryOutcome::Unreachable, Some(3000))]);
    assert_eq!(queries(&run(false)), [(NS1, QueryOutcome::Timeout, Some(3000))]);
}

#[test]
fn a_lost_icmp_error_leaves_the_time_out_in_doubt() {
    for counter in [Counter::LostSockError, Counter::LostOther] {
        let (mut sim, mut th) = (Sim::default(), main_thread());
        for conn in 1..=3 {
            begin(&mut sim, &mut th, conn);
            let asked = ask_ptr(&mut sim, &mut th, 34, NS1);
            th.t += if conn == 1 { SEC / 2 } else { 3 * SEC };
            if conn == 1 {
                sim.recv(&mut th, 34, &answer(&asked, 3, None));
            }
            sim.close(&mut th, 34, Class::Dns);
            admit(&mut sim, &mut th);
            th.t += SEC;
        }
        let records = sim.records();
        let sent = |rec: &Rec| rec.conn == 2 && matches!(decode(&rec.bytes), Ok(Event::Send(..)));
        let (before, after) = records.split_at(records.iter().position(sent).unwrap() + 1);
        let mut correlator = correlator();
        for record in before {
            correlator.push(&decode(&record.bytes).unwrap());
        }
        correlator.note_lost(&[(counter, 1)]);
        let told = run_with(&mut correlator, after);
        let complete: Vec<_> = told.iter().map(|told| (told.conn, told.complete)).collect();
        assert_eq!(complete, [(1, true), (2, false), (3, true)], "{counter:?}");
        assert_eq!(told[1].missing, [Missing::ErrorsLost]);
    }
}

#[test]
fn failed_calls_are_unreachable_servers() {
    let told = checked(|sim, th| {
        sim.connect(th, 34, addr(NS6), Class::Dns, false, -101, 5_000);
        sim.close(th, 34, Class::Dns);
        let asked = ask_ptr(sim, th, 34, NS1);
        sim.io(th, 34, Class::Dns, OP_WRITE, -1, 2_000);
        sim.close(th, 34, Class::Dns);
        sim.connect(th, 34, addr(NS2), Class::Dns, false, 0, 5_000);
        sim.send(th, 34, &asked);
        th.t += MS;
        sim.io(th, 34, Class::Dns, OP_READ, -111, 2_000);
        sim.close(th, 34, Class::Dns);
    });
    let unreachable = |server, ms| (server, QueryOutcome::Unreachable, Some(ms));
    assert_eq!(queries(&told), [unreachable(NS6, 0), unreachable(NS1, 0), unreachable(NS2, 1)]);
    assert_eq!(only(&told).name.as_deref(), Some(PTR_NAME));
}

#[test]
fn a_pair_of_one_sendmmsg_is_answered_in_any_order_and_twice() {
    let told = checked(|sim, th| {
        let (a, aaaa) = (query(10, NAME, dns::A), query(11, NAME, dns::AAAA));
        sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
        sim.send_pair(th, 34, &a, &aaaa);
        th.t += 2 * MS;
        sim.recv(th, 34, &answer(&aaaa, 0, None));
        // A wrong id, then a wrong question: not answers.
        sim.recv(th, 34, &answer(&query(12, NAME, dns::A), 0, Some("10.9.9.9")));
        sim.recv(th, 34, &answer(&query(10, "c2.lan.example", dns::A), 0, Some("10.9.9.9")));
        th.t += 5 * MS;
        sim.recv(th, 34, &answer(&a, 0, Some("10.77.0.1")));
        sim.recv(th, 34, &answer(&a, 0, Some("10.9.9.9")));
        sim.close(th, 34, Class::Dns);
    });
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Answered, Some(7)), (NS1, QueryOutcome::Answered, Some(2))]
    );
    let lookup = only(&told);
    assert_eq!((lookup.kind, lookup.outcome), (LookupKind::Forward, LookupOutcome::Found));
    assert_eq!(lookup.queries[0].answers, ["10.77.0.1"]);
    assert_eq!(told.parts.dns_ns / MS, 7, "the pair's wait counts once");
}

#[test]
fn a_late_answer_to_a_closed_or_abandoned_socket_is_none() {
    let told = checked(|sim, th| {
        let asked = ask_ptr(sim, th, 34, NS1);
        th.t += SEC;
        ask_ptr(sim, th, 35, NS2);
        th.t += 400 * MS;
        sim.recv(th, 35, &answer(&asked, 0, Some(NAME)));
        sim.close(th, 34, Class::Dns);
        sim.close(th, 35, Class::Dns);
        sim.recv(th, 34, &answer(&asked, 0, Some("late.example")));
    });
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Timeout, Some(1000)), (NS2, QueryOutcome::Answered, Some(400))]
    );
}

#[test]
fn the_answer_in_round_two_belongs_to_the_latest_query() {
    let told = checked(|sim, th| {
        let asked = ask_ptr(sim, th, 34, NS1);
        th.t += SEC;
        sim.send(th, 34, &asked);
        th.t += 500 * MS;
        sim.recv(th, 34, &answer(&asked, 0, Some(NAME)));
        sim.close(th, 34, Class::Dns);
    });
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Timeout, Some(1000)), (NS1, QueryOutcome::Answered, Some(500))]
    );
}

#[test]
fn truncated_then_tcp_in_pieces() {
    let told = checked(|sim, th| {
        let asked = ask_ptr(sim, th, 34, NS1);
        th.t += MS;
        sim.recv(th, 34, &answer(&asked, 0x200, None));
        sim.close(th, 34, Class::Dns);
        sim.connect(th, 34, addr(NS1), Class::Dns, true, 0, 3 * MS);
        sim.send_tcp(th, 34, &framed(&asked));
        th.t += 2 * MS;
        let reply = framed(&answer(&asked, 0, Some(NAME)));
        sim.recv_tcp(th, 34, &reply[..2]);
        sim.recv_tcp(th, 34, &reply[2..30]);
        th.t += 4 * MS;
        sim.recv_tcp(th, 34, &reply[30..]);
        sim.close(th, 34, Class::Dns);
    });
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Answered, Some(1)), (NS1, QueryOutcome::Answered, Some(6))]
    );
    let [udp, tcp] = only(&told).queries.as_slice() else { panic!() };
    assert!(udp.truncated && !tcp.truncated);
    assert_eq!((tcp.transport, tcp.answers.as_slice()), (Transport::Tcp, [NAME.to_owned()].as_slice()));
    assert_eq!(told.parts.dns_ns / MS, 1 + 3 + 6, "connecting is waiting, too");
}

#[test]
fn tcp_refused_and_tcp_closed() {
    let told = checked(|sim, th| {
        let asked = query(5, PTR_NAME, dns::PTR);
        sim.connect(th, 34, addr(NS1), Class::Dns, true, -111, MS);
        sim.close(th, 34, Class::Dns);
        sim.connect(th, 34, addr(NS2), Class::Dns, true, 0, MS);
        sim.send_tcp(th, 34, &framed(&asked));
        th.t += 2 * MS;
        sim.recv_tcp(th, 34, &[]);
        sim.close(th, 34, Class::Dns);
    });
    assert_eq!(
        queries(&told),
        [(NS1, QueryOutcome::Unreachable, Some(1)), (NS2, QueryOutcome::Unreachable, Some(2))]
    );
}

#[test]
fn where_answers_over_tcp_do_not_show_none_is_said_to_be_missing() {
    use crate::model::{Degradation, DegradationKind};

    for (is_blind, outcome) in [(false, QueryOutcome::Timeout), (true, QueryOutcome::Unseen)] {
        let mut sim = Sim::default();
        let mut th = main_thread();
        begin(&mut sim, &mut th, 1);
        sim.connect(&mut th, 34, addr(NS1), Class::Dns, true, 0, MS);
        sim.send_tcp(&mut th, 34, &framed(&query(5, PTR_NAME, dns::PTR)));
        th.t += 2 * SEC;
        sim.close(&mut th, 34, Class::Dns);
        admit(&mut sim, &mut th);
        let mut correlator = correlator();
        if is_blind {
            let kind = DegradationKind::NoTcpAnswers;
            correlator.note_degradation(&Degradation { kind, pid: Some(TGID), message: String::new() });
        }
        let told = run_with(&mut correlator, &sim.records());
        let [connection] = told.as_slice() else { panic!("{told:#?}") };
        assert_eq!(queries(connection)[0].1, outcome);
    }
}

#[test]
fn a_search_list_is_one_lookup_with_several_names() {
    let told = checked(|sim, th| {
        hosts(sim, th);
        sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
        for (id, name, flags, data) in
            [(1, "db1.corp.example", 3, None), (2, "db1.example", 3, None), (3, "db1", 0, Some("10.77.0.1"))]
        {
            let asked = query(id, name, dns::A);
            sim.send(th, 34, &asked);
            th.t += MS;
            sim.recv(th, 34, &answer(&asked, flags, data));
        }
        sim.close(th, 34, Class::Dns);
    });
    let lookup = only(&told);
    let names: Vec<_> = lookup.queries.iter().filter_map(|query| query.qname.as_deref()).collect();
    assert_eq!(names, ["db1.corp.example", "db1.example", "db1"]);
    assert_eq!((lookup.name.as_deref(), lookup.outcome), (Some("db1.corp.example"), LookupOutcome::Found));
}

#[test]
fn the_same_name_again_after_reading_hosts_is_another_lookup() {
    let told = checked(|sim, th| {
        for id in [1, 2] {
            hosts(sim, th);
            let asked = query(id, NAME, dns::A);
            sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 10_000);
            sim.send(th, 34, &asked);
            th.t += MS;
            sim.recv(th, 34, &answer(&asked, 2, None));
            sim.close(th, 34, Class::Dns);
        }
    });
    let outcomes: Vec<_> = told.lookups.iter().map(|lookup| (lookup.outcome, lookup.queries.len())).collect();
    assert_eq!(outcomes, [(LookupOutcome::Failed, 1), (LookupOutcome::Failed, 1)], "SERVFAIL is no answer");
}

#[test]
fn ipv6_and_unconnected_sockets_have_their_server() {
    let told = checked(|sim, th| {
        let asked = ask_ptr(sim, th, 34, NS6);
        th.t += MS;
        sim.recv(th, 34, &answer(&asked, 0, Some(NAME)));
        sim.close(th, 34, Class::Dns);
    });
    assert_eq!(queries(&told), [(NS6, QueryOutcome::Answered, Some(1))]);
}

#[test]
fn an_unconnected_socket_that_asks_several_servers_at_once() {
    let told = checked(|sim, th| {
        let asked = query(9, PTR_NAME, dns::PTR);
        sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 0);
        sim.send_to(th, 34, &asked, addr(NS1));
        sim.send_to(th, 34, &asked, addr(NS2));
        th.t += 3 * MS;
        sim.recv_from(th, 34, &answer(&asked, 0, Some(NAME)), addr(NS2));
        sim.close(th, 34, Class::Dns);
    });
    // The first was left alone because the second answered: that says nothing about it.
    assert_eq!(queries(&told), [(NS1, QueryOutcome::Unseen, None), (NS2, QueryOutcome::Answered, Some(3))]);
}

#[test]
fn a_hit_in_etc_hosts_is_files_read_and_no_query() {
    let told = checked(|sim, th| {
        sim.open(th, "/etc/hosts", 34);
        sim.read(th, 34, 37);
        sim.rule(th, ALLOW, 2);
        sim.close(th, 34, Class::File);
    });
    assert_eq!((told.lookups.len(), told.parts.dns_ns), (0, 0));
    assert!(told.files.iter().any(|file| &*file.path == "/etc/hosts"));
    assert_eq!(told.rule.map(|rule| rule.line), Some(2), "the rule that asked is known all the same");
}

#[test]
fn nscd_and_resolved_are_named() {
    let told = checked(|sim, th| {
        sim.connect_unix(th, 34, "/var/run/nscd/socket", 0, 50_000);
        sim.io(th, 34, Class::Unix, OP_WRITE, 20, 5_000);
        th.t += 40 * MS;
        sim.io(th, 34, Class::Unix, OP_READ, 32, 5_000);
        sim.io(th, 34, Class::Unix, OP_READ, 24, 5_000);
        sim.close(th, 34, Class::Unix);
        sim.connect_unix(th, 34, "/run/systemd/resolve/io.systemd.Resolve", 0, 50_000);
        sim.io(th, 34, Class::Unix, OP_WRITE, 90, 5_000);
        th.t += 5 * SEC;
        sim.close(th, 34, Class::Unix);
    });
    let [nscd, resolved] = told.lookups.as_slice() else { panic!("{:#?}", told.lookups) };
    assert_eq!((nscd.outcome, nscd.queries[0].transport), (LookupOutcome::Found, Transport::Nscd));
    assert_eq!(nscd.queries[0].outcome, QueryOutcome::Answered);
    assert_eq!(
        (resolved.outcome, resolved.queries[0].transport),
        (LookupOutcome::Failed, Transport::Resolved)
    );
    assert_eq!(
        (resolved.queries[0].outcome, &*resolved.queries[0].server),
        (QueryOutcome::Timeout, "/run/systemd/resolve/io.systemd.Resolve")
    );
    assert_eq!(told.parts.dns_ns / MS, 5040);
}

#[test]
fn an_absent_nscd_is_no_lookup() {
    let told = checked(|sim, th| sim.connect_unix(th, 34, "/var/run/nscd/socket", -2, 5_000));
    assert_eq!((told.lookups.len(), told.parts.dns_ns), (0, 0));
    assert_eq!(
        told.other.iter().map(|other| other.what.as_str()).collect::<Vec<_>>(),
        ["/var/run/nscd/socket"]
    );
}

#[test]
fn ident_that_does_not_answer_and_ident_that_does() {
    let client = "10.77.0.1:113";
    let told = checked(|sim, th| {
        sim.connect(th, 34, addr(client), Class::Ident, true, -4, 10 * SEC);
        sim.close(th, 34, Class::Ident);
    });
    assert_eq!((only(&told).kind, only(&told).outcome), (LookupKind::Ident, LookupOutcome::Failed));
    assert_eq!(queries(&told), [(client, QueryOutcome::Timeout, Some(10_000))]);
    assert_eq!((told.parts.ident_ns / SEC, told.parts.dns_ns), (10, 0));

    let told = checked(|sim, th| {
        sim.check(th, WHAT_RFC931, 0, 0);
        sim.connect(th, 34, addr(client), Class::Ident, true, 0, MS);
        sim.io(th, 34, Class::Ident, OP_WRITE, 12, 2_000);
        sim.io(th, 34, Class::Ident, OP_READ, 30, 20 * MS);
        sim.close(th, 34, Class::Ident);
        sim.check(th, WHAT_RFC931, 1, 0);
    });
    assert_eq!(
        (queries(&told), only(&told).outcome),
        (vec![(client, QueryOutcome::Answered, Some(21))], LookupOutcome::Found)
    );
    assert_eq!(told.parts.ident_ns / MS, 21);
}

#[test]
fn a_spawned_command_is_waited_for_after_the_tables_are_closed() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    sim.check(&mut th, WHAT_SHELL_CMD, 0, 0);
    th.t += MS;
    sim.wait(&mut th, 700 * MS);
    sim.check(&mut th, WHAT_SHELL_CMD, 1, 0);
    greet(&mut sim, &mut th);
    let told = one(sim);
    assert_eq!(told.parts.spawn_ns / MS, 701);
    assert!(told.wrapper_ns >= 701 * MS);
    assert_eq!(told.parts.total(), told.wrapper_ns);
}

#[test]
fn syslog_opened_by_an_earlier_connection_is_still_syslog() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.connect_unix(&mut th, 40, "/dev/log", 0, 10_000);
    admit(&mut sim, &mut th);
    begin(&mut sim, &mut th, 2);
    sim.io(&mut th, 40, Class::Unix, OP_WRITE, 90, 4 * SEC);
    admit(&mut sim, &mut th);
    let told = run(sim);
    assert_eq!((told[1].parts.syslog_ns, told[1].parts.dns_ns), (4 * SEC, 0));
}

#[test]
fn what_is_none_of_the_categories_is_named() {
    let told = checked(|sim, th| {
        sim.connect(th, 34, addr("10.8.8.8:636"), Class::Other, true, 0, 200 * MS);
        sim.io(th, 34, Class::Other, OP_READ, 100, 300 * MS);
        // getaddrinfo sorts addresses by connecting datagram sockets: no use of anything.
        sim.connect(th, 35, addr("10.77.0.9:3306"), Class::Other, false, 0, 4_000);
    });
    let others: Vec<_> = told.other.iter().map(|other| (other.what.as_str(), other.dur_ns / MS)).collect();
    assert_eq!(others, [("10.8.8.8:636", 500)]);
    assert_eq!((told.parts.other_ns / MS, told.parts.dns_ns), (500, 0));
}

#[test]
fn mysqlds_own_lookup_is_in_the_connection_thread() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.close(&mut th, 33, Class::File);
    let mut other = Thread { tid: 200, conn: 1, t: th.t + 100_000 };
    sim.peer(&mut other, 31, 0);
    let asked = ask_ptr(&mut sim, &mut other, 34, NS1);
    other.t += 80 * MS;
    sim.recv(&mut other, 34, &answer(&asked, 0, Some(NAME)));
    sim.close(&mut other, 34, Class::Dns);
    sim.first_packet(&mut other, 31, GREETING);
    let told = one(sim);
    assert_eq!(only(&told).thread, ThreadRole::Connection);
    assert_eq!((told.resolve_ns / MS, told.parts.dns_ns, told.rule), (80, 0, None));
    assert!(told.wrapper_ns < MS && told.handover_ns.unwrap() >= 100_000);
}

#[test]
fn a_nameserver_cannot_be_blamed_beyond_its_timeout() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    let asked = ask_ptr(&mut sim, &mut th, 34, NS1);
    th.t += 9 * SEC;
    sim.recv(&mut th, 34, &answer(&asked, 0, Some(NAME)));
    sim.close(&mut th, 34, Class::Dns);
    admit(&mut sim, &mut th);
    let records = sim.records();
    // With timeout:1, a resolver that runs would have asked again after a second.
    let mut correlator = correlator();
    let info = TargetInfo { netns: NETNS, resolver_wait_ns: Some(SEC), ..TargetInfo::default() };
    correlator.add_target(TGID, info);
    let told = &run_with(&mut correlator, &records)[0];
    assert_eq!((told.parts.dns_ns / (100 * MS), told.parts.other_ns / (100 * MS)), (11, 79));
}

#[test]
fn time_off_the_cpu_is_nobodys_fault() {
    let script = || {
        let mut sim = Sim::default();
        let mut th = main_thread();
        begin(&mut sim, &mut th, 1);
        let asked = ask_ptr(&mut sim, &mut th, 34, NS1);
        th.t += 3 * SEC;
        sim.recv(&mut th, 34, &answer(&asked, 0, Some(NAME)));
        sim.close(&mut th, 34, Class::Dns);
        admit(&mut sim, &mut th);
        sim.records()
    };
    let mut stopped = correlator();
    stopped.note_stopped(TGID, KtimeNs(10 * SEC + 100 * MS), KtimeNs(12 * SEC));
    stopped.note_stopped(TGID, KtimeNs(12 * SEC), KtimeNs(12 * SEC + 900 * MS));
    let told = &run_with(&mut stopped, &script())[0];
    assert_eq!((told.parts.dns_ns / (100 * MS), told.parts.other_ns / (100 * MS)), (2, 28));
    assert_eq!(
        told.blame.iter().find(|b| b.cause == crate::model::StallCause::OffCpu).map(|b| b.own_ns),
        Some(2_800 * MS)
    );

    let mut starved = correlator();
    let records = script();
    starved.push(&decode(&records[0].bytes).unwrap());
    starved.push(&decode(&records[1].bytes).unwrap());
    assert_eq!(starved.accept_threads(), [(TGID, TGID)]);
    for (second, delay) in [(9, 7), (11, 7), (12, 967), (13, 1467), (14, 1467)] {
        starved.note_run_delay(TGID, TGID, KtimeNs(second * SEC), delay * MS);
    }
    let told = &run_with(&mut starved, &records[2..])[0];
    // All of the second from 11 s on, and half of the next.
    assert_eq!((told.parts.dns_ns / (100 * MS), told.parts.other_ns / (100 * MS)), (15, 15));
}

#[test]
fn a_sleep_that_the_scheduler_counted_as_a_delay_is_the_nameservers() {
    let run = |asleep: bool| {
        let (mut sim, mut th) = (Sim::default(), main_thread());
        begin(&mut sim, &mut th, 1);
        let asked = ask_ptr(&mut sim, &mut th, 34, NS1);
        let sent = KtimeNs(th.t);
        th.t += 3 * SEC;
        sim.recv(&mut th, 34, &answer(&asked, 0, Some(NAME)));
        let received = KtimeNs(th.t);
        sim.close(&mut th, 34, Class::Dns);
        admit(&mut sim, &mut th);
        let records = sim.records();
        let is_send = |rec: &Rec| matches!(decode(&rec.bytes), Ok(Event::Send(..)));
        let (before, after) = records.split_at(records.iter().position(is_send).unwrap() + 1);
        let mut correlator = correlator();
        for record in before {
            correlator.push(&decode(&record.bytes).unwrap());
        }
        assert_eq!(correlator.in_checks(), [(TGID, TGID)]);
        correlator.note_run_delay(TGID, TGID, sent, 0);
        if asleep {
            correlator.note_asleep(TGID, TGID, sent.plus(100 * MS));
        }
        correlator.note_run_delay(TGID, TGID, received, received.since(sent));
        let told = &run_with(&mut correlator, after)[0];
        assert_eq!(correlator.in_checks(), []);
        (told.parts.dns_ns / SEC, told.parts.other_ns / SEC)
    };
    assert_eq!((run(false), run(true)), ((0, 3), (3, 0)));
}
