//! `/user/{userId}/rooms/{roomId}/tags`.

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Map, Value, json};

use super::{account_data::own, state::ClientState};
use crate::{
    accounts::{Rate, Session, TagError},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path},
    },
};

impl From<TagError> for ApiError {
    fn from(error: TagError) -> Self {
        let text = error.to_string();
        match error {
            TagError::Name => Self::invalid_param(text),
            TagError::Order => Self::bad_request("M_BAD_JSON", text),
            TagError::AccountData(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/user/{user_id}/rooms/{room_id}/tags", get(list))
        .route("/user/{user_id}/rooms/{room_id}/tags/{tag}", put(set).delete(remove))
}

/// `GET /user/{userId}/rooms/{roomId}/tags`
async fn list(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, room_id)): Path<(OwnedUserId, OwnedRoomId)>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    let tags = state.tags.list(session.user, room_id).await?;
    Ok(Json(json!({ "tags": tags })))
}

/// `PUT /user/{userId}/rooms/{roomId}/tags/{tag}`
async fn set(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, room_id, tag)): Path<(OwnedUserId, OwnedRoomId, String)>,
    OptionalJson(info): OptionalJson<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    state.limits.check(Rate::Settings, session.user)?;
    state.tags.set(session.user, room_id, tag, info).await?;
    Ok(Json(json!({})))
}

/// `DELETE /user/{userId}/rooms/{roomId}/tags/{tag}`
async fn remove(
    State(state): State<ClientState>,
    session: Session,
    Path((user_id, room_id, tag)): Path<(OwnedUserId, OwnedRoomId, String)>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    state.limits.check(Rate::Settings, session.user)?;
    state.tags.remove(session.user, room_id, tag).await?;
    Ok(Json(json!({})))
}
