//! `POST /refresh`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde::{Deserialize, Serialize};

use super::{register::limit, state::ClientState};
use crate::{
    accounts::{Rate, RateLimits, RefreshError, Sessions},
    api::{client_ip::ClientIp, error::ApiError, extract::Json},
};

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        let unauthorized = |errcode| Self::new(StatusCode::UNAUTHORIZED, errcode, error.to_string());
        match error {
            RefreshError::Unknown => unauthorized("M_UNKNOWN_TOKEN").with("soft_logout", false),
            RefreshError::Locked => unauthorized("M_USER_LOCKED").with("soft_logout", true),
            RefreshError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/refresh", post(refresh))
}

#[derive(Deserialize)]
struct Body {
    refresh_token: String,
}

#[derive(Serialize)]
struct Answer {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<i64>,
}

/// `POST /refresh`
async fn refresh(
    State(sessions): State<Arc<Sessions>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, ApiError> {
    limit(&limits, Rate::Login, ip)?;
    let tokens = sessions.refresh(&body.refresh_token).await?;
    Ok(Json(Answer {
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        expires_in_ms: tokens.expires_in_ms,
    }))
}
