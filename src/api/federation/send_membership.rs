//! `PUT /send_knock/{roomId}/{eventId}`; `/send_leave`, versions 1 and 2. That of joins answers more, and has a file of its own.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

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
    peers::{
        budgets::Budgets,
        handshake::Kind,
        hosting::{Accepted, Hosting},
    },
};

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/federation/v1/send_knock/{room_id}/{event_id}", put(send_knock))
        .route("/_matrix/federation/v1/send_leave/{room_id}/{event_id}", put(send_leave_v1))
        .route("/_matrix/federation/v2/send_leave/{room_id}/{event_id}", put(send_leave_v2))
}

/// The room and the event.
type Target = Path<(OwnedRoomId, OwnedEventId)>;

#[derive(Serialize)]
struct KnockAnswer {
    knock_room_state: Vec<Box<RawValue>>,
}

async fn send_knock(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    target: Target,
    request: SignedBytes,
) -> Result<Json<KnockAnswer>, ApiError> {
    let knock = accept(&hosting, &budgets, Kind::Knock, target, request).await?;
    Ok(Json(KnockAnswer { knock_room_state: hosting.knock_room_state(&knock).await? }))
}

async fn send_leave_v1(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    target: Target,
    request: SignedBytes,
) -> Result<Json<Value>, ApiError> {
    accept(&hosting, &budgets, Kind::Leave, target, request).await?;
    Ok(Json(json!([200, {}])))
}

async fn send_leave_v2(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    target: Target,
    request: SignedBytes,
) -> Result<Json<Value>, ApiError> {
    accept(&hosting, &budgets, Kind::Leave, target, request).await?;
    Ok(Json(json!({})))
}

async fn accept(
    hosting: &Hosting,
    budgets: &Budgets,
    kind: Kind,
    Path((room_id, event_id)): Target,
    request: SignedBytes,
) -> Result<Accepted, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let sent = event(&request.body)?;
    Ok(hosting.accept(&request.origin, kind, &room_id, &event_id, sent).await?)
}
