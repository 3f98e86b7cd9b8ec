//! What the handlers that read rooms share: answers that are JSON already, parameters of pages, how reading fails.

use std::time::Duration;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ruma::{OwnedEventId, OwnedRoomId, RoomId};
use serde::Deserialize;

use crate::{
    accounts::Session,
    api::{error::ApiError, extract::parse_json},
    peers::joining::Filling,
    rooms::{
        access::{OpenRoom, ReadError},
        event_filter::RoomEventFilter,
        page_token::PageToken,
        reading::Reading,
        timeline::{DEFAULT_LIMIT, Direction, MAX_LIMIT},
    },
};

/// 200 with a text that is JSON.
pub(super) struct RawJson(pub(super) String);

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoPart => Self::forbidden(error.to_string()),
            ReadError::NotFound(_) => Self::not_found(error.to_string()),
            ReadError::MembersMissing => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNABLE_DUE_TO_PARTIAL_STATE", error.to_string())
            }
            ReadError::Store(error) => error.into(),
        }
    }
}

/// How long an answer that depends on a room's members waits for them, where they are still to be fetched. Clients and proxies
/// wait for half a minute at least.
const FOR_MEMBERS: Duration = Duration::from_secs(20);

/// Runs `look` on a room that is open to the session's user. Where it answers `MembersMissing`, waits until they are here, and
/// runs it once more.
///
/// # Errors
/// What `look` answers.
pub(super) async fn with_members<T, F>(
    (rooms, filling): (&Reading, &Filling),
    session: &Session,
    room_id: &RoomId,
    look: F,
) -> Result<T, ReadError>
where
    T: Send + 'static,
    F: FnOnce(&mut OpenRoom<'_>) -> Result<T, ReadError> + Clone + Send + 'static,
{
    match rooms.open(session, room_id, look.clone()).await {
        Err(ReadError::MembersMissing) if filling.whole(room_id, FOR_MEMBERS).await? => {
            rooms.open(session, room_id, look).await
        }
        other => other,
    }
}

/// A path that names a room.
#[derive(Deserialize)]
pub(super) struct InRoom {
    pub(super) room_id: OwnedRoomId,
}

/// A path that names an event of a room.
#[derive(Deserialize)]
pub(super) struct OfEvent {
    pub(super) room_id: OwnedRoomId,
    pub(super) event_id: OwnedEventId,
}

/// `dir`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Dir {
    #[serde(rename = "b")]
    Backwards,
    #[serde(rename = "f")]
    Forwards,
}

impl From<Dir> for Direction {
    fn from(dir: Dir) -> Self {
        match dir {
            Dir::Backwards => Self::Backwards,
            Dir::Forwards => Self::Forwards,
        }
    }
}

/// Parameters that many handlers have and that can be wrong beyond their type.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadParam {
    /// A `limit` below what is allowed.
    #[error("limit must be at least {0}")]
    Limit(i64),
    /// A token that is none of ours.
    #[error("{0} is not a pagination token of this server")]
    Token(&'static str),
}

impl From<BadParam> for ApiError {
    fn from(error: BadParam) -> Self {
        match error {
            BadParam::Limit(_) | BadParam::Token(_) => Self::invalid_param(error.to_string()),
        }
    }
}

/// `limit`: [`DEFAULT_LIMIT`] if absent, [`MAX_LIMIT`] if larger. A filter's limit holds, too.
pub(super) fn limit(limit: Option<i64>, filter: Option<&RoomEventFilter>, least: i64) -> Result<usize, BadParam> {
    let asked = limit.unwrap_or(DEFAULT_LIMIT as i64);
    if asked < least {
        return Err(BadParam::Limit(least));
    }
    let filtered = filter.and_then(|filter| filter.limit).filter(|limit| *limit > 0).unwrap_or(i64::MAX);
    Ok(usize::try_from(asked.min(filtered)).unwrap_or(MAX_LIMIT).min(MAX_LIMIT))
}

/// `from`, `to` or `at`; empty is absent, as some clients send it.
pub(super) fn token(name: &'static str, text: Option<&str>) -> Result<Option<PageToken>, BadParam> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| BadParam::Token(name)),
    }
}

/// `filter`: JSON in the query; absent or empty it lets everything through. 400 `M_NOT_JSON` or `M_BAD_JSON`.
pub(super) fn filter(text: Option<&str>) -> Result<RoomEventFilter, ApiError> {
    match text {
        None | Some("") => Ok(RoomEventFilter::default()),
        Some(text) => parse_json(text.as_bytes()),
    }
}
