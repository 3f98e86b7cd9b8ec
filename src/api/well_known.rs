//! `/.well-known/matrix/`: where this server is to be found, as the configuration says.
//!
//! Source: Client-Server API, "Well-known URIs"; Server-Server API, "Resolving server names".

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, State},
    routing::get,
};
use serde_json::{Value, json};

use super::{error::ApiError, extract::Json};
use crate::config::Config;

/// The routes from the root.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Config>: FromRef<S>,
{
    Router::new()
        .route("/.well-known/matrix/server", get(server))
        .route("/.well-known/matrix/client", get(client))
        .route("/.well-known/matrix/support", get(support))
}

/// 404: the configuration says nothing of this.
fn not_configured() -> ApiError {
    ApiError::not_found("This server has no such information")
}

/// What a client has to know of this server, if the configuration says it.
pub(super) fn client_information(config: &Config) -> Option<Value> {
    let base_url = config.client_base_url()?.as_str();
    Some(json!({ "m.homeserver": { "base_url": base_url } }))
}

/// `GET /.well-known/matrix/server`
async fn server(State(config): State<Arc<Config>>) -> Result<Json<Value>, ApiError> {
    let server = config.well_known.server.as_ref().ok_or_else(not_configured)?;
    Ok(Json(json!({ "m.server": server })))
}

/// `GET /.well-known/matrix/client`
async fn client(State(config): State<Arc<Config>>) -> Result<Json<Value>, ApiError> {
    client_information(&config).map(Json).ok_or_else(not_configured)
}

/// `GET /.well-known/matrix/support`
async fn support(State(config): State<Arc<Config>>) -> Result<Json<Value>, ApiError> {
    let admins = &config.well_known.support_admins;
    if admins.is_empty() {
        return Err(not_configured());
    }
    let contacts: Vec<Value> =
        admins.iter().map(|admin| json!({ "matrix_id": admin, "role": "m.role.admin" })).collect();
    Ok(Json(json!({ "contacts": contacts })))
}
