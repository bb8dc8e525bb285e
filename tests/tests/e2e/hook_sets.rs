//! The sets of hooks: each sees the same, raw tracepoints need little privilege, and what they cannot have is said.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{IntoRawFd as _, OwnedFd},
    process::Command,
};

use wrapwatch::model::{DegradationKind, Line, Outcome};
use wrapwatch_tests::{
    clients::{ClientResult, ClientsSpec},
    lab::{Files, Lab},
    nameserver::Rule,
    seccomp::refuse_raw_tracepoints,
    wait::wait_for,
    watch::{Seen, Watch, binary, nobody, told},
};

use crate::support::{NS1, lab_with, own_process, peer, two_servers};

/// This process as a server, with each set of hooks.
pub fn each_set(mut test: impl FnMut(&str)) {
    let _alone = own_process();
    ["raw", "tracepoint"].into_iter().for_each(&mut test);
}

/// With one set of hooks.
pub fn on(hooks: &str, pid: u32) -> Watch {
    Watch::live(["-v", "--hooks", hooks, "-p", &pid.to_string()]).unwrap()
}

/// How often it is tried to see something while no call is skipped.
const TIMES: usize = 10;
/// How the loss of skipped calls is called.
const SKIPPED: &str = "skipped_calls";

/// Five clients, and what this wrapwatch saw of them.
fn five(lab: &Lab, command: Command) -> (Vec<ClientResult>, Seen) {
    let mut watch = Watch::run(command).unwrap();
    let clients = lab.clients(ClientsSpec::at_once(5)).unwrap();
    wait_connections(&mut watch, clients.len());
    (clients, watch.stop().unwrap())
}

/// With perf tracepoints the kernel skips calls on a CPU on which anybody, as another test's wrapwatch, was preempted within a call about a map. Then those are told of, and one that was
/// skipped may be a connection's.
fn wait_connections(watch: &mut Watch, count: usize) {
    let is_skip =
        |line: &Line| matches!(line, Line::Lost(lost) if lost.by.iter().any(|(name, _)| name == SKIPPED));
    watch.wait_connections_unless(count, is_skip).unwrap();
}

/// What comes of it where no call was skipped.
fn undisturbed<T>(mut see: impl FnMut() -> T, by_perf: impl Fn(&T) -> &Seen) -> T {
    let mut times = (0..TIMES).map(|_| see());
    times
        .find(|seen| by_perf(seen).lost(SKIPPED) == 0)
        .unwrap_or_else(|| panic!("calls were skipped each time"))
}

fn same(raw: &Seen, perf: &Seen, clients: &[ClientResult]) {
    for client in clients {
        let (one, two) = (raw.of(&peer(client)).unwrap(), perf.of(&peer(client)).unwrap());
        assert_eq!(told(one), told(two));
        assert!(one.complete && one.queued_ns.is_some(), "{one:#?}");
    }
}

#[test]
fn raw_tracepoints_and_tracepoints_tell_the_same() {
    let lab = lab_with(two_servers());
    let pid = lab.server_pid().unwrap();
    let by_both = || {
        let mut raw = on("raw", pid);
        let mut perf = on("tracepoint", pid);
        lab.rules([]).unwrap();
        let mut clients = lab.clients(ClientsSpec::at_once(20)).unwrap();
        // Both names are asked for at the second server after a time-out at the first.
        lab.rules([Rule::silent().at(NS1)]).unwrap();
        clients.extend(lab.clients(ClientsSpec::at_once(2)).unwrap());
        raw.wait_connections(clients.len()).unwrap();
        wait_connections(&mut perf, clients.len());
        (raw.stop().unwrap(), perf.stop().unwrap(), clients)
    };
    let (raw, perf, clients) = undisturbed(by_both, |(_, perf, _)| perf);
    assert!(raw.stderr.contains("hooks: raw tracepoints"), "{}", raw.stderr);
    assert!(perf.stderr.contains("hooks: tracepoints"), "{}", perf.stderr);
    same(&raw, &perf, &clients);
}

#[test]
fn where_raw_tracepoints_are_refused_the_next_set_is_taken_and_said() {
    let lab = lab_with(Files::default());
    let without_raw = || {
        let mut command = Command::new(binary().unwrap());
        command.args(["live", "--json", "-p", &lab.server_pid().unwrap().to_string()]);
        refuse_raw_tracepoints(&mut command);
        five(&lab, command)
    };
    let (clients, seen) = undisturbed(without_raw, |(_, seen)| seen);
    for client in &clients {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!(connection.outcome, Outcome::Greeted);
        assert!(connection.complete && connection.rule.is_some(), "{connection:#?}");
        assert!(connection.lookups.iter().all(|lookup| !lookup.queries.is_empty()), "{connection:#?}");
    }
    let [lost] = &seen.degradations_but_local()[..] else { panic!("{:#?}", seen.degradations()) };
    assert_eq!(lost.kind, DegradationKind::NoRawTracepoints);
    assert!(lost.message.contains("Operation not permitted"), "{}", lost.message);
}

#[test]
fn three_capabilities_and_no_tracefs_are_enough() {
    let lab = lab_with(Files::default());
    let (mut command, _copy) = nobody(Some("+bpf,+perfmon,+sys_ptrace")).unwrap();
    command.args(["live", "--json", "-p", &lab.server_pid().unwrap().to_string()]);
    let (clients, seen) = five(&lab, command);
    for client in &clients {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!(connection.outcome, Outcome::Greeted);
        assert!(connection.queued_ns.is_some() && connection.complete, "{connection:#?}");
        let rule = connection.rule.as_ref().unwrap();
        assert_eq!((&*rule.file, rule.line), ("/etc/hosts.allow", 1));
        assert!(connection.lookups.iter().all(|lookup| !lookup.queries.is_empty()), "{connection:#?}");
    }
    // What takes CAP_SYS_ADMIN is missing, and said to be.
    let all = seen.degradations_but_local();
    let lost: Vec<_> = all.iter().map(|lost| lost.kind).collect();
    assert_eq!(
        lost,
        [DegradationKind::NoUprobes, DegradationKind::BeganMidway, DegradationKind::NoRunTime],
        "{all:#?}"
    );
    assert!(all.iter().all(|lost| lost.message.contains("CAP_SYS_ADMIN")));
}

/// All is told by then: where the kernel takes long to take the programs off, a process of its own waits for it, which does not stay.
#[test]
fn what_waits_until_the_programs_are_off_goes_with_them() {
    let lab = lab_with(Files::default());
    let server = lab.server_pid().unwrap().to_string();
    // It has the arguments of the wrapwatch that it is a fork of; others may have one of theirs.
    let detaching = || {
        let processes = procfs::process::all_processes().unwrap().flatten();
        let own = |process: &procfs::process::Process| {
            process.stat().is_ok_and(|stat| stat.comm == "wwt-detach")
                && process.cmdline().is_ok_and(|arguments| arguments.contains(&server))
        };
        processes.filter(own).count()
    };
    let (clients, seen) = {
        let mut live = Command::new(binary().unwrap());
        live.args(["live", "--json", "--hooks", "tracepoint", "-p", &server]);
        five(&lab, live)
    };
    // Some seventy milliseconds each, on every kernel so far.
    assert!(seen.stderr.contains("wwt-detach waits for it"), "{}", seen.stderr);
    assert_eq!(seen.connections().len(), clients.len());
    assert_eq!(seen.summary().unwrap().connections, clients.len() as u64);
    wait_for("the programs to be off", || Ok(detaching() == 0)).unwrap();
}

/// What is written to a duplicate of a client's socket is its first packet, and only the close of the last one is its close.
#[test]
fn a_duplicate_of_a_clients_socket_is_that_clients_socket() {
    each_set(|hooks| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut watch = on(hooks, std::process::id());
        let serve = |answer: &dyn Fn(OwnedFd)| {
            let client = TcpStream::connect(at).unwrap();
            answer(listener.accept().unwrap().0.into());
            client.local_addr().unwrap().to_string()
        };
        let greet = |socket: OwnedFd| nix::unistd::write(&socket, b"\x0a\0\0\0\x0ahello").unwrap();
        // fcntl(F_DUPFD_CLOEXEC); the original goes first.
        let through_duplicate = serve(&|socket| {
            let duplicate = socket.try_clone().unwrap();
            drop(socket);
            greet(duplicate);
        });
        // dup2 over another descriptor, as inetd's children do; the duplicate goes first.
        let through_original = serve(&|socket| {
            let mut other = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
            nix::unistd::dup2(&socket, &mut other).unwrap();
            drop(other);
            greet(socket);
        });
        let through_none = serve(&|socket| drop((nix::unistd::dup(&socket).unwrap(), socket)));
        // Closed without `close`.
        let in_a_range = serve(&|socket| {
            let socket = socket.into_raw_fd();
            // SAFETY: the range is this socket, which nobody owns any more.
            let closed = unsafe { libc::syscall(libc::SYS_close_range, socket, socket, 0) };
            assert_eq!(closed, 0);
        });
        watch.wait_connections(4).unwrap();
        let seen = watch.stop().unwrap();
        for (peer, outcome) in [
            (through_duplicate, Outcome::Greeted),
            (through_original, Outcome::Greeted),
            // Closed without a check and without a byte: that no other process holds the socket is not seen.
            (through_none, Outcome::HandedOver),
            (in_a_range, Outcome::HandedOver),
        ] {
            assert_eq!(seen.of(&peer).unwrap().outcome, outcome, "{hooks}: {:#?}", seen.connections());
        }
    });
}

/// A server that is already waiting in `accept` when the probes come: there is no enter to be seen.
#[test]
fn an_accept_that_began_before_counts() {
    each_set(|hooks| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut client, _) = listener.accept().unwrap();
                client.write_all(b"\x0a\0\0\0\x0ahello").unwrap();
            }
        });
        let mut watch = on(hooks, std::process::id());
        let mut greeting = [0; 10];
        let peers = [(); 2].map(|()| {
            let mut client = TcpStream::connect(at).unwrap();
            client.read_exact(&mut greeting).unwrap();
            client.local_addr().unwrap().to_string()
        });
        server.join().unwrap();
        watch.wait_connections(2).unwrap();
        let seen = watch.stop().unwrap();
        // Also through perf, where there is no saying what the first call had been given: the socket knows its client.
        for peer in &peers {
            let outcome = seen.of(peer).unwrap().outcome;
            assert_eq!(outcome, Outcome::Greeted, "{hooks}: {:#?}", seen.connections());
        }
        // Servers that other tests start are made by this process, too.
        let here = seen.connections().iter().filter(|told| told.local == Some(at)).count();
        assert_eq!(here, 2, "{hooks}: {:#?}", seen.connections());
    });
}
