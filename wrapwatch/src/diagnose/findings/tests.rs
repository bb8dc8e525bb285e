//! Every finding on a trace that shows it, with the change it asks for: a file is written, read and reported, as the commands do.

use std::collections::BTreeSet;

use wrapwatch_common::records::{Class, OP_READ, WHAT_HOSTS_ACCESS, WHAT_SHELL_CMD};

use crate::correlate::tests::families::{accepted, checks};
use crate::correlate::tests::scenes::{admit, arrive, in_a_pool, refuse, resolve, turned_away};
use crate::correlate::tests::sim::{
    GREETING, LISTENER, MS, NETNS, Rec, SEC, Sim, TGID, Thread, addr, answer, query,
};
use crate::correlate::tests::{ALLOW, DENY, NS1, NS2, clock, main_thread};
use crate::decode::dns;
use crate::diagnose::Report;
use crate::model::{
    Degradation, DegradationKind, Finding, FindingId, KtimeNs, Line, Lost, Scenario, Severity, WhatIf,
};
use crate::replay::{Options, Replay, TraceReport, Wanted};
use crate::trace::block::BlockType;
use crate::trace::{
    AcceptErrorSample, End, Found, Head, Listener, ListenerSample, NetnsSample, Sample, Scanner, SingleFile,
    Snapshot, SnapshotMeta, SnapshotRole, Target, Writer, WriterOptions,
};

/// A trace in the making: the server's files, what happened, what was sampled.
struct Scene {
    /// The server's program, in its tables too.
    program: &'static str,
    allow: &'static str,
    deny: &'static str,
    resolv: &'static str,
    /// Where the two tables are.
    tables: [&'static str; 2],
    /// Another target's empty tables.
    neighbour: bool,
    records: Vec<Rec>,
    samples: Vec<(ListenerSample, NetnsSample)>,
    accept_errors: Vec<AcceptErrorSample>,
    degradations: Vec<Degradation>,
    lost: u64,
    /// Calls that the kernel left out all the time.
    skipped: u64,
    /// Of `lost`, what the kernel side had no room for.
    full: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            program: "mysqld",
            allow: "# rules\nmysqld: .corp.example\nALL: localhost\nmysqld: 10.77.\n",
            deny: "ALL: ALL\n",
            resolv: "nameserver 10.77.53.1\nnameserver 10.77.53.2\noptions timeout:1 attempts:1\n",
            tables: [ALLOW, DENY],
            neighbour: false,
            records: Vec::new(),
            samples: Vec::new(),
            accept_errors: Vec::new(),
            degradations: Vec::new(),
            lost: 0,
            skipped: 0,
            full: 0,
        }
    }
}

impl Scene {
    /// What the accept thread does, from its beginning.
    fn played(script: impl FnOnce(&mut Sim, &mut Thread)) -> Self {
        let (mut sim, mut th) = (Sim::default(), main_thread());
        script(&mut sim, &mut th);
        Self { records: sim.records(), ..Self::default() }
    }

    /// Three clients one after another; in each one's check this happens, and then it is let in.
    fn checks(script: impl Fn(&mut Sim, &mut Thread, u64)) -> Self {
        Self::played(|sim, th| {
            for n in 1..=3 {
                let at = th.t + 30 * MS;
                arrive(sim, th, n, at);
                script(sim, th, n);
                admit(sim, th, GREETING);
            }
        })
    }

    fn trace(&self) -> Vec<u8> {
        let listeners =
            vec![Listener { fd: Some(LISTENER), address: "0.0.0.0:3306".to_owned(), ..Listener::default() }];
        let target = Target {
            pid: TGID,
            comm: self.program.to_owned(),
            daemon: Some(self.program.to_owned()),
            netns: Some(u64::from(NETNS)),
            listeners,
            allow_table: Some(self.tables[0].to_owned()),
            deny_table: Some(self.tables[1].to_owned()),
            ..Target::default()
        };
        let head = Head {
            clock: clock(),
            targets: vec![target],
            degradations: self.degradations.clone(),
            // From 7.0 on the kernel leaves out calls, and what has ended is held back until that is known.
            kernel: if self.skipped > 0 { "7.2.13" } else { "6.12.0" }.to_owned(),
            ..Head::default()
        };
        let mut writer = Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap();
        let files = [
            (TGID, SnapshotRole::HostsAllow, self.tables[0], self.allow),
            (TGID, SnapshotRole::HostsDeny, self.tables[1], self.deny),
            (TGID, SnapshotRole::ResolvConf, "/etc/resolv.conf", self.resolv),
            (TGID + 1, SnapshotRole::HostsAllow, ALLOW, ""),
            (TGID + 1, SnapshotRole::HostsDeny, DENY, ""),
        ];
        for (pid, role, path, text) in files.into_iter().filter(|file| file.0 == TGID || self.neighbour) {
            let meta =
                SnapshotMeta { pid: Some(pid), role, path: path.to_owned(), ..SnapshotMeta::default() };
            writer
                .write(&Snapshot { meta, bytes: text.replace("mysqld", self.program).into_bytes() }.into())
                .unwrap();
        }
        for (listener, netns) in &self.samples {
            let sample =
                Sample { listeners: vec![listener.clone()], netns: vec![netns.clone()], ..Sample::default() };
            writer.write(&sample.into()).unwrap();
        }
        if !self.accept_errors.is_empty() {
            let accept_errors = self.accept_errors.clone();
            writer.write(&Sample { accept_errors, ..Sample::default() }.into()).unwrap();
        }
        for record in &self.records {
            writer.record(&record.bytes).unwrap();
        }
        if self.lost > 0 {
            let by =
                vec![("lost_accept".to_owned(), self.lost - self.full), ("full_watch".to_owned(), self.full)];
            writer.write(&Lost { events: self.lost, by, ..Lost::default() }.into()).unwrap();
        }
        let at = self.records.iter().map(|record| record.ts).max().unwrap_or(0);
        if self.skipped > 0 {
            let by = vec![("skipped_calls".to_owned(), self.skipped)];
            let lost = Lost { by, since_ns: Some(0), until_ns: Some(at), ..Lost::default() };
            writer.write(&lost.into()).unwrap();
        }
        let counters = [("full_watch".to_owned(), self.full)].into();
        let (out, ended) = writer.finish(End { at: KtimeNs(at), counters, ..End::default() });
        ended.unwrap();
        out.into_inner()
    }

    fn report(&self) -> Report {
        report(&self.trace())
    }
}

fn report(trace: &[u8]) -> Report {
    let wanted = Wanted { slowest: 3, file_name: "scene.wwt", ..Wanted::default() };
    TraceReport::read(trace, &wanted, |_| ()).unwrap().report
}

/// What a report says of this.
fn found(report: Report, id: FindingId) -> Finding {
    report.findings.into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id:?}"))
}

/// The names that were asked for.
fn asked(trace: &[u8]) -> BTreeSet<String> {
    let mut replay = Replay::new(trace, Options::default());
    let mut names = BTreeSet::new();
    while let Some(line) = replay.next_line().unwrap() {
        let Line::Connection(connection) = line else { continue };
        for lookup in connection.lookups {
            let queries = lookup.queries.into_iter().filter_map(|query| query.qname);
            names.extend(queries.chain(lookup.name).filter(|name| !name.is_empty()));
        }
    }
    names
}

/// The trace without its records, as a disk leaves it that was full when they were to be written.
fn without_records(trace: &[u8]) -> Vec<u8> {
    let (mut scanner, mut kept) = (Scanner::new(trace), Vec::new());
    while let Some(Found::Block(header, payload, offset)) = scanner.next_block().unwrap() {
        let begin = usize::try_from(offset).unwrap();
        if header.kind != BlockType::Records as u16 {
            kept.extend_from_slice(&trace[begin..begin + header.block_len()]);
        }
        assert!(!payload.is_empty());
    }
    kept
}

/// A question to a server, and what comes of it: nothing for so long, or this answer.
fn ask(
    sim: &mut Sim,
    th: &mut Thread,
    server: &str,
    question: (&str, u16),
    outcome: Result<(u16, Option<&str>), u64>,
) {
    let asked = query(7, question.0, question.1);
    sim.connect(th, 34, addr(server), Class::Dns, false, 0, 12_000);
    sim.send(th, 34, &asked);
    match outcome {
        Ok((flags, data)) => {
            th.t += MS;
            sim.recv(th, 34, &answer(&asked, flags, data));
        }
        Err(silent_ns) => th.t += silent_ns,
    }
    sim.close(th, 34, Class::Dns);
}

fn ptr(n: u64) -> String {
    format!("{n}.0.77.10.in-addr.arpa")
}

/// The reverse lookup, with its rule, at one server.
fn ask_ptr(sim: &mut Sim, th: &mut Thread, server: &str, n: u64, outcome: Result<(u16, Option<&str>), u64>) {
    sim.rule(th, ALLOW, 2);
    ask(sim, th, server, (&ptr(n), dns::PTR), outcome);
}

/// The client of this number resets while it is queued: its address is gone when it is asked for.
fn reset_in_the_queue(sim: &mut Sim, th: &mut Thread) {
    let start = th.t;
    arrive(sim, th, 1, start);
    resolve(sim, th, 1, false, 300 * MS);
    admit(sim, th, GREETING);
    sim.state(start + 100 * MS, 0x1002, addr("10.77.0.2:36002"), (1, 7), NETNS);
    arrive(sim, th, 2, start + 20 * MS);
    refuse(sim, th);
}

/// mysqld asks for the name itself, in the connection thread.
fn own_lookup(sim: &mut Sim, th: &mut Thread) {
    let at = th.t;
    arrive(sim, th, 1, at);
    sim.rule(th, ALLOW, 4);
    sim.close(th, 33, Class::File);
    sim.check(th, WHAT_HOSTS_ACCESS, 1, 1);
    let mut own = Thread { tid: 1001, conn: 1, t: th.t + 80_000 };
    sim.peer(&mut own, 101, 0);
    ask(sim, &mut own, NS1, (&ptr(1), dns::PTR), Err(0));
    let asked = query(7, &ptr(1), dns::PTR);
    sim.connect(&mut own, 35, addr(NS1), Class::Dns, false, 0, 12_000);
    sim.send(&mut own, 35, &asked);
    own.t += 400 * MS;
    sim.recv(&mut own, 35, &answer(&asked, 0, Some("c1.lan.example")));
    sim.close(&mut own, 35, Class::Dns);
    sim.first_packet(&mut own, 101, GREETING);
}

/// Five clients that no rule allows.
fn refused(sim: &mut Sim, th: &mut Thread) {
    for n in 1..=5 {
        let at = th.t + 30 * MS;
        arrive(sim, th, n, at);
        sim.rule(th, DENY, 1);
        refuse(sim, th);
    }
}

/// Two clients are in their checks, each in a process of its own, when a third comes: the server answers that itself.
fn as_many_as_it_takes(sim: &mut Sim, th: &mut Thread) {
    let children: Vec<Thread> = (1..=2)
        .map(|n| {
            accepted(sim, th, n);
            sim.fork(th, 500 + u32::try_from(n).unwrap())
        })
        .collect();
    th.t += MS;
    accepted(sim, th, 3);
    sim.first_packet(th, 5, *b"Exceede");
    for mut child in children {
        checks(sim, &mut child, "sshd", 800 * MS, 1);
        sim.first_packet(&mut child, 4, *b"SSH-2.0");
    }
}

/// Forty names, of which one takes 800 ms.
fn one_slow_name(sim: &mut Sim, th: &mut Thread) {
    for n in 1..=40 {
        let at = th.t + 30 * MS;
        arrive(sim, th, n, at);
        sim.rule(th, ALLOW, 2);
        let asked = query(7, &ptr(n), dns::PTR);
        sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 12_000);
        sim.send(th, 34, &asked);
        th.t += if n == 17 { 800 * MS } else { 300_000 };
        sim.recv(th, 34, &answer(&asked, 0, Some("c.lan.example")));
        sim.close(th, 34, Class::Dns);
        admit(sim, th, GREETING);
    }
}

/// hosts.allow is there and cannot be opened (EACCES): the client that it allows is refused.
fn unreadable(sim: &mut Sim, th: &mut Thread) {
    let peer = addr("10.77.0.1:36001");
    sim.established(th.t, 0x1001, peer);
    th.t += 20_000;
    sim.accept(th, 1, 101, Some(peer));
    sim.check(th, WHAT_HOSTS_ACCESS, 0, 0);
    sim.open(th, ALLOW, -13);
    sim.open(th, DENY, 33);
    sim.rule(th, DENY, 1);
    sim.close(th, 33, Class::File);
    sim.check(th, WHAT_HOSTS_ACCESS, 1, 0);
    sim.shutdown(th, 101);
    sim.close(th, 101, Class::Accepted);
}

/// Accepted and greeted, and nothing in between.
fn unchecked(sim: &mut Sim, th: &mut Thread) {
    let peer = addr("10.77.0.1:36001");
    sim.established(th.t, 0x1001, peer);
    th.t += 20_000;
    sim.accept(th, 1, 31, Some(peer));
    th.t += 40_000;
    let mut own = Thread { tid: 1001, conn: 1, t: th.t };
    sim.peer(&mut own, 31, 0);
    sim.first_packet(&mut own, 31, GREETING);
}

fn sample(queued: u32, overflows: u64, time_wait: u64) -> (ListenerSample, NetnsSample) {
    let netns = u64::from(NETNS);
    let listener = ListenerSample {
        pid: None,
        address: "0.0.0.0:3306".to_owned(),
        netns: Some(netns),
        queued,
        queue_limit: 80,
    };
    let counters = NetnsSample {
        netns,
        listen_overflows: Some(overflows),
        listen_drops: Some(overflows),
        syncookies_sent: None,
        time_wait: Some(time_wait),
        port_range: Some((32_768, 60_999)),
    };
    (listener, counters)
}

fn fast(sim: &mut Sim, th: &mut Thread, n: u64) {
    resolve(sim, th, n, false, 200_000);
}

/// Each finding, and a trace that shows it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn scenes() -> Vec<(FindingId, Scene)> {
    use FindingId as Id;
    let with = |scene: Scene, change: fn(&mut Scene)| {
        let mut scene = scene;
        change(&mut scene);
        scene
    };
    let crowd = || {
        Scene::played(|sim, th| {
            let start = th.t;
            for n in 1..=12 {
                arrive(sim, th, n, start);
                resolve(sim, th, n, false, 300 * MS);
                admit(sim, th, GREETING);
            }
        })
    };
    vec![
        (Id::AcceptThreadSaturated, crowd()),
        (
            Id::QueueOverflow,
            with(Scene::checks(fast), |s| s.samples = vec![sample(0, 3, 0), sample(81, 10, 0)]),
        ),
        (Id::ClientsGaveUp, Scene { records: turned_away(), ..Scene::default() }),
        (Id::FirstNameserverDead, Scene::checks(|sim, th, n| resolve(sim, th, n, true, 700_000))),
        (
            Id::NameserverSilent,
            Scene {
                resolv: "nameserver 10.77.53.1\n",
                ..Scene::checks(|sim, th, n| ask_ptr(sim, th, NS1, n, Err(5 * SEC)))
            },
        ),
        (Id::NameserverSlow, crowd()),
        (Id::NameserverRefusing, Scene::checks(|sim, th, n| ask_ptr(sim, th, NS2, n, Ok((5, None))))),
        (Id::DnsInAcceptPath, Scene::checks(fast)),
        (Id::NamesBeforeAddresses, Scene::checks(fast)),
        (Id::PtrMissing, Scene::checks(|sim, th, n| ask_ptr(sim, th, NS1, n, Ok((3, None))))),
        (
            Id::ForwardMismatch,
            Scene::checks(|sim, th, n| {
                ask_ptr(sim, th, NS1, n, Ok((0, Some("c1.lan.example"))));
                ask(sim, th, NS1, ("c1.lan.example", dns::A), Ok((0, Some("10.99.9.9"))));
            }),
        ),
        (
            Id::VerdictFlipped,
            Scene {
                allow: "# rules\nmysqld: .corp.example\n",
                ..Scene::played(|sim, th| {
                    let at = th.t;
                    arrive(sim, th, 1, at);
                    ask_ptr(sim, th, NS1, 1, Err(SEC));
                    ask(sim, th, NS2, (&ptr(1), dns::PTR), Err(SEC));
                    refuse(sim, th);
                })
            },
        ),
        (Id::RefusedUnknown, Scene::played(reset_in_the_queue)),
        (
            Id::IdentRule,
            Scene {
                allow: "# rules\n\n\nmysqld: bob@10.77.\n",
                ..Scene::checks(|sim, th, n| {
                    let client = addr(&format!("10.77.0.{n}:113"));
                    sim.connect(th, 34, client, Class::Ident, true, 0, MS);
                    sim.io(th, 34, Class::Ident, OP_READ, 30, 1_500 * MS);
                    sim.close(th, 34, Class::Ident);
                })
            },
        ),
        (
            Id::BlockingSpawn,
            Scene {
                allow: "# rules\n\n\nmysqld: 10.77.: spawn /usr/bin/notify %a\n",
                ..Scene::checks(|sim, th, _| {
                    sim.check(th, WHAT_SHELL_CMD, 0, 0);
                    sim.wait(th, 700 * MS);
                    sim.check(th, WHAT_SHELL_CMD, 1, 0);
                })
            },
        ),
        (
            Id::Twist,
            Scene {
                allow: "mysqld: .corp.example: twist /bin/echo go away\n",
                ..Scene::played(|sim, th| {
                    let at = th.t;
                    arrive(sim, th, 1, at);
                    sim.exec(th);
                })
            },
        ),
        (
            Id::SearchListQueries,
            Scene {
                resolv: "nameserver 10.77.53.1\nsearch corp.example\n",
                ..Scene::checks(|sim, th, n| {
                    ask_ptr(sim, th, NS1, n, Ok((0, Some("db1"))));
                    let no_such_name = Ok((3, None));
                    ask(sim, th, NS1, ("db1", dns::A), no_such_name);
                    ask(sim, th, NS1, ("db1.corp.example", dns::A), no_such_name);
                })
            },
        ),
        (Id::ServerOwnLookups, Scene::played(own_lookup)),
        (Id::TimeWaitNearPortRange, with(Scene::checks(fast), |s| s.samples = vec![sample(0, 0, 27_500)])),
        (Id::WrappedButNoRules, Scene { allow: "# none\n", deny: "", ..Scene::checks(|_, _, _| ()) }),
        (
            Id::NotWrapped,
            with(Scene::played(unchecked), |s| {
                let message = "libwrap is not mapped".to_owned();
                s.degradations =
                    vec![Degradation { kind: DegradationKind::NotWrapped, pid: Some(TGID), message }];
            }),
        ),
        (Id::ClientsRefused, Scene::played(refused)),
        (Id::ClientsDropped, Scene { program: "sshd", ..Scene::played(as_many_as_it_takes) }),
        (Id::NameSlow, Scene::played(one_slow_name)),
        (
            Id::SynCookies,
            with(Scene::checks(fast), |s| {
                let counted = |cookies, overflows| {
                    let (listener, counters) = sample(81, overflows, 0);
                    (listener, NetnsSample { syncookies_sent: Some(cookies), ..counters })
                };
                s.samples = vec![counted(3, 0), counted(9, 4)];
            }),
        ),
        (
            Id::AcceptsFailed,
            with(Scene::checks(fast), |s| {
                let error = |errno: &str, count| AcceptErrorSample {
                    pid: TGID,
                    errno: errno.to_owned(),
                    count,
                    first: Some(KtimeNs(10 * SEC)),
                    last: Some(KtimeNs(12 * SEC)),
                };
                s.accept_errors = vec![error("EAGAIN", 5_000), error("EMFILE", 412)];
            }),
        ),
        (Id::TableUnreadable, Scene::played(unreadable)),
        (Id::EventsLost, Scene { lost: 5, ..Scene::checks(fast) }),
    ]
}

fn shown(finding: &Finding) -> String {
    let facts: String = finding.evidence.facts.iter().map(|fact| format!("  - {fact}\n")).collect();
    let change = finding.change.as_deref().unwrap_or("nothing to change");
    let (id, severity) = (finding.id.name(), finding.severity);
    format!(
        "{id} ({severity:?}): {}\n{facts}  connections {:?}\n  → {change}\n\n",
        finding.message, finding.evidence.connections
    )
}

#[test]
fn whom_the_server_turned_away_while_nobody_was_in_a_check_is_not_laid_on_checks() {
    let scene = Scene {
        program: "sshd",
        ..Scene::played(|sim, th| {
            accepted(sim, th, 1);
            let mut child = sim.fork(th, 501);
            checks(sim, &mut child, "sshd", 10 * MS, 1);
            sim.first_packet(&mut child, 4, *b"SSH-2.0");
            th.t += SEC;
            accepted(sim, th, 2);
            sim.first_packet(th, 5, *b"Exceede");
        })
    };
    let findings = scene.report().findings;
    let found = findings.iter().find(|found| found.id == FindingId::ClientsDropped).unwrap();
    assert!(found.message.contains("No other client was seen in its check"), "{}", found.message);
    assert!(found.change.as_ref().unwrap().starts_with("Raise `MaxStartups`"), "{found:#?}");
}

#[test]
fn where_clients_waited_for_a_pool_it_says_how_many_it_has_and_what_bounds_it() {
    let facts = |threads: u32, program: &'static str| {
        let scene = Scene { program, records: in_a_pool(threads, 200 * MS), ..Scene::default() };
        found(scene.report(), FindingId::ServerOwnLookups).evidence.facts
    };
    let bound = |facts: &[String]| facts.iter().find(|fact| fact.contains("What bounds them")).cloned();
    let two = bound(&facts(2, "slapd")).unwrap();
    assert!(two.starts_with("at most 2 lookups at once") && two.ends_with("`olcThreads`"), "{two}");
    assert!(bound(&facts(1, "mysqld")).unwrap().contains("at most 1 lookup at once"));
    assert_eq!(bound(&facts(10, "slapd")), None, "nobody waited for another's");
}

#[test]
fn a_full_queue_of_a_unix_socket_drops_nobody() {
    let full = |path: &str| {
        let (listener, netns) = sample(80, 0, 0);
        let listener = ListenerSample { address: path.to_owned(), ..listener };
        Scene { samples: vec![sample(0, 0, 0), (listener, netns)], ..Scene::checks(fast) }.report()
    };
    let local = found(full("/run/mysqld/mysqld.sock"), FindingId::QueueOverflow);
    assert!(local.message.starts_with("The queue of a unix socket was full"), "{}", local.message);
    assert!(local.evidence.facts.contains(&"unix socket: at most 80 of 80 queued, by samples".to_owned()));
    let tcp = found(full("0.0.0.0:3306"), FindingId::QueueOverflow);
    assert!(tcp.message.contains("would have been dropped"), "{}", tcp.message);
}

#[test]
fn that_no_table_was_read_does_not_prove_that_there_is_no_check() {
    let report = Scene::played(unchecked).report();
    assert!(
        report.findings.iter().all(|finding| finding.id != FindingId::NotWrapped),
        "{:#?}",
        report.findings
    );
}

/// libwrap refuses where it cannot read hosts.deny.
#[test]
fn an_unreadable_hosts_deny_refuses() {
    let scene = Scene::played(|sim, th| {
        sim.established(th.t, 0x1001, addr("10.77.0.1:36001"));
        th.t += 20_000;
        sim.accept(th, 1, 101, Some(addr("10.77.0.1:36001")));
        sim.check(th, WHAT_HOSTS_ACCESS, 0, 0);
        sim.open(th, ALLOW, -2);
        sim.open(th, DENY, -13);
        sim.check(th, WHAT_HOSTS_ACCESS, 1, 0);
        sim.shutdown(th, 101);
        sim.close(th, 101, Class::Accepted);
    });
    let findings = scene.report().findings;
    let found: Vec<_> = findings.iter().filter(|found| found.id == FindingId::TableUnreadable).collect();
    assert_eq!(found.len(), 1, "{findings:#?}");
    assert!(
        found[0].message.contains("(EACCES) in 1 check: libwrap refused everybody"),
        "{}",
        found[0].message
    );
}

/// Five checks within three milliseconds leave nobody waiting.
#[test]
fn a_trace_of_a_moment_is_no_saturated_thread() {
    let scene = Scene::played(|sim, th| {
        for n in 1..=6_u64 {
            let peer = addr(&format!("10.77.0.{n}:36001"));
            sim.established(th.t, 0x1000 + n, peer);
            sim.accept(th, n, 31, Some(peer));
            sim.open(th, ALLOW, 33);
            th.t += 500_000;
            sim.close(th, 33, Class::File);
            let mut own = Thread { tid: 1000 + u32::try_from(n).unwrap(), conn: n, t: th.t };
            sim.peer(&mut own, 31, 0);
            sim.first_packet(&mut own, 31, GREETING);
        }
    });
    let findings = scene.report().findings;
    assert!(findings.iter().all(|found| found.id != FindingId::AcceptThreadSaturated), "{findings:#?}");
}

#[test]
fn the_line_to_write_is_a_number() {
    let scene = Scene {
        allow: "# rules\n\n\nmysqld: .corp.example 10.77.\n",
        ..Scene::checks(|sim, th, n| {
            sim.rule(th, ALLOW, 4);
            ask(sim, th, NS1, (&ptr(n), dns::PTR), Ok((3, None)));
        })
    };
    let finding = found(scene.report(), FindingId::NamesBeforeAddresses);
    let change = finding.change.unwrap();
    assert!(
        change.starts_with("In /etc/hosts.allow write line 4 as `mysqld: 10.77. .corp.example`"),
        "{change}"
    );
}

#[test]
fn a_cache_on_this_machine_is_not_told_to_be_put_before_itself() {
    let scene = Scene::played(|sim, th| {
        for n in 1..=4 {
            let at = th.t + 30 * MS;
            arrive(sim, th, n, at);
            sim.rule(th, ALLOW, 2);
            let asked = query(7, &ptr(n), dns::PTR);
            sim.connect(th, 34, addr("127.0.0.53:53"), Class::Dns, false, 0, 12_000);
            sim.send(th, 34, &asked);
            th.t += 400 * MS;
            sim.recv(th, 34, &answer(&asked, 0, Some("c.lan.example")));
            sim.close(th, 34, Class::Dns);
            admit(sim, th, GREETING);
        }
    });
    let change = found(scene.report(), FindingId::NameserverSlow).change.unwrap();
    assert!(
        change.contains("upstream") && change.contains("resolvectl") && !change.contains("nameserver 127"),
        "{change}"
    );
}

#[test]
fn skipping_names_is_a_row_where_the_server_asks_for_them_itself() {
    let rows = |scene: &Scene| scene.report().what_if;
    let skip = |rows: &[WhatIf]| rows.iter().any(|row| row.scenario == Scenario::SkipNameResolve);
    assert!(skip(&rows(&Scene::played(own_lookup))) && !skip(&rows(&Scene::checks(fast))));
}

#[test]
fn two_accept_threads_that_are_half_busy_are_no_saturated_one() {
    let scene = |wait_ns: u64| {
        Scene::played(|sim, first| {
            let mut second = Thread { tid: TGID + 1, ..*first };
            for n in 0..10 {
                for (th, conn) in [(&mut *first, 2 * n + 1), (&mut second, 2 * n + 2)] {
                    let at = th.t;
                    arrive(sim, th, conn, at);
                    resolve(sim, th, conn, false, wait_ns);
                    admit(sim, th, GREETING);
                    // A check every 100 ms.
                    th.t = at + 100 * MS;
                }
            }
        })
    };
    let saturated = |scene: &Scene| {
        let findings = scene.report().findings;
        findings.iter().any(|finding| finding.id == FindingId::AcceptThreadSaturated)
    };
    assert_eq!([20, 30, 45].map(|wait| saturated(&scene(wait * MS))), [false, false, true]);
}

#[test]
fn every_finding_has_a_trace_that_shows_it_and_a_change_to_make() {
    let (mut text, mut tried) = (String::new(), BTreeSet::new());
    for (id, scene) in scenes() {
        let trace = scene.trace();
        let found = found(report(&trace), id);
        text += &shown(&found);
        // What is asked for, when the record of an address is missing, is that address.
        if id != FindingId::PtrMissing {
            let text = shown(&found.without_names());
            let named = asked(&trace).into_iter().find(|name| text.contains(name));
            assert_eq!(named, None, "in {text}");
        }
        tried.insert(id.name());
    }
    let known = schemars::schema_for!(FindingId).to_value();
    let known =
        known["oneOf"].as_array().unwrap().iter().map(|one| one["const"].as_str().unwrap().to_owned());
    assert_eq!(tried, known.collect(), "a finding without a trace");
    insta::assert_snapshot!(text);
}

#[test]
fn only_mysqlds_texts_name_mysqld_and_its_settings() {
    let of_mysqld = [
        "mysqld",
        "mysql.user",
        "my.cnf",
        "skip_name_resolve",
        "back_log",
        "Got an error",
        "connection thread",
    ];
    let mut told = 0;
    for (id, scene) in scenes() {
        let report = Scene { program: "sshd", ..scene }.report();
        for finding in &report.findings {
            let text = shown(finding) + &report.verdict;
            assert!(!of_mysqld.iter().any(|word| text.contains(word)), "{id:?}: {text}");
            told += 1;
        }
        assert!(report.what_if.iter().all(|row| row.scenario != Scenario::SkipNameResolve), "{id:?}");
    }
    assert!(told > 20, "{told}");
    let own =
        found(Scene { program: "sshd", ..Scene::played(own_lookup) }.report(), FindingId::ServerOwnLookups);
    assert!(
        own.message.starts_with("sshd itself looked 1 client up before the first byte: UseDNS is on."),
        "{own:?}"
    );
}

#[test]
fn a_child_that_a_servers_own_handler_collects_is_no_command_of_a_rule() {
    let report = Scene::checks(|sim, th, _| sim.wait(th, 20_000)).report();
    assert!(
        report.findings.iter().all(|found| found.id != FindingId::BlockingSpawn),
        "{:?}",
        report.findings
    );
}

#[test]
fn who_never_speaks_first_keeps_nobody_waiting_for_that() {
    let is_greeting = |record: &Rec| {
        matches!(crate::decode::decode(&record.bytes), Ok(crate::decode::Event::FirstPacket(..)))
    };
    let gave_up = |program, greets: bool| {
        let mut records = turned_away();
        records.retain(|record| greets || !is_greeting(record));
        let report = Scene { program, records, ..Scene::default() }.report();
        report.findings.iter().any(|finding| finding.id == FindingId::ClientsGaveUp)
    };
    assert_eq!([true, false].map(|greets| gave_up("mysqld", greets)), [true, true]);
    assert_eq!([true, false].map(|greets| gave_up("syslog-ng", greets)), [true, false]);
}

#[test]
fn what_to_do_about_a_loss_fits_its_cause() {
    let change = |trace: &[u8]| found(report(trace), FindingId::EventsLost).change.unwrap();
    let parts = |change: &str| ["CPU", "Restart wrapwatch", "space"].map(|word| change.contains(word));
    let of = |lost, full| Scene { lost, full, ..Scene::checks(fast) }.trace();
    assert_eq!(parts(&change(&of(5, 0))), [true, false, false]);
    assert_eq!(parts(&change(&of(5, 5))), [false, true, false]);
    assert_eq!(parts(&change(&of(5, 2))), [true, true, false]);
    assert_eq!(parts(&change(&without_records(&of(0, 0)))), [false, false, true]);
    assert_eq!(parts(&change(&without_records(&of(5, 0)))), [true, false, true]);
}

#[test]
fn a_slow_nameserver_that_is_silent_now_and_then_is_slow_first() {
    let of = |silent: u64, slow: u64| {
        let script = |sim: &mut Sim, th: &mut Thread| {
            for n in 1..=silent + slow {
                let at = th.t + 30 * MS;
                arrive(sim, th, n, at);
                resolve(sim, th, n, n <= silent, 300 * MS);
                admit(sim, th, GREETING);
            }
        };
        let told = Scene::played(script).report();
        told.findings.into_iter().filter(|found| found.id.name().contains("nameserver")).collect::<Vec<_>>()
    };
    let told =
        |findings: &[Finding]| findings.iter().map(|found| (found.id, found.severity)).collect::<Vec<_>>();
    let dead = FindingId::FirstNameserverDead;
    // `resolve` has the second server answer after as long: it is slow as well.
    let slow = (FindingId::NameserverSlow, Severity::Critical);
    let both = of(1, 15);
    assert!(told(&both).starts_with(&[slow, (dead, Severity::Warning)]), "{both:#?}");
    let message = &both.iter().find(|found| found.id == dead).unwrap().message;
    assert_eq!(
        message,
        "The first nameserver, 10.77.53.1, left 2 of 32 queries unanswered: such a lookup waits 1.00 s for it before 10.77.53.2 is asked."
    );
    let mostly_silent = of(20, 2);
    assert_eq!(told(&mostly_silent)[0], (dead, Severity::Critical), "{mostly_silent:#?}");
}

#[test]
fn several_clients_that_gave_up_are_told_apart_from_one() {
    let impatient = |of: u64| {
        Scene::played(|sim, th| {
            let start = th.t;
            arrive(sim, th, 1, start);
            resolve(sim, th, 1, false, 300 * MS);
            admit(sim, th, GREETING);
            for n in 2..=of + 1 {
                let sock = 0x1000 + n;
                let peer = addr(&format!("10.77.0.{n}:{}", 36_000 + n));
                sim.state(start + n * 50 * MS, sock, peer, (1, 7), NETNS);
                arrive(sim, th, n, start + n * MS);
                refuse(sim, th);
            }
        })
    };
    let told = |of| {
        let finding = found(impatient(of).report(), FindingId::ClientsGaveUp);
        (finding.message, finding.evidence.facts[1].clone())
    };
    let behind = ", and the clients behind waited for that too.";
    let (one, when) = told(1);
    assert_eq!(one, format!("1 client gave up before the greeting; the server still checked it{behind}"));
    assert_eq!(when, "after 98 ms");
    let (two, when) = told(2);
    assert_eq!(two, format!("2 clients gave up before the greeting; the server still checked them{behind}"));
    assert_eq!(when, "the most impatient after 98 ms, the most patient after 147 ms");
}

#[test]
fn a_healthy_server_has_nothing_to_change() {
    let quiet = Scene {
        allow: "# rules\n\n\nmysqld: 10.77.\n",
        samples: vec![sample(0, 3, 500), sample(2, 3, 800)],
        ..Scene::checks(|_, _, _| ())
    };
    let report = quiet.report();
    assert_eq!(
        report.findings.iter().map(|finding| finding.id).collect::<Vec<_>>(),
        [],
        "{:#?}",
        report.findings
    );
}

#[test]
fn calls_that_the_kernel_left_out_are_told_by_the_connections_they_may_belong_to() {
    let told = |scene: Scene| {
        let findings = scene.report().findings;
        findings.into_iter().find(|finding| finding.id == FindingId::EventsLost)
    };
    let alone = told(Scene { skipped: 9, ..Scene::checks(fast) }).unwrap();
    assert!(alone.message.contains("during 3 connections"), "{alone:?}");
    assert_eq!(alone.change, None, "nothing that was lost for want of CPU: {alone:?}");
    let with_others = told(Scene { skipped: 9, lost: 5, ..Scene::checks(fast) }).unwrap();
    assert!(with_others.message.starts_with("5 events lost"), "{with_others:?}");
    assert!(with_others.evidence.facts.contains(&alone.message), "{with_others:?}");
    let nobody = Scene { skipped: 9, records: Vec::new(), ..Scene::default() };
    assert_eq!(told(nobody), None, "calls left out that concern no connection");
}

#[test]
fn a_server_without_rules_is_one_whose_own_tables_have_none() {
    let of = |scene: Scene| {
        let findings = scene.report().findings;
        findings.into_iter().find(|finding| finding.id == FindingId::WrappedButNoRules).map(|f| f.message)
    };
    let elsewhere = Scene {
        allow: "",
        deny: "# none\n",
        tables: ["/srv/db/clients.allow", "/srv/db/clients.deny"],
        ..Scene::checks(|_, _, _| ())
    };
    let message = of(elsewhere).unwrap();
    assert!(message.contains("/srv/db/clients.allow and /srv/db/clients.deny"), "{message}");
    let neighbour = Scene { neighbour: true, ..Scene::checks(|_, _, _| ()) };
    assert_eq!(of(neighbour), None, "what another server's tables lack");
}

#[test]
fn a_check_too_short_for_the_clock_is_a_check() {
    // As in a log of `strace -t`, which tells whole seconds.
    let tables = ["/srv/db/clients.allow", "/srv/db/clients.deny"];
    let played = Scene::played(|sim, th| {
        let (peer, accepted) = (addr("10.77.0.1:36001"), th.t);
        sim.established(accepted, 0x1001, peer);
        sim.accept(th, 1, 31, Some(peer));
        th.t -= 5_000;
        sim.open(th, tables[0], 33);
        th.t = accepted;
        sim.close(th, 33, Class::File);
        let mut own = Thread { tid: 1001, conn: 1, t: th.t };
        sim.first_packet(&mut own, 31, GREETING);
    });
    let report = Scene { tables, allow: "", deny: "", ..played }.report();
    assert_eq!(report.connections[0].wrapper_ns, 0);
    let found: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(found, [FindingId::WrappedButNoRules]);
}

/// A client is greeted at once by a process of its own, which looks it up a second later, at its login: the first nameserver does not answer.
fn looked_up_at_login(sim: &mut Sim, th: &mut Thread) {
    accepted(sim, th, 1);
    let mut child = sim.fork(th, 501);
    sim.first_packet(&mut child, 6, *b"hello\n\0");
    child.t += SEC;
    sim.subject(&mut child, 101, None, 1, true);
    ask(sim, &mut child, NS1, (&ptr(1), dns::PTR), Err(SEC));
    ask(sim, &mut child, NS2, (&ptr(1), dns::PTR), Ok((0, Some("c1.lan.example"))));
}

#[test]
fn who_is_looked_up_after_the_first_byte_is_among_the_slowest_and_proves_findings() {
    let report = Scene { program: "proftpd", ..Scene::played(looked_up_at_login) }.report();
    let slowest: Vec<_> = report.connections.iter().map(|told| (told.conn, told.within)).collect();
    assert_eq!(slowest, [(101, Some(1)), (1, None)], "{:#?}", report.connections);
    let of = |id| report.findings.iter().find(|found| found.id == id).unwrap_or_else(|| panic!("no {id:?}"));
    assert_eq!(of(FindingId::FirstNameserverDead).evidence.connections, [101]);
    let own = of(FindingId::ServerOwnLookups);
    assert!(own.message.contains("looked 1 client up after the first byte"), "{}", own.message);
}

#[test]
fn a_name_that_may_have_been_asked_for_anothers_sake_is_no_mismatch() {
    let script = |sim: &mut Sim, th: &mut Thread, _: u64| {
        ask_ptr(sim, th, NS1, 77, Ok((0, Some("c77.lan.example"))));
        ask(sim, th, NS1, ("c77.lan.example", dns::A), Ok((0, Some("10.77.0.77"))));
    };
    let found = |kinds: &[DegradationKind]| {
        let of =
            |kind: &DegradationKind| Degradation { kind: *kind, pid: Some(TGID), message: String::new() };
        let scene = Scene { degradations: kinds.iter().map(of).collect(), ..Scene::checks(script) };
        scene.report().findings.iter().any(|found| found.id == FindingId::ForwardMismatch)
    };
    assert_eq!((found(&[]), found(&[DegradationKind::ChecksUnseen])), (true, false));
}

#[test]
fn a_thread_that_checks_and_serves_keeps_those_waiting_whom_it_serves() {
    let found = |serves: bool| {
        let scene = Scene::played(|sim, th| {
            let at = th.t;
            arrive(sim, th, 1, at);
            fast(sim, th, 1);
            if serves {
                sim.rule(th, ALLOW, 4);
                sim.close(th, 33, Class::File);
                sim.check(th, WHAT_HOSTS_ACCESS, 1, 1);
                sim.first_packet(th, 101, GREETING);
            } else {
                admit(sim, th, GREETING);
            }
        });
        found(scene.report(), FindingId::DnsInAcceptPath).message
    };
    let others = "that thread serves nobody else";
    assert!(found(true).contains(others) && !found(false).contains(others), "{}", found(true));
}
