//! `POST /user/{userId}/openid/request_token`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::OwnedUserId;
use serde_json::{Map, Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session, Sessions},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path},
    },
    config::Config,
};

/// The ways in which no token is given.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("You can only ask for a token of your own")]
    NotYours,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotYours => Self::forbidden(error.to_string()),
        }
    }
}

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/user/{user_id}/openid/request_token", post(request_token))
}

/// `POST /user/{userId}/openid/request_token`
async fn request_token(
    session: Session,
    State(sessions): State<Arc<Sessions>>,
    State(limits): State<Arc<RateLimits>>,
    State(config): State<Arc<Config>>,
    Path(user_id): Path<OwnedUserId>,
    OptionalJson(_): OptionalJson<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    if session.user_id != user_id {
        return Err(Error::NotYours.into());
    }
    limits.check(Rate::Settings, session.user)?;
    let (access_token, expires_in) = sessions.openid_token(&session).await?;
    Ok(Json(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "matrix_server_name": config.server_name,
        "expires_in": expires_in,
    })))
}
