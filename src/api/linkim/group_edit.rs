//! `PUT /group/name`, `GET /group/name`, `PUT /group/avatar`, `GET /group/avatar`, `PUT /group/nickname`, `PUT /group/joinmode`,
//! `PUT /group/settings`: what a group is called, looks like and is set to.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Caller, Input},
    group_call::{Call, GroupCalls},
    groups::{UserName, mode},
    refusal::{Failure, Pending, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::Rate,
    numbers::{GroupRef, UserRef},
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(name, rename))
        .routes(routes!(avatar, set_avatar))
        .routes(routes!(nickname))
        .routes(routes!(join_mode))
        .routes(routes!(settings))
}

/// A group's new name.
#[derive(Deserialize, ToSchema)]
struct NameRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The name: 1 to 100 characters.
    #[schema(pattern = r"\S", max_length = 100)]
    new_name: String,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Renames a group. The owner and the admins may.
#[utoipa::path(put, path = "/group/name", tag = "group", request_body = NameRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn rename(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<NameRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.rename(&room, &by, request.new_name).await?;
    Ok(Done::new("update name successfully"))
}

/// Which group is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GroupRequest {
    /// The group.
    group_id: GroupRef,
}

/// A group's name.
#[derive(Serialize, ToSchema)]
struct Name {
    /// The name; empty if there is none.
    name: String,
}

/// A group's name; its members alone hear it.
#[utoipa::path(get, path = "/group/name", tag = "group", params(GroupRequest), security(("token" = [])),
    responses((status = 200, body = Reply<Name>), (status = "4XX", body = Failure)))]
async fn name(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<GroupRequest>,
) -> Result<Reply<Name>, Refusal> {
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let info = calls.groups.info(&room, &by).await?;
    Ok(Reply::new("load ok", Name { name: info.name }))
}

/// What a group's avatar is made of.
#[derive(Serialize, ToSchema)]
struct Avatar {
    /// The group's UUID.
    #[serde(rename = "GroupId")]
    group_id: String,
    /// The group's own avatar; empty if it has none.
    avatar: String,
    /// The members who joined first, nine at most.
    #[serde(rename = "UserInfo")]
    users: Vec<AvatarUser>,
}

/// A member whose avatar is part of a group's.
#[derive(Serialize, ToSchema)]
struct AvatarUser {
    #[serde(flatten)]
    user: UserName,
    /// Their name in the group.
    nickname: String,
    /// Where their avatar is.
    avatar: String,
}

/// What a group's avatar is made of.
#[derive(Serialize, ToSchema)]
struct AvatarReply {
    /// The avatar.
    detail: Avatar,
}

/// A group's avatar, or the first members, of whose avatars one is composed.
#[utoipa::path(get, path = "/group/avatar", tag = "group", params(GroupRequest), security(("token" = [])),
    responses((status = 200, body = Reply<AvatarReply>), (status = "4XX", body = Failure)))]
async fn avatar(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<GroupRequest>,
) -> Result<Reply<AvatarReply>, Refusal> {
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let info = calls.groups.info(&room, &by).await?;
    let first = calls.groups.first_members(&room, &by).await?;
    let users = first.into_iter().map(|member| AvatarUser {
        user: UserName::new(member.user, member.user_id.to_string()),
        nickname: member.nickname,
        avatar: member.avatar,
    });
    let group_id = calls.numbers.group_id(room.nid).to_string();
    Ok(Reply::new("load ok", AvatarReply { detail: Avatar { group_id, avatar: info.avatar, users: users.collect() } }))
}

/// A group's new avatar.
#[derive(Deserialize, ToSchema)]
struct SetAvatarRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// Where it is: `mxc://` or any address; empty: the group has none of its own. 1,000 characters at most.
    #[schema(max_length = 1000)]
    avatar: String,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Gives a group an avatar of its own. The owner and the admins may.
#[utoipa::path(put, path = "/group/avatar", tag = "group", request_body = SetAvatarRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn set_avatar(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<SetAvatarRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.set_avatar(&room, &by, request.avatar).await?;
    Ok(Done::new("update avatar successfully"))
}

/// A member's new name in a group.
#[derive(Deserialize, ToSchema)]
#[schema(as = GroupNicknameRequest)]
struct NicknameRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    user_id: Option<UserRef>,
    /// The name: 1 to 64 characters.
    #[schema(pattern = r"\S", max_length = 64)]
    new_name: String,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Gives oneself another name in a group. It stays when the profile changes.
#[utoipa::path(put, path = "/group/nickname", tag = "group", request_body = NicknameRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn nickname(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<NicknameRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } = calls.change(&session, request.user_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.set_nickname(&room, &by, request.new_name).await?;
    Ok(Done::new("update nickname successfully"))
}

/// How one comes into a group from now on.
#[derive(Deserialize, ToSchema)]
struct JoinModeRequest {
    /// The group.
    group_id: GroupRef,
    /// 0: who asks to join needs approval; 1: invitations of members need it, too; 2: everybody may join.
    #[schema(minimum = 0, maximum = 2)]
    join_mode: i64,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Sets how one comes into a group. The owner and the admins may.
#[utoipa::path(put, path = "/group/joinmode", tag = "group", request_body = JoinModeRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = 202, body = Pending), (status = "4XX", body = Failure)))]
async fn join_mode(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<JoinModeRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } = calls.change(&session, None, Rate::State, &request.group_id).await?;
    calls.groups.set_join_mode(&room, &by, mode(request.join_mode)?).await?;
    Ok(Done::new("update join mode successfully"))
}

/// What members may see of each other from now on.
#[derive(Deserialize, ToSchema)]
#[schema(as = GroupSettingsRequest)]
struct SettingsRequest {
    /// The group.
    group_id: GroupRef,
    /// 0: members may look at each other's profiles; 1: they may not. Left out: as before.
    #[serde(rename = "lookMemberInfo")]
    #[schema(minimum = 0, maximum = 1)]
    look_member_info: Option<i64>,
    /// 0: members may ask each other for friendship from the group; 1: they may not. Left out: as before.
    #[serde(rename = "applyMemberFriend")]
    #[schema(minimum = 0, maximum = 1)]
    apply_member_friend: Option<i64>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Sets what members may see of each other. The owner and the admins may; clients obey.
#[utoipa::path(put, path = "/group/settings", tag = "group", request_body = SettingsRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = 202, body = Pending), (status = "4XX", body = Failure)))]
async fn settings(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<SettingsRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } = calls.change(&session, None, Rate::State, &request.group_id).await?;
    let (look, apply) = (request.look_member_info, request.apply_member_friend);
    calls.groups.set_settings(&room, &by, look, apply).await?;
    Ok(Done::new("update settings successfully"))
}
