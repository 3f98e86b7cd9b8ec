//! `POST /message/send`, `POST /message/group/send` and `PUT /message/edit`.

use std::sync::Arc;

use axum::extract::State;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Input, is_caller},
    media::mxc_of,
    place::Named,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    conversations::{Attachment, ConversationRef, Messages, NewMessage, Sent, sending::Draftable},
    numbers::{GroupRef, MessageRef, UserRef},
    rooms::message_kind as kind,
};

/// Users mentioned in one message at most.
const MAX_MENTIONS: usize = 100;

/// The ways in which a message is wrong before anything is looked up.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("url is not that of a file of a Matrix server (mxc://…, or as POST /media/upload answers it)")]
    Url,
    #[error("at_user_ids has more than {MAX_MENTIONS} users")]
    Mentions,
    #[error("text is missing")]
    NoText,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Url | Error::Mentions | Error::NoText => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(group_send)).routes(routes!(edit))
}

/// What a message says.
#[derive(Deserialize, ToSchema)]
#[schema(as = MessageContent)]
struct Content {
    /// The text; of an image or a file, a caption, if any.
    text: Option<String>,
    /// 1 text, 2 image, 3 file; 1 if left out.
    #[schema(minimum = 1, maximum = 3)]
    kind: Option<i64>,
    /// Of an image or a file: where it is, `mxc://…` or as `POST /media/upload` answered.
    #[schema(
        pattern = r"^(mxc://|[!-~]*/_matrix/client/v1/media/download/)([A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?\.){0,7}[A-Za-z]{1,30}(:[0-9]{1,4})?/[A-Za-z0-9_-]{1,255}$"
    )]
    url: Option<String>,
    /// Of an image or a file: its name.
    file_name: Option<String>,
    /// Of an image or a file: its media type.
    media_type: Option<String>,
    /// Of an image or a file: its bytes.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    size: Option<i64>,
    /// Of an image: pixels from left to right.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    width: Option<i64>,
    /// Of an image: pixels from top to bottom.
    #[schema(minimum = 0, maximum = 9007199254740991i64)]
    height: Option<i64>,
    /// Whom the message mentions, at most 100.
    #[serde(default)]
    #[schema(max_items = 100)]
    at_user_ids: Vec<UserRef>,
    /// Whether it mentions everybody; who may is decided by the group.
    #[serde(default)]
    at_all: bool,
    /// The message that it answers.
    quote_message_id: Option<MessageRef>,
    /// The client's own name for this message: the same device sends no second message under it into the same conversation,
    /// but is told of the first one. 1 to 255 characters.
    #[schema(min_length = 1, max_length = 255)]
    client_msg_id: Option<String>,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

impl Content {
    fn take(self) -> Result<(Draftable, Option<String>), Refusal> {
        if self.at_user_ids.len() > MAX_MENTIONS {
            return Err(Error::Mentions.into());
        }
        let kind = self.kind.unwrap_or(kind::TEXT);
        if kind == kind::TEXT && self.text.is_none() {
            return Err(Error::NoText.into());
        }
        let file = match self.url {
            Some(url) => Some(Attachment {
                url: mxc_of(&url).ok_or(Error::Url)?.to_string(),
                name: self.file_name,
                media_type: self.media_type,
                size: self.size,
                width: self.width,
                height: self.height,
            }),
            None => None,
        };
        let message = NewMessage {
            kind,
            text: self.text.unwrap_or_default(),
            file,
            at_all: self.at_all,
            ..NewMessage::default()
        };
        Ok((Draftable { message, at: self.at_user_ids, quotes: self.quote_message_id }, self.client_msg_id))
    }
}

/// A message to somebody.
#[derive(Deserialize, ToSchema)]
#[schema(as = SendMessageRequest)]
struct SendRequest {
    /// Who sends; the token's user.
    user_id: Option<UserRef>,
    /// To whom.
    the_other_person_id: UserRef,
    #[serde(flatten)]
    content: Content,
}

/// A message to a group.
#[derive(Deserialize, ToSchema)]
struct GroupSendRequest {
    /// Who sends; the token's user.
    user_id: Option<UserRef>,
    /// To which group.
    group_id: GroupRef,
    #[serde(flatten)]
    content: Content,
}

/// A message that is sent: durable here.
#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "the old LinkIM's names")]
pub(super) struct SentReply {
    /// The message's number.
    lastMsgId: i64,
    /// The same as a string.
    lastMsgId_str: String,
    /// The event that says it.
    event_id: String,
    /// The conversation's number.
    thread_id: i64,
    /// The same as a string.
    thread_id_str: String,
    /// The conversation's room.
    #[schema(value_type = String)]
    room_id: OwnedRoomId,
}

impl From<Sent> for SentReply {
    fn from(sent: Sent) -> Self {
        Self {
            lastMsgId: sent.number,
            lastMsgId_str: sent.number.to_string(),
            event_id: sent.event_id.to_string(),
            thread_id: sent.room.nid.0,
            thread_id_str: sent.room.nid.0.to_string(),
            room_id: sent.room.room_id.clone(),
        }
    }
}

/// Sends a message to somebody. The room of the two is made if there is none; to who is no friend it waits there as a friend
/// request, unless this server lets strangers write.
#[utoipa::path(post, path = "/message/send", tag = "message", request_body = SendRequest, security(("token" = [])),
    responses((status = 200, body = Reply<SentReply>), (status = "4XX", body = Failure)))]
async fn send(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<SendRequest>,
) -> Result<Reply<SentReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let (new, client_id) = request.content.take()?;
    let sent = messages.send_to(&session, request.the_other_person_id, new, client_id).await?;
    Ok(Reply::new("send message ok", sent.into()))
}

/// Sends a message to a group of the caller's.
#[utoipa::path(post, path = "/message/group/send", tag = "message", request_body = GroupSendRequest,
    security(("token" = [])),
    responses((status = 200, body = Reply<SentReply>), (status = "4XX", body = Failure)))]
async fn group_send(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<GroupSendRequest>,
) -> Result<Reply<SentReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let (new, client_id) = request.content.take()?;
    let sent = messages.send_into(&session, ConversationRef::Group(request.group_id), new, client_id).await?;
    Ok(Reply::new("send message ok", sent.into()))
}

/// Another text for a message.
#[derive(Deserialize, ToSchema)]
struct EditRequest {
    /// Who edits; the token's user.
    user_id: Option<UserRef>,
    #[serde(flatten)]
    conversation: Named,
    /// The message, a text of the caller's own.
    message_id: MessageRef,
    /// Its new text.
    #[schema(pattern = r"\S")]
    text: String,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Gives a text of the caller's another wording, under its number.
#[utoipa::path(put, path = "/message/edit", tag = "message", request_body = EditRequest, security(("token" = [])),
    responses((status = 200, body = Reply<SentReply>), (status = "4XX", body = Failure)))]
async fn edit(
    ActiveCaller(session): ActiveCaller,
    State(messages): State<Arc<Messages>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<EditRequest>,
) -> Result<Reply<SentReply>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    limits.check(Rate::Message, session.user)?;
    let at = request.conversation.one()?;
    let sent = messages.edit(&session, at, request.message_id, request.text).await?;
    Ok(Reply::new("edit message ok", sent.into()))
}
