//! `GET /conversations`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Caller, Input, MAX_PAGE_SIZE, is_caller, page_size},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
    time::rfc3339,
};
use crate::{
    conversations::{
        Conversations,
        entry::{Conversation, Receiving},
        list::{Changes, ListPage},
    },
    numbers::{Numbers, UserRef},
    rooms::page_token::BadToken,
    store::ids::RoomKey,
};

/// The ways in which the question is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cursor is not one that an earlier answer gave")]
    Cursor,
    #[error("since is not a position that an earlier answer gave")]
    Since,
    #[error("cursor and since exclude each other")]
    Both,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Cursor | Error::Since | Error::Both => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(conversations))
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// Who asks; the token's user.
    user_id: Option<UserRef>,
    /// Where the page begins: `next_cursor` of the page before.
    #[param(pattern = r"^[01]-(0|[1-9][0-9]{0,17})$")]
    cursor: Option<String>,
    /// A `position` of an earlier answer: only what has changed since then is wanted.
    since: Option<String>,
    /// Conversations at most: 1 to 200, 200 if left out: the old LinkIM's clients know no pages.
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// Not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// The newest message of a conversation.
#[derive(Serialize, ToSchema)]
struct LastMessage {
    /// Its number.
    id: i64,
    /// The same as a string.
    id_str: String,
    /// The event that has its content.
    event_id: String,
    /// The sender's number.
    sender_id: i64,
    /// The same as a string.
    sender_id_str: String,
    /// The sender's name in the conversation.
    sender_nickname: String,
    /// 0 encrypted, 1 text, 2 image, 3 file, 103 sound, 104 film, 109 place, 110 something else.
    kind: i64,
    /// Its text; of a file, where it is (`mxc://…`). Empty if it is encrypted.
    content: String,
    /// When it was sent.
    #[schema(format = DateTime)]
    created_at: String,
}

/// The other one of a conversation of two people.
#[derive(Default, Serialize, ToSchema)]
struct PeerInfo {
    /// The user's number; 0 in a group.
    user_id: i64,
    /// The same as a string.
    user_id_str: String,
    /// The user's id; empty in a group.
    matrix_id: String,
    /// The user's name.
    nickname: String,
    /// Where the avatar is; empty if there is none.
    avatar: String,
}

/// A group.
#[derive(Default, Serialize, ToSchema)]
struct GroupInfo {
    /// The group's id; null in a conversation of two people.
    group_id: Option<String>,
    /// Its name.
    group_name: String,
    /// Where its picture is; empty if there is none.
    avatar: String,
}

/// A text that the user has begun.
#[derive(Serialize, ToSchema)]
struct DraftInfo {
    /// The text.
    text: String,
    /// When it was last changed, in milliseconds.
    updated_ts: i64,
}

/// A conversation.
#[derive(Serialize, ToSchema)]
struct ConversationInfo {
    /// `single`: of two people; `group`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its number.
    thread_id: i64,
    /// The same as a string.
    thread_id_str: String,
    /// Its room.
    room_id: String,
    /// The newest message; null if there is none.
    last_message: Option<LastMessage>,
    /// Messages by others that are not read.
    unread_count: i64,
    /// Who of them concerns the user: 0 none, 1 one mentions the user, 2 one mentions everybody, 3 both.
    at_flag: i64,
    /// Whether the user marked it as unread.
    marked_unread: bool,
    /// Whether it stands before the others.
    pinned: bool,
    /// Whether its messages don't notify.
    muted: bool,
    /// OpenIM's `recvMsgOpt`: 0 everything, 1 nothing, 2 without notifications.
    recv_opt: i64,
    /// A text that the user has begun.
    draft: Option<DraftInfo>,
    /// The other one; of a group, with zero values.
    user_info: PeerInfo,
    /// The group; of two people, with zero values.
    group_info: GroupInfo,
    /// When the newest message was sent or, without one, when the user joined.
    #[schema(format = DateTime)]
    update_time: String,
}

impl ConversationInfo {
    fn new(numbers: &Numbers, of: Conversation) -> Self {
        let thread_id = of.room.nid.0;
        let (mut user_info, mut group_info) = (PeerInfo::default(), GroupInfo::default());
        match &of.peer {
            Some((user, person)) => {
                user_info = PeerInfo {
                    user_id: user.0,
                    user_id_str: user.0.to_string(),
                    matrix_id: person.user_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                    nickname: of.name,
                    avatar: of.avatar,
                };
            }
            None => {
                group_info = GroupInfo {
                    group_id: Some(numbers.group_id(of.room.nid).to_string()),
                    group_name: of.name,
                    avatar: of.avatar,
                };
            }
        }
        let recv_opt = match of.receiving {
            Receiving::Everything => 0,
            Receiving::Nothing => 1,
            Receiving::Quietly => 2,
        };
        Self {
            kind: if of.peer.is_some() { "single" } else { "group" },
            thread_id,
            thread_id_str: thread_id.to_string(),
            room_id: of.room.room_id.to_string(),
            last_message: of.last.map(|(message, sender)| LastMessage {
                id: message.number,
                id_str: message.number.to_string(),
                event_id: message.event_id.to_string(),
                sender_id: message.sender.0,
                sender_id_str: message.sender.0.to_string(),
                sender_nickname: match sender.group_nickname.is_empty() {
                    true => sender.nickname.clone(),
                    false => sender.group_nickname.clone(),
                },
                kind: message.kind,
                content: message.content,
                created_at: rfc3339(message.created_ms),
            }),
            unread_count: of.unread,
            at_flag: i64::from(of.mentioned) + 2 * i64::from(of.all_mentioned),
            marked_unread: of.marked_unread,
            pinned: of.pinned,
            muted: of.receiving == Receiving::Quietly,
            recv_opt,
            draft: of.draft.map(|draft| DraftInfo { text: draft.text, updated_ts: draft.updated_ts }),
            user_info,
            group_info,
            update_time: rfc3339(of.updated_ms),
        }
    }
}

/// A conversation that is gone from the list.
#[derive(Serialize, ToSchema)]
struct RemovedInfo {
    /// Its number.
    thread_id: i64,
    /// The same as a string.
    thread_id_str: String,
    /// Its room.
    room_id: String,
}

impl RemovedInfo {
    fn new(room: &RoomKey) -> Self {
        Self { thread_id: room.nid.0, thread_id_str: room.nid.0.to_string(), room_id: room.room_id.to_string() }
    }
}

/// A page of the list, or what changed in it.
#[derive(Serialize, ToSchema)]
struct List {
    /// The conversations: pinned ones first, then by the newest message. With `since` and without `full`, those that are new or
    /// changed.
    detail: Vec<ConversationInfo>,
    /// With `since` and without `full`: conversations that are gone from the list, left or hidden.
    removed: Vec<RemovedInfo>,
    /// Whether `detail` is a page of the list as it is, and not what changed in it: the client begins anew.
    full: bool,
    /// Whether the list goes on behind this page.
    has_more: bool,
    /// `cursor` of the next page; null if there is none.
    next_cursor: Option<String>,
    /// `since` of a later question. Whoever reads several pages keeps that of the first.
    position: String,
}

impl From<ListPage<ConversationInfo>> for List {
    fn from(page: ListPage<ConversationInfo>) -> Self {
        Self {
            detail: page.entries,
            removed: Vec::new(),
            full: true,
            has_more: page.next.is_some(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
            position: page.position.to_string(),
        }
    }
}

impl From<Changes<ConversationInfo>> for List {
    fn from(changes: Changes<ConversationInfo>) -> Self {
        match changes {
            Changes::All(page) => page.into(),
            Changes::Some { changed, removed, position } => Self {
                detail: changed,
                removed: removed.iter().map(|room| RemovedInfo::new(room)).collect(),
                full: false,
                has_more: false,
                next_cursor: None,
                position: position.to_string(),
            },
        }
    }
}

/// The caller's conversations: a page of them, or what has changed since a position. A position of a past that is lost, or from
/// too long ago, is answered with the first page and `full`.
#[utoipa::path(get, path = "/conversations", tag = "conversation", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<List>), (status = "4XX", body = Failure)))]
async fn conversations(
    Caller(session): Caller,
    State(conversations): State<Arc<Conversations>>,
    State(numbers): State<Arc<Numbers>>,
    Input(request): Input<Request>,
) -> Result<Reply<List>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let size = page_size(request.page_size.or(Some(MAX_PAGE_SIZE as i64)))?;
    let show = move |_: &dyn crate::store::Read, conversation| Ok(ConversationInfo::new(&numbers, conversation));
    let list = match (request.cursor, request.since) {
        (Some(_), Some(_)) => return Err(Error::Both.into()),
        (None, Some(since)) => {
            let changes = conversations.changes(&session, &since, size, show).await;
            List::from(changes.map_err(|BadToken| Error::Since)??)
        }
        (cursor, None) => {
            let after = cursor.map(|cursor| cursor.parse()).transpose().map_err(|BadToken| Error::Cursor)?;
            List::from(conversations.page(&session, after, size, show).await?)
        }
    };
    Ok(Reply::new("load conversations ok", list))
}
