//! `GET /rooms/{roomId}/relations/{eventId}` and its longer forms.

use std::{fmt::Write as _, sync::Arc};

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::{
    reading::{self, BadParam, Dir, RawJson},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    rooms::{
        access::ReadError,
        children::{self, Asked, MAX_LEVELS},
        reading::Reading,
        timeline::Direction,
    },
};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum RelationsError {
    #[error(transparent)]
    Param(#[from] BadParam),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<RelationsError> for ApiError {
    fn from(error: RelationsError) -> Self {
        match error {
            RelationsError::Param(error) => error.into(),
            RelationsError::Read(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v1`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/rooms/{room_id}/relations/{event_id}", get(relations))
        .route("/rooms/{room_id}/relations/{event_id}/{rel_type}", get(relations))
        .route("/rooms/{room_id}/relations/{event_id}/{rel_type}/{event_type}", get(relations))
}

#[derive(Deserialize)]
struct Parent {
    room_id: OwnedRoomId,
    event_id: OwnedEventId,
    rel_type: Option<String>,
    event_type: Option<String>,
}

#[derive(Deserialize)]
struct Params {
    from: Option<String>,
    to: Option<String>,
    dir: Option<Dir>,
    limit: Option<i64>,
    #[serde(default)]
    recurse: bool,
}

/// `GET /rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
async fn relations(
    State(rooms): State<Arc<Reading>>,
    session: Session,
    Path(path): Path<Parent>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    Ok(RawJson(page(&rooms, &session, path, params).await?))
}

async fn page(rooms: &Reading, session: &Session, path: Parent, params: Params) -> Result<String, RelationsError> {
    let from = reading::token("from", params.from.as_deref())?;
    let to = reading::token("to", params.to.as_deref())?;
    let limit = reading::limit(params.limit, None, 1)?;
    let recurse = params.recurse;
    let look = rooms.open(session, &path.room_id, move |open| {
        let asked = Asked {
            rel_type: path.rel_type.as_deref(),
            event_type: path.event_type.as_deref(),
            recurse,
            from,
            to,
            direction: params.dir.map_or(Direction::Backwards, Direction::from),
            limit,
        };
        children::page(open, &path.event_id, &asked)
    });
    let (chunk, next) = look.await?;
    let mut body = format!("{{\"chunk\":{chunk}");
    // Writing to a String cannot fail; tokens hold nothing that JSON escapes.
    if let Some(next) = next {
        let _ = write!(body, ",\"next_batch\":\"{next}\"");
    }
    if let Some(from) = params.from.filter(|from| !from.is_empty()) {
        let _ = write!(body, ",\"prev_batch\":\"{from}\"");
    }
    if recurse {
        let _ = write!(body, ",\"recursion_depth\":{MAX_LEVELS}");
    }
    body.push('}');
    Ok(body)
}
