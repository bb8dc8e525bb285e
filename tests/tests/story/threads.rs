//! Both threads: who accepts and how, who takes over, who waits behind the same thread.

use wrapwatch::model::{Client, Connection, DegradationKind, Line, Outcome, VerdictKind};
use wrapwatch_tests::{
    clients::{self, ClientsSpec, Mode, Source},
    lab::{Files, ServerConfig},
    nameserver::Rule,
};

use crate::stage::{Stage, resolv, usual};
use crate::support::MS;

/// A connection that was seen whole, handed over and greeted.
fn assert_whole(connection: &Connection) {
    assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
    let (handover, greeting) = (connection.handover_ns.unwrap(), connection.greeting_ns.unwrap());
    assert!(connection.wrapper_ns + handover <= greeting, "{connection:#?}");
    assert_eq!(connection.lookups.len(), 2);
}

/// A value of the server's own counters.
fn status(stage: &Stage, name: &str) -> u64 {
    let sql =
        format!("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = '{name}'");
    let spec = ClientsSpec { source: Source::Unix, mode: Mode::Query { sql }, ..ClientsSpec::default() };
    let rows = stage.lab.clients(spec).unwrap().remove(0).rows;
    rows[0].as_ref().unwrap().parse().unwrap()
}

#[test]
fn a_new_thread_for_each_and_a_cached_one() {
    let mut stage = Stage::with(ServerConfig::options(["--thread-cache-size=0"]));
    let before = status(&stage, "THREADS_CREATED");
    for (_, connection) in stage.clients(ClientsSpec::one_by_one(3)) {
        assert_whole(&connection);
    }
    assert!(status(&stage, "THREADS_CREATED") >= before + 3, "each had a new thread");
    stage.end();
    let mut stage = Stage::with(ServerConfig::options(["--thread-cache-size=8"]));
    stage.one();
    let before = status(&stage, "THREADS_CREATED");
    for (_, connection) in stage.clients(ClientsSpec::one_by_one(3)) {
        assert_whole(&connection);
    }
    assert!(status(&stage, "THREADS_CREATED") <= before + 1, "they had cached ones");
    stage.end();
}

#[test]
fn a_thread_pool_takes_over() {
    let mut stage =
        Stage::with(ServerConfig::options(["--thread-handling=pool-of-threads", "--thread-pool-size=2"]));
    for (_, connection) in stage.clients(ClientsSpec { concurrency: 4, ..ClientsSpec::one_by_one(12) }) {
        assert_whole(&connection);
    }
    stage.end();
}

#[test]
fn who_waits_for_a_thread_of_a_pool_is_not_sent_elsewhere() {
    let options = ["--thread-handling=pool-of-threads", "--thread-pool-size=2"].map(str::to_owned);
    let server = ServerConfig {
        skip_name_resolve: false,
        grant_tables: true,
        options: options.into(),
        ..ServerConfig::default()
    };
    let mut stage = Stage::with(server);
    let mut files = resolv(&["10.1.1.53"], "");
    files.allow = Some("ALL: 10.\n".into());
    files.deny = Some("ALL: ALL\n".into());
    stage.files(files);
    stage.rules([Rule::delay(400)]);
    let told = stage.clients(ClientsSpec::at_once(10));
    for (client, connection) in &told {
        assert!(connection.complete, "{connection:#?}");
        // What is neither its own lookup, nor another's before it, nor unknown, is next to nothing.
        let explained = connection.resolve_ns + connection.handover_resolve_ns + connection.unknown_ns;
        let rest = connection.waited_ns.saturating_sub(explained);
        assert!(
            rest < 100 * MS && connection.resolve_ns >= 400 * MS,
            "{} {connection:#?}",
            client.waited_ns()
        );
    }
    assert!(
        told.iter().any(|(_, connection)| connection.handover_ns.unwrap() > 200 * MS),
        "none had to wait"
    );
    let summary = stage.end();
    let summary = summary.summary().unwrap();
    assert!(
        matches!(summary.verdict_kind, VerdictKind::ServerLookups | VerdictKind::CannotTell),
        "{summary:#?}"
    );
    assert!(summary.waiting.handover_ns * 20 < summary.waiting.total_ns, "{summary:#?}");
}

#[test]
fn a_server_that_calls_accept_instead_of_accept4() {
    let mut stage = Stage::with(ServerConfig::default().env("WRAP_ACCEPT", "plain"));
    for (_, connection) in stage.clients(ClientsSpec::one_by_one(3)) {
        assert_whole(&connection);
    }
    stage.end();
}

#[test]
fn extra_port_is_served_by_the_same_thread() {
    let mut stage = Stage::with(ServerConfig::options(["--extra-port=3307", "--extra-max-connections=3"]));
    stage.rules([Rule::delay(400).qtype("PTR")]);
    stage.lab.take_dns_log().unwrap();
    let first = stage.lab.begin_clients(ClientsSpec::default()).unwrap();
    wrapwatch_tests::wait_for("the first client's query", || Ok(!stage.lab.dns_log()?.is_empty())).unwrap();
    let extra = stage.clients(ClientsSpec { port: 3307, ..ClientsSpec::default() }).remove(0).1;
    let first = stage.told(first.wait().unwrap()).remove(0).1;
    assert_eq!(extra.local.unwrap().port(), 3307, "{extra:#?}");
    assert_eq!(first.local.unwrap().port(), 3306);
    assert_eq!(extra.tid, first.tid);
    assert_whole(&extra);
    assert_eq!(extra.queued_behind, [first.conn], "it waited behind the other port's client");
    assert!(extra.queued_ns.unwrap() > 100 * MS);
    stage.end();
}

#[test]
fn a_unix_socket_client_is_not_checked_and_waits_behind_the_same_thread() {
    let mut stage = usual();
    stage.rules([Rule::delay(400).qtype("PTR")]);
    stage.lab.take_dns_log().unwrap();
    let slow = stage.lab.begin_clients(ClientsSpec::default()).unwrap();
    wrapwatch_tests::wait_for("the first client's query", || Ok(!stage.lab.dns_log()?.is_empty())).unwrap();
    let unix = ClientsSpec { source: Source::Unix, ..ClientsSpec::default() };
    let client = stage.lab.clients(unix).unwrap().remove(0);
    assert_eq!(client.outcome, clients::Outcome::Greeting);
    assert!(client.waited_ns() > 100 * MS, "it waited for the TCP client's check");
    let slow = stage.told(slow.wait().unwrap()).remove(0).1;
    let unix = stage.line(|line| match line {
        Line::Connection(c) if c.peer == Some(Client::Unix) && c.accepted > slow.accepted => {
            Some((**c).clone())
        }
        _ => None,
    });
    assert_eq!((unix.outcome, unix.wrapper_ns, unix.tid), (Outcome::Greeted, 0, slow.tid), "{unix:#?}");
    assert!(unix.complete && unix.lookups.is_empty(), "{unix:#?}");
    // Not every kernel allows the hook for it.
    let Some(queued) = unix.queued_ns else {
        return stage.line(|line| match line {
            Line::Degradation(lost) if lost.kind == DegradationKind::NoLocalQueueTime => Some(()),
            _ => None,
        });
    };
    assert!(queued > 100 * MS && queued <= client.waited_ns(), "{unix:#?}");
    assert_eq!(unix.queued_behind, [slow.conn], "{unix:#?}");
}

#[test]
fn mysqlds_own_lookup_is_in_the_connection_thread_and_holds_nobody() {
    let server = ServerConfig { skip_name_resolve: false, ..ServerConfig::default() };
    // Names are looked up only where somebody is to be told apart by name.
    let mut stage = Stage::with(ServerConfig { grant_tables: true, ..server });
    let mut files = resolv(&["10.1.1.53"], "");
    files.allow = Some("ALL: 10.\n".into());
    files.deny = Some("ALL: ALL\n".into());
    stage.files(Files { ..files });
    stage.rules([Rule::delay(300)]);
    let told = stage.clients(ClientsSpec::at_once(3));
    for (_, connection) in &told {
        assert!(connection.resolve_ns >= 300 * MS, "{connection:#?}");
        assert_eq!(connection.parts.dns_ns, 0, "the check asked nothing");
        assert!(
            connection.queued_ns.unwrap() < 300 * MS,
            "nobody waited for another's lookup: {connection:#?}"
        );
    }
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert!(summary.waiting.resolve_ns >= 900 * MS && summary.waiting.dns_ns == 0, "{summary:#?}");
    assert!(summary.verdict.contains("own lookups explain"), "{}", summary.verdict);
}
