//! `/metrics` over HTTP, for Prometheus: on an address of this machine only, or on a socket that systemd made. Bounded: few connections at once, short requests, no
//! connection without end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Connections served at once; further ones wait for one of them to end.
const AT_ONCE: usize = 16;
/// Time for a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Time for all requests of a connection: Prometheus makes another one.
const CONNECTION_LIMIT: Duration = Duration::from_mins(10);
/// Bytes of a request's head. hyper takes no less than this.
const HEAD_MAX: usize = 8 << 10;
/// After an error of accept (no descriptor left) it is not tried again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where it listens.
#[derive(Debug)]
pub enum Listening {
    /// An address and port.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// The form in which metrics are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text.
    Prometheus,
    /// OpenMetrics' text.
    OpenMetrics,
    /// Prometheus' protobuf, which has native histograms.
    Protobuf,
}

impl Form {
    /// Which of them a request's `Accept` prefers: of those with the greatest weight the one that is named first.
    fn wanted(headers: &HeaderMap) -> Self {
        let mut wanted = (Self::Prometheus, 0.0);
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let (form, weight) = Self::accepted(range);
            wanted = form.filter(|_| weight > wanted.1).map_or(wanted, |form| (form, weight));
        }
        wanted.0
    }

    /// What one range of an `Accept` names, and its weight (RFC 9110, 12.4.2).
    fn accepted(range: &str) -> (Option<Self>, f32) {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("application/openmetrics-text") => Some(Self::OpenMetrics),
            Some("text/plain" | "text/*" | "*/*") => Some(Self::Prometheus),
            Some("application/vnd.google.protobuf") => Some(Self::Protobuf),
            _ => None,
        };
        let mut weight = 1.0;
        let mut known = true;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match (name.trim(), value.trim().trim_matches('"')) {
                ("q", value) => weight = value.parse().unwrap_or(0.0),
                ("proto", value) => known &= value == "io.prometheus.client.MetricFamily",
                ("encoding", value) => known &= value == "delimited",
                _ => {}
            }
        }
        (form.filter(|form| known || *form != Self::Protobuf), weight)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => crate::metrics::PROMETHEUS_TEXT,
            Self::OpenMetrics => crate::metrics::OPENMETRICS_TEXT,
            Self::Protobuf => crate::metrics::PROMETHEUS_PROTOBUF,
        }
    }
}

impl Listening {
    /// Listens at an address. To be called within tokio's runtime.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// The address, where it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The socket that systemd passed on; none where it passed none.
    pub fn passed_on() -> io::Result<Option<Self>> {
        let mut passed = listenfd::ListenFd::from_env();
        // Of either kind: what is no TCP socket is an error, and stays.
        if let Ok(Some(listener)) = passed.take_tcp_listener(0) {
            listener.set_nonblocking(true)?;
            return Ok(Some(Self::Tcp(TcpListener::from_std(listener)?)));
        }
        let Some(listener) = passed.take_unix_listener(0)? else { return Ok(None) };
        listener.set_nonblocking(true)?;
        Ok(Some(Self::Unix(UnixListener::from_std(listener)?)))
    }

    /// Answers requests for ever with what `metrics` gives; nothing while there is nothing to publish. To be called within a `LocalSet`.
    pub async fn serve(self, metrics: impl Fn(Form) -> Option<Vec<u8>> + 'static) {
        let (metrics, places) = (Rc::new(metrics), Arc::new(Semaphore::new(AT_ONCE)));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            };
            let metrics = metrics.clone();
            match accepted {
                Err(error) => {
                    log::debug!("cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                Ok(stream) => drop(tokio::task::spawn_local(async move {
                    match stream {
                        Stream::Tcp(stream) => talk(stream, &*metrics).await,
                        Stream::Unix(stream) => talk(stream, &*metrics).await,
                    }
                    drop(place);
                })),
            }
        }
    }
}

/// Somebody who asks.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, metrics: &impl Fn(Form) -> Option<Vec<u8>>) {
    let service = hyper::service::service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(&request, metrics))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIMIT, served).await {
        log::debug!("a request: {error}");
    }
}

fn answer(request: &Request<Incoming>, metrics: &impl Fn(Form) -> Option<Vec<u8>>) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "only /metrics\n");
    }
    let form = Form::wanted(request.headers());
    let Some(body) = metrics(form) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "still reading what was published before\n");
    };
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &'static str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Form::wanted(&headers)
    }

    #[test]
    fn a_scraper_is_given_what_it_likes_best() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Prometheus);
        // Prometheus 2.42 without native histograms, with them, and 3 with protobuf last.
        assert_eq!(
            wanted(
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            Form::OpenMetrics
        );
        let native =
            format!("{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1");
        assert_eq!(wanted(native.leak()), Form::Protobuf);
        let last = format!(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,{PROTOBUF};q=0.3"
        );
        assert_eq!(wanted(last.leak()), Form::OpenMetrics);
        // Other messages, other framing, what is not wanted, what is no number.
        assert_eq!(
            wanted("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"),
            Form::Prometheus
        );
        assert_eq!(
            wanted("application/vnd.google.protobuf;proto=a.b.C;encoding=delimited"),
            Form::Prometheus
        );
        assert_eq!(wanted("application/openmetrics-text;q=0"), Form::Prometheus);
        assert_eq!(wanted("application/openmetrics-text;q=x,text/plain;q=0.1"), Form::Prometheus);
        assert_eq!(wanted("image/png, , ;;=, */*"), Form::Prometheus);
    }
}
