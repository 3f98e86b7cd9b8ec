//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`, `PUT /rooms/{roomId}/redact/{eventId}/{txnId}` and
//! `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId};
use serde::Serialize;

use super::{
    append_error::too_large,
    authentication::{ActiveOrGuest, SessionOrGuest, suspended},
    state::ClientState,
};
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    presence::Presence,
    rooms::{
        append::Transaction,
        send::{SendError, Sending},
    },
};

/// Bytes of a transaction id at most.
const MAX_TXN_ID_BYTES: usize = 255;

/// The ways in which a request is wrong before the event is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the transaction id has more than {MAX_TXN_ID_BYTES} bytes")]
    LongTransaction,
    #[error("reason is not a string")]
    Reason,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::LongTransaction => Self::invalid_param(text),
            Error::Reason => Self::bad_request("M_BAD_JSON", text),
        }
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        let text = error.to_string();
        match error {
            SendError::UnknownRoom | SendError::UnknownEvent => Self::not_found(text),
            SendError::NameTooLong => too_large(text),
            SendError::Forbidden(_) | SendError::Refused(_) => Self::forbidden(text),
            SendError::Suspended => suspended(),
            SendError::DuplicateAnnotation => Self::bad_request("M_DUPLICATE_ANNOTATION", text),
            SendError::Content(error) => error.into(),
            SendError::Membership(error) => error.into(),
            SendError::Append(error) => error.into(),
            SendError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/rooms/{room_id}/send/{event_type}/{txn_id}", put(send))
        .route("/rooms/{room_id}/redact/{event_id}/{txn_id}", put(redact))
        .route("/rooms/{room_id}/state/{event_type}", put(put_state))
        .route("/rooms/{room_id}/state/{event_type}/", put(put_state))
        .route("/rooms/{room_id}/state/{event_type}/{state_key}", put(put_state_with_key))
}

#[derive(Serialize)]
struct Sent {
    event_id: OwnedEventId,
}

/// What identifies a repeated request: the device and the path (Client-Server API, "Transaction identifiers"), here by its
/// decoded parts, so that another spelling of the same path is the same.
fn transaction(session: &Session, path: [&str; 3], txn_id: String) -> Result<Transaction, Error> {
    if txn_id.len() > MAX_TXN_ID_BYTES {
        return Err(Error::LongTransaction);
    }
    let mut hash = blake3::Hasher::new();
    for part in path.into_iter().chain([&*txn_id]) {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    Ok(Transaction { device: session.device, key, txn_id })
}

/// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
async fn send(
    SessionOrGuest(session): SessionOrGuest,
    State(sending): State<Arc<Sending>>,
    State(limits): State<Arc<RateLimits>>,
    State(presence): State<Arc<Presence>>,
    Path((room, kind, txn_id)): Path<(OwnedRoomId, String, String)>,
    Json(content): Json<CanonicalJsonObject>,
) -> Result<Json<Sent>, ApiError> {
    // Redactions of one's own events are left to a suspended account.
    if session.suspended && kind != "m.room.redaction" {
        return Err(suspended());
    }
    limits.check(Rate::Message, session.user)?;
    let transaction = transaction(&session, ["send", room.as_str(), &kind], txn_id)?;
    let event_id = sending.send(&session, &room, &kind, content, transaction).await?;
    presence.active(&session);
    Ok(Json(Sent { event_id }))
}

/// `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    session: Session,
    State(sending): State<Arc<Sending>>,
    State(limits): State<Arc<RateLimits>>,
    Path((room, target, txn_id)): Path<(OwnedRoomId, OwnedEventId, String)>,
    Json(mut content): Json<CanonicalJsonObject>,
) -> Result<Json<Sent>, ApiError> {
    limits.check(Rate::Message, session.user)?;
    let transaction = transaction(&session, ["redact", room.as_str(), target.as_str()], txn_id)?;
    match content.get("reason") {
        None | Some(CanonicalJsonValue::String(_)) => {}
        Some(_) => return Err(Error::Reason.into()),
    }
    // The path says what is redacted.
    content.remove("redacts");
    let event_id = sending.redact(&session, &room, &target, content, transaction).await?;
    Ok(Json(Sent { event_id }))
}

/// `PUT /rooms/{roomId}/state/{eventType}`
async fn put_state(
    ActiveOrGuest(session): ActiveOrGuest,
    State(sending): State<Arc<Sending>>,
    State(limits): State<Arc<RateLimits>>,
    Path((room, kind)): Path<(OwnedRoomId, String)>,
    Json(content): Json<CanonicalJsonObject>,
) -> Result<Json<Sent>, ApiError> {
    limits.check(Rate::State, session.user)?;
    let event_id = sending.put_state(&session, &room, &kind, "", content).await?;
    Ok(Json(Sent { event_id }))
}

/// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
async fn put_state_with_key(
    ActiveOrGuest(session): ActiveOrGuest,
    State(sending): State<Arc<Sending>>,
    State(limits): State<Arc<RateLimits>>,
    Path((room, kind, state_key)): Path<(OwnedRoomId, String, String)>,
    Json(content): Json<CanonicalJsonObject>,
) -> Result<Json<Sent>, ApiError> {
    limits.check(Rate::State, session.user)?;
    let event_id = sending.put_state(&session, &room, &kind, &state_key, content).await?;
    Ok(Json(Sent { event_id }))
}
