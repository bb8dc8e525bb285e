//! Containers: processes that have other numbers here than in the kernel, ports that another network namespace has too. And many targets.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use wrapwatch::{
    decode::Event,
    host::{libwrap, process::ProcessInfo},
    model::{Line, Outcome},
    probe::{Options, ProbeError},
};
use wrapwatch_tests::{
    lab::{self, ExecResult, Lab, LabConfig, Namespace},
    watch::binary,
};

use crate::support::{own_process, peer, with_probe};

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
    let libwrap = libwrap::find(pid).unwrap();
    // Its own accepts are other tests' otherwise.
    let _alone = own_process();
    let (ports, port) = with_probe(&Options::default(), |probe, records| {
        let info = ProcessInfo::read(pid).unwrap();
        probe.add_target(&info, libwrap.as_ref(), &[3306, here.port()]).unwrap();
        for _ in 0..3 {
            TcpStream::connect(here).unwrap();
            elsewhere.accept().unwrap();
        }
        let client = lab.client().unwrap();
        let mut ports = Vec::new();
        records.until(|_, event| {
            if let Event::SockState(state) = event {
                ports.push((state.local.port, state.peer.port));
            }
            matches!(event, Event::FirstPacket(_))
        });
        (ports, client.source.unwrap().port())
    });
    assert!(ports.contains(&(3306, port)), "{ports:?}");
    assert!(!ports.iter().any(|(local, _)| *local == here.port()), "{ports:?}");
}

/// Returns once this thread waits in `accept`.
fn waits_in_accept(tid: i32) {
    let until = Instant::now() + Duration::from_mins(1);
    let calls = [libc::SYS_accept, libc::SYS_accept4].map(|call| format!("{call} "));
    let path = format!("/proc/self/task/{tid}/syscall");
    while !calls.iter().any(|call| std::fs::read_to_string(&path).unwrap().starts_with(call)) {
        assert!(Instant::now() < until, "it does not accept");
        thread::yield_now();
    }
}

#[test]
fn targets_and_ports_beyond_the_maps_cost_that_target_only() {
    let _alone = own_process();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let here = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        let mut client = listener.accept().unwrap().0;
        client.write_all(b"\x0a\0\0\0\x0ahello").unwrap();
    });
    waits_in_accept(told.recv().unwrap());
    with_probe(&Options::default(), |probe, records| {
        let me = ProcessInfo::read(std::process::id()).unwrap();
        probe.add_target(&me, None, &[here.port()]).unwrap();
        // What is kept for the only target stays, whoever is refused or has gone already.
        probe.remove_target(0x4000_0000).unwrap();
        // No process has these numbers.
        let nobody = |n: u32| ProcessInfo { pid: 0x4000_0000 + n, ..me.clone() };
        let client = TcpStream::connect(here).unwrap();
        let mut accepted = false;
        records.until(|_, event| {
            accepted |= matches!(event, Event::AcceptSocket(accept) if accept.hdr.tgid == me.pid);
            matches!(event, Event::FirstPacket(_))
        });
        assert!(accepted, "the accept that was waited in");
        drop(client);
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
    });
    server.join().unwrap();
}
