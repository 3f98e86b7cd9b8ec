//! `GET /state/{roomId}` and `GET /state_ids/{roomId}`. They fail in no way of their own.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedEventId;
use serde::Deserialize;

use super::{
    authentication::SignedEmpty,
    serving::{InRoom, Streamed},
    state::FederationState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    peers::serving::Serving,
};

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/state/{room_id}", get(state)).route("/state_ids/{room_id}", get(state_ids))
}

#[derive(Deserialize)]
struct At {
    event_id: OwnedEventId,
}

/// `GET /state/{roomId}`
async fn state(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<InRoom>,
    Query(at): Query<At>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Streamed, ApiError> {
    Ok(Streamed(serving.state(&origin, &path.room_id, &at.event_id).await?))
}

/// `GET /state_ids/{roomId}`
async fn state_ids(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<InRoom>,
    Query(at): Query<At>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Streamed, ApiError> {
    Ok(Streamed(serving.state_ids(&origin, &path.room_id, &at.event_id).await?))
}
