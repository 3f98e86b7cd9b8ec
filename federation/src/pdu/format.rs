//! The checks on an event that a peer sent.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#size-limits> and the "Event format" of each room version.

use ruma::events::TimelineEventType;
use ruma::room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules};
use ruma::{EventId, OwnedEventId};
use thiserror::Error;

use super::Pdu;
use super::fields::Fields;
use crate::canonical::CanonicalError;
use crate::redact::redacted_text;
use crate::value::{Numbers, Object, Value, get, into_text, parse_object, write_object};
use crate::verify::{event_id_of_hash, sha256};

/// The largest event, as canonical JSON with its signatures.
pub const MAX_PDU_BYTES: usize = 65_536;

/// The most `prev_events` of an event.
pub const MAX_PREV_EVENTS: usize = 20;

/// The most `auth_events` of an event.
pub const MAX_AUTH_EVENTS: usize = 10;

/// The longest `type` and `state_key`, in bytes. Identifiers have the same bound by their own grammar.
const MAX_FIELD_BYTES: usize = 255;

/// The longest text that is read at all. What is larger than an event may be white space, escapes and `unsigned`.
const MAX_TEXT_BYTES: usize = 16 * MAX_PDU_BYTES;

/// Why a text is not an event of its room version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The text breaks the version's rules for JSON.
    #[error(transparent)]
    Json(#[from] CanonicalError),
    /// The canonical text is longer than 65,536 bytes.
    #[error("the event is larger than 65536 bytes")]
    TooLarge,
    /// A required field is missing, or one has a wrong type or an invalid identifier in it.
    #[error("malformed event: {0}")]
    Malformed(String),
    /// A field breaks the format.
    #[error("`{field}`: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn problem(field: &'static str, problem: &'static str) -> FormatError {
    FormatError::Field { field, problem }
}

/// Which numbers a room version allows.
pub(crate) fn numbers(rules: &RoomVersionRules) -> Numbers {
    if rules.authorization.strict_canonical_json { Numbers::Strict } else { Numbers::Loose }
}

pub(super) fn read_from_peer(json: &[u8], rules: &RoomVersionRules) -> Result<Pdu, FormatError> {
    if json.len() > MAX_TEXT_BYTES {
        return Err(FormatError::TooLarge);
    }
    let mut object = parse_object(json, numbers(rules))?;
    object.retain(|(key, _)| key != "unsigned");
    from_object(&object, rules)
}

/// Makes an event of a parsed object without `unsigned`.
pub(crate) fn from_object(object: &Object<'_>, rules: &RoomVersionRules) -> Result<Pdu, FormatError> {
    check_objects(object)?;
    let mut text = Vec::with_capacity(1024);
    write_object(&mut text, object);
    if text.len() > MAX_PDU_BYTES {
        return Err(FormatError::TooLarge);
    }
    let text: Box<str> = into_text(text).into();
    let fields = Fields::read(&text)?;
    let event_id = event_id(object, rules)?;
    check_fields(&fields, rules)?;
    Pdu::assemble(event_id, text, fields, false, Some(rules))
}

/// `content`, `hashes` and `signatures` are objects in every version's format.
fn check_objects(object: &Object<'_>) -> Result<(), FormatError> {
    for field in ["content", "hashes", "signatures"] {
        match get(object, field) {
            Some(Value::Object(_)) => {}
            Some(_) => return Err(problem(field, "expected an object")),
            None => return Err(problem(field, "missing")),
        }
    }
    Ok(())
}

fn event_id(object: &Object<'_>, rules: &RoomVersionRules) -> Result<OwnedEventId, FormatError> {
    if rules.event_id_format != EventIdFormatVersion::V1 {
        let hash = sha256(&redacted_text(object, &rules.redaction, &["signatures", "unsigned"]));
        return event_id_of_hash(&hash, rules).map_err(|_| problem("event_id", "cannot be computed"));
    }
    let text = get(object, "event_id").ok_or(problem("event_id", "missing"))?;
    let text = text.as_str().ok_or(problem("event_id", "expected a string"))?;
    let event_id = EventId::parse(text).map_err(|_| problem("event_id", "not an event identifier"))?;
    if event_id.server_name().is_none() {
        return Err(problem("event_id", "has no server name"));
    }
    Ok(event_id)
}

fn check_fields(fields: &Fields, rules: &RoomVersionRules) -> Result<(), FormatError> {
    if fields.event_type.to_string().len() > MAX_FIELD_BYTES {
        return Err(problem("type", "longer than 255 bytes"));
    }
    if fields.state_key.as_ref().is_some_and(|key| key.len() > MAX_FIELD_BYTES) {
        return Err(problem("state_key", "longer than 255 bytes"));
    }
    if fields.prev_events.ids.len() > MAX_PREV_EVENTS {
        return Err(problem("prev_events", "more than 20 events"));
    }
    if fields.auth_events.ids.len() > MAX_AUTH_EVENTS {
        return Err(problem("auth_events", "more than 10 events"));
    }
    let pairs = rules.events_reference_format == EventsReferenceFormatVersion::V1;
    for (field, list) in [("prev_events", &fields.prev_events), ("auth_events", &fields.auth_events)] {
        if list.pairs != if pairs { list.ids.len() } else { 0 } {
            return Err(problem(field, "references in the form of another room version"));
        }
    }
    check_room_id(fields, rules)
}

/// Versions 1 to 11 name the room in every event. From 12 on the create event does not (it names the room by its own
/// hash; that it must not is an authorisation rule), and no event lists it among its `auth_events`.
fn check_room_id(fields: &Fields, rules: &RoomVersionRules) -> Result<(), FormatError> {
    let Some(room_id) = &fields.room_id else {
        let may_lack =
            !rules.event_format.require_room_create_room_id && fields.event_type == TimelineEventType::RoomCreate;
        return if may_lack { Ok(()) } else { Err(problem("room_id", "missing")) };
    };
    if !rules.event_format.allow_room_create_in_auth_events {
        let create = room_id.as_str().trim_start_matches('!');
        if fields.auth_events.ids.iter().any(|id| id.as_str().trim_start_matches('$') == create) {
            return Err(problem("auth_events", "contains the create event"));
        }
    }
    Ok(())
}
