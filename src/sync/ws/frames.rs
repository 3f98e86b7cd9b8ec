//! What frames look like: `{"type", "position", "data"}`.
//!
//! What an event's frame says depends on no viewer, so it is written once for all who get it.

use ruma::{EventId, OwnedEventId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::position::Position;
use crate::{
    numbers::Numbers,
    presence::Change,
    rooms::message_kind,
    store::{
        Read, StoreError, direct_rooms,
        event_pages::EventPage,
        events,
        events::EventRow,
        feed::PlacedReceipt,
        ids::{self, RoomKey, UserNid},
        members::{MemberRow, Membership},
        message_numbers,
    },
};

/// A frame's text.
pub(super) fn frame(kind: &str, position: Option<Position>, data: &impl Serialize) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Frame<'a, T> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        data: &'a T,
    }
    let position = position.map(|position| position.to_string());
    serde_json::to_string(&Frame { kind, position, data }).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Where something happened.
#[derive(Serialize)]
struct Thread<'a> {
    thread_id: i64,
    thread_id_str: String,
    room_id: &'a str,
    /// `single` or `group`, as the list of conversations says.
    thread_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
}

impl<'a> Thread<'a> {
    fn of(read: &dyn Read, numbers: &Numbers, room: &'a RoomKey) -> Result<Self, StoreError> {
        let direct = room.service.is_none() && direct_rooms::pair_of(read, room.nid)?.is_some();
        Ok(Self {
            thread_id: room.nid.0,
            thread_id_str: room.nid.0.to_string(),
            room_id: room.room_id.as_str(),
            thread_type: if direct { "single" } else { "group" },
            group_id: (!direct).then(|| numbers.group_id(room.nid).to_string()),
        })
    }

    fn is_direct(&self) -> bool {
        self.group_id.is_none()
    }
}

/// Who did something.
#[derive(Serialize)]
struct By {
    user_id: i64,
    user_id_str: String,
    matrix_id: String,
}

impl By {
    fn of(read: &dyn Read, user: UserNid) -> Result<Self, StoreError> {
        Ok(Self { user_id: user.0, user_id_str: user.0.to_string(), matrix_id: ids::user_id(read, user)?.to_string() })
    }
}

/// What happened to a message.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    thread: Thread<'a>,
    message_id: i64,
    message_id_str: String,
    /// The message's event; of an edit, a withdrawal or a restoration the one that it changes.
    event_id: &'a str,
    #[serde(flatten)]
    by: By,
    /// When, in milliseconds, as the sender says.
    created_ts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
}

/// What a message says.
#[derive(Serialize)]
struct Body<'a> {
    kind: i64,
    content: String,
    /// The type of the event.
    event_type: &'a str,
    /// The content of the event.
    event_content: &'a RawValue,
}

/// What is looked at in an event.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(default)]
    redacts: Option<OwnedEventId>,
}

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(default)]
    msgtype: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    redacts: Option<OwnedEventId>,
    #[serde(default, rename = "org.linkim.restores")]
    restores: Option<OwnedEventId>,
    #[serde(default, rename = "m.relates_to")]
    relates_to: Option<Relation>,
    #[serde(borrow, default, rename = "m.new_content")]
    new_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Relation {
    #[serde(default)]
    rel_type: Option<String>,
    #[serde(default)]
    event_id: Option<OwnedEventId>,
}

/// The frame of an event; None: events of this kind have none, or it changes nothing.
pub(super) fn event(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    page: &EventPage,
    position: Position,
) -> Result<Option<String>, StoreError> {
    let event: Event<'_> = serde_json::from_str(&page.json).map_err(|error| StoreError::Damaged(error.to_string()))?;
    if page.row.state_key.is_some() {
        return state(read, numbers, room, &page.row, event.content, position).map(Some);
    }
    // What another server sent may have any shape: then it is a message that says nothing.
    let content: Content<'_> = serde_json::from_str(event.content.get()).unwrap_or_default();
    match &*page.row.kind {
        "m.room.redaction" => {
            let redacts = event.redacts.or(content.redacts);
            let target = target(read, room, redacts.as_deref())?;
            // A redaction that was not allowed, or not the first, takes nothing away.
            let target = target.filter(|target| target.redacted_by == Some(page.row.nid) && is_message(target));
            let Some(target) = target else { return Ok(None) };
            let shown = message(read, numbers, room, &page.row, &target, None)?;
            frame("withdraw", Some(position), &shown).map(Some)
        }
        kind if message_kind::is_message(kind) => {
            if page.row.redacted_by.is_some() {
                return Ok(None);
            }
            let (kind, of, said) = meaning(read, room, &page.row, &content, event.content)?;
            let Some(of) = of else { return Ok(None) };
            let body = body(&page.row, said);
            let shown = message(read, numbers, room, &page.row, &of, Some(body))?;
            frame(kind, Some(position), &shown).map(Some)
        }
        "org.linkim.group.confirm" => {
            let shown = Happened {
                thread: Thread::of(read, numbers, room)?,
                by: By::of(read, page.row.sender)?,
                event_type: &page.row.kind,
                state_key: None,
                event_id: page.row.event_id.as_str(),
                created_ts: page.row.origin_ts,
                event_content: event.content,
            };
            frame("announcement", Some(position), &shown).map(Some)
        }
        _ => Ok(None),
    }
}

pub(super) fn is_message(row: &EventRow) -> bool {
    row.state_key.is_none() && message_kind::is_message(&row.kind)
}

/// The event of this id, if it is in the room.
fn target(read: &dyn Read, room: &RoomKey, id: Option<&EventId>) -> Result<Option<EventRow>, StoreError> {
    match id {
        Some(id) => Ok(events::by_id(read, id)?.filter(|row| row.room == room.nid)),
        None => Ok(None),
    }
}

/// What an event of a message's type is: a message, an edit of one (of whose number, with what content), or what restores one.
/// None in place of the message: an edit that counts for nothing.
fn meaning<'c>(
    read: &dyn Read,
    room: &RoomKey,
    row: &EventRow,
    content: &Content<'c>,
    whole: &'c RawValue,
) -> Result<(&'static str, Option<EventRow>, &'c RawValue), StoreError> {
    if let Some(restored) = target(read, room, content.restores.as_deref())?
        && restored.sender == row.sender
        && restored.redacted_by.is_some()
        && is_message(&restored)
    {
        return Ok(("restore", Some(restored), whole));
    }
    let relation = content.relates_to.as_ref();
    if let Some(relation) = relation.filter(|it| it.rel_type.as_deref() == Some("m.replace")) {
        let edited = target(read, room, relation.event_id.as_deref())?;
        let counts = |it: &EventRow| it.sender == row.sender && it.redacted_by.is_none() && is_message(it);
        return Ok(("edit", edited.filter(counts), content.new_content.unwrap_or(whole)));
    }
    Ok(("message", Some(row.clone()), whole))
}

fn message<'a>(
    read: &dyn Read,
    numbers: &Numbers,
    room: &'a RoomKey,
    row: &EventRow,
    of: &'a EventRow,
    body: Option<Body<'a>>,
) -> Result<Message<'a>, StoreError> {
    let number = message_numbers::of_event(read, of.nid)?;
    Ok(Message {
        thread: Thread::of(read, numbers, room)?,
        message_id: number,
        message_id_str: number.to_string(),
        event_id: of.event_id.as_str(),
        by: By::of(read, row.sender)?,
        created_ts: row.origin_ts,
        body,
    })
}

fn body<'a>(row: &'a EventRow, said: &'a RawValue) -> Body<'a> {
    let content: Content<'_> = serde_json::from_str(said.get()).unwrap_or_default();
    let kind = message_kind::of(&row.kind, content.msgtype.as_deref());
    let content = message_kind::shown(kind, content.body, content.url);
    Body { kind, content, event_type: &row.kind, event_content: said }
}

/// A state event, or what has no form of its own.
#[derive(Serialize)]
struct Happened<'a> {
    #[serde(flatten)]
    thread: Thread<'a>,
    #[serde(flatten)]
    by: By,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    event_id: &'a str,
    created_ts: i64,
    event_content: &'a RawValue,
}

fn state(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    row: &EventRow,
    content: &RawValue,
    position: Position,
) -> Result<String, StoreError> {
    let (_, state_key) = ids::state_key(read, row.state_key.unwrap_or_default())?;
    let thread = Thread::of(read, numbers, room)?;
    let kind = match &*row.kind {
        "org.linkim.group.notice" => "announcement",
        "m.room.member" if thread.is_direct() => "friend",
        _ => "group",
    };
    let shown = Happened {
        thread,
        by: By::of(read, row.sender)?,
        event_type: &row.kind,
        state_key: Some(&state_key),
        event_id: row.event_id.as_str(),
        created_ts: row.origin_ts,
        event_content: content,
    };
    frame(kind, Some(position), &shown)
}

/// The frame of the viewer's own membership; None: an invitation that somebody sent whom they ignore.
pub(super) fn membership(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    member: &MemberRow,
    ignores: impl Fn(UserNid) -> bool,
    position: Position,
) -> Result<Option<String>, StoreError> {
    let row = events::by_nid(read, member.event)?;
    if member.membership == Membership::Invite && ignores(row.sender) {
        return Ok(None);
    }
    let json = events::json(read, member.event)?;
    let event: Event<'_> = serde_json::from_str(&json).map_err(|error| StoreError::Damaged(error.to_string()))?;
    state(read, numbers, room, &row, event.content, position).map(Some)
}

#[derive(Serialize)]
struct Seen<'a> {
    #[serde(flatten)]
    thread: Thread<'a>,
    #[serde(flatten)]
    by: By,
    message_id: i64,
    message_id_str: String,
    event_id: &'a str,
    ts: i64,
    /// The root of the thread within the conversation, or `main`; left out where everything is read.
    #[serde(skip_serializing_if = "str::is_empty")]
    in_thread: &'a str,
    private: bool,
}

/// The frame of a receipt.
pub(super) fn receipt(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    receipt: &PlacedReceipt,
    position: Position,
) -> Result<String, StoreError> {
    let number = message_numbers::of_event(read, receipt.event)?;
    let shown = Seen {
        thread: Thread::of(read, numbers, room)?,
        by: By::of(read, receipt.user)?,
        message_id: number,
        message_id_str: number.to_string(),
        event_id: receipt.event_id.as_str(),
        ts: receipt.ts,
        in_thread: &receipt.thread,
        private: receipt.private,
    };
    frame("read", Some(position), &shown)
}

/// The frame that says that a user's devices have received an event, and all before it in the room.
pub(super) fn delivered(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    user: UserNid,
    event: &EventRow,
) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(flatten)]
        thread: Thread<'a>,
        #[serde(flatten)]
        by: By,
        message_id: i64,
        message_id_str: String,
        event_id: &'a str,
    }
    let number = message_numbers::of_event(read, event.nid)?;
    let shown = Data {
        thread: Thread::of(read, numbers, room)?,
        by: By::of(read, user)?,
        message_id: number,
        message_id_str: number.to_string(),
        event_id: event.event_id.as_str(),
    };
    frame("delivered", None, &shown)
}

/// The frame of account data that says whom the viewer knows: several types where one change wrote them.
pub(super) fn account_data(entries: &[(String, String)], position: Position) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Entry<'a> {
        event_type: &'a str,
        event_content: &'a RawValue,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        account_data: Vec<Entry<'a>>,
    }
    let mut account_data = Vec::with_capacity(entries.len());
    for (kind, content) in entries {
        let content = serde_json::from_str(content).map_err(|error| StoreError::Damaged(error.to_string()))?;
        account_data.push(Entry { event_type: kind, event_content: content });
    }
    frame("friend", Some(position), &Data { account_data })
}

/// The frame that says who is typing in a room now.
pub(super) fn typing(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    users: &[UserNid],
) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(flatten)]
        thread: Thread<'a>,
        users: Vec<By>,
    }
    let users = users.iter().map(|user| By::of(read, *user)).collect::<Result<Vec<_>, _>>()?;
    frame("typing", None, &Data { thread: Thread::of(read, numbers, room)?, users })
}

/// The frame that says what somebody is now.
pub(super) fn presence(change: &Change, now_ms: i64) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(flatten)]
        by: By,
        #[serde(flatten)]
        content: crate::presence::Content<'a>,
    }
    let by =
        By { user_id: change.user.0, user_id_str: change.user.0.to_string(), matrix_id: change.user_id.to_string() };
    frame("presence", None, &Data { by, content: change.shown.content(now_ms) })
}
