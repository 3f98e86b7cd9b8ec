//! Redaction: what remains of an event once everything that its room does not need is taken away.
//!
//! The "Redactions" section of each room version.

use std::borrow::Cow;

use ruma::room_version_rules::{RedactionRules, RoomVersionRules};

use crate::pdu::Pdu;
use crate::value::{Numbers, Object, Value, get, into_text, parse_object, write_members, write_object, write_value};

/// The redacted form of an event. Its identifier, sender, place in the DAG and verdict stay the same.
pub fn redact(pdu: &Pdu, rules: &RoomVersionRules) -> Pdu {
    let redacted = parse_object(pdu.json().as_bytes(), Numbers::Loose)
        .ok()
        .map(|object| into_text(redacted_text(&object, &rules.redaction, &["unsigned"])))
        .and_then(|text| pdu.with_text(text, rules).ok());
    // Redaction keeps every field that the typed pass needs, so the event can always be read again.
    redacted.unwrap_or_else(|| pdu.clone())
}

/// The canonical text of the redacted event, without the top-level keys in `without`.
///
/// Without `signatures` and `unsigned` this is both what is signed and what the reference hash is taken of.
pub(crate) fn redacted_text(event: &Object<'_>, rules: &RedactionRules, without: &[&str]) -> Vec<u8> {
    let event_type = get(event, "type").and_then(Value::as_str).unwrap_or_default();
    let kept = event
        .iter()
        .map(|(key, value)| (key.as_ref(), value))
        .filter(|(key, _)| keeps_top_level(key, rules) && !without.contains(key))
        .map(|(key, value)| (key, (key, value)));
    let mut out = Vec::with_capacity(1024);
    write_members(&mut out, kept, |out, member| match member {
        ("content", Value::Object(content)) => write_content(out, event_type, content, rules),
        (_, value) => write_value(out, value),
    });
    out
}

fn write_content(out: &mut Vec<u8>, event_type: &str, content: &Object<'_>, rules: &RedactionRules) {
    let kept = content
        .iter()
        .map(|(key, value)| (key.as_ref(), value))
        .filter(|(key, value)| match keeps_content(event_type, key, rules) {
            Keep::Nothing => false,
            Keep::Whole => true,
            Keep::OnlySigned => matches!(value, Value::Object(_)),
        })
        .map(|(key, value)| (key, (key, value)));
    write_members(out, kept, |out, (key, value)| match (keeps_content(event_type, key, rules), value) {
        (Keep::OnlySigned, Value::Object(invite)) => {
            let signed: Object<'_> = invite.iter().filter(|(key, _)| key == "signed").cloned().collect();
            write_object(out, &signed);
        }
        _ => write_value(out, value),
    });
}

/// Whether a redaction leaves the top-level key.
pub(crate) fn keeps_top_level(key: &str, rules: &RedactionRules) -> bool {
    match key {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures" | "depth"
        | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "origin" | "membership" | "prev_state" => rules.keep_origin_membership_prev_state,
        _ => false,
    }
}

/// What a redaction leaves of a key of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    Whole,
    /// Of a `third_party_invite` object the `signed` key.
    OnlySigned,
}

/// What a redaction leaves of `key` in the content of an event of this type.
pub(crate) fn keeps_content(event_type: &str, key: &str, rules: &RedactionRules) -> Keep {
    let whole = match (event_type, key) {
        ("m.room.member", "membership") => true,
        ("m.room.member", "join_authorised_via_users_server") => {
            rules.keep_room_member_join_authorised_via_users_server
        }
        ("m.room.member", "third_party_invite") if rules.keep_room_member_third_party_invite_signed => {
            return Keep::OnlySigned;
        }
        ("m.room.create", "creator") => true,
        ("m.room.create", _) => rules.keep_room_create_content,
        ("m.room.join_rules", "join_rule") => true,
        ("m.room.join_rules", "allow") => rules.keep_room_join_rules_allow,
        (
            "m.room.power_levels",
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users" | "users_default",
        ) => true,
        ("m.room.power_levels", "invite") => rules.keep_room_power_levels_invite,
        ("m.room.aliases", "aliases") => rules.keep_room_aliases_aliases,
        ("m.room.history_visibility", "history_visibility") => true,
        ("m.room.redaction", "redacts") => rules.keep_room_redaction_redacts,
        _ => false,
    };
    if whole { Keep::Whole } else { Keep::Nothing }
}

/// Whether the redacted content of events of this type is always empty, so that nobody need look.
pub(crate) fn empties_content(event_type: &str) -> bool {
    !matches!(
        event_type,
        "m.room.member"
            | "m.room.create"
            | "m.room.join_rules"
            | "m.room.power_levels"
            | "m.room.aliases"
            | "m.room.history_visibility"
            | "m.room.redaction"
    )
}

/// Drops what a redaction would from a content that is not part of an event yet, as a parsed object.
pub(crate) fn redacted_content<'a>(
    event_type: &str,
    content: &'a ruma::CanonicalJsonObject,
    rules: &RedactionRules,
) -> Vec<(&'a str, Cow<'a, ruma::CanonicalJsonValue>)> {
    use ruma::CanonicalJsonValue;
    content
        .iter()
        .filter_map(|(key, value)| match (keeps_content(event_type, key, rules), value) {
            (Keep::Nothing, _) => None,
            (Keep::Whole, value) => Some((key.as_str(), Cow::Borrowed(value))),
            (Keep::OnlySigned, CanonicalJsonValue::Object(invite)) => {
                let signed = invite.iter().filter(|(key, _)| *key == "signed");
                let signed = signed.map(|(key, value)| (key.clone(), value.clone())).collect();
                Some((key.as_str(), Cow::Owned(CanonicalJsonValue::Object(signed))))
            }
            (Keep::OnlySigned, _) => None,
        })
        .collect()
}
