//! One target that does as much as it can, beside one that means no harm.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use wrapwatch_tests::watch::{Watch, binary};

use crate::support::{Den, Server};

/// Far more than wrapwatch takes to end on a busy machine, and far less than emptying a ring that others fill takes.
const SOON: Duration = Duration::from_secs(15);

fn honest(den: &Den) -> Server {
    den.serve(&[&den.text("hosts.allow"), &den.text("none")])
}

#[test]
fn a_program_that_replaces_itself_without_end_costs_nobody_else() {
    let den = Den::new();
    let (honest, looping) = (honest(&den), den.serve(&["loop"]));
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
