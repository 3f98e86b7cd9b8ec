//! `POST /rooms/{roomId}/join`, `invite`, `leave`, `kick`, `ban`, `unban`, `forget`; `POST /join` and `POST /knock` by room id
//! or alias.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    routing::{MethodRouter, post},
};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId, UserId};
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
    peers::{joining::Joining, knocking::Knocking, leaving::Leaving, whereabouts::ChangeError},
    rooms::{
        elsewhere::Refusal,
        membership::{Change, Membership, MembershipError},
    },
};

/// Servers that a client may name at most; more are passed over.
const MAX_VIA: usize = 20;

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
            MembershipError::NobodyVouches | MembershipError::Refused(_) => Self::forbidden(text),
            MembershipError::Elsewhere(refusal) => refusal.into(),
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

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Membership(error) => error.into(),
            ChangeError::Handshake(error) => Refusal::from(&error).into(),
            ChangeError::Task(reason) => Self::internal(reason),
        }
    }
}

/// What another server said is handed on where the client can make something of it; all else is a failure on the way.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, errcode, text, room_version } = refusal;
        let code = match (status, errcode.as_str()) {
            (Some(403), "M_INVITE_BLOCKED") => (StatusCode::FORBIDDEN, "M_INVITE_BLOCKED"),
            (Some(403), _) => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
            (Some(404), _) => (StatusCode::NOT_FOUND, "M_NOT_FOUND"),
            (Some(400), "M_INCOMPATIBLE_ROOM_VERSION") => (StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION"),
            (Some(400), "M_UNABLE_TO_AUTHORISE_JOIN") => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_AUTHORISE_JOIN"),
            (Some(400), "M_UNABLE_TO_GRANT_JOIN") => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_GRANT_JOIN"),
            _ => (StatusCode::BAD_GATEWAY, "M_UNKNOWN"),
        };
        let error = Self::new(code.0, code.1, text);
        match room_version.filter(|_| code.1 == "M_INCOMPATIBLE_ROOM_VERSION") {
            Some(version) => error.with("room_version", version),
            None => error,
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

/// The servers through which the client thinks that the room can be reached: `via`, and `server_name` of older clients.
fn via(query: Option<&str>) -> Vec<OwnedServerName> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let named = pairs.filter(|(name, _)| matches!(&**name, "via" | "server_name"));
    named.filter_map(|(_, server)| OwnedServerName::try_from(&*server).ok()).take(MAX_VIA).collect()
}

/// `POST /join/{roomIdOrAlias}`
async fn join_by_alias(
    Active(session): Active,
    State(joining): State<Arc<Joining>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomOrAliasId>,
    RawQuery(query): RawQuery,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    let room_id = joining.join(&session, &room, via(query.as_deref()), body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /rooms/{roomId}/join`
async fn join(
    ActiveOrGuest(session): ActiveOrGuest,
    State(joining): State<Arc<Joining>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<OwnedRoomId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    let room_id = joining.join(&session, (&*room_id).into(), Vec::new(), body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /knock/{roomIdOrAlias}`
async fn knock(
    Active(session): Active,
    State(knocking): State<Arc<Knocking>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomOrAliasId>,
    RawQuery(query): RawQuery,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Room>, ApiError> {
    limits.check(Rate::Join, session.user)?;
    let room_id = knocking.knock(&session, &room, via(query.as_deref()), body.reason).await?;
    Ok(Json(Room { room_id }))
}

/// `POST /rooms/{roomId}/leave`
async fn leave(
    SessionOrGuest(session): SessionOrGuest,
    State(leaving): State<Arc<Leaving>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<OwnedRoomId>,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::State, session.user)?;
    leaving.leave(&session, &room_id, body.reason).await?;
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
