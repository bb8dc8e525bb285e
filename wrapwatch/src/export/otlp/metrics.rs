//! What is counted, in OTLP's form: the series that Prometheus is given, under names of which a collector makes the same again (`wrapwatch.client_wait` in `s` becomes
//! `wrapwatch_client_wait_seconds`), so that rules and dashboard hold for either way.

use serde::Serialize;

use super::json::{Attributes, Nanos};
use crate::metrics::exposed::{self, MetricFamily, MetricType};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;

/// From when on was counted, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) begin: Nanos,
    pub(super) now: Nanos,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Metric {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
    #[serde(flatten)]
    data: Data,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Data {
    Sum { data_points: Vec<Number>, aggregation_temporality: u8, is_monotonic: bool },
    Gauge { data_points: Vec<Number> },
    Histogram { data_points: Vec<Spread>, aggregation_temporality: u8 },
}

/// `NumberDataPoint`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Number {
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<Nanos>,
    time_unix_nano: Nanos,
    as_double: f64,
}

/// `HistogramDataPoint`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spread {
    attributes: Attributes,
    start_time_unix_nano: Nanos,
    time_unix_nano: Nanos,
    count: Nanos,
    sum: f64,
    explicit_bounds: Vec<f64>,
    /// How many lie up to each bound; one more than bounds.
    bucket_counts: Vec<Nanos>,
}

impl Metric {
    /// How many data points it has.
    pub(super) const fn points(&self) -> usize {
        match &self.data {
            Data::Sum { data_points, .. } | Data::Gauge { data_points } => data_points.len(),
            Data::Histogram { data_points, .. } => data_points.len(),
        }
    }
}

/// All that have a value.
pub(super) fn metrics(families: &[MetricFamily], times: Times) -> Vec<Metric> {
    families.iter().filter(|family| !family.metric.is_empty()).map(|family| metric(family, times)).collect()
}

fn metric(family: &MetricFamily, times: Times) -> Metric {
    let data = match family.r#type() {
        MetricType::Histogram => {
            let data_points = family.metric.iter().filter_map(|one| spread(one, times)).collect();
            Data::Histogram { data_points, aggregation_temporality: CUMULATIVE }
        }
        MetricType::Counter => {
            let value = |one: &exposed::Metric| one.counter.as_ref().map(|counter| counter.value);
            let data_points = numbers(family, Some(times.begin), times.now, value);
            Data::Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true }
        }
        _ => {
            let value = |one: &exposed::Metric| one.gauge.as_ref().map(|gauge| gauge.value);
            Data::Gauge { data_points: numbers(family, None, times.now, value) }
        }
    };
    let (name, unit) = name(&family.name);
    Metric { name, description: family.help.clone(), unit, data }
}

/// What a series of Prometheus' is called here, without what a collector puts there for Prometheus; and its unit, as UCUM has it.
fn name(series: &str) -> (String, &'static str) {
    let name = series.strip_suffix("_total").unwrap_or(series);
    let (name, unit) = [("_seconds", "s"), ("_bytes", "By")]
        .into_iter()
        .find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)))
        .unwrap_or((name, ""));
    (name.replacen('_', ".", 1), unit)
}

/// All that there may be: name, unit, and what Prometheus calls it.
pub fn metric_names() -> Vec<(String, &'static str, String)> {
    let series = crate::metrics::all_series().into_iter().map(|series| series.name);
    series
        .map(|series| {
            let (name, unit) = name(&series);
            (name, unit, series)
        })
        .collect()
}

fn numbers(
    family: &MetricFamily,
    begin: Option<Nanos>,
    now: Nanos,
    value: impl Fn(&exposed::Metric) -> Option<f64>,
) -> Vec<Number> {
    let point = |one: &exposed::Metric| {
        Some(Number {
            attributes: attributes(one),
            start_time_unix_nano: begin,
            time_unix_nano: now,
            as_double: value(one)?,
        })
    };
    family.metric.iter().filter_map(point).collect()
}

fn spread(one: &exposed::Metric, times: Times) -> Option<Spread> {
    let histogram = one.histogram.as_ref()?;
    // There each bucket counts what is in those before it too.
    let before = std::iter::once(0).chain(histogram.bucket.iter().map(|bucket| bucket.cumulative_count));
    let counts = histogram.bucket.iter().zip(before);
    let mut bucket_counts: Vec<Nanos> =
        counts.map(|(bucket, before)| Nanos(bucket.cumulative_count.saturating_sub(before))).collect();
    let bounds = histogram.bucket.iter().map(|bucket| bucket.upper_bound);
    let explicit_bounds: Vec<f64> = bounds.filter(|bound| bound.is_finite()).collect();
    if bucket_counts.len() == explicit_bounds.len() {
        let last = histogram.bucket.last().map_or(0, |bucket| bucket.cumulative_count);
        bucket_counts.push(Nanos(histogram.sample_count.saturating_sub(last)));
    }
    Some(Spread {
        attributes: attributes(one),
        start_time_unix_nano: times.begin,
        time_unix_nano: times.now,
        count: Nanos(histogram.sample_count),
        sum: histogram.sample_sum,
        explicit_bounds,
        bucket_counts,
    })
}

fn attributes(one: &exposed::Metric) -> Attributes {
    let mut attributes = Attributes::default();
    for label in &one.label {
        attributes.label(label.name.clone(), label.value.clone());
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// What a collector calls it in Prometheus (OpenTelemetry's "Prometheus and OpenMetrics Compatibility").
    fn again(metric: &Metric) -> String {
        let unit = match metric.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if matches!(metric.data, Data::Sum { .. }) { "_total" } else { "" };
        format!("{}{unit}{total}", metric.name.replace('.', "_"))
    }

    #[test]
    fn a_collector_makes_the_same_names_of_them() {
        let families = Metrics::one_of_each().families();
        let told = metrics(&families, Times { begin: Nanos(1), now: Nanos(2) });
        let names: Vec<String> = told.iter().map(again).collect();
        let wanted: Vec<String> = metric_names().into_iter().map(|(.., series)| series).collect();
        assert_eq!(names, wanted);
        assert!(told.iter().all(|metric| metric.name.starts_with("wrapwatch.")), "{names:?}");
    }

    #[test]
    fn each_bucket_has_its_own_count() {
        let bucket = |upper_bound, cumulative_count| exposed::Bucket {
            upper_bound,
            cumulative_count,
            ..exposed::Bucket::default()
        };
        let buckets = |infinite: bool| {
            let mut bucket = vec![bucket(0.1, 3), bucket(1.0, 3), bucket(2.5, 7), bucket(f64::INFINITY, 9)];
            bucket.truncate(if infinite { 4 } else { 3 });
            let histogram = exposed::Histogram { sample_count: 9, bucket, ..exposed::Histogram::default() };
            exposed::Metric { histogram: Some(histogram), ..exposed::Metric::default() }
        };
        for infinite in [true, false] {
            let told = spread(&buckets(infinite), Times { begin: Nanos(1), now: Nanos(2) }).unwrap();
            assert_eq!(told.bucket_counts, [3, 0, 4, 2].map(Nanos), "{infinite}");
            assert_eq!(told.explicit_bounds, [0.1, 1.0, 2.5]);
        }
    }
}
