//! What a client may ask /sync and its like to leave out.
//!
//! Source: Client-Server API, "Filtering"; `definitions/sync_filter.yaml`.

use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::json::json_object;

/// A whole filter. Unknown keys are passed over, as the spec may add some.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterDefinition {
    /// Fields of events to include, as dot-separated paths; none: all.
    pub event_fields: Option<Vec<String>>,
    /// In which format events are answered.
    pub event_format: EventFormat,
    /// Which presence updates.
    #[serde(deserialize_with = "json_object")]
    pub presence: EventFilter,
    /// Which global account data.
    #[serde(deserialize_with = "json_object")]
    pub account_data: EventFilter,
    /// What of rooms.
    #[serde(deserialize_with = "json_object")]
    pub room: RoomFilter,
}

/// The format of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As clients like it.
    #[default]
    Client,
    /// As they came over federation.
    Federation,
}

/// What of rooms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// Rooms to leave out, also where `rooms` names them.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Rooms to include; none: all.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Which receipts and typing notices.
    #[serde(deserialize_with = "json_object")]
    pub ephemeral: RoomEventFilter,
    /// Whether rooms that the user has left are included.
    pub include_leave: bool,
    /// Which state.
    #[serde(deserialize_with = "json_object")]
    pub state: RoomEventFilter,
    /// Which timeline events.
    #[serde(deserialize_with = "json_object")]
    pub timeline: RoomEventFilter,
    /// Which account data of rooms.
    #[serde(deserialize_with = "json_object")]
    pub account_data: RoomEventFilter,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// How many at most. The spec wants more than 0; clients send 0 for «none», and get that.
    pub limit: Option<u64>,
    /// Senders to leave out, also where `senders` names them.
    pub not_senders: Vec<OwnedUserId>,
    /// Types to leave out, also where `types` names them; `*` stands for any characters.
    pub not_types: Vec<String>,
    /// Senders to include; none: all.
    pub senders: Option<Vec<OwnedUserId>>,
    /// Types to include, with `*` as above; none: all.
    pub types: Option<Vec<String>>,
}

/// Which events of which rooms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomEventFilter {
    /// As in [`EventFilter`].
    pub limit: Option<u64>,
    /// As in [`EventFilter`].
    pub not_senders: Vec<OwnedUserId>,
    /// As in [`EventFilter`].
    pub not_types: Vec<String>,
    /// As in [`EventFilter`].
    pub senders: Option<Vec<OwnedUserId>>,
    /// As in [`EventFilter`].
    pub types: Option<Vec<String>>,
    /// Whether unread counts are per thread.
    pub unread_thread_notifications: bool,
    /// Whether only members are included that the events need.
    pub lazy_load_members: bool,
    /// Whether members are included again that the client already has.
    pub include_redundant_members: bool,
    /// Rooms to leave out, also where `rooms` names them.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Rooms to include; none: all.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Only events with a `url` in their content, or only those without; none: both.
    pub contains_url: Option<bool>,
}
