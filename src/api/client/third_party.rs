//! `GET /thirdparty/protocols`.

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{accounts::Session, api::extract::Json};

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/thirdparty/protocols", get(protocols))
}

/// `GET /thirdparty/protocols`: no application service bridges any.
async fn protocols(_: Session) -> Json<Value> {
    Json(json!({}))
}
