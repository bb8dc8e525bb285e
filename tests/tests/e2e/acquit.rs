//! It acquits: a server that is slow for other reasons is not blamed on its wrappers.

use std::time::Duration;

use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig, Signal},
    watch::Watch,
};

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
