//! What is counted, held against the summary of the same inputs; what is not known has no sample.

#![expect(clippy::float_cmp, reason = "whole numbers")]

use std::collections::BTreeMap;

use super::*;
use crate::engine::{Engine, Options};
use crate::model::{Outcome, StallCause, Summary};
use crate::trace::synth::Synth;
use crate::trace::{End, Head, Listener, ListenerSample, NetnsSample, ProcessSample, Sample, Target};

const S: u64 = 1_000_000_000;

/// Samples by name and labels.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.prometheus_text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Feeds the engine and the metrics alike.
struct Fed {
    engine: Engine,
    metrics: Metrics,
}

impl Fed {
    fn new(head: &Head) -> Self {
        let mut fed = Self { engine: Engine::new(Options::default()), metrics: Metrics::new() };
        fed.feed(&head.into());
        fed
    }

    fn feed(&mut self, input: &Input<'_>) {
        self.metrics.input(input).unwrap();
        self.engine.feed(input);
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(line) = self.engine.next_line() {
            self.metrics.line(&line).unwrap();
        }
    }

    fn end(mut self) -> (Metrics, Summary) {
        self.engine.finish();
        self.tell();
        (self.metrics, self.engine.summary())
    }
}

fn head() -> Head {
    let listeners = vec![Listener { address: "0.0.0.0:3306".to_owned(), ..Listener::default() }];
    let comm = "mariadbd".to_owned();
    let target = Target { pid: 24_516, comm, listeners, ..Target::default() };
    let clock = ClockPair { ktime: KtimeNs(S), wall_ns: 1_795_326_189_000_000_000 };
    Head { clock, targets: vec![target], ..Head::default() }
}

fn sample(second: u64, accepts: u64) -> Sample {
    Sample {
        at: KtimeNs(second * S),
        counters: [("accepts".to_owned(), accepts)].into(),
        ..Sample::default()
    }
}

#[test]
fn the_figures_are_those_of_the_summary() {
    let mut fed = Fed::new(&head());
    let mut synth = Synth::new(7, S, 100);
    for _ in 0..200 {
        synth.connection(&mut |record| fed.feed(&Input::Record(record)));
    }
    fed.feed(&(&sample(10, 200)).into());
    let (metrics, summary) = fed.end();
    let samples = samples(&metrics);
    let near = |name: &str, ns: u64| {
        let value = samples.get(name).copied().unwrap_or_else(|| panic!("no {name} in {samples:#?}"));
        assert!((value - connection::seconds(ns)).abs() < 1e-6, "{name} {value}, not {ns} ns");
    };
    let outcome = |wanted| summary.outcomes.iter().find(|count| count.outcome == wanted).unwrap().count;
    let greeted = samples["wrapwatch_connections_total{outcome=\"greeted\"}"];
    assert_eq!((greeted, outcome(Outcome::Greeted)), (200.0, 200));
    assert_eq!(samples["wrapwatch_accepts_total"], 200.0);
    assert_eq!(samples["wrapwatch_client_wait_seconds_count"], 200.0);
    near("wrapwatch_client_wait_seconds_sum", summary.total.sum_ns);
    near("wrapwatch_queue_wait_seconds_sum", summary.queued.sum_ns);
    near("wrapwatch_check_seconds_sum", summary.wrapper.sum_ns);
    near("wrapwatch_waited_seconds_total{cause=\"dns\"}", summary.waiting.dns_ns);
    near("wrapwatch_waited_seconds_total{cause=\"unknown\"}", summary.waiting.unknown_ns);
    let busy = summary.accept_threads.iter().map(|thread| thread.busy_ns).sum();
    near("wrapwatch_accept_thread_busy_seconds_total{server=\"mariadbd:3306\"}", busy);
    let [nameserver] = &summary.nameservers[..] else { panic!("{:?}", summary.nameservers) };
    near(
        "wrapwatch_query_seconds_sum{nameserver=\"10.77.53.2:53\",outcome=\"answered\"}",
        nameserver.rtt.sum_ns,
    );
    let queries =
        samples.iter().filter(|(name, _)| name.starts_with("wrapwatch_queries_total")).map(|(_, n)| n);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let asked = nameserver.queries as f64;
    assert_eq!(queries.sum::<f64>(), asked);
    // All causes together are all of the waiting.
    let causes = samples.iter().filter(|(name, _)| name.starts_with("wrapwatch_waited_seconds_total{"));
    let whole = causes.map(|(_, value)| value).sum::<f64>();
    assert!((whole - connection::seconds(summary.waiting.total_ns)).abs() < 1e-6);
}

#[test]
fn a_request_is_counted_with_its_wait_and_is_no_connection() {
    use crate::correlate::tests as lab;
    let told = lab::run_with(&mut lab::correlator(), &lab::scenes::turned_away()).remove(0);
    let mut request = told;
    (request.outcome, request.waited_ns) = (Outcome::Admitted, 2 * S);
    let mut metrics = Metrics::new();
    metrics.line(&Line::Request(Box::new(request))).unwrap();
    let samples = samples(&metrics);
    let of = |what: &str| samples[&format!("wrapwatch_request_seconds_{what}{{outcome=\"admitted\"}}")];
    assert_eq!((of("count"), of("sum")), (1.0, 2.0));
    assert!(samples.keys().all(|name| !name.contains("connections_total")), "{samples:#?}");
}

#[test]
fn what_was_not_seen_is_absent() {
    let metrics = Metrics::new();
    let version = format!("wrapwatch_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples(&metrics), [(version, 1.0)].into());
    // A sample that shows neither queues nor counters of the network.
    let mut fed = Fed::new(&head());
    fed.feed(&(&sample(2, 0)).into());
    let samples = samples(&fed.metrics);
    for absent in
        ["accept_queue", "listen_overflows", "syn_cookies", "resident_memory", "client_wait", "programs"]
    {
        assert!(samples.keys().all(|name| !name.contains(absent)), "{absent}: {samples:#?}");
    }
    // What was looked for and not found is 0.
    for none in ["lost_events_total", "skipped_calls_total", "accepts_total", "stall_age_seconds"] {
        assert_eq!(samples[&format!("wrapwatch_{none}")], 0.0, "{none}");
    }
}

#[test]
fn counters_of_the_kernel_count_what_is_new() {
    let netns = |listen_overflows| NetnsSample { netns: 1, listen_overflows, ..NetnsSample::default() };
    let mut fed = Fed::new(&head());
    for (second, overflows, cpu_ns) in [(2, 70, S), (3, 75, 2 * S), (4, 75, 2 * S)] {
        let own = ProcessSample { cpu_ns: Some(cpu_ns), ..ProcessSample::default() };
        let sample = Sample { netns: vec![netns(Some(overflows))], own, ..sample(second, 1) };
        fed.feed(&(&sample).into());
    }
    let seen = samples(&fed.metrics);
    assert_eq!(
        (seen["wrapwatch_listen_overflows_total"], seen["wrapwatch_recorder_cpu_seconds_total"]),
        (5.0, 2.0)
    );
    // Another recording: its process has used little CPU so far, the namespace's counter goes on.
    let clock = ClockPair { ktime: KtimeNs(100 * S), wall_ns: 1_795_326_289_000_000_000 };
    fed.metrics.input(&(&Head { clock, ..head() }).into()).unwrap();
    let own = ProcessSample { cpu_ns: Some(S / 2), ..ProcessSample::default() };
    fed.metrics.input(&(&Sample { netns: vec![netns(Some(76))], own, ..sample(101, 1) }).into()).unwrap();
    let seen = samples(&fed.metrics);
    assert_eq!(
        (seen["wrapwatch_listen_overflows_total"], seen["wrapwatch_recorder_cpu_seconds_total"]),
        (6.0, 2.5)
    );
    assert_eq!((seen["wrapwatch_recordings_total"], seen["wrapwatch_accepts_total"]), (2.0, 2.0));
}

#[test]
fn a_later_file_of_a_recording_counts_from_its_first_sample() {
    let mut fed = Fed::new(&Head { file: 3, ..head() });
    fed.feed(&(&sample(2, 1_000)).into());
    assert!(!samples(&fed.metrics).contains_key("wrapwatch_accepts_total"));
    fed.feed(&(&sample(3, 1_007)).into());
    assert_eq!(samples(&fed.metrics)["wrapwatch_accepts_total"], 7.0);
    // The next file repeats the head.
    fed.feed(&(&Head { file: 4, ..head() }).into());
    fed.feed(&(&sample(4, 1_009)).into());
    let seen = samples(&fed.metrics);
    assert_eq!((seen["wrapwatch_accepts_total"], seen["wrapwatch_recordings_total"]), (9.0, 1.0));
}

fn stall(conn: u64, blocked_ns: u64) -> Line {
    Line::Stall(Stall {
        at: ClockPair { ktime: KtimeNs(0), wall_ns: 0 }.wall(KtimeNs(0)),
        pid: 24_516,
        tid: 24_516,
        conn: Some(conn),
        peer: None,
        blocked_ns,
        since_attach: false,
        cause: StallCause::Dns,
        lookup: None,
        name: None,
        server: None,
        table: None,
        rule: None,
        queued: None,
        queue_limit: None,
    })
}

#[test]
fn a_stall_has_an_age_while_it_goes_on_and_counts_once() {
    let mut fed = Fed::new(&head());
    let seen = |fed: &Fed| {
        let samples = samples(&fed.metrics);
        let counted = samples.get("wrapwatch_stalls_total{cause=\"dns\"}").copied();
        (samples.get("wrapwatch_stall_age_seconds").copied(), counted)
    };
    fed.feed(&(&sample(2, 0)).into());
    assert_eq!(seen(&fed), (Some(0.0), None));
    fed.metrics.line(&stall(1, S)).unwrap();
    fed.feed(&(&sample(3, 0)).into());
    fed.metrics.line(&stall(1, 2 * S)).unwrap();
    assert_eq!(seen(&fed), (Some(2.0), Some(1.0)));
    fed.feed(&(&sample(4, 0)).into());
    assert_eq!(seen(&fed), (Some(0.0), Some(1.0)));
    fed.metrics.line(&stall(2, S)).unwrap();
    assert_eq!(seen(&fed), (Some(1.0), Some(2.0)));
    // Another file of the recording, then another recording, whose numbers begin anew.
    fed.feed(&(&Head { file: 1, ..head() }).into());
    fed.metrics.line(&stall(2, 2 * S)).unwrap();
    assert_eq!(seen(&fed).1, Some(2.0));
    let clock = ClockPair { ktime: KtimeNs(9 * S), ..head().clock };
    fed.feed(&(&Head { clock, ..head() }).into());
    fed.metrics.line(&stall(2, S)).unwrap();
    assert_eq!(seen(&fed).1, Some(3.0));
    // Nobody knows whether it goes on.
    fed.feed(&End::default().into());
    assert_eq!(seen(&fed), (None, Some(3.0)));
    assert_eq!(samples(&fed.metrics)["wrapwatch_recorder_up"], 0.0);
}

#[test]
fn no_trace_makes_many_series() {
    let mut fed = Fed::new(&head());
    let few = |fed: &Fed| samples(&fed.metrics).len();
    for n in 0..1_000_u32 {
        let address = format!("10.0.{}.{}:{n}", n / 256, n % 256);
        let listeners = vec![Listener { address: address.clone(), ..Listener::default() }];
        let target = Target { pid: n, comm: format!("d{n}"), listeners, ..Target::default() };
        fed.feed(&target.into());
        let queue = ListenerSample { address, queued: 1, queue_limit: 80, ..ListenerSample::default() };
        let netns = NetnsSample { netns: n.into(), listen_drops: Some(n.into()), ..NetnsSample::default() };
        fed.feed(&Sample { listeners: vec![queue], netns: vec![netns], ..sample(2, 0) }.into());
        fed.metrics.line(&stall(n.into(), S)).unwrap();
    }
    assert!(few(&fed) < 40, "{}", few(&fed));
    let all = (0..1_000).map(|n| ListenerSample {
        address: format!("[::]:{n}"),
        queued: 7,
        ..ListenerSample::default()
    });
    fed.feed(&Sample { listeners: all.collect(), ..sample(3, 0) }.into());
    assert!(few(&fed) < 80, "{}", few(&fed));
    assert_eq!(samples(&fed.metrics)["wrapwatch_accept_queue_length{listener=\"other\"}"], 7.0);
}

#[test]
fn from_zero_on_only_what_is_new_counts() {
    let mut fed = Fed::new(&head());
    fed.feed(&(&sample(2, 5)).into());
    fed.metrics.zero();
    fed.feed(&(&sample(3, 8)).into());
    assert_eq!(samples(&fed.metrics)["wrapwatch_accepts_total"], 3.0);
}

#[test]
fn both_forms_say_the_same() {
    let mut fed = Fed::new(&head());
    fed.feed(&(&sample(2, 5)).into());
    let (old, new) = (fed.metrics.prometheus_text(), fed.metrics.openmetrics_text());
    assert!(old.contains("# TYPE wrapwatch_accepts_total counter\nwrapwatch_accepts_total 5\n"), "{old}");
    assert!(new.contains("# TYPE wrapwatch_accepts counter\nwrapwatch_accepts_total 5\n"), "{new}");
    assert!(new.ends_with("# EOF\n") && !old.contains("# EOF"));
}

#[test]
fn protobuf_has_native_histograms_and_no_more_buckets_than_allowed() {
    let mut metrics = Metrics::new();
    let whole = |metrics: &Metrics| {
        let families = metrics.families();
        let wait = families.iter().find(|family| family.name == "wrapwatch_client_wait_seconds").unwrap();
        wait.metric[0].histogram.clone().unwrap()
    };
    let wait = metrics.series.wait.get_or_create_owned(&[]);
    wait.observe(0.0);
    // From a nanosecond to a day.
    let mut seconds = 1e-9;
    while seconds < 86_400.0 {
        wait.observe(seconds);
        seconds *= 1.04;
    }
    let told = whole(&metrics);
    let buckets: u32 = told.positive_span.iter().map(|span| span.length).sum();
    assert!((50..=160).contains(&buckets) && buckets as usize == told.positive_delta.len(), "{buckets}");
    let mut count = 0;
    let counts = told.positive_delta.iter().map(|delta| {
        count += delta;
        count
    });
    let in_buckets: i64 = counts.sum();
    assert_eq!(u64::try_from(in_buckets).unwrap() + told.zero_count, told.sample_count);
    // The buckets of the text stand beside them.
    assert_eq!(told.bucket.len(), 20);
    assert_eq!(told.bucket.last().unwrap().cumulative_count, told.sample_count);
    // Text has none, and is as it was.
    assert!(metrics.prometheus_text().contains("wrapwatch_client_wait_seconds_bucket{le=\"0.0005\"} "));
    metrics.zero();
    let zero = metrics.series.wait.get_or_create_owned(&[]);
    zero.observe(1.0);
    assert_eq!(whole(&metrics).sample_count, 1);
}

#[test]
fn every_series_is_described_in_the_docs_and_no_other() {
    let docs = include_str!("../../../docs/metrics.md");
    let rows = docs.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split(" |").next()?.to_owned()))
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), published());
    let listed = Series::all().into_iter().map(|series| (series.name, series.kind.to_owned()));
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), published());
}

/// What is published where every series has a sample: names and types.
fn published() -> BTreeMap<String, String> {
    let text = Metrics::one_of_each().prometheus_text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

const RULES: &str = include_str!("../../../packaging/prometheus/wrapwatch.rules.yml");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/wrapwatch.json");

/// Words that begin so, each once.
fn words<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let of_a_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut words: Vec<&str> = text.split(|c| !of_a_word(c)).filter(|word| word.starts_with(begin)).collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[test]
fn every_series_that_rules_and_dashboard_name_exists() {
    let all = published();
    for text in [RULES, DASHBOARD] {
        let named = words(text, "wrapwatch_");
        assert!(named.len() > 8, "{named:?}");
        for name in named {
            let histogram = name.strip_suffix("_bucket").and_then(|name| all.get(name));
            let exists = histogram.map_or_else(|| all.contains_key(name), |kind| *kind == "histogram");
            assert!(exists, "there is no series {name}");
        }
        for recorded in words(text, "wrapwatch:") {
            assert!(RULES.contains(&format!("- record: {recorded}\n")), "nothing records {recorded}");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel:#}");
    }
}

#[test]
fn every_alert_has_a_section_in_the_docs() {
    let docs = include_str!("../../../docs/metrics.md");
    let alerts = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let links = RULES.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: docs/metrics.md#"));
    let sections = docs.lines().filter_map(|line| line.strip_prefix("### "));
    let alerts: Vec<&str> = alerts.collect();
    assert_eq!(alerts, sections.collect::<Vec<_>>());
    assert_eq!(
        alerts.iter().map(|alert| alert.to_lowercase()).collect::<Vec<_>>(),
        links.collect::<Vec<_>>()
    );
}
