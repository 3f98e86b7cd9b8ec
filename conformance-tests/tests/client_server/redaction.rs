//! "Redactions": who may, what remains, and how it is shown.

use conformance_tests::{Sync, find_event, timeline, v3};
use serde_json::{Value, json};

use crate::{ROOM_VERSIONS, SERVER};

fn moved_redacts(version: &str) -> bool {
    matches!(version, "11" | "12")
}

#[tokio::test]
async fn a_redacted_message_loses_its_content_in_every_version() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ROOM_VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let message = alice.send_text(&room, "secret").await;
        let redaction = alice.redact(&room, &message, json!({ "reason": "spoiler" })).await;

        let event = alice.event(&room, &message).await;
        assert_eq!(event["content"], json!({}), "{version}: {event}");
        let because = &event["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction, "{version}: {event}");
        assert_eq!(because["content"]["reason"], "spoiler", "{version}: {event}");

        let event = alice.event(&room, &redaction).await;
        assert_eq!(event["type"], "m.room.redaction");
        // Both places are filled for clients of either age; the version's own is required.
        let place = if moved_redacts(version) { &event["content"]["redacts"] } else { &event["redacts"] };
        assert_eq!(place, &json!(message), "{version}: {event}");
        assert_eq!(event["redacts"], message, "{version}: {event}");
        assert_eq!(event["content"]["redacts"], message, "{version}: {event}");
        assert!(!alice.whole_history(&room, 50).await.iter().any(|event| event.to_string().contains("secret")));
    }
}

#[tokio::test]
async fn everyone_in_the_room_hears_of_a_redaction() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let message = alice.send_text(&room, "secret").await;
    let since = bob.now().await;
    let redaction = alice.redact(&room, &message, json!({})).await;
    let answer = bob.wait_for_event(&since, &room, &redaction).await;
    let event = find_event(timeline(&answer, &room), &redaction).expect("waited for");
    assert_eq!((&event["redacts"], &event["content"]["redacts"]), (&json!(message), &json!(message)));
    let initial = bob.sync(Sync::initial()).await;
    assert!(!initial.to_string().contains("secret"), "{initial}");
    let event = find_event(timeline(&initial, &room), &message).expect("in the timeline");
    assert_eq!(event["content"], json!({}));
    assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction);
}

#[tokio::test]
async fn own_messages_yes_those_of_others_only_with_the_redact_level() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for version in ["1", "2", "3", "10", "11", "12"] {
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version })).await;
        bob.join(&room).await;
        let (alices, bobs) = (alice.send_text(&room, "alice's").await, bob.send_text(&room, "bob's").await);
        let path = v3!("/rooms/{}/redact/{}/{}", room, alices, bob.next_transaction());
        bob.put(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
        assert_eq!(alice.event(&room, &alices).await["content"]["body"], "alice's", "{version}");
        bob.redact(&room, &bobs, json!({})).await;
        assert_eq!(alice.event(&room, &bobs).await["content"], json!({}), "{version}");

        let another = bob.send_text(&room, "bob's").await;
        alice.redact(&room, &another, json!({})).await;
        assert_eq!(bob.event(&room, &another).await["content"], json!({}), "{version}");
        alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): 50 } })).await;
        bob.redact(&room, &alices, json!({})).await;
        assert_eq!(alice.event(&room, &alices).await["content"], json!({}), "{version}");
    }
}

#[tokio::test]
async fn who_may_not_send_redactions_may_not_redact_even_the_own() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let levels = json!({ "events": { "m.room.redaction": 60 } });
    let body = json!({ "preset": "public_chat", "power_level_content_override": levels });
    let room = alice.create_room(body).await;
    bob.join(&room).await;
    let bobs = bob.send_text(&room, "bob's").await;
    let path = v3!("/rooms/{}/redact/{}/1", room, bobs);
    bob.put(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_repeated_redaction_is_the_same_event() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let message = alice.send_text(&room, "secret").await;
    let path = v3!("/rooms/{}/redact/{}/{}", room, message, "t");
    let first = alice.put(&path, json!({})).await.ok();
    assert_eq!(alice.put(&path, json!({})).await.ok(), first);
    // Another transaction is another redaction of what is redacted already; it changes nothing.
    alice.redact(&room, &message, json!({})).await;
    assert_eq!(alice.event(&room, &message).await["content"], json!({}));
}

#[tokio::test]
async fn a_redaction_can_be_sent_as_an_event_in_every_version() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ROOM_VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let message = alice.send_text(&room, "secret").await;
        let redaction = alice.send(&room, "m.room.redaction", json!({ "redacts": message, "reason": "r" })).await;
        let event = alice.event(&room, &message).await;
        assert_eq!(event["content"], json!({}), "{version}: {event}");
        assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction, "{version}: {event}");
    }
}

/// What remains of the content of a state event.
async fn remains(version: &str, event_type: &str, content: Value) -> Value {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "room_version": version })).await;
    let key = if event_type == "m.room.member" { alice.user_id.as_str() } else { "" };
    let id = alice.set_state(&room, event_type, key, content).await;
    alice.redact(&room, &id, json!({})).await;
    alice.event(&room, &id).await["content"].clone()
}

#[tokio::test]
async fn membership_survives_its_redaction() {
    for version in ["1", "10", "12"] {
        let content = json!({ "membership": "join", "displayname": "Mallory", "reason": "x" });
        assert_eq!(remains(version, "m.room.member", content).await, json!({ "membership": "join" }), "{version}");
    }
}

#[tokio::test]
async fn what_survives_of_the_rules_depends_on_the_version() {
    let rules = json!({
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": "!x:a.example" }],
        "org.example.note": 1,
    });
    // `allow` is kept from version 8 on.
    assert_eq!(remains("7", "m.room.join_rules", rules.clone()).await, json!({ "join_rule": "restricted" }));
    let kept = remains("8", "m.room.join_rules", rules.clone()).await;
    assert_eq!(kept, json!({ "join_rule": "restricted", "allow": rules["allow"] }));
    let visibility = json!({ "history_visibility": "joined", "org.example.note": 1 });
    let kept = remains("12", "m.room.history_visibility", visibility).await;
    assert_eq!(kept, json!({ "history_visibility": "joined" }));
    assert_eq!(remains("12", "m.room.topic", json!({ "topic": "secret" })).await, json!({}));
}

#[tokio::test]
async fn the_invite_level_survives_from_version_11_on() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ["10", "11", "12"] {
        let users = if version == "12" { json!({}) } else { json!({ alice.user_id.clone(): 100 }) };
        let levels = json!({ "users": users, "invite": 10, "ban": 60, "notifications": { "room": 20 } });
        let kept = remains(version, "m.room.power_levels", {
            // The user of `remains` differs, so the users are left to the default of that room.
            let mut levels = levels.clone();
            levels.as_object_mut().expect("an object").remove("users");
            levels["users_default"] = json!(100);
            levels
        })
        .await;
        assert_eq!(kept["ban"], 60, "{version}: {kept}");
        assert!(kept["notifications"].is_null(), "{version}: {kept}");
        assert_eq!(kept["invite"], if version == "10" { Value::Null } else { json!(10) }, "{version}: {kept}");
    }
}

#[tokio::test]
async fn redacted_state_is_empty_but_there() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "before" })).await;
    let name = alice.set_state(&room, "m.room.name", "", json!({ "name": "secret" })).await;
    alice.redact(&room, &name, json!({})).await;
    assert_eq!(alice.state(&room, "m.room.name", "").await, json!({}), "the name before does not come back");
}

#[tokio::test]
async fn what_is_in_another_room_is_not_redacted_from_here() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (room, other) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    let elsewhere = alice.send_text(&other, "elsewhere").await;
    // The specification leaves open whether a redaction may wait for its event, so 200 is an answer too.
    for id in [elsewhere.as_str(), "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "nonsense"] {
        let path = v3!("/rooms/{}/redact/{}/{}", room, id, alice.next_transaction());
        let reply = alice.put(&path, json!({})).await;
        assert!(matches!(reply.status, 200 | 400 | 403 | 404), "{reply}");
    }
    assert_eq!(alice.event(&other, &elsewhere).await["content"]["body"], "elsewhere");
}

#[tokio::test]
async fn strangers_redact_nothing() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let bobs = bob.send_text(&room, "bob's").await;
    bob.leave(&room).await;
    bob.put(&v3!("/rooms/{}/redact/{}/1", room, bobs), json!({})).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(alice.event(&room, &bobs).await["content"]["body"], "bob's");
}

#[tokio::test]
async fn a_mistyped_reason_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let message = alice.send_text(&room, "kept").await;
    let reply = alice.put(&v3!("/rooms/{}/redact/{}/1", room, message), json!({ "reason": 7 })).await;
    assert_eq!(reply.status, 400, "{reply}");
    assert_eq!(alice.event(&room, &message).await["content"]["body"], "kept");
}
