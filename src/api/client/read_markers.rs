//! `POST /rooms/{roomId}/read_markers`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    presence::Presence,
    rooms::receipts::{Mark, ReceiptKind, ReceiptThread, Receipts},
};

/// The routes under `/_matrix/client/{version}`. They fail as receipts do.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/read_markers", post(read_markers))
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(rename = "m.read.private")]
    read_private: Option<OwnedEventId>,
}

/// `POST /rooms/{roomId}/read_markers`
async fn read_markers(
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Arc<RateLimits>>,
    State(presence): State<Arc<Presence>>,
    session: Session,
    Path(room_id): Path<OwnedRoomId>,
    Json(body): Json<Body>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Ephemeral, session.user)?;
    let marks = [
        (ReceiptKind::FullyRead, body.fully_read),
        (ReceiptKind::Read, body.read),
        (ReceiptKind::ReadPrivate, body.read_private),
    ];
    let marks = marks
        .into_iter()
        .filter_map(|(kind, event_id)| Some(Mark { kind, event_id: event_id?, thread: ReceiptThread::Unthreaded }))
        .collect();
    receipts.set(session.user, room_id, marks).await?;
    presence.active(&session);
    Ok(Json(json!({})))
}
