//! How a refused membership looks on the wire: shared by the routes on joins, leaves, knocks and invitations.

use axum::http::StatusCode;
use ruma::RoomVersionId;
use serde_json::value::RawValue;

use crate::{
    api::{error::ApiError, extract::MAX_BODY_BYTES},
    peers::{budgets::RetryAfterMs, hosting::HostingError},
    rooms::append::AppendError,
};

impl From<HostingError> for ApiError {
    fn from(error: HostingError) -> Self {
        let text = error.to_string();
        match error {
            HostingError::UnknownRoom | HostingError::UnknownUser => Self::not_found(text),
            HostingError::Partial => Self::new(StatusCode::NOT_FOUND, "M_UNABLE_DUE_TO_PARTIAL_STATE", text),
            HostingError::Forbidden(_) | HostingError::Membership(_) => Self::forbidden(text),
            HostingError::Incompatible(version) => incompatible(&version, text),
            HostingError::UnknownVersion(_) => Self::bad_request("M_UNSUPPORTED_ROOM_VERSION", text),
            HostingError::UnableToAuthorise => Self::bad_request("M_UNABLE_TO_AUTHORISE_JOIN", text),
            HostingError::UnableToGrant => Self::bad_request("M_UNABLE_TO_GRANT_JOIN", text),
            HostingError::Invalid(_) => Self::invalid_param(text),
            HostingError::Missing(_) => Self::bad_request("M_MISSING_PARAM", text),
            HostingError::InviteBlocked => Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", text),
            HostingError::Append(AppendError::Blocked) => Self::forbidden(text),
            HostingError::Append(AppendError::Policy(_)) => Self::forbidden(text),
            // 503: no limit of who asks is exceeded.
            HostingError::Append(busy @ AppendError::Busy) => busy.into(),
            HostingError::Append(AppendError::Store(error)) | HostingError::Store(error) => error.into(),
            HostingError::Append(_) => Self::invalid_param(text),
        }
    }
}

/// "The version of the room. Required if the `errcode` is `M_INCOMPATIBLE_ROOM_VERSION`."
fn incompatible(version: &RoomVersionId, text: String) -> ApiError {
    ApiError::bad_request("M_INCOMPATIBLE_ROOM_VERSION", text).with("room_version", version.as_str())
}

/// 429 for a server that has used up what it may ask for.
pub(super) fn limited(RetryAfterMs(ms): RetryAfterMs) -> ApiError {
    ApiError::limit_exceeded(ms)
}

/// The event that is a request's whole body.
pub(super) fn event(body: &[u8]) -> Result<Box<RawValue>, ApiError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", "The body is too large"));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request("M_NOT_JSON", error.to_string()))
}

/// The room versions of a query: `ver`, as often as it stands there.
pub(super) fn versions(query: Option<&str>) -> Vec<String> {
    /// Versions that are looked at.
    const MOST: usize = 100;
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let versions: Vec<String> =
        pairs.filter(|(name, _)| name == "ver").map(|(_, version)| version.into_owned()).take(MOST).collect();
    // "Defaults to [1]."
    if versions.is_empty() { vec!["1".to_owned()] } else { versions }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_no_limit_of_who_asks() {
        let refused = ApiError::from(HostingError::Append(AppendError::Busy));
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
