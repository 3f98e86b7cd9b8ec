//! Filters on a room's events.
//!
//! Source: Client-Server API, "Filtering", `RoomEventFilter`.

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, de::IgnoredAny};
use wildmatch::WildMatchPattern;

/// `*` stands for any sequence; there is no sign for a single character.
type TypePattern = WildMatchPattern<'*', '\0'>;

/// A `RoomEventFilter`; its default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoomEventFilter {
    /// Events at most.
    pub limit: Option<i64>,
    /// Types that pass; None: all.
    pub types: Option<Vec<String>>,
    /// Types that do not pass, even if among `types`.
    pub not_types: Vec<String>,
    /// Senders that pass; None: all.
    pub senders: Option<Vec<OwnedUserId>>,
    /// Senders that do not pass, even if among `senders`.
    pub not_senders: Vec<OwnedUserId>,
    /// Rooms that pass; None: all.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Rooms that do not pass, even if among `rooms`.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Whether events with (true) or without (false) a `url` in their content pass alone.
    pub contains_url: Option<bool>,
    /// Whether of the member events only those of the shown events' senders are sent.
    pub lazy_load_members: bool,
    /// Whether member events are sent again that the client has already been sent.
    pub include_redundant_members: bool,
    /// Whether unread counts are given for each thread; for /sync.
    pub unread_thread_notifications: bool,
}

impl RoomEventFilter {
    /// Whether events of the room pass at all.
    pub fn allows_room(&self, room: &RoomId) -> bool {
        let is = |other: &OwnedRoomId| other == room;
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is)) && !self.not_rooms.iter().any(is)
    }

    /// Whether every event of the rooms that pass does.
    pub fn allows_everything(&self) -> bool {
        self.types.is_none()
            && self.not_types.is_empty()
            && self.senders.is_none()
            && self.not_senders.is_empty()
            && self.contains_url.is_none()
    }

    /// Whether events of the type pass, as far as their type goes.
    pub fn allows_type(&self, kind: &str) -> bool {
        let is_type = |pattern: &String| match pattern.contains('*') {
            true => TypePattern::new(pattern).matches(kind),
            false => pattern == kind,
        };
        self.types.as_ref().is_none_or(|types| types.iter().any(is_type)) && !self.not_types.iter().any(is_type)
    }

    /// Whether an event of a room that passes does; `json` is its body.
    pub fn allows(&self, kind: &str, sender: &UserId, json: &str) -> bool {
        let is_sender = |other: &OwnedUserId| other == sender;
        self.allows_type(kind)
            && self.senders.as_ref().is_none_or(|senders| senders.iter().any(is_sender))
            && !self.not_senders.iter().any(is_sender)
            && self.contains_url.is_none_or(|wanted| wanted == has_url(json))
    }
}

fn has_url(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        url: IgnoredAny,
    }
    serde_json::from_str(json).is_ok_and(|Event { content: Content { url: IgnoredAny } }| true)
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn filter(json: &str) -> RoomEventFilter {
        serde_json::from_str(json).unwrap()
    }

    const PLAIN: &str = r#"{"content":{"body":"x"},"type":"m.room.message"}"#;
    const WITH_URL: &str = r#"{"content":{"url":"mxc://a/b"},"type":"m.room.message"}"#;

    #[test]
    fn types_with_and_without_wildcards() {
        let sender = user_id!("@a:x");
        let only = filter(r#"{"types":["m.room.*","a?b"],"not_types":["m.room.member"]}"#);
        assert!(only.allows("m.room.message", sender, PLAIN));
        assert!(only.allows("a?b", sender, PLAIN));
        for refused in ["m.room.member", "axb", "m.reaction", "xm.room.message"] {
            assert!(!only.allows(refused, sender, PLAIN), "{refused}");
        }
        assert!(!filter(r#"{"types":[]}"#).allows("m.room.message", sender, PLAIN));
    }

    #[test]
    fn refusal_of_a_sender_wins() {
        let both = filter(r#"{"senders":["@a:x","@b:x"],"not_senders":["@b:x"]}"#);
        assert!(both.allows("t", user_id!("@a:x"), PLAIN));
        assert!(!both.allows("t", user_id!("@b:x"), PLAIN));
        assert!(!both.allows("t", user_id!("@c:x"), PLAIN));
    }

    #[test]
    fn urls_and_rooms() {
        let with = filter(r#"{"contains_url":true}"#);
        let without = filter(r#"{"contains_url":false}"#);
        let sender = user_id!("@a:x");
        assert!(with.allows("t", sender, WITH_URL) && !with.allows("t", sender, PLAIN));
        assert!(without.allows("t", sender, PLAIN) && !without.allows("t", sender, WITH_URL));
        let rooms = filter(r#"{"rooms":["!a:x","!b:x"],"not_rooms":["!b:x"]}"#);
        assert!(rooms.allows_room(room_id!("!a:x")));
        assert!(!rooms.allows_room(room_id!("!b:x")) && !rooms.allows_room(room_id!("!c:x")));
    }
}
