//! Real servers that make processes: which of them is meant, and whose lookups are whose when many come and go. What each kind of server is told to do
//! stands in `tests/daemons`.

mod brood;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use wrapwatch::host::{
    children,
    wanted::{self, Wanted},
};
use wrapwatch::model::{Missing, Outcome};
use wrapwatch_tests::daemons::{
    client::{self, Way},
    spec::{self, Transport},
    world::{World, address},
};
use wrapwatch_tests::nameserver::zone::{name_of, reverse_name};
use wrapwatch_tests::wait_for;
use wrapwatch_tests::watch::Watch;

fn way(world: &World, n: usize) -> Way {
    Way { from: address(n), to: world.server(), transport: Transport::Tcp }
}

#[test]
fn a_helper_leads_to_the_process_that_listens() {
    let daemon = spec::named("stunnel").unwrap();
    let world = World::start(&daemon, &[]).unwrap();
    let (helpers, all) = children::family(world.pid, 100).unwrap();
    assert!(all && !helpers.is_empty(), "stunnel makes its helpers at the start");

    // Of all of them it is the one that listens that has libwrap and accepts.
    let wrapped = wanted::find(&Wanted::Wrapped).unwrap();
    assert!(wrapped.contains(&world.pid), "{wrapped:?} lack {}", world.pid);
    assert!(helpers.iter().all(|helper| !wrapped.contains(helper)), "{wrapped:?}, helpers {helpers:?}");

    let mut watch = Watch::pid(helpers[0]).unwrap();
    let clock = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            world.enter_clients().unwrap();
            client::follow(way(&world, 0), &daemon.clients[0].steps)
        });
        client.join().unwrap()
    });
    assert_eq!(clock.failed, None);
    watch.wait_connections(1).unwrap();
    let seen = watch.stop().unwrap();
    assert!(seen.stderr.contains("accepts for it and is traced"), "{}", seen.stderr);
    let told = seen.connections();
    assert_eq!((told.len(), told[0].pid), (1, world.pid), "{told:#?}");
}

/// As a load balancer looks whether a port answers: connected, and reset at once, before the server has made a process, or after.
#[test]
fn clients_that_reset_come_to_an_end() {
    let daemon = spec::named("vsftpd").unwrap();
    let world = World::start(&daemon, &[]).unwrap();
    world.answer_after(5).unwrap();
    let watch = Watch::pid(world.pid).unwrap();
    std::thread::scope(|scope| {
        let probes = scope.spawn(|| {
            world.enter_clients().unwrap();
            for n in 0..RESETS {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::new(address(n), 0).into()).unwrap();
                socket.connect(&world.server().into()).unwrap();
                if n % 2 == 1 {
                    wait_for("there is a process", || Ok(!children::family(world.pid, 10_000)?.0.is_empty()))
                        .unwrap();
                }
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        probes.join().unwrap();
    });
    world.wait_done().unwrap();
    let seen = watch.stop().unwrap();
    let (summary, told) = (seen.summary().unwrap(), seen.connections());
    assert_eq!((summary.accepts, told.len()), (RESETS as u64, RESETS), "{summary:#?}");
    assert_eq!((summary.unowned_checks, summary.lost), (0, 0), "{summary:#?}");
    let open: Vec<_> = told.iter().filter(|told| told.missing.contains(&Missing::StillOpen)).collect();
    assert!(open.is_empty(), "{open:#?}");
}

const RESETS: usize = 200;

/// As many at once.
const AT_ONCE: usize = 20;
const CLIENTS: usize = 2_000;

#[test]
fn two_thousand_clients_with_a_process_each_have_their_own_lookups() {
    let daemon = spec::named("vsftpd").unwrap();
    let world = World::start(&daemon, &[]).unwrap();
    world.answer_after(5).unwrap();
    let watch = Watch::pid(world.pid).unwrap();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                world.enter_clients().unwrap();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= CLIENTS {
                        break;
                    }
                    let clock = client::follow(way(&world, n), &daemon.clients[0].steps);
                    assert_eq!(clock.failed, None, "client {n}");
                }
            });
        }
    });
    world.wait_done().unwrap();
    let seen = watch.stop().unwrap();
    let summary = seen.summary().unwrap();
    let told = seen.connections();
    assert_eq!(summary.accepts, CLIENTS as u64, "{summary:#?}");
    assert_eq!(summary.accepts, summary.connections + summary.lost_accepts, "{summary:#?}");
    assert_eq!(summary.unowned_checks, 0, "{summary:#?}");
    assert!(told.len() > CLIENTS / 2, "most were not lost: {summary:#?}");

    let by_peer: BTreeMap<String, _> = told.iter().filter_map(|c| Some((c.peer?.to_string(), *c))).collect();
    assert_eq!(by_peer.len(), told.len(), "each client came once");
    for (peer, connection) in by_peer {
        let ip = peer.rsplit_once(':').unwrap().0.parse().unwrap();
        let names = [reverse_name(ip), name_of(ip)];
        let asked: Vec<&str> = connection
            .lookups
            .iter()
            .flat_map(|lookup| &lookup.queries)
            .filter_map(|query| query.qname.as_deref())
            .collect();
        assert!(asked.iter().all(|name| names.iter().any(|own| own == name)), "{peer} asked {asked:?}");
        if connection.complete {
            assert_eq!(connection.outcome, Outcome::Greeted, "{connection:#?}");
            let daemons: Vec<&str> = connection.checks.iter().map(|check| &*check.daemon).collect();
            assert_eq!((daemons.as_slice(), asked.len()), (["vsftpd"].as_slice(), 2), "{connection:#?}");
        }
    }
}
