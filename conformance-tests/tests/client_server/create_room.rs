//! "Creation" of rooms: every preset, every field, every version.

use conformance_tests::{Client, find_state, unique, v3};
use serde_json::{Value, json};

use crate::{ROOM_VERSIONS, SERVER};

async fn setting(client: &Client, room: &str, event_type: &str, key: &str) -> Value {
    client.state(room, event_type, "").await[key].clone()
}

#[tokio::test]
async fn every_preset_sets_its_rules() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for (preset, join_rule, guest_access) in [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    ] {
        let room = alice.create_room(json!({ "preset": preset })).await;
        assert_eq!(setting(&alice, &room, "m.room.join_rules", "join_rule").await, join_rule, "{preset}");
        assert_eq!(setting(&alice, &room, "m.room.history_visibility", "history_visibility").await, "shared");
        let found = alice.get(&v3!("/rooms/{}/state/m.room.guest_access/", room)).await;
        let found = if found.status == 404 { json!("forbidden") } else { found.ok()["guest_access"].clone() };
        assert_eq!(found, guest_access, "{preset}");
    }
}

#[tokio::test]
async fn without_a_preset_the_visibility_decides() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for (body, join_rule) in [
        (json!({}), "invite"),
        (json!({ "visibility": "private" }), "invite"),
        (json!({ "visibility": "public" }), "public"),
        (json!({ "visibility": "public", "preset": "private_chat" }), "invite"),
    ] {
        let room = alice.create_room(body.clone()).await;
        assert_eq!(setting(&alice, &room, "m.room.join_rules", "join_rule").await, join_rule, "{body}");
    }
}

#[tokio::test]
async fn every_room_version_can_be_created_and_used() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for version in ROOM_VERSIONS {
        let room =
            alice.create_room(json!({ "room_version": version, "invite": [bob.user_id], "name": version })).await;
        let create = setting(&alice, &room, "m.room.create", "room_version").await;
        assert!(create == version || (version == "1" && create.is_null()), "{version}: {create}");
        bob.join(&room).await;
        let event_id = bob.send_text(&room, "hello").await;
        assert_eq!(alice.event(&room, &event_id).await["content"]["body"], "hello", "{version}");
        assert_eq!(setting(&alice, &room, "m.room.name", "name").await, version);
    }
}

#[tokio::test]
async fn the_default_version_is_12() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    assert_eq!(setting(&alice, &room, "m.room.create", "room_version").await, "12");
}

#[tokio::test]
async fn an_unknown_version_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let before = alice.get(&v3!("/joined_rooms")).await.ok();
    for version in ["13", "0", "org.example.own", ""] {
        let reply = alice.post(&v3!("/createRoom"), json!({ "room_version": version })).await;
        reply.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
    let reply = alice.post(&v3!("/createRoom"), json!({ "room_version": 12 })).await;
    reply.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")]);
    assert_eq!(alice.get(&v3!("/joined_rooms")).await.ok(), before);
}

#[tokio::test]
async fn the_id_of_a_version_12_room_is_the_create_event_and_names_no_server() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "room_version": "12" })).await;
    let create = find_state(&alice.all_state(&room).await, "m.room.create", "").expect("a create event").clone();
    assert_eq!(room[1..], create["event_id"].as_str().expect("an event id")[1..]);
    assert!(room.starts_with('!') && !room.contains(':'), "{room}");
    let older = alice.create_room(json!({ "room_version": "11" })).await;
    assert!(older.ends_with(&format!(":{}", server.name())), "{older}");
}

#[tokio::test]
async fn event_ids_have_the_form_of_their_version() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ROOM_VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let id = alice.send_text(&room, "hello").await;
        match version {
            "1" | "2" => {
                assert!(id.starts_with('$') && id.ends_with(&format!(":{}", server.name())), "{version}: {id}")
            }
            // The reference hash, in standard base64 in version 3, URL-safe after; 32 bytes without padding.
            "3" => assert!(id.len() == 44 && !id.contains([':', '-', '_']), "{version}: {id}"),
            _ => assert!(id.len() == 44 && !id.contains([':', '+', '/']), "{version}: {id}"),
        }
    }
}

#[tokio::test]
async fn the_creator_is_named_as_the_version_says() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ["1", "10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let state = alice.all_state(&room).await;
        let create = find_state(&state, "m.room.create", "").expect("a create event");
        assert_eq!(create["sender"], alice.user_id);
        let levels = alice.state(&room, "m.room.power_levels", "").await;
        if matches!(version, "1" | "10") {
            assert_eq!(create["content"]["creator"], alice.user_id, "{version}");
        }
        if version == "12" {
            assert!(levels["users"][&alice.user_id].is_null(), "a creator is not listed: {levels}");
        } else {
            assert_eq!(levels["users"][&alice.user_id], 100, "{version}: {levels}");
        }
    }
}

#[tokio::test]
async fn a_tombstone_needs_more_than_state_default_in_version_12() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await;
    let tombstone = levels["events"]["m.room.tombstone"].as_i64().expect("an explicit level");
    assert!(tombstone > levels["state_default"].as_i64().unwrap_or(50), "{levels}");
}

#[tokio::test]
async fn name_topic_and_alias_become_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let alias = unique("tea-party");
    let room = alice.create_room(json!({ "name": "Tea", "topic": "At six", "room_alias_name": alias })).await;
    let full = format!("#{alias}:{}", server.name());
    assert_eq!(setting(&alice, &room, "m.room.name", "name").await, "Tea");
    assert_eq!(setting(&alice, &room, "m.room.topic", "topic").await, "At six");
    assert_eq!(setting(&alice, &room, "m.room.canonical_alias", "alias").await, full);
    let resolved = alice.get(&v3!("/directory/room/{}", full)).await.ok();
    assert_eq!(resolved["room_id"], room);
    assert!(
        resolved["servers"].as_array().is_some_and(|servers| servers.contains(&json!(server.name()))),
        "{resolved}"
    );
}

#[tokio::test]
async fn an_alias_in_use_makes_no_room() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let alias = unique("taken");
    alice.create_room(json!({ "room_alias_name": alias })).await;
    let before = alice.get(&v3!("/joined_rooms")).await.ok();
    let reply = alice.post(&v3!("/createRoom"), json!({ "room_alias_name": alias })).await;
    reply.expect_error(400, "M_ROOM_IN_USE");
    assert_eq!(alice.get(&v3!("/joined_rooms")).await.ok(), before);
}

#[tokio::test]
async fn an_alias_outside_the_grammar_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for alias in ["with:colon".to_owned(), "x".repeat(260), "nul\u{0}".to_owned()] {
        let reply = alice.post(&v3!("/createRoom"), json!({ "room_alias_name": alias })).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
}

#[tokio::test]
async fn the_events_come_in_the_specified_order() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let body = json!({
        "preset": "public_chat",
        "room_alias_name": unique("order"),
        "name": "Order",
        "topic": "of events",
        "invite": [bob.user_id],
        "initial_state": [
            { "type": "org.example.first", "content": {} },
            { "type": "org.example.second", "state_key": "key", "content": { "a": 1 } },
        ],
    });
    let room = alice.create_room(body).await;
    let history = alice.whole_history(&room, 50).await;
    let types: Vec<&str> = history.iter().filter_map(|event| event["type"].as_str()).collect();
    let place = |event_type: &str| {
        types.iter().position(|found| *found == event_type).unwrap_or_else(|| panic!("no {event_type} in {types:?}"))
    };
    assert_eq!(types[..3], ["m.room.create", "m.room.member", "m.room.power_levels"]);
    assert!(place("m.room.canonical_alias") < place("m.room.join_rules"), "{types:?}");
    for preset in ["m.room.join_rules", "m.room.history_visibility"] {
        assert!(place(preset) < place("org.example.first"), "{types:?}");
    }
    assert!(place("org.example.first") < place("org.example.second"), "{types:?}");
    assert!(place("org.example.second") < place("m.room.name"), "{types:?}");
    assert_eq!(types.last(), Some(&"m.room.member"), "the invitation comes last");
    assert_eq!(history.last().expect("an event")["state_key"], bob.user_id);
}

#[tokio::test]
async fn initial_state_wins_over_the_preset_and_loses_to_name() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let body = json!({
        "preset": "public_chat",
        "name": "wins",
        "initial_state": [
            { "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } },
            { "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } },
            { "type": "m.room.name", "content": { "name": "loses" } },
        ],
    });
    let room = alice.create_room(body).await;
    assert_eq!(setting(&alice, &room, "m.room.join_rules", "join_rule").await, "knock");
    assert_eq!(setting(&alice, &room, "m.room.history_visibility", "history_visibility").await, "joined");
    assert_eq!(setting(&alice, &room, "m.room.name", "name").await, "wins");
}

#[tokio::test]
async fn creation_content_is_added_and_may_not_lie() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let body = json!({
        "room_version": "10",
        "creation_content": {
            "m.federate": false,
            "type": "m.space",
            "org.example.note": "kept",
            "creator": "@mallory:a.example",
            "room_version": "1",
        },
    });
    let room = alice.create_room(body).await;
    let create = alice.state(&room, "m.room.create", "").await;
    assert_eq!(
        create,
        json!({
            "m.federate": false, "type": "m.space", "org.example.note": "kept",
            "creator": alice.user_id, "room_version": "10",
        })
    );
}

#[tokio::test]
async fn power_level_content_override_is_laid_over_the_default() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let over = json!({ "events_default": 10, "users": { bob.user_id.clone(): 50 }, "events": { "m.room.name": 20 } });
    let room = alice.create_room(json!({ "power_level_content_override": over })).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await;
    assert_eq!((&levels["events_default"], &levels["users"][&bob.user_id]), (&json!(10), &json!(50)));
    assert_eq!(levels["events"]["m.room.name"], 20, "{levels}");
    assert!(levels["state_default"].is_null() || levels["state_default"] == 50, "the rest is the default: {levels}");
}

#[tokio::test]
async fn an_override_that_forbids_the_creator_to_go_on_is_an_invalid_room_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let before = alice.get(&v3!("/joined_rooms")).await.ok();
    let over = json!({ "users": { alice.user_id.clone(): 10 } });
    let body = json!({ "room_version": "11", "name": "forbidden", "power_level_content_override": over });
    let reply = alice.post(&v3!("/createRoom"), body).await;
    reply.expect_one_of(&[(400, "M_INVALID_ROOM_STATE"), (403, "M_FORBIDDEN")]);
    assert_eq!(alice.get(&v3!("/joined_rooms")).await.ok(), before, "no room is left half made");
    let in_12 = json!({ "power_level_content_override": { "users": { alice.user_id.clone(): 100 } } });
    let reply = alice.post(&v3!("/createRoom"), in_12).await;
    assert!(matches!(reply.status, 400 | 403), "version 12 forbids to list a creator\n{reply}");
}

#[tokio::test]
async fn a_direct_room_marks_its_invitations() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let body = json!({ "is_direct": true, "invite": [bob.user_id], "preset": "trusted_private_chat" });
    let room = alice.create_room(body).await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await;
    assert_eq!((&member["membership"], &member["is_direct"]), (&json!("invite"), &json!(true)));
}

#[tokio::test]
async fn trusted_private_chat_raises_the_invited_to_the_creator() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let body = |version: &str| {
        json!({
            "preset": "trusted_private_chat",
            "room_version": version,
            "invite": [bob.user_id],
            "creation_content": if version == "12" { json!({ "additional_creators": [carol.user_id] }) } else { json!({}) },
        })
    };
    let older = alice.create_room(body("11")).await;
    let levels = alice.state(&older, "m.room.power_levels", "").await;
    assert_eq!(levels["users"][&bob.user_id], levels["users"][&alice.user_id], "{levels}");

    let newer = alice.create_room(body("12")).await;
    let create = alice.state(&newer, "m.room.create", "").await;
    let mut creators: Vec<&str> =
        create["additional_creators"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    creators.sort_unstable();
    let mut wanted = [bob.user_id.as_str(), carol.user_id.as_str()];
    wanted.sort_unstable();
    assert_eq!(creators, wanted, "{create}");
    let levels = alice.state(&newer, "m.room.power_levels", "").await;
    assert!(levels["users"][&bob.user_id].is_null(), "a creator is not listed: {levels}");
    // Infinite power: bob may do what needs the highest level.
    bob.join(&newer).await;
    bob.set_state(&newer, "m.room.tombstone", "", json!({ "body": "moved", "replacement_room": "!x" })).await;
}

#[tokio::test]
async fn additional_creators_are_user_ids() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for creators in [json!("@bob:a.example"), json!(["not a user id"]), json!([7])] {
        let body = json!({ "room_version": "12", "creation_content": { "additional_creators": creators } });
        let reply = alice.post(&v3!("/createRoom"), body).await;
        assert!(matches!(reply.status, 400 | 403), "{reply}");
    }
}

#[tokio::test]
async fn the_visibility_publishes_the_room_or_does_not() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for visibility in ["public", "private"] {
        let room = alice.create_room(json!({ "visibility": visibility })).await;
        let answer = alice.get(&v3!("/directory/list/room/{}", room)).await.ok();
        assert_eq!(answer["visibility"], visibility);
    }
}

#[tokio::test]
async fn mistyped_fields_are_refused_and_make_no_room() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let before = alice.get(&v3!("/joined_rooms")).await.ok();
    for body in [
        json!({ "name": 7 }),
        json!({ "preset": "no_such_preset" }),
        json!({ "visibility": "sometimes" }),
        json!({ "invite": "everyone" }),
        json!({ "invite": ["not a user id"] }),
        json!({ "initial_state": {} }),
        json!({ "initial_state": [{ "content": {} }] }),
        json!({ "initial_state": [{ "type": "org.example.x", "content": "no object" }] }),
        json!({ "creation_content": [] }),
        json!({ "power_level_content_override": "high" }),
        json!({ "is_direct": "yes" }),
        json!({ "topic": ["x"] }),
    ] {
        let reply = alice.post(&v3!("/createRoom"), body).await;
        assert_eq!(reply.status, 400, "{reply}");
        assert!(reply.errcode().starts_with("M_"), "{reply}");
    }
    assert_eq!(alice.get(&v3!("/joined_rooms")).await.ok(), before);
}

#[tokio::test]
async fn a_topic_is_also_given_as_extensible_text() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "topic": "At six" })).await;
    let topic = alice.state(&room, "m.room.topic", "").await;
    assert_eq!(topic["m.topic"]["m.text"][0]["body"], "At six", "{topic}");
}
