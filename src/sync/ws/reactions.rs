//! Frames of reactions: given to a message, taken back.

use serde::Serialize;

use super::{
    frames::{By, Relation, Thread, frame, is_message, target},
    position::Position,
};
use crate::{
    numbers::Numbers,
    store::{Read, StoreError, events::EventRow, feed, ids::RoomKey, message_numbers},
};

/// The type of reactions.
pub(super) const TYPE: &str = "m.reaction";

#[derive(Serialize)]
struct Reaction<'a> {
    #[serde(flatten)]
    thread: Thread<'a>,
    message_id: i64,
    message_id_str: String,
    /// The message's event.
    event_id: &'a str,
    #[serde(flatten)]
    by: By,
    created_ts: i64,
    /// The reaction's own event: what takes it back names it alone.
    reaction_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    removed: bool,
}

pub(super) fn is_one(row: &EventRow) -> bool {
    row.state_key.is_none() && &*row.kind == TYPE
}

/// The frame of a reaction; None: it is none to a message of the room that still stands.
pub(super) fn added(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    row: &EventRow,
    relation: &Relation,
    position: Position,
) -> Result<Option<String>, StoreError> {
    let Relation { rel_type: Some(kind), event_id: Some(of), key: Some(key) } = relation else { return Ok(None) };
    if kind != "m.annotation" {
        return Ok(None);
    }
    let of = target(read, room, Some(&**of))?.filter(|of| of.redacted_by.is_none());
    write(read, numbers, room, (row, row, Some(key.as_str())), of, position)
}

/// The frame of the redaction `row`, which took the reaction `taken` back.
pub(super) fn removed(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    row: &EventRow,
    taken: &EventRow,
    position: Position,
) -> Result<Option<String>, StoreError> {
    // The content says nothing any more.
    let of = feed::relation_target(read, taken.nid)?;
    let of = target(read, room, of.as_deref())?;
    write(read, numbers, room, (row, taken, None), of, position)
}

fn write(
    read: &dyn Read,
    numbers: &Numbers,
    room: &RoomKey,
    (row, reaction, key): (&EventRow, &EventRow, Option<&str>),
    of: Option<EventRow>,
    position: Position,
) -> Result<Option<String>, StoreError> {
    let Some(of) = of.filter(is_message) else { return Ok(None) };
    let number = message_numbers::of_event(read, of.nid)?;
    let shown = Reaction {
        thread: Thread::of(read, numbers, room)?,
        message_id: number,
        message_id_str: number.to_string(),
        event_id: of.event_id.as_str(),
        by: By::of(read, row.sender)?,
        created_ts: row.origin_ts,
        reaction_id: reaction.event_id.as_str(),
        key,
        removed: key.is_none(),
    };
    frame("reaction", Some(position), &shown).map(Some)
}
