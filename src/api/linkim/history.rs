//! `GET /conversation/get` and `GET /conversation/group/get`.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, Input, is_caller, page_size},
    refusal::{Failure, Refusal},
    state::LinkImState,
    time::rfc3339,
};
use crate::{
    accounts::Session,
    api::extract::Json,
    conversations::{ConversationRef, HistoryReader, history::HistoryError, message::Message, people::Person},
    numbers::{GroupRef, MessageRef, UserRef},
    peers::backfill::{Backfill, Filled},
    store::ids::RoomNid,
};

impl From<HistoryError> for Refusal {
    fn from(error: HistoryError) -> Self {
        let text = error.to_string();
        match error {
            HistoryError::Place(error) => error.into(),
            HistoryError::UnknownCursor => Self::new(StatusCode::NOT_FOUND, errcode::NOT_FOUND, text),
            HistoryError::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(group_get))
}

/// Which page of a conversation of two people.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GetRequest {
    /// Who reads; the token's user.
    user_id: Option<UserRef>,
    /// With whom.
    the_other_person_id: UserRef,
    /// The message before which the page begins: the last one of the page before. 0, or left out: at the newest one.
    last_msg_id: Option<MessageRef>,
    /// Not used: pages follow `last_msg_id`.
    #[serde(rename = "page_num")]
    _page_num: Option<i64>,
    /// Messages at most: 1 to 200, 20 if left out.
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Which page of a group's messages.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GroupGetRequest {
    /// Who reads; the token's user.
    user_id: Option<UserRef>,
    /// The group.
    group_id: GroupRef,
    /// The message before which the page begins: the last one of the page before. 0, or left out: at the newest one.
    last_msg_id: Option<MessageRef>,
    /// Not used: pages follow `last_msg_id`.
    #[serde(rename = "page_num")]
    _page_num: Option<i64>,
    /// Messages at most: 1 to 200, 20 if left out.
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Who sent a message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UserInfo {
    /// The user's number.
    #[serde(rename = "UserID")]
    user_id: i64,
    /// The same as a string.
    #[serde(rename = "UserID_str")]
    user_id_str: String,
    /// The user's id.
    #[serde(rename = "matrix_id")]
    matrix_id: String,
    /// The name in their profile.
    self_nickname: String,
    /// Where their avatar is; empty if they have none.
    avatar: String,
}

/// A message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageInfo {
    /// Its number.
    #[serde(rename = "ID")]
    id: i64,
    /// The same as a string.
    #[serde(rename = "ID_str")]
    id_str: String,
    /// The event that has its content.
    #[serde(rename = "event_id")]
    event_id: String,
    /// 0 encrypted, 1 text, 2 image, 3 file, 103 sound, 104 film, 109 place, 110 something else.
    kind: i64,
    /// Its text; of a file, where it is (`mxc://…`). Empty if it is encrypted.
    content: String,
    /// Of a file, its caption or name; else as `Content`.
    body: String,
    /// The sender's number.
    sender: i64,
    /// The same as a string.
    #[serde(rename = "Sender_str")]
    sender_str: String,
    /// The sender's name in the group.
    group_nickname: String,
    /// Who sent it.
    user_info: UserInfo,
    /// When it was sent.
    #[schema(format = DateTime)]
    create_time: String,
    /// Whether it was edited.
    edited: bool,
    /// Whether it was withdrawn and restored.
    restored: bool,
    /// The event that it answers.
    quotes: Option<String>,
    /// Ids of the users whom it mentions.
    mentions: Vec<String>,
    /// Whether it mentions everybody.
    mentions_all: bool,
    /// Of the caller's own message: how far it has come with all who are to receive it, `sent`, `delivered` or `read`. Null of
    /// others' messages and, with the counts, in conversations with more than 100 members: there `/message/receipts` tells.
    status: Option<&'static str>,
    /// How many are to receive it.
    recipient_count: Option<usize>,
    /// With how many of them it is delivered, those included who have read it.
    delivered_count: Option<usize>,
    /// How many of them have read it.
    read_count: Option<usize>,
}

impl MessageInfo {
    fn number(&self) -> i64 {
        self.id
    }

    pub(super) fn new(message: Message, sender: &Person) -> Self {
        Self {
            id: message.number,
            id_str: message.number.to_string(),
            event_id: message.event_id.to_string(),
            kind: message.kind,
            content: message.content,
            body: message.body,
            sender: message.sender.0,
            sender_str: message.sender.0.to_string(),
            group_nickname: sender.group_nickname.clone(),
            user_info: UserInfo {
                user_id: message.sender.0,
                user_id_str: message.sender.0.to_string(),
                matrix_id: sender.user_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                self_nickname: sender.nickname.clone(),
                avatar: sender.avatar.clone(),
            },
            create_time: rfc3339(message.created_ms),
            edited: message.edited,
            restored: message.restored,
            quotes: message.quotes.map(|quoted| quoted.to_string()),
            mentions: message.mentions,
            mentions_all: message.mentions_all,
            status: message.progress.map(|progress| progress.status().as_str()),
            recipient_count: message.progress.map(|progress| progress.recipients),
            delivered_count: message.progress.map(|progress| progress.delivered),
            read_count: message.progress.map(|progress| progress.read),
        }
    }
}

/// A page of messages, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    /// The conversation's number.
    #[serde(rename = "ThreadID")]
    thread_id: i64,
    /// The same as a string.
    #[serde(rename = "ThreadID_str")]
    thread_id_str: String,
    /// The conversation's room.
    #[serde(rename = "room_id")]
    room_id: String,
    /// The messages.
    messages: Vec<MessageInfo>,
    /// Whether there are earlier ones.
    has_more: bool,
    /// `last_msg_id` of the next page; 0 if there is none. It is the last message's number, unless much that is not shown lies
    /// behind it.
    #[serde(rename = "next_msg_id")]
    next_msg_id: i64,
    /// The same as a string.
    #[serde(rename = "next_msg_id_str")]
    next_msg_id_str: String,
    /// Messages by others in the conversation that the user has not read.
    unread: i64,
}

/// A page, with the key that the old LinkIM misspelt.
#[derive(Serialize, ToSchema)]
struct GetReply {
    /// Always 0.
    #[schema(example = 0)]
    code: u32,
    /// What was done, for a person to read.
    message: &'static str,
    /// The same under the old LinkIM's key.
    messge: &'static str,
    /// The page.
    detail: Detail,
}

/// A page, with the keys that the old LinkIM had for groups.
#[derive(Serialize, ToSchema)]
struct GroupGetReply {
    /// Always 0.
    #[schema(example = 0)]
    code: u32,
    /// What was done, for a person to read.
    message: &'static str,
    /// The same under the old LinkIM's key.
    msg: &'static str,
    /// The page.
    data: Detail,
}

impl IntoResponse for GetReply {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl IntoResponse for GroupGetReply {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// Times that other servers are asked for one page at most, and how long a client waits for them, all together.
const MAX_FILLS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(12);

/// A page; where nothing more is here, other servers are asked for what came before.
async fn detail(
    reader: &HistoryReader,
    backfill: &Arc<Backfill>,
    session: &Session,
    at: ConversationRef,
    cursor: Option<MessageRef>,
    size: usize,
) -> Result<Detail, HistoryError> {
    let cursor = cursor.filter(|cursor| *cursor != MessageRef::Number(0));
    let until = Instant::now() + PATIENCE;
    let mut fills = 0;
    let page = loop {
        let mut page = reader.page(session, at.clone(), cursor.clone(), size, MessageInfo::new).await?;
        let Some(gap) = page.gap.take() else { break page };
        let filled = match fills < MAX_FILLS && Instant::now() < until {
            true => backfill.fill(&page.room.room_id, &gap).await?,
            false => Filled::NotNow,
        };
        match filled {
            Filled::Progress => fills += 1,
            Filled::Nowhere => break page,
            Filled::NotNow => {
                // So that the client may come back.
                page.next = page.messages.last().map(MessageInfo::number);
                break page;
            }
        }
    };
    let RoomNid(thread_id) = page.room.nid;
    let next = page.next.unwrap_or(0);
    Ok(Detail {
        thread_id,
        thread_id_str: thread_id.to_string(),
        room_id: page.room.room_id.to_string(),
        messages: page.messages,
        has_more: page.next.is_some(),
        next_msg_id: next,
        next_msg_id_str: next.to_string(),
        unread: page.unread,
    })
}

/// A page of a conversation of two people, newest first: without what was withdrawn, with what was edited and restored as it is
/// now.
#[utoipa::path(get, path = "/conversation/get", tag = "conversation", params(GetRequest), security(("token" = [])),
    responses((status = 200, body = GetReply), (status = "4XX", body = Failure)))]
async fn get(
    Caller(session): Caller,
    State(reader): State<Arc<HistoryReader>>,
    State(backfill): State<Arc<Backfill>>,
    Input(request): Input<GetRequest>,
) -> Result<GetReply, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let size = page_size(request.page_size)?;
    let at = ConversationRef::With(request.the_other_person_id);
    let detail = detail(&reader, &backfill, &session, at, request.last_msg_id, size).await?;
    Ok(GetReply { code: 0, message: "load message ok", messge: "load message ok", detail })
}

/// A page of a group's messages, as `/conversation/get`. For who is in the group, or was: up to their leaving.
#[utoipa::path(get, path = "/conversation/group/get", tag = "conversation", params(GroupGetRequest),
    security(("token" = [])),
    responses((status = 200, body = GroupGetReply), (status = "4XX", body = Failure)))]
async fn group_get(
    Caller(session): Caller,
    State(reader): State<Arc<HistoryReader>>,
    State(backfill): State<Arc<Backfill>>,
    Input(request): Input<GroupGetRequest>,
) -> Result<GroupGetReply, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let size = page_size(request.page_size)?;
    let at = ConversationRef::Group(request.group_id);
    let data = detail(&reader, &backfill, &session, at, request.last_msg_id, size).await?;
    let text = "load messages successfully";
    Ok(GroupGetReply { code: 0, message: text, msg: text, data })
}
