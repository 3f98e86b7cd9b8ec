//! Hashing, signing and naming of events.
//!
//! Source: Server-Server API, "Signing Events"; room versions, "Event IDs".

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use linkim_federation::SigningKey;
use linkim_federation::canonical::canonical_text;
use ruma::CanonicalJsonObject;
use ruma::room_version_rules::{EventIdFormatVersion, RoomVersionRules};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A signed event, true or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its identifier: what its hash says, or in versions 1 and 2 what stands in it.
    pub id: String,
    /// The event as it is sent.
    pub json: Value,
}

impl Event {
    /// Adds the content hash and a signature, and finds the identifier. `draft` must be canonical JSON; all else is as it is.
    pub fn sign(draft: Value, rules: &RoomVersionRules, server: &str, key: &SigningKey) -> Self {
        let mut object = canonical(&draft);
        let hash = Sha256::digest(text_without(&object, &["hashes", "signatures", "unsigned"]));
        object.insert("hashes".to_owned(), canonical_value(&json!({ "sha256": STANDARD_NO_PAD.encode(hash) })));
        Self::sign_hashed(object, rules, server, key)
    }

    /// As [`sign`](Self::sign), with the hash that the draft has.
    pub fn sign_with_its_hash(draft: Value, rules: &RoomVersionRules, server: &str, key: &SigningKey) -> Self {
        Self::sign_hashed(canonical(&draft), rules, server, key)
    }

    fn sign_hashed(object: CanonicalJsonObject, rules: &RoomVersionRules, server: &str, key: &SigningKey) -> Self {
        let signature = key.sign_bytes(&redacted_text(&object, rules));
        let mut json = serde_json::to_value(&object).expect("JSON");
        json["signatures"][server][key.key_id()] = signature.into();
        Self { id: id_of(&json, rules), json }
    }

    /// An event that another server sent.
    pub fn received(json: Value, rules: &RoomVersionRules) -> Self {
        Self { id: id_of(&json, rules), json }
    }

    /// The reference hash in standard base64, as versions 1 and 2 name it.
    pub fn reference_hash(&self, rules: &RoomVersionRules) -> String {
        STANDARD_NO_PAD.encode(Sha256::digest(redacted_text(&canonical(&self.json), rules)))
    }
}

fn id_of(json: &Value, rules: &RoomVersionRules) -> String {
    let hash = || Sha256::digest(redacted_text(&canonical(json), rules));
    match rules.event_id_format {
        EventIdFormatVersion::V1 => json["event_id"].as_str().unwrap_or("$none").to_owned(),
        EventIdFormatVersion::V2 => format!("${}", STANDARD_NO_PAD.encode(hash())),
        _ => format!("${}", URL_SAFE_NO_PAD.encode(hash())),
    }
}

/// What is signed, and what the reference hash is taken of.
fn redacted_text(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> Vec<u8> {
    let redacted = ruma::canonical_json::redact(object.clone(), &rules.redaction, None).expect("an event has a type");
    text_without(&redacted, &["signatures", "unsigned"])
}

fn text_without(object: &CanonicalJsonObject, fields: &[&str]) -> Vec<u8> {
    let mut object = object.clone();
    object.retain(|field, _| !fields.contains(&field.as_str()));
    canonical_text(&object).into_bytes()
}

fn canonical(json: &Value) -> CanonicalJsonObject {
    serde_json::from_value(json.clone()).expect("an object of canonical JSON")
}

fn canonical_value(json: &Value) -> ruma::CanonicalJsonValue {
    json.clone().try_into().expect("canonical JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_and_the_peer_agree_on_honest_events() {
        let key = SigningKey::generate([1; 32], "1").expect("a key");
        let rules = RoomVersionRules::V11;
        let draft = json!({
            "type": "m.room.message", "sender": "@a:a.example", "room_id": "!r:a.example", "content": { "body": "x" },
            "depth": 3, "origin_server_ts": 5, "prev_events": [], "auth_events": [],
        });
        let event = Event::sign(draft, &rules, "a.example", &key);
        let text = event.json.to_string();
        let pdu = linkim_federation::Pdu::from_peer(text.as_bytes(), &rules).expect("an event");
        assert_eq!(pdu.event_id(), event.id);
        assert!(linkim_federation::content_hash_holds(&pdu));
    }
}
