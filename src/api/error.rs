//! How a failure looks on the wire: the spec's standard error response.
//!
//! Source: Client-Server API, "Standard error response".

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::store::StoreError;

/// A standard error response. Handlers map their own error enum to it in one `match`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
    retry_after_ms: Option<u64>,
}

impl ApiError {
    /// An error with this status, `errcode` and human-readable text.
    pub fn new(status: StatusCode, errcode: &str, error: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("errcode".into(), errcode.into());
        body.insert("error".into(), error.into().into());
        Self { status, body, retry_after_ms: None }
    }

    /// Adds a field to the body.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.insert(field.into(), value.into());
        self
    }

    /// 400.
    pub fn bad_request(errcode: &str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, errcode, error)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(error: impl Into<String>) -> Self {
        Self::bad_request("M_INVALID_PARAM", error)
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", error)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", error)
    }

    /// 429 `M_LIMIT_EXCEEDED` with `Retry-After`.
    pub fn limit_exceeded(retry_after_ms: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", "Too many requests")
            .with("retry_after_ms", retry_after_ms);
        error.retry_after_ms = Some(retry_after_ms);
        error
    }

    /// 500 `M_UNKNOWN`; the reason goes to the log, not to the client.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "Internal server error")
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the body has a field.
    pub fn has(&self, field: &str) -> bool {
        self.body.contains_key(field)
    }

    /// The `errcode`.
    pub fn errcode(&self) -> &str {
        self.body.get("errcode").and_then(Value::as_str).unwrap_or_default()
    }

    /// The text for people.
    pub fn text(&self) -> &str {
        self.body.get("error").and_then(Value::as_str).unwrap_or_default()
    }

    /// After how many milliseconds the request may succeed.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // The writer has logged it, once.
            StoreError::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The server's disk is full"),
            StoreError::Unwritable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The server's disk can't be written")
            }
            StoreError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The server is stopping"),
            other => Self::internal(other),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], json!(self.body).to_string()).into_response();
        if let Some(ms) = self.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}

/// 404 for a path that is not served.
pub async fn unknown_path() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request")
}

/// 405 for a path that is served with other methods.
pub async fn unknown_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "Unrecognized method")
}
