//! `/profile/{userId}`, `/profile/{userId}/{keyName}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedUserId;
use serde_json::{Map, Value, json};

use super::{
    authentication::{ActiveOrGuest, guest_forbidden},
    state::ClientState,
};
use crate::{
    accounts::{FieldName, FieldRefused, Limited, ProfileError, Profiles, Rate, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    config::Config,
    peers::profiles::RemoteProfiles,
    store::StoreError,
};

/// The ways in which a request about a profile fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Profile not found")]
    NoProfile,
    #[error("The user has no such profile field")]
    NoField,
    #[error("You can only change your own profile")]
    NotYours,
    #[error("Guests can only change their display name")]
    Guest,
    #[error("The body has no property of the field's name")]
    MissingField,
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<FieldRefused> for Error {
    fn from(refused: FieldRefused) -> Self {
        Self::Profile(refused.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Profile(error.into())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoProfile | Error::NoField => Self::not_found(text),
            Error::NotYours => Self::forbidden(text),
            Error::Guest => guest_forbidden(),
            Error::MissingField => Self::bad_request("M_MISSING_PARAM", text),
            Error::Limited(limited) => limited.into(),
            Error::Profile(ProfileError::TooLarge) => Self::bad_request("M_PROFILE_TOO_LARGE", text),
            Error::Profile(ProfileError::Store(error)) => error.into(),
            Error::Profile(ProfileError::Field(refused)) => match refused {
                FieldRefused::NameTooLong => Self::bad_request("M_KEY_TOO_LARGE", text),
                FieldRefused::Type => Self::bad_request("M_BAD_JSON", text),
                FieldRefused::Name | FieldRefused::Avatar | FieldRefused::DisplaynameTooLong => {
                    Self::invalid_param(text)
                }
            },
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/profile/{user_id}", get(whole))
        .route("/profile/{user_id}/{key_name}", get(field).put(set).delete(delete))
}

/// `GET /profile/{userId}`. Needs no token.
async fn whole(
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    State(remote): State<Arc<RemoteProfiles>>,
    Path(user_id): Path<OwnedUserId>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let found = match user_id.server_name() == config.server_name {
        true => profiles.all(user_id).await?,
        false => remote.all(&user_id).await?.map(|profile| Map::clone(&profile)),
    };
    Ok(Json(found.ok_or(Error::NoProfile)?))
}

/// `GET /profile/{userId}/{keyName}`. Needs no token.
async fn field(
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    State(remote): State<Arc<RemoteProfiles>>,
    Path((user_id, name)): Path<(OwnedUserId, String)>,
) -> Result<Json<Value>, ApiError> {
    let field = FieldName::parse(&name).map_err(Error::from)?;
    let value = match user_id.server_name() == config.server_name {
        true => profiles.get(user_id, field).await?,
        false => remote.all(&user_id).await?.and_then(|profile| profile.get(&name).cloned()),
    };
    Ok(Json(json!({ name: value.ok_or(Error::NoField)? })))
}

/// `PUT /profile/{userId}/{keyName}`
async fn set(
    State(state): State<ClientState>,
    ActiveOrGuest(session): ActiveOrGuest,
    Path((user_id, name)): Path<(OwnedUserId, String)>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Value>, ApiError> {
    let field = change(&state, &session, &user_id, &name)?;
    let value = body.get(&name).ok_or(Error::MissingField)?;
    state.profiles.set(session.user, field, value).await.map_err(Error::from)?;
    Ok(Json(json!({})))
}

/// `DELETE /profile/{userId}/{keyName}`
async fn delete(
    State(state): State<ClientState>,
    ActiveOrGuest(session): ActiveOrGuest,
    Path((user_id, name)): Path<(OwnedUserId, String)>,
) -> Result<Json<Value>, ApiError> {
    let field = change(&state, &session, &user_id, &name)?;
    state.profiles.delete(session.user, field).await?;
    Ok(Json(json!({})))
}

/// The field, if this session may change it now.
fn change(state: &ClientState, session: &Session, user_id: &OwnedUserId, name: &str) -> Result<FieldName, Error> {
    let field = FieldName::parse(name)?;
    if *user_id != session.user_id {
        return Err(Error::NotYours);
    }
    if session.guest && name != "displayname" {
        return Err(Error::Guest);
    }
    state.limits.check(Rate::Profile, session.user)?;
    Ok(field)
}
