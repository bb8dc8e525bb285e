//! Outcomes.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use wrapwatch::{
    decode::Event,
    host::process::ProcessInfo,
    model::{Outcome, doctor::HookKind},
    probe::Options,
};
use wrapwatch_tests::{
    clients::{self, ClientsSpec},
    lab::{Files, Lab, LabConfig, ServerConfig},
    watch::Watch,
};

use crate::support::{lab_with, own_process, peer, with_probe};

/// Of a client that leaves before it is greeted there is a record; of one that leaves later, as each does some day, there is none.
#[test]
fn a_client_that_leaves_once_it_was_greeted_leaves_no_record() {
    let _alone = own_process();
    for hooks in [HookKind::RawTracepoint, HookKind::Tracepoint] {
        let left = with_probe(&Options { hooks: Some(hooks), ..Options::default() }, |probe, records| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            let info = ProcessInfo::read(std::process::id()).unwrap();
            probe.add_target(&info, None, &[at.port()]).unwrap();
            let come = || {
                let client = TcpStream::connect(at).unwrap();
                (client.local_addr().unwrap().port(), client)
            };
            let (greeted, client) = come();
            let mut served = listener.accept().unwrap().0;
            served.write_all(b"\x0a\0\0\0\x0ahello").unwrap();
            drop(client);
            // By now it has left.
            let _ = served.read(&mut [0; 16]);
            let (while_queued, client) = come();
            drop(client);
            let queued = listener.accept().unwrap().0;
            let (while_served, client) = come();
            let waits = listener.accept().unwrap().0;
            drop(client);
            let _ = (&waits).read(&mut [0]);
            drop((queued, waits));
            let mut changes = Vec::new();
            let mut closed = 0;
            records.until(|_, event| {
                if let Event::SockState(state) = event {
                    changes.push((state.peer.port, state.new));
                }
                closed += u32::from(matches!(event, Event::Close(_)));
                closed == 2
            });
            let of = |port| changes.iter().filter(move |(peer, _)| *peer == port).count();
            [greeted, while_queued, while_served].map(of)
        });
        // Each handshake, and who left before its time: twice where that was just when it was accepted.
        assert_eq!([left[0], left[2]], [1, 2], "{hooks:?}: {left:?}");
        assert!(left[1] >= 2, "{hooks:?}: {left:?}");
    }
}

#[test]
fn a_refused_client_is_refused_and_nothing_else() {
    let lab = lab_with(Files::tables("ALL: 10.99.\n", "ALL: ALL\n"));
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let refused = lab.clients(ClientsSpec { count: 5, concurrency: 5, ..ClientsSpec::default() }).unwrap();
    let seen = watch.stop().unwrap();
    for client in &refused {
        assert_eq!(client.outcome, clients::Outcome::Closed, "the client's own view");
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!(connection.outcome, Outcome::Refused);
        assert_eq!(connection.greeting_ns, None);
        assert_eq!(connection.error_code, None);
        assert!(connection.complete, "{connection:#?}");
        let verdict = connection.verdict_rule.as_ref().unwrap();
        assert_eq!((&*verdict.file, verdict.line), ("/etc/hosts.deny", 1));
    }
    let outcomes = &seen.summary().unwrap().outcomes;
    assert_eq!(outcomes.iter().map(|o| (o.outcome, o.count)).collect::<Vec<_>>(), [(Outcome::Refused, 5)]);
}

#[test]
fn too_many_connections_is_the_servers_error() {
    let server = ServerConfig { options: vec!["--max-connections=10".into()], ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let mode = clients::Mode::Hold { ms: 1500 };
    let all =
        lab.clients(ClientsSpec { count: 14, concurrency: 14, mode, ..ClientsSpec::default() }).unwrap();
    let seen = watch.stop().unwrap();
    let errors: Vec<_> = all.iter().filter(|client| client.outcome == clients::Outcome::Error).collect();
    assert!(!errors.is_empty());
    for client in &all {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!(connection.error_code, client.error_code);
        let expected = if client.error_code.is_some() { Outcome::ServerError } else { Outcome::Greeted };
        assert_eq!(connection.outcome, expected);
    }
}
