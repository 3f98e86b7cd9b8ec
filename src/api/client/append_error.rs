//! How a refused append looks on the wire: shared by all routes that write into rooms.

use axum::http::StatusCode;

use serde_json::{Map, Value};

use crate::{
    api::error::ApiError,
    rooms::{append::AppendError, checks::ContentError, policy::PolicyRefusal},
};

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::forbidden(reason),
            AppendError::TooLarge => too_large("The event is too large"),
            AppendError::Malformed(reason) => Self::bad_request("M_BAD_JSON", reason),
            AppendError::Blocked => Self::forbidden("The room is blocked"),
            // Not the fault of who asks: no limit of theirs is exceeded.
            AppendError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The room is too busy"),
            AppendError::Policy(refusal) => refusal.into(),
            AppendError::Store(error) => error.into(),
        }
    }
}

/// "If the Policy Server returned an error, that error SHOULD be provided to the client verbatim."
impl From<PolicyRefusal> for ApiError {
    fn from(refusal: PolicyRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            PolicyRefusal::Refused { status, errcode, error, body, .. } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
                let fields: Map<String, Value> = serde_json::from_str(&body).unwrap_or_default();
                let start = Self::new(status, &errcode, error);
                fields.into_iter().fold(start, |error, (field, value)| error.with(&field, value))
            }
            PolicyRefusal::None { .. } => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
        }
    }
}

impl From<ContentError> for ApiError {
    fn from(error: ContentError) -> Self {
        let text = error.to_string();
        match error {
            ContentError::Shape(_) => Self::bad_request("M_BAD_JSON", text),
            ContentError::NoAlias(_) => Self::invalid_param(text),
            ContentError::BadAlias(_) => Self::bad_request("M_BAD_ALIAS", text),
            ContentError::Store(error) => error.into(),
        }
    }
}

/// 413 `M_TOO_LARGE`.
pub(super) fn too_large(error: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error)
}
