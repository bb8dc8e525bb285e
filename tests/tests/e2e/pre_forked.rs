//! A server whose workers were made before the trace, and accept on one listener.

use std::{collections::BTreeSet, path::Path};

use wrapwatch::{
    host::children,
    model::{Outcome, StallCause, VerdictKind},
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig},
    nameserver::Rule,
    wait_for,
    watch::Watch,
};

use crate::support::{MS, peer};

/// A nameserver's answer comes so late; by the server's own clock a little less, for a thread that reads the query late.
const LATE_MS: u64 = 300;
const AT_LEAST_NS: u64 = (LATE_MS - 10) * MS;
const WORKERS: usize = 3;
/// Two for each worker.
const CLIENTS: usize = 2 * WORKERS;

/// Asks the real libwrap about each client, and sends it a greeting of MySQL's protocol: ten bytes, number 0, version 10.
const SERVER: &str = "
import ctypes, os, socket, sys
RQ_FILE, RQ_DAEMON = 1, 2
libwrap = ctypes.CDLL('libwrap.so.0')
listener = socket.socket()
listener.bind(('0.0.0.0', 3306))
listener.listen(64)

def work():
    while True:
        client, _ = listener.accept()
        request = ctypes.create_string_buffer(65536)
        libwrap.request_init(request, RQ_DAEMON, b'workd', RQ_FILE, client.fileno(), 0)
        libwrap.sock_host(request)
        if libwrap.hosts_access(request):
            client.sendall(b'\\x0a\\0\\0\\0\\x0a5.5.62-x\\0')
        client.close()

for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        work()
os.wait()
";

/// Whether all of them wait in their `accept`.
fn all_wait(workers: &[u32]) -> bool {
    let waits = |pid: &u32| {
        let at = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("wchan"));
        at.is_ok_and(|at| at.contains("accept"))
    };
    workers.len() == WORKERS && workers.iter().all(waits)
}

#[test]
fn workers_that_were_there_before_are_followed_and_their_clients_wait_for_names() {
    let files = Files::tables("workd: .lab.example\n", "ALL: ALL\n");
    let lab = Lab::start(LabConfig { start_server: false, files, ..LabConfig::default() }).unwrap();
    let pid = lab.start_daemon(["/usr/bin/python3", "-c", SERVER, &WORKERS.to_string()]).unwrap();
    let mut workers = Vec::new();
    wait_for("the workers accept", || {
        workers = children::family(pid, 100)?.0;
        Ok(all_wait(&workers))
    })
    .unwrap_or_else(|error| panic!("{error}; it said: {}", lab.daemon_log().unwrap()));
    lab.rules([Rule::delay(LATE_MS)]).unwrap();

    let mut watch = Watch::pid(pid).unwrap();
    let clients = lab.clients(ClientsSpec::at_once(CLIENTS)).unwrap();
    watch.wait_connections(CLIENTS).unwrap();
    let seen = watch.stop().unwrap();
    let (summary, told) = (seen.summary().unwrap(), seen.connections());
    assert_eq!(summary.verdict_kind, VerdictKind::Wrappers, "{summary:#?}");
    assert_eq!(
        (summary.accepts, summary.lost, summary.unowned_checks),
        (CLIENTS as u64, 0, 0),
        "{summary:#?}"
    );
    assert!(summary.wrapper_share.unwrap() > 0.9, "{summary:#?}");

    let peers: BTreeSet<String> = clients.iter().map(peer).collect();
    assert_eq!(told.iter().filter_map(|told| Some(told.peer?.to_string())).collect::<BTreeSet<_>>(), peers);
    for told in &told {
        assert_eq!((told.outcome, told.pid), (Outcome::Greeted, pid), "{told:#?}");
        assert!(told.complete, "{told:#?}");
        let [check] = told.checks.as_slice() else { panic!("{told:#?}") };
        assert_eq!((&*check.daemon, check.allowed), ("workd", Some(true)));
        assert!(workers.contains(&check.tid) && check.tid == told.tid, "{workers:?} {told:#?}");
        // A name, and that name's address.
        assert!(told.parts.dns_ns >= 2 * AT_LEAST_NS, "{told:#?}");
    }
    // One in each worker is checked at once; the others wait behind one of these, in the queue.
    let behind = |told: &&&wrapwatch::model::Connection| {
        let queued = told.blame.iter().filter(|blame| blame.cause == StallCause::Dns);
        queued.map(|blame| blame.queued_ns).sum::<u64>() >= AT_LEAST_NS
    };
    assert_eq!(told.iter().filter(behind).count(), CLIENTS - WORKERS, "{told:#?}");
}
