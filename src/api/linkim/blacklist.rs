//! The blacklist: `/account/blacklist/add`, `delete`, `friendlists`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    contact::Desk,
    extract::{ActiveCaller, Caller, Input},
    person::People,
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{accounts::Rate, numbers::UserRef};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(block)).routes(routes!(unblock)).routes(routes!(blacklist))
}

/// Whom it is about.
#[derive(Deserialize, ToSchema)]
struct Blocked {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Whom to block or unblock: a friend or not.
    friend_id: UserRef,
}

/// Blocks a user, who can neither write to the caller nor ask to be a friend from then on, and whom the caller hears nowhere.
#[utoipa::path(post, path = "/account/blacklist/add", tag = "blacklist", request_body = Blocked, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn block(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<Blocked>,
) -> Result<Done, Refusal> {
    let whom = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.block(&session, &whom).await?;
    Ok(Done::new("success blocked"))
}

/// Unblocks a user. What they sent in the meantime is not counted as unread.
#[utoipa::path(delete, path = "/account/blacklist/delete", tag = "blacklist", request_body = Blocked,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn unblock(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<Blocked>,
) -> Result<Done, Refusal> {
    let whom = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.unblock(&session, &whom).await?;
    Ok(Done::new("success unblocked"))
}

/// Whose blacklist is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListBlocked {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Users of a page: 1,000 if left out, and at most.
    #[serde(default)]
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// The last user of the page before.
    #[serde(default)]
    cursor: Option<UserRef>,
}

/// Whom the caller has blocked, here or with a Matrix client.
#[utoipa::path(get, path = "/account/blacklist/friendlists", tag = "blacklist", params(ListBlocked),
    security(("token" = [])), responses((status = 200, body = Reply<People>), (status = "4XX", body = Failure)))]
async fn blacklist(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<ListBlocked>,
) -> Result<Reply<People>, Refusal> {
    let (user_id, cursor) = (request.user_id.as_ref(), request.cursor.as_ref());
    let (after, limit) = desk.page(&session, user_id, cursor, request.page_size).await?;
    let (people, has_more) = desk.contacts.blacklist(session.user, after, limit).await?;
    Ok(Reply::new("load ok", People { detail: people.into_iter().map(Into::into).collect(), has_more }))
}
