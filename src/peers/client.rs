//! Requests to other servers: signed, bounded in time and size.
//!
//! Source: Server-Server API, "Request Authentication".

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use linkim_federation::{CanonicalError, SigningKey, x_matrix::SignedRequest};
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    bounded_body::{self, BodyError},
    reachability::Reachability,
    transport::{Transport, TransportError},
};
use crate::{clock::Clock, config::Config};

/// How long a request may take, its response included, where the caller does not say.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a response at most, where the caller does not say.
pub const MAX_RESPONSE: usize = 4 * 1024 * 1024;

/// Bytes of an error response that are read.
const MAX_ERROR: usize = 64 * 1024;

/// Why a request was not answered as wanted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// The configuration does not allow to talk to this server, or it is this one.
    #[error("this server does not talk to {0}")]
    Refused(OwnedServerName),
    /// It could not be reached.
    #[error("{0} cannot be reached: {1}")]
    Transport(OwnedServerName, TransportError),
    /// It took too long.
    #[error("{0} did not answer in time")]
    Timeout(OwnedServerName),
    /// The response is larger than it may be.
    #[error("the response of {0} is too large")]
    TooLarge(OwnedServerName),
    /// It answered with an error.
    #[error("{server} answered {status}: {error}")]
    Status {
        /// Who.
        server: OwnedServerName,
        /// The status: anything but 2xx.
        status: StatusCode,
        /// `errcode`, empty if it gave none.
        errcode: String,
        /// Its words.
        error: String,
        /// When it wants to be asked again, in milliseconds from now.
        retry_after_ms: Option<u64>,
        /// The whole body, for errors that carry more.
        body: Bytes,
    },
    /// What it answered is not what the spec says.
    #[error("{0} answered nonsense: {1}")]
    Malformed(OwnedServerName, String),
    /// The body to be sent is no JSON object.
    #[error("the request can't be signed: {0}")]
    Unsignable(#[from] CanonicalError),
}

impl PeerError {
    /// The status, if the server answered with one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The `errcode`, if the server answered with one.
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Status { errcode, .. } => Some(errcode),
            _ => None,
        }
    }

    /// Whether it says that the server is down, or wants to be left alone, and not that this request is wrong.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Transport(..) | Self::Timeout(_) => true,
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(_) | Self::TooLarge(_) | Self::Malformed(..) | Self::Unsignable(_) => false,
        }
    }

    /// For metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Transport(..) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::TooLarge(_) => "too_large",
            Self::Status { status, .. } if status.is_server_error() => "5xx",
            Self::Status { status, .. } if status.is_client_error() => "4xx",
            Self::Status { .. } => "other_status",
            Self::Malformed(..) => "malformed",
            Self::Unsignable(_) => "unsignable",
        }
    }
}

/// A request to another server.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    uri: String,
    body: Option<Bytes>,
    timeout: Duration,
    limit: usize,
    signed: bool,
}

impl Call {
    /// `GET` of a path and query, percent-encoded, from `/_matrix/` on.
    pub fn get(uri: impl Into<String>) -> Self {
        Self { method: Method::GET, uri: uri.into(), body: None, timeout: TIMEOUT, limit: MAX_RESPONSE, signed: true }
    }

    /// `PUT` of a JSON object.
    pub fn put(uri: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::PUT, body: Some(body.into()), ..Self::get(uri) }
    }

    /// `POST` of a JSON object.
    pub fn post(uri: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: Some(body.into()), ..Self::get(uri) }
    }

    /// Sets how long it may take, the response included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes the response may have.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sends it without a signature: requests for keys, which are made before anybody knows ours.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }
}

/// A response whose body is still to be read. Whoever reads it bounds its length and time.
#[derive(Debug)]
pub struct Streamed {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

/// Sends requests to other servers.
pub struct PeerClient {
    config: Arc<Config>,
    key: SigningKey,
    transport: Arc<dyn Transport>,
    told: Option<(Arc<Reachability>, Arc<dyn Clock>)>,
}

impl PeerClient {
    /// Signs as the server of this configuration.
    pub fn new(config: Arc<Config>, key: SigningKey, transport: Arc<dyn Transport>) -> Self {
        Self { config, key, transport, told: None }
    }

    /// Tells `reachability` how every request went. It is for the caller to ask whether a server may be tried.
    #[must_use]
    pub fn telling(mut self, reachability: Arc<Reachability>, clock: Arc<dyn Clock>) -> Self {
        self.told = Some((reachability, clock));
        self
    }

    /// Whether the configuration allows to talk to this server, and it is not this one.
    pub fn permits(&self, server: &ServerName) -> bool {
        *server != *self.config.server_name && self.config.federation.permits(server)
    }

    /// Sends a request; answers the body of a 2xx response as JSON.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn json<T: DeserializeOwned>(&self, destination: &ServerName, call: Call) -> Result<T, PeerError> {
        let body = self.bytes(destination, call).await?;
        serde_json::from_slice(&body).map_err(|error| PeerError::Malformed(destination.to_owned(), error.to_string()))
    }

    /// Sends a request; answers the body of a 2xx response.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn bytes(&self, destination: &ServerName, call: Call) -> Result<Bytes, PeerError> {
        let (started, timeout, limit) = (Instant::now(), call.timeout, call.limit);
        let whole = async {
            let response = self.open(destination, call).await?;
            read(destination, response.body, limit).await
        };
        let read = tokio::time::timeout(timeout, whole).await;
        let read = read.map_err(|_| PeerError::Timeout(destination.to_owned())).and_then(|read| read);
        self.tell(destination, started, read.as_ref().err());
        read
    }

    /// Sends a request; answers a 2xx response with its body unread. The call's time counts until the response's head is
    /// here; its limit does not count.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn stream(&self, destination: &ServerName, call: Call) -> Result<Streamed, PeerError> {
        let started = Instant::now();
        let opened = self.open(destination, call).await;
        self.tell(destination, started, opened.as_ref().err());
        opened
    }

    /// Keeps what a request says about the server: that it works, or does not.
    fn tell(&self, destination: &ServerName, started: Instant, error: Option<&PeerError>) {
        metrics::counter!("linkim_federation_requests_total", "result" => error.map_or("ok", PeerError::label))
            .increment(1);
        if matches!(error, Some(PeerError::Refused(_) | PeerError::Unsignable(_))) {
            return;
        }
        metrics::histogram!("linkim_federation_request_seconds").record(started.elapsed().as_secs_f64());
        self.judge(destination, error);
    }

    /// Keeps that the body of a [streamed](Self::stream) response did not come: only its reader knows.
    pub fn broke_off(&self, destination: &ServerName, error: &PeerError) {
        self.judge(destination, Some(error));
    }

    fn judge(&self, destination: &ServerName, error: Option<&PeerError>) {
        let Some((reachability, clock)) = &self.told else { return };
        match error.filter(|error| error.is_outage()) {
            None => reachability.succeeded(destination),
            Some(error) => {
                let retry_after_ms = match error {
                    PeerError::Status { retry_after_ms, .. } => *retry_after_ms,
                    _ => None,
                };
                reachability.failed_for(destination, &error.to_string(), clock.now_ms(), retry_after_ms);
            }
        }
    }

    async fn open(&self, destination: &ServerName, call: Call) -> Result<Streamed, PeerError> {
        if !self.permits(destination) {
            return Err(PeerError::Refused(destination.to_owned()));
        }
        let timeout = call.timeout;
        let request = self.request(destination, call)?;
        let sent = tokio::time::timeout(timeout, self.transport.send(destination, request));
        let response = sent
            .await
            .map_err(|_| PeerError::Timeout(destination.to_owned()))?
            .map_err(|error| PeerError::Transport(destination.to_owned(), error))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Streamed { headers: head.headers, body });
        }
        let body = tokio::time::timeout(timeout, read(destination, body, MAX_ERROR))
            .await
            .map_err(|_| PeerError::Timeout(destination.to_owned()))
            .and_then(|body| body)
            .unwrap_or_default();
        Err(failure(destination, head.status, &head.headers, body))
    }

    fn request(&self, destination: &ServerName, call: Call) -> Result<http::Request<Bytes>, PeerError> {
        let mut builder = http::Request::builder().method(call.method.clone()).uri(&call.uri);
        if call.signed {
            let signed = SignedRequest { method: call.method.as_str(), uri: &call.uri, content: call.body.as_deref() };
            let header = signed.sign(&self.config.server_name, destination, &self.key)?;
            builder = builder.header(header::AUTHORIZATION, header.to_header_value());
        }
        if call.body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        builder
            .body(call.body.unwrap_or_default())
            .map_err(|error| PeerError::Malformed(destination.to_owned(), error.to_string()))
    }
}

async fn read(server: &ServerName, body: Body, limit: usize) -> Result<Bytes, PeerError> {
    bounded_body::read(body, limit).await.map_err(|error| match error {
        BodyError::TooLarge => PeerError::TooLarge(server.to_owned()),
        BodyError::Broken(error) => PeerError::Transport(server.to_owned(), TransportError::Broken(error)),
    })
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errcode: String,
    #[serde(default)]
    error: String,
    retry_after_ms: Option<u64>,
}

fn failure(server: &ServerName, status: StatusCode, headers: &HeaderMap, body: Bytes) -> PeerError {
    let parsed: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    PeerError::Status {
        server: server.to_owned(),
        status,
        errcode: parsed.errcode,
        error: parsed.error,
        retry_after_ms: parsed.retry_after_ms.or(seconds.map(|seconds| seconds.saturating_mul(1000))),
        body,
    }
}
