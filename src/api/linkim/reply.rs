//! How a success looks in LinkIM's API: `{"code": 0, "message": "…"}`, with what the endpoint adds beside them.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::extract::Json;

/// A success that says nothing more.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// Always 0.
    #[schema(example = 0)]
    code: u32,
    /// What was done, for a person to read.
    message: &'static str,
}

impl Done {
    /// With this text.
    pub fn new(message: &'static str) -> Self {
        Self { code: 0, message }
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// A success with the fields of `T` beside `code` and `message`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reply<T> {
    /// Always 0.
    #[schema(example = 0)]
    code: u32,
    /// What was done, for a person to read.
    message: &'static str,
    /// What the endpoint adds.
    #[serde(flatten)]
    more: T,
}

impl<T> Reply<T> {
    /// With this text and these fields.
    pub fn new(message: &'static str, more: T) -> Self {
        Self { code: 0, message, more }
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
