//! How a failure looks in LinkIM's API: `{"code": 1, "error": "…", "errcode": 1004}` with a fitting status.
//!
//! `code` is what the old LinkIM answered; `errcode` is a number of OpenIM's, where one fits (spec/decisions/0014).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::errcode;
use crate::{
    accounts::{AuthenticateError, Limited},
    api::{client::authentication::ENDED_FIELD, error::ApiError},
    store::StoreError,
};

/// The body of an answer with status 202: the group's own server was asked, and has not answered yet. Whether it was done shows
/// in the group.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pending {
    /// Always 0.
    #[schema(example = 0)]
    code: u32,
    /// What is waited for, for a person to read.
    message: String,
    /// Always true.
    pending: bool,
}

/// A request that was not done. Handlers map their own error enum to it in one `match`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    errcode: u32,
    error: String,
    retry_after_ms: Option<u64>,
}

/// The body of every answer but those with status 200.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// Always 1.
    #[schema(example = 1)]
    code: u32,
    /// What is wrong, for a person to read.
    error: String,
    /// What is wrong, for a program: a number of OpenIM's where one fits.
    #[schema(example = 1004)]
    errcode: u32,
    /// After how many milliseconds the same request may succeed; with status 429 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Refusal {
    /// With this status, one of [`errcode`] and a text for people.
    pub fn new(status: StatusCode, errcode: u32, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), retry_after_ms: None }
    }

    /// 400: an argument is wrong.
    pub fn argument(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, errcode::ARGUMENT, error)
    }

    /// 403: the user may not.
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, errcode::NO_PERMISSION, error)
    }

    /// 404: what is named is not there, or not for this user.
    pub fn not_found(errcode: u32, error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, errcode, error)
    }

    /// 404: the entry after which a page is to begin is not in the list.
    pub fn no_cursor() -> Self {
        Self::not_found(errcode::NOT_FOUND, "there is no such cursor")
    }

    /// 409: the state of things does not allow it.
    pub fn conflict(errcode: u32, error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, errcode, error)
    }

    /// 202: it was not done yet, and may be.
    pub fn pending(message: impl Into<String>) -> Self {
        Self::new(StatusCode::ACCEPTED, 0, message)
    }

    /// 500; the reason goes to the log, not to the client.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        ApiError::internal(reason).into()
    }
}

/// The spec's errors in LinkIM's form, by their status: for what both APIs share.
impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let errcode = match (error.status(), error.errcode()) {
            (_, "M_MISSING_TOKEN") => errcode::TOKEN_MISSING,
            (_, "M_UNKNOWN_TOKEN") if error.has(ENDED_FIELD) => errcode::TOKEN_KICKED,
            (_, "M_UNKNOWN_TOKEN") => errcode::TOKEN_UNKNOWN,
            (_, "M_USER_LOCKED" | "M_USER_SUSPENDED" | "M_USER_DEACTIVATED") => errcode::FORBIDDEN_ACCOUNT,
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => errcode::NO_PERMISSION,
            (StatusCode::NOT_FOUND, _) => errcode::NOT_FOUND,
            (StatusCode::TOO_MANY_REQUESTS, _) => errcode::TOO_FREQUENT,
            (status, _) if status.is_server_error() => errcode::INTERNAL,
            _ => errcode::ARGUMENT,
        };
        let (status, retry_after_ms) = (error.status(), error.retry_after_ms());
        Self { status, errcode, error: error.text().to_owned(), retry_after_ms }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<AuthenticateError> for Refusal {
    fn from(error: AuthenticateError) -> Self {
        let text = error.to_string();
        let unauthorized = |errcode| Self::new(StatusCode::UNAUTHORIZED, errcode, text);
        match error {
            AuthenticateError::Unknown => unauthorized(errcode::TOKEN_UNKNOWN),
            AuthenticateError::Ended(_) => unauthorized(errcode::TOKEN_KICKED),
            AuthenticateError::Expired => unauthorized(errcode::TOKEN_EXPIRED),
            AuthenticateError::Locked => unauthorized(errcode::FORBIDDEN_ACCOUNT),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        ApiError::from(limited).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, errcode, error, retry_after_ms } = self;
        let body = match status {
            StatusCode::ACCEPTED => serde_json::to_vec(&Pending { code: 0, message: error, pending: true }),
            _ => serde_json::to_vec(&Failure { code: 1, error, errcode, retry_after_ms }),
        };
        let body = body.unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(ms) = retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}
