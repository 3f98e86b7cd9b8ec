//! `PUT /rooms/{roomId}/typing/{userId}`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    presence::Presence,
    rooms::typing::{DEFAULT_TIMEOUT, Typing, TypingError},
};

/// The ways in which a request is wrong before the room is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("you cannot type for somebody else")]
    SomebodyElse,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::SomebodyElse => Self::forbidden(error.to_string()),
        }
    }
}

impl From<TypingError> for ApiError {
    fn from(error: TypingError) -> Self {
        let text = error.to_string();
        match error {
            TypingError::NotJoined => Self::forbidden(text),
            TypingError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/typing/{user_id}", put(typing))
}

#[derive(Deserialize)]
struct Body {
    typing: bool,
    /// In milliseconds; above two minutes counts as two minutes.
    timeout: Option<u64>,
}

/// `PUT /rooms/{roomId}/typing/{userId}`
async fn typing(
    State(typing): State<Arc<Typing>>,
    State(limits): State<Arc<RateLimits>>,
    State(presence): State<Arc<Presence>>,
    session: Session,
    Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
    Json(body): Json<Body>,
) -> Result<Json<Value>, ApiError> {
    if user_id != session.user_id {
        return Err(Error::SomebodyElse.into());
    }
    limits.check(Rate::Ephemeral, session.user)?;
    let timeout = body.timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    typing.set(session.user, room_id, body.typing.then_some(timeout)).await?;
    presence.active(&session);
    Ok(Json(json!({})))
}
