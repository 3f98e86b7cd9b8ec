//! Persistent data units: the events of a room.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#pdus>, and the "Event format" of each room version.

mod fields;
mod format;
mod levels;

use js_int::UInt;
use ruma::events::TimelineEventType;
use ruma::room_version_rules::RoomVersionRules;
use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::value::RawValue;

pub use format::{FormatError, MAX_AUTH_EVENTS, MAX_PDU_BYTES, MAX_PREV_EVENTS};

use crate::redact::redacted_text;
use crate::value::{Numbers, parse_object};
use crate::verify::sha256;

/// One event, immutable, shared as `Arc<Pdu>`.
///
/// It holds its canonical JSON text without `unsigned`, and what is asked of it again and again, parsed once.
#[derive(Debug, Clone)]
pub struct Pdu {
    json: Box<str>,
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    /// A version 12 create event names no room: its room is named after it.
    names_room: bool,
    sender: OwnedUserId,
    event_type: TimelineEventType,
    state_key: Option<Box<str>>,
    content: Box<RawValue>,
    /// What the authorisation rules read instead of a content with power levels that are no integers.
    levels: Option<Box<RawValue>>,
    depth: u64,
    origin_server_ts: u64,
    prev_events: Box<[OwnedEventId]>,
    auth_events: Box<[OwnedEventId]>,
    redacts: Option<OwnedEventId>,
    rejected: bool,
}

impl Pdu {
    /// Reads an event that a peer sent, by the rules of its room's version: canonical JSON, sizes, format. Computes the
    /// event's identifier (in versions 1 and 2 it takes the one inside) and drops `unsigned`.
    ///
    /// Neither signatures nor hashes are checked here; see [`verify_event`](crate::verify_event).
    ///
    /// # Errors
    /// [`FormatError`]: the event must be discarded ("Checks performed on receipt of a PDU", step 1).
    pub fn from_peer(json: &[u8], rules: &RoomVersionRules) -> Result<Self, FormatError> {
        format::read_from_peer(json, rules)
    }

    /// Reads an event that was checked before it was stored: one typed pass, no canonicalisation, no limits.
    ///
    /// `json` is what [`Pdu::json`] gave, `event_id` what [`Pdu::event_id`] gave.
    ///
    /// # Errors
    /// [`FormatError`] if the text is no event at all, which means that the store is damaged.
    pub fn from_trusted(
        event_id: OwnedEventId,
        json: impl Into<Box<str>>,
        rejected: bool,
    ) -> Result<Self, FormatError> {
        let json = json.into();
        let fields = fields::Fields::read(&json)?;
        Self::assemble(event_id, json, fields, rejected, None)
    }

    /// The event's identifier.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// The event's identifier, owned; a clone of it costs a clone of the string.
    pub fn owned_event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    /// The room. A version 12 create event has no `room_id`: its room has the event's identifier, with `!` for `$`.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// Who sent it.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The `type`.
    pub fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    /// The `state_key`; only state events have one.
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// Whether it is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    /// The `content` object, as canonical JSON.
    pub fn content(&self) -> &RawValue {
        &self.content
    }

    /// The `depth`.
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// When its server says that it was made, in milliseconds of the Unix epoch.
    pub fn origin_server_ts(&self) -> u64 {
        self.origin_server_ts
    }

    /// The events before it in the DAG, at most 20.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.prev_events
    }

    /// The events that authorise it, at most 10.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.auth_events
    }

    /// The event that it redacts: the top-level `redacts` up to room version 10, `content.redacts` from 11.
    ///
    /// Exact for an event that was read or built by its version's rules. One that came
    /// [from the store](Self::from_trusted) knows no rules: there the top level is believed first, then the content. Where
    /// that difference matters (an event of a liar that has both), ask [`Pdu::redacts_by`].
    pub fn redacts(&self) -> Option<&EventId> {
        self.redacts.as_deref()
    }

    /// The event that it redacts by the rules of its room's version; `None` if it is no redaction.
    pub fn redacts_by(&self, rules: &RoomVersionRules) -> Option<OwnedEventId> {
        fields::redacts_by(&self.event_type, &self.json, &self.content, rules)
    }

    /// Whether it failed the checks on receipt that reject an event.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The same event, with the verdict set.
    #[must_use]
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// The canonical JSON text, without `unsigned`. This is what peers are sent and what the store keeps.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The reference hash: SHA-256 of the redacted event without signatures. From version 3 on the event's identifier is
    /// made of it; in versions 1 and 2 it stands beside each identifier in `prev_events` and `auth_events`.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event>
    pub fn reference_hash(&self, rules: &RoomVersionRules) -> [u8; 32] {
        match parse_object(self.json.as_bytes(), Numbers::Loose) {
            Ok(object) => sha256(&redacted_text(&object, &rules.redaction, &["signatures", "unsigned"])),
            // Not reached: every constructor has read the text as an object.
            Err(_) => sha256(self.json.as_bytes()),
        }
    }

    /// The same event, with another text.
    pub(crate) fn with_text(&self, text: String, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        Self::read(self.event_id.clone(), text.into(), self.rejected, rules)
    }

    /// Reads a text that was made here.
    pub(crate) fn read(
        event_id: OwnedEventId,
        json: Box<str>,
        rejected: bool,
        rules: &RoomVersionRules,
    ) -> Result<Self, FormatError> {
        let fields = fields::Fields::read(&json)?;
        Self::assemble(event_id, json, fields, rejected, Some(rules))
    }

    fn assemble(
        event_id: OwnedEventId,
        json: Box<str>,
        fields: fields::Fields,
        rejected: bool,
        rules: Option<&RoomVersionRules>,
    ) -> Result<Self, FormatError> {
        let (room_id, names_room) = match fields.room_id {
            Some(room_id) => (room_id, false),
            None => (room_of_create_event(&event_id)?, true),
        };
        let redacts = match rules {
            Some(rules) => fields::redacts_by(&fields.event_type, &json, &fields.content, rules),
            None => fields::redacts_by_either(&fields.event_type, fields.redacts, &fields.content),
        };
        let levels = levels::with_integers(&fields.event_type, &fields.content);
        Ok(Self {
            json,
            event_id,
            room_id,
            names_room,
            sender: fields.sender,
            event_type: fields.event_type,
            state_key: fields.state_key,
            levels,
            content: fields.content,
            depth: fields.depth,
            origin_server_ts: fields.origin_server_ts,
            prev_events: fields.prev_events.ids.into(),
            auth_events: fields.auth_events.ids.into(),
            redacts,
            rejected,
        })
    }
}

/// The room that a version 12 create event makes.
fn room_of_create_event(event_id: &EventId) -> Result<OwnedRoomId, FormatError> {
    let hash = event_id.as_str().trim_start_matches('$');
    RoomId::parse(format!("!{hash}")).map_err(|_| FormatError::Field { field: "room_id", problem: "missing" })
}

impl ruma::state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        (!self.names_room).then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.origin_server_ts))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        self.levels.as_ref().unwrap_or(&self.content)
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
