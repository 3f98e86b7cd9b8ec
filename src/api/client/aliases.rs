//! `PUT`, `GET` and `DELETE /directory/room/{roomAlias}`, and `GET /rooms/{roomId}/aliases`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{authentication::Active, state::ClientState};
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    config::Config,
    peers::directory::RemoteDirectory,
    rooms::aliases::{AliasError, Aliases},
};

/// The ways in which a request is wrong before the alias is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is not a room id")]
    NoRoom(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoRoom(_) => Self::invalid_param(error.to_string()),
        }
    }
}

impl From<AliasError> for ApiError {
    fn from(error: AliasError) -> Self {
        let text = error.to_string();
        match error {
            AliasError::NotOurs(_) => Self::invalid_param(text),
            AliasError::InUse(_) => Self::new(StatusCode::CONFLICT, "M_UNKNOWN", text),
            AliasError::Unknown(_) | AliasError::UnknownRoom => Self::not_found(text),
            AliasError::Forbidden(_) => Self::forbidden(text),
            AliasError::Append(error) => error.into(),
            AliasError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/directory/room/{room_alias}", get(resolve).put(create).delete(delete))
        .route("/rooms/{room_id}/aliases", get(of_room))
}

#[derive(Deserialize)]
struct Target {
    room_id: String,
}

#[derive(Serialize)]
struct Resolved {
    room_id: OwnedRoomId,
    servers: Vec<String>,
}

#[derive(Serialize)]
struct RoomAliases {
    aliases: Vec<OwnedRoomAliasId>,
}

/// `PUT /directory/room/{roomAlias}`
async fn create(
    Active(session): Active,
    State(aliases): State<Arc<Aliases>>,
    State(limits): State<Arc<RateLimits>>,
    Path(alias): Path<OwnedRoomAliasId>,
    Json(body): Json<Target>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    let room = RoomId::parse(&body.room_id).map_err(|_| Error::NoRoom(body.room_id))?;
    aliases.create(&session, &alias, &room).await?;
    Ok(Json(json!({})))
}

/// `GET /directory/room/{roomAlias}`. Needs no token.
async fn resolve(
    State(config): State<Arc<Config>>,
    State(aliases): State<Arc<Aliases>>,
    State(remote): State<Arc<RemoteDirectory>>,
    Path(alias): Path<OwnedRoomAliasId>,
) -> Result<Json<Resolved>, ApiError> {
    if alias.server_name() == config.server_name {
        let resolved = aliases.resolve(&alias).await?;
        return Ok(Json(Resolved { room_id: resolved.room_id, servers: resolved.servers }));
    }
    let found = remote.resolve(&alias).await?.ok_or(AliasError::Unknown(alias))?;
    let servers = found.servers.iter().map(ToString::to_string).collect();
    Ok(Json(Resolved { room_id: found.room_id.clone(), servers }))
}

/// `DELETE /directory/room/{roomAlias}`
async fn delete(
    Active(session): Active,
    State(aliases): State<Arc<Aliases>>,
    State(limits): State<Arc<RateLimits>>,
    Path(alias): Path<OwnedRoomAliasId>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    aliases.delete(&session, &alias).await?;
    Ok(Json(json!({})))
}

/// `GET /rooms/{roomId}/aliases`
async fn of_room(
    session: Session,
    State(aliases): State<Arc<Aliases>>,
    Path(room): Path<OwnedRoomId>,
) -> Result<Json<RoomAliases>, ApiError> {
    Ok(Json(RoomAliases { aliases: aliases.of_room(&session, &room).await? }))
}
