//! Containers: processes that have other numbers here than in the kernel, ports that another network namespace has too. And many targets.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use wrapwatch::{
    decode::{Event, decode},
    host::{libwrap, process::ProcessInfo},
    model::{Line, Outcome},
    probe::{Options, Probe, ProbeError},
};
use wrapwatch_tests::{
    lab::{self, ExecResult, Lab, LabConfig, Namespace},
    watch::binary,
};

use crate::support::peer;

#[test]
fn within_the_servers_pid_namespace_its_connections_are_told_by_its_numbers_there() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let outer = lab.server_pid().unwrap();
    let argv =
        [binary().unwrap().to_string_lossy().as_ref(), "live", "--json", "-d", "5s"].map(str::to_owned);
    let watch = lab::Command::Exec { ns: Namespace::Server, argv: argv.into(), timeout_ms: 60_000 };
    let watch = lab.begin::<ExecResult>(watch).unwrap();
    // Those before it is attached are not told, and one under way when it goes is not whole.
    let done = AtomicBool::new(false);
    let (watched, clients) = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut clients = Vec::new();
            while !done.load(Ordering::Relaxed) {
                clients.push(lab.client().unwrap());
            }
            clients
        });
        let watched = watch.wait();
        done.store(true, Ordering::Relaxed);
        (watched.unwrap(), clients.join().unwrap())
    });
    assert_eq!(watched.status, Some(0), "{watched:#?}");
    let lines = watched.stdout.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let told: Vec<_> = lines
        .filter_map(|line| match line {
            Line::Connection(connection) if connection.complete => Some(connection),
            _ => None,
        })
        .collect();
    assert!(!told.is_empty(), "{watched:#?}");
    for connection in &told {
        let told = connection.peer.as_ref().unwrap().to_string();
        assert!(clients.iter().any(|client| peer(client) == told), "{told}");
        assert_eq!(connection.outcome, Outcome::Greeted, "{connection:#?}");
        assert!(connection.queued_ns.is_some() && connection.wrapper_ns > 0, "{connection:#?}");
        assert!(!connection.lookups.is_empty() && connection.rule.is_some(), "{connection:#?}");
        assert_ne!(connection.pid, outer, "the number that it has within");
    }
}

#[test]
fn a_proc_of_another_pid_namespace_is_refused_in_one_line() {
    // This process is a server, by its number in the /proc that is left as it is.
    let _listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let me = std::process::id().to_string();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork"]).arg(binary().unwrap()).args(["live", "-d", "1s", "-p", &me]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("/proc") && said.contains("PID namespace") && said.contains("--mount-proc"),
        "{said}"
    );
}

#[test]
fn clients_of_the_same_port_in_another_network_namespace_leave_no_record() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    // A port of this test's namespace, which the server in its own is said to listen on as well.
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let here = elsewhere.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let mut probe = Probe::attach(&Options::default()).unwrap();
    let mut ring = probe.take_ring().unwrap();
    let libwrap = libwrap::find(pid).unwrap();
    probe.add_target(&ProcessInfo::read(pid).unwrap(), libwrap.as_ref(), &[3306, here.port()]).unwrap();
    for _ in 0..3 {
        TcpStream::connect(here).unwrap();
        elsewhere.accept().unwrap();
    }
    let client = lab.client().unwrap();
    let port = client.source.unwrap().port();
    let (mut ports, mut greeted) = (Vec::new(), false);
    let all = async {
        while !greeted {
            ring.wait().await.unwrap();
            while ring.drain(|record| {
                match decode(record).unwrap() {
                    Event::SockState(state) => ports.push((state.local.port, state.peer.port)),
                    Event::FirstPacket(_) => greeted = true,
                    _ => {}
                }
                true
            }) {}
        }
    };
    runtime.block_on(tokio::time::timeout(Duration::from_mins(1), all)).unwrap();
    assert!(ports.contains(&(3306, port)), "{ports:?}");
    assert!(!ports.iter().any(|(local, _)| *local == here.port()), "{ports:?}");
}

#[test]
fn targets_and_ports_beyond_the_maps_cost_that_target_only() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let mut probe = Probe::attach(&Options::default()).unwrap();
    let me = ProcessInfo::read(std::process::id()).unwrap();
    // No process has these numbers.
    let nobody = |n: u32| ProcessInfo { pid: 0x4000_0000 + n, ..me.clone() };
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    probe.add_target(&nobody(0), None, &ports).unwrap();
    let full =
        (1..100_000).find_map(|n| probe.add_target(&nobody(n), None, &[3306]).err().map(|why| (n, why)));
    let (n, why) = full.unwrap();
    assert!(matches!(why, ProbeError::Full { .. }), "{why}");
    assert!(n > 1_000, "{n}");
    // There is room again where one has gone.
    probe.remove_target(nobody(1).pid).unwrap();
    probe.add_target(&nobody(n), None, &[3306]).unwrap();
}
