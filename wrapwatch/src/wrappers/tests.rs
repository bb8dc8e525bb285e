//! Nothing a file holds makes any of this panic or run away.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::input::{Client, Input};
use super::lint::{lint, named_files};
use super::rewrite::rewrite;
use super::test_host::Host;
use super::*;

/// Bytes that look like a table often enough.
fn table_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "mysqld", "ALL", ":", ": ", ", ", "\n", "\\\n", "EXCEPT", ".example.com", "10.0.2.", "10.0.2.14", "/24", "[", "]", "[::1]",
            "@", "/f", "*", "?", "#", "spawn ", "twist x", "allow", "deny", "%n", "%", "=", "\0", "\u{202e}", "KNOWN", "3306", "banners /f",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn everything(texts: &[Vec<u8>; 5], client: std::net::IpAddr) {
    let host = Host {
        paths: ["allow", "deny"],
        files: BTreeMap::from([("/f".to_owned(), FileText::Text(texts[1].clone()))]),
        server: client,
        conf: ResolvConf::parse(&texts[2]),
        services: nsswitch::hosts(&texts[3]),
        netgroup: nsswitch::netgroup(&texts[3]),
        hosts: HostsFile::parse(&texts[4]),
        clients: vec![
            Client { address: client, name: None },
            Client { address: client, name: Some("db1.example.com".to_owned()) },
        ],
        ..Host::new(&texts[0], &texts[1])
    };
    let input = host.input();
    let report = lint(&input);
    named_files(&host.tables, &host.files);
    let fix = rewrite(&input);
    // What the rewriting promises: nobody who is not named as left alone fares otherwise.
    let after = Tables { allow: Table::parse(&fix.tables[0]), deny: Table::parse(&fix.tables[1]) };
    let again = lint(&Input { tables: &after, texts: [&fix.tables[0], &fix.tables[1]], ..input });
    for (index, (before, after)) in report.clients.iter().zip(&again.clients).enumerate() {
        let left_alone = fix.left_alone.iter().any(|(client, _)| *client == before.client);
        assert!(left_alone || before.verdict == after.verdict, "client {index}: {before:?} {after:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(
        texts in prop::array::uniform5(table_text()),
        v6 in any::<bool>(),
        bits in any::<u128>(),
    ) {
        let v4 = std::net::Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or(0));
        everything(&texts, if v6 { std::net::Ipv6Addr::from_bits(bits).into() } else { v4.into() });
    }
}

#[test]
fn files_that_name_themselves_are_read_in_a_moment() {
    // `/f` is the second text.
    let texts = ["ALL: /f\n", "/f /f\n", "", "", ""].map(|text| text.as_bytes().to_vec());
    everything(&texts, "10.0.2.14".parse().unwrap());
}

#[test]
fn a_long_line_and_many_lines_are_read_in_a_moment() {
    let client = "10.0.2.14".parse().unwrap();
    let start = std::time::Instant::now();
    for unit in ["x", "\n", "a:b\n", "\0", "*", "mysqld: .a\n", "\\\n", "mysqld: ALL EXCEPT ", ": "] {
        let size = if unit.contains('\n') { 1 << 20 } else { 10 << 20 };
        let text = unit.repeat(size / unit.len()).into_bytes();
        let table = Table::parse(&text);
        let tables = Tables { allow: table.clone(), deny: table };
        let request = Request::new("mysqld", Endpoint::new(client, 1));
        evaluate(&tables, &request, &mut FixedNames::unknown());
        ResolvConf::parse(&text);
        nsswitch::hosts(&text);
        HostsFile::parse(&text);
    }
    // Generous: a debug build on a busy machine. Anything quadratic takes hours.
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}

#[test]
fn large_files_are_linted_in_a_moment() {
    let client = "10.0.2.14".parse().unwrap();
    let start = std::time::Instant::now();
    for unit in ["a:b\n", "mysqld: .a\n", "mysqld: 10.0.0.1/24 [::1] x@y\n", "10.0.0.1 a\n", "hosts: dns\n"] {
        let text = unit.repeat((1 << 17) / unit.len()).into_bytes();
        everything(&[text.clone(), text.clone(), text.clone(), text.clone(), text], client);
    }
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}
