//! `POST /rooms/{roomId}/join`, `invite`, `leave`, `kick`, `ban`, `unban`, `forget`; `POST /join` and `POST /knock` by room id
//! or alias.
//!
//! A room that we do not have is not joined yet through other servers: `via` and `server_name` have no effect.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{MethodRouter, post},
};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomAliasId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    authentication::{Active, ActiveOrGuest, SessionOrGuest},
    state::ClientState,
};
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path},
    },
    rooms::membership::{Change, Membership, MembershipError},
};

/// The ways in which a request names nobody.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("user_id is missing")]
    MissingUser,
    #[error("{0:?} is not a user id")]
    NoUser(String),
    #[error("inviting by e-mail address or telephone number needs an identity server, and this server trusts none")]
    ThirdParty,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::MissingUser => Self::bad_request("M_MISSING_PARAM", text),
            Error::NoUser(_) => Self::invalid_param(text),
            Error::ThirdParty => Self::new(StatusCode::FORBIDDEN, "M_SERVER_NOT_TRUSTED", text),
        }
    }
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        let text = error.to_string();
        match error {
            MembershipError::UnknownRoom | MembershipError::UnknownAlias(_) => Self::not_found(text),
            MembershipError::Forbidden(_) | MembershipError::RemoteUser(_) => Self::forbidden(text),
            MembershipError::BadState(_) => Self::new(StatusCode::FORBIDDEN, "M_BAD_STATE", text),
            MembershipError::InviteBlocked(_) => Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", text),
            MembershipError::NoGuests => Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", text),
            MembershipError::Malformed(_) => Self::bad_request("M_BAD_JSON", text),
            MembershipError::NotLeft => Self::bad_request("M_UNKNOWN", text),
            MembershipError::Append(error) => error.into(),
            MembershipError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/join/{room_id_or_alias}", post(join_by_alias))
        .route("/knock/{room_id_or_alias}", post(knock))
        .route("/rooms/{room_id}/join", post(join))
        .route("/rooms/{room_id}/leave", post(leave))
        .route("/rooms/{room_id}/forget", post(forget))
        .route("/rooms/{room_id}/invite", on_user(Rate::Invite, Change::Invite))
        .route("/rooms/{room_id}/kick", on_user(Rate::State, Change::Kick))
        .route("/rooms/{room_id}/ban", on_user(Rate::State, Change::Ban))
        .route("/rooms/{room_id}/unban", on_user(Rate::State, Change::Unban))
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    user_id: Option<String>,
    reason: Option<String>,
    /// An invitation by third-party id has these instead of `user_id`.
    medium: Option<Value>,
}

impl Target {
    fn user(&self) -> Result<OwnedUserId, Error> {
        match &self.user_id {
            Some(user) => UserId::parse(user).map_err(|_| Error::NoUser(user.clone())),
            None if self.medium.is_some() => Err(Error::ThirdParty),
            None => Err(Error::MissingUser),
        }
    }
}

#[derive(Serialize)]
struct Room {
    room_id: OwnedRoomId,
}

/// The room that a path names by id or alias.
async fn resolve(membership: &Membership, name: &str) -> Result<OwnedRoomId, ApiError> {
    if let Ok(alias) = <&RoomAliasId>::try_from(name) {
        return Ok(membership.resolve(alias).await?);
    }
    RoomId::parse(name).map_err(|_| ApiError::invalid_param("neither a room id nor an alias"))
}

/// `POST /join/{roomIdOrAlias}`
async fn join_by_alias(
    Active(session): Active,
    State(membership): State<Arc<Membership>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomOrAliasId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    let room_id = resolve(&membership, room.as_str()).await?;
    membership.join(&session, &room_id, body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /rooms/{roomId}/join`
async fn join(
    ActiveOrGuest(session): ActiveOrGuest,
    State(membership): State<Arc<Membership>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<OwnedRoomId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    membership.join(&session, &room_id, body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /knock/{roomIdOrAlias}`
async fn knock(
    Active(session): Active,
    State(membership): State<Arc<Membership>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomOrAliasId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    let room_id = resolve(&membership, room.as_str()).await?;
    membership.knock(&session, &room_id, body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /rooms/{roomId}/leave`
async fn leave(
    SessionOrGuest(session): SessionOrGuest,
    State(membership): State<Arc<Membership>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<OwnedRoomId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::State, session.user)?;
    membership.leave(&session, &room_id, body.reason).await?;
    Ok(Json(json!({})))
}

/// `POST /rooms/{roomId}/forget`
async fn forget(
    session: Session,
    State(membership): State<Arc<Membership>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<OwnedRoomId>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    membership.forget(&session, &room_id).await?;
    Ok(Json(json!({})))
}

/// `POST /rooms/{roomId}/invite`, `kick`, `ban`, `unban`: `change` is made to somebody else.
fn on_user(rate: Rate, change: Change) -> MethodRouter<ClientState> {
    post(
        async move |Active(session): Active,
                    State(membership): State<Arc<Membership>>,
                    State(limits): State<Arc<RateLimits>>,
                    Path(room_id): Path<OwnedRoomId>,
                    Json(body): Json<Target>|
                    -> Result<Json<Value>, ApiError> {
            limits.check(rate, session.user)?;
            membership.act_on(&session, &room_id, &body.user()?, change, body.reason).await?;
            Ok(Json(json!({})))
        },
    )
}
