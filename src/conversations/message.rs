//! What a message is to LinkIM's clients: a number, a kind, a content.
//!
//! A message that was withdrawn and restored is shown at its old place under its old number, with the text of the event that
//! restored it.

use ruma::OwnedEventId;
use serde::Deserialize;

use crate::{
    rooms::{client_event::Renderer, message_kind, relations},
    store::{
        Read, StoreError, event_pages,
        event_pages::EventPage,
        ids::{EventNid, RoomNid, UserNid},
        message_numbers,
    },
};

/// A message that may be shown.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number; that of the withdrawn message whose place it has.
    pub number: i64,
    /// The event that has its content.
    pub event: EventNid,
    /// That event's id.
    pub event_id: OwnedEventId,
    /// Its place in the order of arrival.
    pub position: i64,
    /// Who sent it.
    pub sender: UserNid,
    /// One of [`message_kind`].
    pub kind: i64,
    /// Its text, or where its file is (`mxc://…`); empty if it is encrypted.
    pub content: String,
    /// The text beside a file: its name or a caption. Of a text, the same text.
    pub body: String,
    /// When it was sent, in milliseconds, as its sender says.
    pub created_ms: i64,
    /// Whether it was edited.
    pub edited: bool,
    /// Whether it was withdrawn and restored.
    pub restored: bool,
    /// What it quotes.
    pub quotes: Option<OwnedEventId>,
    /// Whom it mentions by id.
    pub mentions: Vec<String>,
    /// Whether it mentions everybody.
    pub mentions_all: bool,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    msgtype: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default, rename = "m.mentions")]
    mentions: Option<Mentions>,
    #[serde(default, rename = "m.relates_to")]
    relates_to: Option<RelatesTo>,
    #[serde(default, rename = "m.new_content")]
    new_content: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Mentions {
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    room: bool,
}

#[derive(Default, Deserialize)]
struct RelatesTo {
    #[serde(default, rename = "m.in_reply_to")]
    in_reply_to: Option<InReplyTo>,
}

#[derive(Deserialize)]
struct InReplyTo {
    event_id: OwnedEventId,
}

/// What stands at the place of an event: the event, or what restored it. None where there is nothing to show to the viewer:
/// withdrawn, not visible, or of somebody whom they ignore.
///
/// # Errors
/// [`StoreError`].
pub fn at(
    read: &dyn Read,
    room: RoomNid,
    renderer: &mut Renderer<'_>,
    place: EventNid,
) -> Result<Option<Message>, StoreError> {
    let original = event_pages::by_nid(read, place)?;
    if original.row.redacted_by.is_none() {
        return shown(read, renderer, &original, &original);
    }
    // Restored messages are few, so only withdrawn ones are asked for their heirs.
    match message_numbers::event(read, room, place.0)? {
        Some(heir) if heir != place => shown(read, renderer, &original, &event_pages::by_nid(read, heir)?),
        _ => Ok(None),
    }
}

/// `page` at the place of `original`.
fn shown(
    read: &dyn Read,
    renderer: &mut Renderer<'_>,
    original: &EventPage,
    page: &EventPage,
) -> Result<Option<Message>, StoreError> {
    if page.row.redacted_by.is_some()
        || renderer.ignored()?.contains(&page.row.sender)
        || !renderer.allows(&original.row)?
        || !renderer.allows(&page.row)?
    {
        return Ok(None);
    }
    let mut content = content_of(renderer, page)?;
    let mut edited = false;
    if page.related
        && let Some(edit) = relations::newest_edit(renderer, page, &page.json)?
    {
        let new = content_of(renderer, &edit)?.new_content;
        if let Some(new) = new.and_then(|new| serde_json::from_value::<Content>(new).ok()) {
            // An edit keeps what the message answers.
            content = Content { relates_to: content.relates_to, ..new };
            edited = true;
        }
    }
    let body = content.body.unwrap_or_default();
    let kind = message_kind::of(&page.row.kind, content.msgtype.as_deref());
    let mentions = content.mentions.unwrap_or_default();
    let text = message_kind::shown(kind, Some(body.clone()), content.url);
    let number = match original.row.nid == page.row.nid {
        true => message_numbers::of_event(read, page.row.nid)?,
        false => original.row.nid.0,
    };
    Ok(Some(Message {
        number,
        event: page.row.nid,
        event_id: page.row.event_id.clone(),
        position: original.row.position.unwrap_or(i64::MIN),
        sender: page.row.sender,
        kind,
        content: text,
        body: if kind == message_kind::ENCRYPTED { String::new() } else { body },
        created_ms: original.row.origin_ts,
        edited,
        restored: original.row.nid != page.row.nid,
        quotes: content.relates_to.and_then(|relates_to| relates_to.in_reply_to).map(|reply| reply.event_id),
        mentions: mentions.user_ids,
        mentions_all: mentions.room,
    }))
}

fn content_of(renderer: &mut Renderer<'_>, page: &EventPage) -> Result<Content, StoreError> {
    let mut json = String::new();
    renderer.content(page, &mut json)?;
    // What another server sent may have any shape: then there is nothing to show of it.
    Ok(serde_json::from_str(&json).unwrap_or_default())
}
