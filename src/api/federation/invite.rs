//! `PUT /invite/{roomId}/{eventId}`, versions 1 and 2.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    authentication::{Signed, SignedBytes},
    hosting_error::{event, limited},
    state::FederationState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    peers::{
        budgets::Budgets,
        hosting::{Hosting, SentInvitation},
    },
};

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/federation/v1/invite/{room_id}/{event_id}", put(invite_v1))
        .route("/_matrix/federation/v2/invite/{room_id}/{event_id}", put(invite_v2))
}

#[derive(Deserialize)]
struct BodyV2 {
    room_version: String,
    event: Box<RawValue>,
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
struct BodyV1 {
    unsigned: Option<Unsigned>,
}

#[derive(Deserialize)]
struct Unsigned {
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Answer {
    event: Box<RawValue>,
}

async fn invite_v2(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    request: Signed<BodyV2>,
) -> Result<Json<Answer>, ApiError> {
    budgets.invites(&request.origin).map_err(limited)?;
    let BodyV2 { room_version, event, invite_room_state } = request.body;
    let sent = SentInvitation { room_version: Some(room_version), event, invite_room_state };
    let signed = hosting.invited(&request.origin, &room_id, &event_id, sent).await?;
    answer(signed.json())
}

async fn invite_v1(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
) -> Result<Json<(u16, Answer)>, ApiError> {
    budgets.invites(&request.origin).map_err(limited)?;
    let event = event(&request.body)?;
    let unsigned = serde_json::from_str::<BodyV1>(event.get()).unwrap_or_default().unsigned;
    let invite_room_state = unsigned.map(|unsigned| unsigned.invite_room_state).unwrap_or_default();
    let sent = SentInvitation { room_version: None, event, invite_room_state };
    let signed = hosting.invited(&request.origin, &room_id, &event_id, sent).await?;
    let Json(answer) = answer(signed.json())?;
    Ok(Json((200, answer)))
}

fn answer(event: &str) -> Result<Json<Answer>, ApiError> {
    RawValue::from_string(event.to_owned()).map(|event| Json(Answer { event })).map_err(ApiError::internal)
}
