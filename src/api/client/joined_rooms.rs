//! `GET /joined_rooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedRoomId;
use serde::Serialize;

use super::state::ClientState;
use crate::{
    accounts::Session,
    api::{error::ApiError, extract::Json},
    rooms::reading::Reading,
};

/// The routes under `/_matrix/client/v3`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/joined_rooms", get(joined_rooms))
}

#[derive(Serialize)]
struct Answer {
    joined_rooms: Vec<OwnedRoomId>,
}

/// `GET /joined_rooms`
async fn joined_rooms(State(rooms): State<Arc<Reading>>, session: Session) -> Result<Json<Answer>, ApiError> {
    Ok(Json(Answer { joined_rooms: rooms.joined_rooms(&session).await? }))
}
