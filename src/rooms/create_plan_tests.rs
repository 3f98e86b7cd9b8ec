use linkim_federation::rules;
use ruma::{room_alias_id, user_id};
use serde_json::{Value, json};

use super::*;

fn content(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn planned(version: &RoomVersionId, request: CreateRequest) -> Result<Plan, CreateError> {
    let known = Known {
        creator: MemberProfile::default(),
        invited: request.invite.iter().map(|_| Some(MemberProfile::default())).collect(),
    };
    let alias = request.room_alias_name.as_ref().map(|_| room_alias_id!("#tea:a.example").to_owned());
    plan(user_id!("@alice:a.example"), request, version.clone(), rules(version).unwrap(), alias, &known)
}

fn create_event(version: &RoomVersionId, request: CreateRequest) -> Value {
    CanonicalJsonValue::Object(planned(version, request).unwrap().new.create_content).into()
}

fn state(kind: &str, key: &str, value: Value) -> InitialState {
    InitialState { kind: kind.into(), state_key: key.into(), content: content(value) }
}

#[test]
fn the_events_come_in_the_order_of_the_spec() {
    let request = CreateRequest {
        room_alias_name: Some("tea".into()),
        name: Some("Tea".into()),
        topic: Some("At six".into()),
        invite: vec![user_id!("@bob:a.example").to_owned()],
        preset: Some(Preset::PublicChat),
        initial_state: vec![
            state("org.example.first", "", json!({})),
            state("m.room.history_visibility", "", json!({ "history_visibility": "joined" })),
            state("m.room.topic", "", json!({ "topic": "overwritten" })),
            state("org.example.second", "key", json!({})),
        ],
        ..CreateRequest::default()
    };
    let plan = planned(&RoomVersionId::V12, request).unwrap();
    let kinds: Vec<&str> = plan.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.guest_access",
            "org.example.first",
            "m.room.history_visibility",
            "org.example.second",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ]
    );
    let topics: Vec<Value> = plan
        .events
        .iter()
        .filter(|event| event.kind == "m.room.topic")
        .map(|event| CanonicalJsonValue::Object(event.content.clone()).into())
        .collect();
    assert_eq!(topics, [json!({ "topic": "At six", "m.topic": { "m.text": [{ "body": "At six" }] } })]);
}

#[test]
fn the_server_alone_says_who_made_the_room_and_its_version() {
    let lies = json!({ "creator": "@mallory:x", "room_version": "1", "m.federate": false, "type": "m.space" });
    let request = || CreateRequest { creation_content: content(lies.clone()), ..CreateRequest::default() };
    assert_eq!(
        create_event(&RoomVersionId::V10, request()),
        json!({ "creator": "@alice:a.example", "room_version": "10", "m.federate": false, "type": "m.space" })
    );
    assert_eq!(
        create_event(&RoomVersionId::V11, request()),
        json!({ "room_version": "11", "m.federate": false, "type": "m.space" })
    );
}

#[test]
fn trusted_invitees_are_creators_from_version_12_on() {
    let request = || CreateRequest {
        preset: Some(Preset::TrustedPrivateChat),
        invite: vec![user_id!("@bob:a.example").to_owned()],
        creation_content: content(json!({
            "additional_creators": ["@carol:b.example", "@bob:a.example", "@alice:a.example"],
        })),
        ..CreateRequest::default()
    };
    assert_eq!(
        create_event(&RoomVersionId::V12, request())["additional_creators"],
        json!(["@carol:b.example", "@bob:a.example"])
    );
    // Before, the field means nothing and is left as it is.
    assert_eq!(
        create_event(&RoomVersionId::V11, request())["additional_creators"],
        json!(["@carol:b.example", "@bob:a.example", "@alice:a.example"])
    );
    let levels = &planned(&RoomVersionId::V11, request()).unwrap().events[1].content;
    assert_eq!(Value::from(levels["users"].clone()), json!({ "@alice:a.example": 100, "@bob:a.example": 100 }));
}

#[test]
fn creation_content_of_the_wrong_shape_is_refused() {
    for wrong in [
        json!({ "additional_creators": "@bob:x" }),
        json!({ "additional_creators": ["bob"] }),
        json!({ "additional_creators": [7] }),
        json!({ "m.federate": "no" }),
        json!({ "type": 1 }),
    ] {
        let request = CreateRequest { creation_content: content(wrong.clone()), ..CreateRequest::default() };
        assert!(matches!(planned(&RoomVersionId::V12, request), Err(CreateError::Invalid(_))), "{wrong}");
    }
}

#[test]
fn initial_state_may_not_lie_about_aliases_or_levels() {
    let with = |event| CreateRequest {
        room_alias_name: Some("tea".into()),
        initial_state: vec![event],
        ..CreateRequest::default()
    };
    let alias = |alias: &str| state("m.room.canonical_alias", "", json!({ "alias": alias }));
    assert!(planned(&RoomVersionId::V12, with(alias("#tea:a.example"))).is_ok());
    assert!(matches!(
        planned(&RoomVersionId::V12, with(alias("#other:a.example"))),
        Err(CreateError::Content(ContentError::BadAlias(_)))
    ));
    let levels = state("m.room.power_levels", "", json!({ "ban": "50" }));
    assert!(matches!(planned(&RoomVersionId::V12, with(levels)), Err(CreateError::Content(ContentError::Shape(_)))));
    assert!(matches!(
        planned(&RoomVersionId::V12, with(state("m.room.create", "", json!({})))),
        Err(CreateError::InvalidState(_))
    ));
    let long = state(&"t".repeat(256), "", json!({}));
    assert!(matches!(planned(&RoomVersionId::V12, with(long)), Err(CreateError::Append(AppendError::TooLarge))));
}

#[test]
fn the_invited_are_told_the_newest_of_the_state_and_no_more() {
    let request = CreateRequest {
        name: Some("Tea".into()),
        invite: vec![user_id!("@bob:a.example").to_owned()],
        is_direct: true,
        initial_state: vec![
            state("m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
            state("org.example.secret", "", json!({ "a": 1 })),
        ],
        ..CreateRequest::default()
    };
    let plan = planned(&RoomVersionId::V12, request).unwrap();
    let [(user, told)] = &plan.stripped[..] else { panic!("one is invited: {:?}", plan.stripped) };
    assert_eq!(user, "@bob:a.example");
    let told: Vec<Value> = serde_json::from_str(told).unwrap();
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        kinds,
        ["m.room.create", "m.room.name", "m.room.join_rules", "m.room.encryption", "m.room.member", "m.room.member"]
    );
    assert_eq!(told[4]["state_key"], "@alice:a.example");
    assert_eq!(told[5]["state_key"], "@bob:a.example");
    assert_eq!(told[5]["content"], json!({ "membership": "invite", "is_direct": true }));
}
