//! `PUT /send_join/{roomId}/{eventId}`, versions 1 and 2. The answer may be large: it is written as it is taken.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
    routing::put,
};
use ruma::{OwnedEventId, OwnedRoomId};

use super::{
    authentication::SignedBytes,
    hosting_error::{event, limited},
    state::FederationState,
};
use crate::{
    api::{error::ApiError, extract::Path},
    peers::{budgets::Budgets, handshake::Kind, hosting::Hosting},
};

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/federation/v1/send_join/{room_id}/{event_id}", put(send_join_v1))
        .route("/_matrix/federation/v2/send_join/{room_id}/{event_id}", put(send_join_v2))
}

async fn send_join_v1(
    hosting: State<Arc<Hosting>>,
    budgets: State<Arc<Budgets>>,
    path: Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
) -> Result<Response, ApiError> {
    send_join(hosting, budgets, path, request, true, false).await
}

async fn send_join_v2(
    hosting: State<Arc<Hosting>>,
    budgets: State<Arc<Budgets>>,
    path: Path<(OwnedRoomId, OwnedEventId)>,
    RawQuery(query): RawQuery,
    request: SignedBytes,
) -> Result<Response, ApiError> {
    let mut pairs = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let omit_members = pairs.any(|(name, value)| name == "omit_members" && value == "true");
    send_join(hosting, budgets, path, request, false, omit_members).await
}

async fn send_join(
    State(hosting): State<Arc<Hosting>>,
    State(budgets): State<Arc<Budgets>>,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    request: SignedBytes,
    v1: bool,
    omit_members: bool,
) -> Result<Response, ApiError> {
    budgets.joins(&request.origin).map_err(limited)?;
    let join = event(&request.body)?;
    let accepted = hosting.accept(&request.origin, Kind::Join, &room_id, &event_id, join).await?;
    let answer = hosting.join_answer(&accepted, omit_members).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], hosting.join_body(answer, v1)).into_response())
}
