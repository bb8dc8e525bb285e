//! Ways of a check that are no query on port 53: caches behind unix sockets, files, ident, commands, syslog.

use wrapwatch::model::{
    Connection, Line, LookupKind, LookupOutcome, Missing, Outcome, QueryOutcome, StallCause, ThreadRole,
    Transport,
};
use wrapwatch_tests::{
    clients::{ClientsSpec, Source},
    lab::{Files, Ident, Lab, LabConfig, Namespace, ServerConfig, parts},
    nameserver::Rule,
    watch::Watch,
};

use crate::stage::{Stage, lookup, usual};
use crate::support::{MS, peer};

/// A client whose address is in no other test.
const KNOWN: [u8; 4] = [10, 3, 1, 1];

#[test]
fn nscd_is_asked_by_its_socket() {
    let nscd = parts::unpacked("usr/sbin/nscd").unwrap();
    let lab = Lab::start(LabConfig { start_server: false, ..LabConfig::default() }).unwrap();
    let mut files = Files::default();
    files.other.insert(
        "nscd.conf".into(),
        "enable-cache hosts yes\npersistent hosts no\nshared hosts no\npositive-time-to-live hosts 60\n"
            .into(),
    );
    lab.files(files).unwrap();
    let script = format!("mkdir -p /run/nscd && exec {}", nscd.display());
    let started = lab.exec(Namespace::Server, ["sh", "-c", &script]).unwrap();
    assert_eq!(started.status, Some(0), "{started:?}");
    wrapwatch_tests::wait_for("nscd's socket", || {
        Ok(lab.exec(Namespace::Server, ["test", "-S", "/run/nscd/socket"])?.status == Some(0))
    })
    .unwrap();
    let pid = lab.restart_server(None).unwrap();
    lab.rules([Rule::delay(150)]).unwrap();
    let sets = ["raw", "tracepoint"];
    let watches = sets.map(|hooks| Watch::live(["--hooks", hooks, "-p", &pid.to_string()]).unwrap());
    let first = lab.client().unwrap();
    let asked = lab.take_dns_log().unwrap().len();
    let again =
        ClientsSpec { source: Source::List(vec![first.source.unwrap().ip()]), ..ClientsSpec::default() };
    let again = lab.clients(again).unwrap().remove(0);
    let cached = lab.take_dns_log().unwrap().len();
    assert!(asked > 0 && cached == 0, "nscd asked {asked} times, and {cached} for what it knew");
    for watch in watches {
        let seen = watch.stop().unwrap();
        let slow = seen.of(&peer(&first)).unwrap();
        assert_eq!((slow.outcome, slow.complete), (Outcome::Greeted, true), "{slow:#?}");
        let queries: Vec<_> = crate::support::queries(slow).collect();
        assert!(!queries.is_empty());
        for query in &queries {
            assert_eq!(
                (query.transport, query.outcome),
                (Transport::Nscd, QueryOutcome::Answered),
                "{slow:#?}"
            );
            assert_eq!(&*query.server, "/var/run/nscd/socket");
        }
        let fast = seen.of(&peer(&again)).unwrap();
        for connection in [slow, fast] {
            // What it says of a host's name comes behind the answer's head, by `readv`.
            let outcomes: Vec<_> = connection.lookups.iter().map(|lookup| lookup.outcome).collect();
            assert_eq!(outcomes, [LookupOutcome::Found; 2], "{connection:#?}");
        }
        assert!(slow.parts.dns_ns >= 140 * MS, "{slow:#?}");
        assert!(fast.parts.dns_ns < slow.parts.dns_ns, "{fast:#?}");
    }
}

#[test]
fn systemds_nss_resolve_asks_a_stand_in_for_resolved() {
    let module = parts::unpacked("usr/lib/x86_64-linux-gnu/libnss_resolve.so.2").unwrap();
    let folder = module.parent().unwrap().display().to_string();
    let server = ServerConfig::default().env("LD_LIBRARY_PATH", folder);
    let nsswitch = "passwd: files\ngroup: files\nhosts: files resolve [!UNAVAIL=return] dns\n".to_owned();
    let files = Files { nsswitch: Some(nsswitch), ..Files::default() };
    let lab = Lab::start(LabConfig { server, files, ..LabConfig::default() }).unwrap();
    lab.resolved(120).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let client = lab.client().unwrap();
    assert!(lab.take_dns_log().unwrap().is_empty(), "no query goes to port 53");
    let seen = watch.stop().unwrap();
    let connection = seen.of(&peer(&client)).unwrap();
    assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
    assert!(connection.lookups.len() >= 2, "{connection:#?}");
    for query in crate::support::queries(connection) {
        assert_eq!((query.transport, query.outcome), (Transport::Resolved, QueryOutcome::Answered));
        assert!(query.rtt_ns.unwrap() >= 120 * MS, "{query:#?}");
    }
    // What it answered cannot be seen, and is not guessed.
    assert!(
        connection.lookups.iter().all(|lookup| lookup.outcome == LookupOutcome::Answered),
        "{connection:#?}"
    );
    assert!(connection.parts.dns_ns >= 220 * MS);
}

#[test]
fn a_client_in_etc_hosts_costs_files_and_no_query() {
    // A server of its own: glibc tries nscd at a process' first lookup, and then not for a hundred.
    let mut stage = Stage::with(ServerConfig::default());
    let hosts = format!("127.0.0.1 localhost\n{} known.lab.example\n", std::net::Ipv4Addr::from(KNOWN));
    stage.files(Files { hosts: Some(hosts), ..Files::default() });
    stage.lab.take_dns_log().unwrap();
    let clients =
        stage.clients(ClientsSpec { source: Source::List(vec![KNOWN.into()]), ..ClientsSpec::default() });
    let (_, connection) = &clients[0];
    assert!(stage.lab.take_dns_log().unwrap().is_empty());
    assert_eq!((connection.outcome, connection.lookups.len()), (Outcome::Greeted, 0), "{connection:#?}");
    let hosts = connection.files.iter().find(|file| &*file.path == "/etc/hosts").unwrap();
    assert!(hosts.reads >= 2 && hosts.bytes > 0, "read for the name and for the address: {hosts:?}");
    assert_eq!(connection.parts.dns_ns, 0);
    // What is none of the categories is named: glibc tries nscd before anything else.
    let other: Vec<&str> = connection.other.iter().map(|other| other.what.as_str()).collect();
    assert_eq!(other, ["/var/run/nscd/socket"]);
    let rule = connection.rule.as_ref().unwrap();
    assert_eq!((&*rule.file, rule.line), ("/etc/hosts.allow", 1), "the rule that forced the lookup");
}

#[test]
fn ident_is_told_with_its_answer() {
    let mut stage = usual();
    stage.files(Files::tables("ALL: alice@ALL\n", "ALL: ALL\n"));
    stage.lab.ident(Some(Ident { after_ms: 130, user: Some("alice".into()) })).unwrap();
    let (client, connection) = stage.one();
    assert_eq!(connection.outcome, Outcome::Greeted, "{connection:#?}");
    let ident = lookup(&connection, LookupKind::Ident);
    assert_eq!((ident.outcome, ident.thread), (LookupOutcome::Found, ThreadRole::Accept));
    let query = &ident.queries[0];
    assert_eq!(*query.server, format!("{}:113", client.source.unwrap().ip()));
    assert_eq!((query.transport, query.outcome), (Transport::Tcp, QueryOutcome::Answered));
    assert!(connection.parts.ident_ns >= 130 * MS && connection.parts.dns_ns == 0, "{connection:#?}");
    let rule = connection.rule.as_ref().unwrap();
    assert_eq!((&*rule.file, rule.line), ("/etc/hosts.allow", 1));
}

#[test]
fn an_ident_nobody_answers_lasts_until_its_time_out() {
    let mut stage = usual();
    // Later than libwrap waits: the option's one second.
    stage.files(Files::tables("ALL: ALL: rfc931 1: allow\n", "ALL: ALL\n"));
    stage.lab.ident(Some(Ident { after_ms: 4_000, user: None })).unwrap();
    let (_, connection) = stage.one();
    let ident = lookup(&connection, LookupKind::Ident);
    assert_eq!(ident.outcome, LookupOutcome::Failed, "{connection:#?}");
    assert_ne!(ident.queries[0].outcome, QueryOutcome::Answered, "{connection:#?}");
    assert!(connection.parts.ident_ns >= 1_000 * MS, "{connection:#?}");
    assert_eq!(connection.outcome, Outcome::Greeted);
}

#[test]
fn an_ident_port_that_is_closed_is_refused_at_once() {
    let mut stage = usual();
    stage.files(Files::tables("ALL: ALL: rfc931 1: allow\n", "ALL: ALL\n"));
    let (_, connection) = stage.one();
    let ident = lookup(&connection, LookupKind::Ident);
    assert_eq!(ident.outcome, LookupOutcome::Failed);
    assert_eq!(ident.queries[0].outcome, QueryOutcome::Unreachable, "{connection:#?}");
    assert_eq!(connection.outcome, Outcome::Greeted);
}

#[test]
fn a_spawned_command_is_waited_for_unless_it_goes_on_by_itself() {
    let mut stage = usual();
    stage.files(Files::tables("ALL: ALL: spawn (sleep 0.4)\n", "ALL: ALL\n"));
    let (_, connection) = stage.one();
    assert!(connection.parts.spawn_ns >= 400 * MS, "{connection:#?}");
    assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true));
    assert!(connection.wrapper_ns - connection.parts.spawn_ns < 400 * MS);
    stage.files(Files::tables("ALL: ALL: spawn (sleep 5) &\n", "ALL: ALL\n"));
    let (_, connection) = stage.one();
    assert!(connection.wrapper_ns < 5_000 * MS, "nobody waits for that one: {connection:#?}");
    assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true));
}

#[test]
fn twist_replaces_the_server_and_ends_the_trace() {
    let lab = Lab::start(LabConfig {
        files: Files::tables("ALL: ALL: twist /bin/echo go away\n", "ALL: ALL\n"),
        ..LabConfig::default()
    })
    .unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let client = lab.client().unwrap();
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0));
    assert!(seen.stderr.contains("replaced") && seen.stderr.contains("exited"), "{}", seen.stderr);
    let connection = seen.of(&peer(&client)).unwrap();
    assert!(!connection.complete, "{connection:#?}");
    assert!(connection.missing.contains(&Missing::ServerReplaced), "{connection:#?}");
    assert_eq!(connection.outcome, Outcome::Unfinished);
    let rule = connection.verdict_rule.as_ref().or(connection.rule.as_ref());
    assert!(rule.is_none_or(|rule| rule.line == 1), "{connection:#?}");
    assert_eq!(seen.summary().unwrap().connections, 1);
}

#[test]
fn a_syslog_that_blocks_is_syslog() {
    let mut stage = usual();
    stage.files(Files::tables("", "ALL: ALL\n"));
    stage.lab.freeze_syslog(true).unwrap();
    let client = stage.lab.begin_clients(ClientsSpec::default()).unwrap();
    let stall = stage.line(|line| match line {
        Line::Stall(stall) if stall.cause == StallCause::Syslog => Some(stall.clone()),
        _ => None,
    });
    assert!(stall.blocked_ns >= 100 * MS);
    stage.lab.freeze_syslog(false).unwrap();
    let client = client.wait().unwrap();
    let told: Vec<(_, Connection)> = stage.told(client);
    let (_, connection) = &told[0];
    assert_eq!(connection.outcome, Outcome::Refused, "{connection:#?}");
    assert!(connection.parts.syslog_ns >= stall.blocked_ns, "{connection:#?}");
    assert_eq!(connection.parts.dns_ns, 0);
    assert_eq!(connection.blame[0].cause, StallCause::Syslog, "{connection:#?}");
}
