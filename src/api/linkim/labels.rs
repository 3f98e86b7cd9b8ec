//! Labels of friends: `/account/addrelationship`, `delrelationship`, `relationships`, `relationship/addfriend`,
//! `relationship/delfriend`, `relationship/friendlists`.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    contact::Desk,
    extract::{ActiveCaller, Caller, Input, is_caller},
    person::Friends,
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{accounts::Rate, numbers::UserRef};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(add_label))
        .routes(routes!(delete_label))
        .routes(routes!(labels))
        .routes(routes!(label_friend))
        .routes(routes!(unlabel_friend))
        .routes(routes!(labelled))
}

/// A label of the caller's.
#[derive(Deserialize, ToSchema)]
struct LabelName {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// The label: 1 to 50 characters.
    #[schema(min_length = 1, max_length = 50)]
    relation_ship_name: String,
}

/// Makes a label, of which there can be 100.
#[utoipa::path(post, path = "/account/addrelationship", tag = "labels", request_body = LabelName, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn add_label(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<LabelName>,
) -> Result<Done, Refusal> {
    desk.may(&session, request.user_id.as_ref(), Rate::Settings)?;
    desk.contacts.add_label(session.user, request.relation_ship_name).await?;
    Ok(Done::new("add relationship ok"))
}

/// Removes a label, and takes it from all who have it.
#[utoipa::path(delete, path = "/account/delrelationship", tag = "labels", request_body = LabelName,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn delete_label(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<LabelName>,
) -> Result<Done, Refusal> {
    desk.may(&session, request.user_id.as_ref(), Rate::Settings)?;
    desk.contacts.remove_label(session.user, request.relation_ship_name).await?;
    Ok(Done::new("delete relationship ok"))
}

/// Whose labels are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListLabels {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
}

/// The caller's labels.
#[derive(Serialize, ToSchema)]
struct Names {
    /// Their names, oldest first: 100 at most.
    detail: Vec<String>,
}

/// The caller's labels.
#[utoipa::path(get, path = "/account/relationships", tag = "labels", params(ListLabels), security(("token" = [])),
    responses((status = 200, body = Reply<Names>), (status = "4XX", body = Failure)))]
async fn labels(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<ListLabels>,
) -> Result<Reply<Names>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    Ok(Reply::new("load ok", Names { detail: desk.contacts.labels(session.user).await? }))
}

/// A label and a friend.
#[derive(Deserialize, ToSchema)]
struct LabelledFriend {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// The label.
    #[schema(min_length = 1, max_length = 50)]
    relation_ship_name: String,
    /// The friend.
    friend_id: UserRef,
}

/// Gives a friend a label.
#[utoipa::path(post, path = "/account/relationship/addfriend", tag = "labels", request_body = LabelledFriend,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn label_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<LabelledFriend>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.label_friend(session.user, request.relation_ship_name, &friend).await?;
    Ok(Done::new("add friend ok"))
}

/// Takes a label from a friend.
#[utoipa::path(delete, path = "/account/relationship/delfriend", tag = "labels", request_body = LabelledFriend,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn unlabel_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<LabelledFriend>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.unlabel_friend(session.user, request.relation_ship_name, &friend).await?;
    Ok(Done::new("delete friend ok"))
}

/// Which friends are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListLabelled {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// The label.
    relation_ship_name: String,
    /// Friends of a page: 1,000 if left out, and at most.
    #[serde(default)]
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// The last friend of the page before.
    #[serde(default)]
    cursor: Option<UserRef>,
}

/// The friends with a label, those left out whom the caller has blocked.
#[utoipa::path(get, path = "/account/relationship/friendlists", tag = "labels", params(ListLabelled),
    security(("token" = [])), responses((status = 200, body = Reply<Friends>), (status = "4XX", body = Failure)))]
async fn labelled(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<ListLabelled>,
) -> Result<Reply<Friends>, Refusal> {
    let (user_id, cursor) = (request.user_id.as_ref(), request.cursor.as_ref());
    let (after, limit) = desk.page(&session, user_id, cursor, request.page_size).await?;
    let label = Some(request.relation_ship_name);
    let (friends, has_more) = desk.contacts.friends(session.user, label, after, limit).await?;
    Ok(Reply::new("load ok", Friends { detail: friends.into_iter().map(Into::into).collect(), has_more }))
}
