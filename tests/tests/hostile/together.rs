//! Several targets that do as much as they can, all at once, beside a real server under a storm.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    watch::Watch,
};

use crate::{
    library::image,
    moving,
    support::{Den, Ending, Server, peak_kb},
};

/// For how long all of them are traced.
const TOGETHER: Duration = Duration::from_secs(8);
/// What wrapwatch may have in memory: 64 MB.
const MOST_KB: u64 = 64_000_000 >> 10;
/// How much later than asked it may end, without what is the machine's ([`Ending::wait`]).
const LATE: Duration = Duration::from_secs(1);

/// All of them, and the honest server.
struct All {
    lab: Lab,
    others: Vec<Server>,
    /// Of a program that replaces itself without end, a lease, 1 100 ports, and tables that move.
    _den: Den,
}

impl All {
    fn start() -> Self {
        let lab = Lab::start(LabConfig::default()).unwrap();
        let den = Den::new();
        let library = |name| den.file(name, &image(2, b"x", &[]));
        let (moving, _) = moving::server(&den, "a:b\n");
        let others = vec![
            den.serve(&["loop"]),
            den.serve_bare(&[&library("libwrap.so.0"), "lease"]),
            den.serve_bare(&[&library("libwrap.so.1"), "ports"]),
            moving,
        ];
        Self { lab, others, _den: den }
    }

    fn honest(&self) -> u32 {
        self.lab.server_pid().unwrap()
    }

    fn watch(&self, args: &[String]) -> Watch {
        let pids = self.others.iter().map(Server::pid).chain([self.honest()]);
        let pids = pids.flat_map(|pid| ["-p".to_owned(), pid.to_string()]);
        Watch::live(pids.chain(args.iter().cloned())).unwrap()
    }

    /// Some of a storm: clients of the honest server, so many, and of the one whose tables move.
    fn storm(&self) -> usize {
        let spec = ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(100) };
        let clients = self.lab.begin_clients(spec).unwrap();
        (0..20).for_each(|_| self.others[3].client());
        clients.wait().unwrap().len()
    }
}

#[test]
fn all_of_them_together_cost_an_honest_server_nothing() {
    let all = All::start();
    let watch = all.watch(&["-d".to_owned(), format!("{}s", TOGETHER.as_secs())]);
    let began = Instant::now();
    let (mut clients, mut peak) = (0, 0);
    while began.elapsed() < TOGETHER / 2 {
        clients += all.storm();
        peak = peak.max(peak_kb(watch.id()));
    }
    // As long as it is to take is the scenario.
    std::thread::sleep(TOGETHER.saturating_sub(began.elapsed()));
    let late = Ending::of(watch.id()).wait();
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    assert!(late < LATE, "it ended {late:?} later than it was to");
    let honest = all.honest();
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

#[test]
fn amid_all_of_them_a_signal_ends_the_trace_at_once() {
    let all = All::start();
    let mut watch = all.watch(&[]);
    all.storm();
    watch.wait_connections(1).unwrap();
    let spec = ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(1_000) };
    let storm = all.lab.begin_clients(spec).unwrap();
    watch.wait_connections(200).unwrap();
    let ending = Ending::of(watch.id());
    kill(Pid::from_raw(watch.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let took = ending.wait();
    storm.wait().unwrap();
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    assert!(took < LATE, "it took {took:?} to end");
}
