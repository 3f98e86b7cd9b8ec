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
    peers::{backfill::Backfill, timestamps::RemoteTimestamps},
    rooms::{reading::Reading, timeline},
};

/// The ways in which there is no event.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Event not found")]
    NotFound,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(error.to_string()),
        }
    }
}

/// The routes under `/_matrix/client/v1`.
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
    State(remote): State<Arc<RemoteTimestamps>>,
    State(backfill): State<Arc<Backfill>>,
    session: Session,
    Path(path): Path<InRoom>,
    Query(params): Query<Params>,
) -> Result<Json<Answer>, ApiError> {
    let (ts, direction) = (params.ts, params.dir.into());
    let read = || rooms.open(&session, &path.room_id, move |open| timeline::at_timestamp(open, ts, direction));
    let here = read().await?;
    let distance = |at: i64| at.abs_diff(ts);
    if here.near_gap
        && let Some(there) = remote.nearest(&path.room_id, ts, direction).await?
        && here.event.as_ref().is_none_or(|here| distance(there.origin_server_ts) < distance(here.origin_ts))
    {
        // Only what is here by then is answered: the client will ask for it, and may not be allowed to see it.
        backfill.around(&path.room_id, &there.event_id, &there.server).await?;
        let now = read().await?.event.ok_or(Error::NotFound)?;
        return Ok(Json(Answer { event_id: now.event_id, origin_server_ts: now.origin_ts }));
    }
    let event = here.event.ok_or(Error::NotFound)?;
    Ok(Json(Answer { event_id: event.event_id, origin_server_ts: event.origin_ts }))
}
