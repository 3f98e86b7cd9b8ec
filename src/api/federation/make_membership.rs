//! `GET /make_join/{roomId}/{userId}`, `/make_knock`, `/make_leave`: templates of member events.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    routing::{MethodRouter, get},
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

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/federation/v1/make_join/{room_id}/{user_id}", make(Kind::Join))
        .route("/_matrix/federation/v1/make_knock/{room_id}/{user_id}", make(Kind::Knock))
        .route("/_matrix/federation/v1/make_leave/{room_id}/{user_id}", make(Kind::Leave))
}

fn make(kind: Kind) -> MethodRouter<FederationState> {
    get(
        move |State(hosting): State<Arc<Hosting>>,
              State(budgets): State<Arc<Budgets>>,
              Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
              RawQuery(query): RawQuery,
              request: SignedEmpty| async move {
            budgets.joins(&request.origin).map_err(limited)?;
            // Who leaves need not know the room's version.
            let versions = if kind == Kind::Leave { Vec::new() } else { versions(query.as_deref()) };
            let made = hosting.make(&request.origin, kind, &room_id, &user_id, &versions).await?;
            Ok::<Json<Value>, ApiError>(Json(json!({ "room_version": made.version, "event": made.event })))
        },
    )
}
