//! What a request asks /sync to leave out.
//!
//! Source: Client-Server API, "Filtering"; `definitions/sync_filter.yaml`.

use ruma::{OwnedRoomId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{json::json_object, rooms::event_filter::RoomEventFilter};

/// Timeline events of a room if the filter names no limit.
const DEFAULT_LIMIT: usize = 20;

/// Timeline events of a room at most; /messages gives the others.
const MAX_LIMIT: usize = 100;

/// A whole filter. Keys that the spec does not have are passed over; its default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Fields of events that are sent, as dot-separated paths; None: all.
    event_fields: Option<Vec<String>>,
    /// As clients or as servers exchange events.
    pub event_format: EventFormat,
    /// Global account data. Of `RoomEventFilter` the parts that `EventFilter` has count.
    #[serde(deserialize_with = "json_object")]
    pub account_data: RoomEventFilter,
    /// Presence.
    #[serde(deserialize_with = "json_object")]
    pub presence: RoomEventFilter,
    /// Rooms.
    #[serde(deserialize_with = "json_object")]
    pub room: RoomFilter,
}

/// `event_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As clients like it.
    #[default]
    Client,
    /// As it came over federation.
    Federation,
}

/// `RoomFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    rooms: Option<Vec<OwnedRoomId>>,
    not_rooms: Vec<OwnedRoomId>,
    /// Receipts and typing.
    #[serde(deserialize_with = "json_object")]
    pub ephemeral: RoomEventFilter,
    /// Whether rooms that the user left long ago are sent too.
    pub include_leave: bool,
    /// State.
    #[serde(deserialize_with = "json_object")]
    pub state: RoomEventFilter,
    /// Timeline.
    #[serde(deserialize_with = "json_object")]
    pub timeline: RoomEventFilter,
    /// Account data of rooms.
    #[serde(deserialize_with = "json_object")]
    pub account_data: RoomEventFilter,
}

impl RoomFilter {
    /// Whether anything of the room is sent.
    pub fn allows_room(&self, room: &RoomId) -> bool {
        let is = |other: &OwnedRoomId| other == room;
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is)) && !self.not_rooms.iter().any(is)
    }

    /// Whether only the members are sent that a client needs to show the timeline.
    pub fn lazy_load_members(&self) -> bool {
        self.state.lazy_load_members
    }

    /// Timeline events of a room at most. The spec wants more than 0; clients send 0 for none, and get that.
    pub fn timeline_limit(&self) -> usize {
        let asked = self.timeline.limit.map(|limit| usize::try_from(limit).unwrap_or(0));
        asked.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
    }
}

impl Filter {
    /// Reads a filter, inline or stored.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let filter: Self = json_object(&mut deserializer)?;
        deserializer.end()?;
        let room = &filter.room;
        let of_rooms = [&room.ephemeral, &room.state, &room.timeline, &room.account_data];
        let negative = |part: &&RoomEventFilter| part.limit.is_some_and(|limit| limit < 0);
        if [&filter.account_data, &filter.presence].iter().chain(&of_rooms).any(negative) {
            return Err(serde::de::Error::custom("a limit is below 0"));
        }
        Ok(filter)
    }

    /// The fields to which events are cut; None: all.
    pub(super) fn fields(&self) -> Option<&[String]> {
        self.event_fields.as_deref()
    }
}

/// Cuts an event to some of its fields. `type`, and `event_id` and `sender` where there are any, always stay: without them
/// no client can place an event («A server may include more fields than were requested»).
pub(super) fn cut(event: &str, fields: &[String]) -> Result<String, serde_json::Error> {
    let event: Value = serde_json::from_str(event)?;
    let mut out = Map::new();
    for field in ["type", "event_id", "sender"] {
        if let Some(value) = event.get(field) {
            out.insert(field.into(), value.clone());
        }
    }
    let mut out = Value::Object(out);
    for field in fields {
        let path = path(field);
        let found = path.iter().try_fold(&event, |value, key| value.as_object()?.get(key));
        if let Some(found) = found {
            put(&mut out, &path, found.clone());
        }
    }
    serde_json::to_string(&out)
}

/// The keys of a dot-separated path; `\.` is a dot within a key, `\\` a backslash (Appendices, "Dot-separated property
/// paths").
fn path(field: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut chars = field.chars().peekable();
    while let Some(char) = chars.next() {
        let escaped = char == '\\' && matches!(chars.peek(), Some('.' | '\\'));
        match (char, keys.last_mut()) {
            ('.', _) => keys.push(String::new()),
            (_, Some(key)) => key.push(if escaped { chars.next().unwrap_or('\\') } else { char }),
            (_, None) => {}
        }
    }
    keys
}

fn put(object: &mut Value, path: &[String], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = object;
    for key in parents {
        let Some(object) = place.as_object_mut() else { return };
        place = object.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(object) = place.as_object_mut() {
        object.insert(last.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use ruma::room_id;

    use super::*;

    #[test]
    fn shapes_are_checked() {
        for json in [
            "{}",
            r#"{"room":{"timeline":{"limit":5,"types":["m.*"]},"state":{"lazy_load_members":true}},"new":1}"#,
            r#"{"event_format":"federation","presence":{"types":[]}}"#,
        ] {
            Filter::parse(json).unwrap();
        }
        for json in [
            "[]",
            "1",
            "{",
            r#"{"event_format":"xml"}"#,
            r#"{"room":[]}"#,
            r#"{"room":{"timeline":[]}}"#,
            r#"{"room":{"timeline":{"limit":-1}}}"#,
            "{} {}",
            r#"{"room":{"rooms":"!a:b"}}"#,
            r#"{"room":{"timeline":{"limit":"5"}}}"#,
            r#"{"event_fields":{"a":1}}"#,
        ] {
            Filter::parse(json).unwrap_err();
        }
    }

    #[test]
    fn limits_are_bounded() {
        let limit = |json: &str| Filter::parse(json).unwrap().room.timeline_limit();
        assert_eq!(limit("{}"), DEFAULT_LIMIT);
        assert_eq!(limit(r#"{"room":{"timeline":{"limit":1}}}"#), 1);
        assert_eq!(limit(r#"{"room":{"timeline":{"limit":0}}}"#), 0);
        assert_eq!(limit(r#"{"room":{"timeline":{"limit":1000000000}}}"#), MAX_LIMIT);
    }

    #[test]
    fn rooms() {
        let filter = Filter::parse(r#"{"room":{"rooms":["!a:x","!b:x"],"not_rooms":["!b:x"]}}"#).unwrap();
        assert!(filter.room.allows_room(room_id!("!a:x")));
        assert!(!filter.room.allows_room(room_id!("!b:x")) && !filter.room.allows_room(room_id!("!c:x")));
    }

    #[test]
    fn fields() {
        let event = r#"{"type":"t","sender":"@a:x","content":{"body":"b","a.b":{"c":1,"d":2}},"unsigned":{"age":1}}"#;
        let cut = |fields: &[&str]| -> Value {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            serde_json::from_str(&cut(event, &fields).unwrap()).unwrap()
        };
        assert_eq!(
            cut(&["content.body"]),
            serde_json::json!({"type": "t", "sender": "@a:x", "content": {"body": "b"}})
        );
        assert_eq!(
            cut(&[r"content.a\.b.c", "content.a.b", "absent.x"]),
            serde_json::json!({"type": "t", "sender": "@a:x", "content": {"a.b": {"c": 1}}})
        );
        assert_eq!(path(r"m\\foo"), [r"m\foo"]);
    }
}
