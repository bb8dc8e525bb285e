//! What a person sees, at a fixed clock and width.

use proptest::prelude::*;

use super::*;
use crate::correlate::{Correlator, tests as lab};
use crate::decode::decode;
use crate::diagnose::{Counts, SummaryBuilder};
use crate::model::{
    Blame, ClientLeft, Connection, Degradation, DegradationKind, How, KtimeNs, LeaveKind, LookupKind, Lost,
    Missing, Outcome, Parts, RuleRef, Stall, StallCause, Summary,
};

const MS: u64 = 1_000_000;

fn told(records: &[lab::sim::Rec]) -> (Vec<Connection>, Summary) {
    let mut correlator: Correlator = lab::correlator();
    let mut told = Vec::new();
    for record in records {
        correlator.push(&decode(&record.bytes).unwrap());
    }
    correlator.finish(KtimeNs(records.last().map_or(0, |record| record.ts)));
    let mut summary = SummaryBuilder::new();
    while let Some(connection) = correlator.pop().map(|told| *told) {
        summary.add(&connection);
        told.push(connection);
    }
    let accepts = told.len() as u64;
    (told, summary.build(Counts { accepts, ..Counts::default() }))
}

fn page(text: Text, told: &(Vec<Connection>, Summary)) -> String {
    let mut page = text.legend();
    for connection in &told.0 {
        page += &text.connection(connection);
    }
    page + "\n" + &text.summary(&told.1)
}

#[test]
fn a_dead_first_server_and_those_behind_it() {
    let told = told(&lab::scenes::dead_first_server());
    insta::assert_snapshot!("dead_first_server_80", page(Text::PLAIN, &told));
    insta::assert_snapshot!(
        "dead_first_server_ascii_60",
        page(Text { width: 60, unicode: false, ..Text::PLAIN }, &told)
    );
    insta::assert_snapshot!("dead_first_server_wide", page(Text { width: 140, ..Text::PLAIN }, &told));
    let color = page(Text { color: true, ..Text::PLAIN }, &told).replace('\x1b', "ESC");
    insta::assert_snapshot!("dead_first_server_color", color);
}

#[test]
fn refused_errors_and_clients_that_left() {
    insta::assert_snapshot!(page(Text::PLAIN, &told(&lab::scenes::turned_away())));
}

#[test]
fn every_width_is_kept() {
    let mut told = told(&lab::scenes::dead_first_server());
    for connection in &mut told.0 {
        connection.peer = "[2001:db8:85a3:1234:5678:8a2e:370:7334]:65535".parse().ok();
        connection.complete = false;
        connection.missing = vec![Missing::HandshakeAmbiguous; 4];
        for query in connection.lookups.iter_mut().flat_map(|lookup| &mut lookup.queries) {
            query.qname = Some("例え.".repeat(60));
            query.server = "[2001:db8:85a3:1234:5678:8a2e:370:7334]:53".into();
        }
    }
    for width in [0, 60, 61, 79, 80, 81, 100, 133, 200] {
        for unicode in [true, false] {
            let text = page(Text { width, unicode, slow_ns: 0, ..Text::PLAIN }, &told);
            for line in text.lines() {
                assert!(fit::width(line) <= width.max(60), "{} columns of {width}: {line}", fit::width(line));
                assert!(unicode || line.is_ascii(), "{line}");
            }
        }
    }
}

fn stall() -> Stall {
    Stall {
        at: lab::clock().wall(KtimeNs(12_345 * MS)),
        pid: 812,
        tid: 812,
        conn: Some(17),
        peer: "10.0.3.7:40112".parse().ok(),
        blocked_ns: 7_300 * MS,
        since_attach: false,
        cause: StallCause::Dns,
        lookup: Some(LookupKind::Reverse),
        name: Some("7.3.0.10.in-addr.arpa".to_owned()),
        server: Some("10.1.1.53:53".to_owned()),
        table: Some("/etc/hosts.allow".to_owned()),
        rule: Some(RuleRef { file: "/etc/hosts.allow".into(), line: 17, text: None, how: How::Observed }),
        queued: Some(80),
        queue_limit: Some(80),
    }
}

#[test]
fn stalls_degradations_and_losses() {
    let text = Text::PLAIN;
    let mut page = text.stall(&stall());
    page += &text.stall(&Stall { since_attach: true, rule: None, lookup: None, name: None, ..stall() });
    for cause in
        [StallCause::Ident, StallCause::Spawn, StallCause::Syslog, StallCause::File, StallCause::OffCpu]
    {
        page += &text.stall(&Stall { cause, server: None, rule: None, queued: None, conn: None, ..stall() });
    }
    let degradation = Degradation {
        kind: DegradationKind::NoUprobes,
        pid: Some(812),
        message: "uprobes need CAP_SYS_ADMIN: wrapwatch takes the last table's close as the check's end; run as root to see it exactly".to_owned(),
    };
    page += &text.line(&Line::Degradation(degradation));
    let lost = Lost {
        events: 12,
        by: vec![("lost_accept".to_owned(), 2), ("lost_file".to_owned(), 10)],
        ..Lost::default()
    };
    page += &text.line(&Line::Lost(lost));
    let left_out = Lost { events: 0, by: vec![("skipped_calls".to_owned(), 3)], ..Lost::default() };
    page += &text.line(&Line::Lost(left_out));
    insta::assert_snapshot!(page);
}

fn connection() -> Connection {
    told(&lab::scenes::turned_away()).0.remove(0)
}

#[test]
fn whose_connection_a_request_came_on_is_shown() {
    let request = Connection { conn: 101, within: Some(7), waited_ns: 800 * MS, ..connection() };
    let shown = Text::PLAIN.connection(&request);
    assert!(shown.contains("after the first byte of #7"), "{shown}");
    assert!(!Text::PLAIN.connection(&connection()).contains("after the first byte"));
}

#[test]
fn requests_are_counted_behind_the_connections() {
    let mut summary = SummaryBuilder::new();
    for (outcome, waited_ns) in [(Outcome::Admitted, 3 * MS), (Outcome::Refused, 806 * MS)] {
        summary.add_request(&Connection { outcome, waited_ns, ..connection() });
    }
    let shown = Text::PLAIN.summary(&summary.build(Counts::default()));
    let one_line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(one_line.contains("2 requests otherwise: 1 refused, 1 admitted, 806 ms at most."), "{shown}");
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let mut hostile = connection();
    let evil = "evil\x1b]0;owned\x07\u{202e}gpj.\r\nfake line";
    hostile.wrapper_ns = 1_000 * MS;
    hostile.verdict_rule =
        Some(RuleRef { file: evil.into(), line: 1, text: Some(evil.into()), how: How::Observed });
    hostile.rule.clone_from(&hostile.verdict_rule);
    for query in hostile.lookups.iter_mut().flat_map(|lookup| &mut lookup.queries) {
        query.qname = Some(evil.to_owned());
        query.server = evil.into();
        query.qtype = Some(evil.into());
        query.rcode = Some(evil.into());
    }
    hostile.other = vec![crate::model::OtherUse { what: evil.to_owned(), dur_ns: 1_000 * MS }];
    let mut page = Text::PLAIN.connection(&hostile);
    page +=
        &Text::PLAIN.stall(&Stall { name: Some(evil.to_owned()), server: Some(evil.to_owned()), ..stall() });
    let lost = Lost { events: 1, by: vec![(evil.to_owned(), 1)], ..Lost::default() };
    page += &Text::PLAIN.lost(&lost);
    assert!(page.contains("evil"));
    for c in page.chars().filter(|c| *c != '\n') {
        assert!(!c.is_control() && c != '\u{202e}', "{page:?}");
    }
    assert!(page.lines().all(|line| !line.starts_with("fake")), "{page}");
}

proptest! {
    #[test]
    fn any_number_fits(queued in any::<u64>(), dns in any::<u64>(), other in any::<u64>(), total in any::<Option<u64>>(), conn in any::<u64>()) {
        let parts = Parts { dns_ns: dns, other_ns: other, ..Parts::default() };
        let any = Connection { conn, queued_ns: Some(queued), wrapper_ns: parts.total(), parts, total_ns: total, ..connection() };
        let blame = vec![Blame { cause: StallCause::Dns, server: None, own_ns: dns, queued_ns: queued }];
        let left = Some(ClientLeft { how: LeaveKind::Rst, at: any.accepted, after_ns: Some(queued) });
        let any = Connection { blame, client_left: left, outcome: Outcome::ServerError, error_code: Some(65535), ..any };
        let text = Text::PLAIN.connection(&any);
        for line in text.lines() {
            prop_assert!(fit::width(line) <= 80, "{}", line);
        }
        let mut summary = SummaryBuilder::new();
        summary.add(&any);
        for line in Text::PLAIN.summary(&summary.build(Counts::default())).lines() {
            prop_assert!(fit::width(line) <= 80, "{}", line);
        }
    }
}

#[test]
fn a_period_over_midnight_has_both_dates() {
    let at = |text: &str| WallTime(text.parse().unwrap());
    let (before, after) = (at("2026-11-22T23:50:00Z"), at("2026-11-23T00:10:05.5Z"));
    assert_eq!(period(before, at("2026-11-22T23:59:59Z")), "2026-11-22 23:50:00 to 23:59:59 UTC");
    assert_eq!(period(before, after), "2026-11-22 23:50:00 to 2026-11-23 00:10:05 UTC");
}
