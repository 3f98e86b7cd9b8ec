//! `GET /rooms/{roomId}/state` and `GET /rooms/{roomId}/state/{eventType}/{stateKey}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::{
    authentication::SessionOrGuest,
    reading::{self, InRoom, RawJson},
    state::ClientState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    peers::joining::Filling,
    rooms::{access::ReadError, reading::Reading, state_view},
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
    State(filling): State<Arc<Filling>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<InRoom>,
) -> Result<RawJson, ApiError> {
    let state = reading::with_members((&rooms, &filling), &session, &path.room_id, |open| {
        open.needs_members()?;
        Ok(state_view::all(open)?)
    });
    Ok(RawJson(state.await?))
}

/// `GET /rooms/{roomId}/state/{eventType}/{stateKey}`
async fn one(
    State(rooms): State<Arc<Reading>>,
    State(filling): State<Arc<Filling>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<Key>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let Key { room_id, event_type, state_key } = path;
    let found = reading::with_members((&rooms, &filling), &session, &room_id, move |open| {
        let event = match state_view::one(open, &event_type, &state_key) {
            // Of those members who are known so far what is known is told.
            Err(ReadError::NotFound(what)) if event_type == "m.room.member" => {
                open.needs_members()?;
                return Err(ReadError::NotFound(what));
            }
            found => found?,
        };
        let mut out = String::with_capacity(event.json.len() + 256);
        match params.format {
            Format::Content => open.renderer.content(&event, &mut out)?,
            Format::Event => open.renderer.event(&event, &mut out)?,
        }
        Ok(out)
    });
    Ok(RawJson(found.await?))
}
