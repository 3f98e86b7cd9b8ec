//! `/user/{userId}/account_data/{type}` and the same per room.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Map, Value, json};

use super::state::ClientState;
use crate::{
    accounts::{AccountDataError, Limited, Rate, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
};

/// The ways in which a request about account data fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("You can only see and change your own account data")]
    NotYours,
    #[error("Account data not found")]
    NotFound,
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotYours => Self::forbidden(text),
            Error::NotFound => Self::not_found(text),
            Error::Limited(limited) => limited.into(),
        }
    }
}

impl From<AccountDataError> for ApiError {
    fn from(error: AccountDataError) -> Self {
        let text = error.to_string();
        let too_large = StatusCode::PAYLOAD_TOO_LARGE;
        match error {
            AccountDataError::ServerManaged(_) => Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", text),
            AccountDataError::TypeTooLong => Self::invalid_param(text),
            AccountDataError::TooLarge | AccountDataError::TooMany => Self::new(too_large, "M_TOO_LARGE", text),
            AccountDataError::UnknownRoom => Self::not_found(text),
            AccountDataError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/user/{user_id}/account_data/{type}", get(get_global).put(set_global))
        .route("/user/{user_id}/rooms/{room_id}/account_data/{type}", get(get_in_room).put(set_in_room))
}

/// 403 unless the path names the session's own user.
pub(super) fn own(session: &Session, user_id: &OwnedUserId) -> Result<(), ApiError> {
    if *user_id == session.user_id {
        return Ok(());
    }
    Err(Error::NotYours.into())
}

/// `GET /user/{userId}/account_data/{type}`
async fn get_global(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, kind)): Path<(OwnedUserId, String)>,
) -> Result<Response, ApiError> {
    own(&session, &user_id)?;
    answer(state.account_data.get(session.user, None, kind).await?)
}

/// `GET /user/{userId}/rooms/{roomId}/account_data/{type}`
async fn get_in_room(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, room_id, kind)): Path<(OwnedUserId, OwnedRoomId, String)>,
) -> Result<Response, ApiError> {
    own(&session, &user_id)?;
    answer(state.account_data.get(session.user, Some(room_id), kind).await?)
}

/// Stored JSON as it is.
fn answer(content: Option<String>) -> Result<Response, ApiError> {
    let content = content.ok_or(Error::NotFound)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], content).into_response())
}

/// `PUT /user/{userId}/account_data/{type}`
async fn set_global(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, kind)): Path<(OwnedUserId, String)>,
    Json(content): Json<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    set(&state, &session, None, kind, content).await
}

/// `PUT /user/{userId}/rooms/{roomId}/account_data/{type}`
async fn set_in_room(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, room_id, kind)): Path<(OwnedUserId, OwnedRoomId, String)>,
    Json(content): Json<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    set(&state, &session, Some(room_id), kind, content).await
}

async fn set(
    state: &ClientState,
    session: &Session,
    room: Option<OwnedRoomId>,
    kind: String,
    content: Map<String, Value>,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let content = Value::Object(content).to_string();
    state.account_data.set(session.user, room, kind, content).await?;
    Ok(Json(json!({})))
}
