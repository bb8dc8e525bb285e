//! Files from the field with the values that the real libwrap and glibc gave, and what many hosts have in common.

use strum::VariantArray as _;

use super::cost::SECOND_NS;
use super::lint::{ClientReport, Report};
use super::problems::explain::{self, EXPLANATIONS, Example, Explanation};
use super::problems::{Problem, ProblemKind as Kind};
use super::test_host::Host;
use super::*;
use crate::model::Severity;

const USUAL: Example = Example { allow: "", deny: "", resolv: "", nsswitch: "", hosts: "", daemon: "mysqld" };

/// The host of an example; what is empty is as it usually is.
fn host(texts: Example, named: &[(&str, &[u8])]) -> Host<'static> {
    let or = |text: &'static str, usual: &'static str| if text.is_empty() { usual } else { text };
    let resolv =
        or(texts.resolv, "nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1 attempts:1\n");
    let named = named.iter().map(|(path, text)| ((*path).to_owned(), FileText::Text(text.to_vec())));
    let mut host = Host {
        files: named.collect(),
        daemon: texts.daemon,
        conf: ResolvConf::parse(resolv.as_bytes()),
        services: nsswitch::hosts(texts.nsswitch.as_bytes()),
        netgroup: nsswitch::netgroup(texts.nsswitch.as_bytes()),
        hosts: HostsFile::parse(texts.hosts.as_bytes()),
        ..Host::new(texts.allow.as_bytes(), or(texts.deny, "ALL: ALL\n").as_bytes())
    };
    // Each file that is named has been looked for.
    let missing = super::lint::named_files(&host.tables, &host.files);
    host.files.extend(missing.into_iter().map(|path| (path, FileText::Missing)));
    host
}

fn linted(texts: Example, client: &str) -> Report {
    host(texts, &[]).asked_about(&[(client, None)]).lint()
}

fn client(texts: Example) -> ClientReport {
    linted(texts, "10.9.0.21").clients.remove(0)
}

macro_rules! case {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/field-cases/lint/", $name))
    };
}

#[test]
fn a_check_makes_two_lookups() {
    // 3.6 s were measured.
    let report = client(Example { allow: case!("L3.allow"), resolv: case!("L3.res"), ..USUAL });
    assert_eq!(report.worst_case_ns, Some(4 * SECOND_NS), "{report:#?}");
    let parts: Vec<_> = report.waits.iter().map(|wait| (wait.lookup, wait.ns)).collect();
    assert_eq!(
        parts,
        [(Some(LookupKind::Reverse), Some(2 * SECOND_NS)), (Some(LookupKind::Forward), Some(2 * SECOND_NS))]
    );
    assert_eq!(report.waits[0].of, "DNS: 1 s × 2 rounds");
}

#[test]
fn attempts_are_read_past_a_blank_and_none_means_that_nobody_is_asked() {
    let rule = Example { allow: "mysqld: .example.com\n", ..USUAL };
    // 3.012 s were measured for the reverse lookup alone.
    let report = client(Example { resolv: case!("L8c.res"), ..rule });
    assert_eq!(report.waits[0].ns, Some(3 * SECOND_NS));
    let none = client(Example {
        resolv: "nameserver 10.1.1.53\noptions attempts:-1\n",
        allow: "mysqld: KNOWN\n",
        ..USUAL
    });
    assert_eq!((none.verdict, none.worst_case_ns), (Verdict::Deny, Some(0)), "{none:#?}");
    assert!(none.reason.is_some());
}

#[test]
fn the_search_list_is_part_of_the_bound() {
    let rule = Example { allow: "mysqld: .example.com\n", ..USUAL };
    let resolv = "nameserver 10.1.1.53\nsearch a.test b.test c.test\noptions timeout:1 attempts:1\n";
    let report = client(Example { resolv, ..rule });
    assert_eq!(
        report.waits.iter().map(|wait| wait.ns).collect::<Vec<_>>(),
        [Some(SECOND_NS), Some(4 * SECOND_NS)]
    );
    assert!(report.waits[1].of.contains("4 names (search list)"), "{}", report.waits[1].of);
}

#[test]
fn ident_takes_as_long_as_the_option_says() {
    for (option, seconds) in [("rfc931 20", 20), ("rfc931 3", 3), ("rfc931", 10)] {
        let allow: &'static str = format!("mysqld: 10.9.0. : {option}\n").leak();
        let report = client(Example { allow, ..USUAL });
        assert_eq!(report.worst_case_ns, Some(seconds * SECOND_NS), "{option}");
    }
    let pattern = client(Example { allow: "mysqld: bob@10.9.0.\n", ..USUAL });
    assert_eq!(pattern.worst_case_ns, Some(10 * SECOND_NS));
}

#[test]
fn other_services_are_named_and_resolv_conf_does_not_apply_to_them() {
    let rule = Example { allow: "mysqld: .example.com\n", ..USUAL };
    let resolved = client(Example { nsswitch: "hosts: files resolve\n", ..rule });
    assert_eq!(resolved.worst_case_ns, Some(240 * SECOND_NS), "{resolved:#?}");
    assert!(resolved.waits[0].of.contains("systemd-resolved"), "{resolved:#?}");
    let sss = client(Example { nsswitch: "hosts: files sss\n", ..rule });
    assert_eq!(sss.worst_case_ns, None);
    assert!(sss.waits[0].of.contains("sssd"));
    let winbind =
        client(Example { nsswitch: "hosts: winbind files\n", hosts: "10.9.0.21 a.example.com\n", ..rule });
    assert_eq!(winbind.worst_case_ns, None, "it is asked before the file");
    let files =
        client(Example { nsswitch: "hosts: files winbind\n", hosts: "10.9.0.21 a.example.com\n", ..rule });
    assert_eq!((files.worst_case_ns, files.waits[0].of.as_str()), (Some(0), "answered from files"));
    let fallback = client(Example { nsswitch: "hosts: resolve [!UNAVAIL=return] files dns\n", ..rule });
    assert!(
        fallback.waits[0].of.contains("systemd-resolved") && fallback.waits[0].of.contains("DNS"),
        "{fallback:#?}"
    );
    let quick =
        client(Example { nsswitch: "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname\n", ..rule });
    assert_eq!(quick.worst_case_ns, Some(4 * SECOND_NS));
}

#[test]
fn a_netgroup_has_the_bound_of_its_services_and_says_so() {
    let of = |nsswitch| client(Example { allow: "mysqld: @trusted\n", nsswitch, ..USUAL });
    for files in ["", "netgroup: files\n", "netgroup: files [NOTFOUND=return UNAVAIL=return] nis\n"] {
        let report = of(files);
        assert_eq!(report.waits.last().map(|wait| wait.ns), Some(Some(0)), "{report:#?}");
        assert_eq!(report.worst_case_ns, Some(4 * SECOND_NS), "the names alone");
    }
    let report = of("netgroup: files nis sss\n");
    assert!(report.waits.last().is_some_and(|wait| wait.of.contains("nis, then sss")), "{report:#?}");
    assert_eq!(report.worst_case_ns, None);
    assert_eq!(report.waits.iter().filter(|wait| wait.ns.is_some()).count(), 2, "{report:#?}");
}

#[test]
fn a_verdict_that_hangs_on_a_command_says_so() {
    let report =
        client(Example { allow: case!("B3-aclexec.allow"), deny: case!("B3.deny"), daemon: "sshd", ..USUAL });
    let otherwise = &report.otherwise[0];
    assert_eq!(
        (report.verdict, otherwise.when.as_str(), otherwise.verdict),
        (Verdict::Allow, "command_fails", Verdict::Deny)
    );
}

fn own(report: &Report) -> Vec<(Kind, Option<u32>)> {
    report
        .problems
        .iter()
        .filter(|problem| !problem.other_daemons)
        .map(|problem| (problem.kind, problem.line))
        .collect()
}

#[test]
fn what_the_daemon_never_reaches_is_not_its_problem() {
    let report = linted(Example { allow: case!("L11.allow"), ..USUAL }, "10.9.0.21");
    let all: Vec<_> = report.problems.iter().map(|p| (p.kind, p.line, p.other_daemons)).collect();
    // in.fingerd's rule is its own even where nobody gets to it.
    let unreachable = [(3, false), (1, false), (2, true)];
    assert_eq!(all, unreachable.map(|(line, others)| (Kind::UnreachableRule, Some(line), others)));
    let allow = "in.fingerd : ALL : twist /bin/echo no\nALL : 10. : allow\n";
    let report = linted(Example { allow, ..USUAL }, "10.9.0.21");
    let twist = report.problems.iter().find(|problem| problem.kind == Kind::Twist).unwrap();
    assert!(twist.other_daemons && own(&report).is_empty(), "{report:#?}");
    let behind = "mysqld : ALL\nALL : ALL : twist /bin/echo no\n";
    let report = linted(Example { allow: behind, ..USUAL }, "10.9.0.21");
    assert!(report.problems.iter().any(|problem| problem.kind == Kind::Twist && problem.other_daemons));
}

#[test]
fn what_cannot_be_seen_is_told_with_its_column() {
    let place = |allow| -> Vec<(Option<u32>, Option<u32>)> {
        let report = linted(Example { allow, ..USUAL }, "10.9.0.21");
        let ours = |problem: &&Problem| problem.kind == Kind::InvisibleCharacter && !problem.other_daemons;
        let found = report.problems.iter().filter(ours);
        found.map(|problem| (problem.line, problem.column)).collect()
    };
    assert_eq!(place(case!("B6-nbsp.allow")), [(Some(1), Some(9)), (Some(2), Some(7))]);
    assert_eq!(place("\u{feff}mysqld: 10.\n"), [(Some(1), Some(1))]);
    assert_eq!(place("\u{feff}# a comment\nmysqld: 10.\n"), [(Some(1), Some(1))]);
    assert_eq!(place("# caf\u{e9}\u{a0}\nmysqld: 10. \\\n\u{200b}10.1.\n"), [(Some(3), Some(1))]);
    // The line that has it, not the rule's last.
    assert_eq!(place("mysqld: 10. \\\n \u{200b}10.1. \\\n 10.2.\n"), [(Some(2), Some(2))]);
    assert_eq!(place("mysqld: 10.\t10.1.\r\n"), []);
    assert_eq!(place("mysqld\u{a0}: 10.\n"), [(Some(1), Some(7))]);
    assert_eq!(place("sshd,\u{2003}mysqld: 10.\n"), [(Some(1), Some(6))]);
    assert_eq!(place("\u{feff}sshd: 10.\n"), [], "that is sshd's");
}

#[test]
fn what_a_comment_swallows_is_told() {
    let found = |allow: &str| -> Vec<(Option<u32>, bool)> {
        let report = linted(Example { allow: allow.to_owned().leak(), ..USUAL }, "10.9.0.21");
        let swallowed = report.problems.iter().filter(|problem| problem.kind == Kind::ContinuedComment);
        swallowed.map(|problem| (problem.line, problem.other_daemons)).collect()
    };
    assert_eq!(found("# ours \\\nmysqld: 10.\n"), [(Some(2), false)]);
    assert_eq!(found("# ours \\\nsshd: 10.\n"), [(Some(2), true)]);
    assert_eq!(found("# a \\\n# b \\\nALL: 10. \\\n 11.\n"), [(Some(4), false)]);
    assert_eq!(found("# a \\\n# b\nmysqld: 10.\n"), [], "two comments");
    assert_eq!(found("# a\nmysqld: 10.\n# c \\\n\n"), []);
    assert_eq!(found("# C:\\path\\\n"), [], "nothing follows");
}

#[test]
fn what_follows_from_a_problem_is_no_problem_of_its_own() {
    use Severity::{Critical, Warning};
    let told = |allow: &[u8]| -> Vec<(Kind, Severity)> {
        let host = Host {
            files: std::collections::BTreeMap::new(),
            ..Host::new(allow.to_vec().leak(), b"ALL: ALL\n")
        };
        let report = host.asked_about(&[("10.9.0.21", None)]).lint();
        let ours = report.problems.iter().filter(|problem| problem.file.ends_with("hosts.allow"));
        ours.map(|problem| (problem.kind, problem.severity)).collect()
    };
    assert_eq!(told(b"mysqld: 10. # db\n"), [(Kind::CommentInsideLine, Warning), (Kind::DnsLookup, Warning)]);
    // Behind a colon the comment's words are options, which refuse everybody.
    assert_eq!(told(b"mysqld: 10. : allow # db\n")[0], (Kind::CommentInsideLine, Critical));
    assert_eq!(told(b"mysqld: 10.\0\nmysqld: .a.b\n")[0], (Kind::NulByte, Critical));
    let utf_16: Vec<u8> =
        "\u{feff}mysqld: 10.\nmysqld: 11.\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(told(&utf_16), [(Kind::NulByte, Critical)]);
    assert_eq!(told(&utf_16[2..]), [(Kind::NulByte, Critical)]);
    // Without NULs libwrap reads on, whatever the first two bytes are.
    let marked = told(b"\xff\xfemysqld: 10.\nmysqld: 11.\n");
    assert!(marked.iter().all(|(kind, _)| *kind != Kind::NulByte), "{marked:?}");
    let latin = told(b"mysqld: caf\xe9.example.com\n");
    assert_eq!(latin, [(Kind::NeverMatches, Warning), (Kind::DnsLookup, Warning)]);
}

#[test]
fn whom_a_lookup_waits_for_is_said_by_name() {
    let rule = Example { allow: "mysqld: .example.com 10.\n", ..USUAL };
    let told = |nsswitch: &'static str| -> Vec<String> {
        let report = linted(Example { nsswitch, ..rule }, "10.9.0.21");
        let about = [Kind::DnsLookup, Kind::NamesBeforeAddresses, Kind::FailsClosed];
        let found = report.problems.iter().filter(|problem| about.contains(&problem.kind));
        found.map(|problem| problem.message.clone()).collect()
    };
    assert_eq!(told("hosts: files myhostname\n"), [""; 0], "nobody is waited for");
    let dns = told("hosts: files dns\n");
    assert!(
        dns.len() == 3 && dns[0].contains("two lookups by DNS") && dns[1].contains("wait for DNS"),
        "{dns:?}"
    );
    let other = told("hosts: files resolve\n");
    assert!(other[0].contains("two lookups by resolve") && !other[0].contains("DNS"), "{other:?}");
}

#[test]
fn a_nul_byte_is_everybodys() {
    let report = linted(Example { allow: "sshd: 10.\0\nmysqld: 10.\n", ..USUAL }, "10.9.0.21");
    let nul = report.problems.iter().find(|problem| problem.kind == Kind::NulByte).unwrap();
    assert!(!nul.other_daemons, "it swallows what follows: {report:#?}");
}

/// A report of one host with these files.
fn with_files(allow: &'static str, files: &[(&'static str, &str)]) -> Report {
    let named: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    let texts = Example { allow, resolv: "nameserver 10.1.1.53\n", ..USUAL };
    host(texts, &named).asked_about(&[("10.9.0.21", None)]).lint()
}

#[test]
fn a_file_costs_what_its_words_cost() {
    let needs_names = |allow, files: &[(&'static str, &str)]| {
        let found = own(&with_files(allow, files));
        (
            found.iter().any(|(kind, _)| *kind == Kind::DnsLookup),
            found.iter().any(|(kind, _)| *kind == Kind::FailsClosed),
            found.iter().any(|(kind, _)| *kind == Kind::SlowTimeout),
        )
    };
    let list = "mysqld: /list\n";
    assert_eq!(needs_names(list, &[("/list", "10.0.2.14\n10.0.3.\n")]), (false, false, false));
    assert_eq!(needs_names(list, &[("/list", "10.0.2.14 .example.com\n")]), (true, true, true));
    let address_first = [("/list", "[2001:db8::7]\n.example.com\n")];
    assert_eq!(needs_names(list, &address_first), (true, true, true));
    assert_eq!(needs_names(list, &[("/list", "/more\n"), ("/more", "/list db1\n")]), (true, true, true));
    assert_eq!(needs_names(list, &[]), (false, false, false), "what is not there asks nobody");
    assert_eq!(needs_names("mysqld: ALL # everyone\n", &[]), (false, false, false));
    assert!(needs_names("mysqld: ALL db1 EXCEPT .bad\n", &[]).0);
}

#[test]
fn files_that_lead_nowhere_or_in_a_circle_are_told() {
    let told = |allow, files: &[(&'static str, &str)]| -> Vec<String> {
        let report = with_files(allow, files);
        let found = report.problems.iter().filter(|problem| problem.kind == Kind::FilePattern);
        found.map(|problem| problem.message.clone()).collect()
    };
    // Circles that do not lead back to the rule's own file.
    let behind = told("mysqld: /a\n", &[("/a", "/b\n"), ("/b", "/b /c\n"), ("/c", "/b\n")]);
    assert!(behind.len() == 1 && behind[0].starts_with("/b names itself:"), "{behind:?}");
    let far = told("mysqld: /a\n", &[("/a", "/b /d\n"), ("/b", "/c\n"), ("/c", "/b\n"), ("/d", "/c\n")]);
    assert!(far.len() == 1 && far[0].starts_with("/b names itself by way of /c:"), "{far:?}");
    let own = told("mysqld: /list\n", &[("/list", "10.0.0.1 /list\n")]);
    assert!(own.len() == 1 && own[0].contains("names itself") && !own[0].contains("no client"), "{own:?}");
    let circle = told("mysqld: /a\n", &[("/a", "/b\n"), ("/b", "10.0.0.1 /a\n")]);
    assert!(circle.len() == 1 && circle[0].contains("by way of /b"), "{circle:?}");
    let nested = told("mysqld: /a\n", &[("/a", "10.0.0.1 /none\n")]);
    assert!(nested.len() == 1 && nested[0].contains("/none, which /a names"), "{nested:?}");
    assert_eq!(told("mysqld: /a\n", &[("/a", "/b /b\n"), ("/b", "10.0.0.1\n")]), [""; 0]);
    assert_eq!(told("mysqld: /a\n", &[("/a", "/none /none\n")]).len(), 1);
}

#[test]
fn options_in_the_place_of_clients_are_no_names() {
    for allow in ["mysqld: spawn (/bin/true) &\n", "mysqld: allow\n", "mysqld: DENY\n"] {
        let report = linted(Example { allow, ..USUAL }, "10.9.0.21");
        assert!(own(&report).contains(&(Kind::ClientListMissing, Some(1))), "{allow} {report:#?}");
        assert_eq!(report.clients[0].otherwise, [], "{allow}");
        assert!(!own(&report).iter().any(|(kind, _)| *kind == Kind::NamesBeforeAddresses), "{allow}");
    }
    let fine = linted(Example { allow: "mysqld: spawner.example.com\n", ..USUAL }, "10.9.0.21");
    assert!(!own(&fine).iter().any(|(kind, _)| *kind == Kind::ClientListMissing));
}

#[test]
fn hosts_ctl_looks_nothing_up() {
    let texts = Example { allow: "slapd: .example.com\n", daemon: "slapd", ..USUAL };
    let report = linted(texts, "10.9.0.21");
    let unknown = &report.clients[0];
    assert_eq!((unknown.verdict, unknown.lookups.len()), (Verdict::Deny, 0), "{report:#?}");
    assert_eq!(own(&report), [(Kind::NamesNotKnown, Some(1))]);
    let named = host(texts, &[]).asked_about(&[("10.9.0.21", Some("a.example.com"))]).lint();
    assert_eq!((named.clients[0].verdict, named.clients[0].lookups.len()), (Verdict::Allow, 0));
}

#[test]
fn whom_a_check_holds_up_is_the_daemons() {
    use daemons::Blocking::{AcceptThread, PerConnection, Pool};
    for (daemon, looks_up, blocking) in
        [("mysqld", true, AcceptThread), ("sshd", true, PerConnection), ("slapd", false, Pool)]
    {
        let report = linted(Example { allow: "ALL: .example.com\n", daemon, ..USUAL }, "10.9.0.21");
        assert_eq!(
            (!report.clients[0].lookups.is_empty(), report.blocking),
            (looks_up, blocking),
            "{daemon}"
        );
    }
}

#[test]
fn every_problem_is_explained_and_each_example_has_it() {
    for kind in Kind::VARIANTS {
        assert!(explain::find(kind.name()).is_some(), "{}", kind.name());
    }
    for Explanation { kind, example, .. } in EXPLANATIONS.iter().copied() {
        let texts = match kind {
            // It has no text, and the other needs too much of it.
            Kind::TableUnreadable => continue,
            Kind::LineTooLong => {
                Example { allow: format!("mysqld: {}\n", "10.0.0.1 ".repeat(300)).leak(), ..USUAL }
            }
            _ => example,
        };
        let found: Vec<Problem> = linted(texts, "10.9.0.21").problems;
        assert!(
            found.iter().any(|problem| problem.kind == kind && !problem.other_daemons),
            "{}: {found:#?}",
            kind.name()
        );
    }
}

#[test]
fn an_explanation_fits_a_terminal() {
    let terminal = crate::render::text::Text { width: 80, ..crate::render::text::Text::PLAIN };
    for explanation in &EXPLANATIONS {
        let text = terminal.lint_explanation(&explanation.text());
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert!(long.is_none() && !text.contains("```"), "{text}");
    }
}

#[test]
fn the_index_in_the_documentation_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lint-rules.md");
    let want = explain::index();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &want).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        want,
        "UPDATE_DOCS=1 cargo test -p wrapwatch the_index"
    );
}

#[test]
fn twelve_thousand_lines_give_a_page() {
    let mut allow = String::from("mysqld: .example.com\nmysqld: ALL\n");
    for index in 0..11_600 {
        allow += &format!("mysqld: 10.{}.{}.\n", index / 256, index % 256);
    }
    for index in 0..400 {
        allow += &format!("sshd: 10.0.{}.0/8 : logg\n", index % 256);
    }
    let report = linted(Example { allow: allow.leak(), ..USUAL }, "10.9.0.21");
    let text = crate::render::text::Text { width: 80, ..crate::render::text::Text::PLAIN }.lint(&report);
    assert!(text.lines().count() <= 60, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_file_that_names_itself_ten_thousand_times_costs_little() {
    let lists = [b"/etc/list /etc/list2\n".repeat(10_000), b"/etc/list \n".repeat(10_000)];
    let named: [(&str, &[u8]); 2] = [("/etc/list", &lists[0]), ("/etc/list2", &lists[1])];
    let host = host(Example { allow: "ALL: /etc/list\n", ..USUAL }, &named);
    let report = host.asked_about(&[("10.9.0.21", None)]).lint();
    assert_eq!(report.clients[0].verdict, Verdict::Deny);
}
