//! `GET /group/members`, `POST /group/invite`, `DELETE /group/kickout`, `POST /group/leave`: who is in a group.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Caller, Input, page_size},
    group_call::{Call, GroupCalls},
    groups::{AddedUsers, UserName, text, users},
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::Rate,
    groups::{Member, MemberFilter, Role},
    numbers::{GroupRef, UserRef},
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(members))
        .routes(routes!(invite))
        .routes(routes!(kickout))
        .routes(routes!(leave))
}

/// Which members are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MembersRequest {
    /// The group.
    group_id: GroupRef,
    /// Those of this role alone.
    #[param(inline)]
    role: Option<Role>,
    /// Those in whose nickname or account name this stands, in whatever case.
    keyword: Option<String>,
    /// The `next` of the page before.
    last_user_id: Option<UserRef>,
    /// How many at most: 20 if left out, at most 200.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
struct MemberInfo {
    #[serde(flatten)]
    user: UserName,
    /// What they are.
    role: Role,
    /// Their name in the group; empty if they have none.
    nickname: String,
    /// Where their avatar is; empty if they have none.
    avatar: String,
    /// When they came in, in milliseconds.
    joined_ts: i64,
    /// How they came in: 1 an admin added them, 2 a member invited them, 3 they searched, 4 a QR code, 0 not known.
    join_source: i64,
    /// Who added them: the user's id; none if nobody did.
    inviter_matrix_id: Option<String>,
    /// Until when they are muted, in milliseconds; 0: they are not.
    muted_until_ts: i64,
}

impl From<Member> for MemberInfo {
    fn from(member: Member) -> Self {
        Self {
            user: UserName::new(member.user, member.user_id.to_string()),
            role: member.role,
            nickname: member.nickname,
            avatar: member.avatar,
            joined_ts: member.joined_ts,
            join_source: member.source,
            inviter_matrix_id: member.inviter.map(|user| user.to_string()),
            muted_until_ts: member.muted_until,
        }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
struct Members {
    /// The members, by their numbers.
    detail: Vec<MemberInfo>,
    /// Whether there may be more. A page may hold few members, or none, and not be the last.
    has_more: bool,
    /// What `last_user_id` is for the next page; none: this is the last.
    next: Option<i64>,
}

/// A group's members; its members alone hear it.
#[utoipa::path(get, path = "/group/members", tag = "group", params(MembersRequest), security(("token" = [])),
    responses((status = 200, body = Reply<Members>), (status = "4XX", body = Failure)))]
async fn members(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<MembersRequest>,
) -> Result<Reply<Members>, Refusal> {
    let limit = page_size(request.page_size)?;
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let after = calls.cursor(request.last_user_id.as_ref()).await?;
    let keyword = request.keyword.filter(|keyword| !keyword.is_empty());
    let filter = MemberFilter { role: request.role, keyword, after, limit };
    let page = calls.groups.members(&room, &by, filter).await?;
    let detail = page.members.into_iter().map(MemberInfo::from).collect();
    Ok(Reply::new("load ok", Members { detail, has_more: page.next.is_some(), next: page.next.map(|next| next.0) }))
}

/// Who is to come into which group.
#[derive(Deserialize, ToSchema)]
struct InviteRequest {
    /// The group.
    group_id: GroupRef,
    /// The users: 1,000 at most.
    #[schema(max_items = 1000)]
    user_ids: Vec<UserRef>,
    /// What to tell the admins, where they must approve: 500 characters at most.
    #[schema(max_length = 500)]
    text: Option<String>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Adds users to a group.
#[utoipa::path(post, path = "/group/invite", tag = "group", request_body = InviteRequest, security(("token" = [])),
    responses((status = 200, body = Reply<AddedUsers>), (status = "4XX", body = Failure)))]
async fn invite(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<InviteRequest>,
) -> Result<Reply<AddedUsers>, Refusal> {
    let Call { room, by } = calls.change(&session, None, Rate::Invite, &request.group_id).await?;
    let users = users(&calls.numbers, &request.user_ids).await?;
    let text = text(request.text)?;
    let added = calls.groups.add(&room, &by, users, text).await?;
    Ok(Reply::new("invite successfully", AddedUsers::of(&calls.store, added).await?))
}

/// Who is to be removed from which group.
#[derive(Deserialize, ToSchema)]
struct KickRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The members: 1,000 at most. Who is none is passed over.
    #[schema(max_items = 1000)]
    user_ids: Vec<UserRef>,
    /// What to tell them: 500 characters at most.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Who was removed.
#[derive(Serialize, ToSchema)]
struct Removed {
    /// The members who were removed.
    removed: Vec<UserName>,
}

/// Removes members: the owner anybody else, an admin ordinary members. If one of them may not be removed, none is.
#[utoipa::path(delete, path = "/group/kickout", tag = "group", request_body = KickRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Removed>), (status = "4XX", body = Failure)))]
async fn kickout(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<KickRequest>,
) -> Result<Reply<Removed>, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    let users = users(&calls.numbers, &request.user_ids).await?;
    let reason = text(request.reason)?;
    let removed = calls.groups.kick(&room, &by, users, reason).await?;
    Ok(Reply::new("kickout successfully", Removed { removed: UserName::all(&calls.store, removed).await? }))
}

/// Which group is left.
#[derive(Deserialize, ToSchema)]
struct LeaveRequest {
    /// The group.
    group_id: GroupRef,
    /// Who leaves: the token's user; may be left out.
    user_id: Option<UserRef>,
    /// What to tell the others: 500 characters at most.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Leaves a group. Its owner hands it on or dissolves it instead.
#[utoipa::path(post, path = "/group/leave", tag = "group", request_body = LeaveRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn leave(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<LeaveRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } = calls.change(&session, request.user_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.leave(&room, &by, text(request.reason)?).await?;
    Ok(Done::new("leave successfully"))
}
