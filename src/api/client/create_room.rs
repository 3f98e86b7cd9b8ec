//! `POST /createRoom`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use ruma::{CanonicalJsonObject, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{authentication::Active, state::ClientState};
use crate::{
    accounts::{Rate, RateLimits},
    api::{error::ApiError, extract::Json},
    config::Config,
    rooms::{
        create::{CreateError, CreateRequest, InitialState, RoomCreation},
        membership::Membership,
        presets::{Preset, Visibility},
    },
};

/// The ways in which a room is not made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is not a user id")]
    NoUser(String),
    #[error("inviting by e-mail address or telephone number needs an identity server, and this server trusts none")]
    ThirdParty,
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoUser(_) => Self::invalid_param(text),
            Error::ThirdParty => Self::new(StatusCode::FORBIDDEN, "M_SERVER_NOT_TRUSTED", text),
            Error::Create(error) => match error {
                CreateError::UnsupportedVersion(_) => Self::bad_request("M_UNSUPPORTED_ROOM_VERSION", text),
                CreateError::Invalid(_) => Self::invalid_param(text),
                CreateError::AliasInUse(_) => Self::bad_request("M_ROOM_IN_USE", text),
                CreateError::InvalidState(_) => Self::bad_request("M_INVALID_ROOM_STATE", text),
                CreateError::RemoteUser(_) | CreateError::Refused(_) => Self::forbidden(text),
                CreateError::InviteBlocked(_) => Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", text),
                CreateError::Content(error) => error.into(),
                CreateError::Append(error) => error.into(),
                CreateError::Store(error) => error.into(),
            },
        }
    }
}

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/createRoom", post(create_room))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum VisibilityName {
    Public,
    Private,
}

#[derive(Deserialize)]
enum PresetName {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "public_chat")]
    Public,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
}

#[derive(Deserialize)]
struct StateEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state_key: String,
    content: CanonicalJsonObject,
}

#[derive(Deserialize)]
struct Body {
    visibility: Option<VisibilityName>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<String>,
    #[serde(default)]
    invite_3pid: Vec<Value>,
    room_version: Option<String>,
    creation_content: Option<CanonicalJsonObject>,
    #[serde(default)]
    initial_state: Vec<StateEvent>,
    preset: Option<PresetName>,
    #[serde(default)]
    is_direct: bool,
    power_level_content_override: Option<CanonicalJsonObject>,
}

impl Body {
    fn request(self) -> Result<CreateRequest, Error> {
        if !self.invite_3pid.is_empty() {
            return Err(Error::ThirdParty);
        }
        let user = |user: String| UserId::parse(&user).map_err(|_| Error::NoUser(user));
        Ok(CreateRequest {
            visibility: match self.visibility {
                Some(VisibilityName::Public) => Visibility::Public,
                Some(VisibilityName::Private) | None => Visibility::Private,
            },
            room_alias_name: self.room_alias_name,
            name: self.name,
            topic: self.topic,
            invite: self.invite.into_iter().map(user).collect::<Result<Vec<OwnedUserId>, _>>()?,
            room_version: self.room_version,
            creation_content: self.creation_content.unwrap_or_default(),
            initial_state: self
                .initial_state
                .into_iter()
                .map(|e| InitialState { kind: e.kind, state_key: e.state_key, content: e.content })
                .collect(),
            preset: self.preset.map(|preset| match preset {
                PresetName::Private => Preset::PrivateChat,
                PresetName::Public => Preset::PublicChat,
                PresetName::TrustedPrivate => Preset::TrustedPrivateChat,
            }),
            is_direct: self.is_direct,
            power_level_content_override: self.power_level_content_override.unwrap_or_default(),
            invite_content: CanonicalJsonObject::new(),
        })
    }
}

#[derive(Serialize)]
struct Answer {
    room_id: OwnedRoomId,
}

/// `POST /createRoom`
async fn create_room(
    Active(session): Active,
    State(rooms): State<Arc<RoomCreation>>,
    State(membership): State<Arc<Membership>>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, ApiError> {
    limits.check(Rate::CreateRoom, session.user)?;
    let request = body.request()?;
    let is_direct = request.is_direct;
    let elsewhere: BTreeSet<_> =
        request.invite.iter().filter(|user| user.server_name() != config.server_name).cloned().collect();
    let room_id = rooms.create(&session.user_id, request).await.map_err(Error::from)?;
    if !elsewhere.is_empty() {
        membership.invite_elsewhere(&session, &room_id, elsewhere.into_iter().collect(), is_direct).await;
    }
    Ok(Json(Answer { room_id }))
}
