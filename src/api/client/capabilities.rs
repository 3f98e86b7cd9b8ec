//! `GET /capabilities`.

use axum::{Router, extract::State, routing::get};
use linkim_federation::STABLE_VERSIONS;
use serde_json::{Map, Value, json};

use super::{authentication::SessionOrGuest, state::ClientState};
use crate::{accounts::Medium, api::extract::Json};

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/capabilities", get(capabilities))
}

/// `GET /capabilities`
async fn capabilities(State(state): State<ClientState>, SessionOrGuest(session): SessionOrGuest) -> Json<Value> {
    let stable = |version: &str| (version.to_owned(), "stable".into());
    let available: Map<String, Value> = STABLE_VERSIONS.into_iter().map(stable).collect();
    let person = !session.guest;
    let changes = [Medium::Email, Medium::Msisdn].into_iter().any(|medium| state.token_requests.reaches(medium));
    let mut profile_fields = json!({ "enabled": true });
    if session.guest {
        profile_fields["allowed"] = json!(["displayname"]);
    }
    let mut answer = json!({ "capabilities": {
        "m.room_versions": {
            "default": state.config.rooms.default_version.as_str(),
            "available": available,
        },
        "m.change_password": { "enabled": person },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": person },
        "m.profile_fields": profile_fields,
        "m.3pid_changes": { "enabled": person && changes },
        "m.get_login_token": { "enabled": person },
        "m.forget_forced_upon_leave": { "enabled": false },
    } });
    // To be left out where neither can be done.
    if session.admin {
        answer["capabilities"]["m.account_moderation"] = json!({ "suspend": true, "lock": true });
    }
    Json(answer)
}
