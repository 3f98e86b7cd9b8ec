//! `GET /_matrix/federation/v1/version`: what this server is.

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::state::FederationState;
use crate::api::extract::Json;

/// The routes, from the root.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/_matrix/federation/v1/version", get(version))
}

/// Asks for no signature: it is how operators see whether a server can be reached.
async fn version() -> Json<Value> {
    Json(json!({ "server": { "name": "LinkIM", "version": env!("CARGO_PKG_VERSION") } }))
}
