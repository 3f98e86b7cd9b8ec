//! `GET /rooms/{roomId}/joined_members`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};

use super::{
    reading::{InRoom, RawJson},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{error::ApiError, extract::Path},
    rooms::{reading::Reading, state_view},
};

/// The routes under `/_matrix/client/v3`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/joined_members", get(joined_members))
}

/// `GET /rooms/{roomId}/joined_members`
async fn joined_members(
    State(rooms): State<Arc<Reading>>,
    session: Session,
    Path(path): Path<InRoom>,
) -> Result<RawJson, ApiError> {
    let joined = rooms.open(&session, &path.room_id, |open| state_view::joined_members(open)).await?;
    Ok(RawJson(format!("{{\"joined\":{joined}}}")))
}
