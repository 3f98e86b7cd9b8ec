//! Friend requests and friends: `/account/addfriend`, `acceptfriend`, `rejectfriend`, `friendrequests`, `friendlists`, `delfriend`,
//! `friend/remark`.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    contact::{Desk, Error},
    extract::{ActiveCaller, Caller, Input, is_caller, page_size},
    person::Friends,
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::Rate,
    contacts::{ContactError, Direction, MAX_REQUEST_TEXT, Requested, ShownRequest},
    numbers::UserRef,
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(add_friend))
        .routes(routes!(accept_friend))
        .routes(routes!(reject_friend))
        .routes(routes!(friend_requests))
        .routes(routes!(friend_lists))
        .routes(routes!(delete_friend))
        .routes(routes!(set_remark))
}

/// Whom to ask.
#[derive(Deserialize, ToSchema)]
struct AddFriend {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Whom to ask.
    friend_id: UserRef,
    /// What to say: at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    request_message: String,
}

/// What came of the request.
#[derive(Serialize, ToSchema)]
struct Added {
    /// `pending`: it waits for an answer. `accepted`: the other one had asked, too, and the two are friends.
    state: &'static str,
}

/// Asks somebody to be a friend. Who has asked the caller is accepted by it; a repeated request renews the pending one.
#[utoipa::path(post, path = "/account/addfriend", tag = "friends", request_body = AddFriend, security(("token" = [])),
    responses((status = 200, body = Reply<Added>), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
async fn add_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<AddFriend>,
) -> Result<Reply<Added>, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Invite, &request.friend_id).await?;
    let requested = desk.contacts.request(&session, &friend, &request.request_message).await?;
    let state = match requested {
        Requested::Pending => "pending",
        Requested::Accepted => "accepted",
    };
    Ok(Reply::new("message has present", Added { state }))
}

/// Whose request is answered.
#[derive(Deserialize, ToSchema)]
struct Answered {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Who asked.
    friend_id: UserRef,
    /// The path says what is answered; this is taken from old clients and says nothing.
    #[serde(default)]
    #[expect(dead_code, reason = "old clients send it")]
    status: Option<String>,
    /// What to tell who asked, with a rejection: at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    handle_message: Option<String>,
}

impl Answered {
    /// What to tell who asked.
    fn text(self) -> Result<Option<String>, ContactError> {
        match self.handle_message {
            Some(text) if text.chars().count() > MAX_REQUEST_TEXT => Err(ContactError::TextTooLong),
            text => Ok(text),
        }
    }
}

/// Accepts somebody's request to be a friend. Only who was asked can, and once.
#[utoipa::path(put, path = "/account/acceptfriend", tag = "friends", request_body = Answered, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
async fn accept_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<Answered>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Join, &request.friend_id).await?;
    // It is told to nobody, but what is too long is wrong here as well.
    request.text()?;
    desk.contacts.accept(&session, &friend).await?;
    Ok(Done::new("accept the friend"))
}

/// Rejects somebody's request to be a friend. Only who was asked can, and once.
#[utoipa::path(put, path = "/account/rejectfriend", tag = "friends", request_body = Answered, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
async fn reject_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<Answered>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::State, &request.friend_id).await?;
    desk.contacts.reject(&session, &friend, request.text()?).await?;
    Ok(Done::new("reject the friend"))
}

/// Which way requests go.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Way {
    /// To the caller.
    In,
    /// By the caller.
    Out,
}

/// Which requests are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListRequests {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Which way they go: `in` if left out.
    #[serde(default)]
    #[param(inline)]
    direction: Option<Way>,
    /// Requests of a page: 20 if left out, 200 at most.
    #[serde(default)]
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// The other user of the last request of the page before.
    #[serde(default)]
    cursor: Option<UserRef>,
}

/// A request that waits for its answer.
#[derive(Serialize, ToSchema)]
struct RequestView {
    /// The other one's number.
    user_id: i64,
    /// The number as a string.
    user_id_str: String,
    /// The other one's id.
    matrix_id: String,
    /// The other one's name; empty if there is none.
    nickname: String,
    /// Where the other one's avatar is; empty if there is none.
    avatar: String,
    /// What who asked said.
    request_message: String,
    /// When it was asked, in milliseconds.
    created_ts: i64,
    /// The conversation that it opens.
    thread_id: i64,
    /// The conversation's number as a string.
    thread_id_str: String,
    /// The conversation's room.
    room_id: String,
}

impl From<ShownRequest> for RequestView {
    fn from(shown: ShownRequest) -> Self {
        let ShownRequest { person, room, request } = shown;
        Self {
            user_id: person.number,
            user_id_str: person.number.to_string(),
            matrix_id: person.user_id,
            nickname: person.nickname,
            avatar: person.avatar_url,
            request_message: request.text,
            created_ts: request.created_ts,
            thread_id: room.nid.0,
            thread_id_str: room.nid.0.to_string(),
            room_id: room.room_id.to_string(),
        }
    }
}

/// A page of requests.
#[derive(Serialize, ToSchema)]
struct RequestList {
    /// The requests, newest first.
    detail: Vec<RequestView>,
    /// Whether there are more: ask again with the last one's user as `cursor`.
    has_more: bool,
}

/// The requests that wait for their answer, the caller's own or those to the caller.
#[utoipa::path(get, path = "/account/friendrequests", tag = "friends", params(ListRequests), security(("token" = [])),
    responses((status = 200, body = Reply<RequestList>), (status = "4XX", body = Failure)))]
async fn friend_requests(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<ListRequests>,
) -> Result<Reply<RequestList>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let limit = page_size(request.page_size)?;
    let direction = match request.direction {
        None | Some(Way::In) => Direction::In,
        Some(Way::Out) => Direction::Out,
    };
    let after = desk.cursor(request.cursor.as_ref()).await?.map(|user| user.nid);
    let page = desk.contacts.requests(session.user, direction, after, limit).await?;
    let (requests, has_more) = page.ok_or(Error::Cursor)?;
    let detail = requests.into_iter().map(RequestView::from).collect();
    Ok(Reply::new("load ok", RequestList { detail, has_more }))
}

/// Whose friends are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFriends {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// Friends of a page: 1,000 if left out, and at most.
    #[serde(default)]
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// The last friend of the page before.
    #[serde(default)]
    cursor: Option<UserRef>,
}

/// The caller's friends, those left out whom the caller has blocked.
#[utoipa::path(get, path = "/account/friendlists", tag = "friends", params(ListFriends), security(("token" = [])),
    responses((status = 200, body = Reply<Friends>), (status = "4XX", body = Failure)))]
async fn friend_lists(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<ListFriends>,
) -> Result<Reply<Friends>, Refusal> {
    let (user_id, cursor) = (request.user_id.as_ref(), request.cursor.as_ref());
    let (after, limit) = desk.page(&session, user_id, cursor, request.page_size).await?;
    let (friends, has_more) = desk.contacts.friends(session.user, None, after, limit).await?;
    Ok(Reply::new("load ok", Friends { detail: friends.into_iter().map(Into::into).collect(), has_more }))
}

/// Who is no friend any more.
#[derive(Deserialize, ToSchema)]
struct DeleteFriend {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// The friend.
    friend_id: UserRef,
}

/// Removes a friend, who loses the caller as a friend, too; labels and remarks go, the conversation stays.
#[utoipa::path(delete, path = "/account/delfriend", tag = "friends", request_body = DeleteFriend, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn delete_friend(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<DeleteFriend>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.remove_friend(&session, &friend).await?;
    Ok(Done::new("delete ok"))
}

/// What to call a friend.
#[derive(Deserialize, ToSchema)]
struct SetRemark {
    /// The caller.
    #[serde(default)]
    user_id: Option<UserRef>,
    /// The friend.
    friend_id: UserRef,
    /// What to call them: at most 50 characters; empty: what they call themselves.
    #[schema(max_length = 50)]
    remark: String,
}

/// Sets what the caller, and nobody else, calls a friend.
#[utoipa::path(put, path = "/account/friend/remark", tag = "friends", request_body = SetRemark, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn set_remark(
    ActiveCaller(session): ActiveCaller,
    State(desk): State<Desk>,
    Input(request): Input<SetRemark>,
) -> Result<Done, Refusal> {
    let friend = desk.whom(&session, request.user_id.as_ref(), Rate::Settings, &request.friend_id).await?;
    desk.contacts.set_remark(session.user, &friend, request.remark).await?;
    Ok(Done::new("remark updated"))
}
