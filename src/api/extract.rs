//! What handlers take from a request, with the spec's error for each way in which it can be wrong.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::error::ApiError;
use crate::json::json_object;

/// Largest body of a request other than an upload. The largest thing that may be sent is an event of 64 KiB, or one-time keys.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Levels of nesting in a body at most; an event's content has fewer.
const MAX_DEPTH: usize = 100;

/// A JSON body, deserialised: an object. 400 `M_NOT_JSON` for what is not JSON in UTF-8, 400 `M_BAD_JSON` for another shape
/// or nesting beyond 100 levels, 413 `M_TOO_LARGE` above [`MAX_BODY_BYTES`].
///
/// As an answer: 200 with the value.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// As [`Json`], for requests whose body says nothing that must be said: an empty one counts as `{}`, as clients send it.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(body_error)?;
        let bytes = if bytes.trim_ascii().is_empty() { Bytes::from_static(b"{}") } else { bytes };
        parse_json(&bytes).map(Self)
    }
}

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
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("M_NOT_JSON", "The body is not UTF-8"))?;
    if depth(bytes) > MAX_DEPTH {
        return Err(ApiError::bad_request("M_BAD_JSON", "The body is nested too deeply"));
    }
    let error = match serde_json::from_str::<Object<T>>(text) {
        Ok(Object(value)) => return Ok(value),
        Err(error) => error,
    };
    // A shape may be wrong before the place where the text stops being JSON.
    let broken = error.classify() != Category::Data || serde_json::from_str::<IgnoredAny>(text).is_err();
    Err(ApiError::bad_request(if broken { "M_NOT_JSON" } else { "M_BAD_JSON" }, error.to_string()))
}

/// How deep brackets nest, those in strings left out; of what is not JSON, some number.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A value that is a JSON object: serde alone would take a list for a struct.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json_object(deserializer).map(Self)
    }
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
