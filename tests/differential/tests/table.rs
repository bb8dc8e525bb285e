//! Known rules against the real libwrap: the table of lookups each pattern costs, and the odd corners, one by one.

#![expect(clippy::panic, clippy::expect_used, reason = "a test fails where it is surprised")]

mod common;

use common::{case, compare, end, named, oracle};
use wrapwatch::wrappers::{LookupKind, Reason, Verdict};
use wrapwatch_differential::{Case, Forward, TableText};

/// Evaluates after libwrap agreed.
fn agreed(case: &Case) -> wrapwatch::wrappers::Evaluation {
    let mut oracle = oracle();
    let answer = oracle.ask(case).expect("libwrap answers");
    compare(oracle.pid(), case, &answer, false).unwrap_or_else(|difference| panic!("{difference}"))
}

fn lookups(case: &Case) -> Vec<LookupKind> {
    agreed(case).lookups.iter().map(|lookup| lookup.kind).collect()
}

const NONE: &[LookupKind] = &[];
const BOTH: &[LookupKind] = &[LookupKind::Reverse, LookupKind::Forward];
const NETGROUP: &[LookupKind] = &[LookupKind::Reverse, LookupKind::Forward, LookupKind::Netgroup];
const IDENT: &[LookupKind] = &[LookupKind::Ident];

#[test]
fn each_pattern_costs_what_it_costs() {
    for (clients, expected) in [
        ("ALL", NONE),
        ("10.0.2.14", NONE),
        ("10.0.2.", NONE),
        ("10.0.2.0/24", NONE),
        ("10.0.2.0/255.255.255.0", NONE),
        ("10.0.2.*", NONE),
        ("10.9.9.9", NONE),
        ("10.9.", NONE),
        ("10.9.0.0/16", NONE),
        ("[2001:db8::]/64", NONE),
        (".example.com", BOTH),
        ("db1.example.com", BOTH),
        ("localhost", BOTH),
        ("LOCAL", BOTH),
        ("KNOWN", BOTH),
        ("UNKNOWN", BOTH),
        ("PARANOID", BOTH),
        ("ALL EXCEPT .bad", BOTH),
        ("192.168.*", BOTH),
        ("[::1]", BOTH),
        ("/list", BOTH),
        ("@netgroup", NETGROUP),
        ("10.0.2.14, .example.com", NONE),
        (".example.org, 10.0.2.14", BOTH),
        ("bob@10.0.2.14", IDENT),
        ("bob@10.9.9.9", NONE),
        ("ALL: rfc931", IDENT),
        ("ALL: spawn echo %u", IDENT),
        ("ALL: spawn echo %a %h %c", NONE),
        ("ALL: spawn echo %n", BOTH),
    ] {
        let mut case = named(case(&format!("mysqld: {clients}\n"), "", "10.0.2.14"), "db1.example.com");
        case.files.push(("/list".into(), b"10.9.9.9 host.example.org\n".to_vec()));
        case.user = Some("bob".into());
        assert_eq!(lookups(&case), expected, "{clients}");
        let other = Case { daemon: "sshd".into(), ..case };
        assert_eq!(lookups(&other), NONE, "{clients}, another daemon");
    }
}

#[test]
fn v6_clients() {
    for (clients, client, allowed, expected) in [
        ("[2001:db8::]/64", "2001:db8::7", true, NONE),
        ("[2001:db8::7]", "2001:db8::7", true, NONE),
        ("2001:db8::7", "2001:db8::7", false, NONE),
        ("[::1]", "2001:db8::7", false, BOTH),
        ("10.0.2.0/24", "::ffff:10.0.2.14", true, NONE),
        ("10.0.2.", "::ffff:10.0.2.14", true, NONE),
        ("10.0.2.14", "::ffff:10.0.2.14", true, NONE),
        ("[::ffff:10.0.2.14]", "::ffff:10.0.2.14", false, BOTH),
        ("[::ffff:10.0.2.0]/120", "::ffff:10.0.2.14", false, NONE),
        (".example.com", "::ffff:10.0.2.14", true, BOTH),
        ("[::]/0", "2001:db8::7", true, NONE),
        ("[::]/0", "::ffff:10.0.2.14", false, NONE),
        ("2001:db8::*", "2001:db8::7", false, NONE),
    ] {
        let case = named(case(&format!("mysqld: {clients}\n"), "ALL: ALL\n", client), "db1.example.com");
        let result = agreed(&case);
        assert_eq!(result.verdict == Verdict::Allow, allowed, "{clients} {client}");
        assert_eq!(result.lookups.iter().map(|l| l.kind).collect::<Vec<_>>(), expected, "{clients} {client}");
    }
}

fn denied(allow: &str, deny: &str) -> bool {
    agreed(&case(allow, deny, "10.0.2.14")).verdict == Verdict::Deny
}

#[test]
fn colons_at_the_end_refuse() {
    assert!(denied("ALL: ALL:\n", ""));
    assert!(denied("ALL: ALL: \n", ""));
    assert!(denied("ALL: ALL: allow:\n", ""));
    assert!(denied("ALL: ALL::\n", ""));
    assert!(!denied("ALL: ALL: allow\n", "ALL: ALL\n"));
}

#[test]
fn a_table_without_its_last_newline_is_given_up() {
    // In hosts.allow that leaves hosts.deny; in hosts.deny it refuses everybody.
    assert!(!denied("sshd: ALL\nmysqld: ALL", ""));
    assert!(denied("sshd: ALL\nmysqld: ALL", "ALL: ALL\n"));
    assert!(denied("", "sshd: ALL"));
    assert!(denied("", &format!("sshd: {}\n", "x".repeat(2100))));
    assert!(!denied("", "sshd: ALL\n"));
}

#[test]
fn an_unreadable_table_counts_like_a_broken_one() {
    let mut case = case("", "", "10.0.2.14");
    case.allow = TableText::Unreadable;
    assert_eq!(agreed(&case).verdict, Verdict::Allow);
    case.deny = TableText::Unreadable;
    assert_eq!(agreed(&case).reason, Reason::Unreadable);
}

#[test]
fn a_client_that_left_is_unknown_and_address_rules_miss() {
    let mut case = case("mysqld: 10.0.2.14\n", "mysqld: UNKNOWN\n", "10.0.2.14");
    (case.client, case.server) = (None, None);
    let result = agreed(&case);
    assert_eq!(result.verdict, Verdict::Deny);
    assert_eq!(lookups(&case), NONE);
}

#[test]
fn names_that_do_not_lead_back_are_paranoid() {
    let rules = "ALL: PARANOID\n";
    let base = case("", rules, "10.0.2.14");
    assert_eq!(agreed(&named(base.clone(), "db1.example.com")).verdict, Verdict::Allow);
    let forward = |canonical: Option<&str>, address: &str| Forward {
        canonical: canonical.map(Into::into),
        addresses: vec![address.parse().expect("an address")],
    };
    for (name, answer) in [
        ("db1.example.com", None),
        ("db1.example.com", Some(forward(Some("db1.example.com"), "10.0.2.15"))),
        ("db1.example.com", Some(forward(Some("alias.example.com"), "10.0.2.14"))),
        ("db1.example.com", Some(forward(None, "10.0.2.14"))),
        ("10.2", None),
    ] {
        let mut case = base.clone();
        case.names.push(("10.0.2.14".parse().expect("an address"), name.into()));
        case.addresses.extend(answer.map(|answer| (name.into(), false, answer)));
        assert_eq!(agreed(&case).verdict, Verdict::Deny, "{case:?}");
    }
    // localhost may be called what it likes.
    let mut case = base;
    case.names.push(("10.0.2.14".parse().expect("an address"), "localhost".into()));
    case.addresses.push(("localhost".into(), false, forward(Some("here"), "10.0.2.14")));
    assert_eq!(agreed(&case).verdict, Verdict::Allow);
}

#[test]
fn a_failed_aclexec_is_never_forgotten() {
    let mut oracle = oracle();
    let mut ask = |case: &Case, failed: bool| {
        let answer = oracle.ask(case).expect("libwrap answers");
        compare(oracle.pid(), case, &answer, failed).unwrap_or_else(|difference| panic!("{difference}"))
    };
    let with_options = case("mysqld: 10.0.2.14: spawn true\n", "ALL: ALL\n", "10.0.2.14");
    assert_eq!(ask(&with_options, false).verdict, Verdict::Allow);
    let mut failing = case("mysqld: ALL: aclexec /bin/false\n", "ALL: ALL\n", "10.0.2.14");
    failing.aclexec = false;
    let result = ask(&failing, false);
    assert!(result.verdict == Verdict::Deny && result.aclexec_failed);
    assert_eq!(ask(&with_options, true).verdict, Verdict::Deny);
}

#[test]
fn twist_replaces_a_process_at_its_first_check_and_refuses_later() {
    let mut case = named(case("mysqld: ALL: twist /bin/echo %n\n", "", "10.0.2.14"), "db1.example.com");
    let later = agreed(&case);
    assert!(matches!(later.reason, Reason::OptionError(_)), "{later:?}");
    case.first = true;
    let first = agreed(&case);
    assert_eq!(first.reason, Reason::Twist);
    assert_eq!(first.commands[0].command, b"/bin/echo db1.example.com");
}

#[test]
fn an_expansion_that_does_not_fit_ends_the_server() {
    let long = "a-rather-long-host-name.of-a-department.in-a-building.of-an-institute.example.com";
    let fits = |times: usize| {
        let rule = format!("mysqld: ALL: spawn echo {}\n", "%n".repeat(times));
        agreed(&named(case(&rule, "", "10.0.2.14"), long)).reason
    };
    assert_eq!(fits(100), Reason::Rule);
    assert_eq!(fits(110), Reason::ServerExits);
}

#[test]
fn the_rule_behind_the_first_lookup_is_named() {
    let allow = "# comment\nmysqld: 10.9.\nsshd: .example.com\nmysqld: 10.8., \\\n 10.7., \\\n .example.org\nmysqld: .example.com\n";
    let result = agreed(&named(case(allow, "ALL: ALL\n", "10.0.2.14"), "db1.example.com"));
    assert_eq!(result.lookup_rule().map(|place| place.line), Some(6));
    assert_eq!(result.rule.map(|place| place.line), Some(7));
    assert_eq!(result.lookups.len(), 2);
}

#[test]
fn a_server_endpoint_pattern_looks_up_the_server() {
    let mut case = case("mysqld@db.example.com: ALL\n", "ALL: ALL\n", "10.0.2.14");
    case.names.push(("10.0.9.9".parse().expect("an address"), "db.example.com".into()));
    let result = agreed(&case);
    assert_eq!(result.lookups[0].question, "10.0.9.9");
    case.server = Some(end("10.0.9.10", 3306));
    assert!(!agreed(&case).lookups[0].found);
}
