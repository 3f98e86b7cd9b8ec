//! `GET /voip/turnServer`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde_json::{Value, json};

use super::{authentication::SessionOrGuest, state::ClientState};
use crate::{
    accounts::TurnServer,
    api::{error::ApiError, extract::Json},
};

/// The ways in which there is no TURN server.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("This server has no TURN server")]
    None,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::None => Self::not_found(error.to_string()),
        }
    }
}

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/voip/turnServer", get(turn_server))
}

/// `GET /voip/turnServer`
async fn turn_server(
    SessionOrGuest(session): SessionOrGuest,
    State(turn): State<Arc<TurnServer>>,
) -> Result<Json<Value>, ApiError> {
    let access = turn.access(&session.user_id).ok_or(Error::None)?;
    Ok(Json(json!({
        "username": access.username,
        "password": access.password,
        "uris": access.uris,
        "ttl": access.ttl_s,
    })))
}
