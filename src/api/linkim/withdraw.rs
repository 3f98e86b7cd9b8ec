//! `PUT /message/withdraw`, `PUT /message/unwithdraw` and their like for groups.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Input, is_caller},
    messages::SentReply,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits, Session},
    conversations::{ConversationRef, MessageError, Messages},
    numbers::{GroupRef, MessageRef, UserRef},
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(withdraw))
        .routes(routes!(group_withdraw))
        .routes(routes!(unwithdraw))
        .routes(routes!(group_unwithdraw))
}

/// A message to somebody.
#[derive(Deserialize, ToSchema)]
struct WithdrawRequest {
    /// Who withdraws; the token's user.
    user_id: Option<UserRef>,
    /// With whom the conversation is.
    the_other_person_id: UserRef,
    /// The message.
    message_id: MessageRef,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// A message to a group.
#[derive(Deserialize, ToSchema)]
struct GroupWithdrawRequest {
    /// Who withdraws; the token's user.
    user_id: Option<UserRef>,
    /// The group.
    group_id: GroupRef,
    /// The message.
    message_id: MessageRef,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// What is left.
#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "the old LinkIM's names")]
struct WithdrawReply {
    /// The number of the newest message that is left; 0 if there is none.
    lastMsgId: i64,
    /// The same as a string.
    lastMsgId_str: String,
    /// The redaction.
    event_id: String,
}

async fn withdraw_in(
    messages: &Messages,
    session: &Session,
    at: ConversationRef,
    message: MessageRef,
) -> Result<Reply<WithdrawReply>, MessageError> {
    let left = messages.withdraw(session, at, message).await?;
    let number = left.newest.unwrap_or(0);
    let reply =
        WithdrawReply { lastMsgId: number, lastMsgId_str: number.to_string(), event_id: left.event_id.to_string() };
    Ok(Reply::new("withdraw ok", reply))
}

/// Withdraws a message of the caller's from a conversation of two people, within `linkim.withdraw_seconds` of its sending.
#[utoipa::path(put, path = "/message/withdraw", tag = "message", request_body = WithdrawRequest,
    security(("token" = [])),
    responses((status = 200, body = Reply<WithdrawReply>), (status = "4XX", body = Failure)))]
async fn withdraw(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<WithdrawRequest>,
) -> Result<Reply<WithdrawReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let at = ConversationRef::With(request.the_other_person_id);
    Ok(withdraw_in(&messages, &session, at, request.message_id).await?)
}

/// Withdraws a message from a group: the sender within `linkim.withdraw_seconds`, the owner anybody's and an admin ordinary
/// members' at any time.
#[utoipa::path(put, path = "/message/group/withdraw", tag = "message", request_body = GroupWithdrawRequest,
    security(("token" = [])),
    responses((status = 200, body = Reply<WithdrawReply>), (status = "4XX", body = Failure)))]
async fn group_withdraw(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<GroupWithdrawRequest>,
) -> Result<Reply<WithdrawReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let at = ConversationRef::Group(request.group_id);
    Ok(withdraw_in(&messages, &session, at, request.message_id).await?)
}

/// A withdrawn message to somebody, with a text in its place.
#[derive(Deserialize, ToSchema)]
struct UnwithdrawRequest {
    /// Who restores; the token's user.
    user_id: Option<UserRef>,
    /// With whom the conversation is.
    the_other_person_id: UserRef,
    /// The message.
    message_id: MessageRef,
    /// Its new text.
    #[schema(pattern = r"\S")]
    new_text: String,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// A withdrawn message to a group, with a text in its place.
#[derive(Deserialize, ToSchema)]
struct GroupUnwithdrawRequest {
    /// Who restores; the token's user.
    user_id: Option<UserRef>,
    /// The group.
    group_id: GroupRef,
    /// The message.
    message_id: MessageRef,
    /// Its new text.
    #[schema(pattern = r"\S")]
    new_text: String,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Restores a message that the caller withdrew, with another text, under its number and at its place, within
/// `linkim.withdraw_seconds` of the withdrawal. Other Matrix clients see a new message.
#[utoipa::path(put, path = "/message/unwithdraw", tag = "message", request_body = UnwithdrawRequest,
    security(("token" = [])),
    responses((status = 200, body = Reply<SentReply>), (status = "4XX", body = Failure)))]
async fn unwithdraw(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<UnwithdrawRequest>,
) -> Result<Reply<SentReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let at = ConversationRef::With(request.the_other_person_id);
    let sent = messages.restore(&session, at, request.message_id, request.new_text).await?;
    Ok(Reply::new("unwithdraw ok", sent.into()))
}

/// As `/message/unwithdraw`, in a group.
#[utoipa::path(put, path = "/message/group/unwithdraw", tag = "message", request_body = GroupUnwithdrawRequest,
    security(("token" = [])),
    responses((status = 200, body = Reply<SentReply>), (status = "4XX", body = Failure)))]
async fn group_unwithdraw(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<GroupUnwithdrawRequest>,
) -> Result<Reply<SentReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let at = ConversationRef::Group(request.group_id);
    let sent = messages.restore(&session, at, request.message_id, request.new_text).await?;
    Ok(Reply::new("unwithdraw ok", sent.into()))
}
