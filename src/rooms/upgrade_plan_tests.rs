use linkim_federation::rules;
use ruma::{event_id, room_alias_id, room_id, user_id};
use serde_json::{Value, json};

use super::*;

fn content(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn value(content: &CanonicalJsonObject) -> Value {
    CanonicalJsonValue::Object(content.clone()).into()
}

fn old(state: Vec<(&'static str, Value)>) -> OldRoom {
    OldRoom {
        room_id: room_id!("!old:a.example").to_owned(),
        newest_event: Some(event_id!("$newest").to_owned()),
        create: content(json!({ "creator": "@x:y", "room_version": "5", "type": "m.space", "m.federate": false })),
        creators: Vec::new(),
        state: state.into_iter().map(|(kind, state)| (kind, content(state))).collect(),
        children: Vec::new(),
        banned: Vec::new(),
        aliases: vec![room_alias_id!("#tea:a.example").to_owned()],
    }
}

fn planned(old: &OldRoom, version: &RoomVersionId, more: &[&ruma::UserId]) -> (Value, Vec<(String, String, Value)>) {
    let profile = MemberProfile::default();
    let target = Target {
        creator: user_id!("@alice:a.example").to_owned(),
        version,
        rules: rules(version).unwrap(),
        additional_creators: more.iter().map(|user| (*user).to_owned()).collect(),
        profile: &profile,
    };
    let (create, events) = plan(old, &target);
    let events =
        events.into_iter().map(|event| (event.kind, event.state_key.unwrap(), value(&event.content))).collect();
    (value(&create), events)
}

#[test]
fn the_create_event_names_the_old_room_and_keeps_its_type() {
    let (create, _) = planned(&old(vec![]), &RoomVersionId::V10, &[user_id!("@bob:x")]);
    assert_eq!(
        create,
        json!({
            "predecessor": { "room_id": "!old:a.example", "event_id": "$newest" },
            "room_version": "10", "creator": "@alice:a.example", "type": "m.space", "m.federate": false,
        }),
        "additional creators mean nothing in version 10"
    );
    let (create, _) = planned(
        &old(vec![]),
        &RoomVersionId::V12,
        &[user_id!("@bob:x"), user_id!("@alice:a.example"), user_id!("@bob:x")],
    );
    assert_eq!(create["additional_creators"], json!(["@bob:x"]));
    assert!(create.get("creator").is_none());
}

#[test]
fn in_version_12_creators_leave_the_levels_and_a_tombstone_is_theirs() {
    let levels = json!({
        "users": { "@alice:a.example": 100, "@bob:x": 100, "@carol:x": 50 },
        "events": { "m.room.tombstone": 50 }, "state_default": "50", "ban": "x",
    });
    let (_, events) = planned(&old(vec![("m.room.power_levels", levels)]), &RoomVersionId::V12, &[user_id!("@bob:x")]);
    let all: Vec<&str> = events.iter().map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(all, ["m.room.member", "m.room.power_levels"]);
    assert_eq!(
        events[1].2,
        json!({ "users": { "@carol:x": 50 }, "events": { "m.room.tombstone": 150 }, "state_default": 50 })
    );
}

#[test]
fn back_from_version_12_the_creators_get_a_number() {
    let mut room = old(vec![("m.room.power_levels", json!({ "users": {}, "events": { "m.room.tombstone": 150 } }))]);
    room.creators = vec![user_id!("@alice:a.example").to_owned(), user_id!("@bob:x").to_owned()];
    let (_, events) = planned(&room, &RoomVersionId::V11, &[]);
    assert_eq!(
        events[1].2,
        json!({ "users": { "@alice:a.example": 100, "@bob:x": 100 }, "events": { "m.room.tombstone": 100 } })
    );
}

#[test]
fn too_little_power_is_borrowed_and_given_back() {
    let levels = json!({ "users": { "@alice:a.example": 50, "@bob:x": 100 }, "events": { "m.room.encryption": 100 } });
    let state = vec![("m.room.power_levels", levels.clone()), ("m.room.name", json!({ "name": "Tea" }))];
    let (_, events) = planned(&old(state), &RoomVersionId::V11, &[]);
    assert_eq!(events[1].2["users"]["@alice:a.example"], 100);
    assert_eq!(events.last().unwrap(), &("m.room.power_levels".into(), String::new(), levels));
}

#[test]
fn a_join_rule_that_the_version_does_not_know_becomes_invite() {
    for (rule, version, kept) in [
        ("knock", RoomVersionId::V6, false),
        ("knock", RoomVersionId::V7, true),
        ("restricted", RoomVersionId::V7, false),
        ("restricted", RoomVersionId::V8, true),
        ("knock_restricted", RoomVersionId::V9, false),
        ("knock_restricted", RoomVersionId::V10, true),
        ("public", RoomVersionId::V1, true),
    ] {
        let rules = rules(&version).unwrap();
        let result = join_rules(&content(json!({ "join_rule": rule, "allow": [] })), rules);
        let wanted = if kept { json!({ "join_rule": rule, "allow": [] }) } else { json!({ "join_rule": "invite" }) };
        assert_eq!(value(&result), wanted, "{rule} in {version}");
    }
}

#[test]
fn only_aliases_that_move_are_canonical_in_the_new_room() {
    let moved = [room_alias_id!("#tea:a.example").to_owned()];
    let of = |aliases: Value| canonical_alias(&content(aliases), &moved).map(|content| value(&content));
    let both = json!({ "alias": "#tea:a.example", "alt_aliases": ["#tea:b.example", "#tea:a.example"] });
    assert_eq!(of(both), Some(json!({ "alias": "#tea:a.example", "alt_aliases": ["#tea:a.example"] })));
    assert_eq!(of(json!({ "alias": "#tea:b.example" })), None);
    assert_eq!(of(json!({})), None);
}

#[test]
fn the_old_room_is_silenced_above_its_users() {
    assert_eq!(
        value(&silence(content(json!({ "users_default": 60, "invite": 100 })))),
        json!({ "users_default": 60, "invite": 100, "events_default": 61 })
    );
    assert_eq!(value(&silence(content(json!({})))), json!({ "invite": 50, "events_default": 50 }));
}
