//! What is written of contacts fits the schemas in spec/events.

use serde_json::{Value, json};

use super::{
    friends::{Friend, Friends},
    labels::{Label, Labels},
    remarks::Remarks,
};

fn valid(schema: &str, value: &Value) -> bool {
    let schema: Value = yaml_serde::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap().is_valid(value)
}

macro_rules! schema {
    ($name:literal) => {
        include_str!(concat!("../../spec/events/", $name, ".yaml"))
    };
}

#[test]
fn friends_fit() {
    let bob = || "@bob:b.example".try_into().unwrap();
    let friends = Friends { friends: [(bob(), Friend { since: 1_700_000_000_000 })].into() };
    let schema = schema!("org.linkim.friends");
    assert!(valid(schema, &json!(friends)) && valid(schema, &json!(Friends::default())));
    assert!(!valid(schema, &json!({ "friends": { "bob": { "since": 1 } } })));
    assert!(!valid(schema, &json!({ "friends": { "@bob:b.example": {} } })));

    let label = Label { name: "家人".into(), friends: [bob()].into() };
    let schema = schema!("org.linkim.friend_labels");
    assert!(valid(schema, &json!(Labels { labels: vec![label] })));
    assert!(!valid(schema, &json!({ "labels": [{ "name": "", "friends": [] }] })));

    let schema = schema!("org.linkim.friend_remarks");
    assert!(valid(schema, &json!(Remarks { remarks: [(bob(), "Bobby".to_owned())].into() })));
    assert!(!valid(schema, &json!({ "remarks": { "@bob:b.example": "" } })));
}

#[test]
fn events_fit() {
    let removed = json!({ "type": "org.linkim.friend.removed", "content": {} });
    assert!(valid(schema!("org.linkim.friend.removed"), &removed));
    assert!(!valid(schema!("org.linkim.friend.removed"), &json!({ "type": "org.linkim.friend.removed" })));
    let mut invitation = json!(super::direct::request_content(Some("hello")));
    invitation["membership"] = "invite".into();
    let schema = schema!("org.linkim.friend_request");
    assert!(valid(schema, &invitation));
    assert!(valid(schema, &json!({ "membership": "join", super::direct::AUTO_JOINED: true })));
    invitation[super::direct::FRIEND_REQUEST] = json!({ "text": "x".repeat(501) });
    assert!(!valid(schema, &invitation));
}
