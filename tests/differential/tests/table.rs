//! Known rules against the real libwrap: the table of lookups each pattern costs, and the odd corners, one by one.

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
