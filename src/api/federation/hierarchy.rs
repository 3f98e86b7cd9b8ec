//! `GET /hierarchy/{roomId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{authentication::SignedEmpty, serving::InRoom, state::FederationState};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    rooms::hierarchy::{Hierarchy, ServerHierarchy},
};

/// The ways in which nothing is told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Room does not exist.")]
    NotFound,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(error.to_string()),
        }
    }
}

/// The route under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/hierarchy/{room_id}", get(hierarchy))
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    suggested_only: bool,
}

/// `GET /hierarchy/{roomId}`
async fn hierarchy(
    State(hierarchy): State<Arc<Hierarchy>>,
    Path(path): Path<InRoom>,
    Query(which): Query<Which>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Json<ServerHierarchy>, ApiError> {
    let told = hierarchy.for_server(&origin, &path.room_id, which.suggested_only).await?;
    Ok(Json(told.ok_or(Error::NotFound)?))
}
