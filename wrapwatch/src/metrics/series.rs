//! Every series there is, in one table: its name, its unit, its labels, what it says. What was never seen has no sample, so that it is absent and not 0.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, NativeHistogramConfig},
};
use prometheus_client::registry::{Registry, Unit};

/// What all names begin with.
const PREFIX: &str = "wrapwatch";
/// Upper ends of buckets, seconds. A resolver that asks dead nameservers gives up after 5 s, 10 s, 20 s, 30 s: what is beyond has buckets too.
const BUCKETS: [f64; 19] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0,
    60.0, 120.0,
];
/// How much wider each native bucket may be than the one before: 9 % at most.
const NATIVE_FACTOR: f64 = 1.1;
/// Native buckets of a histogram; where observations fall into more, each two become one.
const NATIVE_MAX: usize = 160;

/// The labels of a sample: name and value.
pub(super) type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
/// Goes up only.
pub(super) type Count<const N: usize> = Family<Labels<N>, Counter>;
/// Goes up only; seconds.
pub(super) type Time<const N: usize> = Family<Labels<N>, Counter<f64, AtomicU64>>;
/// What is so now.
pub(super) type Now<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;
/// How durations are distributed.
pub(super) type Spread<const N: usize> = Family<Labels<N>, Histogram>;

/// What a series is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SeriesInfo {
    /// As it is called in the text.
    pub name: String,
    /// Prometheus' word for what it is: counter, gauge, histogram.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it says.
    pub about: &'static str,
}

/// A family without samples.
trait Empty {
    /// Prometheus' word for what it is.
    const TYPE: &'static str;

    fn empty() -> Self;
}

impl<const N: usize> Empty for Count<N> {
    const TYPE: &'static str = "counter";

    fn empty() -> Self {
        Self::default()
    }
}

impl<const N: usize> Empty for Time<N> {
    const TYPE: &'static str = "counter";

    fn empty() -> Self {
        Self::default()
    }
}

impl<const N: usize> Empty for Now<N> {
    const TYPE: &'static str = "gauge";

    fn empty() -> Self {
        Self::default()
    }
}

impl<const N: usize> Empty for Spread<N> {
    const TYPE: &'static str = "histogram";

    fn empty() -> Self {
        Self::new_with_constructor(|| {
            let native = NativeHistogramConfig::new(NATIVE_FACTOR).max_buckets(NATIVE_MAX);
            Histogram::new_classic_and_native(BUCKETS, native)
        })
    }
}

macro_rules! series {
    ($($field:ident: $type:ty = $name:literal $(in $unit:ident)?, $help:literal;)*) => {
        /// The series and what writes them out.
        #[derive(Debug)]
        pub(super) struct Series {
            pub(super) registry: Registry,
            $(#[doc = $help] pub(super) $field: $type,)*
        }

        impl Series {
            /// Without a sample.
            pub(super) fn new() -> Self {
                let mut registry = Registry::with_prefix(PREFIX);
                $(let $field = <$type>::empty();
                series!(@register registry $field $name $help $($unit)?);)*
                Self { registry, $($field),* }
            }

            /// A sample of each.
            #[cfg(test)]
            pub(super) fn one_of_each(&self) {
                $(drop(self.$field.get_or_create(&std::array::from_fn(|_| ("label", "value".into()))));)*
            }

            /// All of them, as they are called in the text.
            pub(super) fn all() -> Vec<SeriesInfo> {
                let name = |name: &str, unit: &[Unit], kind: &str| {
                    let unit: String = unit.iter().map(|unit| format!("_{}", unit.as_str())).collect();
                    format!("{PREFIX}_{name}{unit}{}", if kind == "counter" { "_total" } else { "" })
                };
                vec![$(SeriesInfo {
                    name: name($name, &[$(Unit::$unit)?], <$type>::TYPE),
                    kind: <$type>::TYPE,
                    about: $help,
                }),*]
            }
        }
    };
    (@register $registry:ident $field:ident $name:literal $help:literal $unit:ident) => {
        $registry.register_with_unit($name, $help, Unit::$unit, $field.clone());
    };
    (@register $registry:ident $field:ident $name:literal $help:literal) => {
        $registry.register($name, $help, $field.clone());
    };
}

series! {
    // What clients felt.
    connections: Count<1> = "connections", "Accepted connections, by what became of them";
    incomplete: Count<0> = "connections_incomplete", "Of these, the incomplete ones: something may be missing";
    clients_left: Count<1> = "clients_left", "Clients that left before the first packet, by how";
    wait: Spread<0> = "client_wait" in Seconds, "From ESTABLISHED to the first packet or the close: what clients felt";
    queue_wait: Spread<0> = "queue_wait" in Seconds, "From ESTABLISHED until accept returned";
    check: Spread<0> = "check" in Seconds, "Wrapper checks, those that took time";
    requests: Spread<1> = "request" in Seconds, "Requests: clients that were checked or looked up otherwise than when they connected (a datagram, a login), by what became of them";
    waited: Time<1> = "waited" in Seconds, "The clients' waiting by what explains it; the causes are disjoint and add up to all of it";

    // Lookups.
    lookups: Spread<3> = "lookup" in Seconds, "Lookups of one name, by kind, thread that waited, and outcome";
    queries: Count<4> = "queries", "Queries sent to nameservers";
    query: Spread<2> = "query" in Seconds, "From a query to its answer; for a timeout, the time waited";

    // The accept thread and the queue before it.
    busy: Time<1> = "accept_thread_busy" in Seconds, "How long connections held their accept thread";
    stall_age: Now<0> = "stall_age" in Seconds, "How long the accept thread has been in its check, of the longest stall that goes on; 0 without one";
    stalls: Count<1> = "stalls", "Checks that became a stall, by what they waited for when it was found";
    queued: Now<1> = "accept_queue_length", "Connections waiting in the accept queue";
    queue_limit: Now<1> = "accept_queue_limit", "Limit of the accept queue";
    overflows: Count<0> = "listen_overflows", "Connections turned away by a full accept queue, of all listeners in the servers' network namespaces";
    drops: Count<0> = "listen_drops", "SYNs and connections dropped by listeners, for a full queue and other reasons";
    syn_cookies: Count<0> = "syn_cookies_sent", "SYN cookies sent";

    // How far this can be trusted.
    accepts: Count<0> = "accepts", "Accepts as the kernel side counts them, beside the ring";
    lost: Count<0> = "lost_events", "Events that did not fit into the ring";
    skipped: Count<0> = "skipped_calls", "Runs of the programs that the kernel skipped";
    damage: Count<1> = "trace_damages", "Places where something is missing from the trace";
    degradations: Now<1> = "degradation", "1 for each kind of thing that cannot be seen here";

    // What it costs.
    own_cpu: Time<0> = "recorder_cpu" in Seconds, "CPU time that the recorder has used";
    own_memory: Now<0> = "recorder_resident_memory" in Bytes, "Resident memory of the recorder";
    programs_run: Time<0> = "programs_run" in Seconds, "Run time of the BPF programs and the kernel's way to them, taken from the processes that made the calls, in the windows in which it was measured";
    programs_measured: Time<0> = "programs_measured" in Seconds, "How long these windows were";

    // The trace as it is read.
    up: Now<0> = "recorder_up", "1 while the recorder writes its sample of each second, else 0";
    last: Now<0> = "last_sample_timestamp" in Seconds, "When the last sample was taken, seconds since 1970";
    recordings: Count<0> = "recordings", "Recordings that wrapwatch began to read";
    files_missed: Count<0> = "files_missed", "Files of a recording that were gone before they could be read";
    otlp_sent: Count<1> = "otlp_sent", "Spans, log records and data points that the collector has taken, by signal";
    otlp_dropped: Count<1> = "otlp_dropped", "Spans, log records and data points that were not sent or not taken: too many waited, or the collector said no";
    version: Now<1> = "build_info", "1; the version of the wrapwatch that publishes this";
}
