//! Properties over generated servers: any legal order of the records tells the same, a lost record is never made up for, garbage is harmless.

use proptest::prelude::*;
use wrapwatch_common::counters::Counter;
use wrapwatch_common::records::{Kind, OP_WRITE, WHAT_HOSTS_ACCESS};

use super::sim::TOO_MANY;
use super::*;
use crate::diagnose;

/// What a nameserver does with one query, and after how many µs.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Found(u64),
    NotFound(u64),
    Servfail(u64),
    Refused(u64),
    Silent,
}

/// A lookup: what each server does; A and AAAA together.
#[derive(Clone, Debug)]
struct Asking {
    replies: Vec<Reply>,
    pair: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Greeted,
    Error,
    Refused,
    /// The server becomes another program: the last that it does.
    Twisted,
}

#[derive(Clone, Debug)]
struct Plan {
    /// Since the connection before, in µs.
    arrives_after: u64,
    unix: bool,
    uprobes: bool,
    lookups: Vec<Asking>,
    spawn: Option<u64>,
    second_table: bool,
    ending: Ending,
    /// The refusal's line takes so many µs.
    syslog: Option<u64>,
    /// The socket is duplicated, and used by its other number from then on (the kernel side watches both, and says nothing of it).
    duplicate: bool,
    own: Option<Asking>,
    /// FIN or RST this many µs after the handshake.
    leaves: Option<(bool, u64)>,
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        4 => (1..300_000_u64).prop_map(Reply::Found),
        2 => (1..3_000_u64).prop_map(Reply::NotFound),
        1 => (1..3_000_u64).prop_map(Reply::Servfail),
        1 => Just(Reply::Refused(150)),
        1 => Just(Reply::Silent),
    ]
}

fn asking() -> impl Strategy<Value = Asking> {
    (prop::collection::vec(reply(), 1..4), any::<bool>()).prop_map(|(replies, pair)| Asking { replies, pair })
}

fn plan() -> impl Strategy<Value = Plan> {
    let ending = prop_oneof![12 => Just(Ending::Greeted), 4 => Just(Ending::Error), 4 => Just(Ending::Refused), 1 => Just(Ending::Twisted)];
    let check =
        (prop::collection::vec(asking(), 0..3), prop::option::weighted(0.1, 1..5_000_u64), any::<bool>());
    // A line to syslog takes no time, or as long as syslog hangs.
    let syslog = prop_oneof![4 => 10..100_u64, 1 => 100_000..5_000_000_u64];
    let rest = (
        (prop::option::of(syslog), any::<bool>()),
        prop::option::weighted(0.3, asking()),
        prop::option::weighted(0.2, (any::<bool>(), 1..200_000_u64)),
    );
    ((0..400_000_u64), prop::bool::weighted(0.1), any::<bool>(), check, ending, rest).prop_map(
        |(
            arrives_after,
            unix,
            uprobes,
            (lookups, spawn, second_table),
            ending,
            ((syslog, duplicate), own, leaves),
        )| {
            // Nobody is checked who comes by the unix socket.
            let ending = if unix && matches!(ending, Ending::Twisted) { Ending::Greeted } else { ending };
            Plan {
                arrives_after,
                unix,
                uprobes,
                lookups,
                spawn,
                second_table,
                ending,
                syslog,
                duplicate,
                own,
                leaves,
            }
        },
    )
}

const US: u64 = 1_000;

/// glibc's way through its servers: the sockets of silent ones stay open.
fn ask(sim: &mut Sim, th: &mut Thread, base_fd: i32, tag: u16, asking: &Asking) {
    let qtype = if asking.pair { dns::A } else { dns::PTR };
    let name = format!("q{tag}.c{}.example", th.conn);
    let first = query(tag, &name, qtype);
    let second = query(tag + 1, &name, dns::AAAA);
    let mut open = Vec::new();
    for (i, reply) in (0..).zip(&asking.replies) {
        let fd = base_fd + i;
        let server = addr(&format!("10.77.53.{}:53", i + 1));
        sim.connect(th, fd, server, Class::Dns, false, 0, 10 * US);
        open.push(fd);
        if asking.pair {
            sim.send_pair(th, fd, &first, &second);
        } else {
            sim.send(th, fd, &first);
        }
        let (after, flags, data) = match *reply {
            Reply::Found(us) => (us, 0, Some(if asking.pair { "10.77.0.1" } else { "c1.lan.example" })),
            Reply::NotFound(us) => (us, 3, None),
            Reply::Servfail(us) => (us, 2, None),
            Reply::Refused(us) => {
                th.t += us * US;
                sim.sock_error(th.t - 40 * US, server);
                sim.close(th, fd, Class::Dns);
                open.pop();
                continue;
            }
            Reply::Silent => {
                th.t += SEC;
                continue;
            }
        };
        th.t += after * US;
        sim.recv(th, fd, &answer(&first, flags, data));
        if asking.pair {
            sim.recv(th, fd, &answer(&second, flags, None));
        }
        if flags != 2 {
            break;
        }
    }
    for fd in open {
        sim.close(th, fd, Class::Dns);
    }
}

fn read_table(sim: &mut Sim, th: &mut Thread, path: &str, eof: bool, lookups: &[Asking]) {
    sim.open(th, path, 33);
    sim.read(th, 33, 161);
    for (i, asking) in (0..).zip(lookups) {
        hosts(sim, th);
        if i == 0 {
            sim.rule(th, path, 2);
        }
        let tag = u16::try_from(th.conn).unwrap() * 16 + 2 * i;
        ask(sim, th, 34, tag, asking);
    }
    // Either has a record of its own, as in an import, or its close tells it.
    let told_by_close = eof && th.conn.is_multiple_of(2);
    if eof && !told_by_close {
        sim.read(th, 33, 0);
    }
    sim.rule(th, path, 4);
    if told_by_close {
        sim.close_at_end(th, 33);
    } else {
        sim.close(th, 33, Class::File);
    }
}

fn check(sim: &mut Sim, th: &mut Thread, plan: &Plan) {
    if plan.uprobes {
        sim.check(th, WHAT_HOSTS_ACCESS, 0, 0);
    }
    let denied = matches!(plan.ending, Ending::Refused);
    read_table(sim, th, ALLOW, plan.second_table, &plan.lookups);
    if plan.second_table {
        read_table(sim, th, DENY, !denied, &[]);
    }
    if let Some(us) = plan.spawn {
        sim.wait(th, us * US);
    }
    let twisted = matches!(plan.ending, Ending::Twisted);
    if plan.uprobes && !twisted {
        sim.check(th, WHAT_HOSTS_ACCESS, 1, i32::from(!denied));
    }
    if let Some(us) = plan.syslog
        && (denied || twisted)
    {
        sim.io(th, 12, Class::Unix, OP_WRITE, 80, us * US);
    }
}

/// The connections that a server lives to serve.
fn served(plans: &[Plan]) -> usize {
    let twisted = plans.iter().position(|plan| matches!(plan.ending, Ending::Twisted));
    twisted.map_or(plans.len(), |last| last + 1)
}

/// One accept thread, a thread for each connection; descriptors of connections are not reused.
fn server(plans: &[Plan]) -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let mut arrives = th.t;
    let mut busy_until = 0;
    for (n, plan) in (1..).zip(plans) {
        arrives += plan.arrives_after * US;
        let peer = addr(&format!("10.78.{}.{}:40000", n / 250, n % 250 + 1));
        let fd = 100 + i32::try_from(n).unwrap();
        th.t = th.t.max(arrives) + 30 * US;
        if plan.unix {
            sim.accept(&mut th, n, fd, None);
        } else {
            sim.established(arrives, 0x1000 + n, peer);
            if let Some((fin, us)) = plan.leaves {
                let state = if fin { (1, 8) } else { (1, 7) };
                sim.state(arrives + us * US, 0x1000 + n, peer, state, NETNS);
            }
            sim.accept(&mut th, n, fd, Some(peer));
            check(&mut sim, &mut th, plan);
        }
        let fd = if plan.duplicate { fd + 5_000 } else { fd };
        if matches!(plan.ending, Ending::Twisted) {
            // By then whoever else was served has been.
            th.t = th.t.max(busy_until);
            sim.close(&mut th, fd, Class::Accepted);
            th.t += MS;
            sim.exec(&th);
            break;
        }
        if matches!(plan.ending, Ending::Refused) && !plan.unix {
            sim.shutdown(&mut th, fd);
            sim.close(&mut th, fd, Class::Accepted);
            continue;
        }
        let mut own = Thread { tid: 1000 + u32::try_from(n).unwrap(), conn: n, t: th.t + 60 * US };
        sim.peer(&mut own, fd, 0);
        if let Some(asking) = &plan.own {
            ask(
                &mut sim,
                &mut own,
                500 + 10 * i32::try_from(n).unwrap(),
                u16::try_from(n).unwrap() * 16 + 8,
                asking,
            );
        }
        let packet = if matches!(plan.ending, Ending::Error) { TOO_MANY } else { GREETING };
        sim.first_packet(&mut own, fd, packet);
        busy_until = busy_until.max(own.t + MS);
    }
    sim.records()
}

/// Whether two neighbours may as well have come the other way round: records of different threads, less than half the window apart, that
/// nothing orders: not of one connection, no handshake with an accept, no error with its effect.
fn may_swap(a: &Rec, b: &Rec) -> bool {
    let of_kernel = |rec: &Rec| rec.conn == 0;
    let apart = a.ts.abs_diff(b.ts) < crate::correlate::REORDER_NS / 2;
    let accept_and_state =
        (of_kernel(a) && b.kind == Kind::Accept) || (of_kernel(b) && a.kind == Kind::Accept);
    // What a thread does on an ICMP error comes after it.
    let error = a.kind == Kind::SockError || b.kind == Kind::SockError;
    let ordered = a.tid == b.tid || a.conn == b.conn || accept_and_state || error;
    apart && !ordered
}

fn shuffled(mut records: Vec<Rec>, picks: &[prop::sample::Index]) -> Vec<Rec> {
    if records.len() < 2 {
        return records;
    }
    for pick in picks {
        // A record travels as far as it may.
        let mut i = pick.index(records.len() - 1);
        while i + 1 < records.len() && may_swap(&records[i], &records[i + 1]) {
            records.swap(i, i + 1);
            i += 1;
        }
    }
    records
}

/// One that knows the socket to syslog, which was open before.
fn correlator() -> Correlator {
    let mut correlator = super::correlator();
    correlator.seed_unix_socket(TGID, 12, "/dev/log");
    correlator
}

fn told_by_conn(records: &[Rec]) -> BTreeMap<u64, Connection> {
    run_with(&mut correlator(), records).into_iter().map(|told| (told.conn, told)).collect()
}

/// What holds of every connection, whatever was lost.
fn sane(told: &Connection) -> Result<(), TestCaseError> {
    prop_assert_eq!(told.parts.total(), told.wrapper_ns);
    let own: u64 = told.blame.iter().map(|blame| blame.own_ns).sum();
    prop_assert_eq!(own, told.wrapper_ns);
    let queued: u64 = told.blame.iter().map(|blame| blame.queued_ns).sum();
    prop_assert!(queued <= told.queued_ns.unwrap_or(0), "{:#?}", told);
    let waiting = diagnose::waiting(told);
    prop_assert_eq!(waiting.explained() + waiting.unexplained() + waiting.unknown_ns, waiting.total_ns);
    // Not by cutting: what was seen and what is unknown fit into the wait as they are.
    prop_assert_eq!(waiting.unknown_ns, told.unknown_ns);
    let unknown: u64 = told.unknown.iter().map(|part| part.ns).sum();
    prop_assert_eq!(unknown, told.unknown_ns);
    let own: u64 = told.blame.iter().map(|blame| blame.own_ns + blame.queued_ns).sum();
    prop_assert!(
        own + told.resolve_ns + told.queued_resolve_ns + told.handover_resolve_ns <= told.waited_ns,
        "{:#?}",
        told
    );
    prop_assert!(told.total_ns.is_none_or(|total| total <= told.waited_ns));
    prop_assert_eq!(told.complete, told.missing.is_empty());
    for query in told.lookups.iter().flat_map(|lookup| &lookup.queries) {
        if let Some(name) = &query.qname {
            let suffix = format!(".c{}.example", told.conn);
            prop_assert!(name.ends_with(&suffix), "query {} on connection {}", name, told.conn);
        }
    }
    Ok(())
}

fn outcome_of(plan: &Plan) -> Outcome {
    match plan.ending {
        Ending::Refused if !plan.unix => Outcome::Refused,
        Ending::Error => Outcome::ServerError,
        Ending::Twisted => Outcome::Unfinished,
        _ => Outcome::Greeted,
    }
}

/// Outcomes that the queries of a lookup must have.
fn query_outcomes(asking: &Asking) -> Vec<QueryOutcome> {
    let mut outcomes = Vec::new();
    for reply in &asking.replies {
        let outcome = match reply {
            Reply::Refused(_) => QueryOutcome::Unreachable,
            Reply::Silent => QueryOutcome::Timeout,
            _ => QueryOutcome::Answered,
        };
        outcomes.extend(std::iter::repeat_n(outcome, if asking.pair { 2 } else { 1 }));
        if matches!(reply, Reply::Found(_) | Reply::NotFound(_)) {
            break;
        }
    }
    outcomes
}

proptest! {
    #[test]
    fn every_connection_is_told_as_it_was(plans in prop::collection::vec(plan(), 1..12)) {
        let told = told_by_conn(&server(&plans));
        prop_assert_eq!(told.len(), served(&plans));
        for (told, plan) in told.values().zip(&plans) {
            sane(told)?;
            let twisted = matches!(plan.ending, Ending::Twisted);
            prop_assert_eq!(told.complete, !twisted, "{:?}", told.missing);
            prop_assert_eq!(told.missing.contains(&Missing::ServerReplaced), twisted);
            prop_assert_eq!(told.outcome, outcome_of(plan));
            let logs = twisted || told.outcome == Outcome::Refused;
            prop_assert_eq!(told.parts.syslog_ns, plan.syslog.filter(|_| logs).unwrap_or(0) * US);
            let mut want: Vec<Vec<QueryOutcome>> = Vec::new();
            if !plan.unix {
                want.extend(plan.lookups.iter().map(query_outcomes));
            }
            if !matches!(told.outcome, Outcome::Refused | Outcome::Unfinished) {
                want.extend(plan.own.iter().map(query_outcomes));
            }
            let got: Vec<Vec<QueryOutcome>> =
                told.lookups.iter().map(|lookup| lookup.queries.iter().map(|query| query.outcome).collect()).collect();
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn any_order_of_the_threads_tells_the_same(
        plans in prop::collection::vec(plan(), 2..12),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let records = server(&plans);
        let want = told_by_conn(&records);
        let got = told_by_conn(&shuffled(records, &picks));
        for (want, got) in want.values().zip(got.values()) {
            prop_assert_eq!(want, got);
        }
        prop_assert_eq!(want.len(), got.len());
    }

    #[test]
    fn lost_records_never_make_a_wait_somebody_elses(
        plans in prop::collection::vec(plan(), 1..6),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let records = server(&plans);
        let want = told_by_conn(&records);
        let lost: Vec<usize> = picks.iter().map(|pick| pick.index(records.len())).collect();
        // Handshakes and accepts apart: without them a wait is another one, or none.
        let stays = |rec: &Rec| matches!(rec.kind, Kind::Accept | Kind::SockState | Kind::SockError | Kind::Exec);
        let mut correlator = correlator();
        for (i, record) in records.iter().enumerate() {
            if lost.contains(&i) && !stays(record) {
                let end = match decode(&record.bytes) {
                    Ok(Event::Close(rec)) => rec.class == Class::Accepted as u8,
                    event => matches!(event, Ok(Event::FirstPacket(_))),
                };
                let counter = if end { Counter::LostFirstPacket } else { Counter::LostPayload };
                correlator.note_lost_until(&[(counter, 1)], KtimeNs(record.ts));
            } else {
                correlator.push(&decode(&record.bytes).unwrap());
            }
        }
        correlator.finish(KtimeNs(records.last().unwrap().ts));
        for got in std::iter::from_fn(|| correlator.pop()) {
            let conn = got.conn;
            sane(&got)?;
            let elsewhere = |told: &Connection| {
                let waiting = diagnose::waiting(told);
                waiting.off_cpu_ns + waiting.handover_ns + waiting.rest_ns
            };
            if let Some(want) = want.get(&conn).filter(|want| want.waited_ns >= got.waited_ns) {
                prop_assert!(elsewhere(&got) <= elsewhere(want) + MS, "{:#?}\n{:#?}", got, want);
            }
        }
    }

    #[test]
    fn a_lost_record_is_marked_and_never_made_up_for(
        plans in prop::collection::vec(plan(), 1..6),
        pick in any::<prop::sample::Index>(),
    ) {
        let records = server(&plans);
        let lost = pick.index(records.len());
        check_loss(&records, lost)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_harmless(raw in prop::collection::vec(garbage(), 0..200)) {
        let mut correlator = correlator();
        let mut summary = diagnose::SummaryBuilder::new();
        for bytes in &raw {
            let Ok(event) = decode(bytes) else { continue };
            correlator.push(&event);
            while let Some(told) = correlator.pop().map(|told| *told) {
                prop_assert_eq!(told.parts.total(), told.wrapper_ns);
                let waiting = diagnose::waiting(&told);
                prop_assert_eq!(waiting.explained() + waiting.unexplained() + waiting.unknown_ns, waiting.total_ns);
                summary.add(&told);
                let line = crate::model::Line::Connection(Box::new(told));
                let _ = crate::render::text::Text { slow_ns: 0, ..crate::render::text::Text::PLAIN }.line(&line);
            }
            let _ = correlator.stalls(KtimeNs(u64::MAX), 0);
        }
        correlator.finish(KtimeNs(u64::MAX));
        while let Some(told) = correlator.pop().map(|told| *told) {
            summary.add(&told);
        }
        let _ = summary.build(diagnose::Counts::default());
    }
}

/// Tells the rest without record `lost`, and compares.
fn check_loss(records: &[Rec], lost: usize) -> Result<(), TestCaseError> {
    let want = told_by_conn(records);
    let record = &records[lost];
    let mut correlator = correlator();
    let mut told = Vec::new();
    for (i, rec) in records.iter().enumerate() {
        if i == lost {
            match rec.kind {
                Kind::Accept => correlator.note_lost(&[(Counter::LostAccept, 1)]),
                Kind::SockState => correlator.note_lost(&[(Counter::LostSockState, 1)]),
                Kind::SockError => correlator.note_lost(&[(Counter::LostSockError, 1)]),
                Kind::Exec => correlator.note_lost(&[(Counter::LostOther, 1)]),
                _ => {}
            }
            continue;
        }
        correlator.push(&decode(&rec.bytes).unwrap());
        while let Some(connection) = correlator.pop().map(|told| *told) {
            told.push(connection);
        }
    }
    told.extend(run_with(&mut correlator, &[]));
    let lost_accept = record.kind == Kind::Accept;
    prop_assert_eq!(told.len() + usize::from(lost_accept), want.len());
    for got in &told {
        sane(got)?;
        let want = &want[&got.conn];
        let touched = got.conn == record.conn || record.conn == 0 || lost_accept;
        if got.conn == record.conn && record.kind != Kind::SockError {
            prop_assert!(!got.complete, "lost {:?} of {}", record.kind, record.conn);
        }
        if touched && !got.complete {
            continue;
        }
        // Of others, only what they waited behind may look different: it is as good as those stories.
        let same = Connection {
            blame: want.blame.clone(),
            unknown: want.unknown.clone(),
            unknown_ns: want.unknown_ns,
            queued_resolve_ns: want.queued_resolve_ns,
            handover_resolve_ns: want.handover_resolve_ns,
            queued_behind: want.queued_behind.clone(),
            queued_behind_count: want.queued_behind_count,
            ..got.clone()
        };
        prop_assert_eq!(&same, want, "lost {:?} of {}", record.kind, record.conn);
    }
    Ok(())
}

#[test]
fn each_record_lost_once() {
    let plans = vec![
        Plan {
            arrives_after: 10,
            unix: false,
            uprobes: true,
            lookups: vec![
                Asking { replies: vec![Reply::Silent, Reply::Found(300)], pair: false },
                Asking { replies: vec![Reply::Refused(150), Reply::Found(300)], pair: true },
                // So late that only the error tells it from silence.
                Asking { replies: vec![Reply::Refused(2_000_000), Reply::Found(300)], pair: false },
            ],
            spawn: Some(100),
            second_table: true,
            ending: Ending::Refused,
            syslog: Some(2_000_000),
            duplicate: true,
            own: None,
            leaves: Some((true, 100)),
        },
        Plan {
            arrives_after: 10,
            unix: false,
            uprobes: false,
            lookups: vec![Asking { replies: vec![Reply::Servfail(10), Reply::NotFound(20)], pair: false }],
            spawn: None,
            second_table: true,
            ending: Ending::Greeted,
            syslog: None,
            duplicate: true,
            own: Some(Asking { replies: vec![Reply::Found(400)], pair: true }),
            leaves: None,
        },
        Plan {
            arrives_after: 10,
            unix: true,
            uprobes: false,
            lookups: vec![],
            spawn: None,
            second_table: false,
            ending: Ending::Error,
            syslog: None,
            duplicate: false,
            own: None,
            leaves: None,
        },
        Plan {
            arrives_after: 10,
            unix: false,
            uprobes: true,
            lookups: vec![Asking { replies: vec![Reply::Found(300)], pair: false }],
            spawn: None,
            second_table: false,
            ending: Ending::Twisted,
            syslog: Some(30),
            duplicate: true,
            own: None,
            leaves: None,
        },
    ];
    let records = server(&plans);
    assert!(records.len() > 80, "{}", records.len());
    for lost in 0..records.len() {
        check_loss(&records, lost)
            .unwrap_or_else(|error| panic!("record {lost} ({:?}): {error}", records[lost].kind));
    }
}

/// Records of any kind with the right length, whose few threads, descriptors and connections meet each other.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..200);
    let small = (0..5_u64, 0..4_u32, 0..3_u32, 0..40_u32, prop_oneof![9 => 0..5 * SEC, 1 => any::<u64>()]);
    (0..18_u16, small, body, any::<[u8; 4]>()).prop_map(|(kind, (conn, tid, tgid, seq, ts), body, fds)| {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&ts.to_ne_bytes());
        bytes.extend_from_slice(&conn.to_ne_bytes());
        bytes.extend_from_slice(&tgid.to_ne_bytes());
        bytes.extend_from_slice(&tid.to_ne_bytes());
        bytes.extend_from_slice(&seq.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&body);
        bytes.resize(300, 0);
        // Where the kinds have their descriptor, their class and the length of their tail.
        for at in [32, 36, 40, 48, 64] {
            let near = 30 + i32::from(fds[at % 4] % 6);
            if fds[(at + 1) % 4] < 200 {
                bytes[at..at + 4].copy_from_slice(&near.to_ne_bytes());
            }
        }
        for at in [52, 53, 72, 73] {
            bytes[at] %= 8;
        }
        for at in [44, 74, 72] {
            bytes[at] %= 64;
            bytes[at + 1] = 0;
        }
        bytes
    })
}
