//! The server's own ways: options, errors, signals, being starved, being restarted.

use std::time::{Duration, Instant};

use anyhow::Result;
use wrapwatch_tests::clients::{ClientResult, ClientsSpec, LeaveBy, Mode, Outcome, Source};
use wrapwatch_tests::lab::{ExecResult, Files, Lab, LabConfig, Link, Namespace, ServerConfig, Signal};
use wrapwatch_tests::nameserver::Rule;
use wrapwatch_tests::{tshark, wait_for};

const MS: u64 = 1_000_000;

fn query(sql: &str) -> ClientsSpec {
    ClientsSpec { mode: Mode::Query { sql: sql.into() }, ..ClientsSpec::default() }
}

fn with(options: &[&str]) -> LabConfig {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    // Rules by address only: these tests are not about names.
    LabConfig {
        server: ServerConfig { options, ..ServerConfig::default() },
        files: Files::tables("ALL: ALL\n", ""),
        ..LabConfig::default()
    }
}

#[test]
fn a_client_can_log_in_and_ask() -> Result<()> {
    let lab = Lab::start(with(&[]))?;
    let client = &lab.clients(query("SELECT 'a literal' UNION SELECT NULL"))?[0];
    assert_eq!(client.outcome, Outcome::Greeting, "{client:?}");
    assert_eq!(client.rows, [Some("a literal".to_owned()), None]);
    let client = &lab.clients(query("SELECT nonsense"))?[0];
    assert_eq!((client.outcome, client.error_code), (Outcome::Error, Some(1054)));
    Ok(())
}

#[test]
fn too_many_connections_is_an_error_packet() -> Result<()> {
    let lab = Lab::start(with(&["--max-connections=10"]))?;
    let mode = Mode::Hold { ms: 1_000 };
    let clients = lab.clients(ClientsSpec { mode, ..ClientsSpec::at_once(30) })?;
    let count = |outcome, code| {
        clients.iter().filter(|client| (client.outcome, client.error_code) == (outcome, code)).count()
    };
    // One more than max_connections is let in, for an administrator.
    assert_eq!(count(Outcome::Greeting, None), 11, "{clients:?}");
    assert_eq!(count(Outcome::Error, Some(1040)), 19, "{clients:?}");
    Ok(())
}

#[test]
fn with_grant_tables_strangers_get_1130() -> Result<()> {
    let mut config = with(&[]);
    config.server.grant_tables = true;
    let lab = Lab::start(config)?;
    let client = lab.client()?;
    assert_eq!((client.outcome, client.error_code), (Outcome::Error, Some(1130)), "{client:?}");
    let root = lab.clients(ClientsSpec { source: Source::Unix, ..query("SELECT USER()") })?;
    assert_eq!(root[0].rows, [Some("root@localhost".to_owned())]);
    Ok(())
}

#[test]
fn the_server_itself_can_look_names_up() -> Result<()> {
    let mut config = with(&[]);
    config.server.grant_tables = true;
    config.server.skip_name_resolve = false;
    let lab = Lab::start(config)?;
    // At its start it asked for this machine's own name.
    lab.take_dns_log()?;
    lab.client()?;
    let asked: Vec<_> = lab.take_dns_log()?.into_iter().map(|entry| entry.qtype).collect();
    assert_eq!(asked.first().map(String::as_str), Some("PTR"), "{asked:?}");
    assert!(asked.iter().any(|qtype| qtype == "A"), "{asked:?}");
    Ok(())
}

#[test]
fn other_listeners_and_a_thread_pool() -> Result<()> {
    let lab = Lab::start(with(&[
        "--extra-port=3307",
        "--extra-max-connections=10",
        "--thread-handling=pool-of-threads",
    ]))?;
    for port in [3306, 3307] {
        let clients = lab.clients(ClientsSpec { port, ..ClientsSpec::at_once(5) })?;
        assert!(clients.iter().all(|client| client.outcome == Outcome::Greeting), "{port}: {clients:?}");
    }
    Ok(())
}

#[test]
fn a_stopped_server_makes_clients_wait() -> Result<()> {
    let lab = Lab::start(with(&[]))?;
    lab.signal(Signal::Stop)?;
    let impatient = ClientsSpec { timeout_ms: 300, ..ClientsSpec::default() };
    assert_eq!(lab.clients(impatient)?[0].outcome, Outcome::Timeout);
    let waiting = lab.begin_clients(ClientsSpec::default())?;
    lab.signal(Signal::Cont)?;
    assert_eq!(waiting.wait()?[0].outcome, Outcome::Greeting);
    Ok(())
}

#[test]
fn a_starved_server_is_slow_and_recovers() -> Result<()> {
    let lab = Lab::start(with(&[]))?;
    let policies = || -> Result<Vec<String>> {
        // Field 41 of stat(5); the name in field 2 has no blanks here.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", lab.server_pid()?))?;
        let stats = tasks.map(|task| Ok(std::fs::read_to_string(task?.path().join("stat"))?));
        let stats: Result<Vec<_>> = stats.collect();
        Ok(stats?.iter().filter_map(|stat| stat.split(' ').nth(40).map(str::to_owned)).collect())
    };
    let longest = |clients: &[ClientResult]| clients.iter().map(ClientResult::waited_ns).max().unwrap_or(0);
    // Also an idle thread that has slept for long is given a CPU for a few milliseconds: so many that this is not enough for them.
    let many = || ClientsSpec { concurrency: 40, ..ClientsSpec::one_by_one(400) };
    // Whatever else the machine does makes a round slower, never quicker: of three the quickest is what the server takes.
    let usually = || -> Result<u64> {
        let rounds: Result<Vec<_>> = (0..3).map(|_| Ok(longest(&lab.clients(many())?))).collect();
        Ok(rounds?.into_iter().min().unwrap_or(0))
    };
    let before = policies()?;
    let usual = usually()?;
    let burning = lab.begin_burn(4_000)?;
    wait_for("all threads are idle ones", || Ok(policies()?.iter().all(|policy| policy == "5")))?;
    let slow = lab.clients(many())?;
    burning.wait()?;
    assert!(slow.iter().all(|client| client.outcome == Outcome::Greeting));
    assert_eq!(policies()?.first(), before.first());
    let (starved, after) = (longest(&slow), usually()?);
    assert!(starved > 3 * usual.max(after), "{starved} ns, usually {usual}, afterwards {after}");
    Ok(())
}

#[test]
fn clients_can_give_up_by_fin_and_by_rst() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.rules([Rule::delay(500)])?;
    for (by, resets) in [(LeaveBy::Fin, "0"), (LeaveBy::Rst, "1")] {
        lab.start_capture(Link::Clients)?;
        let mode = Mode::GiveUp { after_ms: 100, by };
        let client = &lab.clients(ClientsSpec { mode, ..ClientsSpec::default() })?[0];
        assert_eq!((client.outcome, client.t_first_byte_ns), (Outcome::GaveUp, None));
        assert!((100 * MS..480 * MS).contains(&client.waited_ns()), "{client:?}");
        let path = lab.stop_capture(Link::Clients)?.path;
        let from = format!(
            "ip.src == {} and (tcp.flags.fin == 1 or tcp.flags.reset == 1)",
            client.source.expect("it was connected").ip()
        );
        // The first such packet: after a FIN, what the server still sends is answered by a reset.
        assert_eq!(tshark(&path, &from, &["tcp.flags.reset"])?.first(), Some(&vec![resets.to_owned()]));
    }
    Ok(())
}

#[test]
fn a_frozen_syslog_blocks_whoever_logs() -> Result<()> {
    let lab = Lab::start(LabConfig { files: Files::tables("", "ALL: ALL\n"), ..LabConfig::default() })?;
    lab.freeze_syslog(true)?;
    let impatient = ClientsSpec { timeout_ms: 400, ..ClientsSpec::default() };
    assert_eq!(lab.clients(impatient)?[0].outcome, Outcome::Timeout);
    lab.freeze_syslog(false)?;
    assert_eq!(lab.client()?.outcome, Outcome::Closed);
    let said = lab.take_syslog()?;
    assert_eq!(said.len(), 2, "{said:?}");
    Ok(())
}

#[test]
fn a_restarted_server_is_another_process() -> Result<()> {
    let lab = Lab::start(with(&[]))?;
    let before = lab.server_pid()?;
    let after = lab.restart_server(None)?;
    assert_ne!(before, after);
    assert_eq!(after, lab.server_pid()?);
    assert_eq!(lab.client()?.outcome, Outcome::Greeting);
    // A server that was killed is gone, not a zombie; one that was stopped can be restarted.
    lab.signal(Signal::Kill)?;
    wait_for("the server is gone", || Ok(!std::fs::exists(format!("/proc/{after}"))?))?;
    assert_eq!(lab.client()?.outcome, Outcome::ConnectFailed);
    assert!(lab.signal(Signal::Stop).is_err());
    lab.restart_server(None)?;
    lab.signal(Signal::Stop)?;
    lab.restart_server(None)?;
    assert_eq!(lab.client()?.outcome, Outcome::Greeting);
    Ok(())
}

#[test]
fn commands_run_where_they_are_told_and_not_for_ever() -> Result<()> {
    let lab = Lab::start(with(&[]))?;
    let place = |ns| lab.exec(ns, ["ip", "-o", "-4", "addr"]);
    for (ns, address) in [
        (Namespace::Server, "10.0.0.1/30"),
        (Namespace::Clients, "10.0.0.2/30"),
        (Namespace::Dns, "10.1.1.53/32"),
    ] {
        assert!(place(ns)?.stdout.contains(address), "{ns:?}");
    }
    let allow = lab.exec(Namespace::Server, ["cat", "/etc/hosts.allow"])?;
    assert_eq!((allow.stdout.as_str(), allow.status), ("ALL: ALL\n", Some(0)));
    let command = wrapwatch_tests::lab::Command::Exec {
        ns: Namespace::Clients,
        argv: ["sh", "-c", "echo begun; sleep 60 & wait"].map(str::to_owned).to_vec(),
        timeout_ms: 200,
    };
    let begun = Instant::now();
    let result: ExecResult = lab.begin(command)?.wait()?;
    assert!(begun.elapsed() < Duration::from_secs(10), "what the command started must not be waited for");
    assert_eq!((result.timed_out, result.stdout.as_str()), (true, "begun\n"));
    Ok(())
}
