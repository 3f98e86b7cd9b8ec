//! `GET /query/directory`, `GET /query/profile`, and every other `GET /query/{queryType}`, of which there is none.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{authentication::SignedEmpty, state::FederationState};
use crate::{
    accounts::{FieldName, Profiles},
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    config::Config,
    rooms::aliases::Aliases,
};

/// The ways in which there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("The alias is not one of this server")]
    AliasNotOurs,
    #[error("The user is not one of this server")]
    UserNotOurs,
    #[error("User does not exist.")]
    NoUser,
    #[error("The user has no such profile field")]
    NoField,
    #[error("field is not the name of a profile field")]
    BadField,
    #[error("There are no queries of type {0:?}")]
    NoQuery(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::AliasNotOurs | Error::UserNotOurs | Error::BadField => Self::invalid_param(text),
            Error::NoUser | Error::NoField | Error::NoQuery(_) => Self::not_found(text),
        }
    }
}

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/query/directory", get(directory))
        .route("/query/profile", get(profile))
        .route("/query/{query_type}", get(other))
}

#[derive(Deserialize)]
struct OfAlias {
    room_alias: OwnedRoomAliasId,
}

#[derive(Serialize)]
struct Resolved {
    room_id: OwnedRoomId,
    servers: Vec<String>,
}

/// `GET /query/directory`
async fn directory(
    State(config): State<Arc<Config>>,
    State(aliases): State<Arc<Aliases>>,
    Query(of): Query<OfAlias>,
    _: SignedEmpty,
) -> Result<Json<Resolved>, ApiError> {
    if of.room_alias.server_name() != config.server_name {
        return Err(Error::AliasNotOurs.into());
    }
    let resolved = aliases.resolve(&of.room_alias).await?;
    Ok(Json(Resolved { room_id: resolved.room_id, servers: resolved.servers }))
}

#[derive(Deserialize)]
struct OfUser {
    user_id: OwnedUserId,
    field: Option<String>,
}

/// `GET /query/profile`
async fn profile(
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    Query(of): Query<OfUser>,
    _: SignedEmpty,
) -> Result<Json<Map<String, Value>>, ApiError> {
    if of.user_id.server_name() != config.server_name {
        return Err(Error::UserNotOurs.into());
    }
    let Some(name) = of.field else {
        let all = profiles.all(of.user_id).await?;
        return Ok(Json(all.ok_or(Error::NoUser)?));
    };
    let field = FieldName::parse(&name).map_err(|_| Error::BadField)?;
    let value = profiles.get(of.user_id, field).await?.ok_or(Error::NoField)?;
    Ok(Json(Map::from_iter([(name, value)])))
}

/// `GET /query/{queryType}`
async fn other(Path(query_type): Path<String>, _: SignedEmpty) -> Result<Json<Value>, ApiError> {
    Err(Error::NoQuery(query_type).into())
}
