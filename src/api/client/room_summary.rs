//! `GET /room_summary/{roomIdOrAlias}` and `GET /rooms/{roomId}/hierarchy`.
//!
//! Of rooms that we are not in other servers are asked.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    routing::get,
};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, RoomAliasId, RoomId, ServerName};
use serde::Deserialize;

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    peers::hierarchy::RemoteRooms,
    rooms::{
        hierarchy::{Hierarchy, HierarchyError, HierarchyPage, HierarchyQuery},
        summary::OwnSummary,
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

/// Servers named by `via` that are looked at.
const MAX_VIA: usize = 10;

/// `via` of a query, which may stand there more than once.
fn via(query: &str) -> Vec<OwnedServerName> {
    let named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "via");
    named.filter_map(|(_, value)| ServerName::parse(&*value).ok()).take(MAX_VIA).collect()
}

/// `GET /room_summary/{roomIdOrAlias}`
async fn summary(
    session: Session,
    State(state): State<ClientState>,
    Path(room): Path<OwnedRoomOrAliasId>,
    RawQuery(query): RawQuery,
) -> Result<Json<OwnSummary>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let mut via = via(query.as_deref().unwrap_or_default());
    let room_id = match <&RoomAliasId>::try_from(room.as_str()) {
        Ok(alias) if alias.server_name() != state.config.server_name => {
            let found = state.remote_directory.resolve(alias).await?.ok_or(Error::NotFound)?;
            via.extend(found.servers.iter().take(MAX_VIA).cloned());
            Some(found.room_id.clone())
        }
        Ok(_) => None,
        Err(_) => RoomId::parse(room.as_str()).ok(),
    };
    let name = room_id.as_ref().map_or(room.as_str(), |id| id.as_str());
    if let Some(room_id) = &room_id
        && !state.summaries.is_resident(room_id).await?
        && let Some(told) = state.remote_rooms.summary(room_id, &via).await
    {
        let told = state.summaries.outside_for_user(&session, told).await?;
        return Ok(Json(told.ok_or(Error::NotFound)?));
    }
    let summary = state.summaries.for_user(&session, name).await?;
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
    State(remote): State<Arc<RemoteRooms>>,
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
    Ok(Json(remote.page(&hierarchy, &session, &room, query).await?))
}
