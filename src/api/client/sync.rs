//! `GET /sync`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{authentication::SessionOrGuest, reading::RawJson, state::ClientState};
use crate::{
    accounts::Sessions,
    api::{error::ApiError, extract::Query},
    presence::State as PresenceState,
    sync::v3::{SyncError, SyncRequest, V3},
};

impl From<SyncError> for ApiError {
    fn from(error: SyncError) -> Self {
        let text = error.to_string();
        match error {
            SyncError::BadToken | SyncError::BadFilter(_) | SyncError::UnknownFilter => Self::invalid_param(text),
            SyncError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`. Guests may sync.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/sync", get(sync))
}

#[derive(Deserialize)]
struct Params {
    filter: Option<String>,
    since: Option<String>,
    #[serde(default)]
    full_state: bool,
    set_presence: Option<PresenceState>,
    /// In milliseconds; above ten minutes counts as ten minutes.
    #[serde(default)]
    timeout: u64,
    #[serde(default)]
    use_state_after: bool,
    /// `use_state_after` before it was in the spec (MSC4222).
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    use_state_after_unstable: bool,
}

/// `GET /sync`
async fn sync(
    State(v3): State<Arc<V3>>,
    State(sessions): State<Arc<Sessions>>,
    SessionOrGuest(session): SessionOrGuest,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let state_after = match (params.use_state_after, params.use_state_after_unstable) {
        (true, _) => Some("state_after"),
        (_, true) => Some("org.matrix.msc4222.state_after"),
        _ => None,
    };
    let request = SyncRequest {
        filter: params.filter,
        since: params.since,
        full_state: params.full_state,
        timeout: Duration::from_millis(params.timeout),
        state_after,
        set_presence: params.set_presence,
    };
    let answer = v3.sync(&session, request).await?;
    // The session may have ended during the wait; what happened since is none of its business.
    sessions.still_stands(&session).await?;
    Ok(RawJson(answer))
}
