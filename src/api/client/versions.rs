//! `GET /_matrix/client/versions`, and what a client asks before it logs in.

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::state::ClientState;
use crate::api::{
    error::{ApiError, unknown_path},
    extract::Json,
};

/// The versions of the client-server API that this server speaks.
const VERSIONS: [&str; 27] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4",
    "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17",
    "v1.18", "v1.19",
];

/// The routes under `/_matrix/client`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/versions", get(versions)).route("/v1/auth_metadata", get(auth_metadata))
}

/// `GET /_matrix/client/versions`
async fn versions() -> Json<Value> {
    Json(json!({ "versions": VERSIONS, "unstable_features": {} }))
}

/// `GET /_matrix/client/v1/auth_metadata`: 404 `M_UNRECOGNIZED` says that this server has the legacy authentication API alone
/// (Client-Server API, "Server metadata discovery").
async fn auth_metadata() -> ApiError {
    unknown_path().await
}
