//! OTLP's messages in their JSON form (opentelemetry-proto, "JSON Protobuf Encoding"): 64-bit numbers are texts, ids hexadecimal, enumerations numbers.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::json;

use super::Signal;
use super::ids::{SpanId, TraceId};
use crate::model::{Client, RuleRef, WallTime};

/// `SPAN_KIND_INTERNAL`.
pub(super) const INTERNAL: u8 = 1;
/// `SPAN_KIND_SERVER`.
pub(super) const SERVER: u8 = 2;
/// `SPAN_KIND_CLIENT`.
pub(super) const CLIENT: u8 = 3;
/// `SEVERITY_NUMBER_INFO`.
pub(super) const INFO: u8 = 9;
/// `SEVERITY_NUMBER_WARN`.
pub(super) const WARN: u8 = 13;
/// `SEVERITY_NUMBER_ERROR`.
pub(super) const ERROR: u8 = 17;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

/// Nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nanos(pub(super) u64);

impl Nanos {
    pub(super) fn of(at: WallTime) -> Self {
        Self(super::since_1970(at).0)
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `AnyValue`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum Value {
    #[serde(rename = "stringValue")]
    Text(Cow<'static, str>),
    #[serde(rename = "boolValue")]
    Boolean(bool),
    #[serde(rename = "intValue")]
    Number(Nanos),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct KeyValue {
    key: Cow<'static, str>,
    value: Value,
}

/// Attributes: those of OpenTelemetry's semantic conventions, and `wrapwatch.*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &'static str, value: Value) -> &mut Self {
        self.0.push(KeyValue { key: key.into(), value });
        self
    }

    /// A label of a series.
    pub(super) fn label(&mut self, key: String, value: String) {
        self.0.push(KeyValue { key: key.into(), value: value.into() });
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.put(key, value.to_owned().into())
    }

    /// What is not known is left out.
    pub(super) fn maybe(&mut self, key: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub(super) fn number(&mut self, key: &'static str, value: u64) -> &mut Self {
        // It is signed there.
        self.put(key, Value::Number(Nanos(value.min(i64::MAX.unsigned_abs()))))
    }

    pub(super) fn boolean(&mut self, key: &'static str, value: bool) -> &mut Self {
        self.put(key, Value::Boolean(value))
    }

    /// A nameserver, `address:port`, or a unix socket's path.
    pub(super) fn server(&mut self, server: Option<&str>) -> &mut Self {
        let Some(server) = server else { return self };
        match server.parse::<SocketAddr>() {
            Ok(addr) => self.address(addr),
            Err(_) => self.text("server.address", server),
        }
    }

    pub(super) fn address(&mut self, addr: SocketAddr) -> &mut Self {
        self.text("server.address", &addr.ip().to_canonical().to_string());
        self.number("server.port", addr.port().into())
    }

    pub(super) fn peer(&mut self, peer: Option<Client>) -> &mut Self {
        match peer {
            Some(Client::Ip(addr)) => {
                self.text("network.peer.address", &addr.ip().to_canonical().to_string());
                self.number("network.peer.port", addr.port().into())
            }
            Some(Client::Unix) => self.text("network.transport", "unix"),
            None => self,
        }
    }

    pub(super) fn rule(&mut self, rule: Option<&RuleRef>) -> &mut Self {
        let Some(rule) = rule else { return self };
        self.text("wrapwatch.rule.file", &rule.file).number("wrapwatch.rule.line", rule.line.into());
        self.maybe("wrapwatch.rule.text", rule.text.as_deref())
    }
}

/// Who tells: the machine and the recording.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Resource {
    attributes: Attributes,
}

impl Resource {
    pub(super) fn of(host: &str, recording: WallTime) -> Self {
        let mut attributes = Attributes::default();
        attributes.text("service.name", "wrapwatch").text("service.version", env!("CARGO_PKG_VERSION"));
        attributes.text("host.name", host).text("wrapwatch.recording", &recording.to_string());
        Self { attributes }
    }

    /// Who counts: over recordings, so that a counter goes on. What is counted is of one trace, of which a machine may have several.
    pub(super) fn counting(host: &str, trace: &str) -> Self {
        let mut attributes = Attributes::default();
        attributes.text("service.name", "wrapwatch").text("service.version", env!("CARGO_PKG_VERSION"));
        attributes.text("host.name", host).text("service.instance.id", &format!("{host}:{trace}"));
        Self { attributes }
    }
}

/// What made it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

impl Default for Scope {
    fn default() -> Self {
        Self { name: "wrapwatch", version: env!("CARGO_PKG_VERSION") }
    }
}

/// A reference to another trace's span.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) attributes: Attributes,
}

/// How a span ended, where that was no success.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Status {
    code: u8,
    message: String,
}

impl Status {
    pub(super) const fn error(message: String) -> Self {
        Self { code: STATUS_ERROR, message }
    }
}

/// A part of a wait.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    #[serde(rename = "spanId")]
    pub(super) id: SpanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_state: Option<String>,
    pub(super) name: String,
    pub(super) kind: u8,
    pub(super) start_time_unix_nano: Nanos,
    pub(super) end_time_unix_nano: Nanos,
    pub(super) attributes: Attributes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct LogRecord {
    pub(super) time: Nanos,
    pub(super) event: &'static str,
    pub(super) severity: u8,
    pub(super) body: Value,
    pub(super) attributes: Attributes,
    /// The span it belongs to.
    pub(super) trace: Option<(TraceId, SpanId)>,
}

impl Serialize for LogRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("LogRecord", 8)?;
        record.serialize_field("timeUnixNano", &self.time)?;
        record.serialize_field("observedTimeUnixNano", &self.time)?;
        record.serialize_field("severityNumber", &self.severity)?;
        let text = match self.severity {
            INFO => "INFO",
            WARN => "WARN",
            _ => "ERROR",
        };
        record.serialize_field("severityText", text)?;
        record.serialize_field("eventName", self.event)?;
        record.serialize_field("body", &self.body)?;
        record.serialize_field("attributes", &self.attributes)?;
        if let Some((trace, span)) = &self.trace {
            record.serialize_field("traceId", trace)?;
            record.serialize_field("spanId", span)?;
        }
        record.end()
    }
}

/// `TracesData` and its like: also what `/v1/traces` and so on take.
pub(super) fn batch(signal: Signal, resource: &Resource, items: &[impl Serialize]) -> io::Result<Vec<u8>> {
    let (of, scoped, named) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
    };
    let scopes = [json!({ "scope": Scope::default(), named: items })];
    Ok(serde_json::to_vec(&json!({ of: [{ "resource": resource, scoped: scopes }] }))?)
}
