//! What the handlers that serve rooms to other servers share: how they fail, answers that are JSON already.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use crate::{
    api::error::ApiError,
    peers::serving::{Listing, ServeError},
};

impl From<ServeError> for ApiError {
    fn from(error: ServeError) -> Self {
        let text = error.to_string();
        match error {
            ServeError::Denied | ServeError::NotInRoom => Self::forbidden(text),
            ServeError::NotFound(_) => Self::not_found(text),
            ServeError::Store(error) => error.into(),
        }
    }
}

/// 200 with a text that is JSON.
pub(super) struct RawJson(pub(super) String);

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// 200 with lists of events, written while they are sent.
pub(super) struct Streamed(pub(super) Listing);

impl IntoResponse for Streamed {
    fn into_response(self) -> Response {
        let body = Body::from_stream(self.0.into_stream());
        (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// A path that names a room.
#[derive(Deserialize)]
pub(super) struct InRoom {
    pub(super) room_id: OwnedRoomId,
}

/// A path that names an event of a room.
#[derive(Deserialize)]
pub(super) struct OfEvent {
    pub(super) room_id: OwnedRoomId,
    pub(super) event_id: OwnedEventId,
}
