//! `GET /rooms/{roomId}/context/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{
    authentication::SessionOrGuest,
    reading::{self, OfEvent, RawJson},
    state::ClientState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    rooms::{access::OpenRoom, reading::Reading, timeline},
};

/// The routes under `/_matrix/client/v3`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/context/{event_id}", get(context))
}

#[derive(Deserialize)]
struct Params {
    limit: Option<i64>,
    filter: Option<String>,
}

/// `GET /rooms/{roomId}/context/{eventId}`
async fn context(
    State(rooms): State<Arc<Reading>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<OfEvent>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let filter = reading::filter(params.filter.as_deref())?;
    let limit = reading::limit(params.limit, Some(&filter), 0)?;
    let event_id = path.event_id;
    let look = move |open: &mut OpenRoom<'_>| timeline::context(open, &event_id, limit, &filter);
    let found = rooms.open_for_events(&session, &path.room_id, look).await?;
    Ok(RawJson(format!(
        "{{\"start\":\"{}\",\"end\":\"{}\",\"event\":{},\"events_before\":{},\"events_after\":{},\"state\":{}}}",
        found.start, found.end, found.event, found.before, found.after, found.state
    )))
}
