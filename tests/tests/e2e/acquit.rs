//! It acquits: a server that is slow for other reasons is not blamed on its wrappers. And it does not acquit the guilty.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig, Signal},
    nameserver::Rule,
    watch::Watch,
};

use crate::support::MS;

/// More than this share of the wait may not be laid at the wrappers' door where they are innocent.
const NEXT_TO_NOTHING: f64 = 0.05;
/// Where hundreds of real checks are in the wait as well, and a stop is noticed within a tenth of a second.
const A_LITTLE: f64 = 0.25;

#[test]
fn a_stopped_server_is_not_the_wrappers_fault() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    lab.signal(Signal::Stop).unwrap();
    let clients = lab.begin_clients(ClientsSpec::at_once(10)).unwrap();
    // How long it is stopped is the scenario.
    std::thread::sleep(Duration::from_secs(3));
    lab.signal(Signal::Cont).unwrap();
    clients.wait().unwrap();
    let seen = watch.stop().unwrap();
    let summary = seen.summary().unwrap();
    assert!(summary.total.max_ns > 2_000_000_000, "{summary:#?}");
    assert!(summary.wrapper_share.unwrap() < NEXT_TO_NOTHING, "{summary:#?}");
    assert!(summary.verdict.contains("elsewhere"), "{}", summary.verdict);
}

#[test]
fn a_server_stopped_in_the_middle_of_a_check_is_not_dns() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let mut watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let clients =
        lab.begin_clients(ClientsSpec { count: 400, concurrency: 8, ..ClientsSpec::default() }).unwrap();
    // Under load a stop falls somewhere into a check.
    watch.wait_connections(20).unwrap();
    lab.signal(Signal::Stop).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    lab.signal(Signal::Cont).unwrap();
    clients.wait().unwrap();
    let summary = watch.stop().unwrap().summary().unwrap().clone();
    assert!(summary.total.max_ns > 2_000_000_000, "{summary:#?}");
    assert!(summary.wrapper_share.unwrap() < A_LITTLE, "{summary:#?}");
}

#[test]
fn a_server_without_cpu_is_not_the_wrappers_fault() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let burn = lab.begin_burn(4_000).unwrap();
    let _clients = lab.clients(ClientsSpec::at_once(20)).unwrap();
    burn.wait().unwrap();
    let summary = watch.stop().unwrap().summary().unwrap().clone();
    let slowest = summary.total.max_ns;
    assert!(slowest > 100_000_000, "the server was not starved: {summary:#?}");
    assert!(summary.wrapper_share.unwrap() < NEXT_TO_NOTHING, "{summary:#?}");
}

/// Linux 6.12 and later may count the whole sleep of a thread that is moved to another CPU just after it fell asleep as time without a CPU.
#[test]
fn an_accept_thread_that_is_moved_while_it_waits_for_an_answer_has_waited_for_it() {
    const LATE_MS: u64 = 300;
    let lab = Lab::start(LabConfig::default()).unwrap();
    lab.rules([Rule::delay(LATE_MS)]).unwrap();
    let server = lab.server_pid().unwrap();
    let watch = Watch::pid(server).unwrap();
    disturbed(Pid::from_raw(server.try_into().unwrap()), || {
        lab.clients(ClientsSpec { count: 10, concurrency: 1, ..ClientsSpec::default() }).unwrap();
    });
    let seen = watch.stop().unwrap();
    assert_eq!(seen.connections().len(), 10);
    for connection in seen.connections() {
        // Two lookups, each that much later: the thread slept meanwhile. The clocks' tolerance is a thousandth.
        let (dns, late) = (connection.parts.dns_ns, 2 * LATE_MS * MS);
        assert!(
            dns >= late - late / 100,
            "{dns} ns of DNS: {:?}; {:?}",
            connection.parts,
            connection.lookups
        );
    }
}

/// While this is done, every CPU of the thread is busy, and it is moved from one to the next without end.
fn disturbed(thread: Pid, doing: impl FnOnce()) {
    let everywhere = sched_getaffinity(thread).unwrap();
    let cpus: Vec<CpuSet> = (0..CpuSet::count())
        .filter(|cpu| everywhere.is_set(*cpu).unwrap())
        .map(|cpu| {
            let mut one = CpuSet::new();
            one.set(cpu).unwrap();
            one
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for cpu in &cpus {
            scope.spawn(|| {
                sched_setaffinity(Pid::from_raw(0), cpu).unwrap();
                while !done.load(Relaxed) {
                    spin_loop();
                }
            });
        }
        scope.spawn(|| {
            for cpu in cpus.iter().cycle().take_while(|_| !done.load(Relaxed)) {
                sched_setaffinity(thread, cpu).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
            sched_setaffinity(thread, &everywhere).unwrap();
        });
        let _end = End(&done);
        doing();
    });
}

/// Ends them, also where what was done fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
