//! `/rooms/{roomId}/report`, `/rooms/{roomId}/report/{eventId}`, `/users/{userId}/report`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    rooms::reports::{ReportError, Reports},
};

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            ReportError::UnknownRoom | ReportError::UnknownEvent | ReportError::UnknownUser => Self::not_found(text),
            ReportError::ReasonTooLong => Self::invalid_param(text),
            ReportError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/rooms/{room_id}/report", post(room))
        .route("/rooms/{room_id}/report/{event_id}", post(event))
        .route("/users/{user_id}/report", post(user))
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

#[derive(Deserialize)]
struct OptionalReason {
    reason: Option<String>,
}

/// `POST /rooms/{roomId}/report`
async fn room(
    session: Session,
    State(reports): State<Arc<Reports>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomId>,
    Json(body): Json<Reason>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    reports.room(&session, &room, body.reason).await?;
    Ok(Json(json!({})))
}

/// `POST /rooms/{roomId}/report/{eventId}`
async fn event(
    session: Session,
    State(reports): State<Arc<Reports>>,
    State(limits): State<Arc<RateLimits>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    Json(body): Json<OptionalReason>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    reports.event(&session, &room, &event, body.reason.unwrap_or_default()).await?;
    Ok(Json(json!({})))
}

/// `POST /users/{userId}/report`
async fn user(
    session: Session,
    State(reports): State<Arc<Reports>>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<OwnedUserId>,
    Json(body): Json<Reason>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    reports.user(&session, &user, body.reason).await?;
    Ok(Json(json!({})))
}
