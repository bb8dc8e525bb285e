//! A trace for OpenTelemetry, decoded by OpenTelemetry's own definitions: nothing unknown in it, spans lie within each other, links lead to spans, the times are the
//! connections'.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use wrapwatch_tests::python;

use crate::support::{record, run, samples, wrapwatch};

/// Decodes files of batches; what the definitions do not know fails. In OTLP's JSON ids are hexadecimal, in protobuf's they are base64.
const DECODE: &str = r#"
import base64, json, sys
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
kinds = {"traces": TracesData, "logs": LogsData, "metrics": MetricsData}
IDS = ("traceId", "spanId", "parentSpanId")
def ids(value, turn):
    if isinstance(value, dict):
        return {k: turn(v) if k in IDS else ids(v, turn) for k, v in value.items()}
    return [ids(v, turn) for v in value] if isinstance(value, list) else value
to_base64 = lambda text: base64.b64encode(bytes.fromhex(text)).decode()
to_hex = lambda text: base64.b64decode(text).hex()
def plain(attributes):
    return {a["key"]: (int(v) if k == "intValue" else v) for a in attributes for k, v in a["value"].items()}
out = {}
for path in sys.argv[1:]:
    kind = path.rsplit("/", 1)[1].split(".")[0]
    for line in open(path):
        message = ParseDict(ids(json.loads(line), to_base64), kinds[kind]())
        batch = ids(MessageToDict(message, use_integers_for_enums=True), to_hex)
        for of in batch.get("resourceMetrics", []):
            for item in of["scopeMetrics"][0]["metrics"]:
                [data] = [item[kind] for kind in ("sum", "gauge", "histogram") if kind in item]
                for point in data["dataPoints"]:
                    point["attributes"] = plain(point.get("attributes", []))
                item["resource"] = plain(of["resource"]["attributes"])
                out.setdefault(kind, []).append(item)
        for of in batch.get("resourceSpans", []) + batch.get("resourceLogs", []):
            for scoped in of.get("scopeSpans", []) + of.get("scopeLogs", []):
                for item in scoped.get("spans", []) + scoped.get("logRecords", []):
                    item["attributes"] = plain(item.get("attributes", []))
                    item["resource"] = plain(of["resource"]["attributes"])
                    out.setdefault(kind, []).append(item)
print(json.dumps(out))
"#;

/// The spans, the log records and the metrics in a folder.
pub fn decoded(dir: &Path) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let files = ["traces", "logs", "metrics"].map(|signal| dir.join(format!("{signal}.jsonl")));
    let mut all = python(DECODE, files).unwrap();
    let mut of = |signal: &str| match all[signal].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    (of("traces"), of("logs"), of("metrics"))
}

fn time(span: &Value, which: &str) -> u64 {
    span[which].as_str().unwrap().parse().unwrap()
}

/// The same figures as `publish` has for Prometheus, since when the recording began.
fn assert_are_what_prometheus_is_given(trace: &str, metrics: &[Value], report: &Value) {
    let wanted = samples(&run(&["publish", trace]));
    let mut told = BTreeMap::new();
    for metric in metrics {
        let unit = match metric["unit"].as_str() {
            Some("s") => "_seconds",
            Some("By") => "_bytes",
            _ => "",
        };
        let name = format!("{}{unit}", metric["name"].as_str().unwrap().replace('.', "_"));
        let labels = |point: &Value, more: &[String]| {
            let labels = point["attributes"].as_object().unwrap().iter();
            let labels: Vec<String> =
                labels.map(|(name, value)| format!("{name}={value}")).chain(more.iter().cloned()).collect();
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
        };
        let count = |value: &Value| value.as_str().unwrap().parse::<u32>().unwrap();
        let kind = ["sum", "gauge", "histogram"].into_iter().find(|kind| metric.get(kind).is_some()).unwrap();
        if kind != "gauge" {
            assert_eq!(metric[kind]["aggregationTemporality"], 2, "{metric:#}");
        }
        for point in metric[kind]["dataPoints"].as_array().unwrap() {
            assert_eq!(point["timeUnixNano"], nanos(&report["trace"]["to"]));
            if kind != "gauge" {
                let began = &report["trace"]["clock"]["wall_ns"];
                assert_eq!(point["startTimeUnixNano"], began.to_string(), "{metric:#}");
            }
            if kind != "histogram" {
                let total = if kind == "sum" { "_total" } else { "" };
                let value = point.get("asDouble").map_or(0.0, |value| value.as_f64().unwrap());
                told.insert(format!("{name}{total}{}", labels(point, &[])), value);
                continue;
            }
            told.insert(format!("{name}_sum{}", labels(point, &[])), point["sum"].as_f64().unwrap());
            told.insert(format!("{name}_count{}", labels(point, &[])), count(&point["count"]).into());
            let bounds =
                point["explicitBounds"].as_array().unwrap().iter().map(|bound| bound.as_f64().unwrap());
            let bounds = bounds.map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
            let mut so_far = 0;
            for (bound, bucket) in bounds.zip(point["bucketCounts"].as_array().unwrap()) {
                so_far += count(bucket);
                let le = labels(point, &[format!("le=\"{bound}\"")]);
                told.insert(format!("{name}_bucket{le}"), so_far.into());
            }
        }
    }
    let sorted = |samples: BTreeMap<String, f64>| -> BTreeMap<String, f64> {
        let sorted = |series: &str| {
            let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else {
                return series.to_owned();
            };
            let mut labels: Vec<&str> =
                labels.split("\",").map(|label| label.trim_end_matches('"')).collect();
            labels.sort_unstable();
            format!("{name}{labels:?}")
        };
        samples.into_iter().map(|(series, value)| (sorted(&series), value)).collect()
    };
    let (told, wanted) = (sorted(told), sorted(wanted));
    for series in told.keys().chain(wanted.keys()) {
        assert_eq!(told.get(series), wanted.get(series), "{series}");
    }
    assert!(told.len() > 100, "{told:#?}");
}

/// A time in JSON as OTLP has it.
fn nanos(time: &Value) -> String {
    let time: jiff::Timestamp = time.as_str().unwrap_or_else(|| panic!("{time}")).parse().unwrap();
    time.as_nanosecond().to_string()
}

/// Nothing that the schema does not describe.
fn assert_is_described(spans: &[Value], logs: &[Value], metrics: &[Value]) {
    let schema: Value = serde_json::from_str(&run(&["schema", "otlp"])).unwrap();
    let described: std::collections::BTreeSet<(&str, &str)> = schema["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attribute| (attribute["of"].as_str().unwrap(), attribute["name"].as_str().unwrap()))
        .collect();
    let named = schema["metrics"].as_array().unwrap();
    for metric in metrics {
        let known = named.iter().find(|known| known["name"] == metric["name"]);
        assert!(
            known.is_some_and(|known| known["unit"] == *metric.get("unit").unwrap_or(&"".into())),
            "{metric:#}"
        );
        for key in metric["resource"].as_object().unwrap().keys() {
            assert!(described.contains(&("resource", key)), "{key} of the resource");
        }
    }
    for item in spans.iter().chain(logs) {
        let name = item["name"].as_str().or_else(|| item["eventName"].as_str()).unwrap();
        let of = ["lookup", "query"].into_iter().find(|of| name.contains(of)).unwrap_or(name);
        for key in item["attributes"].as_object().unwrap().keys() {
            assert!(described.contains(&(of, key)), "{key} of {of}");
        }
        for key in item["resource"].as_object().unwrap().keys() {
            assert!(described.contains(&("resource", key)), "{key} of the resource");
        }
    }
}

/// Of those who waited for nothing all or none.
fn assert_a_share_is_added(from: &str, dir: &Path) {
    for (share, clients) in [("100%", 9), ("0%", 6)] {
        let sampled = dir.join(share);
        let to = sampled.to_str().unwrap();
        run(&["export", from, "--to", "otlp", "-o", to, "--slow", "100ms", "--sample", share]);
        let (spans, ..) = decoded(&sampled);
        assert_eq!(spans.iter().filter(|span| span["name"] == "client wait").count(), clients);
    }
}

#[test]
fn opentelemetry_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, to) = (dir.path().join("a.wwt"), dir.path().join("otlp"));
    record(&file);
    let (from, out) = (file.to_str().unwrap(), to.to_str().unwrap());
    run(&["export", from, "--to", "otlp", "-o", out, "--slow", "100ms"]);
    let lines = run(&["export", from, "--to", "jsonl"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let connections: BTreeMap<u64, &Value> = lines
        .iter()
        .filter(|line| line["type"] == "connection")
        .map(|line| (line["conn"].as_u64().unwrap(), line))
        .collect();
    let (spans, logs, metrics) = decoded(&to);

    let by_id: BTreeMap<&str, &Value> =
        spans.iter().map(|span| (span["spanId"].as_str().unwrap(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "an id is given twice");
    let whole: BTreeMap<u64, &Value> = spans
        .iter()
        .filter_map(|span| Some((span["attributes"].get("wrapwatch.conn")?.as_u64()?, span)))
        .collect();
    // The three before the nameserver became slow were served at once.
    assert_eq!(whole.keys().copied().collect::<Vec<_>>(), (4..=9).collect::<Vec<u64>>());
    let mut links = 0;
    for (conn, span) in &whole {
        let said = connections[conn];
        assert!(span.get("parentSpanId").is_none());
        let took = time(span, "endTimeUnixNano") - time(span, "startTimeUnixNano");
        assert_eq!(took, said["waited_ns"].as_u64().unwrap());
        assert_eq!(
            span["attributes"]["network.peer.address"],
            said["peer"].as_str().unwrap().split(':').next().unwrap()
        );
        assert_eq!(span["attributes"]["wrapwatch.rule.text"], said["rule"]["text"]);
        for link in span["links"].as_array().into_iter().flatten() {
            let to = by_id.get(link["spanId"].as_str().unwrap());
            assert!(to.is_none_or(|to| to["traceId"] == link["traceId"]));
            links += usize::from(to.is_some());
        }
        let of = |name: &str| {
            let named = |other: &&&Value| {
                other["traceId"] == span["traceId"] && other["name"].as_str().unwrap().contains(name)
            };
            by_id.values().filter(named).count()
        };
        let lookups = said["lookups"].as_array().unwrap();
        assert_eq!(of("lookup"), lookups.len());
        assert_eq!(
            of("query"),
            lookups.iter().map(|lookup| lookup["queries"].as_array().unwrap().len()).sum::<usize>()
        );
    }
    assert!(links > 0, "nobody was queued behind anybody");
    for span in &spans {
        assert_eq!(span["resource"]["service.name"], "wrapwatch");
        assert!(time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano"), "{span:#}");
        assert!(span["attributes"].get("dns.question.name").is_none(), "{span:#}");
        let Some(parent) = span.get("parentSpanId") else { continue };
        let parent = by_id[parent.as_str().unwrap()];
        assert_eq!(parent["traceId"], span["traceId"]);
        let (from, to) = (time(parent, "startTimeUnixNano"), time(parent, "endTimeUnixNano"));
        assert!(
            from <= time(span, "startTimeUnixNano") && time(span, "endTimeUnixNano") <= to,
            "{span:#} in {parent:#}"
        );
    }
    let timeouts = spans.iter().filter(|span| span["attributes"]["error.type"] == "timeout");
    assert!(timeouts.count() > 0);

    let events = |name: &str| logs.iter().filter(|log| log["eventName"] == name).collect::<Vec<_>>();
    let report: Value = serde_json::from_str(&run(&["report", from, "--json"])).unwrap();
    assert_eq!(events("wrapwatch.finding").len(), report["findings"].as_array().unwrap().len());
    // One a stall, however long it lasted; it leads to its client's trace.
    let stalls = events("wrapwatch.stall");
    assert!(!stalls.is_empty());
    let told: std::collections::BTreeSet<&str> =
        stalls.iter().map(|stall| stall["spanId"].as_str().unwrap()).collect();
    assert_eq!(told.len(), stalls.len(), "{stalls:#?}");
    assert!(told.iter().all(|id| by_id.contains_key(id)), "{stalls:#?}");

    assert_are_what_prometheus_is_given(from, &metrics, &report);

    assert_is_described(&spans, &logs, &metrics);

    // With names, for whoever wants them.
    let named = dir.path().join("named");
    run(&["export", from, "--to", "otlp", "-o", named.to_str().unwrap(), "--names"]);
    let (spans, ..) = decoded(&named);
    assert!(spans.iter().any(|span| span["attributes"].get("dns.question.name").is_some()));
    assert_a_share_is_added(from, dir.path());
    let refused = wrapwatch(["export", from, "--to", "otlp", "-o", out]);
    assert_eq!(refused.status.code(), Some(1));
}
