//! What is written of groups fits the schemas in spec/events.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, user_id};
use serde_json::{Value, json};

use super::{Mute, Settings, Source, create::create_content, edit::nickname_override, members::joins, mutes, removal};
use crate::rooms::profile::MemberProfile;

fn valid(schema: &str, value: &Value) -> bool {
    let schema: Value = yaml_serde::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap().is_valid(value)
}

macro_rules! schema {
    ($name:literal) => {
        include_str!(concat!("../../spec/events/", $name, ".yaml"))
    };
}

fn value(content: CanonicalJsonObject) -> Value {
    CanonicalJsonValue::Object(content).into()
}

fn event(kind: &str, key: &str, content: CanonicalJsonObject) -> Value {
    json!({ "type": kind, "state_key": key, "sender": "@_linkim:a.example", "content": value(content) })
}

#[test]
fn state_fits() {
    let alice = user_id!("@alice:a.example");
    let settings = Settings { owner: Some(alice.to_string()), look_member_info: 1, apply_member_friend: 0 };
    let schema = schema!("org.linkim.group.settings");
    assert!(valid(schema, &event("org.linkim.group.settings", "", settings.content())));
    let wrong = Settings { look_member_info: 2, ..settings };
    assert!(!valid(schema, &event("org.linkim.group.settings", "", wrong.content())));

    let schema = schema!("org.linkim.group.status");
    assert!(valid(schema, &event("org.linkim.group.status", "", removal::dissolved(alice, 1))));
    assert!(!valid(schema, &event("org.linkim.group.status", "", CanonicalJsonObject::new())));

    let mute = Mute { user_id: alice.to_string(), until_ts: 1_700_000_000_000, former_level: 50 };
    let (schema, key) = (schema!("org.linkim.group.mute"), mutes::key(alice));
    assert!(valid(schema, &event("org.linkim.group.mute", &key, mute.content(alice))));
    assert!(valid(schema, &event("org.linkim.group.mute", &key, CanonicalJsonObject::new())));
    assert!(!valid(schema, &event("org.linkim.group.mute", alice.as_str(), mute.content(alice))));

    let schema = schema!("org.linkim.group");
    assert!(valid(schema, &event("m.room.create", "", create_content())));
    let mut shared = create_content();
    shared.insert("additional_creators".into(), vec![alice.as_str().into()].into());
    assert!(!valid(schema, &event("m.room.create", "", shared)));
}

#[test]
fn what_members_say_fits() {
    let (service, alice) = (user_id!("@_linkim:a.example"), user_id!("@alice:a.example").to_owned());
    let schema = schema!("org.linkim.join_source");
    for rule in ["public", "knock_restricted", "invite"] {
        for event in joins(service, rule, &alice, &MemberProfile::default(), Source::QrCode, Some(&alice)) {
            assert!(valid(schema, &value(event.content)), "{rule}");
        }
    }
    assert!(!valid(schema, &json!({ "membership": "join", "org.linkim.join_source": 5 })));
    assert!(valid(schema!("org.linkim.nickname_override"), &value(nickname_override("Bobby"))));
    assert!(!valid(schema!("org.linkim.nickname_override"), &value(nickname_override(""))));
}
