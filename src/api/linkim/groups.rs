//! `POST /group/create`, `GET /groups`, `GET /group/info`, and what all endpoints about groups share.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{ActiveCaller, Caller, Input, is_caller, page_size},
    group_call::{Call, GroupCalls},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    groups::{Actor, Added, GroupError, GroupInfo, Groups, JoinMode, MAX_TEXT, MAX_USERS, NewGroup, Role},
    numbers::{GroupRef, Numbers, ThreadRef, User, UserRef},
    store::{
        Store, StoreError, ids,
        ids::{RoomKey, UserNid},
    },
};

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        let text = error.to_string();
        match error {
            GroupError::NotInGroup => Self::new(StatusCode::FORBIDDEN, errcode::NOT_IN_GROUP, text),
            GroupError::TargetNotInGroup(_) => Self::not_found(errcode::NOT_IN_GROUP, text),
            GroupError::Dissolved => Self::new(StatusCode::GONE, errcode::GROUP_DISMISSED, text),
            GroupError::NotPermitted(_) => Self::forbidden(text),
            GroupError::Argument(_) => Self::argument(text),
            GroupError::Already(_) => Self::conflict(errcode::DUPLICATE, text),
            GroupError::NoRequest | GroupError::NoNotice | GroupError::NoCursor => {
                Self::not_found(errcode::NOT_FOUND, text)
            }
            GroupError::Pending => Self::pending(text),
            GroupError::Elsewhere { errcode, .. } => Self::new(status_elsewhere(errcode), errcode, text),
            GroupError::Handled => Self::conflict(errcode::GROUP_REQUEST_HANDLED, text),
            GroupError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, errcode::INTERNAL, text),
            GroupError::Membership(error) => crate::api::error::ApiError::from(error).into(),
            GroupError::Append(error) => crate::api::error::ApiError::from(error).into(),
            GroupError::Store(error) => error.into(),
        }
    }
}

/// The status that goes with what another server refused for.
fn status_elsewhere(errcode: u32) -> StatusCode {
    match errcode {
        errcode::ARGUMENT => StatusCode::BAD_REQUEST,
        errcode::NOT_IN_GROUP => StatusCode::NOT_FOUND,
        errcode::DUPLICATE => StatusCode::CONFLICT,
        errcode::GROUP_DISMISSED => StatusCode::GONE,
        _ => StatusCode::FORBIDDEN,
    }
}

/// The ways in which a request names what is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no such group")]
    NoGroup,
    #[error("no such user: {0}")]
    NoUser(String),
    #[error("more than {MAX_USERS} users")]
    TooMany,
    #[error("join_mode is none of 0, 1 and 2")]
    Mode,
    #[error("the text has more than {MAX_TEXT} characters")]
    Text,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoGroup => Self::not_found(errcode::GROUP_NOT_FOUND, text),
            Error::NoUser(_) => Self::not_found(errcode::USER_NOT_FOUND, text),
            Error::TooMany | Error::Mode | Error::Text => Self::argument(text),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(mine)).routes(routes!(info))
}

/// The group that a request names.
pub(super) async fn group(numbers: &Numbers, name: &GroupRef) -> Result<Arc<RoomKey>, Refusal> {
    Ok(numbers.group(name).await?.ok_or(Error::NoGroup)?)
}

/// The user that a request names.
pub(super) async fn user(numbers: &Numbers, name: &UserRef) -> Result<User, Refusal> {
    Ok(numbers.user(name).await?.ok_or_else(|| Error::NoUser(shown(name)))?)
}

/// The users that a request names.
pub(super) async fn users(numbers: &Numbers, names: &[UserRef]) -> Result<Vec<User>, Refusal> {
    if names.len() > MAX_USERS {
        return Err(Error::TooMany.into());
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(user(numbers, name).await?);
    }
    Ok(found)
}

fn shown(name: &UserRef) -> String {
    match name {
        UserRef::Number(number) => number.to_string(),
        UserRef::Id(user_id) => user_id.to_string(),
    }
}

pub(super) fn mode(number: i64) -> Result<JoinMode, Error> {
    JoinMode::of_number(number).ok_or(Error::Mode)
}

/// A text that goes with a request, an answer or a kick.
pub(super) fn text(text: Option<String>) -> Result<String, Error> {
    let text = text.unwrap_or_default();
    if text.chars().count() > MAX_TEXT { Err(Error::Text) } else { Ok(text) }
}

/// A user, by all names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserName {
    /// The user's number.
    pub(super) user_id: i64,
    /// The number as a string.
    pub(super) user_id_str: String,
    /// The user's id.
    pub(super) matrix_id: String,
}

impl UserName {
    /// Of these users.
    pub(super) async fn all(store: &Store, users: Vec<UserNid>) -> Result<Vec<Self>, StoreError> {
        store
            .read::<_, StoreError, _>(move |read| {
                users.into_iter().map(|user| Ok(Self::new(user, ids::user_id(read, user)?.to_string()))).collect()
            })
            .await
    }

    pub(super) fn new(user: UserNid, matrix_id: String) -> Self {
        Self { user_id: user.0, user_id_str: user.0.to_string(), matrix_id }
    }
}

/// A user for whom nothing was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedUser {
    #[serde(flatten)]
    user: UserName,
    /// Why, for a person to read.
    error: String,
}

/// What became of the users that were named.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AddedUsers {
    /// They are in the group.
    added: Vec<UserName>,
    /// They were asked to come, and may accept: users of other servers, and who does not let themselves be added.
    invited: Vec<UserName>,
    /// The owner or an admin must approve first.
    requested: Vec<UserName>,
    /// Nothing was done.
    refused: Vec<RefusedUser>,
}

impl AddedUsers {
    pub(super) async fn of(store: &Store, added: Added) -> Result<Self, StoreError> {
        store
            .read::<_, StoreError, _>(move |read| {
                let name = |user| Ok::<_, StoreError>(UserName::new(user, ids::user_id(read, user)?.to_string()));
                let names = |users: Vec<UserNid>| users.into_iter().map(name).collect::<Result<Vec<_>, _>>();
                let refused = added
                    .refused
                    .into_iter()
                    .map(|refused| Ok::<_, StoreError>(RefusedUser { user: name(refused.user)?, error: refused.why }));
                Ok(Self {
                    added: names(added.added)?,
                    invited: names(added.invited)?,
                    requested: names(added.requested)?,
                    refused: refused.collect::<Result<_, _>>()?,
                })
            })
            .await
    }
}

/// A group to be made.
#[derive(Deserialize, ToSchema)]
struct CreateRequest {
    /// Who makes it: the token's user; may be left out.
    owner_id: Option<UserRef>,
    /// Who is to be in it, beside the owner: two users or more.
    #[schema(min_items = 2, max_items = 1000)]
    user_ids: Vec<UserRef>,
    /// Its name: 1 to 100 characters.
    #[schema(pattern = r"\S", max_length = 100)]
    group_name: String,
    /// 0 (the default): who asks to join needs approval; 1: invitations of members need it, too; 2: everybody may join.
    #[schema(minimum = 0, maximum = 2)]
    join_mode: Option<i64>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// A group that was made.
#[derive(Serialize, ToSchema)]
struct Created {
    /// Its UUID.
    #[serde(rename = "groupID")]
    group_id: String,
    /// The room's id.
    room_id: String,
    /// The number of its conversation.
    thread_id: i64,
    /// The number as a string.
    thread_id_str: String,
    #[serde(flatten)]
    users: AddedUsers,
}

/// Makes a group. Users of this server are in it at once, unless they have blocked its owner.
#[utoipa::path(post, path = "/group/create", tag = "group", request_body = CreateRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Created>), (status = "4XX", body = Failure)))]
async fn create(
    ActiveCaller(session): ActiveCaller,
    State(numbers): State<Arc<Numbers>>,
    State(groups): State<Arc<Groups>>,
    State(store): State<Store>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<CreateRequest>,
) -> Result<Reply<Created>, Refusal> {
    is_caller(&session, request.owner_id.as_ref())?;
    let mode = mode(request.join_mode.unwrap_or_default())?;
    limits.check(Rate::CreateRoom, session.user)?;
    let users = users(&numbers, &request.user_ids).await?;
    let new = NewGroup { name: request.group_name, avatar: None, mode, users };
    let created = groups.create(&Actor::from(&session), new).await?;
    let room = created.room;
    Ok(Reply::new(
        "Create group ok",
        Created {
            group_id: numbers.group_id(room.nid).to_string(),
            room_id: room.room_id.to_string(),
            thread_id: room.nid.0,
            thread_id_str: room.nid.0.to_string(),
            users: AddedUsers::of(&store, created.added).await?,
        },
    ))
}

/// A group, as its members see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupDetail)]
struct Info {
    /// Its UUID.
    group_id: String,
    /// The room's id.
    room_id: String,
    /// The number of its conversation.
    thread_id: i64,
    /// The number as a string.
    thread_id_str: String,
    /// Its name; empty if it has none.
    group_name: String,
    /// Where its own avatar is; empty if it has none: then those of the members who joined first are shown.
    avatar: String,
    /// The owner's number; none while there is none.
    owner_id: Option<i64>,
    /// The number as a string.
    owner_id_str: Option<String>,
    /// How many are in it.
    member_count: i64,
    /// 0: who asks to join needs approval; 1: invitations of members need it, too; 2: everybody may join.
    join_mode: i64,
    /// Whether only the owner and the admins may talk.
    mute_all: bool,
    /// 0: members may look at each other's profiles; 1: they may not.
    #[serde(rename = "lookMemberInfo")]
    look_member_info: i64,
    /// 0: members may ask each other for friendship from the group; 1: they may not.
    #[serde(rename = "applyMemberFriend")]
    apply_member_friend: i64,
    /// What the asker is in it.
    role: Role,
    /// When it was made, in milliseconds.
    created_ts: i64,
}

impl Info {
    fn of(numbers: &Numbers, info: GroupInfo) -> Self {
        Self {
            group_id: numbers.group_id(info.room.nid).to_string(),
            room_id: info.room.room_id.to_string(),
            thread_id: info.room.nid.0,
            thread_id_str: info.room.nid.0.to_string(),
            group_name: info.name,
            avatar: info.avatar,
            owner_id: info.owner.map(|owner| owner.0),
            owner_id_str: info.owner.map(|owner| owner.0.to_string()),
            member_count: info.members,
            join_mode: info.mode.number(),
            mute_all: info.muted,
            look_member_info: info.settings.look_member_info,
            apply_member_friend: info.settings.apply_member_friend,
            role: info.role,
            created_ts: info.created_ts,
        }
    }
}

/// Which group is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InfoRequest {
    /// The group.
    group_id: GroupRef,
}

/// A group.
#[derive(Serialize, ToSchema)]
struct InfoReply {
    /// The group.
    detail: Info,
}

/// What a group is like; its members alone hear it.
#[utoipa::path(get, path = "/group/info", tag = "group", params(InfoRequest), security(("token" = [])),
    responses((status = 200, body = Reply<InfoReply>), (status = "4XX", body = Failure)))]
async fn info(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<InfoRequest>,
) -> Result<Reply<InfoReply>, Refusal> {
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let info = calls.groups.info(&room, &by).await?;
    Ok(Reply::new("load ok", InfoReply { detail: Info::of(&calls.numbers, info) }))
}

/// Which page of one's groups is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MineRequest {
    /// Who asks: the token's user; may be left out.
    user_id: Option<UserRef>,
    /// The `thread_id` of the last group of the page before.
    last_thread_id: Option<ThreadRef>,
    /// How many at most: 20 if left out, at most 200.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A page of one's groups.
#[derive(Serialize, ToSchema)]
struct Mine {
    /// The groups.
    detail: Vec<Info>,
    /// Whether there are more.
    has_more: bool,
}

/// The groups that one is in.
#[utoipa::path(get, path = "/groups", tag = "group", params(MineRequest), security(("token" = [])),
    responses((status = 200, body = Reply<Mine>), (status = "4XX", body = Failure)))]
async fn mine(
    Caller(session): Caller,
    State(numbers): State<Arc<Numbers>>,
    State(groups): State<Arc<Groups>>,
    Input(request): Input<MineRequest>,
) -> Result<Reply<Mine>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let limit = page_size(request.page_size)?;
    let after = match &request.last_thread_id {
        Some(thread) => {
            let room = numbers.thread(thread).await?;
            Some(room.ok_or_else(Refusal::no_cursor)?.nid)
        }
        None => None,
    };
    let (found, has_more) = groups.mine(&Actor::from(&session), after, limit).await?;
    let detail = found.into_iter().map(|info| Info::of(&numbers, info)).collect();
    Ok(Reply::new("load ok", Mine { detail, has_more }))
}
