//! `GET /make_leave/{roomId}/{userId}`

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use super::{authentication::SignedEmpty, hosting_error::limited, state::FederationState};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    peers::{budgets::Budgets, handshake::Kind, hosting::Hosting},
};

/// The route, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/_matrix/federation/v1/make_leave/{room_id}/{user_id}", get(make_leave))
}

async fn make_leave(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
    request: SignedEmpty,
) -> Result<Json<Value>, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let made = hosting.make(&request.origin, Kind::Leave, &room_id, &user_id, &[]).await?;
    Ok(Json(json!({ "room_version": made.version, "event": made.event })))
}
