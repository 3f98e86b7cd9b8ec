//! `PUT /group/promote/admin`, `PUT /group/promote/owner`, `PUT /group/demote/member`, `PUT /group/mute/member`,
//! `PUT /group/mute/all`, `DELETE /group/dissolve`: what roles are for.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Input},
    group_call::{Call, GroupCalls},
    groups::user,
    refusal::{Failure, Pending, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::{Rate, Session},
    numbers::{GroupRef, User, UserRef},
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(promote))
        .routes(routes!(demote))
        .routes(routes!(transfer))
        .routes(routes!(mute))
        .routes(routes!(mute_all))
        .routes(routes!(dissolve))
}

/// Whose role is to be another.
#[derive(Deserialize, ToSchema)]
struct RoleRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The member.
    user_id: UserRef,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

impl RoleRequest {
    /// The group and the member.
    async fn read(&self, session: &Session, calls: &GroupCalls) -> Result<(Call, User), Refusal> {
        let call = calls.change(session, self.executor_id.as_ref(), Rate::State, &self.group_id).await?;
        Ok((call, user(&calls.numbers, &self.user_id).await?))
    }
}

/// Whose role is another.
#[derive(Serialize, ToSchema)]
struct Changed {
    /// The member's number.
    userid: i64,
    /// The number as a string.
    userid_str: String,
}

impl Changed {
    fn reply(message: &'static str, user: &User) -> Reply<Self> {
        Reply::new(message, Self { userid: user.nid.0, userid_str: user.nid.0.to_string() })
    }
}

/// Makes an admin of a member. The owner may.
#[utoipa::path(put, path = "/group/promote/admin", tag = "group", request_body = RoleRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Changed>), (status = "4XX", body = Failure)))]
async fn promote(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<RoleRequest>,
) -> Result<Reply<Changed>, Refusal> {
    let (Call { room, by }, user) = request.read(&session, &calls).await?;
    calls.groups.promote(&room, &by, &user).await?;
    Ok(Changed::reply("promote to admin successfully", &user))
}

/// Makes an ordinary member of an admin. The owner may.
#[utoipa::path(put, path = "/group/demote/member", tag = "group", request_body = RoleRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Changed>), (status = "4XX", body = Failure)))]
async fn demote(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<RoleRequest>,
) -> Result<Reply<Changed>, Refusal> {
    let (Call { room, by }, user) = request.read(&session, &calls).await?;
    calls.groups.demote(&room, &by, &user).await?;
    Ok(Changed::reply("demote to member successfully", &user))
}

/// Hands a group on to a member; the owner becomes an admin.
#[utoipa::path(put, path = "/group/promote/owner", tag = "group", request_body = RoleRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Changed>), (status = "4XX", body = Failure)))]
async fn transfer(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<RoleRequest>,
) -> Result<Reply<Changed>, Refusal> {
    let (Call { room, by }, user) = request.read(&session, &calls).await?;
    calls.groups.transfer(&room, &by, &user).await?;
    Ok(Changed::reply("promote to owner successfully", &user))
}

/// Who is not to talk for a while.
#[derive(Deserialize, ToSchema)]
#[schema(as = MuteMemberRequest)]
struct MuteRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The member.
    user_id: UserRef,
    /// For how long, ten years at most; 0 lifts the mute.
    #[schema(minimum = 0, maximum = 315360000)]
    seconds: i64,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Until when a member is muted.
#[derive(Serialize, ToSchema)]
struct Muted {
    /// When the mute ends, in milliseconds; 0: it was lifted.
    muted_until_ts: i64,
}

/// Mutes a member for a time, or lifts that. The owner may mute anybody else, an admin ordinary members.
#[utoipa::path(put, path = "/group/mute/member", tag = "group", request_body = MuteRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Muted>), (status = 202, body = Pending), (status = "4XX", body = Failure)))]
async fn mute(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<MuteRequest>,
) -> Result<Reply<Muted>, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    let user = user(&calls.numbers, &request.user_id).await?;
    let muted_until_ts = calls.groups.mute(&room, &by, &user, request.seconds).await?;
    Ok(Reply::new("mute successfully", Muted { muted_until_ts }))
}

/// Whether a whole group is not to talk.
#[derive(Deserialize, ToSchema)]
struct MuteAllRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// True: only the owner and the admins may talk.
    mute: bool,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Lets only the owner and the admins talk, or everybody again. The owner and the admins may.
#[utoipa::path(put, path = "/group/mute/all", tag = "group", request_body = MuteAllRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = 202, body = Pending), (status = "4XX", body = Failure)))]
async fn mute_all(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<MuteAllRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.mute_all(&room, &by, request.mute).await?;
    Ok(Done::new("mute all successfully"))
}

/// Which group is to end.
#[derive(Deserialize, ToSchema)]
struct DissolveRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Ends a group for all. The owner may. What was said stays readable.
#[utoipa::path(delete, path = "/group/dissolve", tag = "group", request_body = DissolveRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = 202, body = Pending), (status = "4XX", body = Failure)))]
async fn dissolve(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<DissolveRequest>,
) -> Result<Done, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    calls.groups.dissolve(&room, &by).await?;
    Ok(Done::new("dissolve successfully"))
}
