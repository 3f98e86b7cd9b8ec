//! What is written of conversations fits the schemas in spec/events.

use serde_json::{Value, json};

use super::{compose, receiving, settings::Draft, withdrawing::RESTORES};
use crate::rooms::history_floor;

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
fn account_data_fits() {
    let draft = schema!("org.linkim.draft");
    assert!(valid(draft, &json!(Draft { text: "well".into(), updated_ts: 1 })) && valid(draft, &json!({})));
    assert!(!valid(draft, &json!({ "text": "well" })) && !valid(draft, &json!({ "text": "", "updated_ts": 1 })));
    let hidden = schema!("org.linkim.hidden");
    assert!(valid(hidden, &json!({ "until_seq": 7 })) && valid(hidden, &json!({})));
    assert!(!valid(hidden, &json!({ "until_seq": "7" })));
    let floor = schema!("org.linkim.history_floor");
    assert!(valid(floor, &json!(history_floor::Content { until_seq: 7 })));
    assert!(!valid(floor, &json!({})));
    let recv_opt = schema!("org.linkim.recv_opt");
    for (value, fits) in [(0, true), (1, true), (2, false)] {
        assert_eq!(valid(recv_opt, &json!(receiving::Content { recv_opt: value })), fits);
    }
}

#[test]
fn a_restoring_message_fits() {
    let mut content = compose::text("again".into());
    content.insert(RESTORES.into(), "$abc".into());
    let schema = schema!("org.linkim.restores");
    assert!(valid(schema, &json!({ "type": "m.room.message", "content": content })));
    assert!(!valid(schema, &json!({ "type": "m.room.message", "content": compose::text("again".into()) })));
}
