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
}

impl Form {
    /// What of the two a request's `Accept` prefers: OpenMetrics wherever it is named, as Prometheus names it first.
    fn wanted(headers: &HeaderMap) -> Self {
        let named = |value: &HeaderValue| {
            value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
        };
        if headers.get_all(ACCEPT).iter().any(named) { Self::OpenMetrics } else { Self::Prometheus }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => crate::metrics::PROMETHEUS_TEXT,
            Self::OpenMetrics => crate::metrics::OPENMETRICS_TEXT,
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

    /// Answers requests for ever with what `text` gives; nothing while there is nothing to publish. To be called within a `LocalSet`.
    pub async fn serve(self, text: impl Fn(Form) -> Option<String> + 'static) {
        let (text, places) = (Rc::new(text), Arc::new(Semaphore::new(AT_ONCE)));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            };
            let text = text.clone();
            match accepted {
                Err(error) => {
                    log::debug!("cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                Ok(stream) => drop(tokio::task::spawn_local(async move {
                    match stream {
                        Stream::Tcp(stream) => talk(stream, &*text).await,
                        Stream::Unix(stream) => talk(stream, &*text).await,
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

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, text: &impl Fn(Form) -> Option<String>) {
    let service = hyper::service::service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(&request, text))
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

fn answer(request: &Request<Incoming>, text: &impl Fn(Form) -> Option<String>) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "only /metrics\n");
    }
    let form = Form::wanted(request.headers());
    let Some(text) = text(form) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "still reading what was published before\n");
    };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
