//! What one connection adds.

use super::Metrics;
use super::names::Names;
use super::series::Series;
use crate::diagnose::waiting;
use crate::model::{Connection, Lookup, LookupKind};

/// Types of queries told apart: what resolvers ask of themselves.
const QTYPES: [&str; 3] = ["PTR", "A", "AAAA"];

/// Nanoseconds as Prometheus has times.
#[expect(clippy::cast_precision_loss, reason = "beyond 104 days less than a microsecond")]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Metrics {
    pub(super) fn connection(&mut self, connection: &Connection) {
        let series = &self.series;
        let outcome: &str = connection.outcome.into();
        series.connections.get_or_create(&[("outcome", outcome.into())]).inc();
        // Known to be none, where nothing is missing.
        series.incomplete.get_or_create(&[]).inc_by(u64::from(!connection.complete));
        if let Some(left) = connection.client_left {
            let how: &str = left.how.into();
            series.clients_left.get_or_create(&[("how", how.into())]).inc();
        }
        if let Some(ns) = connection.total_ns {
            series.wait.get_or_create(&[]).observe(seconds(ns));
        }
        if let Some(ns) = connection.queued_ns {
            series.queue_wait.get_or_create(&[]).observe(seconds(ns));
        }
        if connection.wrapper_ns > 0 {
            series.check.get_or_create(&[]).observe(seconds(connection.wrapper_ns));
        }
        self.waited(connection);
        let series = &self.series;
        let server = self.servers.of(connection.pid);
        series.busy.get_or_create(&[("server", server)]).inc_by(seconds(connection.service_ns));
    }

    /// A wait of its own, and no connection.
    pub(super) fn request(&mut self, request: &Connection) {
        let outcome: &str = request.outcome.into();
        let labels = [("outcome", outcome.into())];
        self.series.requests.get_or_create(&labels).observe(seconds(request.waited_ns));
        self.waited(request);
    }

    fn waited(&mut self, connection: &Connection) {
        waited(&self.series, connection);
        for lookup in &connection.lookups {
            looked_up(&self.series, &mut self.nameservers, lookup);
        }
    }
}

/// The client's waiting by cause: as the verdict divides it.
fn waited(series: &Series, connection: &Connection) {
    let waiting = waiting(connection);
    let parts = [
        ("dns", waiting.dns_ns),
        ("files", waiting.files_ns),
        ("ident", waiting.ident_ns),
        ("spawn", waiting.spawn_ns),
        ("syslog", waiting.syslog_ns),
        ("computing", waiting.computing_ns),
        ("off_cpu", waiting.off_cpu_ns),
        ("queue", waiting.queue_other_ns),
        ("handover", waiting.handover_ns),
        ("server_lookups", waiting.resolve_ns),
        ("rest", waiting.rest_ns),
        ("unknown", waiting.unknown_ns),
    ];
    for (cause, ns) in parts {
        series.waited.get_or_create(&[("cause", cause.into())]).inc_by(seconds(ns));
    }
}

fn looked_up(series: &Series, nameservers: &mut Names, lookup: &Lookup) {
    let (kind, thread, outcome): (&str, &str, &str) =
        (lookup.kind.into(), lookup.thread.into(), lookup.outcome.into());
    let labels = [("kind", kind.into()), ("thread", thread.into()), ("outcome", outcome.into())];
    series.lookups.get_or_create(&labels).observe(seconds(lookup.dur_ns));
    // Ident asks the client: its address is no nameserver's.
    if lookup.kind == LookupKind::Ident {
        return;
    }
    for query in &lookup.queries {
        let nameserver = nameservers.label(&query.server);
        let outcome: &str = query.outcome.into();
        let transport: &str = query.transport.into();
        let asked = query.qtype.as_deref();
        // Not seen (nscd, systemd-resolved) is another thing than another type.
        let qtype = asked
            .map_or("unknown", |asked| QTYPES.into_iter().find(|known| *known == asked).unwrap_or("other"));
        let labels = [
            ("nameserver", nameserver.clone()),
            ("transport", transport.into()),
            ("qtype", qtype.into()),
            ("outcome", outcome.into()),
        ];
        series.queries.get_or_create(&labels).inc();
        if let Some(ns) = query.rtt_ns {
            let labels = [("nameserver", nameserver), ("outcome", outcome.into())];
            series.query.get_or_create(&labels).observe(seconds(ns));
        }
    }
}
