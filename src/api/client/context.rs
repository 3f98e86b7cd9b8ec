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
    peers::backfill::{Backfill, Filled},
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
    State(backfill): State<Arc<Backfill>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<OfEvent>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let filter = reading::filter(params.filter.as_deref())?;
    let limit = reading::limit(params.limit, Some(&filter), 0)?;
    let OfEvent { room_id, event_id } = path;
    let read = || {
        let (event_id, filter) = (event_id.clone(), filter.clone());
        let look = move |open: &mut OpenRoom<'_>| timeline::context(open, &event_id, limit, &filter);
        rooms.open_for_events(&session, &room_id, look)
    };
    let mut found = read().await?;
    if let Some(gap) = &found.gap
        && backfill.fill(&room_id, gap).await? == Filled::Progress
    {
        found = read().await?;
    }
    Ok(RawJson(format!(
        "{{\"start\":\"{}\",\"end\":\"{}\",\"event\":{},\"events_before\":{},\"events_after\":{},\"state\":{}}}",
        found.start, found.end, found.event, found.before, found.after, found.state
    )))
}
