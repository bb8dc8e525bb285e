//! Where a collector takes OTLP over HTTP (by `OTEL_EXPORTER_OTLP_ENDPOINT` and its like), and one request to it.

use std::fmt;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::export::otlp::Signal;
use crate::model::error_line;

/// Where collectors take OTLP over HTTP.
const DEFAULT: &str = "http://localhost:4318";
const DEFAULT_PORT: u16 = 80;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;

/// Why there is nowhere to send to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is no address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0:?} is no address as http://HOST:4318")]
    NotAnAddress(String),
    /// It asks for TLS.
    #[error(
        "OTEL_EXPORTER_OTLP_ENDPOINT: {0}: wrapwatch does not speak TLS; send to a collector on this machine, which does"
    )]
    Tls(String),
    /// A header that is none. Which, but not what it says: that is a secret more often than not.
    #[error("OTEL_EXPORTER_OTLP_HEADERS: {0} is no NAME=VALUE")]
    Header(String),
    /// A time that is none.
    #[error("OTEL_EXPORTER_OTLP_TIMEOUT: {0:?} is no number of milliseconds")]
    Timeout(String),
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Posted {
    /// It is there, but for so many spans, records or points.
    Taken { rejected: u64 },
    /// It never will be.
    Refused(String),
    /// Not now.
    Later { why: String, after: Option<Duration> },
}

/// A collector.
#[derive(Clone, Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// What comes before `/v1/traces`.
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl Endpoint {
    /// As OpenTelemetry's environment variables say; `variable` reads one.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let text = set("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|| DEFAULT.to_owned());
        // What stands before an @ is a user and a password.
        let shown = || text.rsplit('@').next().unwrap_or_default().to_owned();
        let not = || EndpointError::NotAnAddress(shown());
        let uri: Uri = text.trim().parse().map_err(|_| not())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Tls(shown())),
            _ => return Err(not()),
        }
        let host = uri.host().ok_or_else(not)?.to_owned();
        let headers = headers(&set("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default())?;
        let timeout = match set("OTEL_EXPORTER_OTLP_TIMEOUT") {
            Some(text) => match text.trim().parse() {
                Ok(ms) => Duration::from_millis(ms),
                Err(_) => return Err(EndpointError::Timeout(text)),
            },
            None => DEFAULT_TIMEOUT,
        };
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        Ok(Self { host, port, path: uri.path().trim_end_matches('/').to_owned(), headers, timeout })
    }

    /// Sends a batch.
    pub(super) async fn post(&self, signal: Signal, json: &[u8]) -> Posted {
        match tokio::time::timeout(self.timeout, self.answered(signal, json)).await {
            Ok(Ok(posted)) => posted,
            Ok(Err(error)) => Posted::Later { why: error_line(&error), after: None },
            Err(_) => Posted::Later { why: format!("no answer within {:?}", self.timeout), after: None },
        }
    }

    async fn answered(&self, signal: Signal, json: &[u8]) -> io::Result<Posted> {
        // Of an IPv6 address the brackets are the URL's.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = tokio::net::TcpStream::connect((host, self.port)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                log::debug!("the collector's connection: {error}");
            }
        });
        let response = sender.send_request(self.request(signal, json)?).await;
        let posted = match response {
            Ok(response) => read(response).await,
            Err(error) => Err(io::Error::other(error)),
        };
        connection.abort();
        posted
    }

    fn request(&self, signal: Signal, json: &[u8]) -> io::Result<Request<Full<Bytes>>> {
        let signal: &str = signal.into();
        let mut request = Request::post(format!("{}/v1/{signal}", self.path))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(USER_AGENT, concat!("wrapwatch/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::from(json.to_vec())).map_err(io::Error::other)
    }
}

/// Pairs as in W3C's Baggage, without properties: `NAME=VALUE`, separated by commas, the values percent-encoded.
fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, EndpointError> {
    let pairs = text.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty());
    pairs
        .map(|(n, pair)| {
            let number = || EndpointError::Header(format!("what stands at place {}", n + 1));
            let (name, value) = pair.split_once('=').ok_or_else(number)?;
            let not = || EndpointError::Header(format!("{:?}", name.trim()));
            let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
            let mut value = HeaderValue::from_bytes(&value).map_err(|_| not())?;
            value.set_sensitive(true);
            Ok((name.trim().parse().map_err(|_| not())?, value))
        })
        .collect()
}

/// `ExportTraceServiceResponse` and its like.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

/// 64-bit numbers are texts in OTLP's JSON, and some write numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Text(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    #[serde(alias = "rejectedLogRecords", alias = "rejectedDataPoints")]
    rejected_spans: Option<Count>,
}

async fn read(response: Response<hyper::body::Incoming>) -> io::Result<Posted> {
    let status = response.status();
    // OTLP's specification, "Retryable Response Codes".
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if busy.contains(&status) {
        let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        return Ok(Posted::Later { why: status.to_string(), after: after.map(Duration::from_secs) });
    }
    if !status.is_success() {
        return Ok(Posted::Refused(status.to_string()));
    }
    // It is taken, whatever more it says.
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let answer: Answer =
        body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok()).unwrap_or_default();
    let rejected = match answer.partial_success.and_then(|partial| partial.rejected_spans) {
        Some(Count::Number(count)) => count,
        Some(Count::Text(text)) => text.parse().unwrap_or(0),
        None => 0,
    };
    Ok(Posted::Taken { rejected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(value: &str) -> Result<String, String> {
        let value = value.to_owned();
        let named = move |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| value.clone());
        Endpoint::from_variables(named)
            .map(|endpoint| endpoint.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_an_address_without_tls() {
        assert_eq!(endpoint(""), Ok("http://localhost:4318".to_owned()));
        assert_eq!(endpoint("http://c.example/otlp/"), Ok("http://c.example:80/otlp".to_owned()));
        assert_eq!(endpoint("http://[::1]:4318"), Ok("http://[::1]:4318".to_owned()));
        for wrong in ["https://c.example:4318", "localhost:4318", "ftp://x", "http://", "://"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_pairs_whose_values_are_percent_encoded() {
        let said = |text: &str| headers(text).map_err(|error| error.to_string());
        let told = said("x-key=of the lab,, Authorization = Basic%20dXNlcg%3D%3D ,x-tag=a=b,").unwrap();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let wanted: [(&str, &[u8]); 3] =
            [("x-key", b"of the lab"), ("authorization", b"Basic dXNlcg=="), ("x-tag", b"a=b")];
        assert_eq!(told, wanted);
        assert!(said("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for text in ["x-key=secret%0asecret", "my key=secret", "x-a=b,secret", "=secret"] {
            let error = headers(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{text:?}: {error}");
        }
        let error = headers("x-a=b,x-key=%00").unwrap_err().to_string();
        assert!(error.contains("\"x-key\""), "{error}");
        for text in ["https://me:secret@c.example:4318", "ftp://me:secret@c.example", "me:secret@"] {
            let error = endpoint(text).unwrap_err();
            assert!(!error.contains("secret"), "{text:?}: {error}");
        }
    }
}
