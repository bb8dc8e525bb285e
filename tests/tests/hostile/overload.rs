//! One target that does as much as it can, beside one that means no harm.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use wrapwatch_tests::watch::{Watch, binary};

use crate::support::{Den, Server, wrapwatch};

/// Far more than wrapwatch takes to end on a busy machine, and far less than emptying a ring that others fill takes.
const SOON: Duration = Duration::from_secs(15);

fn honest(den: &Den) -> Server {
    den.serve(&[&den.text("hosts.allow"), &den.text("none")])
}

#[test]
fn a_program_that_replaces_itself_without_end_costs_nobody_else() {
    costs_nobody_else("loop");
}

#[test]
fn a_server_that_makes_processes_without_end_costs_nobody_else() {
    costs_nobody_else("forks");
}

fn costs_nobody_else(what: &str) {
    let den = Den::new();
    let (honest, looping) = (honest(&den), den.serve(&[what]));
    let mut command = Command::new(binary().unwrap());
    let pids = [honest.pid(), looping.pid()].map(|pid| pid.to_string());
    command.args(["live", "--json", "-p", &pids[0], "-p", &pids[1]]);
    let mut watch = Watch::run(command).unwrap();
    (0..200).for_each(|_| honest.client());
    watch.wait_connections_unless(200, |line| matches!(line, wrapwatch::model::Line::Lost(_))).unwrap();
    let began = Instant::now();
    let seen = watch.stop().unwrap();
    let took = began.elapsed();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let told = seen.connections().iter().filter(|connection| connection.pid == honest.pid()).count();
    let lost = usize::try_from(seen.lost("lost_accept")).unwrap();
    assert!(told + lost >= 200, "{told} told, {lost} lost: {}", seen.stderr);
    assert!(took < SOON, "it took {took:?} to end");
}

#[test]
fn a_server_that_starts_again_beside_another_is_followed() {
    let den = Den::new();
    // Under a name of its own: --comm must find no other server, of this run's other tests neither.
    let name = format!("again{}", std::process::id());
    std::fs::copy(den.path("server"), den.path(&name)).unwrap();
    let start = || den.serve_as_root(&name, &[&den.text("hosts.allow"), &den.text("none")]);
    let (stays, goes) = (start(), start());
    let mut command = Command::new(binary().unwrap());
    command.args(["live", "--json", "--wait", "--comm", &name]);
    let mut watch = Watch::starting(command).unwrap();
    for server in [&stays, &goes] {
        watch.wait_said(&format!("pid {}", server.pid())).unwrap();
    }
    stays.client();
    goes.client();
    watch.wait_connections(2).unwrap();
    drop(goes);
    let comes = start();
    watch.wait_said(&format!("pid {}", comes.pid())).unwrap();
    comes.client();
    watch.wait_connections(3).unwrap();
    let seen = watch.stop().unwrap();
    let pids: Vec<u32> = seen.connections().iter().map(|connection| connection.pid).collect();
    assert_eq!((pids.len(), pids.last()), (3, Some(&comes.pid())), "{}", seen.stderr);
}

/// A connection whose records were dear held up the signals, and the report of its trace: 115 s for six.
#[test]
fn a_large_table_and_many_clients_hold_up_neither_the_trace_nor_its_report() {
    let den = Den::new();
    let line = "a:b\n";
    let table = line.repeat((1 << 20) / line.len() - 16) + "ALL: 127.0.0.1\n";
    let server = den.serve(&[&den.file("hosts.allow", table.as_bytes()), &den.text("none")]);
    let trace = den.path("t.wwt");
    let watch = Watch::record(server.pid(), &trace, ["--force"]).unwrap();
    // Each reads a mebibyte.
    (0..CLIENTS).for_each(|_| server.client());
    let began = Instant::now();
    let seen = watch.stop().unwrap();
    let took = began.elapsed();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let lost = usize::try_from(seen.lost("lost_accept")).unwrap();
    assert!(seen.connections().len() + lost >= CLIENTS, "{}", seen.stderr);
    assert!(took < SOON, "it took {took:?} to end");
    let began = Instant::now();
    let report = wrapwatch(["report".as_ref(), trace.as_os_str()]);
    assert!(report.status.success(), "{report:?}");
    assert!(began.elapsed() < SOON, "the report took {:?}", began.elapsed());
}

/// Clients of a server whose tables are large.
const CLIENTS: usize = 300;
