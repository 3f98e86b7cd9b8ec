//! What handlers take from a request, with the spec's error for each way in which it can be wrong.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use super::error::ApiError;

/// Largest body of a request other than an upload. The largest thing that may be sent is an event of 64 KiB, or one-time keys.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A JSON body, deserialised. An empty body counts as `{}`, as clients send it. 400 `M_NOT_JSON` for what is not JSON in
/// UTF-8, 400 `M_BAD_JSON` for another shape or nesting beyond 128 levels, 413 `M_TOO_LARGE` above [`MAX_BODY_BYTES`].
///
/// As an answer: 200 with the value.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(body_error)?;
        parse_json(&bytes).map(Json)
    }
}

/// Parses a body as [`Json`] does.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    use serde_json::error::Category;
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ApiError::bad_request("M_NOT_JSON", "The body is not UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|error| {
        let text = error.to_string();
        match error.classify() {
            Category::Data => ApiError::bad_request("M_BAD_JSON", text),
            _ if text.starts_with("recursion limit") => ApiError::bad_request("M_BAD_JSON", text),
            _ => ApiError::bad_request("M_NOT_JSON", text),
        }
    })
}

/// The error for a body that could not be read: 413 if too large, else 400.
pub fn body_error(rejection: BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", "The body is too large")
    } else {
        ApiError::bad_request("M_UNKNOWN", "The body could not be read")
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => ApiError::internal(error).into_response(),
        }
    }
}

/// The query string, deserialised. 400 `M_INVALID_PARAM`, or `M_MISSING_PARAM` where a field is missing.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            let text = error.body_text();
            let code = if text.contains("missing field") { "M_MISSING_PARAM" } else { "M_INVALID_PARAM" };
            ApiError::bad_request(code, text)
        })
    }
}

/// The path's parameters, deserialised. 400 `M_INVALID_PARAM` where one is not what it must be.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|error| ApiError::invalid_param(error.body_text()))
    }
}
