//! State events: setting them, and reading them through `/state`.

use conformance_tests::{Sync, event_ids, find_event, find_state, timeline, unique, v3};
use reqwest::Method;
use serde_json::json;

use crate::SERVER;

#[tokio::test]
async fn state_is_kept_by_type_and_key() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for (key, value) in [("", 1), ("a", 2), ("a/b ünï", 3)] {
        alice.set_state(&room, "org.example.thing", key, json!({ "value": value })).await;
    }
    alice.set_state(&room, "org.example.thing", "a", json!({ "value": 4 })).await;
    for (key, value) in [("", 1), ("a", 4), ("a/b ünï", 3)] {
        assert_eq!(alice.state(&room, "org.example.thing", key).await, json!({ "value": value }), "{key:?}");
    }
    let state = alice.all_state(&room).await;
    assert_eq!(state.iter().filter(|event| event["type"] == "org.example.thing").count(), 3);
}

#[tokio::test]
async fn an_empty_key_may_be_left_out_of_the_path() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let (bare, slash) =
        (v3!("/rooms/{}/state/org.example.thing", room), v3!("/rooms/{}/state/org.example.thing/", room));
    alice.put(&bare, json!({ "n": 1 })).await.ok();
    assert_eq!(alice.get(&slash).await.ok(), json!({ "n": 1 }));
    alice.put(&slash, json!({ "n": 2 })).await.ok();
    assert_eq!(alice.get(&bare).await.ok(), json!({ "n": 2 }));
}

#[tokio::test]
async fn format_event_gives_the_whole_event() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let id = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "tea" })).await;
    let event = alice.get(&v3!("/rooms/{}/state/m.room.topic/?format=event", room)).await.ok();
    assert_eq!((&event["event_id"], &event["state_key"]), (&json!(id), &json!("")));
    assert_eq!((&event["sender"], &event["content"]), (&json!(alice.user_id), &json!({ "topic": "tea" })));
    assert!(event["origin_server_ts"].is_u64(), "{event}");
    let content = alice.get(&v3!("/rooms/{}/state/m.room.topic/?format=content", room)).await.ok();
    assert_eq!(content, json!({ "topic": "tea" }));
}

#[tokio::test]
async fn a_new_state_names_the_one_it_replaces() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let first = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "one" })).await;
    let since = alice.now().await;
    let second = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "two" })).await;
    let event = alice.event(&room, &second).await;
    assert_eq!(event["unsigned"]["replaces_state"], first, "{event}");
    let answer = alice.sync(Sync::since(&since)).await;
    let event = find_event(timeline(&answer, &room), &second).expect("in the timeline");
    assert_eq!(event["unsigned"]["replaces_state"], first, "{event}");
    assert_eq!(event["unsigned"]["prev_content"], json!({ "topic": "one" }), "{event}");
    let event = alice.event(&room, &first).await;
    assert!(event["unsigned"]["replaces_state"].is_null(), "there was none before: {event}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.get(&v3!("/rooms/{}/state/org.example.none/", room)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/rooms/{}/state/m.room.member/@nobody:a.example", room)).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn strangers_read_no_state() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.get(&v3!("/rooms/{}/state", room)).await.expect_error(403, "M_FORBIDDEN");
    bob.get(&v3!("/rooms/{}/state/m.room.create/", room)).await.expect_error(403, "M_FORBIDDEN");
    // An unknown room is not told from a closed one.
    bob.get(&v3!("/rooms/{}/state", "!nosuchroom:a.example"))
        .await
        .expect_one_of(&[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")]);
}

#[tokio::test]
async fn the_invited_read_no_state() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    bob.get(&v3!("/rooms/{}/state", room)).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_left_reads_the_state_of_that_moment() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "topic": "before" })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "after" })).await;
    alice.set_state(&room, "org.example.new", "", json!({})).await;
    assert_eq!(bob.state(&room, "m.room.topic", "").await["topic"], "before");
    let state = bob.all_state(&room).await;
    assert_eq!(find_state(&state, "m.room.topic", "").expect("a topic")["content"]["topic"], "before");
    assert!(find_state(&state, "org.example.new", "").is_none());
    assert_eq!(find_state(&state, "m.room.member", &bob.user_id).expect("own")["content"]["membership"], "leave");
    bob.get(&v3!("/rooms/{}/state/org.example.new/", room)).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn anyone_reads_the_state_of_a_world_readable_room() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let visibility =
        json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } });
    let room = alice.create_room(json!({ "topic": "open", "initial_state": [visibility] })).await;
    assert_eq!(bob.state(&room, "m.room.topic", "").await["topic"], "open");
    bob.all_state(&room).await;
}

#[tokio::test]
async fn a_state_key_that_is_a_user_id_belongs_to_the_user() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): 50 } })).await;
    let of = |user: &str| v3!("/rooms/{}/state/org.example.animal/{}", room, user);
    bob.put(&of(&bob.user_id), json!({ "animal": "cat" })).await.ok();
    bob.put(&of(&alice.user_id), json!({ "animal": "dodo" })).await.expect_error(403, "M_FORBIDDEN");
    alice.put(&of(&bob.user_id), json!({ "animal": "dodo" })).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(alice.state(&room, "org.example.animal", &bob.user_id).await["animal"], "cat");
}

#[tokio::test]
async fn the_create_event_cannot_be_replaced() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ["1", "6", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let before = alice.state(&room, "m.room.create", "").await;
        let reply = alice.put(&v3!("/rooms/{}/state/m.room.create/", room), json!({ "room_version": "1" })).await;
        assert!(matches!(reply.status, 400 | 403), "{reply}");
        assert_eq!(alice.state(&room, "m.room.create", "").await, before);
    }
}

#[tokio::test]
async fn a_canonical_alias_must_point_here() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (room, other) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    let (here, there) = (format!("#{}:a.example", unique("here")), format!("#{}:a.example", unique("there")));
    alice.put(&v3!("/directory/room/{}", here), json!({ "room_id": room })).await.ok();
    alice.put(&v3!("/directory/room/{}", there), json!({ "room_id": other })).await.ok();
    let path = v3!("/rooms/{}/state/m.room.canonical_alias/", room);
    alice.put(&path, json!({ "alias": here, "alt_aliases": [here] })).await.ok();
    alice.put(&path, json!({ "alias": there })).await.expect_error(400, "M_BAD_ALIAS");
    alice.put(&path, json!({ "alt_aliases": [there] })).await.expect_error(400, "M_BAD_ALIAS");
    alice.put(&path, json!({ "alias": "#no-such-alias:a.example" })).await.expect_error(400, "M_BAD_ALIAS");
    alice.put(&path, json!({ "alt_aliases": ["no alias"] })).await.expect_error(400, "M_INVALID_PARAM");
    assert_eq!(alice.state(&room, "m.room.canonical_alias", "").await["alias"], here);
    // An alias that is listed already is not looked at again, even when it points nowhere by now.
    alice.delete(&v3!("/directory/room/{}", here), None).await.ok();
    let listed = alice.state(&room, "m.room.canonical_alias", "").await;
    if listed["alt_aliases"] == json!([here]) {
        alice.put(&path, json!({ "alt_aliases": [here], "org.example.note": 1 })).await.ok();
    }
}

#[tokio::test]
async fn mistyped_state_of_the_rules_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ["10", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let levels = alice.state(&room, "m.room.power_levels", "").await;
        for content in [
            json!({ "users": { alice.user_id.clone(): "100" } }),
            json!({ "users": { "not a user": 1 } }),
            json!({ "users": [] }),
            json!({ "ban": "50" }),
            json!({ "events": { "m.room.name": "50" } }),
        ] {
            let reply = alice.put(&v3!("/rooms/{}/state/m.room.power_levels/", room), content).await;
            assert!(matches!(reply.status, 400 | 403), "{reply}");
        }
        assert_eq!(alice.state(&room, "m.room.power_levels", "").await, levels);
    }
}

#[tokio::test]
async fn post_is_not_a_method_of_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = v3!("/rooms/{}/state/org.example.thing/", room);
    let reply = alice.raw(Method::POST, &path, &[], Some(b"{}".to_vec())).await;
    reply.expect_error(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn all_state_has_each_event_once_in_the_client_format() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "Tea", "topic": "At six" })).await;
    let state = alice.all_state(&room).await;
    let mut ids = event_ids(&state);
    assert_eq!(ids.len(), state.len(), "each has an event id");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), state.len());
    for event in &state {
        assert!(event["state_key"].is_string() && event["origin_server_ts"].is_u64(), "{event}");
        assert_eq!(event["room_id"], room);
    }
}
