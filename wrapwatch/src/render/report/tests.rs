//! Reports of the imported captures: what they say word by word (snapshots), and what issue after issue relies on (assertions).

use crate::context::QueuePoint;
use crate::diagnose::{self, Diff, Report};
use crate::engine::Filter;
use crate::import::strace::{Dates, Importer, Log, import, survey};
use crate::model::{FindingId, KtimeNs, Scenario};
use crate::render::text::Text;
use crate::replay::{TraceReport, Wanted};
use crate::trace::{Input, SingleFile, Writer, WriterOptions};

use super::Page;

const A_FAST: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/a-fast.ttt.log");
const C_TIMEOUT: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/c-timeout.ttt.log");
const D_DENIED: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/d-denied.ttt.log");
const E2: &str = include_str!("../../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log");

/// The log as a trace.
pub(crate) fn trace(log: &str) -> Vec<u8> {
    let mut writer = None;
    let logs = || vec![Log { tid: None, source: log.as_bytes() }];
    let mut importer = Importer::new(None, survey(logs()).unwrap());
    import(&mut importer, logs(), Dates::default(), &mut |input| match (&mut writer, input) {
        (none @ None, Input::Head(head)) => {
            *none = Some(Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap());
        }
        (Some(writer), input) => writer.write(&input).unwrap(),
        _ => panic!("the head comes first"),
    })
    .unwrap();
    let end = crate::trace::End {
        at: importer.now(),
        reason: "end of the log".to_owned(),
        ..crate::trace::End::default()
    };
    let (out, result) = writer.unwrap().finish(end);
    result.unwrap();
    out.into_inner()
}

fn whole(log: &str, filter: Filter) -> TraceReport {
    let wanted = Wanted { filter, slowest: 3, file_name: "capture.wwt" };
    TraceReport::read(trace(log).as_slice(), &wanted, |_| {}).unwrap()
}

fn report(log: &str) -> Report {
    whole(log, Filter::default()).report
}

fn ids(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| finding.id.name()).collect()
}

fn ceiling(report: &Report, scenario: Scenario) -> f64 {
    report.what_if.iter().find(|row| row.scenario == scenario).unwrap().ceiling_per_s.unwrap()
}

#[test]
fn the_captures_read_like_this() {
    for (name, log) in [("a-fast", A_FAST), ("c-timeout", C_TIMEOUT), ("d-denied", D_DENIED), ("e2", E2)] {
        insta::assert_snapshot!(name, Text::PLAIN.report(&report(log)));
    }
}

#[test]
fn the_staircase_is_a_saturated_accept_thread_and_the_lookups_are_the_cause() {
    let report = report(E2);
    assert_eq!(report.summary.connections, 20);
    assert_eq!(
        ids(&report),
        ["accept-thread-saturated", "nameserver-slow", "dns-in-accept-path", "names-before-addresses"]
    );
    let saturated = &report.findings[0].message;
    assert!(saturated.contains("20 checks") && saturated.contains("DNS, 301 ms a lookup"), "{saturated}");
    let better = ceiling(&report, Scenario::ClientsInHosts) / ceiling(&report, Scenario::AsItWas);
    assert!(better >= 100.0, "{better}");
    assert!(report.what_if.iter().all(|row| row.wait_p50_ns.is_none()), "strace does not show arrivals");
    assert!(report.what_if_caveats[0].contains("when clients arrived is not known"));
}

#[test]
fn the_dead_nameserver_is_named_with_the_change() {
    let report = report(C_TIMEOUT);
    let dead = &report.findings[0];
    assert_eq!(dead.id, FindingId::FirstNameserverDead);
    assert_eq!(dead.evidence.server.as_deref(), Some("10.77.53.1:53"));
    let change = dead.change.as_deref().unwrap();
    assert!(change.contains("/etc/resolv.conf delete the line `nameserver 10.77.53.1`"), "{change}");
    assert!(report.verdict.contains("nameserver 10.77.53.1"), "{}", report.verdict);
    // A timeout of one second was set already: shorter ones are not to be had.
    let short = ceiling(&report, Scenario::ShortTimeouts) / ceiling(&report, Scenario::AsItWas);
    assert!((0.99..1.01).contains(&short), "{short}");
    assert!(ceiling(&report, Scenario::DeadNameserverRemoved) > 100.0);
}

#[test]
fn the_rule_that_is_in_the_way_can_be_moved() {
    for log in [A_FAST, C_TIMEOUT, E2] {
        let report = report(log);
        let moved = report.findings.iter().find(|found| found.id == FindingId::NamesBeforeAddresses).unwrap();
        let change = moved.change.as_deref().unwrap();
        assert!(change.contains("put line 4 (`mysqld: 10.77.`) before line 2"), "{change}");
    }
    assert!(
        !ids(&report(D_DENIED)).contains(&"names-before-addresses".to_owned()),
        "a refusal needs all rules"
    );
}

#[test]
fn each_check_is_as_long_as_the_log_says() {
    // Accept's return to the last table's close, by hand from the log.
    let report = report(D_DENIED);
    assert_eq!(report.connections.len(), 3);
    for connection in &report.connections {
        assert_eq!(connection.parts.total(), connection.wrapper_ns);
        assert_eq!(connection.verdict_rule.as_ref().map(|rule| &*rule.file), Some("/etc/hosts.deny"));
    }
}

#[test]
fn a_filtered_report_makes_no_what_if() {
    let filter = Filter { peers: vec!["10.77.0.21".parse().unwrap()], ..Filter::default() };
    let report = whole(E2, filter).report;
    assert_eq!((report.summary.connections, report.what_if.len()), (1, 0));
    assert!(report.what_if_caveats[0].contains("a filter chose"));
}

fn compare(before: &str, after: &str) -> Diff {
    let (before, after) = (whole(before, Filter::default()), whole(after, Filter::default()));
    diagnose::diff((&before.report, &before.context), (&after.report, &after.context))
}

#[test]
fn a_comparison_says_what_changed_and_what_cannot_be_compared() {
    let diff = compare(C_TIMEOUT, A_FAST);
    insta::assert_snapshot!("diff", Text::PLAIN.diff(&diff));
    let gone = diff.findings.iter().find(|change| change.id == FindingId::FirstNameserverDead).unwrap();
    assert!(gone.before.is_some() && gone.after.is_none());
    assert!(
        diff.caveats.iter().any(|caveat| caveat.contains("only 3 connections before")),
        "{:?}",
        diff.caveats
    );
    let same = compare(E2, E2);
    assert!(same.findings.iter().all(|change| change.before == change.after));
    assert!(same.caveats.is_empty(), "{:?}", same.caveats);
}

#[test]
fn waits_and_queue_have_one_time_axis() {
    let whole = whole(E2, Filter::default());
    let load = whole.diagnosis.load();
    let (waits, waterfall) = (diagnose::waits(load), diagnose::waterfall(load));
    let point = |at, queued| QueuePoint { at, queued, limit: 80 };
    let before = |ns| KtimeNs(waits.from.0 - ns);
    let queue = [
        point(before(9_000_000_000), 7),
        point(before(1), 1),
        point(waits.from.plus(5), 3),
        point(waits.to.plus(1), 2),
        point(waits.to.plus(2), 9),
    ];
    let page = Page {
        report: &whole.report,
        waits: &waits,
        waterfall: &waterfall,
        queue: &queue,
        clock: whole.clock,
    };
    let html = page.html();
    let chart = |label: &str| {
        let (_, rest) = html.split_once(&format!("aria-label=\"{label}\"")).unwrap();
        rest.split_once("</svg>").unwrap().0.to_owned()
    };
    let ticks = |svg: &str| {
        let texts = svg.split("</text>").filter_map(|text| text.rsplit('>').next());
        texts.filter(|text| text.contains(':')).map(str::to_owned).collect::<Vec<_>>()
    };
    let length = chart("accept queue over time");
    assert_eq!(ticks(&length), ticks(&chart("wait over time")));
    assert_eq!(ticks(&length).len(), 5);
    let (_, points) = length.split_once("points=\"").unwrap();
    assert_eq!(points.split_once('"').unwrap().0.split(' ').count(), 3, "what lies further off is not drawn");
}

#[test]
fn the_page_is_whole_and_asks_for_nothing() {
    let whole = whole(E2, Filter::default());
    let load = whole.diagnosis.load();
    let (waits, waterfall) = (diagnose::waits(load), diagnose::waterfall(load));
    let mut hostile = whole.report.clone();
    hostile.trace.file_name = "<script>alert(1)</script>".to_owned();
    hostile.connections[0].lookups[0].queries[0].server = "\"><img src=x onerror=alert(1)>".into();
    hostile.connections[0].lookups[0].queries[0].qname = Some("</td><script>x</script>.example".to_owned());
    let page = Page {
        report: &hostile,
        waits: &waits,
        waterfall: &waterfall,
        queue: whole.context.queue.points(),
        clock: whole.clock,
    };
    let html = page.html();
    for never in ["<script", "<img", "http://", "https://", "url(", "@import", "NaN", "inf\""] {
        assert!(!html.contains(never), "{never}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert_eq!(waterfall.bars.len(), 20 - usize::try_from(waterfall.bars[0].conn - 1).unwrap());
}
