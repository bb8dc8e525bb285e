use serde_json::json;

use super::*;

const MS: u64 = 1_000_000;

/// A client that was checked for 800 ms and greeted; its clock begins at 10 s.
fn client() -> Client {
    let start = 10_000 * MS;
    let asked = |name: &str, at_ms: u64| Asked {
        name: name.to_owned(),
        from_ns: start + at_ms * MS,
        to_ns: start + (at_ms + 400) * MS,
    };
    let clock = Clock {
        called_ns: start,
        connected_ns: start + MS / 10,
        first_ns: Some(start + 810 * MS),
        ..Clock::default()
    };
    Client {
        address: IpAddr::from([10, 2, 0, 2]),
        datagrams: false,
        clock,
        noise_ns: 0,
        asked: vec![asked("2.0.2.10.in-addr.arpa", 2), asked("c-10-2-0-2.lab.example", 403)],
        wanted: WantedOfClient { outcome: "greeted".into(), asks: Asks::Check, for_the_log: 0, login: false },
    }
}

fn wanted() -> Wanted {
    Wanted {
        verdict: vec!["wrappers".into()],
        behind: Behind::Nobody,
        daemon: Some("sshd".into()),
        mysqld: false,
        findings: Vec::new(),
        says: Vec::new(),
        refusal: None,
    }
}

/// What is true of the client.
fn truth() -> Told {
    let query = |name: &str| json!({ "queries": [{ "qname": name, "rtt_ns": 400 * MS }] });
    let connection = json!({
        "peer": "10.2.0.2:41000", "outcome": "greeted", "complete": true, "missing": [],
        "total_ns": 810 * MS, "dns_ns": 800 * MS, "resolve_ns": 0, "blame": [{ "own_ns": 800 * MS, "queued_ns": 0 }],
        "lookups": [query("2.0.2.10.in-addr.arpa"), query("c-10-2-0-2.lab.example")],
        "checks": [{ "daemon": "sshd" }],
    });
    let summary = json!({ "verdict_kind": "wrappers", "verdict": "Wrappers explain 99 %.", "lookup_share": 0.988, "unknown_share": 0.0 });
    let report = json!({ "summary": summary, "findings": [{ "id": "nameserver-slow", "message": "10.1.1.53 is slow", "evidence": {} }] });
    Told { connections: vec![connection], report, ..Told::default() }
}

/// What is said when these values, by their JSON pointers, are told instead.
fn changed(changes: &[(&str, Value)]) -> Judgement {
    let mut told = truth();
    for (pointer, value) in changes {
        let (root, rest) = pointer.split_once(' ').unwrap();
        let of = if root == "report" { &mut told.report } else { &mut told.connections[0] };
        *of.pointer_mut(rest).unwrap() = value.clone();
    }
    judge(&wanted(), &[client()], &told)
}

/// Neither right nor honest, for this one reason.
fn is_wrong(judgement: &Judgement, reason: &str) {
    assert_eq!(judgement.standing, Standing::Wrong, "{judgement:?}");
    assert!(judgement.why[0].contains(reason), "{judgement:?}");
}

#[test]
fn the_truth_is_right() {
    assert_eq!(changed(&[]), Judgement { standing: Standing::Right, why: Vec::new(), wrong: 0 });
    let mut judgement = changed(&[]);
    judgement.complain("and more".to_owned());
    is_wrong(&judgement, "and more");
    assert_eq!(judgement.wrong(), ["and more"]);
}

#[test]
fn a_time_is_right_within_2_ms_and_what_the_scheduler_adds() {
    assert_eq!(changed(&[("connection /total_ns", json!(811 * MS))]).standing, Standing::Right);
    is_wrong(&changed(&[("connection /total_ns", json!(813 * MS))]), "total_ns");
    is_wrong(&changed(&[("connection /total_ns", json!(807 * MS))]), "total_ns");
    is_wrong(&changed(&[("connection /total_ns", Value::Null)]), "total_ns");
    // It was late to speak, and the server did not see it before.
    let mut late = client();
    late.clock.sent_ns = Some(late.clock.called_ns + 4 * MS);
    let mut told = truth();
    told.connections[0]["total_ns"] = json!(806 * MS);
    assert_eq!(judge(&wanted(), &[late], &told).standing, Standing::Right);
    let noisy = Client { noise_ns: 5 * MS, ..client() };
    let mut told = truth();
    told.connections[0]["total_ns"] = json!(815 * MS);
    assert_eq!(judge(&wanted(), &[noisy], &told).standing, Standing::Right);
}

#[test]
fn lookups_are_the_clients_own_and_whole() {
    let other = json!("3.0.2.10.in-addr.arpa");
    is_wrong(&changed(&[("connection /lookups/0/queries/0/qname", other)]), "nobody asked for its sake");
    is_wrong(&changed(&[("connection /lookups", json!([]))]), "2.0.2.10.in-addr.arpa is not told");
    is_wrong(&changed(&[("connection /dns_ns", json!(1200 * MS))]), "nameservers' log");
    let mine_and_others = [("connection /dns_ns", json!(0)), ("connection /resolve_ns", json!(800 * MS))];
    is_wrong(&changed(&mine_and_others), "nameservers' log");
    let both = [("connection /resolve_ns", json!(800 * MS))];
    is_wrong(&changed(&both), "charged to the wrong one");
}

#[test]
fn what_follows_the_first_byte_is_due_where_the_login_counts() {
    let mut late = client();
    late.clock.first_ns = Some(late.clock.called_ns + MS);
    let mut told = truth();
    told.connections[0]["total_ns"] = json!(MS);
    told.connections[0]["dns_ns"] = json!(0);
    told.connections[0]["lookups"] = json!([]);
    told.report["summary"]["lookup_share"] = json!(0);
    assert_eq!(judge(&wanted(), std::slice::from_ref(&late), &told).standing, Standing::Right);
    late.wanted.login = true;
    told.report["summary"]["lookup_share"] = json!(0.999);
    is_wrong(&judge(&wanted(), &[late], &told), "is not told");
}

#[test]
fn a_wrong_outcome_is_no_gap_but_an_open_one_is() {
    let incomplete =
        [("connection /complete", json!(false)), ("connection /missing", json!([{ "kind": "handed-over" }]))];
    let with = |outcome: &str| [&incomplete[..], &[("connection /outcome", json!(outcome))]].concat();
    is_wrong(&changed(&with("refused")), "refused, should be greeted");
    let open = changed(&with("handed_over"));
    assert_eq!(open.standing, Standing::Honest, "{open:?}");
    is_wrong(&changed(&[("connection /outcome", json!("handed_over"))]), "handed_over, should be greeted");
    assert_eq!(changed(&incomplete).standing, Standing::Honest, "that it is not complete is not right");
}

#[test]
fn the_verdict_is_of_the_kind_or_cannot_tell() {
    is_wrong(&changed(&[("report /summary/verdict_kind", json!("nobody_waited"))]), "nobody_waited");
    let open = changed(&[("report /summary/verdict_kind", json!("cannot_tell"))]);
    assert_eq!(open.standing, Standing::Honest, "{open:?}");
    is_wrong(&changed(&[("report /summary/lookup_share", json!(0.5))]), "share of lookups");
    let open =
        [("report /summary/verdict_kind", json!("cannot_tell")), ("report /summary/lookup_share", json!(0))];
    assert_eq!(changed(&open).standing, Standing::Honest);
    let most = |unknown| {
        changed(&[
            ("report /summary/lookup_share", json!(0.6)),
            ("report /summary/unknown_share", json!(unknown)),
        ])
    };
    assert_eq!(most(0.4).standing, Standing::Honest);
    is_wrong(&most(0.3), "share of lookups");
}

#[test]
fn what_is_not_so_is_never_honest() {
    let cannot_tell = ("report /summary/verdict_kind", json!("cannot_tell"));
    let finding = ("report /findings/0/id", json!("forward-mismatch"));
    is_wrong(&changed(&[cannot_tell.clone(), finding]), "forward-mismatch");
    let text = ("report /findings/0/message", json!("start mysqld without wrappers"));
    is_wrong(&changed(&[cannot_tell, text]), "mysqld");
    let behind = ("connection /blame/0/queued_ns", json!(400 * MS));
    is_wrong(&changed(&[behind]), "others' lookups");
}

#[test]
fn what_has_to_be_said_is() {
    let says = |text: &str| judge(&Wanted { says: vec![text.to_owned()], ..wanted() }, &[client()], &truth());
    assert_eq!(says("10.1.1.53 is slow").standing, Standing::Right);
    is_wrong(&says("stand still"), "not said");
}

#[test]
fn a_check_has_the_name_that_libwrap_got() {
    is_wrong(&changed(&[("connection /checks/0/daemon", json!("sshd: [listener]"))]), "should be sshd");
    is_wrong(&changed(&[("connection /checks", json!([]))]), "should be sshd");
}

#[test]
fn without_uprobes_the_name_may_be_missing_and_must_not_be_wrong() {
    let mut told = truth();
    (told.without_uprobes, told.connections[0]["checks"]) = (true, json!([]));
    assert_eq!(judge(&wanted(), &[client()], &told).standing, Standing::Honest);
    told.connections[0]["checks"] = json!([{ "daemon": "ssh" }]);
    is_wrong(&judge(&wanted(), &[client()], &told), "should be sshd");
}

#[test]
fn every_client_is_told_once() {
    let mut told = truth();
    told.connections.push(told.connections[0].clone());
    is_wrong(&judge(&wanted(), &[client()], &told), "told of 2 times");
    told.connections.clear();
    is_wrong(&judge(&wanted(), &[client()], &told), "told of 0 times");
    let of_datagrams = [Client { datagrams: true, ..client() }];
    is_wrong(&judge(&wanted(), &of_datagrams, &told), "told of 0 times");
    told.requests = vec![json!({ "complete": false, "missing": [{ "kind": "peer-unseen" }] })];
    assert_eq!(judge(&wanted(), &of_datagrams, &told).standing, Standing::Honest);
    is_wrong(&judge(&wanted(), &[client()], &told), "told of 0 times");
    told.report["summary"]["verdict_kind"] = json!("cannot_tell");
    assert_eq!(judge(&wanted(), &[client()], &told).standing, Standing::Honest);
}

/// A client that is greeted at once, and looked up when it logs in.
fn login() -> (Client, Told) {
    let mut late = client();
    late.clock.first_ns = Some(late.clock.called_ns + 5 * MS);
    late.wanted.login = true;
    for asked in &mut late.asked {
        (asked.from_ns, asked.to_ns) = (asked.from_ns + 100 * MS, asked.to_ns + 100 * MS);
    }
    let mut told = truth();
    let mut request = told.connections[0].clone();
    request["outcome"] = json!("admitted");
    let connection = &mut told.connections[0];
    (connection["total_ns"], connection["dns_ns"]) = (json!(5 * MS), json!(0));
    (connection["lookups"], connection["checks"], connection["blame"]) = (json!([]), json!([]), json!([]));
    told.requests.push(request);
    (late, told)
}

#[test]
fn what_is_asked_at_a_login_is_told_as_a_request() {
    let (client, told) = login();
    let judged = |told: &Told| judge(&wanted(), std::slice::from_ref(&client), told);
    assert_eq!(judged(&told).why, Vec::<String>::new());
    let without = Told { requests: Vec::new(), ..told.clone() };
    is_wrong(&judged(&without), "is not told");
    let mut others = told.clone();
    others.requests[0]["within"] = json!(7);
    is_wrong(&judged(&others), "another connection's");
    let mut charged = told;
    (charged.requests[0]["dns_ns"], charged.requests[0]["resolve_ns"]) = (json!(0), json!(800 * MS));
    is_wrong(&judged(&charged), "later lookups");
}

#[test]
fn what_a_refused_client_is_kept_for_is_no_wait_for_lookups() {
    let mut refused = client();
    refused.wanted.outcome = "refused".into();
    (refused.clock.first_ns, refused.clock.ended_ns) =
        (None, refused.clock.first_ns.map(|at| at + 5_000 * MS));
    let mut told = truth();
    told.connections[0]["outcome"] = json!("refused");
    told.connections[0]["total_ns"] = json!(5_810 * MS);
    told.connections[0]["held_ns"] = json!(5_006 * MS);
    assert_eq!(judge(&wanted(), &[refused.clone()], &told).why, Vec::<String>::new());
    told.connections[0]["held_ns"] = json!(4_000 * MS);
    is_wrong(&judge(&wanted(), &[refused.clone()], &told), "was kept");
    told.connections[0]["held_ns"] = Value::Null;
    is_wrong(&judge(&wanted(), &[refused], &told), "was kept");
}

#[test]
fn an_end_that_was_there_came_at_any_moment_until_then() {
    let mut late = client();
    late.wanted = WantedOfClient { outcome: "refused".into(), asks: Asks::Nobody, ..late.wanted };
    (late.asked, late.clock.first_ns) = (Vec::new(), None);
    late.clock.ended_ns = Some(late.clock.called_ns + 9 * MS);
    let mut told = truth();
    for (name, value) in [("outcome", json!("refused")), ("total_ns", json!(MS)), ("dns_ns", json!(0))] {
        told.connections[0][name] = value;
    }
    told.connections[0]["lookups"] = json!([]);
    told.report["summary"]["lookup_share"] = json!(0);
    is_wrong(&judge(&wanted(), &[late.clone()], &told), "total_ns");
    late.clock.end_was_there = true;
    assert_eq!(judge(&wanted(), &[late.clone()], &told).why, Vec::<String>::new());
    told.connections[0]["total_ns"] = json!(20 * MS);
    is_wrong(&judge(&wanted(), &[late], &told), "total_ns");
}

#[test]
fn one_thread_has_everybody_wait_for_all_lookups() {
    // The second client came with the first, was asked about afterwards, and both were served at the end.
    let (mut first, mut second) = (client(), client());
    second.address = IpAddr::from([10, 2, 0, 3]);
    for asked in &mut second.asked {
        asked.name = asked.name.replace("2.0.2.10", "3.0.2.10").replace("10-2-0-2", "10-2-0-3");
        asked.from_ns += 800 * MS;
        asked.to_ns += 800 * MS;
    }
    for client in [&mut first, &mut second] {
        client.clock.first_ns = Some(client.clock.called_ns + 1610 * MS);
    }
    let mut told = truth();
    told.connections[0]["total_ns"] = json!(1610 * MS);
    let text = told.connections[0].to_string().replace("10.2.0.2", "10.2.0.3");
    let text = text.replace("2.0.2.10", "3.0.2.10").replace("10-2-0-2", "10-2-0-3");
    told.connections.push(serde_json::from_str(&text).unwrap());
    let others = Wanted { behind: Behind::Others, ..wanted() };
    let judgement = judge(&others, &[first.clone(), second.clone()], &told);
    assert_eq!(judgement.standing, Standing::Right, "{judgement:?}");
    told.report["summary"]["lookup_share"] = json!(0.497);
    is_wrong(&judge(&others, &[first, second], &told), "share of lookups");
}

#[test]
fn that_it_does_not_attach_is_honest_for_the_reason_that_is_expected_only() {
    let told = Told { refused: Some("pid 7 has no listening TCP socket".into()), ..Told::default() };
    is_wrong(&judge(&wanted(), &[client()], &told), "did not attach");
    let refusal = |reason: &str| Wanted { refusal: Some(reason.to_owned()), ..wanted() };
    is_wrong(&judge(&refusal("exited"), &[client()], &told), "did not attach");
    let expected = judge(&refusal("no listening TCP socket"), &[client()], &told);
    assert_eq!(expected.standing, Standing::Honest);
}

#[test]
fn a_client_that_fails_proves_nothing() {
    let mut failed = client();
    failed.clock.failed = Some("connection refused".into());
    let judgement = judge(&wanted(), &[failed], &truth());
    assert_eq!(judgement.standing, Standing::Failed);
    assert!(judgement.why[0].contains("itself failed"), "{judgement:?}");
}

#[test]
fn connections_of_no_client_are_wrong() {
    let mut unknown = truth();
    unknown.connections.push(json!({ "peer": null, "outcome": "greeted", "complete": false }));
    assert_eq!(judge(&wanted(), &[client()], &unknown).standing, Standing::Honest);
    for peer in [json!("unix"), json!("10.0.0.1:41000"), Value::Null] {
        let mut told = truth();
        told.connections.push(json!({ "peer": peer, "outcome": "greeted", "complete": true }));
        is_wrong(&judge(&wanted(), &[client()], &told), "is no client's");
    }
}

#[test]
fn nobody_is_acquitted_whom_the_nameservers_log_convicts() {
    // Even where the file allows the verdict.
    let mut told = truth();
    told.report["summary"]["verdict_kind"] = json!("nobody_waited");
    let verdict = ["wrappers", "nobody_waited"].map(str::to_owned).to_vec();
    let allowed = Wanted { verdict, ..wanted() };
    is_wrong(&judge(&allowed, &[client()], &told), "but this is said: nobody_waited");
    let text = ("report /summary/verdict", json!("Nobody can tell: look elsewhere."));
    is_wrong(&changed(&[("report /summary/verdict_kind", json!("cannot_tell")), text]), "look elsewhere");
    // Lookups that nobody waits for are another matter.
    let mut quick = client();
    quick.clock.first_ns = Some(quick.clock.called_ns + MS);
    (told.connections[0]["total_ns"], told.connections[0]["dns_ns"]) = (json!(MS), json!(0));
    told.report["summary"]["lookup_share"] = json!(0);
    assert_eq!(judge(&allowed, &[quick], &told).why, Vec::<String>::new());
}

#[test]
fn what_evidence_says_is_read_too() {
    let evidence = json!({ "clients": [{ "cure": "raise back_log" }] });
    is_wrong(&changed(&[("report /findings/0/evidence", evidence)]), "back_log");
    is_wrong(&changed(&[("report /findings/0/id", json!("nameserver-silent"))]), "nameserver-silent");
}
