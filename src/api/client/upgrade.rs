//! `POST /rooms/{roomId}/upgrade`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{authentication::Active, state::ClientState};
use crate::{
    accounts::{Rate, RateLimits},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    rooms::{
        create::MAX_INVITES,
        upgrade::{UpgradeError, Upgrades},
    },
};

/// The ways in which a request is wrong before the room is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is not a user id")]
    NoUser(String),
    #[error("more than {MAX_INVITES} additional creators")]
    TooMany,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoUser(_) | Error::TooMany => Self::invalid_param(error.to_string()),
        }
    }
}

impl From<UpgradeError> for ApiError {
    fn from(error: UpgradeError) -> Self {
        let text = error.to_string();
        match error {
            UpgradeError::UnknownRoom => Self::not_found(text),
            UpgradeError::UnsupportedVersion(_) => Self::bad_request("M_UNSUPPORTED_ROOM_VERSION", text),
            UpgradeError::Group | UpgradeError::Forbidden(_) => Self::forbidden(text),
            UpgradeError::Append(error) => error.into(),
            UpgradeError::Store(error) => error.into(),
        }
    }
}

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/upgrade", post(upgrade))
}

#[derive(Deserialize)]
struct Body {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<String>,
}

#[derive(Serialize)]
struct Answer {
    replacement_room: OwnedRoomId,
}

/// `POST /rooms/{roomId}/upgrade`
async fn upgrade(
    Active(session): Active,
    State(upgrades): State<Arc<Upgrades>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomId>,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, ApiError> {
    limits.check(Rate::CreateRoom, session.user)?;
    if body.additional_creators.len() > MAX_INVITES {
        return Err(Error::TooMany.into());
    }
    let user = |user: String| UserId::parse(&user).map_err(|_| Error::NoUser(user));
    let creators: Vec<OwnedUserId> = body.additional_creators.into_iter().map(user).collect::<Result<_, _>>()?;
    let replacement_room = upgrades.upgrade(&session, &room, &body.new_version, creators).await?;
    Ok(Json(Answer { replacement_room }))
}
