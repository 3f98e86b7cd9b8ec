//! The typed pass over an event's text.

use std::fmt;

use ruma::events::TimelineEventType;
use ruma::room_version_rules::RoomVersionRules;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::FormatError;

/// What the server asks of an event, parsed.
#[derive(Deserialize)]
pub(super) struct Fields {
    pub(super) auth_events: References,
    pub(super) content: Box<RawValue>,
    pub(super) depth: u64,
    pub(super) origin_server_ts: u64,
    pub(super) prev_events: References,
    #[serde(default, deserialize_with = "lenient_event_id")]
    pub(super) redacts: Option<OwnedEventId>,
    #[serde(default)]
    pub(super) room_id: Option<OwnedRoomId>,
    pub(super) sender: OwnedUserId,
    #[serde(default, deserialize_with = "present")]
    pub(super) state_key: Option<Box<str>>,
    #[serde(rename = "type")]
    pub(super) event_type: TimelineEventType,
}

impl Fields {
    pub(super) fn read(json: &str) -> Result<Self, FormatError> {
        serde_json::from_str(json).map_err(|error| FormatError::Malformed(error.to_string()))
    }
}

/// A list of event identifiers, in either form.
pub(super) struct References {
    pub(super) ids: Vec<OwnedEventId>,
    /// How many are pairs of identifier and hashes, the form of versions 1 and 2.
    pub(super) pairs: usize,
}

impl<'de> Deserialize<'de> for References {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = References;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array of event references")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<References, A::Error> {
                let mut references = References { ids: Vec::new(), pairs: 0 };
                while let Some(Reference { id, pair }) = seq.next_element()? {
                    references.ids.push(id);
                    references.pairs += usize::from(pair);
                }
                Ok(references)
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct Reference {
    id: OwnedEventId,
    pair: bool,
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReferenceVisitor;
        impl<'de> Visitor<'de> for ReferenceVisitor {
            type Value = Reference;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event identifier, alone or with its hashes")
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Reference, E> {
                let id = OwnedEventId::try_from(value).map_err(E::custom)?;
                Ok(Reference { id, pair: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reference, A::Error> {
                let id = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &"two elements"))?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Reference { id, pair: true })
            }
        }
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

/// A field that may be absent but not `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    Box::<str>::deserialize(deserializer).map(Some)
}

/// `redacts` is part of the format of no event, only of redactions: any other value than an identifier is no redaction,
/// but no malformed event either.
fn lenient_event_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OwnedEventId>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

#[derive(Deserialize)]
struct Redacts {
    #[serde(default, deserialize_with = "lenient_event_id")]
    redacts: Option<OwnedEventId>,
}

fn redacts_in(json: &str) -> Option<OwnedEventId> {
    serde_json::from_str::<Redacts>(json).ok()?.redacts
}

/// What a redaction redacts, by the version's rules.
pub(super) fn redacts_by(
    event_type: &TimelineEventType,
    json: &str,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Option<OwnedEventId> {
    if *event_type != TimelineEventType::RoomRedaction {
        return None;
    }
    redacts_in(if rules.redaction.content_field_redacts { content.get() } else { json })
}

/// What a redaction of an unknown version redacts.
pub(super) fn redacts_by_either(
    event_type: &TimelineEventType,
    top_level: Option<OwnedEventId>,
    content: &RawValue,
) -> Option<OwnedEventId> {
    if *event_type != TimelineEventType::RoomRedaction {
        return None;
    }
    top_level.or_else(|| redacts_in(content.get()))
}
