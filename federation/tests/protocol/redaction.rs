//! What a redaction leaves, by room version.
//!
//! The "Redactions" section of versions 1, 6, 8, 9 and 11.

use linkim_federation::{Pdu, redact};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{content, version};

fn event(number: usize, event_type: &str, content: Value) -> Pdu {
    let mut event = json!({
        "auth_events": [], "content": content, "depth": 1, "hashes": {"sha256": "x"}, "membership": "join",
        "origin": "a.example", "origin_server_ts": 1, "prev_events": [], "prev_state": [], "redacts": "$y:a.example",
        "replaces_state": "$z", "room_id": "!r:a.example", "sender": "@a:a.example",
        "signatures": {"a.example": {"ed25519:1": "x"}}, "state_key": "", "type": event_type, "other": {"a": 1},
    });
    if number < 3 {
        event["event_id"] = json!("$event:a.example");
    }
    Pdu::from_peer(event.to_string().as_bytes(), version(number)).unwrap()
}

fn redacted(number: usize, event_type: &str, content: Value) -> Value {
    let pdu = event(number, event_type, content);
    let redacted = redact(&pdu, version(number));
    assert_eq!(redacted.event_id(), pdu.event_id());
    assert_eq!(redacted.reference_hash(version(number)), pdu.reference_hash(version(number)));
    serde_json::from_str(redacted.json()).unwrap()
}

#[test]
fn the_top_level_keeps_the_listed_keys_and_no_others() {
    for number in 1..=12 {
        let redacted = redacted(number, "org.example.any", json!({"body": "x"}));
        let mut kept: Vec<&str> = redacted.as_object().unwrap().keys().map(String::as_str).collect();
        kept.sort_unstable();
        let mut expected = vec![
            "auth_events",
            "content",
            "depth",
            "hashes",
            "origin_server_ts",
            "prev_events",
            "room_id",
            "sender",
            "signatures",
            "state_key",
            "type",
        ];
        if number < 3 {
            expected.push("event_id");
        }
        if number < 11 {
            expected.extend(["membership", "origin", "prev_state"]);
        }
        expected.sort_unstable();
        assert_eq!(kept, expected, "version {number}");
        assert_eq!(redacted["content"], json!({}));
    }
}

/// For each type, the keys of its content that stay and the versions in which they do.
#[test]
fn the_content_keeps_the_listed_keys_of_the_listed_types_and_no_others() {
    let always = 1..=12_usize;
    for (event_type, key, versions) in [
        ("m.room.member", "membership", always.clone()),
        ("m.room.member", "join_authorised_via_users_server", 9..=12),
        ("m.room.create", "creator", always.clone()),
        ("m.room.create", "room_version", 11..=12),
        ("m.room.create", "anything", 11..=12),
        ("m.room.join_rules", "join_rule", always.clone()),
        ("m.room.join_rules", "allow", 8..=12),
        ("m.room.power_levels", "ban", always.clone()),
        ("m.room.power_levels", "events", always.clone()),
        ("m.room.power_levels", "events_default", always.clone()),
        ("m.room.power_levels", "kick", always.clone()),
        ("m.room.power_levels", "redact", always.clone()),
        ("m.room.power_levels", "state_default", always.clone()),
        ("m.room.power_levels", "users", always.clone()),
        ("m.room.power_levels", "users_default", always.clone()),
        ("m.room.power_levels", "invite", 11..=12),
        ("m.room.aliases", "aliases", 1..=5),
        ("m.room.history_visibility", "history_visibility", always),
        ("m.room.redaction", "redacts", 11..=12),
    ] {
        for number in 1..=12 {
            let expected = if versions.contains(&number) { json!({key: {"deep": [1]}}) } else { json!({}) };
            let mut given = json!({key: {"deep": [1]}});
            if event_type != "m.room.create" {
                given["something_else"] = json!(true);
            }
            assert_eq!(
                redacted(number, event_type, given)["content"],
                expected,
                "version {number}: {event_type} {key}"
            );
        }
    }
}

#[test]
fn of_a_third_party_invite_the_signed_key_stays_from_version_11_on() {
    for number in 1..=12 {
        let given =
            json!({"membership": "invite", "third_party_invite": {"display_name": "a", "signed": {"mxid": "@b:b"}}});
        let expected = if number < 11 {
            json!({"membership": "invite"})
        } else {
            json!({"membership": "invite", "third_party_invite": {"signed": {"mxid": "@b:b"}}})
        };
        assert_eq!(redacted(number, "m.room.member", given)["content"], expected, "version {number}");
    }
    let odd = redacted(11, "m.room.member", json!({"third_party_invite": "signed"}));
    assert_eq!(odd["content"], json!({}), "what is no object has no `signed` key");
}

proptest! {
    /// ruma's redaction is the oracle.
    #[test]
    fn ruma_redacts_the_same(
        number in 1..=12_usize,
        event_type in prop::sample::select(vec![
            "m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases",
            "m.room.history_visibility", "m.room.redaction", "m.room.message", "x",
        ]),
        keys in proptest::collection::btree_set(prop::sample::select(vec![
            "membership", "join_authorised_via_users_server", "third_party_invite", "creator", "room_version",
            "join_rule", "allow", "ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users",
            "users_default", "aliases", "history_visibility", "redacts", "body", "",
        ]), 0..8),
    ) {
        let given: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), json!({"signed": {"a": 1}, "b": 2}))).collect();
        let pdu = event(number, event_type, Value::Object(given));
        let ours = content(redact(&pdu, version(number)).json());
        let theirs = ruma::canonical_json::redact(content(pdu.json()), &version(number).redaction, None).unwrap();
        prop_assert_eq!(ours, theirs);
        // Redacting twice is redacting once.
        let once = redact(&pdu, version(number));
        let twice = redact(&once, version(number));
        prop_assert_eq!(twice.json(), once.json());
    }
}
