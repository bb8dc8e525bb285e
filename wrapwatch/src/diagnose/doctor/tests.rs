//! What is said of servers that were put together by hand.

use super::*;
use crate::model::doctor::{Network, ResolverState, View, WrapState};

/// A wrapped mysqld that nothing is wrong with.
pub(in crate::diagnose) fn target() -> Target {
    Target {
        pid: 812,
        comm: "mysqld".to_owned(),
        exe: Some("/usr/sbin/mysqld".to_owned()),
        daemon: "mysqld".to_owned(),
        started: None,
        state: "S".to_owned(),
        threads: 30,
        connections: Some(0),
        own_namespaces: Some(Vec::new()),
        libwrap: WrapState {
            state: Wrapped::Mapped,
            library: None,
            library_deleted: false,
            needed: Some(true),
            program_replaced: Some(false),
            needed_on_disk: None,
            strings: Some(true),
            tcpd_context: Some(true),
        },
        view: View::Target,
        tables: Vec::new(),
        listeners: Some(Vec::new()),
        network: Network::default(),
        counters: None,
        resolver: ResolverState {
            files: Vec::new(),
            services: vec!["files".to_owned(), "dns".to_owned()],
            nameservers: Vec::new(),
            timeout_s: 5,
            attempts: 2,
            search: Vec::new(),
            sockets: Vec::new(),
        },
    }
}

fn texts(allow: &str, conf: &str) -> Texts {
    let table = |text: &str| Ok(Some(text.as_bytes().to_vec()));
    Texts::of([table(allow), table("ALL: ALL\n")], conf.as_bytes(), b"", b"")
}

/// The problems of this kind.
fn found(target: &Target, texts: &Texts, kind: ServerProblem) -> Vec<DoctorProblem> {
    let mut all = problems(target, texts);
    all.retain(|problem| problem.kind == DoctorProblemKind::Server(kind));
    all
}

#[test]
fn a_check_that_outlasts_whoever_waits_is_told_with_its_parts() {
    let outlasts = |daemon: &str, allow: &str, conf: &str| {
        let target = Target { daemon: daemon.to_owned(), ..target() };
        found(&target, &texts(allow, conf), ServerProblem::CheckOutlastsClients)
    };
    let two = "nameserver 10.1.1.53\nnameserver 10.1.1.54\n";
    let slow = outlasts("mysqld", "ALL: .example.com\n", two);
    assert_eq!(slow.len(), 1);
    assert!(slow[0].message.contains("many MySQL clients give up after 10 s or so"), "{slow:?}");
    assert!(slow[0].message.contains("reverse: ") && slow[0].change.is_some(), "{slow:?}");
    let quick = "nameserver 10.1.1.53\noptions timeout:1 attempts:1\n";
    assert_eq!(outlasts("mysqld", "ALL: .example.com\n", quick), []);
    assert_eq!(outlasts("mysqld", "ALL: 10.\n", two), [], "nobody is looked up");
    // Of these nothing is known that ends the wait: sshd's LoginGraceTime begins after the check.
    for daemon in ["sshd", "vsftpd", "imap", "postgres"] {
        assert_eq!(outlasts(daemon, "ALL: .example.com\n", two), [], "{daemon}");
    }
    // A minute: two lookups of three nameservers, 28 s each, and four names.
    let long = "nameserver 10.1.1.51\nnameserver 10.1.1.52\nnameserver 10.1.1.53\nsearch a b c\n";
    assert_eq!(outlasts("mosquitto", "ALL: .example.com\n", long).len(), 1);
    assert_eq!(outlasts("mosquitto", "ALL: .example.com\n", quick), []);
}
