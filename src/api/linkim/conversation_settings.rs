//! What a user decides about a conversation for themselves: `PUT /conversation/…` and `DELETE /conversation`.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Caller, Input, is_caller},
    place::Named,
    refusal::{Failure, Refusal},
    reply::Done,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits, Session},
    conversations::{MarkRead, Settings},
    numbers::{MessageRef, Numbers, UserRef},
    store::{Store, ids::RoomKey},
};

/// The ways in which the wish is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("recv_opt is 0 (everything), 1 (nothing) or 2 (without notifications)")]
    RecvOpt,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::RecvOpt => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(unread))
        .routes(routes!(pin))
        .routes(routes!(mute))
        .routes(routes!(recv_opt))
        .routes(routes!(draft))
        .routes(routes!(hide))
        .routes(routes!(clear))
        .routes(routes!(mark_unread))
        .routes(routes!(delete))
}

/// What users have decided, and what finds the conversation that a request names.
#[derive(Clone)]
struct Desk {
    settings: Arc<Settings>,
    store: Store,
    numbers: Arc<Numbers>,
    limits: Arc<RateLimits>,
}

impl FromRef<LinkImState> for Desk {
    fn from_ref(state: &LinkImState) -> Self {
        Self {
            settings: FromRef::from_ref(state),
            store: FromRef::from_ref(state),
            numbers: FromRef::from_ref(state),
            limits: FromRef::from_ref(state),
        }
    }
}

impl Desk {
    /// The room of a conversation that the caller is in.
    async fn joined(
        &self,
        session: &Session,
        user_id: Option<&UserRef>,
        named: Named,
    ) -> Result<Arc<RoomKey>, Refusal> {
        is_caller(session, user_id)?;
        self.limits.check(Rate::Settings, session.user)?;
        Ok(named.one()?.joined(&self.store, &self.numbers, session).await?)
    }
}

/// Up to where a conversation is read.
#[derive(Deserialize, ToSchema)]
struct UnreadRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// Up to and with this message; up to the newest one if left out.
    message_id: Option<MessageRef>,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Marks a conversation as read, on all of the caller's devices. The others in it see how far, unless the caller's settings
/// (`private_receipts`) say that they are not to.
#[utoipa::path(put, path = "/conversation/unread", tag = "conversation", request_body = UnreadRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn unread(
    Caller(session): Caller,
    State(desk): State<Desk>,
    State(mark): State<Arc<MarkRead>>,
    Input(request): Input<UnreadRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    mark.mark(&session, &room, request.message_id).await?;
    Ok(Done::new("update unread ok"))
}

/// Whether a conversation is pinned.
#[derive(Deserialize, ToSchema)]
struct PinRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// Whether it stands before the others.
    pinned: bool,
}

/// Puts a conversation before the others (Matrix's tag `m.favourite`), or back among them.
#[utoipa::path(put, path = "/conversation/pin", tag = "conversation", request_body = PinRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn pin(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<PinRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.pin(session.user, room.nid, request.pinned).await?;
    Ok(Done::new("update pin ok"))
}

/// Whether a conversation is muted.
#[derive(Deserialize, ToSchema)]
#[schema(as = MuteConversationRequest)]
struct MuteRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// Whether its messages don't notify.
    muted: bool,
}

/// Keeps a conversation from notifying (a push rule of its room without actions), or lets it.
#[utoipa::path(put, path = "/conversation/mute", tag = "conversation", request_body = MuteRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn mute(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<MuteRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.mute(&session, &room, request.muted).await?;
    Ok(Done::new("update mute ok"))
}

/// What is wanted of a conversation's messages.
#[derive(Deserialize, ToSchema)]
struct RecvOptRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// OpenIM's `recvMsgOpt`: 0 everything, 1 nothing, 2 without notifications.
    #[schema(minimum = 0, maximum = 2)]
    recv_opt: i64,
}

/// Says what is wanted of a conversation's messages. With 1 they are neither counted nor pushed, and the other one of a
/// conversation of two people can't send any.
#[utoipa::path(put, path = "/conversation/recv_opt", tag = "conversation", request_body = RecvOptRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn recv_opt(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<RecvOptRequest>,
) -> Result<Done, Refusal> {
    if !(0..=2).contains(&request.recv_opt) {
        return Err(Error::RecvOpt.into());
    }
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.receive_nothing(session.user, room.nid, request.recv_opt == 1).await?;
    desk.settings.mute(&session, &room, request.recv_opt == 2).await?;
    Ok(Done::new("update recv_opt ok"))
}

/// A text that is begun.
#[derive(Deserialize, ToSchema)]
struct DraftRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// The text; empty: none.
    text: String,
}

/// Keeps a text that the caller has begun, for all of their devices.
#[utoipa::path(put, path = "/conversation/draft", tag = "conversation", request_body = DraftRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn draft(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<DraftRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.draft(session.user, room.nid, request.text).await?;
    Ok(Done::new("update draft ok"))
}

/// Whether a conversation is hidden.
#[derive(Deserialize, ToSchema)]
struct HideRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// Whether it is taken out of the list.
    hidden: bool,
}

/// Takes a conversation out of the caller's list until its next message, or puts it back.
#[utoipa::path(put, path = "/conversation/hide", tag = "conversation", request_body = HideRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn hide(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<HideRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.hide(session.user, room.nid, request.hidden).await?;
    Ok(Done::new("update hidden ok"))
}

/// A conversation.
#[derive(Deserialize, ToSchema)]
struct OneRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
}

/// Clears a conversation for the caller alone: what has come up to now is neither shown to them nor counted, on either API.
#[utoipa::path(put, path = "/conversation/clear", tag = "conversation", request_body = OneRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn clear(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<OneRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.clear(session.user, room.nid).await?;
    Ok(Done::new("clear conversation ok"))
}

/// Whether a conversation is marked as unread.
#[derive(Deserialize, ToSchema)]
struct MarkUnreadRequest {
    /// Whose; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// Whether it is.
    unread: bool,
}

/// Marks a conversation as unread (`m.marked_unread`), or takes the mark away. Counts stay as they are.
#[utoipa::path(put, path = "/conversation/mark_unread", tag = "conversation", request_body = MarkUnreadRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn mark_unread(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<MarkUnreadRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.mark_unread(session.user, room.nid, request.unread).await?;
    Ok(Done::new("mark unread ok"))
}

/// Deletes a conversation for the caller alone: takes it out of the list until its next message, and clears it, its draft and its
/// pin. The caller stays in it.
#[utoipa::path(delete, path = "/conversation", tag = "conversation", request_body = OneRequest,
    security(("token" = [])), responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn delete(
    Caller(session): Caller,
    State(desk): State<Desk>,
    Input(request): Input<OneRequest>,
) -> Result<Done, Refusal> {
    let room = desk.joined(&session, request.user_id.as_ref(), request.conversation).await?;
    desk.settings.delete(session.user, room.nid).await?;
    Ok(Done::new("delete conversation ok"))
}
