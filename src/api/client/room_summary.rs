//! `GET /room_summary/{roomIdOrAlias}` and `GET /rooms/{roomId}/hierarchy`.
//!
//! Rooms that we do not have cannot be asked of other servers yet: `via` has no effect.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId};
use serde::Deserialize;

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    rooms::{
        hierarchy::{Hierarchy, HierarchyError, HierarchyPage, HierarchyQuery},
        summary::{OwnSummary, Summaries},
    },
};

/// The ways in which a request fails before a tree is walked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no such room")]
    NotFound,
    #[error("limit must be greater than zero")]
    Limit,
    #[error("max_depth is negative")]
    Depth,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound => Self::not_found(text),
            Error::Limit | Error::Depth => Self::invalid_param(text),
        }
    }
}

impl From<HierarchyError> for ApiError {
    fn from(error: HierarchyError) -> Self {
        let text = error.to_string();
        match error {
            HierarchyError::Forbidden => Self::forbidden(text),
            HierarchyError::BadToken(_) => Self::invalid_param(text),
            HierarchyError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v1`.
pub(super) fn v1_routes() -> Router<ClientState> {
    Router::new()
        .route("/room_summary/{room_id_or_alias}", get(summary))
        .route("/rooms/{room_id}/hierarchy", get(hierarchy))
}

/// The routes under `/_matrix/client/unstable`: the summary by the names that it had as MSC3266.
pub(super) fn unstable_routes() -> Router<ClientState> {
    Router::new()
        .route("/im.nheko.summary/summary/{room_id_or_alias}", get(summary))
        .route("/im.nheko.summary/rooms/{room_id_or_alias}/summary", get(summary))
}

/// `GET /room_summary/{roomIdOrAlias}`
async fn summary(
    session: Session,
    State(summaries): State<Arc<Summaries>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomOrAliasId>,
) -> Result<Json<OwnSummary>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    let summary = summaries.for_user(&session, room.as_str()).await?;
    Ok(Json(summary.ok_or(Error::NotFound)?))
}

#[derive(Deserialize)]
struct Walk {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<i64>,
    max_depth: Option<i64>,
    from: Option<String>,
}

/// `GET /rooms/{roomId}/hierarchy`
async fn hierarchy(
    session: Session,
    State(hierarchy): State<Arc<Hierarchy>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomId>,
    Query(walk): Query<Walk>,
) -> Result<Json<HierarchyPage>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    let limit = match walk.limit {
        Some(limit) if limit <= 0 => return Err(Error::Limit.into()),
        limit => limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    let max_depth = match walk.max_depth {
        Some(depth) if depth < 0 => return Err(Error::Depth.into()),
        depth => depth.map(|depth| u32::try_from(depth).unwrap_or(u32::MAX)),
    };
    let query = HierarchyQuery { suggested_only: walk.suggested_only, limit, max_depth, from: walk.from };
    Ok(Json(hierarchy.page(&session, &room, query).await?))
}
