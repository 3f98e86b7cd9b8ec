//! `GET /rooms/{roomId}/event/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};

use super::{
    authentication::SessionOrGuest,
    reading::{OfEvent, RawJson},
    state::ClientState,
};
use crate::{
    api::{error::ApiError, extract::Path},
    rooms::{access::ReadError, reading::Reading, timeline},
    store::StoreError,
};

/// Why the event is not shown.
#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error("Event not found")]
    NotFound,
    #[error(transparent)]
    Store(StoreError),
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        match error {
            EventError::NotFound => Self::not_found(error.to_string()),
            EventError::Store(error) => error.into(),
        }
    }
}

impl From<ReadError> for EventError {
    fn from(error: ReadError) -> Self {
        match error {
            // The spec has one answer for «not found» and «you may not», here also for the room.
            ReadError::NoPart | ReadError::NotFound(_) | ReadError::MembersMissing => Self::NotFound,
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

/// The routes under `/_matrix/client/v3`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/event/{event_id}", get(event))
}

/// `GET /rooms/{roomId}/event/{eventId}`
async fn event(
    State(rooms): State<Arc<Reading>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<OfEvent>,
) -> Result<RawJson, ApiError> {
    let event_id = path.event_id;
    let found = rooms.open_for_events(&session, &path.room_id, move |open| {
        let event = timeline::visible(open, &event_id)?;
        let mut out = String::with_capacity(event.json.len() + 256);
        open.renderer.event(&event, &mut out)?;
        Ok(out)
    });
    Ok(RawJson(found.await.map_err(EventError::from)?))
}
