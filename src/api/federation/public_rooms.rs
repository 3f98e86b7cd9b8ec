//! `GET` and `POST /publicRooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};

use super::{
    authentication::{Signed, SignedEmpty},
    state::FederationState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Json, Query},
        public_rooms::{Answer, Page, Search},
    },
    config::Config,
    rooms::directory::Directory,
};

/// The ways in which the directory is closed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("This server does not show its directory to others")]
    Closed,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::forbidden(error.to_string()),
        }
    }
}

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/publicRooms", get(public_rooms).post(search))
}

fn check_open(config: &Config) -> Result<(), Error> {
    if config.federation.public_rooms { Ok(()) } else { Err(Error::Closed) }
}

/// `GET /publicRooms`
async fn public_rooms(
    State(config): State<Arc<Config>>,
    State(directory): State<Arc<Directory>>,
    Query(page): Query<Page>,
    _: SignedEmpty,
) -> Result<Json<Answer>, ApiError> {
    check_open(&config)?;
    Ok(Json(directory.page(page.query()?).await?.into()))
}

/// `POST /publicRooms`
async fn search(
    State(config): State<Arc<Config>>,
    State(directory): State<Arc<Directory>>,
    Signed { body, .. }: Signed<Search>,
) -> Result<Json<Answer>, ApiError> {
    check_open(&config)?;
    Ok(Json(directory.page(body.query()?).await?.into()))
}
