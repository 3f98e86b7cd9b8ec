//! How a refused append looks on the wire: shared by all routes that write into rooms.

use axum::http::StatusCode;

use crate::{api::error::ApiError, rooms::append::AppendError, rooms::checks::ContentError};

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::forbidden(reason),
            AppendError::TooLarge => too_large("The event is too large"),
            AppendError::Malformed(reason) => Self::bad_request("M_BAD_JSON", reason),
            AppendError::Blocked => Self::forbidden("The room is blocked"),
            // Not the fault of who asks: no limit of theirs is exceeded.
            AppendError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The room is too busy"),
            AppendError::Store(error) => error.into(),
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
