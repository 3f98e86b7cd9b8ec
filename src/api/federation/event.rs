//! `GET /event/{eventId}`, `GET /event_auth/{roomId}/{eventId}` and `GET /timestamp_to_event/{roomId}`. They fail in no way of
//! their own.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};

use super::{
    authentication::SignedEmpty,
    serving::{InRoom, OfEvent, RawJson, Streamed},
    state::FederationState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    peers::serving::Serving,
    rooms::timeline::Direction,
};

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/event/{event_id}", get(event))
        .route("/event_auth/{room_id}/{event_id}", get(event_auth))
        .route("/timestamp_to_event/{room_id}", get(timestamp_to_event))
}

/// `GET /event/{eventId}`
async fn event(
    State(serving): State<Arc<Serving>>,
    Path(event_id): Path<OwnedEventId>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<RawJson, ApiError> {
    let event = serving.event(&origin, &event_id).await?;
    Ok(RawJson(serving.transaction(&format!("[{event}]"))))
}

/// `GET /event_auth/{roomId}/{eventId}`
async fn event_auth(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<OfEvent>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Streamed, ApiError> {
    Ok(Streamed(serving.event_auth(&origin, &path.room_id, &path.event_id).await?))
}

/// `dir`.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Dir {
    #[serde(rename = "b")]
    Backwards,
    #[serde(rename = "f")]
    Forwards,
}

#[derive(Deserialize)]
struct Time {
    ts: i64,
    dir: Dir,
}

#[derive(Serialize)]
struct Nearest {
    event_id: OwnedEventId,
    origin_server_ts: i64,
}

/// `GET /timestamp_to_event/{roomId}`
async fn timestamp_to_event(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<InRoom>,
    Query(time): Query<Time>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Json<Nearest>, ApiError> {
    let direction = match time.dir {
        Dir::Backwards => Direction::Backwards,
        Dir::Forwards => Direction::Forwards,
    };
    let found = serving.at_timestamp(&origin, &path.room_id, time.ts, direction).await?;
    Ok(Json(Nearest { event_id: found.event_id, origin_server_ts: found.origin_server_ts }))
}
