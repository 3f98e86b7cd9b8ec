//! `PUT /exchange_third_party_invite/{roomId}`

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::{authentication::Signed, hosting_error::limited, state::FederationState};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    peers::{
        budgets::Budgets,
        hosting::{Hosting, PartialInvitation},
    },
};

/// The route, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/_matrix/federation/v1/exchange_third_party_invite/{room_id}", put(exchange))
}

async fn exchange(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path(room_id): Path<OwnedRoomId>,
    request: Signed<PartialInvitation>,
) -> Result<Json<Value>, ApiError> {
    budgets.invites(&request.origin).map_err(limited)?;
    hosting.exchange(&request.origin, &room_id, request.body).await?;
    Ok(Json(json!({})))
}
