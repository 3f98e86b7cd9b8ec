//! How a failure to ask another server looks to our client.

use axum::http::StatusCode;

use super::error::ApiError;
use crate::peers::client::PeerError;

impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        let text = error.to_string();
        match error {
            PeerError::Refused(_) => Self::forbidden(text),
            PeerError::Status { status: StatusCode::NOT_FOUND, .. } => Self::not_found(text),
            PeerError::Status { status: StatusCode::FORBIDDEN, .. } => Self::forbidden(text),
            PeerError::Status { status: StatusCode::BAD_REQUEST, .. } => Self::invalid_param(text),
            PeerError::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "M_UNKNOWN", text),
            PeerError::Transport(..)
            | PeerError::TooLarge(_)
            | PeerError::Status { .. }
            | PeerError::Malformed(..)
            | PeerError::Unsignable(_) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
        }
    }
}
