//! The wrapper check in the server: real tables, real libwrap, real resolver.

use anyhow::Result;
use wrapwatch_tests::clients::{ClientsSpec, Mode, Outcome, Source};
use wrapwatch_tests::lab::{Files, Lab, LabConfig, Program, ServerConfig, Write};
use wrapwatch_tests::nameserver::{Rule, zone};
use wrapwatch_tests::wait_for;

const MS: u64 = 1_000_000;

#[test]
fn a_client_whose_name_is_allowed_is_greeted() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    let client = lab.client()?;
    assert_eq!(client.outcome, Outcome::Greeting);
    assert!(client.version.as_ref().is_some_and(|version| version.contains("MariaDB")), "{client:?}");
    let address = client.source.expect("a TCP client has an address").ip();
    let asked: Vec<_> = lab.take_dns_log()?.into_iter().map(|entry| (entry.qtype, entry.qname)).collect();
    let reverse = ("PTR".to_owned(), zone::reverse_name(address));
    let forward = ("A".to_owned(), zone::name_of(address));
    assert_eq!(asked, [reverse, forward], "one reverse and one forward lookup, and nothing else");
    Ok(())
}

#[test]
fn an_ipv6_client_is_checked_too() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.files(Files::resolv("nameserver fd00:1:1::53\n"))?;
    let clients = lab.clients(ClientsSpec { source: Source::Own6, ..ClientsSpec::default() })?;
    assert_eq!(clients[0].outcome, Outcome::Greeting, "{clients:?}");
    let asked: Vec<_> =
        lab.take_dns_log()?.into_iter().map(|entry| (entry.qtype, entry.server.to_string())).collect();
    let server = "fd00:1:1::53".to_owned();
    assert_eq!(asked, [("PTR".to_owned(), server.clone()), ("AAAA".to_owned(), server)]);
    Ok(())
}

#[test]
fn slow_names_are_what_the_client_waits_for() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.rules([Rule::delay(300)])?;
    let client = lab.client()?;
    assert_eq!(client.outcome, Outcome::Greeting);
    let waited = client.waited_ns();
    assert!((600 * MS..1_200 * MS).contains(&waited), "two lookups of 300 ms: {waited} ns");
    let connect = client.t_connected_ns.expect("it was greeted") - client.t_connect_called_ns;
    assert!(connect < 300 * MS, "the kernel connects without the server: {connect} ns");
    Ok(())
}

#[test]
fn a_dead_first_nameserver_costs_its_time_out_twice() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.files(Files::resolv("nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1\n"))?;
    lab.rules([Rule::silent().at([10, 1, 1, 53])])?;
    let client = lab.client()?;
    assert_eq!(client.outcome, Outcome::Greeting);
    let waited = client.waited_ns();
    assert!((2_000 * MS..2_900 * MS).contains(&waited), "{waited} ns");
    let log = lab.take_dns_log()?;
    let asked: Vec<_> = log
        .iter()
        .map(|entry| (entry.server.to_string(), entry.qtype.as_str(), entry.replied_ns.is_some()))
        .collect();
    let (dead, alive) = ("10.1.1.53".to_owned(), "10.1.1.54".to_owned());
    let expected =
        [(dead.clone(), "PTR", false), (alive.clone(), "PTR", true), (dead, "A", false), (alive, "A", true)];
    assert_eq!(asked, expected);
    Ok(())
}

#[test]
fn a_refused_client_sees_an_orderly_end_and_no_byte() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.files(Files::tables("", "ALL: .lab.example\n"))?;
    // More than the server's retries of an interrupted accept, so that a refusal is seen not to count as one.
    let clients = lab.clients(ClientsSpec::at_once(60))?;
    for client in &clients {
        assert_eq!((client.outcome, client.t_first_byte_ns), (Outcome::Closed, None), "{client:?}");
    }
    let said = lab.take_syslog()?;
    assert_eq!(said.len(), clients.len());
    for client in &clients {
        let name = zone::name_of(client.source.expect("it was connected").ip());
        let line = format!("mariadbd: refused connect from {name}");
        // <36>: LOG_AUTH, LOG_WARNING.
        let found = said.iter().any(|said| said.starts_with("<36>") && said.ends_with(&line));
        assert!(found, "{line:?} is not in {said:?}");
    }
    assert!(!lab.server_log()?.contains("rror in accept"), "{}", lab.server_log()?);
    let errors = lab.clients(ClientsSpec {
        source: Source::Unix,
        mode: Mode::Query {
            sql: "SHOW GLOBAL STATUS WHERE Variable_name = 'Connection_errors_accept' AND Value > 0".into(),
        },
        ..ClientsSpec::default()
    })?;
    assert_eq!((errors[0].outcome, errors[0].rows.len()), (Outcome::Greeting, 0), "{errors:?}");
    Ok(())
}

#[test]
fn a_unix_client_is_not_checked_but_waits_for_the_same_thread() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    lab.files(Files::tables("", "ALL: ALL\n"))?;
    let unix = ClientsSpec { source: Source::Unix, ..ClientsSpec::default() };
    assert_eq!(lab.clients(unix.clone())?[0].outcome, Outcome::Greeting);
    lab.files(Files::tables("ALL: .lab.example\n", ""))?;
    lab.rules([Rule::delay(400)])?;
    let slow = lab.begin_clients(ClientsSpec::default())?;
    // Its first query shows that its check has begun.
    wait_for("the first query", || Ok(!lab.dns_log()?.is_empty()))?;
    let waited = lab.clients(unix)?[0].waited_ns();
    assert!(waited > 200 * MS, "{waited} ns");
    assert_eq!(slow.wait()?[0].outcome, Outcome::Greeting);
    Ok(())
}

#[test]
fn the_daemon_goes_by_its_name() -> Result<()> {
    for (program, daemon, name) in [
        (Program::Mariadbd, None, "mariadbd"),
        (Program::Mysqld, None, "mysqld"),
        (Program::Mariadbd, Some("db".to_owned()), "db"),
    ] {
        let server = ServerConfig { program, daemon, ..ServerConfig::default() };
        let files = Files::tables(format!("{name}: 10.2.0.0/255.254.0.0\n"), "ALL: ALL\n");
        let lab = Lab::start(LabConfig { server, files, ..LabConfig::default() })?;
        assert_eq!(lab.client()?.outcome, Outcome::Greeting, "{name}");
        lab.files(Files::tables("another: ALL\n", "ALL: ALL\n"))?;
        assert_eq!(lab.client()?.outcome, Outcome::Closed, "{name}");
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", lab.server_pid()?))?;
        let expected = if program == Program::Mysqld { "mysqld" } else { "mariadbd" };
        assert_eq!(comm.trim_end(), expected);
    }
    Ok(())
}

#[test]
fn a_server_without_libwrap_asks_nobody() -> Result<()> {
    let server = ServerConfig { wrapped: false, ..ServerConfig::default() };
    let files = Files::tables("", "ALL: ALL\n");
    let lab = Lab::start(LabConfig { server, files, ..LabConfig::default() })?;
    assert_eq!(lab.client()?.outcome, Outcome::Greeting);
    assert_eq!(lab.take_dns_log()?, []);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", lab.server_pid()?))?;
    assert!(!maps.contains("libwrap.so"));
    Ok(())
}

#[test]
fn tables_change_while_it_runs_in_place_or_by_replacing() -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::start(LabConfig::default())?;
    let path = format!("/proc/{}/root/etc/hosts.allow", lab.server_pid()?);
    let inode = || std::fs::metadata(&path).map(|file| file.ino());
    let before = inode()?;
    lab.files(Files { how: Write::InPlace, ..Files::tables("ALL: .example.net\n", "ALL: ALL\n") })?;
    assert_eq!(inode()?, before);
    assert_eq!(lab.client()?.outcome, Outcome::Closed);
    lab.files(Files { how: Write::Replace, ..Files::tables("ALL: ALL\n", "ALL: ALL\n") })?;
    assert_ne!(inode()?, before);
    assert_eq!(lab.client()?.outcome, Outcome::Greeting);
    lab.files(Files { remove: vec!["hosts.allow".into()], ..Files::default() })?;
    assert_eq!(lab.client()?.outcome, Outcome::Closed, "a missing table is an empty one");
    assert_ne!(std::fs::read_to_string(&path).ok(), std::fs::read_to_string("/etc/hosts.allow").ok());
    Ok(())
}

#[test]
fn two_thousand_clients_are_two_thousand_names() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    let clients = lab.clients(ClientsSpec { concurrency: 20, ..ClientsSpec::one_by_one(2_000) })?;
    let failed: Vec<_> = clients.iter().filter(|client| client.outcome != Outcome::Greeting).collect();
    assert!(failed.is_empty(), "{} failed, first {:?}", failed.len(), failed.first());
    let mut names: Vec<_> = clients
        .iter()
        .filter_map(|client| client.source)
        .flat_map(|source| [zone::reverse_name(source.ip()), zone::name_of(source.ip())])
        .collect();
    let mut asked: Vec<_> = lab.take_dns_log()?.into_iter().map(|entry| entry.qname).collect();
    names.sort_unstable();
    asked.sort_unstable();
    assert_eq!(asked, names);
    Ok(())
}
