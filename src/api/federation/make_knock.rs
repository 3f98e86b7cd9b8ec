//! `GET /make_knock/{roomId}/{userId}`

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    routing::get,
};
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use super::{
    authentication::SignedEmpty,
    hosting_error::{limited, versions},
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
    Router::new().route("/_matrix/federation/v1/make_knock/{room_id}/{user_id}", get(make_knock))
}

async fn make_knock(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
    RawQuery(query): RawQuery,
    request: SignedEmpty,
) -> Result<Json<Value>, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let versions = versions(query.as_deref());
    let made = hosting.make(&request.origin, Kind::Knock, &room_id, &user_id, &versions).await?;
    Ok(Json(json!({ "room_version": made.version, "event": made.event })))
}
