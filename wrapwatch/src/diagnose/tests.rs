//! The verdict blames what the clients waited for and acquits what they did not.

use wrapwatch_common::records::{Class, Kind, OP_READ, OP_WRITE};

use super::{Counts, SummaryBuilder, waiting};
use crate::correlate::tests::scenes::{admit, arrive, dead_first_server, in_a_pool, pooled, refuse, resolve};
use crate::correlate::tests::sim::{GREETING, MS, Rec, SEC, Sim, TGID, TOO_MANY, Thread};
use crate::correlate::tests::{self as lab};
use crate::model::{
    Blame, ClockPair, Connection, Degradation, DegradationKind, KtimeNs, Missing, Outcome, Summary,
    UnknownReason, VerdictKind,
};

fn thread() -> Thread {
    Thread { tid: TGID, conn: 0, t: 10 * SEC }
}

fn summed(records: &[Rec]) -> Summary {
    summed_with(records, |_| {})
}

fn summed_with(records: &[Rec], prepare: impl FnOnce(&mut crate::correlate::Correlator)) -> Summary {
    let mut correlator = lab::correlator();
    prepare(&mut correlator);
    let mut summary = SummaryBuilder::new();
    for told in lab::run_with(&mut correlator, records) {
        let parts = waiting(&told);
        assert_eq!(parts.explained() + parts.unexplained() + parts.unknown_ns, parts.total_ns);
        summary.add(&told);
    }
    summary.note_still_queued(correlator.still_queued());
    let summary = summary.build(Counts::default());
    let waiting = summary.waiting;
    assert_eq!(waiting.explained() + waiting.unexplained() + waiting.unknown_ns, waiting.total_ns);
    assert_eq!(summary.unknown.iter().map(|part| part.ns).sum::<u64>(), waiting.unknown_ns);
    summary
}

/// 20 clients at once; each check takes `script`.
fn at_once(mut script: impl FnMut(&mut Sim, &mut Thread, u64)) -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = thread();
    let start = th.t;
    for n in 1..=20 {
        arrive(&mut sim, &mut th, n, start + n * 10_000);
        script(&mut sim, &mut th, n);
        admit(&mut sim, &mut th, GREETING);
    }
    sim.records()
}

#[test]
fn a_slow_nameserver_is_blamed_for_those_in_the_queue_too() {
    let summary = summed(&at_once(|sim, th, n| resolve(sim, th, n, false, 300 * MS)));
    assert_eq!(
        summary.verdict,
        "Wrappers explain 99 % of the wait until the first byte, nameserver 10.77.53.1 all of it."
    );
    let [thread] = summary.accept_threads.as_slice() else { panic!("{:?}", summary.accept_threads) };
    assert_eq!((thread.connections, thread.busy_ns / (100 * MS)), (20, 120));
    assert!(thread.utilisation > 0.999 && (1.6..1.67).contains(&thread.ceiling_per_s.unwrap()), "{thread:?}");
    // A staircase in steps of 600 ms: the mean client waits ten and a half.
    let server = &summary.nameservers[0];
    assert_eq!((server.explained_ns / (600 * MS), server.blamed_ns / (600 * MS)), (210, 20));
    assert!(
        summary.dns_share.unwrap() > 0.99 && summary.wrapper_share.unwrap() >= summary.dns_share.unwrap()
    );
}

#[test]
fn the_dead_server_is_told_from_the_one_that_answers() {
    let summary = summed(&dead_first_server());
    assert_eq!(
        summary.verdict,
        "Wrappers explain 99 % of the wait until the first byte, nameserver 10.77.53.1 all of it."
    );
    let by: Vec<_> =
        summary.nameservers.iter().map(|s| (s.server.as_str(), s.timeouts, s.answered)).collect();
    assert_eq!(by, [("10.77.53.1:53", 4, 2), ("10.77.53.2:53", 0, 4)]);
}

#[test]
fn who_waits_for_a_thread_of_a_pool_waits_for_what_that_looks_up() {
    let summary = summed(&in_a_pool(2, 200 * MS));
    assert_eq!(summary.verdict_kind, VerdictKind::ServerLookups, "{}", summary.verdict);
    let waiting = summary.waiting;
    assert!(waiting.resolve_ns > waiting.total_ns / 100 * 99, "{waiting:#?}");
    // Each is looked up itself for 400 ms; the others' 400 ms are waited for by those behind them.
    assert_eq!(waiting.resolve_ns / (400 * MS), 30);
}

#[test]
fn a_late_hand_over_while_others_are_looked_up_is_unknown() {
    let mut sim = Sim::default();
    let mut th = thread();
    let start = th.t;
    for n in 1..=6 {
        let peer = format!("10.77.0.{n}:{}", 36_000 + n).parse().unwrap();
        sim.established(th.t, n, peer);
        sim.accept(&mut th, n, 100 + i32::try_from(n).unwrap(), Some(peer));
    }
    // Two are looked up at once; the others are taken over, at the same time, by threads that were not seen before.
    for n in 1..=2 {
        let mut worker = Thread { tid: TGID + 1, t: start + 100_000, ..th };
        worker.tid += u32::try_from(n).unwrap();
        pooled(&mut sim, &mut worker, n, 400 * MS);
    }
    for n in 3..=6 {
        let mut worker = Thread { tid: TGID + 10 + u32::try_from(n).unwrap(), conn: n, t: start + 800 * MS };
        let fd = 100 + i32::try_from(n).unwrap();
        sim.peer(&mut worker, fd, 0);
        sim.first_packet(&mut worker, fd, GREETING);
    }
    let records = sim.records();
    let summary = summed(&records);
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
    assert_eq!(summary.unknown[0].reason, UnknownReason::WorkersBusy);
    assert!(summary.unknown_share.unwrap() > 0.6, "{summary:#?}");
    // Where nobody is looked up meanwhile, it is not.
    let silent: Vec<Rec> = records.iter().filter(|rec| rec.conn > 2).cloned().collect();
    let summary = summed(&silent);
    assert_eq!((summary.verdict_kind, summary.unknown.len()), (VerdictKind::Elsewhere, 0));
    // But where accepts were lost, it may have been.
    let summary = summed_with(&silent, |correlator| {
        correlator
            .note_lost_until(&[(wrapwatch_common::counters::Counter::LostAccept, 2)], KtimeNs(start - SEC));
    });
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
}

#[test]
fn a_stopped_server_is_not_the_wrappers_fault() {
    let mut sim = Sim::default();
    let mut th = thread();
    let start = th.t;
    arrive(&mut sim, &mut th, 1, start);
    resolve(&mut sim, &mut th, 1, false, 200_000);
    admit(&mut sim, &mut th, GREETING);
    // Stopped in poll for five seconds, while 20 clients come.
    th.t += 5 * SEC;
    for n in 2..=21 {
        arrive(&mut sim, &mut th, n, start + n * 100 * MS);
        resolve(&mut sim, &mut th, n, false, 200_000);
        admit(&mut sim, &mut th, GREETING);
    }
    let summary = summed(&sim.records());
    assert!(summary.wrapper_share.unwrap() < 0.005, "{}", summary.verdict);
    assert!(
        summary.verdict.starts_with(
            "Wrappers explain 0.1 % of the wait until the first byte: look elsewhere; for 99 % of the wait"
        ),
        "{}",
        summary.verdict
    );
    assert!(summary.verdict.contains("in no check (stopped, short of CPU, or busy)"), "{}", summary.verdict);
}

#[test]
fn a_stop_inside_a_check_is_not_the_nameservers_fault() {
    let records = at_once(|sim, th, n| resolve(sim, th, n, false, if n == 3 { 5 * SEC } else { 200_000 }));
    let blamed = summed(&records);
    assert!(blamed.dns_share.unwrap() > 0.9, "nothing else is known: {}", blamed.verdict);
    let summary = summed_with(&records, |correlator| {
        // Twice: in the wait for the PTR, and in that for the A.
        correlator.note_stopped(TGID, KtimeNs(10 * SEC + 50 * MS), KtimeNs(14 * SEC + 990 * MS));
        correlator.note_stopped(TGID, KtimeNs(15 * SEC + 50 * MS), KtimeNs(19 * SEC + 990 * MS));
    });
    assert!(summary.wrapper_share.unwrap() < 0.1, "{}", summary.verdict);
    assert!(summary.verdict.contains("off the CPU"), "{}", summary.verdict);
}

#[test]
fn a_slow_disk_is_files_and_not_dns() {
    let summary = summed(&at_once(|sim, th, n| {
        sim.io(th, 33, Class::File, OP_READ, 100, 200 * MS);
        resolve(sim, th, n, false, 200_000);
    }));
    assert_eq!(
        summary.verdict,
        "Wrappers explain 99 % of the wait until the first byte, reading files all of it."
    );
}

#[test]
fn a_frozen_syslog_is_named() {
    let mut sim = Sim::default();
    let mut th = thread();
    sim.connect_unix(&mut th, 12, "/dev/log", 0, 1_000);
    arrive(&mut sim, &mut th, 1, 10 * SEC);
    sim.connect_unix(&mut th, 12, "/dev/log", 0, 1_000);
    sim.io(&mut th, 12, Class::Unix, OP_WRITE, 80, 8 * SEC);
    refuse(&mut sim, &mut th);
    let summary = summed(&sim.records());
    assert_eq!(
        summary.verdict,
        "Wrappers explain 99 % of the wait until the first byte, syslog all of it. The wrapper check refused 1 of 1 connections."
    );
}

#[test]
fn max_connections_is_the_servers_own_doing() {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=5 {
        let now = th.t;
        arrive(&mut sim, &mut th, n, now);
        admit(&mut sim, &mut th, if n > 2 { TOO_MANY } else { GREETING });
        th.t += SEC;
    }
    let summary = summed(&sim.records());
    assert!(
        summary.verdict.starts_with("Nobody waited long for the first byte: half of the clients 0."),
        "{}",
        summary.verdict
    );
    let own = "The server itself turned away 3 of 5 connections with error 1040 (too many connections).";
    assert!(summary.verdict.ends_with(own), "{}", summary.verdict);
    assert_eq!(summary.errors, [(1040, 3)]);
}

#[test]
fn the_servers_own_lookups_are_not_the_wrappers() {
    let mut sim = Sim::default();
    let mut th = thread();
    arrive(&mut sim, &mut th, 1, 10 * SEC);
    sim.close(&mut th, 33, Class::File);
    sim.check(&mut th, 1, 1, 1);
    let mut own = Thread { tid: 1001, conn: 1, t: th.t };
    sim.peer(&mut own, 101, 0);
    resolve(&mut sim, &mut own, 1, false, 2 * SEC);
    sim.first_packet(&mut own, 101, GREETING);
    let summary = summed(&sim.records());
    assert_eq!(
        summary.verdict,
        "The server's own lookups explain 99 % of the wait until the first byte, nameserver 10.77.53.1 all of it; wrappers explain under 0.1 %."
    );
    assert_eq!(summary.verdict_kind, VerdictKind::ServerLookups);
    assert!(summary.lookup_share.unwrap() > 0.99 && summary.dns_share.unwrap() < 0.01);
    let server = &summary.nameservers[0];
    assert!(server.own_ns > 3 * SEC && server.explained_ns == server.own_ns, "{server:?}");
}

#[test]
fn nothing_accepted_is_said_to_be_so() {
    assert_eq!(summed(&[]).verdict, "No connection was accepted.");
    let asked = SummaryBuilder::new().build(Counts { unowned_checks: 3, ..Counts::default() });
    assert!(
        asked
            .verdict
            .contains("libwrap was asked 3 times about clients that wrapwatch had no room to follow"),
        "{}",
        asked.verdict
    );
    assert_eq!(asked.verdict_kind, VerdictKind::CannotTell);
    let blind = SummaryBuilder::new().build(Counts { checks_unseen: true, ..Counts::default() });
    assert!(blind.verdict.contains("as for datagrams, was not seen"), "{}", blind.verdict);
    let mut sim = Sim::default();
    for n in 1..=3 {
        sim.established(10 * SEC + n, n, format!("10.77.0.{n}:4000").parse().unwrap());
    }
    let records = sim.records();
    let summary = summed(&records);
    assert!(
        summary.verdict.starts_with("No accept was seen, and 3 clients connected: either"),
        "{}",
        summary.verdict
    );
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell);
    // With the kernel's word that they are in the queue it is certain.
    let mut builder = SummaryBuilder::new();
    builder.note_still_queued(3);
    let summary = builder.build(Counts { queued: Some(3), ..Counts::default() });
    assert_eq!(
        summary.verdict,
        "No connection was accepted, and 3 clients are waiting: the server does not take them."
    );
    assert_eq!(summary.verdict_kind, VerdictKind::Queue);
}

/// Connections that are served at once, and a request of each that took `check_ns` in libwrap's lookups, or in the server's own.
fn with_requests(check_ns: u64, own_ns: u64) -> Summary {
    let mut builder = SummaryBuilder::new();
    for told in lab::run_with(&mut lab::correlator(), &at_once(|_, _, _| {})) {
        builder.add(&Connection { total_ns: Some(MS), waited_ns: MS, ..told.clone() });
        let waited_ns = check_ns + own_ns;
        let outcome = if check_ns > 0 { Outcome::Admitted } else { Outcome::LookedUp };
        let parts = crate::model::Parts { dns_ns: check_ns, ..crate::model::Parts::default() };
        let server = Some("10.77.53.1:53".into());
        let blame = Blame { cause: crate::model::StallCause::Dns, server, own_ns: check_ns, queued_ns: 0 };
        builder.add_request(&Connection {
            outcome,
            within: Some(told.conn),
            total_ns: Some(waited_ns),
            waited_ns,
            queued_ns: None,
            wrapper_ns: check_ns,
            parts,
            blame: vec![blame],
            resolve_ns: own_ns,
            handover_ns: None,
            ..told
        });
    }
    builder.build(Counts::default())
}

#[test]
fn who_waits_after_the_first_byte_is_no_reason_to_acquit() {
    let quick = with_requests(2 * MS, 0);
    assert_eq!(quick.verdict_kind, VerdictKind::NobodyWaited, "{}", quick.verdict);
    assert!(
        quick.verdict.contains("20 requests (logins, datagrams, later checks) took ")
            && quick.verdict.ends_with("was not looked at."),
        "{}",
        quick.verdict
    );
    for (check_ns, own_ns, kind) in
        [(800 * MS, 0, VerdictKind::Wrappers), (0, 800 * MS, VerdictKind::ServerLookups)]
    {
        let slow = with_requests(check_ns, own_ns);
        assert_eq!(slow.verdict_kind, kind, "{}", slow.verdict);
        assert!(slow.verdict.contains("and in 20 requests otherwise"), "{}", slow.verdict);
        assert!(slow.verdict.contains("Clients waited after the first byte"), "{}", slow.verdict);
        assert_eq!((slow.connections, slow.requests.count, slow.requests.max_ns), (20, 20, 800 * MS));
        assert!(slow.lookup_share.is_some_and(|share| share > 0.9), "{:?}", slow.lookup_share);
        assert!(slow.total.max_ns < 2 * MS, "the greeting was as quick");
    }
}

/// A datagram's check is quick; how long that waited in the server's socket nobody saw.
#[test]
fn requests_of_which_the_arrival_was_not_seen_acquit_nobody() {
    let mut builder = SummaryBuilder::new();
    for told in lab::run_with(&mut lab::correlator(), &at_once(|_, _, _| {})) {
        let (missing, waited_ns) = (vec![Missing::ArrivalUnseen], 200_000);
        let outcome = Outcome::Admitted;
        builder.add_request(&Connection { outcome, waited_ns, missing, complete: false, ..told });
    }
    let summary = builder.build(Counts::default());
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
    assert!(
        summary.verdict.contains("for 20 of 20 requests wrapwatch did not see when they came"),
        "{}",
        summary.verdict
    );
}

#[test]
fn whose_lookups_they_are_is_not_told_where_libwrap_is_not_seen() {
    let mut builder = SummaryBuilder::new();
    for told in lab::run_with(&mut lab::correlator(), &own_lookups()) {
        let missing = vec![Missing::ChecksUnseen];
        builder.add(&Connection { wrapper_ns: 0, complete: false, missing, ..told });
    }
    let summary = builder.build(Counts::default());
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
    assert!(summary.verdict.contains("calls of libwrap were not seen"), "{}", summary.verdict);
    assert!(summary.verdict.contains("CAP_SYS_ADMIN"), "{}", summary.verdict);
}

/// Nothing is told of these but their number.
#[test]
fn what_libwrap_was_asked_for_nobody_that_was_followed_acquits_nobody() {
    // Nobody waited; and nobody knew for what, had it not been for a lookup of another's.
    for wait_ns in [200_000, 30 * MS] {
        let mut builder = SummaryBuilder::new();
        for told in lab::run_with(&mut lab::correlator(), &at_once(|_, _, _| {})) {
            let (wait, clear) = (Some(wait_ns), Connection { unknown_ns: 0, unknown: Vec::new(), ..told });
            let parts = crate::model::Parts::default();
            let clear = Connection { parts, blame: Vec::new(), wrapper_ns: 0, queued_ns: Some(0), ..clear };
            builder.add(&Connection { greeting_ns: wait, total_ns: wait, waited_ns: wait_ns, ..clear });
        }
        let asked = Counts { unowned_checks: 3, ..Counts::default() };
        let (without, with) = (builder.build(Counts::default()), builder.build(asked));
        assert_ne!(without.verdict_kind, VerdictKind::CannotTell, "{}", without.verdict);
        assert_eq!(
            (with.verdict_kind, with.unowned_checks),
            (VerdictKind::CannotTell, 3),
            "{}",
            with.verdict
        );
        assert!(with.verdict.contains("libwrap was asked 3 times"), "{}", with.verdict);
    }
}

/// Three clients who wait two seconds each for the server's own lookups, after a check of nothing.
fn own_lookups() -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=3 {
        th.t += 10 * SEC;
        let now = th.t;
        arrive(&mut sim, &mut th, n, now);
        sim.close(&mut th, 33, Class::File);
        sim.check(&mut th, 1, 1, 1);
        let mut own = Thread { tid: 1001, conn: n, t: th.t };
        sim.peer(&mut own, 101, 0);
        resolve(&mut sim, &mut own, n, false, 2 * SEC);
        sim.first_packet(&mut own, 101, GREETING);
    }
    sim.records()
}

fn degraded(kind: DegradationKind) -> Degradation {
    Degradation { kind, pid: Some(TGID), message: String::new() }
}

#[test]
fn what_was_not_traced_acquits_nobody() {
    let records = own_lookups();
    let lookups = [Kind::Connect, Kind::Send, Kind::Recv];
    let blind: Vec<Rec> = records.iter().filter(|rec| !lookups.contains(&rec.kind)).cloned().collect();
    // Where nothing says so, the waits look like the connection threads' own.
    let summary = summed_with(&blind, |correlator| {
        correlator.note_degradation(&degraded(DegradationKind::NoLookupCalls));
    });
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
    assert!(summary.unknown_share.unwrap() > 0.99, "{summary:#?}");
    assert!(summary.verdict.contains("To find out: trace with `wrapwatch record`"), "{}", summary.verdict);
    let all = summed_with(&records, |correlator| {
        correlator.note_degradation(&degraded(DegradationKind::NoTimes));
    });
    assert_eq!(
        (all.verdict_kind, all.unknown_share),
        (VerdictKind::CannotTell, Some(1.0)),
        "{}",
        all.verdict
    );
}

#[test]
fn lost_records_acquit_nobody() {
    let records = own_lookups();
    let lookups = [Kind::Connect, Kind::Send, Kind::Recv];
    let left: Vec<Rec> = records.iter().filter(|rec| !lookups.contains(&rec.kind)).cloned().collect();
    let summary = summed(&left);
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell, "{}", summary.verdict);
    assert_eq!(summary.unknown[0].reason, UnknownReason::EventsLost);
}

#[test]
fn whose_lookups_they_are_is_not_known_without_the_tables() {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=3 {
        th.t += 10 * SEC;
        let peer = format!("10.77.0.{n}:4000").parse().unwrap();
        sim.established(th.t, n, peer);
        sim.accept(&mut th, n, 101, Some(peer));
        resolve(&mut sim, &mut th, n, false, 2 * SEC);
        sim.first_packet(&mut th, 101, GREETING);
    }
    let records = sim.records();
    let summary = summed_with(&records, |correlator| {
        correlator.note_degradation(&degraded(DegradationKind::NoFileCalls));
    });
    assert_eq!(summary.verdict_kind, VerdictKind::CannotTell);
    assert!(
        summary.verdict.starts_with("Lookups in the accept thread explain 99 % of the wait"),
        "{}",
        summary.verdict
    );
    assert!(summary.lookup_share.unwrap() > 0.99, "{summary:#?}");
    // With the opens traced and none of a table among them, they are the server's own.
    let summary = summed(&records);
    assert_eq!(summary.verdict_kind, VerdictKind::ServerLookups, "{}", summary.verdict);
}

#[test]
fn lookups_in_the_accept_thread_hold_those_behind_though_it_is_not_wrapped() {
    let mut sim = Sim::default();
    let mut th = thread();
    let start = th.t;
    for n in 1..=10 {
        let peer = format!("10.77.0.{n}:4000").parse().unwrap();
        sim.established(start + n, n, peer);
        sim.accept(&mut th, n, 101, Some(peer));
        resolve(&mut sim, &mut th, n, false, 100 * MS);
        sim.first_packet(&mut th, 101, GREETING);
    }
    let summary = summed(&sim.records());
    assert_eq!(summary.verdict_kind, VerdictKind::ServerLookups, "{}", summary.verdict);
    assert!(summary.lookup_share.unwrap() > 0.99 && summary.wrapper_share.unwrap() < 0.01, "{summary:#?}");
}

#[test]
fn a_socket_that_another_process_has_is_waited_for_nobody_knows_how_long() {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=3 {
        th.t += SEC;
        let peer = format!("10.77.0.{n}:4000").parse().unwrap();
        sim.established(th.t, n, peer);
        sim.accept(&mut th, n, 101, Some(peer));
        sim.close(&mut th, 101, Class::Accepted);
    }
    let summary = summed(&sim.records());
    assert_eq!((summary.verdict_kind, summary.ends_unseen), (VerdictKind::CannotTell, 3));
    assert_eq!(summary.unknown_share, Some(1.0));
    assert!(summary.verdict.contains("-p PID"), "{}", summary.verdict);
    assert_eq!(summary.outcomes[0].outcome, Outcome::HandedOver);
}

#[test]
fn a_lookup_that_goes_on_at_the_end_counts_until_then() {
    let mut sim = Sim::default();
    let mut th = thread();
    arrive(&mut sim, &mut th, 1, 10 * SEC);
    sim.close(&mut th, 33, Class::File);
    sim.check(&mut th, 1, 1, 1);
    let mut own = Thread { tid: 1001, conn: 1, t: th.t };
    sim.peer(&mut own, 101, 0);
    sim.connect(&mut own, 50, "10.77.53.1:53".parse().unwrap(), Class::Dns, false, 0, 1_000);
    sim.send(&mut own, 50, &lab::sim::query(1, "1.0.77.10.in-addr.arpa", crate::decode::dns::PTR));
    let mut correlator = lab::correlator();
    for record in sim.records() {
        correlator.push(&crate::decode::decode(&record.bytes).unwrap());
    }
    correlator.finish(KtimeNs(own.t + 20 * SEC));
    let told = correlator.pop().unwrap();
    assert!(told.missing.contains(&Missing::StillOpen));
    assert!(told.resolve_ns > 19 * SEC && told.waited_ns > 19 * SEC, "{told:#?}");
    let mut summary = SummaryBuilder::new();
    summary.add(&told);
    let summary = summary.build(Counts::default());
    assert_eq!(summary.verdict_kind, VerdictKind::ServerLookups, "{}", summary.verdict);
}

#[test]
fn refusals_come_first_where_nobody_waited() {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=5 {
        let now = th.t;
        arrive(&mut sim, &mut th, n, now);
        refuse(&mut sim, &mut th);
        th.t += SEC;
    }
    let summary = summed(&sim.records());
    assert_eq!(summary.verdict_kind, VerdictKind::Refusals);
    assert!(
        summary.verdict.starts_with("The wrapper check refused 5 of 5 connections. Nobody waited"),
        "{}",
        summary.verdict
    );
}

#[test]
fn memory_does_not_grow_with_names() {
    let mut summary = SummaryBuilder::new();
    let mut told = lab::run_with(&mut lab::correlator(), &dead_first_server()).remove(0);
    for n in 0..1_000_u16 {
        told.error_code = Some(n);
        for query in told.lookups.iter_mut().flat_map(|lookup| &mut lookup.queries) {
            query.server = format!("10.0.{}.{}:53", n / 250, n % 250).into();
        }
        summary.add(&told);
    }
    let summary = summary.build(Counts::default());
    assert!(summary.nameservers.len() <= 65 && summary.errors.len() <= 64);
    assert_eq!(summary.nameservers.iter().map(|server| server.queries).sum::<u64>(), 2_000);
}

/// The wall clock is compared anew each second, and a trace read later compares it at other moments than the session did.
#[test]
fn a_turned_wall_clock_changes_no_duration() {
    let told = lab::run(sim_of_two());
    let steady = |turn_ns: i64| {
        let mut summary = SummaryBuilder::new();
        for (n, connection) in told.iter().cloned().enumerate() {
            let clock = ClockPair { wall_ns: i64::try_from(n).unwrap() * turn_ns, ..lab::clock() };
            let accepted = clock.wall(connection.accepted_ktime);
            summary.add(&Connection { accepted, ..connection });
        }
        summary.build(Counts::default()).accept_threads
    };
    assert_eq!(steady(0)[0].connections, 2);
    assert!(steady(0)[0].span_ns > 0);
    assert_eq!(steady(0), steady(-1_000_000));
}

fn sim_of_two() -> Sim {
    let mut sim = Sim::default();
    let mut th = thread();
    for n in 1..=2 {
        let now = th.t;
        arrive(&mut sim, &mut th, n, now);
        resolve(&mut sim, &mut th, n, false, 300 * MS);
        admit(&mut sim, &mut th, GREETING);
    }
    sim
}

#[test]
fn checks_in_processes_of_their_own_are_no_work_of_the_accept_threads() {
    let mut correlator = lab::correlator();
    let records = at_once(|sim, th, n| resolve(sim, th, n, false, 300 * MS));
    let (mut summary, mut load) = (SummaryBuilder::new(), super::Load::default());
    for told in lab::run_with(&mut correlator, &records) {
        assert!(told.wrapper_ns > 0);
        // So it is told of a server that forks before it checks.
        let told = Connection { service_ns: 200_000, ..told };
        summary.add(&told);
        load.add(&told);
    }
    let [thread] = &summary.build(Counts::default()).accept_threads[..] else { panic!("one thread accepts") };
    assert_eq!((thread.connections, thread.busy_ns, thread.ceiling_per_s), (20, 20 * 200_000, None));
    assert!(load.busiest().is_none_or(|(_, _, jobs)| jobs.is_empty()));
}

#[test]
fn what_a_server_without_connection_threads_does_itself_is_said_in_other_words() {
    let records = at_once(|_, th, _| th.t += 300 * MS);
    let mut summary = SummaryBuilder::new();
    for told in lab::run_with(&mut lab::correlator(), &records) {
        // All of its wait passed after the check.
        let wait = told.waited_ns;
        summary.add(&Connection {
            wrapper_ns: 0,
            parts: crate::model::Parts::default(),
            blame: Vec::new(),
            queued_ns: Some(0),
            greeting_ns: Some(wait),
            total_ns: Some(wait),
            unknown_ns: 0,
            unknown: Vec::new(),
            ..told
        });
    }
    let said = |other_server| summary.build(Counts { other_server, ..Counts::default() }).verdict;
    assert!(said(false).contains("connection threads took it before the first packet"), "{}", said(false));
    assert!(said(true).contains("the server itself took it before the first byte"), "{}", said(true));
}
