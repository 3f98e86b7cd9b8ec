//! Frames of a user's own data: whom they know (`friend`), and what they decided about conversations (`conversation`), so that
//! their other devices follow.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    frames::{Thread, frame},
    position::Position,
};
use crate::{
    numbers::Numbers,
    store::{
        Read, StoreError,
        feed::PlacedData,
        ids::{RoomKey, RoomNid},
    },
};

/// Global account data that says whom the user knows.
const KNOWN_PEOPLE: [&str; 4] =
    ["org.linkim.friends", "org.linkim.friend_labels", "org.linkim.friend_remarks", "m.ignored_user_list"];

/// Global account data that says which conversations notify.
const PUSH_RULES: &str = "m.push_rules";

/// A room's account data that decides how the list of conversations shows it.
const SETTINGS: [&str; 6] = [
    "m.tag",
    "m.marked_unread",
    "org.linkim.draft",
    "org.linkim.hidden",
    "org.linkim.history_floor",
    "org.linkim.recv_opt",
];

#[derive(Serialize)]
struct Entry<'a> {
    event_type: &'a str,
    event_content: &'a RawValue,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    thread: Option<Thread<'a>>,
    account_data: Vec<Entry<'a>>,
}

/// Whether this data has a frame.
pub(super) fn is_told(data: &PlacedData) -> bool {
    match data.room {
        RoomNid(0) => KNOWN_PEOPLE.contains(&&*data.kind) || data.kind == PUSH_RULES,
        _ => SETTINGS.contains(&&*data.kind),
    }
}

/// The frame of account data, all of one place and of one room; none: global.
pub(super) fn account_data(
    read: &dyn Read,
    numbers: &Numbers,
    room: Option<&RoomKey>,
    entries: &[PlacedData],
    position: Position,
) -> Result<String, StoreError> {
    let mut account_data = Vec::with_capacity(entries.len());
    for entry in entries {
        let event_content =
            serde_json::from_str(&entry.content).map_err(|error| StoreError::Damaged(error.to_string()))?;
        account_data.push(Entry { event_type: &entry.kind, event_content });
    }
    let thread = room.map(|room| Thread::of(read, numbers, room)).transpose()?;
    let people = entries.iter().any(|entry| entry.room == RoomNid(0) && entry.kind != PUSH_RULES);
    let kind = if people { "friend" } else { "conversation" };
    frame(kind, Some(position), &Data { thread, account_data })
}
