//! `GET` and `PUT /presence/{userId}/status`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedUserId;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{
    authentication::{ActiveOrGuest, SessionOrGuest},
    state::ClientState,
};
use crate::{
    accounts::{Rate, RateLimits},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    presence::{Presence, PresenceError, State as PresenceState},
};

/// The ways in which a request is wrong before presence is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("you cannot set the presence of somebody else")]
    SomebodyElse,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::SomebodyElse => Self::forbidden(error.to_string()),
        }
    }
}

impl From<PresenceError> for ApiError {
    fn from(error: PresenceError) -> Self {
        let text = error.to_string();
        match error {
            PresenceError::Hidden => Self::forbidden(text),
            PresenceError::StatusTooLong => Self::invalid_param(text),
            PresenceError::Store(error) => error.into(),
        }
    }
}

/// The route under `/_matrix/client/{version}`. Guests may sync, and are online then like others.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/presence/{user_id}/status", get(status).put(set_status))
}

#[derive(Deserialize)]
struct Body {
    presence: PresenceState,
    /// Absent: stays as it is; null or empty: none.
    #[serde(default, deserialize_with = "present")]
    status_msg: Option<Option<String>>,
}

/// Tells null from absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `GET /presence/{userId}/status`
async fn status(
    State(presence): State<Arc<Presence>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(user_id): Path<OwnedUserId>,
) -> Result<Json<Value>, ApiError> {
    let shown = presence.get(session.user, &user_id).await?;
    serde_json::to_value(shown.content(presence.now_ms())).map(Json).map_err(ApiError::internal)
}

/// `PUT /presence/{userId}/status`
async fn set_status(
    State(presence): State<Arc<Presence>>,
    State(limits): State<Arc<RateLimits>>,
    ActiveOrGuest(session): ActiveOrGuest,
    Path(user_id): Path<OwnedUserId>,
    Json(body): Json<Body>,
) -> Result<Json<Value>, ApiError> {
    if user_id != session.user_id {
        return Err(Error::SomebodyElse.into());
    }
    limits.check(Rate::Ephemeral, session.user)?;
    presence.put(&session, body.presence, body.status_msg).await?;
    Ok(Json(json!({})))
}
