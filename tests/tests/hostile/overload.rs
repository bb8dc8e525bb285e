//! One target that does as much as it can, beside one that means no harm.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    watch::{Watch, binary},
};

use crate::{
    library::image,
    moving,
    support::{Den, Server, peak_kb, wrapwatch},
};

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
/// For how long all of them are traced together.
const TOGETHER: Duration = Duration::from_secs(8);
/// What wrapwatch may have in memory then, by the order of magnitude.
const MOST_KB: u64 = 200 << 10;

#[test]
fn all_of_them_together_cost_an_honest_server_nothing() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let den = Den::new();
    let library = den.file("libwrap.so.0", &image(2, b"x", &[]));
    let (moving, _) = moving::server(&den, "a:b\n");
    let others = [
        den.serve(&["loop"]),
        den.serve_bare(&[&library, "lease"]),
        den.serve_bare(&[&den.file("libwrap.so.1", &image(2, b"x", &[])), "ports"]),
        moving,
    ];
    let honest = lab.server_pid().unwrap();
    let pids: Vec<u32> = others.iter().map(Server::pid).chain([honest]).collect();
    let mut args = vec!["-d".to_owned(), format!("{}s", TOGETHER.as_secs())];
    args.extend(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
    let watch = Watch::live(args).unwrap();
    let began = Instant::now();
    let (mut clients, mut peak) = (0, 0);
    while began.elapsed() < TOGETHER / 2 {
        clients += lab.clients(ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(100) }).unwrap().len();
        (0..20).for_each(|_| others[3].client());
        peak = peak.max(peak_kb(watch.id()));
    }
    let seen = watch.wait().unwrap();
    let took = began.elapsed();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    assert!(took < TOGETHER + SOON, "{TOGETHER:?} took {took:?}");
    let told: Vec<_> = seen.connections().into_iter().filter(|connection| connection.pid == honest).collect();
    let lost = usize::try_from(seen.lost("lost_accept")).unwrap();
    assert!(
        told.len() <= clients && told.len() + lost >= clients,
        "{clients} came, {} told, {lost} lost",
        told.len()
    );
    // Where something of it was lost it says so.
    let wrong = told.iter().find(|connection| connection.complete && connection.lookups.len() != 2);
    assert!(wrong.is_none(), "{wrong:#?}");
    assert!(told.iter().any(|connection| connection.complete), "{}", seen.stderr);
    assert!(peak < MOST_KB, "{peak} kB");
}
