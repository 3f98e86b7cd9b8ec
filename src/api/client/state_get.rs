//! `GET /rooms/{roomId}/state` and `GET /rooms/{roomId}/state/{eventType}/{stateKey}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::{
    authentication::SessionOrGuest,
    reading::{InRoom, RawJson},
    state::ClientState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    rooms::{reading::Reading, state_view},
};

/// The routes under `/_matrix/client/v3`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/rooms/{room_id}/state", get(all))
        .route("/rooms/{room_id}/state/{event_type}", get(one))
        .route("/rooms/{room_id}/state/{event_type}/", get(one))
        .route("/rooms/{room_id}/state/{event_type}/{state_key}", get(one))
}

#[derive(Deserialize)]
struct Key {
    room_id: OwnedRoomId,
    event_type: String,
    #[serde(default)]
    state_key: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Content,
    Event,
}

/// `GET /rooms/{roomId}/state`
async fn all(
    State(rooms): State<Arc<Reading>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<InRoom>,
) -> Result<RawJson, ApiError> {
    let state = rooms.open(&session, &path.room_id, |open| Ok(state_view::all(open)?)).await?;
    Ok(RawJson(state))
}

/// `GET /rooms/{roomId}/state/{eventType}/{stateKey}`
async fn one(
    State(rooms): State<Arc<Reading>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<Key>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let Key { room_id, event_type, state_key } = path;
    let found = rooms.open(&session, &room_id, move |open| {
        let event = state_view::one(open, &event_type, &state_key)?;
        let mut out = String::with_capacity(event.json.len() + 256);
        match params.format {
            Format::Content => open.renderer.content(&event, &mut out)?,
            Format::Event => open.renderer.event(&event, &mut out)?,
        }
        Ok(out)
    });
    Ok(RawJson(found.await?))
}
