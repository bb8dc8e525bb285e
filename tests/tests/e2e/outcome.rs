//! Outcomes.

use wrapwatch::model::Outcome;
use wrapwatch_tests::{
    clients::{self, ClientsSpec},
    lab::{Files, Lab, LabConfig, ServerConfig},
    watch::Watch,
};

use crate::support::{lab_with, peer};

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
