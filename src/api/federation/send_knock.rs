//! `PUT /send_knock/{roomId}/{eventId}`

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    authentication::SignedBytes,
    hosting_error::{event, limited},
    state::FederationState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    peers::{budgets::Budgets, handshake::Kind, hosting::Hosting},
};

/// The route, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/_matrix/federation/v1/send_knock/{room_id}/{event_id}", put(send_knock))
}

#[derive(Serialize)]
struct Answer {
    knock_room_state: Vec<Box<RawValue>>,
}

async fn send_knock(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
) -> Result<Json<Answer>, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let knock = event(&request.body)?;
    let knock = hosting.accept(&request.origin, Kind::Knock, &room_id, &event_id, knock).await?;
    Ok(Json(Answer { knock_room_state: hosting.knock_room_state(&knock).await? }))
}
