//! The importer on real captures, in every form that strace could have printed them, and on what they do not hold.

mod acquittal;
mod story;
mod workers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use wrapwatch_common::records as abi;

use super::*;
use crate::decode::{Event as Record, decode};
use crate::model::{Degradation, DegradationKind};
use crate::trace::{Sample, Snapshot, SnapshotRole};

const A_FAST: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/a-fast.ttt.log");
const C_TIMEOUT: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/c-timeout.ttt.log");
const D_DENIED: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/d-denied.ttt.log");
const E2: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log");
const A_QUERIES: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/a-fast.queries.txt");
const C_QUERIES: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/c-timeout.queries.txt");
const D_QUERIES: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/d-denied.queries.txt");
const E2_QUERIES: &str =
    include_str!("../../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.queries.txt");
const ALL: [(&str, &str); 4] =
    [(A_FAST, A_QUERIES), (C_TIMEOUT, C_QUERIES), (D_DENIED, D_QUERIES), (E2, E2_QUERIES)];

#[derive(Debug, Default)]
struct Imported {
    head: Option<Head>,
    records: Vec<Vec<u8>>,
    snapshots: Vec<Snapshot>,
    samples: Vec<Sample>,
    degradations: Vec<Degradation>,
    stats: Stats,
}

impl Imported {
    fn events(&self) -> Vec<Record<'_>> {
        self.records.iter().map(|record| decode(record).unwrap()).collect()
    }
}

fn import_logs(logs: &[(Option<u32>, &str)], dates: Dates) -> Imported {
    let mut got = Imported::default();
    let open = || logs.iter().map(|(tid, text)| Log { tid: *tid, source: text.as_bytes() }).collect();
    let survey = super::survey(open()).unwrap();
    let mut importer = Importer::new(None, survey);
    super::import(&mut importer, open(), dates, &mut |input| match input {
        Input::Head(head) => {
            assert!(got.head.is_none() && got.records.is_empty(), "the head comes once, and first");
            got.head = Some(head.into_owned());
        }
        Input::Record(record) => got.records.push(record.to_vec()),
        Input::File(snapshot) => got.snapshots.push(snapshot.into_owned()),
        Input::Sample(sample) => got.samples.push(sample.into_owned()),
        Input::Degradation(degradation) => got.degradations.push(degradation.into_owned()),
        other => panic!("{other:?}"),
    })
    .unwrap();
    got.stats = importer.stats();
    got
}

fn import(text: &str) -> Imported {
    import_logs(&[(None, text)], Dates::default())
}

/// A DNS name as written in a message, without compression. No other code of wrapwatch is used on purpose.
fn qname(message: &[u8]) -> (String, u16) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] != 0 {
        let len = usize::from(message[at]);
        labels.push(String::from_utf8(message[at + 1..=at + len].to_vec()).unwrap());
        at += len + 1;
    }
    (labels.join("."), u16::from_be_bytes([message[at + 1], message[at + 2]]))
}

fn v4(addr: &abi::Addr) -> Ipv4Addr {
    Ipv4Addr::from(*addr.ip.last_chunk::<4>().unwrap())
}

/// `server id name type` of every query, the server from the socket's connect.
fn queries(events: &[Record<'_>]) -> Vec<(u64, String)> {
    let mut servers = BTreeMap::new();
    let mut out = Vec::new();
    for event in events {
        match event {
            Record::Connect(r, _) => drop(servers.insert(r.fd, format!("{}:{}", v4(&r.addr), r.addr.port))),
            Record::Send(r, bytes) => {
                let (name, qtype) = qname(bytes);
                let qtype = match qtype {
                    12 => "PTR",
                    1 => "A",
                    other => panic!("type {other}"),
                };
                let id = u16::from_be_bytes([bytes[0], bytes[1]]);
                assert_eq!(r.full_len as usize, bytes.len(), "nothing of these was cut");
                out.push((r.hdr.conn, format!("{} {id} {name} {qtype}", servers[&r.fd])));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn every_connection_and_query_of_the_captures_is_there() {
    for (log, expected) in ALL {
        let got = import(log);
        let mut lines = expected.lines();
        let accepts: u64 = lines.next().unwrap().strip_prefix("accepts ").unwrap().parse().unwrap();
        assert_eq!(got.stats.accepts, accepts);
        let events = got.events();
        let queries: Vec<String> = queries(&events).into_iter().map(|(_, query)| query).collect();
        assert_eq!(queries, lines.collect::<Vec<_>>());
        assert_eq!((got.stats.overflow, got.stats.cut_messages, got.stats.untimed_returns), (0, 0, 0));
    }
}

#[test]
fn a_query_is_on_the_connection_of_the_client_that_it_asks_for() {
    let got = import(E2);
    let events = got.events();
    let mut names = BTreeMap::new();
    for event in &events {
        if let Record::Accept(r) = event {
            let [a, b, c, d] = v4(&r.peer).octets();
            names.insert(r.hdr.conn, format!("{d}.{c}.{b}.{a}.in-addr.arpa PTR"));
        }
    }
    assert_eq!(names.len(), 20);
    let ptr = queries(&events).into_iter().filter(|(_, query)| query.ends_with("PTR"));
    for (conn, query) in ptr {
        assert!(query.ends_with(&names[&conn]), "conn {conn}: {query}");
    }
}

#[test]
fn every_connection_of_the_captures_has_its_story() {
    for (log, greeted, refused, answers) in
        [(A_FAST, 3, 0, 6), (C_TIMEOUT, 3, 0, 6), (D_DENIED, 0, 3, 6), (E2, 20, 0, 40)]
    {
        let got = import(log);
        let events = got.events();
        let count = |f: &dyn Fn(&Record<'_>) -> bool| events.iter().filter(|e| f(e)).count();
        assert_eq!(
            count(&|e| matches!(e, Record::FirstPacket(p) if p.n == 7 && p.bytes[4] == 0x0a)),
            greeted
        );
        assert_eq!(count(&|e| matches!(e, Record::Peer(_))), greeted, "hand-overs");
        assert_eq!(count(&|e| matches!(e, Record::Shutdown(_))), refused);
        assert_eq!(count(&|e| matches!(e, Record::Recv(..))), answers);
        let accepted = abi::Class::Accepted as u8;
        assert_eq!(count(&|e| matches!(e, Record::Close(c) if c.class == accepted)), refused);
        let opens = |path: &[u8]| count(&|e| matches!(e, Record::Open(r, p) if *p == path && r.ret >= 0));
        let accepts = greeted + refused;
        assert_eq!((opens(b"/etc/hosts.allow"), opens(b"/etc/hosts.deny")), (accepts, refused));
    }
}

#[test]
fn the_records_of_a_connection_are_counted_without_a_gap() {
    for (log, _) in ALL {
        let got = import(log);
        let mut last: BTreeMap<u64, u32> = BTreeMap::new();
        for event in got.events() {
            let hdr = event.header();
            assert!(hdr.conn > 0 && hdr.tgid == 24_516);
            let seq = last.entry(hdr.conn).or_default();
            *seq += 1;
            assert_eq!(hdr.seq, *seq, "{event:?}");
        }
    }
}

#[test]
fn times_are_those_of_the_log() {
    let got = import(A_FAST);
    let events = got.events();
    let head = got.head.as_ref().unwrap();
    let wall = |ns: u64| head.clock.wall(KtimeNs(ns)).to_string();
    let Record::Accept(accept) = events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(wall(accept.enter_ns), "2026-11-22T05:43:09.319115000Z");
    assert_eq!(wall(accept.hdr.ts_ns), "2026-11-22T05:43:09.319124000Z", "plus -T");
    assert_eq!((accept.fd, accept.listener, accept.peer.port), (31, 10, 60_563));
    let send = events.iter().find_map(|e| if let Record::Send(r, _) = e { Some(r) } else { None }).unwrap();
    assert_eq!(wall(send.hdr.ts_ns), "2026-11-22T05:43:09.321471000Z");
    assert_eq!(send.enter_ns, send.hdr.ts_ns);
    for pair in events.windows(2) {
        let (a, b) = (pair[0].header().ts_ns, pair[1].header().ts_ns);
        assert!(b + 1_000_000 > a, "no more out of order than strace's own cost");
    }
}

#[test]
fn the_head_says_what_strace_does_not_show() {
    let head = import(A_FAST).head.unwrap();
    assert_eq!(head.origin, Origin::Strace);
    assert_eq!(head.targets[0].pid, 24_516);
    assert_eq!(head.targets[0].listeners[0].address, "0.0.0.0:13306");
    let kinds: Vec<_> = head.degradations.iter().map(|d| d.kind).collect();
    assert!(kinds.contains(&DegradationKind::NoQueueTime) && kinds.contains(&DegradationKind::NoUprobes));
}

#[test]
fn tables_are_kept_as_they_were_read() {
    let got = import(D_DENIED);
    let text = |role| {
        let found: Vec<_> = got.snapshots.iter().filter(|s| s.meta.role == role).collect();
        assert_eq!(found.len(), 1, "once, as it did not change");
        assert!(!found[0].meta.truncated);
        String::from_utf8(found[0].bytes.clone()).unwrap()
    };
    assert_eq!(text(SnapshotRole::HostsDeny), "ALL: ALL\n");
    assert_eq!(text(SnapshotRole::Hosts), "127.0.0.1 localhost\n10.77.0.2 dbhost\n");
    let allow = text(SnapshotRole::HostsAllow);
    assert!(
        allow.ends_with("\nmysqld: .corp.example 192.168.0.0/255.255.0.0\nALL: localhost\nmysqld: 10.77.\n")
    );
    assert_eq!(allow.len(), 161);
}

/// The records without their times.
fn shape(got: &Imported) -> Vec<String> {
    let zero = |record: &[u8]| {
        let mut record = record.to_vec();
        let kind = u16::from_ne_bytes([record[28], record[29]]);
        record[..8].fill(0);
        if matches!(kind, 1..=6 | 12) {
            record[32..40].fill(0);
        }
        format!("{:?}", decode(&record).unwrap())
    };
    got.records.iter().map(|record| zero(record)).collect()
}

/// Rewrites every line of a capture: prefix (PID and time), rest.
fn rewrite(log: &str, f: impl Fn(&str, &str, &str) -> String) -> String {
    let lines = log.lines().map(|line| {
        let mut parts = line.splitn(3, ' ');
        f(parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap()) + "\n"
    });
    lines.collect()
}

/// Leaves `-T` out.
fn without_took(rest: &str) -> &str {
    match rest.rsplit_once(" <") {
        Some((call, took)) if took.ends_with('>') && took.as_bytes()[0].is_ascii_digit() => call,
        _ => rest,
    }
}

/// Leaves the remarks of `-yy` out, crudely: descriptors of captures hold no angle brackets but the arrow's.
fn without_notes(rest: &str) -> String {
    let mut out = String::new();
    let mut chars = rest.replace("->", "=").chars().collect::<Vec<_>>().into_iter().peekable();
    let mut last = ' ';
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if c == '"' && last != '\\' {
            quoted = !quoted;
        }
        if c == '<' && !quoted && (last.is_ascii_digit() || last == 'D') {
            let mut depth = 1;
            for c in chars.by_ref() {
                depth -= u32::from(c == '>');
                if depth == 0 {
                    break;
                }
            }
            last = '>';
            continue;
        }
        out.push(c);
        last = if last == '\\' && c == '\\' { ' ' } else { c };
    }
    out
}

#[test]
fn the_same_log_in_any_form_gives_the_same_records() {
    for (log, _) in ALL {
        let expected = shape(&import(log));
        assert!(expected.len() > 50);
        let day = |time: &str| {
            let (s, us) = time.split_once('.').unwrap();
            let s: u64 = s.parse::<u64>().unwrap() % 86_400;
            format!("{:02}:{:02}:{:02}.{us}", s / 3600, s / 60 % 60, s % 60)
        };
        let forms: [(&str, String); 7] = [
            ("-tt", rewrite(log, |pid, time, rest| format!("{pid} {} {rest}", day(time)))),
            ("terminal", rewrite(log, |pid, time, rest| format!("[pid {pid}] {time} {rest}"))),
            (
                "-ttt without -T",
                rewrite(log, |pid, time, rest| format!("{pid} {time} {}", without_took(rest))),
            ),
            (
                "-Y -i",
                rewrite(log, |pid, time, rest| format!("{pid}<mysqld> {time} [00007f0c5a3b1d2e] {rest}")),
            ),
            ("no -y", rewrite(log, |pid, time, rest| format!("{pid} {time} {}", without_notes(rest)))),
            ("-T only", rewrite(log, |pid, _, rest| format!("{pid} {rest}"))),
            ("-f only", rewrite(log, |pid, _, rest| format!("{pid} {}", without_took(rest)))),
        ];
        for (name, text) in forms {
            let got = shape(&import(&text));
            assert_eq!(got.len(), expected.len(), "{name}");
            for (i, (a, b)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(a, b, "{name}: record {i}");
            }
        }
    }
}

#[test]
fn relative_times_add_up() {
    let mut last = None;
    let mut text = String::new();
    for line in A_FAST.lines() {
        let mut parts = line.splitn(3, ' ');
        let (pid, time, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let us: u64 = time.replace('.', "").parse().unwrap();
        let since = us - last.unwrap_or(us);
        last = Some(us);
        writeln!(text, "{pid}      {}.{:06} {rest}", since / 1_000_000, since % 1_000_000).unwrap();
    }
    let dates = Dates { begin_ns: 1_795_326_189_316_837_000, midnight_ns: 0 };
    let got = import_logs(&[(None, &text)], dates);
    assert_eq!(got.records, import(A_FAST).records);
}

#[test]
fn a_file_for_each_thread_gives_the_same_records() {
    for (log, _) in ALL {
        let mut files: BTreeMap<u32, String> = BTreeMap::new();
        let mut begun: BTreeMap<u32, (String, String)> = BTreeMap::new();
        for line in log.lines() {
            let mut parts = line.splitn(3, ' ');
            let (pid, time, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let pid: u32 = pid.parse().unwrap();
            // In a file of its own no call is split.
            if let Some(call) = rest.strip_suffix("<unfinished ...>") {
                begun.insert(pid, (time.to_owned(), call.trim_end().to_owned()));
                continue;
            }
            let (time, rest) = match rest.strip_prefix("<... ").and_then(|r| r.split_once(" resumed>")) {
                Some((_, end)) => {
                    let (time, call) = begun.remove(&pid).unwrap();
                    (time, format!("{call}{end}"))
                }
                None => (time.to_owned(), rest.to_owned()),
            };
            writeln!(files.entry(pid).or_default(), "{time} {rest}").unwrap();
        }
        let logs: Vec<_> = files.iter().map(|(pid, text)| (Some(*pid), text.as_str())).collect();
        assert!(logs.len() > 1 || log == D_DENIED);
        let got = import_logs(&logs, Dates::default());
        assert_eq!(shape(&got), shape(&import(log)));
    }
}

/// A connection, with `check` between accept and the table's close.
fn connection(check: &str) -> Imported {
    let log = format!(
        "7 1.000000 accept4(10, {{sa_family=AF_INET, sin_port=htons(4000), sin_addr=inet_addr(\"10.0.0.9\")}}, [128 => 16], SOCK_CLOEXEC) = 31 <0.000010>\n\
         7 1.000100 openat(AT_FDCWD, \"/etc/hosts.allow\", O_RDONLY) = 33 <0.000010>\n\
         {check}\
         7 9.000000 close(33) = 0 <0.000010>\n"
    );
    let got = import(&log);
    assert!(matches!(got.events()[..2], [Record::Accept(_), Record::Open(..)]), "{got:?}");
    assert!(matches!(got.events().last(), Some(Record::Close(c)) if c.fd == 33), "{got:?}");
    got
}

fn inner(got: &Imported) -> Vec<Record<'_>> {
    let events = got.events();
    events[2..events.len() - 1].to_vec()
}

const UDP: &str = "7 1.001 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 34 <0.000010>\n\
    7 1.002 connect(34, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"10.0.0.53\")}, 16) = 0 <0.000010>\n";

#[test]
fn a_refused_nameserver_and_an_empty_socket() {
    let got = connection(&format!(
        "{UDP}7 1.003 sendto(34, \"abc\", 3, MSG_NOSIGNAL, NULL, 0) = 3 <0.000010>\n\
         7 1.004 recvfrom(34, 0x7f, 1024, 0, 0x7f, [28]) = -1 EAGAIN (Resource temporarily unavailable) <0.000010>\n\
         7 1.005 recvfrom(34, 0x7f, 1024, 0, 0x7f, [28]) = -1 ECONNREFUSED (Connection refused) <0.000010>\n\
         7 1.006 sendto(34, \"abc\", 3, MSG_NOSIGNAL, NULL, 0) = -1 ECONNREFUSED (Connection refused) <0.000010>\n"
    ));
    let events = inner(&got);
    let [Record::Connect(c, _), Record::Send(..), Record::Io(recv), Record::Send(..), Record::Io(send)] =
        events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((c.class, c.sock_type, c.addr.port), (abi::Class::Dns as u8, 2, 53));
    assert_eq!((recv.op, recv.ret, recv.class), (abi::OP_READ, -111, abi::Class::Dns as u8));
    assert_eq!((send.op, send.ret), (abi::OP_WRITE, -111));
}

#[test]
fn two_questions_in_one_sendmmsg_and_an_address_in_sendto() {
    let got = connection(&format!(
        "{UDP}7 1.003 sendmmsg(34, [{{msg_hdr={{msg_name=NULL, msg_namelen=0, msg_iov=[{{iov_base=\"A1\", iov_len=2}}], msg_iovlen=1, msg_controllen=0, msg_flags=0}}, msg_len=2}}, {{msg_hdr={{msg_name=NULL, msg_namelen=0, msg_iov=[{{iov_base=\"B22\", iov_len=3}}], msg_iovlen=1, msg_controllen=0, msg_flags=0}}, msg_len=3}}], 2, MSG_NOSIGNAL) = 2 <0.000010>\n\
         7 1.004 socket(AF_INET, SOCK_DGRAM, IPPROTO_IP) = 35 <0.000010>\n\
         7 1.005 sendto(35, \"xyz\", 3, 0, {{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"10.0.0.54\")}}, 16) = 3 <0.000010>\n"
    ));
    let events = inner(&got);
    let [_, Record::Send(a, b"A1"), Record::Send(b, b"B22"), Record::Connect(c, _), Record::Send(x, b"xyz")] =
        events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((a.index, b.index, b.full_len), (0, 1, 3));
    assert_eq!((c.fd, c.ret, v4(&x.addr)), (35, 0, Ipv4Addr::new(10, 0, 0, 54)));
}

#[test]
fn a_cut_message_says_how_long_it_was() {
    let got = connection(&format!(
        "{UDP}7 1.003 sendto(34, \"abc\"..., 40, MSG_NOSIGNAL, NULL, 0) = 40 <0.000010>\n"
    ));
    let events = inner(&got);
    let Record::Send(r, b"abc") = events[1] else { panic!("{events:?}") };
    assert_eq!((r.full_len, got.stats.cut_messages), (40, 1));
}

#[test]
fn dns_over_tcp_and_ident() {
    let got = connection(
        "7 1.001 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 34 <0.000010>\n\
         7 1.002 connect(34, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"10.0.0.53\")}, 16) = 0 <0.000010>\n\
         7 1.003 writev(34, [{iov_base=\"\\0\\3\", iov_len=2}, {iov_base=\"abc\", iov_len=3}], 2) = 5 <0.000010>\n\
         7 1.004 read(34, \"\\0\\2\", 2) = 2 <0.000010>\n\
         7 1.005 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 35 <0.000010>\n\
         7 1.006 connect(35, {sa_family=AF_INET, sin_port=htons(113), sin_addr=inet_addr(\"10.0.0.9\")}, 16) = -1 ECONNREFUSED (Connection refused) <0.100000>\n\
         7 1.007 close(35) = 0 <0.000010>\n",
    );
    let events = inner(&got);
    let [
        Record::Connect(..),
        Record::Send(s, b"\0\x03abc"),
        Record::Recv(_, b"\0\x02"),
        Record::Connect(i, _),
        Record::Close(_),
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((s.sock_type, i.class, i.ret), (1, abi::Class::Ident as u8, -111));
}

#[test]
fn a_spawned_command_is_not_the_server() {
    let got = connection(
        "7 1.001 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>\n\
         8 1.0011 close(31) = 0 <0.000010>\n\
         8 1.0012 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY) = 34 <0.000010>\n\
         7 1.0013 <... clone resumed>, child_tidptr=0x7f) = 8 <0.000300>\n\
         7 1.002 wait4(8,  <unfinished ...>\n\
         8 1.003 execve(\"/bin/sh\", [\"sh\"], 0x7f /* 2 vars */) = 0 <0.000010>\n\
         8 1.004 accept(10, NULL, NULL) = 77 <0.000010>\n\
         8 1.005 +++ exited with 0 +++\n\
         7 2.002 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 8 <1.000000>\n",
    );
    let events = inner(&got);
    let [Record::Wait(w)] = events[..] else { panic!("{events:?}") };
    assert_eq!((w.ret, w.hdr.ts_ns - w.enter_ns, got.stats.accepts), (8, 1_000_000_000, 1));
}

#[test]
fn a_client_that_was_gone_and_syslog() {
    let got = connection(
        "7 1.001 getpeername(31, 0x7f, [128]) = -1 ENOTCONN (Transport endpoint is not connected) <0.000010>\n\
         7 1.002 socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0) = 34 <0.000010>\n\
         7 1.003 connect(34, {sa_family=AF_UNIX, sun_path=\"/dev/log\"}, 110) = 0 <0.000010>\n\
         7 1.004 sendto(34, \"<36>refused\", 11, MSG_NOSIGNAL, NULL, 0) = 11 <0.200000>\n\
         7 1.005 shutdown(31, SHUT_RDWR) = 0 <0.000010>\n\
         7 1.006 close(31) = 0 <0.000010>\n",
    );
    let events = inner(&got);
    let [
        Record::Peer(p),
        Record::Connect(c, b"/dev/log"),
        Record::Io(io),
        Record::Shutdown(_),
        Record::Close(_),
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((p.ret, c.class, io.op, io.ret), (-107, abi::Class::Unix as u8, abi::OP_WRITE, 11));
    assert_eq!(io.hdr.ts_ns - io.enter_ns, 200_000_000);
}

#[test]
fn a_log_of_a_terminal_names_nobody_at_first() {
    let got = import(
        "1.000 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLDstrace: Process 8 attached\n\
         , child_tidptr=0x7f) = 8 <0.001>\n\
         [pid     8] 1.002 accept(3, NULL, NULL <unfinished ...>\n\
         [pid     7] 1.003 accept(10, {sa_family=AF_INET, sin_port=htons(4000), sin_addr=inet_addr(\"10.0.0.9\")}, [128 => 16]) = 31 <0.001>\n\
         [pid     7] 1.005 clone(flags=CLONE_VM|CLONE_THREADstrace: Process 9 attached\n\
          <unfinished ...>\n\
         [pid     9] 1.006 getpeername(31, 0x7f, [128]) = 0 <0.001>\n\
         [pid     7] 1.007 <... clone resumed>, child_tidptr=0x7f) = 9 <0.002>\n\
         [pid     8] 1.008 close(31) = 0 <0.001>\n",
    );
    let events = got.events();
    let [Record::Accept(a), Record::Peer(p)] = events[..] else { panic!("{events:?}") };
    assert_eq!((a.hdr.tgid, a.hdr.tid, p.hdr.tid, p.hdr.conn), (7, 7, 9, 1));
}

#[test]
fn a_log_that_begins_within_accept() {
    let got = import(
        "7 5.000000 <... accept resumed>{sa_family=AF_INET, sin_port=htons(4000), sin_addr=inet_addr(\"10.0.0.9\")}, [128 => 16]) = 31 <3.000000>\n\
         8 5.100000 sendto(31, \"J\\0\\0\\0\\n5.5.62\", 78, MSG_DONTWAIT, NULL, 0) = 78 <0.000010>\n\
         8 5.200000 sendto(31, \"secret\", 6, MSG_DONTWAIT, NULL, 0) = 6 <0.000010>\n",
    );
    let events = got.events();
    let [Record::Accept(a), Record::FirstPacket(p)] = events[..] else { panic!("{events:?}") };
    assert_eq!((a.listener, a.enter_ns, a.peer.port), (-1, 0, 4000));
    assert_eq!((p.n, p.full_len, &p.bytes), (7, 78, b"J\0\0\0\n5."));
    assert_eq!((got.stats.accepts, got.stats.orphans), (1, 1));
}

#[test]
fn nothing_of_a_session_is_kept() {
    let got = import(A_FAST);
    let all: Vec<u8> = got.records.concat();
    assert!(!all.windows(4).any(|w| w == b"root"), "the login packet");
}

#[test]
fn a_table_of_which_little_is_shown_is_cut_at_a_line() {
    let got = connection("7 1.001 read(33, \"a: b\\nc: d\"..., 4096) = 400 <0.000010>\n");
    assert_eq!(got.snapshots.len(), 1);
    assert_eq!(
        (got.snapshots[0].bytes.as_slice(), got.snapshots[0].meta.truncated),
        (b"a: b\n".as_slice(), true)
    );
}

proptest! {
    #[test]
    fn arbitrary_text_does_no_harm(text in "\\PC{0,400}") {
        import(&text);
    }

    #[test]
    fn a_line_of_strace_with_noise_in_it_does_no_harm(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        noise in "[\\[\\](){}<>\",\\\\0-9a-z= ?.-]{0,12}",
        cut in 0..20_usize,
    ) {
        let lines: Vec<&str> = E2.lines().collect();
        let i = which.index(lines.len());
        let mut line: Vec<u8> = lines[i].bytes().collect();
        let at = at.index(line.len());
        let end = (at + cut).min(line.len());
        line.splice(at..end, noise.bytes());
        let bad = String::from_utf8_lossy(&line).into_owned();
        let from = i.saturating_sub(40);
        let text: Vec<&str> = lines[from..i].iter().copied().chain([bad.as_str()]).chain(lines[i + 1..].iter().copied().take(40)).collect();
        import(&text.join("\n"));
    }
}
