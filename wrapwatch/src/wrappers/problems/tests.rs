//! Each kind of problem with a text that has it, and texts that have none.

use super::super::{ResolvConf, Table, nsswitch};
use super::*;

struct Texts<'a> {
    allow: &'a str,
    deny: &'a str,
    resolv: &'a str,
    nsswitch: &'a str,
    hosts: &'a str,
}

/// Two good nameservers with short timeouts.
const GOOD: Texts<'static> = Texts {
    allow: "mysqld: 10.0.2.\n",
    deny: "ALL: ALL\n",
    resolv: "nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1 attempts:1\n",
    nsswitch: "hosts: files dns\n",
    hosts: "127.0.0.1 localhost\n",
};

fn problems(texts: &Texts<'_>) -> Vec<Problem> {
    let tables =
        Tables { allow: Table::parse(texts.allow.as_bytes()), deny: Table::parse(texts.deny.as_bytes()) };
    let conf = ResolvConf::parse(texts.resolv.as_bytes());
    let services = nsswitch::hosts(texts.nsswitch.as_bytes());
    find(&Scene {
        tables: &tables,
        texts: [texts.allow.as_bytes(), texts.deny.as_bytes()],
        paths: ["allow", "deny"],
        daemon: "mysqld",
        port: 3306,
        resolver: Resolver { conf: &conf, services: &services, netgroup: &[], own_domain: None },
        resolv_path: "resolv",
        nsswitch_path: "nsswitch",
        hosts: &HostsFile::parse(texts.hosts.as_bytes()),
        hosts_path: "hosts",
        files: &BTreeMap::from([
            ("/here".to_owned(), FileText::Text(b"10.0.0.1".to_vec())),
            ("/self".to_owned(), FileText::Text(b"10.0.0.1 /self".to_vec())),
        ]),
    })
}

/// Kinds with their lines, sorted.
fn kinds(texts: &Texts<'_>) -> Vec<(String, Option<u32>)> {
    let name = |kind| serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
    let mut kinds: Vec<_> =
        problems(texts).iter().map(|problem| (name(problem.kind), problem.line)).collect();
    kinds.sort();
    kinds
}

/// Whether hosts.allow with this text has this problem at this line.
fn has(allow: &str, kind: &str, line: u32) -> bool {
    kinds(&Texts { allow, ..GOOD }).contains(&(kind.to_owned(), Some(line)))
}

#[test]
fn good_files_have_no_problems() {
    assert_eq!(kinds(&GOOD), []);
    let allow = "# a comment\nsshd: ALL\n\nmysqld: 10.0.2., 192.168.0.0/16 [2001:db8::]/32 \\\n 10.0.3.1: severity info: spawn (x %h) &\n";
    assert_eq!(kinds(&Texts { allow, ..GOOD }), []);
}

#[test]
fn each_problem_is_found_where_it_is() {
    for (allow, kind, line) in [
        ("a\nmysqld 10.0.0.1\n", "no-separator", 2),
        ("mysqld: 10.0.0.1 # my host\n", "comment-inside-line", 1),
        ("mysqld:\n", "empty-list", 1),
        (": 10.0.0.1\n", "empty-list", 1),
        ("mysqld: 2001:db8::7\n", "unbracketed-ipv6", 1),
        ("mysqld: 10.0.0.1: logg\n", "unknown-option", 1),
        ("mysqld: 10.0.0.1: allow:\n", "option-error", 1),
        ("mysqld: 10.0.0.1:\n", "option-error", 1),
        ("mysqld: 10.0.0.1: severity authpriv.info\n", "option-error", 1),
        ("mysqld: 10.0.0.1: setenv A=b\n", "option-error", 1),
        ("mysqld: 10.0.0.1: user nobody\n", "option-without-effect", 1),
        ("mysqld: 10.0.0.1: spawn x\n", "blocking-spawn", 1),
        ("mysqld: 10.0.0.1: aclexec x\n", "aclexec", 1),
        ("mysqld: 10.0.0.1: twist x\n", "twist", 1),
        ("mysqld: 10.0.0.1: spawn x %n &\n", "dns-lookup", 1),
        ("mysqld: 10.0.0.1\nmysqld: .example.com\n", "dns-lookup", 2),
        ("mysqld: 10.0.*\n", "address-wildcard", 1),
        ("mysqld: [::1]\n", "bare-ipv6", 1),
        ("mysqld: .example.com 10.0.0.1\n", "names-before-addresses", 1),
        ("mysqld: .example.com\nmysqld: 10.0.0.1\n", "names-before-addresses", 1),
        ("mysqld@db.example.com: 10.0.0.1\n", "server-name", 1),
        ("mysqld: bob@10.0.0.1\n", "ident", 1),
        ("mysqld: 10.0.0.1: rfc931\n", "ident", 1),
        ("mysqld: 10.0.0.1: spawn x %u &\n", "ident", 1),
        ("mysqld: @admins\n", "netgroup", 1),
        ("mysqld: /missing\n", "file-pattern", 1),
        ("mysqld: /self\n", "file-pattern", 1),
        ("mysqld: 10.0.0.1/24\n", "never-matches", 1),
        ("mysqld: 10.0.2\n", "never-matches", 1),
        ("mysqld: ALL EXCEPT ALL\n", "never-matches", 1),
        ("mysqld: 10.0.2., 10.0.3.4 EXCEPT 10.7.7.7 10.0.\n", "never-matches", 1),
        ("mysqld: .example.com EXCEPT .EXAMPLE.com\n", "never-matches", 1),
        ("ALL: ALL\nmysqld: 10.0.0.1\n", "unreachable-rule", 2),
        ("mysqld: ALL\nmysqld: 10.0.0.1\n", "unreachable-rule", 2),
        ("mysqld: 10.0.0.1\nMYSQLD:  10.0.0.1 \n", "unreachable-rule", 2),
        ("mysqld: .example.com\n", "fails-closed", 1),
        ("mysqld: ALL EXCEPT .bad.org\n", "fails-open", 1),
        ("mysqld: .bad.org: deny\nmysqld: 10.\n", "fails-open", 1),
        ("mysqld: UNKNOWN: deny\n", "fails-closed", 1),
        ("mysqld: 10.0.0.1\nx\0y: z\n", "nul-byte", 2),
        ("mysqld: 10.0.0.1\nmysqld: 10.0.0.2", "missing-final-newline", 2),
    ] {
        // A deny rule that a catch-all follows does not open anything.
        let deny = if allow.contains(".bad.org: deny") { "" } else { GOOD.deny };
        let found = kinds(&Texts { allow, deny, ..GOOD });
        assert!(found.contains(&(kind.to_owned(), Some(line))), "{allow:?}: {kind} not in {found:?}");
    }
    assert!(has(&format!("mysqld: {}\n", "10.0.0.1 ".repeat(300)), "line-too-long", 1));
}

#[test]
fn a_user_without_a_host_is_meant_from_anywhere() {
    let report = crate::wrappers::test_host::Host::new(b"mysqld: bob@\n", b"ALL: ALL\n").lint();
    let problem = report.problems.iter().find(|problem| problem.kind == ProblemKind::NeverMatches).unwrap();
    assert_eq!(problem.change.as_deref(), Some("Write bob@ALL."));
}

#[test]
fn exceptions_that_leave_somebody_are_no_problem() {
    for allow in [
        "mysqld: 10.0.2. EXCEPT 10.0.2.4\n",
        "mysqld: 10.0.2., 10.1. EXCEPT 10.0.\n",
        "mysqld: ALL EXCEPT bob@ALL\n",
        "mysqld: 10. EXCEPT ALL EXCEPT 10.0.2.\n",
        "mysqld: 10.0.2.0/23 EXCEPT 10.0.2.\n",
    ] {
        assert!(!has(allow, "never-matches", 1), "{allow}");
    }
}

#[test]
fn rules_of_other_daemons_cost_nothing() {
    assert_eq!(kinds(&Texts { allow: "sshd: .example.com\nmysqld: 10.0.2.\n", ..GOOD }), []);
    assert_eq!(
        kinds(&Texts { allow: "3307: .example.com\nALL EXCEPT mysqld: .example.com\nmysqld: 10.\n", ..GOOD }),
        []
    );
    assert!(has("3306: .example.com\n", "dns-lookup", 1));
}

#[test]
fn deny_rules_fail_open_unless_the_rest_is_refused_too() {
    let open = |deny| kinds(&Texts { deny, ..GOOD }).iter().any(|(kind, _)| kind == "fails-open");
    assert!(open("mysqld: .bad.org\n"));
    assert!(!open("mysqld: .bad.org\nALL: ALL\n"));
}

#[test]
fn rules_that_keep_nobody_out_are_pointless() {
    let about = |allow, deny| {
        kinds(&Texts { allow, deny, ..GOOD }).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    assert_eq!(about("mysqld: 10.0.2.\n", ""), ["nothing-refused"]);
    assert_eq!(about("sshd: 10.0.2.\n", ""), ["no-rule-for-daemon"]);
    assert_eq!(about("", ""), [""; 0]);
    assert_eq!(about("mysqld: 10.0.2.\nmysqld: ALL: deny\n", ""), [""; 0]);
}

#[test]
fn the_resolver_matters_only_where_names_do() {
    let slow = Texts {
        resolv: "nameserver 10.1.1.53\nnonsense\noptions use-vc\n",
        nsswitch: "hosts: resolve dns files\n",
        ..GOOD
    };
    assert_eq!(kinds(&slow), []);
    let with_names = |texts: Texts<'_>| -> Vec<String> {
        let all = kinds(&Texts { allow: "mysqld: .example.com\n", ..texts });
        let rules = ["dns-lookup", "fails-closed"];
        all.into_iter().map(|(kind, _)| kind).filter(|kind| !rules.contains(&kind.as_str())).collect()
    };
    assert_eq!(with_names(GOOD), [""; 0]);
    assert_eq!(with_names(slow), ["resolv-conf-ignored", "service-order", "service-order", "tcp-queries"]);
    let one = Texts { resolv: "nameserver 10.1.1.53\n", ..GOOD };
    assert_eq!(with_names(one), ["single-nameserver", "slow-timeout"]);
    let four = Texts {
        resolv: "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\noptions timeout:1 attempts:1\n",
        ..GOOD
    };
    assert_eq!(with_names(four), ["nameserver-ignored"]);
    let files = Texts { resolv: "", nsswitch: "hosts: files\n", ..GOOD };
    assert_eq!(with_names(files), [""; 0]);
    let hosts = Texts { hosts: "10.0.0.4 other db1\n10.0.0.5 db1\n10.0.0.6 db2\n", ..GOOD };
    assert_eq!(with_names(hosts), ["hosts-mismatch"]);
}

#[test]
fn unreadable_tables_are_critical() {
    let tables =
        Tables { allow: Table::unreadable("Too many levels"), deny: Table::unreadable("Not a directory") };
    let conf = ResolvConf::default();
    let found = find(&Scene {
        tables: &tables,
        texts: [b"", b""],
        paths: ["allow", "deny"],
        daemon: "mysqld",
        port: 3306,
        resolver: Resolver { conf: &conf, services: &[], netgroup: &[], own_domain: None },
        resolv_path: "resolv",
        nsswitch_path: "nsswitch",
        hosts: &HostsFile::default(),
        hosts_path: "hosts",
        files: &BTreeMap::new(),
    });
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|p| p.kind == ProblemKind::TableUnreadable && p.severity == Severity::Critical));
}

#[test]
fn worst_comes_first() {
    let found =
        problems(&Texts { allow: "mysqld: .example.com\nmysqld: 10.0.0.1: logg\nmysqld: @x\n", ..GOOD });
    assert!(found.is_sorted_by(|a, b| a.severity >= b.severity));
    assert_eq!(found[0].severity, Severity::Critical);
}

#[test]
fn nobody_is_said_to_be_admitted_where_a_broken_table_refuses_everybody() {
    let found = problems(&Texts { allow: "sshd: 10.1.\n", deny: "sshd: ALL\nALL: ALL", ..GOOD });
    assert!(found.iter().any(|problem| problem.kind == ProblemKind::MissingFinalNewline), "{found:?}");
    assert!(found.iter().all(|problem| problem.kind != ProblemKind::NoRuleForDaemon), "{found:?}");
    let whole = problems(&Texts { allow: "sshd: 10.1.\n", deny: "sshd: ALL\n", ..GOOD });
    assert!(whole.iter().any(|problem| problem.kind == ProblemKind::NoRuleForDaemon), "{whole:?}");
}

#[test]
fn a_sentence_that_ends_in_a_pattern_has_one_dot() {
    let found = problems(&Texts { allow: "mysqld: 10.1.2.*.\nmysqld: 10.1.2\n", ..GOOD });
    let changes: Vec<&str> = found.iter().filter_map(|problem| problem.change.as_deref()).collect();
    assert!(changes.contains(&"Write 10.1.2."), "{changes:?}");
    assert!(changes.iter().all(|change| !change.ends_with("..")), "{changes:?}");
}
