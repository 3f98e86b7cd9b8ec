//! `GET /rooms/{roomId}/joined_members`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};

use super::{
    reading::{self, InRoom, RawJson},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{error::ApiError, extract::Path},
    peers::joining::Filling,
    rooms::{reading::Reading, state_view},
};

/// The routes under `/_matrix/client/v3`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/joined_members", get(joined_members))
}

/// `GET /rooms/{roomId}/joined_members`
async fn joined_members(
    State(rooms): State<Arc<Reading>>,
    State(filling): State<Arc<Filling>>,
    session: Session,
    Path(path): Path<InRoom>,
) -> Result<RawJson, ApiError> {
    let joined = reading::with_members((&rooms, &filling), &session, &path.room_id, |open| {
        open.needs_members()?;
        state_view::joined_members(open)
    });
    let joined = joined.await?;
    Ok(RawJson(format!("{{\"joined\":{joined}}}")))
}
