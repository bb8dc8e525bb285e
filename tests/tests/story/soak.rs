//! Many connections, a few hosts, every fast fault there is: nothing lost, nothing on a wrong connection, memory flat.
//!
//! `WRAPWATCH_SOAK` says how many (5 000 where it is not set; 100 000 is a run by hand), `WRAPWATCH_SOAK_DEAD` how many with a dead first server, and
//! `WRAPWATCH_SOAK_SERVERS` by how many servers side by side, since each of them costs its server's only accept thread two seconds.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use wrapwatch::model::{Connection, Line};
use wrapwatch_tests::{
    clients::{ClientsSpec, Source},
    lab::{Files, Lab, LabConfig, Namespace},
    nameserver::{Rcode, Reply, Rule, Settings, Wrong},
    watch::Watch,
};

use crate::stage::words;
use crate::support::{NS1, NS2};

/// Clients' addresses: 10.2.0.1 and the following.
const HOSTS: u32 = 50;
/// Clients driven by one call.
const BATCH: usize = 5_000;
/// What resident memory may move by once it is flat: blocks of the allocator, and the pages of a line being written.
const FLAT_BYTES: u64 = 4 << 20;

fn scale(variable: &str, small: usize) -> usize {
    std::env::var(variable).ok().map_or(small, |text| text.parse().unwrap())
}

/// What the name of host `n` is answered with, by its number.
fn fault(n: u32) -> Option<Rule> {
    let name = format!("{n}.0.2.10.in-addr.arpa");
    let rule = match n % 6 {
        1 => Rule::replies([Reply::rcode(Rcode::NXDomain)]),
        // The second server's port is closed, the third one answers.
        2 => Rule::replies([Reply::rcode(Rcode::ServFail)]).at(NS1),
        3 => Rule::replies([Reply::truncated()]),
        4 => Rule::replies([Reply::default(), Reply::default()]),
        5 => Rule::replies([Reply::wrong(Wrong::Id), Reply::default()]),
        _ => return None,
    };
    Some(rule.name(name))
}

/// What such a host's connection asked, in words; a silent first answer comes before.
fn expected(n: u32) -> &'static [&'static str] {
    match n % 6 {
        1 => &["53 PTR NXDOMAIN"],
        2 => &["53 PTR SERVFAIL", "54 PTR unreachable", "55 PTR NOERROR", "53 A NOERROR"],
        3 => &["53 PTR NOERROR cut", "53 tcp PTR NOERROR", "53 A NOERROR"],
        _ => &["53 PTR NOERROR", "53 A NOERROR"],
    }
}

/// The last number of a client's address.
fn host(connection: &Connection) -> u32 {
    let Some(IpAddr::V4(ip)) = connection.peer.unwrap().ip() else { panic!("{connection:#?}") };
    assert_eq!(ip.octets()[..3], [10, 2, 0]);
    u32::from(ip.octets()[3])
}

/// Checks that a connection has its own queries and no other's.
fn check(connection: &Connection, silences: &mut usize) {
    assert_eq!(connection.parts.total(), connection.wrapper_ns);
    let n = host(connection);
    let (ptr, name) = (format!("{n}.0.2.10.in-addr.arpa"), format!("c-10-2-0-{n}.lab.example"));
    let mut asked = Vec::new();
    for lookup in &connection.lookups {
        for query in &lookup.queries {
            let qname = query.qname.as_deref().unwrap();
            assert!(qname == ptr || qname == name, "{qname} asked for {ptr}: {connection:#?}");
        }
        asked.extend(words(&lookup.queries));
    }
    let silent = asked.first().is_some_and(|query| query == "53 PTR timeout");
    // How many those are is judged at the end, with what the kernel side says it lost.
    if !connection.complete {
        eprintln!("incomplete: {} {:?}", connection.conn, connection.missing);
        return;
    }
    if silent {
        // Then the closed one, then the third.
        *silences += 1;
        return;
    }
    assert_eq!(asked, expected(n), "{connection:#?}");
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn fast_faults_at_the_highest_rate() {
    let count = scale("WRAPWATCH_SOAK", 5_000);
    let silent = (count / 2_000).clamp(1, 50);
    let files = Files {
        allow: Some("ALL: .lab.example\nALL: 10.\n".into()),
        resolv: Some(
            "nameserver 10.1.1.53\nnameserver 10.1.1.54\nnameserver 10.1.1.55\noptions timeout:1\n".into(),
        ),
        ..Files::default()
    };
    let lab = Lab::start(LabConfig { files, ..LabConfig::default() }).unwrap();
    // Otherwise most refusals would be silences (icmp(7)).
    let unlimited = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 1000000 > /proc/sys/net/ipv4/icmp_msgs_per_sec; true";
    lab.exec(Namespace::Dns, ["sh", "-c", unlimited]).unwrap();
    let silence = Rule::silent().at(NS1).name("6.0.2.10.in-addr.arpa").times(u32::try_from(silent).unwrap());
    let rules = std::iter::once(silence).chain((1..=HOSTS).filter_map(fault)).collect();
    lab.dns(Settings { rules: Some(rules), closed: Some(vec![NS2]), ..Settings::default() }).unwrap();
    let mut watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let (mut done, mut silences, mut by_host) = (0, 0, BTreeMap::<u32, usize>::new());
    let mut resident = Vec::new();
    let began = Instant::now();
    while done < count {
        let batch = BATCH.min(count - done);
        let spec = ClientsSpec {
            count: batch,
            concurrency: 16,
            source: Source::Distinct(HOSTS),
            ..ClientsSpec::default()
        };
        let clients = lab.begin_clients(spec).unwrap();
        done += batch;
        watch
            .each_until_connections(done, |line| {
                match line {
                    Line::Connection(connection) => {
                        check(connection, &mut silences);
                        *by_host.entry(host(connection)).or_default() += 1;
                    }
                    Line::Lost(lost) => eprintln!("{lost:?}"),
                    _ => {}
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(clients.wait().unwrap().len(), batch);
        lab.take_dns_log().unwrap();
        resident.push((done, resident_bytes(watch.id())));
    }
    let took = began.elapsed();
    let seen = watch.stop().unwrap();
    let summary = seen.summary().unwrap();
    let per_second = count as u128 * 1_000 / took.as_millis().max(1);
    println!(
        "{count} connections in {took:.1?}: {per_second} a second, {silences} with a silence; resident memory: {resident:?}"
    );
    assert_eq!((summary.lost, summary.lost_accepts, summary.incomplete), (0, 0, 0), "{summary:#?}");
    assert_eq!(summary.accepts, summary.connections);
    assert_eq!(summary.connections, count as u64);
    assert!(silences >= silent.min(50) && silences <= silent, "{silences}");
    assert_eq!(by_host.values().sum::<usize>(), count);
    assert_eq!(by_host.len(), HOSTS as usize);
    // Flat once everything that is remembered for a while is full: after the first 10 000.
    let settled: Vec<u64> = resident.iter().filter(|(n, _)| *n >= 10_000).map(|(_, bytes)| *bytes).collect();
    if let (Some(first), Some(most)) = (settled.first(), settled.iter().max()) {
        assert!(*most <= first + FLAT_BYTES, "{resident:?}");
    }
}

#[test]
fn a_dead_first_server_many_times() {
    let (count, servers) = (scale("WRAPWATCH_SOAK_DEAD", 24), scale("WRAPWATCH_SOAK_SERVERS", 3));
    let files = || Files::resolv("nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1\n");
    let labs: Vec<Lab> = (0..servers)
        .map(|_| Lab::start(LabConfig { files: files(), ..LabConfig::default() }).unwrap())
        .collect();
    let mut arguments = Vec::new();
    for lab in &labs {
        lab.rules([Rule::silent().at(NS1)]).unwrap();
        arguments.extend(["-p".to_owned(), lab.server_pid().unwrap().to_string()]);
    }
    let mut watch = Watch::live(arguments).unwrap();
    let each = count.div_ceil(servers);
    let began = Instant::now();
    let spec = ClientsSpec {
        // So few at once that nobody's patience ends.
        concurrency: 8,
        source: Source::Distinct(HOSTS),
        timeout_ms: 120_000,
        ..ClientsSpec::one_by_one(each)
    };
    let all: Vec<_> = labs.iter().map(|lab| lab.begin_clients(spec.clone()).unwrap()).collect();
    let mut told = BTreeMap::<u32, usize>::new();
    watch
        .each_until_connections(each * servers, |line| {
            if let Line::Connection(connection) = line {
                let asked: Vec<String> = connection.lookups.iter().flat_map(|l| words(&l.queries)).collect();
                let expected = ["53 PTR timeout", "54 PTR NOERROR", "53 A timeout", "54 A NOERROR"];
                assert_eq!(asked, expected, "{connection:#?}");
                check_names(connection);
                *told.entry(connection.pid).or_default() += 1;
            }
            Ok(())
        })
        .unwrap();
    all.into_iter().for_each(|clients| drop(clients.wait().unwrap()));
    let seen = watch.stop().unwrap();
    let summary = seen.summary().unwrap();
    println!("{} connections at {servers} servers in {:.0} s", each * servers, began.elapsed().as_secs_f64());
    assert_eq!((summary.lost, summary.incomplete), (0, 0), "{summary:#?}");
    assert_eq!(summary.accepts, (each * servers) as u64);
    assert!(told.len() == servers && told.values().all(|n| *n == each), "{told:?}");
}

fn check_names(connection: &Connection) {
    assert!(connection.complete, "{connection:#?}");
    let n = host(connection);
    let (ptr, name) = (format!("{n}.0.2.10.in-addr.arpa"), format!("c-10-2-0-{n}.lab.example"));
    let names = crate::support::queries(connection).map(|query| query.qname.as_deref().unwrap());
    assert!(names.into_iter().all(|asked| asked == ptr || asked == name), "{connection:#?}");
}
