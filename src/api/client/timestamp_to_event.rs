//! `GET /rooms/{roomId}/timestamp_to_event`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};

use super::{
    reading::{Dir, InRoom},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    rooms::{reading::Reading, timeline},
};

/// The routes under `/_matrix/client/v1`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/timestamp_to_event", get(timestamp_to_event))
}

#[derive(Deserialize)]
struct Params {
    ts: i64,
    dir: Dir,
}

#[derive(Serialize)]
struct Answer {
    event_id: OwnedEventId,
    origin_server_ts: i64,
}

/// `GET /rooms/{roomId}/timestamp_to_event`
async fn timestamp_to_event(
    State(rooms): State<Arc<Reading>>,
    session: Session,
    Path(path): Path<InRoom>,
    Query(params): Query<Params>,
) -> Result<Json<Answer>, ApiError> {
    let found =
        rooms.open(&session, &path.room_id, move |open| timeline::at_timestamp(open, params.ts, params.dir.into()));
    let event = found.await?;
    Ok(Json(Answer { event_id: event.event_id, origin_server_ts: event.origin_ts }))
}
