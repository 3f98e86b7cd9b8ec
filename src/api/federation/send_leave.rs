//! `PUT /send_leave/{roomId}/{eventId}`, versions 1 and 2.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

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

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/federation/v1/send_leave/{room_id}/{event_id}", put(send_leave_v1))
        .route("/_matrix/federation/v2/send_leave/{room_id}/{event_id}", put(send_leave_v2))
}

async fn send_leave_v1(
    hosting: State<Arc<Hosting>>,
    budgets: State<Arc<Budgets>>,
    path: Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
) -> Result<Json<Value>, ApiError> {
    send_leave_v2(hosting, budgets, path, request).await?;
    Ok(Json(json!([200, {}])))
}

async fn send_leave_v2(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
) -> Result<Json<Value>, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let leave = event(&request.body)?;
    hosting.accept(&request.origin, Kind::Leave, &room_id, &event_id, leave).await?;
    Ok(Json(json!({})))
}
