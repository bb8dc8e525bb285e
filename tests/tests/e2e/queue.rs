//! Head-of-line blocking: the wait of those behind a slow check.

use wrapwatch::model::Outcome;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    nameserver::Rule,
    watch::Watch,
};

use crate::support::{CLOCK_SLACK_NS, MS, ktime, peer, ptr_name};

#[test]
fn those_behind_one_slow_ptr_wait_in_the_queue() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    // Clients' addresses are given in order: the fourth of twenty.
    let slow_name = "4.0.2.10.in-addr.arpa";
    lab.rules([Rule::delay(800).name(slow_name)]).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    // A millisecond apart, so that the first three are through before the slow one comes.
    let spec = ClientsSpec { stagger_us: 5_000, ..ClientsSpec::at_once(20) };
    let clients = lab.clients(spec).unwrap();
    let seen = watch.stop().unwrap();
    let slow_client = clients.iter().find(|client| ptr_name(client) == slow_name).unwrap();
    let slow = seen.of(&peer(slow_client)).unwrap();
    assert!(slow.wrapper_ns >= 800 * MS, "{slow:#?}");
    let mut behind = 0;
    for client in &clients {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!(connection.outcome, Outcome::Greeted);
        let queued = connection.queued_ns.unwrap();
        if connection.conn > slow.conn && queued > 100 * MS {
            behind += 1;
            assert_eq!(connection.queued_behind.first(), Some(&slow.conn), "{connection:#?}");
            assert!(connection.queued_behind_count >= 1);
            assert!(connection.wrapper_ns < queued / 2, "{connection:#?}");
        }
        // The client's own clock goes around it: connect called ≤ established, first packet ≤ first byte read.
        let first_packet = ktime(connection.accepted) + connection.greeting_ns.unwrap();
        assert!(ktime(connection.established.unwrap()) + CLOCK_SLACK_NS >= client.t_connect_called_ns);
        assert!(first_packet <= client.t_first_byte_ns.unwrap() + CLOCK_SLACK_NS);
    }
    assert!(behind >= 10, "{behind} waited behind the slow one");
}

#[test]
fn a_saturated_accept_thread_is_busy_and_its_ceiling_is_what_its_clients_got() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    lab.rules([Rule::delay(60)]).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let clients = lab.clients(ClientsSpec::at_once(12)).unwrap();
    let seen = watch.stop().unwrap();
    // By the clients' clock: the first was served when the thread turned to the second, and so on.
    let mut served: Vec<u64> = clients.iter().map(|client| client.t_first_byte_ns.unwrap()).collect();
    served.sort_unstable();
    let each_ns = (served[11] - served[0]) / 11;
    let thread = &seen.summary().unwrap().accept_threads[0];
    assert_eq!(thread.connections, 12);
    assert!(thread.utilisation > 0.9, "{thread:?}");
    let ceiling_ns = 1e9 / thread.ceiling_per_s.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let ratio = ceiling_ns / each_ns as f64;
    assert!((0.8..1.25).contains(&ratio), "{ceiling_ns} ns a connection, the clients saw {each_ns}");
}
