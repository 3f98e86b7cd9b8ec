//! Requests to other servers: signed, bounded in time and size.
//!
//! Source: Server-Server API, "Request Authentication".

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use linkim_federation::{CanonicalError, SigningKey, x_matrix::SignedRequest};
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, de::DeserializeOwned};

use super::transport::{Transport, TransportError};
use crate::config::Config;

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
}

impl PeerClient {
    /// Signs as the server of this configuration.
    pub fn new(config: Arc<Config>, key: SigningKey, transport: Arc<dyn Transport>) -> Self {
        Self { config, key, transport }
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
        let (timeout, limit) = (call.timeout, call.limit);
        let whole = async {
            let response = self.stream(destination, call).await?;
            read(destination, response.body, limit).await
        };
        tokio::time::timeout(timeout, whole).await.map_err(|_| PeerError::Timeout(destination.to_owned()))?
    }

    /// Sends a request; answers a 2xx response with its body unread. The call's time counts until the response's head is
    /// here; its limit does not count.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn stream(&self, destination: &ServerName, call: Call) -> Result<Streamed, PeerError> {
        if *destination == *self.config.server_name || !self.config.federation.permits(destination) {
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

/// Reads a body of `limit` bytes at most.
async fn read(server: &ServerName, mut body: Body, limit: usize) -> Result<Bytes, PeerError> {
    let mut out = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| PeerError::Transport(server.to_owned(), TransportError::Broken(error.to_string())))?;
        if let Ok(data) = frame.into_data() {
            if out.len() + data.len() > limit {
                return Err(PeerError::TooLarge(server.to_owned()));
            }
            out.extend_from_slice(&data);
        }
    }
    Ok(out.freeze())
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
