//! What is said of servers that were put together by hand.

use super::*;
use crate::model::QueryOutcome;
use crate::model::doctor::{
    ClientName, Confinement, Forwarder, Holder, Limits, ListenerState, LoginLimits, MaxStartups,
    NameserverState, Network, RecentClients, Relation, ResolverState, ServerCounters, View, WrapState,
};

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
        confined: None,
        refused: None,
        libwrap: WrapState {
            state: Wrapped::Mapped,
            library: None,
            library_deleted: false,
            needed: Some(true),
            program_replaced: Some(false),
            needed_on_disk: None,
            strings: Some(true),
            tcpd_context: Some(true),
            wrapped_child: None,
            children_seen: false,
            installed: None,
            installed_not_seen: None,
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
            upstreams: Vec::new(),
            forwarders: Vec::new(),
            doubt: None,
        },
        clients: None,
        named_by: None,
        accepts_for_it: None,
        login_limits: None,
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
    assert!(slow[0].message.contains("Many MySQL clients give up after about 10 s"), "{slow:?}");
    assert!(slow[0].message.contains("reverse: ") && slow[0].change.is_some(), "{slow:?}");
    let quick = "nameserver 10.1.1.53\noptions timeout:1 attempts:1\n";
    assert_eq!(outlasts("mysqld", "ALL: .example.com\n", quick), []);
    assert_eq!(outlasts("mysqld", "ALL: 10.\n", two), [], "nobody is looked up");
    // Not only DNS: ident, netgroups, commands.
    let ident = outlasts("mysqld", "ALL: bob@10.\n", quick);
    assert!(ident[0].message.contains("up to 10.0 s (ident: "), "{ident:?}");
    let command = outlasts("mysqld", "ALL: 10. : spawn /bin/sleep 60\n", quick);
    assert!(command[0].message.contains("a time with no known limit (a rule's command"), "{command:?}");
    // Netgroups of files of the host take no time, those of servers any.
    assert_eq!(outlasts("mysqld", "ALL: @trusted\n", quick), []);
    let of_nis =
        Texts { netgroup: nsswitch::netgroup(b"netgroup: nis\n"), ..texts("ALL: @trusted\n", quick) };
    assert_eq!(found(&target(), &of_nis, ServerProblem::CheckOutlastsClients).len(), 1);
    // The option's own time, where nothing asks before it.
    assert_eq!(outlasts("mysqld", "ALL: 10. : rfc931 3\n", quick), []);
    let own = outlasts("mysqld", "mysqld@db.example.com: ALL\n", two);
    assert!(own[0].message.contains("up to 40.0 s"), "{own:?}");
    assert_eq!(outlasts("mysqld", "ALL: 10. : spawn /bin/sleep 60 &\n", quick), []);
    // Of these nothing is known that ends the wait: sshd's LoginGraceTime begins after the check.
    for daemon in ["sshd", "vsftpd", "imap", "postgres"] {
        assert_eq!(outlasts(daemon, "ALL: .example.com\n", two), [], "{daemon}");
    }
    // A minute: two lookups of three nameservers, 28 s each, and four names.
    let long = "nameserver 10.1.1.51\nnameserver 10.1.1.52\nnameserver 10.1.1.53\nsearch a b c\n";
    assert_eq!(outlasts("mosquitto", "ALL: .example.com\n", long).len(), 1);
    assert_eq!(outlasts("mosquitto", "ALL: .example.com\n", quick), []);
}

/// A server of which no child maps libwrap.
fn unwrapped(daemon: &str) -> Target {
    let libwrap = WrapState { state: Wrapped::No, children_seen: true, ..target().libwrap };
    Target { daemon: daemon.to_owned(), libwrap, ..target() }
}

#[test]
fn look_elsewhere_only_where_nobody_else_may_check_its_clients() {
    let rules = texts("ALL: .example.com\n", "nameserver 10.1.1.53\n");
    let count = |target: &Target, kind| found(target, &rules, kind).len();
    let both = |target: &Target| {
        (count(target, ServerProblem::NotWrapped), count(target, ServerProblem::CheckedElsewhere))
    };
    assert_eq!(both(&unwrapped("mysqld")), (1, 0));
    for daemon in ["imap", "dovecot", "inetd", "inetutils-inetd", "systemd", "systemd-socket-activate"] {
        assert_eq!(both(&unwrapped(daemon)), (0, 1), "{daemon}");
    }
    let mut child = unwrapped("mysqld");
    child.libwrap.wrapped_child = Some(99);
    assert_eq!(both(&child), (0, 1));
    let mut unseen = unwrapped("mysqld");
    unseen.libwrap.children_seen = false;
    assert_eq!(both(&unseen), (0, 1));
    // What is not running now is started with the next client.
    let mut later = unwrapped("ser2net");
    later.libwrap.installed = Some("/lib/libwrap.so.0".to_owned());
    assert_eq!(both(&later), (0, 1));
    let mut not_seen = unwrapped("ser2net");
    not_seen.libwrap.installed_not_seen = Some("its files do not come".to_owned());
    assert_eq!(both(&not_seen), (0, 1));
    // Its rules are looked at all the same.
    let all = problems(&unwrapped("imap"), &rules);
    assert!(
        all.iter().any(|problem| problem.kind == DoctorProblemKind::Rules(ProblemKind::DnsLookup)),
        "{all:?}"
    );
}

#[test]
fn look_elsewhere_only_where_the_servers_own_lookups_are_known() {
    let rules = texts("ALL: 10.\n", "nameserver 10.1.1.53\n");
    let said = |target: &Target| {
        let mut told = found(target, &rules, ServerProblem::NotWrapped);
        let message = told.remove(0).message;
        ["look elsewhere", "looks clients up itself is not known", "but it looks clients up itself"]
            .map(|part| message.contains(part))
    };
    let (elsewhere, unknown, itself) = ([true, false, false], [false, true, false], [false, false, true]);
    let mysqld = |skip_name_resolve| Target {
        counters: Some(ServerCounters { skip_name_resolve, ..ServerCounters::default() }),
        ..unwrapped("mysqld")
    };
    assert_eq!(said(&unwrapped("mysqld")), unknown);
    assert_eq!(
        [None, Some(true), Some(false)].map(|skips| said(&mysqld(skips))),
        [unknown, elsewhere, itself]
    );
    let postgres = |log_hostname, names_in_hba, doubt: Option<&str>| {
        let limits = Limits::Postgres { authentication_timeout_s: 60, log_hostname, names_in_hba };
        let login_limits =
            Some(LoginLimits { files: Vec::new(), doubt: doubt.map(ToOwned::to_owned), limits });
        Target { login_limits, ..unwrapped("postgres") }
    };
    assert_eq!(said(&postgres(false, Some(false), None)), elsewhere);
    assert_eq!(said(&postgres(false, Some(false), Some("a file is not there"))), unknown);
    assert_eq!(said(&postgres(false, None, None)), unknown);
    assert_eq!(said(&postgres(true, None, None)), itself);
    // From OpenSSH 9.8 on libwrap is in sshd-session.
    let kinds = [ServerProblem::NotWrapped, ServerProblem::CheckedElsewhere];
    assert_eq!(kinds.map(|kind| found(&unwrapped("sshd"), &rules, kind).len()), [0, 1]);
}

#[test]
fn where_the_configuration_names_the_daemon_no_rule_is_said_to_be_missing() {
    let other = texts("sshd: 10.\n", "");
    let other = Texts { tables: Tables { deny: Table::missing(), ..other.tables.clone() }, ..other };
    let named = |named_by: Option<&str>| {
        let target =
            Target { daemon: "stunnel4".to_owned(), named_by: named_by.map(ToOwned::to_owned), ..target() };
        let kinds = [ServerProblem::WrappedWithoutRules, ServerProblem::DaemonNameConfigured];
        kinds.map(|kind| found(&target, &other, kind).len())
    };
    assert_eq!((named(None), named(Some("its configuration"))), ([1, 0], [0, 1]));
}

#[test]
fn whoever_accepts_for_a_helper_is_named() {
    let parent = Holder { pid: 700, comm: "stunnel4".to_owned(), relation: Relation::Parent };
    let target = Target { accepts_for_it: Some(parent), ..target() };
    let told = found(&target, &texts("ALL: 10.\n", ""), ServerProblem::AcceptedElsewhere);
    assert!(
        told[0].message.contains("stunnel4 (pid 700)") && told[0].change.as_ref().unwrap().contains("-p 700")
    );
}

#[test]
fn syn_cookies_are_clients_that_nobody_can_list() {
    let mut target = target();
    let told = |target: &Target| found(target, &texts("ALL: 10.\n", ""), ServerProblem::SynCookies);
    target.network.syncookies_sent = Some(0);
    assert_eq!(told(&target), []);
    target.network.syncookies_sent = Some(7);
    assert!(told(&target)[0].message.contains("7 SYN cookies"));
}

#[test]
fn a_nameserver_behind_resolved_is_blamed_by_its_own_address() {
    let told = |upstream: NameserverState| {
        let mut target = target();
        target.resolver.upstreams = vec![upstream];
        found(&target, &texts("ALL: .example.com\n", "nameserver 127.0.0.53\n"), ServerProblem::UpstreamFails)
    };
    assert_eq!(told(answer("10.1.1.53", QueryOutcome::Answered, 1, "NXDOMAIN", false)), []);
    let silent = told(answer("10.1.1.53", QueryOutcome::Timeout, 0, "", false));
    assert!(silent[0].message.starts_with("Nameserver 10.1.1.53, which systemd-resolved asks"), "{silent:?}");
    assert_eq!(silent[0].severity, Severity::Warning);
    assert_eq!(told(answer("10.1.1.53", QueryOutcome::Answered, 400, "NOERROR", true)).len(), 1);
    assert_eq!(told(answer("10.1.1.53", QueryOutcome::Answered, 1, "SERVFAIL", false)).len(), 1);
}

#[test]
fn a_nameserver_behind_a_forwarder_is_blamed_by_its_own_address_and_file() {
    let told = |upstreams: Vec<NameserverState>, recursive| {
        let mut target = target();
        let own = answer("127.0.0.1", QueryOutcome::Answered, 400, "NOERROR", true);
        target.resolver.nameservers = vec![own];
        target.resolver.forwarders = vec![Forwarder {
            server: "127.0.0.1".parse().unwrap(),
            pid: Some(700),
            program: Some("dnsmasq".to_owned()),
            files: vec!["/etc/dnsmasq.conf".to_owned()],
            upstreams,
            others: false,
            recursive,
            doubt: None,
        }];
        let texts = texts("ALL: .example.com\n", "nameserver 127.0.0.1\n");
        let slow = found(&target, &texts, ServerProblem::NameserverSlow).remove(0).change.unwrap();
        (slow, found(&target, &texts, ServerProblem::UpstreamFails))
    };
    let (slow, well) = told(vec![answer("10.1.1.53", QueryOutcome::Answered, 1, "NXDOMAIN", false)], false);
    assert_eq!(well, []);
    assert!(slow.contains("dnsmasq (pid 700), which asks 10.1.1.53 (from its configuration file)"), "{slow}");
    let (_, silent) = told(vec![answer("10.1.1.53", QueryOutcome::Timeout, 0, "", false)], false);
    let message = &silent[0].message;
    assert!(
        message.contains("10.1.1.53, which dnsmasq (pid 700) (from its configuration file) asks"),
        "{message}"
    );
    assert_eq!(silent[0].file.as_deref(), Some("/etc/dnsmasq.conf"));
    let (slow, _) = told(Vec::new(), true);
    assert!(slow.contains("asks each zone's servers itself"), "{slow}");
    let (slow, _) = told(Vec::new(), false);
    assert!(slow.contains("does not know whom it asks"), "{slow}");
}

fn with_limits(daemon: &str, limits: Limits) -> Target {
    let login_limits = Some(LoginLimits { files: Vec::new(), doubt: None, limits });
    Target { daemon: daemon.to_owned(), login_limits, ..target() }
}

#[test]
fn checks_are_compared_with_sshds_places_and_its_own_lookups_with_its_time() {
    let sshd = |login_grace_s, use_dns| {
        let max_startups = MaxStartups { start: 10, rate: 30, full: 100 };
        with_limits("sshd", Limits::Sshd { login_grace_s, max_startups, use_dns })
    };
    let three = "nameserver 10.1.1.51\nnameserver 10.1.1.52\nnameserver 10.1.1.53\n";
    let names = texts("ALL: .example.com\n", three);
    let slots = found(&sshd(Some(120), false), &names, ServerProblem::ChecksTakeSlots);
    let message = &slots[0].message;
    assert!(
        message.contains("up to 56.0 s") && message.contains("drops 30 % of new connections"),
        "{message}"
    );
    assert!(message.contains("LoginGraceTime (120 s) begins after the check"), "{message}");
    assert_eq!(slots[0].severity, Severity::Warning);
    let quick = texts("ALL: .example.com\n", "nameserver 10.1.1.53\noptions timeout:1 attempts:1\n");
    let slots = found(&sshd(Some(120), false), &quick, ServerProblem::ChecksTakeSlots);
    assert_eq!(slots[0].severity, Severity::Info);
    let addresses = texts("ALL: 10.\n", three);
    assert_eq!(found(&sshd(Some(120), false), &addresses, ServerProblem::ChecksTakeSlots), []);
    let outlasts =
        |grace, use_dns| found(&sshd(grace, use_dns), &addresses, ServerProblem::LookupsOutlastLogin).len();
    assert_eq!(
        [
            outlasts(Some(30), true),
            outlasts(Some(120), true),
            outlasts(None, true),
            outlasts(Some(30), false)
        ],
        [1, 0, 0, 0]
    );
}

#[test]
fn postgresqls_lookups_are_compared_with_its_time() {
    let postgres = |log_hostname, names_in_hba| {
        let limits = Limits::Postgres { authentication_timeout_s: 15, log_hostname, names_in_hba };
        let libwrap = unwrapped("postgres").libwrap;
        Target { libwrap, ..with_limits("postgres", limits) }
    };
    let rules = texts("ALL: 10.\n", "nameserver 10.1.1.51\n");
    let told = |target: &Target| {
        [ServerProblem::OwnLookups, ServerProblem::LookupsOutlastLogin]
            .map(|kind| found(target, &rules, kind).len())
    };
    assert_eq!(told(&postgres(false, Some(false))), [0, 0]);
    assert_eq!(told(&postgres(true, Some(false))), [1, 0]);
    assert_eq!(told(&postgres(false, Some(true))), [0, 1]);
    assert_eq!(told(&postgres(false, None)), [0, 0]);
}

#[test]
fn what_a_configuration_says_in_doubt_is_told_with_the_doubt() {
    use ServerProblem::{ChecksTakeSlots, LookupsOutlastLogin, OwnLookups};
    let max_startups = MaxStartups { start: 10, rate: 30, full: 100 };
    let sshd = Limits::Sshd { login_grace_s: Some(5), max_startups, use_dns: true };
    let postgres =
        Limits::Postgres { authentication_timeout_s: 5, log_hostname: true, names_in_hba: Some(true) };
    let rules = texts("ALL: .example.com\n", "nameserver 10.1.1.51\n");
    for (daemon, limits, kinds) in [
        ("sshd", sshd, [ChecksTakeSlots, LookupsOutlastLogin]),
        ("postgres", postgres, [OwnLookups, LookupsOutlastLogin]),
    ] {
        let mut doubtful = with_limits(daemon, limits);
        doubtful.login_limits.as_mut().unwrap().doubt = Some("/x: not there".to_owned());
        for kind in kinds {
            let told = found(&doubtful, &rules, kind);
            assert!(told[0].message.ends_with("(perhaps set otherwise: /x: not there)"), "{told:?}");
        }
    }
}

fn answer(server: &str, outcome: QueryOutcome, rtt_ms: u64, rcode: &str, found: bool) -> NameserverState {
    let answered = outcome == QueryOutcome::Answered;
    NameserverState {
        server: server.parse().unwrap(),
        asked: Some("x".to_owned()),
        found: (answered && matches!(rcode, "NOERROR" | "NXDOMAIN")).then_some(found),
        outcome: Some(outcome),
        rtt_ns: answered.then_some(rtt_ms * 1_000_000),
        rcode: answered.then(|| rcode.to_owned()),
        error: None,
    }
}

/// A server whose nameserver answers for itself, and these clients' names.
fn with_clients(answers: &[NameserverState]) -> Target {
    let client = |(index, answer): (usize, &NameserverState)| ClientName {
        client: format!("10.2.0.{}", index + 1).parse().unwrap(),
        connected: true,
        answers: vec![answer.clone()],
    };
    let asked: Vec<ClientName> = answers.iter().enumerate().map(client).collect();
    let mut target = target();
    target.resolver.nameservers = vec![answer("10.1.1.53", QueryOutcome::Answered, 1, "NXDOMAIN", false)];
    target.clients = Some(RecentClients { seen: asked.len() as u64, need_no_dns: 0, asked, error: None });
    target
}

#[test]
fn a_nameserver_that_answers_for_itself_and_not_for_clients_is_told() {
    let (rules, conf) = ("ALL: .example.com\n", "nameserver 10.1.1.53\n");
    let good = || answer("10.1.1.53", QueryOutcome::Answered, 1, "NOERROR", true);
    let silent = answer("10.1.1.53", QueryOutcome::Timeout, 0, "", false);
    let slow = answer("10.1.1.53", QueryOutcome::Answered, 800, "NOERROR", true);
    let fails = answer("10.1.1.53", QueryOutcome::Answered, 1, "SERVFAIL", false);
    let kind = ServerProblem::ClientNamesSlow;
    assert_eq!(found(&with_clients(&[good()]), &texts(rules, conf), kind), []);
    let target = with_clients(&[good(), silent, slow, fails]);
    let told = found(&target, &texts(rules, conf), kind);
    assert_eq!((told.len(), told[0].severity), (1, Severity::Warning));
    let message = &told[0].message;
    assert!(
        message.contains("3 of 4 recent clients: 10.2.0.2 (silent for 1 s), 10.2.0.3 (800 ms)"),
        "{message}"
    );
    assert!(message.contains("10.2.0.4 (SERVFAIL)"), "{message}");
    let told = found(&target, &texts("ALL: 10.\n", conf), kind);
    assert_eq!(told[0].severity, Severity::Info, "no rule needs a name");
    // One that is dead for itself too is another problem, and has been told.
    let mut dead = target;
    dead.resolver.nameservers[0].outcome = Some(QueryOutcome::Timeout);
    assert_eq!(found(&dead, &texts(rules, conf), kind), []);
}

#[test]
fn clients_without_a_name_are_told_where_rules_go_by_names() {
    let (rules, conf) = ("ALL: .example.com\n", "nameserver 10.1.1.53\n");
    let none = |rcode| answer("10.1.1.53", QueryOutcome::Answered, 1, rcode, false);
    let target = with_clients(&[none("NXDOMAIN"), none("NOERROR"), none("SERVFAIL")]);
    let told = found(&target, &texts(rules, conf), ServerProblem::ClientsWithoutName);
    assert!(
        told[0].message.starts_with("2 of 3 recent clients have no name in DNS (10.2.0.1, 10.2.0.2)"),
        "{told:?}"
    );
    assert_eq!(found(&target, &texts("ALL: 10.\n", conf), ServerProblem::ClientsWithoutName), []);
}

#[test]
fn whoever_else_holds_a_listener_is_told_by_what_it_is() {
    let told = |pid, comm: &str, relation, held_by_complete| {
        let holder = Holder { pid, comm: comm.to_owned(), relation };
        let listener = ListenerState {
            local: "0.0.0.0:3306".to_owned(),
            queued: 0,
            limit: 80,
            held_by: Some(vec![holder]),
            held_by_complete,
        };
        let target = Target { listeners: Some(vec![listener]), ..target() };
        found(&target, &texts("ALL: 10.\n", ""), ServerProblem::ListenerShared).remove(0)
    };
    let manager = told(1, "systemd", Relation::Parent, true);
    assert!(manager.message.contains("socket activation") && manager.severity == Severity::Info);
    let first = told(1, "tini", Relation::Other, true);
    assert!(!first.message.contains("socket activation") && first.severity == Severity::Warning, "{first:?}");
    let sibling = told(899, "mysqld", Relation::Sibling, true);
    assert!(sibling.message.contains("the same process started") && sibling.severity == Severity::Info);
    let child = told(900, "mysqld", Relation::Child, true);
    assert!(
        child.message.contains("a child of the server, mysqld (pid 900), which inherited it"),
        "{child:?}"
    );
    let other = told(901, "haproxy", Relation::Other, false);
    assert_eq!(other.severity, Severity::Warning);
    assert!(other.message.contains("haproxy (pid 901), perhaps by more"), "{other:?}");
    let alone = ListenerState {
        local: "0.0.0.0:3306".to_owned(),
        queued: 0,
        limit: 80,
        held_by: Some(Vec::new()),
        held_by_complete: true,
    };
    let target = Target { listeners: Some(vec![alone]), ..target() };
    assert_eq!(found(&target, &texts("ALL: 10.\n", ""), ServerProblem::ListenerShared), []);
}

#[test]
fn what_apparmor_forbids_is_not_known_and_that_is_told() {
    let told = |mode: &str| {
        let confined = Some(Confinement { profile: "/usr/sbin/mysqld".to_owned(), mode: mode.to_owned() });
        found(&Target { confined, ..target() }, &texts("ALL: 10.\n", ""), ServerProblem::Confined)
    };
    let enforce = told("enforce");
    assert!(
        enforce[0].message.contains("does not know") && enforce[0].message.contains("as if that were empty")
    );
    assert_eq!((told("complain"), enforce.len()), (Vec::new(), 1));
    let confined = Some(Confinement { profile: "p".to_owned(), mode: "enforce".to_owned() });
    let libwrap = WrapState { state: Wrapped::No, ..target().libwrap };
    let unwrapped = Target { confined, libwrap, ..target() };
    assert_eq!(
        found(&unwrapped, &texts("ALL: 10.\n", ""), ServerProblem::Confined),
        [],
        "it opens no tables"
    );
}

#[test]
fn of_a_table_that_is_not_known_no_rule_is_blamed_and_a_fifo_holds_everybody_up() {
    let with = |doubt: TableDoubt| Texts { doubts: [Some(doubt), None], ..texts("ALL: .example.com", "") };
    let target = target();
    let rules = |texts: &Texts| {
        let all = problems(&target, texts);
        all.into_iter().filter(|problem| matches!(problem.kind, DoctorProblemKind::Rules(_))).count()
    };
    assert!(rules(&texts("ALL: .example.com", "")) > 0, "the last line has no newline");
    let large = with(TableDoubt::NotLookedAt("larger than 1 MiB".to_owned()));
    assert_eq!(rules(&large), 0);
    let told = found(&target, &large, ServerProblem::TableNotKnown);
    assert!(told[0].message.contains("hosts.allow") && told[0].message.contains("1 MiB"), "{told:?}");
    assert_eq!(found(&target, &large, ServerProblem::WrappedWithoutRules), []);
    let fifo = found(&target, &with(TableDoubt::Fifo), ServerProblem::TableBlocks);
    assert_eq!(fifo[0].severity, Severity::Critical);
}

#[test]
fn whom_a_check_holds_up_is_the_daemons_own() {
    let said = |daemon: &str| {
        let target = Target { daemon: daemon.to_owned(), ..target() };
        let texts = texts("ALL: 10.\n", "");
        found(&target, &texts, ServerProblem::Wrapped).remove(0).message
    };
    assert!(said("mysqld").contains("in the accept thread, one after another"));
    assert!(said("sshd").contains("this client's process") && !said("sshd").contains("accept thread"));
    assert!(said("mosquitto").contains("established clients included"));
    // No lookup of libwrap's, whoever is held.
    assert!(said("slapd").contains("looks nothing up") && said("snmpd").contains("hosts_ctl"));
    assert_eq!(said("mine"), "Every TCP connection is checked by libwrap.");
}

#[test]
fn what_a_server_is_shown_with_fits_a_terminal() {
    let limits = Limits::Postgres { authentication_timeout_s: 60, log_hostname: true, names_in_hba: None };
    let mut target = with_limits("stunnel4", limits);
    target.login_limits.as_mut().unwrap().doubt =
        Some("/etc/postgresql/15/main/pg_hba.conf: not there".to_owned());
    target.named_by = Some("the name in [brackets] of each service in stunnel.conf".to_owned());
    target.network.syncookies_sent = Some(12);
    target.resolver.upstreams = vec![answer("10.1.1.53", QueryOutcome::Timeout, 0, "", false)];
    let problems = problems(&target, &texts("ALL: .example.com\n", "nameserver 127.0.0.53\n"));
    let report = crate::model::doctor::Doctor {
        kernel: crate::model::doctor::Kernel::default(),
        hooks: Vec::new(),
        taken: None,
        degradations: Vec::new(),
        targets: vec![target],
        problems,
        measured: None,
    };
    let text = crate::render::text::Text { width: 80, ..crate::render::text::Text::PLAIN }.doctor(&report);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for shown in [
        "stunnel4? libwrap gets the name in [brackets]",
        "authentication_timeout 60 s, log_hostname on, pg_hba.conf not read",
        "perhaps set otherwise: /etc/postgresql",
        "SyncookiesSent 12",
        "behind systemd-resolved: 10.1.1.53: silent",
    ] {
        let words = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(shown), "{shown}: {text}");
    }
}

#[test]
fn of_settings_that_are_not_known_no_bound_is_told() {
    let known = texts("ALL: .example.com\n", "");
    let mut unknown = texts("ALL: .example.com\n", "");
    unknown.conf.unknown = Some("larger than 1 MiB".to_owned());
    let mut with_command = texts("ALL: .example.com: spawn /bin/true\n", "");
    with_command.conf.unknown = Some("larger than 1 MiB".to_owned());
    let nrpe = Target { daemon: "nrpe".to_owned(), ..target() };
    let outlasts = |texts: &Texts| found(&nrpe, texts, ServerProblem::CheckOutlastsClients).len();
    assert_eq!([&known, &unknown, &with_command].map(outlasts), [1, 0, 1]);
    let max_startups = MaxStartups { start: 10, rate: 30, full: 100 };
    let limits = Limits::Sshd { login_grace_s: Some(1), max_startups, use_dns: true };
    let login_limits = Some(LoginLimits { files: Vec::new(), doubt: None, limits });
    let sshd = Target { daemon: "sshd".to_owned(), login_limits, ..target() };
    let kinds = [ServerProblem::ChecksTakeSlots, ServerProblem::LookupsOutlastLogin];
    assert_eq!(kinds.map(|kind| found(&sshd, &known, kind).len()), [1, 1]);
    assert_eq!(kinds.map(|kind| found(&sshd, &unknown, kind).len()), [0, 0]);
    let told = found(&nrpe, &unknown, ServerProblem::ResolverNotKnown);
    assert!(told[0].message.contains("1 MiB"), "{told:?}");
    let missing = |texts: &Texts| {
        let is =
            |problem: &DoctorProblem| problem.kind == DoctorProblemKind::Rules(ProblemKind::NoNameserver);
        problems(&nrpe, texts).iter().any(is)
    };
    assert_eq!((missing(&known), missing(&unknown)), (true, false));
}

#[test]
fn a_command_in_the_background_is_no_wait() {
    let nrpe = Target { daemon: "nrpe".to_owned(), ..target() };
    let outlasts = |allow: &str| {
        found(&nrpe, &texts(allow, "nameserver 10.1.1.53\n"), ServerProblem::CheckOutlastsClients).len()
    };
    for (command, wait) in [("aclexec /bin/true", 1), ("aclexec /bin/true &", 0), ("spawn /bin/true &", 0)] {
        assert_eq!(outlasts(&format!("nrpe: 10.: {command}\n")), wait, "{command}");
        assert_eq!(
            outlasts(&format!("nrpe: 10.: aclexec /bin/true &\nsshd: 10.: {command}\n")),
            0,
            "{command}"
        );
    }
}
