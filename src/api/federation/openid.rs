//! `GET /openid/userinfo`: needs no signature, as not only servers ask.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use super::state::FederationState;
use crate::{
    accounts::Sessions,
    api::{
        error::ApiError,
        extract::{Json, Query},
    },
};

/// The ways in which nobody is named.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Access token unknown or expired")]
    UnknownToken,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownToken => Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", error.to_string()),
        }
    }
}

/// The route under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/openid/userinfo", get(userinfo))
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Serialize)]
struct UserInfo {
    sub: OwnedUserId,
}

/// `GET /openid/userinfo`
async fn userinfo(
    State(sessions): State<Arc<Sessions>>,
    Query(token): Query<Token>,
) -> Result<Json<UserInfo>, ApiError> {
    let sub = sessions.openid_user(&token.access_token).await?.ok_or(Error::UnknownToken)?;
    Ok(Json(UserInfo { sub }))
}
