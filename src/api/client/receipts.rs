//! `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Map, Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path},
    },
    presence::Presence,
    rooms::receipts::{Mark, ReceiptError, ReceiptKind, ReceiptThread, Receipts},
};

/// The ways in which a request is wrong before the room is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no receipt type {0:?}")]
    UnknownType(String),
    #[error("thread_id field must be a non-empty string")]
    ThreadNoString,
    #[error("thread_id is neither \"main\" nor an event id")]
    ThreadNoEvent,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownType(_) | Error::ThreadNoString | Error::ThreadNoEvent => {
                Self::invalid_param(error.to_string())
            }
        }
    }
}

impl From<ReceiptError> for ApiError {
    fn from(error: ReceiptError) -> Self {
        let text = error.to_string();
        match error {
            ReceiptError::NotJoined => Self::forbidden(text),
            ReceiptError::UnknownEvent => Self::not_found(text),
            ReceiptError::NotInThread | ReceiptError::ThreadNotAllowed => Self::invalid_param(text),
            ReceiptError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/receipt/{receipt_type}/{event_id}", post(receipt))
}

/// `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}`
async fn receipt(
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Arc<RateLimits>>,
    State(presence): State<Arc<Presence>>,
    session: Session,
    Path((room_id, receipt_type, event_id)): Path<(OwnedRoomId, String, OwnedEventId)>,
    OptionalJson(body): OptionalJson<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    let Some(kind) = ReceiptKind::from_type(&receipt_type) else {
        return Err(Error::UnknownType(receipt_type).into());
    };
    let thread = thread(body.get("thread_id"))?;
    limits.check(Rate::Ephemeral, session.user)?;
    receipts.set(session.user, room_id, vec![Mark { kind, event_id, thread }]).await?;
    presence.active(&session);
    Ok(Json(json!({})))
}

fn thread(thread_id: Option<&Value>) -> Result<ReceiptThread, Error> {
    let Some(thread_id) = thread_id else { return Ok(ReceiptThread::Unthreaded) };
    match thread_id.as_str() {
        None | Some("") => Err(Error::ThreadNoString),
        Some("main") => Ok(ReceiptThread::Main),
        Some(root) => root.try_into().map(ReceiptThread::Root).map_err(|_| Error::ThreadNoEvent),
    }
}
