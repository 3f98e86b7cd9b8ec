//! `/user/{userId}/filter`.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ruma::OwnedUserId;
use serde_json::{Map, Value, json};

use super::{account_data::own, authentication::SessionOrGuest, state::ClientState};
use crate::{
    accounts::{FilterError, Rate},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
};

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        let text = error.to_string();
        match error {
            FilterError::Malformed(_) => Self::bad_request("M_BAD_JSON", text),
            FilterError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            FilterError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`. Guests may sync, and clients filter what they sync.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/user/{user_id}/filter", post(add)).route("/user/{user_id}/filter/{filter_id}", get(stored))
}

/// `POST /user/{userId}/filter`
async fn add(
    State(state): State<ClientState>,
    SessionOrGuest(session): SessionOrGuest,
    Path(user_id): Path<OwnedUserId>,
    Json(filter): Json<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    own(&session, &user_id)?;
    state.limits.check(Rate::Settings, session.user)?;
    let filter_id = state.filters.add(session.user, filter).await?;
    Ok(Json(json!({ "filter_id": filter_id })))
}

/// `GET /user/{userId}/filter/{filterId}`
async fn stored(
    State(state): State<ClientState>,
    SessionOrGuest(session): SessionOrGuest,
    Path((user_id, filter_id)): Path<(OwnedUserId, String)>,
) -> Result<Response, ApiError> {
    own(&session, &user_id)?;
    let json = state.filters.get(session.user, &filter_id).await?;
    let json = json.ok_or_else(|| ApiError::not_found("Unknown filter"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
