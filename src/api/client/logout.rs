//! `POST /logout`, `POST /logout/all`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use serde_json::{Value, json};

use super::{authentication::SessionToEnd, state::ClientState};
use crate::{
    accounts::Sessions,
    api::{error::ApiError, extract::Json},
};

/// The routes under `/_matrix/client/{version}`. They fail in no way of their own.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/logout", post(logout)).route("/logout/all", post(logout_all))
}

/// `POST /logout`
async fn logout(
    State(sessions): State<Arc<Sessions>>,
    SessionToEnd(session): SessionToEnd,
) -> Result<Json<Value>, ApiError> {
    sessions.logout(&session).await?;
    Ok(Json(json!({})))
}

/// `POST /logout/all`
async fn logout_all(
    State(sessions): State<Arc<Sessions>>,
    SessionToEnd(session): SessionToEnd,
) -> Result<Json<Value>, ApiError> {
    sessions.logout_all(&session).await?;
    Ok(Json(json!({})))
}
