//! Tables of pseudonyms decide about pseudonymous clients as the originals do: libwrap's evaluator is asked both ways.

use proptest::prelude::*;

use super::super::{names::Names, text::Text};
use super::*;
use crate::wrappers::{Endpoint, Evaluation, FixedNames, Request, Table, Tables, evaluate};

const CLIENTS: [(&str, &str); 5] = [
    ("10.77.0.1", "web1.corp.example"),
    ("10.77.3.9", "web2.lan.test"),
    ("10.78.0.1", "a.b.corp.example"),
    ("192.168.4.5", "dbhost"),
    ("2001:db8:77::9", "six.corp.example"),
];

const PATTERNS: [&str; 24] = [
    "ALL",
    "LOCAL",
    "KNOWN",
    "UNKNOWN",
    "PARANOID",
    "EXCEPT",
    "10.77.",
    "10.",
    "10.77.0.1",
    "10.77.0.0/16",
    "10.77.0.0/255.255.252.0",
    "192.168.0.0/255.255.0.0",
    "10.77.0.9/16",
    "192.168.*",
    "[2001:db8::]/32",
    "[2001:db8:77::9]",
    ".corp.example",
    ".example",
    "web1.corp.example",
    "dbhost",
    "web2.lan.test",
    "bob@10.77.",
    "*.corp.example",
    "nobody.test",
];

fn check(text: &Text, allow: &str, deny: &str, ip: &str, name: Option<&str>, map: bool) -> Evaluation {
    let table = |t: &str| {
        Table::parse(&if map {
            text.file(SnapshotRole::HostsAllow, t.as_bytes())
        } else {
            t.as_bytes().to_vec()
        })
    };
    let tables = Tables { allow: table(allow), deny: table(deny) };
    let ip: IpAddr = ip.parse().unwrap();
    let ip = if map { text.names.addresses().ip(ip) } else { ip };
    let name = name.map(|name| if map { text.names.text(name) } else { name.to_owned() });
    let mut env = name.map_or_else(FixedNames::unknown, |name| FixedNames::verified(&name, ip));
    evaluate(&tables, &Request::new("mysqld", Endpoint::new(ip, 4000)), &mut env)
}

fn pattern() -> impl Strategy<Value = String> {
    prop::sample::select(&PATTERNS[..]).prop_map(str::to_owned)
}

fn rule() -> impl Strategy<Value = String> {
    let daemon = prop::sample::select(&["mysqld", "ALL", "sshd", "# mysqld", "ALL EXCEPT sshd"][..]);
    let option = prop::sample::select(
        &["", ": severity local0.info", ": deny", ": allow", ":spawn (mail %n root@corp.example) &"][..],
    );
    let separator = prop::sample::select(&[" ", ", ", " \\\n  "][..]);
    (daemon, prop::collection::vec(pattern(), 1..5), option, separator).prop_map(
        |(daemon, patterns, option, separator)| format!("{daemon}: {}{option}\n", patterns.join(separator)),
    )
}

fn table() -> impl Strategy<Value = String> {
    prop::collection::vec(rule(), 0..5).prop_map(|rules| rules.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn the_same_rule_decides_after_the_same_lookups(
        allow in table(),
        deny in table(),
        client in prop::sample::select(&CLIENTS[..]),
        named: bool,
        seed: u8,
    ) {
        let text = Text::new(Names::new(Key::new([seed; 16])));
        let name = named.then_some(client.1);
        let before = check(&text, &allow, &deny, client.0, name, false);
        let after = check(&text, &allow, &deny, client.0, name, true);
        prop_assert_eq!((before.verdict, before.rule, before.read_to), (after.verdict, after.rule, after.read_to));
        let lookups = |e: &Evaluation| e.lookups.iter().map(|l| (l.kind, l.subject, l.place)).collect::<Vec<_>>();
        prop_assert_eq!(lookups(&before), lookups(&after));
        prop_assert_eq!(before.commands.len(), after.commands.len());
    }

    #[test]
    fn arbitrary_tables_keep_their_lines(table in "[\\PC\\n\\\\:#,@ \\[\\]/.*0-9a-z]{0,200}") {
        let text = Text::new(Names::new(key()));
        let lines = |t: &str| t.split('\n').count();
        for role in [SnapshotRole::HostsAllow, SnapshotRole::Hosts, SnapshotRole::ResolvConf, SnapshotRole::Other] {
            let mapped = text.file(role, table.as_bytes());
            prop_assert_eq!(lines(&table), lines(std::str::from_utf8(&mapped).unwrap()));
        }
    }
}
