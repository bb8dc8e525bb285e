//! Many servers, and a server with many listeners, beside one that means no harm.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use procfs::process::{Process, Stat};
use wrapwatch::{host::listeners, trace::Input};
use wrapwatch_tests::watch::{Watch, binary};

use crate::{
    library::image,
    support::{Den, Server},
};

/// Servers beside the honest one.
const SERVERS: usize = 8;
/// How much longer putting each uprobe on a library takes than it would, in microseconds.
const SLOWER: u32 = 50_000;

/// Putting uprobes on the others takes seconds. An honest server that is traced by then has more clients in that time than the ring has room for.
#[test]
fn attaching_to_many_loses_next_to_nothing_of_the_first() {
    let den = Den::new();
    // Uprobes on one file are for all that have it.
    let serve = || den.serve_with_own_library(&[&den.text("hosts.allow"), &den.text("none")]);
    // The lowest number is traced first.
    let honest = serve();
    let others: Vec<Server> = (0..SERVERS).map(|_| serve()).collect();
    assert!(others.iter().all(|other| other.pid() > honest.pid()));
    let args =
        [&honest].into_iter().chain(&others).flat_map(|server| ["-p".into(), server.pid().to_string()]);
    let (done, came) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    honest.client();
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let log = den.path("log");
        let mut command = Command::new("strace");
        // wrapwatch stays this process's child.
        command.args([
            "--daemonize",
            "--follow-forks",
            "--seccomp-bpf",
            "--signal=none",
            "--trace=perf_event_open",
        ]);
        command.arg(format!("--inject=perf_event_open:delay_enter={SLOWER}")).arg("-o").arg(&log);
        command.arg(binary().unwrap()).args(["live", "--json"]).args(args);
        let watch = Watch::run(command);
        let before = came.load(Ordering::Relaxed);
        done.store(true, Ordering::Relaxed);
        let seen = watch.unwrap().stop().unwrap();
        assert!(before > 1_000, "{before} came: nothing was tested");
        seen
    });
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let lost = usize::try_from(seen.lost("lost_accept")).unwrap();
    assert!(lost < came.into_inner() / 10, "{lost} accepts lost: {}", seen.stderr);
}

/// Clients of the honest server at once.
const CLIENTS: usize = 4;

/// As server.c has them.
const LISTENERS: usize = 18_000;

/// Once a second all listeners are looked at. That took as long as comparing each with each.
#[test]
fn many_listeners_cost_no_more_than_asking_the_kernel_for_them() {
    let den = Den::new();
    let server = den.serve_bare(&[&den.file("libwrap.so.0", &image(2, b"x", &[])), "addresses"]);
    // What finding them takes: the kernel's list of sockets, and who holds which.
    let before = own_seconds();
    let (found, _) = listeners::of(server.pid()).unwrap();
    let once = own_seconds() - before;
    assert!(found.len() > LISTENERS, "{}", found.len());

    let trace = den.path("t.wwt");
    let watch = Watch::record(server.pid(), &trace, ["-d", "4s"]).unwrap();
    let process = Process::new(i32::try_from(watch.id()).unwrap()).unwrap();
    let before = seconds(&process.stat().unwrap());
    // Its times stay until it is waited for.
    let began = Instant::now();
    while process.stat().unwrap().state != 'Z' {
        assert!(began.elapsed() < Duration::from_mins(1), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = seconds(&process.stat().unwrap()) - before;
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let looks = looks(&trace);
    let each = took / looks;
    assert!(looks > 1.0 && each < 4.0 * once, "{looks} looks took {each} s each, finding them {once} s");
}

/// How often it has looked: with each look the clocks are compared.
fn looks(trace: &std::path::Path) -> f64 {
    let mut reader = wrapwatch::trace::Reader::new(fs::File::open(trace).unwrap());
    let mut looks = 0.0;
    while let Some(input) = reader.next_input().unwrap() {
        looks += f64::from(u8::from(matches!(input, Input::Clock(_))));
    }
    looks
}

/// What this thread has computed for.
fn own_seconds() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_THREAD).unwrap().user_time();
    Duration::new(used.tv_sec().try_into().unwrap(), u32::try_from(used.tv_usec()).unwrap() * 1000)
        .as_secs_f64()
}

/// What a process has computed for.
fn seconds(stat: &Stat) -> f64 {
    f64::from(u32::try_from(stat.utime).unwrap())
        / f64::from(u32::try_from(procfs::ticks_per_second()).unwrap())
}
