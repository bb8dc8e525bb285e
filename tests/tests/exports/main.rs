//! What a trace becomes for others, read by those others: Prometheus' own tools, Perfetto's and OpenTelemetry's definitions, Grafana's types, DuckDB, tshark.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]
#![expect(clippy::float_cmp, reason = "whole numbers")]

mod fleet;
mod grafana;
mod otlp;
mod otlp_http;
mod pcapng;
mod perfetto;
mod progress;
mod prometheus;
mod publish;
mod support;
mod tables;
