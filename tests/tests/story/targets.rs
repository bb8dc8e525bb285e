//! Targets as they are: several, elsewhere, large, restarted.

use std::collections::BTreeSet;
use std::process::Command;

use wrapwatch::model::{Connection, Line, Outcome};
use wrapwatch_tests::{
    clients::{ClientsSpec, Mode, Source},
    lab::{Lab, LabConfig, ServerConfig},
    nameserver::Rule,
    wait_for,
    watch::{Watch, binary},
};

use crate::stage::{Stage, usual};
use crate::support::{MS, peer};

#[test]
fn two_servers_on_one_port_with_the_same_clients_in_two_network_namespaces() {
    let labs = [(), ()].map(|()| Lab::start(LabConfig::default()).unwrap());
    let pids = [0, 1].map(|n| labs[n].server_pid().unwrap());
    let watch =
        Watch::live(["-p".to_owned(), pids[0].to_string(), "-p".to_owned(), pids[1].to_string()]).unwrap();
    labs[0].rules([Rule::delay(250).qtype("PTR")]).unwrap();
    labs[1].rules([Rule::delay(150).qtype("A")]).unwrap();
    // The same address and port, at the same time.
    let spec = |port: u16| ClientsSpec {
        source: Source::List(vec![[10, 2, 7, 7].into()]),
        from_port: Some(port),
        ..ClientsSpec::default()
    };
    for port in 20_000..20_005 {
        let both = [0, 1].map(|n| labs[n].begin_clients(spec(port)).unwrap());
        both.into_iter().for_each(|clients| drop(clients.wait().unwrap()));
    }
    let seen = watch.stop().unwrap();
    let connections = seen.connections();
    assert_eq!(connections.len(), 10);
    for connection in connections {
        assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
        let queued = connection.queued_ns.unwrap();
        let own = if connection.pid == pids[0] { 250 } else { 150 };
        // A thread without a CPU reads an answer late, and that is not the nameserver's.
        assert!(connection.parts.dns_ns * 4 >= own * MS * 3 && queued < own * MS, "{connection:#?}");
        assert_eq!(connection.queued_behind, [0; 0], "nobody is in the other server's way");
    }
    let told: BTreeSet<_> = seen.connections().iter().map(|c| (c.pid, c.peer.unwrap())).collect();
    assert_eq!(told.len(), 10, "each port once at each server");
}

#[test]
fn the_next_one_is_followed_after_a_restart() {
    let folder = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    // Under a name of its own: --comm must find no other test's server.
    let name = format!("db{}", std::process::id());
    let program = folder.path().join(&name);
    std::os::unix::fs::symlink("/usr/sbin/mariadbd", &program).unwrap();
    let server =
        ServerConfig { path: Some(program), daemon: Some("mariadbd".into()), ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, start_server: false, ..LabConfig::default() }).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["live", "--json", "--wait", "--comm", &name]);
    let mut watch = Watch::starting(command).unwrap();
    let mut pids = Vec::new();
    for restart in 0..3 {
        let pid = lab.restart_server(None).unwrap();
        watch.wait_said(&format!("pid {pid}")).unwrap();
        let client = lab.client().unwrap();
        let told = watch
            .wait_for(|line| match line {
                Line::Connection(c) if c.peer == peer(&client).parse().ok() => Some((**c).clone()),
                _ => None,
            })
            .unwrap();
        assert_eq!(
            (told.pid, told.outcome, told.complete),
            (pid, Outcome::Greeted, true),
            "{restart}: {told:#?}"
        );
        assert!(told.verdict_rule.is_some() && told.queued_ns.is_some(), "{told:#?}");
        pids.push(pid);
    }
    let seen = watch.stop().unwrap();
    assert_eq!((seen.status, seen.connections().len()), (Some(0), 3), "{}", seen.stderr);
    for pid in &pids[..2] {
        assert!(seen.stderr.contains(&format!("pid {pid}")), "{}", seen.stderr);
    }
}

#[test]
fn a_target_in_other_namespaces_of_processes_mounts_and_networks() {
    let mut stage = usual();
    let pid = stage.lab.server_pid().unwrap();
    for kind in ["pid", "mnt", "net"] {
        let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/{kind}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{kind}");
    }
    // From the target's own /etc: this machine's has no such rule.
    let here = std::fs::read_to_string("/etc/hosts.allow").unwrap_or_default();
    assert!(!here.contains("lab.example"));
    let connection = stage.until("the target's own table is quoted", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.text.as_deref() == Some("ALL: .lab.example"))
    });
    assert_eq!((connection.pid, connection.complete), (pid, true), "by its number out here: {connection:#?}");
    assert!(connection.queued_ns.is_some());
}

#[test]
fn wrapwatch_in_a_container_with_the_hosts_processes() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--uts", "--ipc", "--propagation", "private"]).arg(binary().unwrap());
    command.args(["live", "--json", "-p", &lab.server_pid().unwrap().to_string()]);
    let watch = Watch::run(command).unwrap();
    let clients = lab.clients(ClientsSpec::at_once(5)).unwrap();
    let seen = watch.stop().unwrap();
    for client in &clients {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
        assert_eq!(connection.verdict_rule.as_ref().unwrap().text.as_deref(), Some("ALL: .lab.example"));
    }
}

fn assert_whole(told: &[(wrapwatch_tests::clients::ClientResult, Connection)]) {
    for (_, connection) in told {
        assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
        assert_eq!(connection.lookups.len(), 2, "{connection:#?}");
    }
}

#[test]
fn descriptors_as_high_as_this_machines_limit_allows() {
    // 20 000 where the limit cannot be raised; descriptors are 32 bits wide everywhere, so that 65 536 is no border (see the ABI's tests).
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap().1;
    let first = limit.min(80_000) - 1_000;
    let mut stage = Stage::with(ServerConfig::default().env("WRAP_FDS", first.to_string()));
    let highest = std::fs::read_dir(format!("/proc/{}/fd", stage.lab.server_pid().unwrap())).unwrap();
    let highest = highest.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse::<u64>().ok()).max();
    assert!(highest.unwrap() >= first, "{highest:?}");
    let told = stage.clients(ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(24) });
    assert_whole(&told);
    assert_eq!(stage.end().summary().unwrap().lost, 0);
}

#[test]
fn a_thousand_threads() {
    let mut stage = Stage::with(ServerConfig::options([
        "--max-connections=1200",
        "--back-log=1200",
        "--thread-cache-size=0",
    ]));
    let pid = stage.lab.server_pid().unwrap();
    let mode = Mode::Hold { ms: 20_000 };
    let held = stage.lab.begin_clients(ClientsSpec { mode, ..ClientsSpec::at_once(1_000) }).unwrap();
    wait_for("a thousand threads", || Ok(std::fs::read_dir(format!("/proc/{pid}/task"))?.count() >= 1_000))
        .unwrap();
    let told = stage.clients(ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(40) });
    assert_whole(&told);
    drop(held);
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert_eq!((summary.connections, summary.incomplete, summary.lost), (1_040, 0, 0), "{summary:#?}");
    assert_eq!(summary.accepts, summary.connections);
}
