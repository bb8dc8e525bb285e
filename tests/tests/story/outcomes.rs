//! What became of a connection: refused by which rule, left by its client how and when, turned by a failed lookup.

use serde_json::Value;
use wrapwatch::model::{LeaveKind, Line, LookupKind, LookupOutcome, Missing, Outcome};
use wrapwatch_tests::{
    clients::{self, ClientsSpec, LeaveBy, Mode, Source},
    lab::{Files, Lab, LabConfig, ServerConfig, Signal},
    nameserver::{Rcode, Reply, Rule},
    next_tick,
    watch::{Seen, Watch, binary},
};

use crate::stage::{Stage, lookup, usual};
use crate::support::{MS, peer};

#[test]
fn refused_and_admitted_each_by_its_rule() {
    let mut stage = usual();
    let allow = "# nothing here\nALL: .nowhere.example\nALL: 10.2. : deny\n";
    stage.files(Files::tables(allow, "ALL: ALL\n"));
    let told = stage.until("the tables are read again", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.text.as_deref() == Some("ALL: 10.2. : deny"))
    });
    assert_eq!(told.outcome, Outcome::Refused);
    let (forced, verdict) = (told.rule.unwrap(), told.verdict_rule.unwrap());
    assert_eq!((forced.line, forced.text.as_deref()), (2, Some("ALL: .nowhere.example")));
    assert_eq!((&*verdict.file, verdict.line), ("/etc/hosts.allow", 3), "an allow table may deny");
    stage.files(Files::tables("sshd: ALL\n", "sshd: ALL\nmysqld mariadbd: 10.2. , \\\n  10.3.\n"));
    let told = stage.until("the tables are read again", |c| {
        c.verdict_rule
            .as_ref()
            .is_some_and(|rule| rule.text.as_ref().is_some_and(|text| text.contains("10.3.")))
    });
    assert_eq!(told.outcome, Outcome::Refused);
    assert_eq!(told.rule, None, "nothing was looked up");
    let verdict = told.verdict_rule.unwrap();
    assert_eq!(
        (&*verdict.file, verdict.line),
        ("/etc/hosts.deny", 3),
        "a rule's last line, as libwrap counts"
    );
}

#[test]
fn each_is_told_the_rule_of_the_tables_that_it_opened() {
    let mut stage = usual();
    for n in 0..20 {
        next_tick().unwrap();
        let rule = format!("mysqld mariadbd: 10.2. 10.9.{n}.");
        stage.files(Files::tables("", format!("{}{rule}\n", "#\n".repeat(n % 3))));
        let (_, told) = stage.one();
        let verdict = told.verdict_rule.unwrap();
        assert_eq!((verdict.line as usize, verdict.text), (n % 3 + 1, Some(rule.into())), "edit {n}");
    }
}

/// One client with a slow check, and one that leaves while it waits; what is told of both.
fn leaving(by: LeaveBy, own_check: bool) -> (wrapwatch::model::Connection, clients::Outcome) {
    let mut stage = usual();
    stage.rules([Rule::delay(700).qtype("PTR")]);
    stage.lab.take_dns_log().unwrap();
    let first = (!own_check).then(|| stage.lab.begin_clients(ClientsSpec::default()).unwrap());
    if first.is_some() {
        wrapwatch_tests::wait_for("the first client's query", || Ok(!stage.lab.dns_log()?.is_empty()))
            .unwrap();
    }
    let mode = Mode::GiveUp { after_ms: 150, by };
    let left = stage.lab.clients(ClientsSpec { mode, ..ClientsSpec::default() }).unwrap();
    if let Some(first) = first {
        stage.told(first.wait().unwrap());
    }
    let (client, connection) = stage.told(left).remove(0);
    (connection, client.outcome)
}

#[test]
fn a_client_that_left_the_queue_by_fin_is_greeted_all_the_same() {
    let (connection, client) = leaving(LeaveBy::Fin, false);
    assert_eq!(client, clients::Outcome::GaveUp);
    let left = connection.client_left.unwrap();
    assert_eq!(left.how, LeaveKind::Fin);
    assert!(left.after_ns.unwrap() < connection.queued_ns.unwrap(), "before accept: {connection:#?}");
    assert_eq!(connection.outcome, Outcome::Greeted, "{connection:#?}");
}

#[test]
fn a_client_that_left_the_queue_by_rst_is_refused_as_unknown() {
    let (connection, _) = leaving(LeaveBy::Rst, false);
    let left = connection.client_left.unwrap();
    assert_eq!(left.how, LeaveKind::Rst);
    assert!(left.after_ns.unwrap() < connection.queued_ns.unwrap(), "{connection:#?}");
    assert_eq!(connection.outcome, Outcome::Refused, "{connection:#?}");
}

#[test]
fn a_client_that_left_during_its_check_by_fin() {
    let (connection, _) = leaving(LeaveBy::Fin, true);
    let left = connection.client_left.unwrap();
    assert_eq!((left.how, connection.outcome), (LeaveKind::Fin, Outcome::Greeted));
    assert!(left.after_ns.unwrap() > connection.queued_ns.unwrap(), "after accept: {connection:#?}");
}

#[test]
fn a_client_that_left_during_its_check_by_rst() {
    let (connection, _) = leaving(LeaveBy::Rst, true);
    let left = connection.client_left.unwrap();
    assert_eq!(left.how, LeaveKind::Rst);
    assert!(left.after_ns.unwrap() > connection.queued_ns.unwrap(), "{connection:#?}");
    assert!(connection.wrapper_ns >= 700 * MS);
}

#[test]
fn refused_because_a_lookup_failed_and_admitted_because_one_did() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flips.wwt");
    let watch = Watch::record(lab.server_pid().unwrap(), &file, ["-q"; 0]).unwrap();
    // Fails closed: an allow rule by name misses.
    let fails = Rule::replies([Reply::rcode(Rcode::ServFail)]);
    lab.rules([fails.clone()]).unwrap();
    let closed = lab.client().unwrap();
    // Fails open: a deny rule by name misses.
    lab.files(Files::tables("", "ALL: .lab.example\n")).unwrap();
    let open = lab.client().unwrap();
    lab.rules([]).unwrap();
    let denied = lab.client().unwrap();
    let seen = watch.stop().unwrap();
    let of = |client| seen.of(&peer(client)).unwrap();
    assert_eq!(lookup(of(&closed), LookupKind::Reverse).outcome, LookupOutcome::Failed);
    assert_eq!(of(&closed).outcome, Outcome::Refused);
    assert_eq!(of(&closed).verdict_rule.as_ref().unwrap().file, "/etc/hosts.deny".into());
    assert_eq!((of(&open).outcome, &of(&open).verdict_rule), (Outcome::Greeted, &None));
    assert_eq!(of(&denied).outcome, Outcome::Refused, "the same client's rule, when its name is known");
    let report =
        std::process::Command::new(binary().unwrap()).args(["report", "--json"]).arg(&file).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let flipped = findings.iter().find(|finding| finding["id"] == "verdict-flipped").unwrap();
    let text = flipped.to_string();
    assert!(
        text.contains(&of(&closed).conn.to_string()) && text.contains(&of(&open).conn.to_string()),
        "{text}"
    );
}

#[test]
fn unfinished_are_those_whose_end_is_not_in_the_trace() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    lab.rules([Rule::delay(4_000).qtype("PTR")]).unwrap();
    // While a check goes on, with somebody behind it, the trace ends, or the server.
    let checked_until = |end: &dyn Fn(Watch) -> Seen| {
        let mut watch = Watch::pid(pid).unwrap();
        let clients = lab.begin_clients(ClientsSpec::at_once(2)).unwrap();
        let queued = |line: &Line| match line {
            Line::Stall(stall) => (stall.queued == Some(1)).then_some(()),
            _ => None,
        };
        watch.wait_for(queued).unwrap();
        let seen = end(watch);
        clients.wait().unwrap();
        let [connection] = seen.connections()[..] else { panic!("{:#?}", seen.lines) };
        assert_eq!(connection.parts.total(), connection.wrapper_ns);
        let lookup = lookup(connection, LookupKind::Reverse);
        assert_eq!((lookup.outcome, lookup.queries.len()), (LookupOutcome::Unfinished, 1), "{lookup:#?}");
        assert_eq!((connection.total_ns, connection.greeting_ns), (None, None), "{connection:#?}");
        (connection.outcome, connection.missing.clone(), seen.summary().unwrap().still_queued)
    };
    let ended = checked_until(&|watch| watch.stop().unwrap());
    let still = Missing::StillInCheck;
    assert_eq!(ended, (Outcome::Unfinished, vec![still], 1), "and the other one is still queued");
    let killed = checked_until(&|watch| {
        lab.signal(Signal::Kill).unwrap();
        watch.wait().unwrap()
    });
    let (outcome, missing, _) = killed;
    assert_eq!((outcome, missing), (Outcome::Unfinished, vec![Missing::ServerEnded]));
}

/// Clients that leave after the greeting are errors to the server; after `max_connect_errors` of them it blocks their host.
#[test]
fn a_host_that_the_server_has_blocked_is_told_its_error() {
    let options = vec!["--max-connect-errors=3".into()];
    let server = ServerConfig { options, skip_name_resolve: false, ..ServerConfig::default() };
    let mut stage = Stage::with(server);
    let source = Source::List(vec![[10, 2, 9, 9].into()]);
    let told = stage.clients(ClientsSpec { source, ..ClientsSpec::one_by_one(8) });
    let errors: Vec<_> = told.iter().map(|(client, _)| client.error_code).collect();
    // The server counts one that left when it comes to it, which may be after the next one came.
    let served = errors.iter().take_while(|error| error.is_none()).count();
    let blocked = errors.get(served..).unwrap();
    assert!(served >= 3 && !blocked.is_empty(), "{errors:?}");
    assert!(blocked.iter().all(|error| *error == Some(1129)), "{errors:?}");
    for (client, connection) in &told {
        let outcome = if client.error_code.is_some() { Outcome::ServerError } else { Outcome::Greeted };
        assert_eq!(
            (connection.outcome, connection.error_code),
            (outcome, client.error_code),
            "{connection:#?}"
        );
        assert!(connection.complete && connection.verdict_rule.is_some(), "{connection:#?}");
    }
}
