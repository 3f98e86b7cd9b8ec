//! `POST /group/join`, `GET /group/requests`, `PUT /group/requests/handle`: asking to be let into a group.

use std::sync::Arc;

use axum::extract::State;
use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Array, Object, schema::Type},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{ActiveCaller, Caller, Input, is_caller, page_size},
    group_call::{Call, GroupCalls},
    groups::{AddedUsers, UserName, text, user},
    outside_groups::OutsideGroups,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    api::error::ApiError,
    groups::{Applied, Groups, Source},
    numbers::{GroupRef, Numbers, UserRef},
    store::{
        Store, StoreError,
        groups::{Handled, RequestRow},
        ids,
    },
};

/// Servers that may be named at most; more are passed over.
const MAX_VIA: usize = 20;

/// The ways in which a request is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("join_source is none of 3 and 4")]
    Source,
    #[error("result is neither 1 nor -1")]
    Result,
    #[error("handled is none of 0, 1 and -1")]
    Handled,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Source | Error::Result | Error::Handled => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(join)).routes(routes!(requests)).routes(routes!(handle))
}

/// Which group one wants to be in.
#[derive(Deserialize, ToSchema)]
struct JoinRequest {
    /// The group; one of another server by its room's id.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    user_id: Option<UserRef>,
    /// What to tell the admins: 500 characters at most.
    #[schema(max_length = 500)]
    text: Option<String>,
    /// How one came to it: 3 (the default) by a search, 4 by a QR code.
    #[schema(minimum = 3, maximum = 4)]
    join_source: Option<i64>,
    /// Servers through which the group of another server may be reached.
    #[serde(default)]
    #[schema(schema_with = servers)]
    via: Vec<OwnedServerName>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// The names of servers.
fn servers() -> Array {
    let name = Object::builder().schema_type(Type::String).max_length(Some(230));
    let name = name.pattern(Some("^([A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?\\.){0,7}[A-Za-z]{1,30}(:[0-9]{1,4})?$"));
    Array::builder().items(name).description(Some("Servers through which the group may be reached.")).build()
}

/// What becomes of a request.
fn result() -> Object {
    let answer = Object::builder().schema_type(Type::Integer).enum_values(Some([1, -1]));
    answer.description(Some("1: approved; -1: rejected.")).build()
}

/// What became of it.
#[derive(Serialize, ToSchema)]
struct Joined {
    /// True: one is in the group; false: an admin must approve first.
    joined: bool,
}

/// Asks to be let into a group; where that needs no approval, joins it.
#[utoipa::path(post, path = "/group/join", tag = "group", request_body = JoinRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Joined>), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
async fn join(
    ActiveCaller(session): ActiveCaller,
    State(numbers): State<Arc<Numbers>>,
    State(groups): State<Arc<Groups>>,
    State(outside): State<OutsideGroups>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<JoinRequest>,
) -> Result<Reply<Joined>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Join, session.user)?;
    let source = match request.join_source.map(Source::of_number) {
        None => Source::Search,
        Some(Some(source @ (Source::Search | Source::QrCode))) => source,
        Some(_) => return Err(Error::Source.into()),
    };
    let text = text(request.text)?;
    let here = numbers.group(&request.group_id).await?;
    let outside_of = match (&here, &request.group_id) {
        (Some(room), _) if room.service.is_some() => Some(room.room_id.clone()),
        (_, GroupRef::Room(room)) => Some((**room).to_owned()),
        (_, GroupRef::Uuid(_)) => None,
    };
    if let Some(room) = outside_of
        && outside.is_outside(here.as_ref()).await?
    {
        let via = request.via.into_iter().take(MAX_VIA).collect();
        let joined = outside.come_in(&session, &room, here, via, text).await.map_err(ApiError::from)?;
        return Ok(Reply::new(if joined { "join ok" } else { "apply ok" }, Joined { joined }));
    }
    let room = here.ok_or_else(|| Refusal::not_found(errcode::GROUP_NOT_FOUND, "no such group"))?;
    let joined = groups.apply(&room, &session, text, source).await? == Applied::Joined;
    Ok(Reply::new(if joined { "join ok" } else { "apply ok" }, Joined { joined }))
}

/// Which requests are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RequestsRequest {
    /// The group.
    group_id: GroupRef,
    /// 0 (the default): those that wait; 1: those that were approved; -1: those that were rejected.
    #[param(minimum = -1, maximum = 1)]
    handled: Option<i64>,
    /// The `user_id` of the last request of the page before.
    last_user_id: Option<UserRef>,
    /// How many at most: 20 if left out, at most 200.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A request to be let into a group.
#[derive(Debug, Serialize, ToSchema)]
struct GroupRequest {
    #[serde(flatten)]
    user: UserName,
    /// The member who invites them; none: they ask themselves.
    inviter: Option<UserName>,
    /// What they said.
    text: String,
    /// How they came to it: 2 a member invites them, 3 they searched, 4 a QR code.
    join_source: i64,
    /// When they asked, in milliseconds.
    requested_ts: i64,
    /// 0: it waits; 1: it was approved; -1: it was rejected.
    handled: i64,
    /// Who answered it.
    handler: Option<UserName>,
    /// When it was answered, in milliseconds.
    handled_ts: Option<i64>,
    /// What was said with the answer.
    handle_text: String,
}

/// A page of requests.
#[derive(Serialize, ToSchema)]
struct Requests {
    /// The requests, by the users' numbers.
    detail: Vec<GroupRequest>,
    /// Whether there are more.
    has_more: bool,
}

/// Who wants to be in a group. Its owner and admins hear it.
#[utoipa::path(get, path = "/group/requests", tag = "group", params(RequestsRequest), security(("token" = [])),
    responses((status = 200, body = Reply<Requests>), (status = "4XX", body = Failure)))]
async fn requests(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<RequestsRequest>,
) -> Result<Reply<Requests>, Refusal> {
    let limit = page_size(request.page_size)?;
    let handled = match request.handled {
        None | Some(0) => Handled::Pending,
        Some(1) => Handled::Approved,
        Some(-1) => Handled::Rejected,
        Some(_) => return Err(Error::Handled.into()),
    };
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let after = calls.cursor(request.last_user_id.as_ref()).await?;
    let page = calls.groups.requests(&room, &by, Some(handled), after, limit).await?;
    let detail = shown(&calls.store, page.requests).await?;
    Ok(Reply::new("load ok", Requests { detail, has_more: page.more }))
}

async fn shown(store: &Store, rows: Vec<RequestRow>) -> Result<Vec<GroupRequest>, StoreError> {
    store
        .read::<_, StoreError, _>(move |read| {
            let name = |user| Ok::<_, StoreError>(UserName::new(user, ids::user_id(read, user)?.to_string()));
            rows.into_iter()
                .map(|row| {
                    Ok(GroupRequest {
                        user: name(row.user)?,
                        inviter: row.inviter.map(name).transpose()?,
                        text: row.text,
                        join_source: row.source,
                        requested_ts: row.asked_ts,
                        handled: row.handled as i64,
                        handler: row.handler.map(name).transpose()?,
                        handled_ts: row.handled_ts,
                        handle_text: row.answer,
                    })
                })
                .collect()
        })
        .await
}

/// The answer to a request.
#[derive(Deserialize, ToSchema)]
struct HandleRequest {
    /// The group.
    group_id: GroupRef,
    /// Who answers: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// Whose request is answered.
    user_id: UserRef,
    /// 1: approved; -1: rejected.
    #[schema(schema_with = result)]
    result: i64,
    /// What to tell them: 500 characters at most.
    #[schema(max_length = 500)]
    text: Option<String>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Answers a request. The owner and the admins may, once.
#[utoipa::path(put, path = "/group/requests/handle", tag = "group", request_body = HandleRequest,
    security(("token" = [])), responses((status = 200, body = Reply<AddedUsers>), (status = "4XX", body = Failure)))]
async fn handle(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<HandleRequest>,
) -> Result<Reply<AddedUsers>, Refusal> {
    let approve = match request.result {
        1 => true,
        -1 => false,
        _ => return Err(Error::Result.into()),
    };
    let text = text(request.text)?;
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    let user = user(&calls.numbers, &request.user_id).await?;
    let added = calls.groups.handle_request(&room, &by, &user, approve, text).await?;
    Ok(Reply::new("handle ok", AddedUsers::of(&calls.store, added).await?))
}
