//! "Room upgrades".

use conformance_tests::{bodies, find_state, timeline, unique, v3};
use serde_json::json;

use crate::SERVER;

#[tokio::test]
async fn an_upgrade_makes_a_successor_that_knows_its_predecessor() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for (old_version, new_version) in [("6", "11"), ("11", "12"), ("12", "12"), ("10", "9")] {
        let alias = unique("moved");
        let body = json!({
            "room_version": old_version, "preset": "public_chat", "name": "Tea", "topic": "At six",
            "room_alias_name": alias, "creation_content": { "type": "m.space" },
            "initial_state": [
                { "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } },
                { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
                { "type": "m.room.avatar", "content": { "url": "mxc://a.example/x" } },
                { "type": "m.room.server_acl", "content": { "allow": ["*"], "deny": ["evil.example"] } },
            ],
        });
        let old = alice.create_room(body).await;
        bob.join(&old).await;
        let since = bob.now().await;
        let answer = alice.post(&v3!("/rooms/{}/upgrade", old), json!({ "new_version": new_version })).await.ok();
        let new = answer["replacement_room"].as_str().expect("a room id");

        let create = alice.state(new, "m.room.create", "").await;
        assert_eq!(create["room_version"], new_version);
        assert_eq!(create["predecessor"]["room_id"], old, "{create}");
        assert_eq!(create["type"], "m.space", "the type is carried over");
        let tombstone = alice.state(&old, "m.room.tombstone", "").await;
        assert_eq!(tombstone["replacement_room"], new, "{tombstone}");
        if new_version != "12" {
            // "The event ID of the last known event in the old room": the tombstone, or the last one before the upgrade.
            let history = alice.whole_history(&old, 50).await;
            let last = &create["predecessor"]["event_id"];
            let at = history.iter().position(|event| event["event_id"] == *last).expect("an event of the old room");
            let bob_joins = history.iter().position(|event| event["state_key"] == bob.user_id).expect("a join");
            let tombstone = history.iter().position(|event| event["type"] == "m.room.tombstone").expect("a tombstone");
            assert!((bob_joins..=tombstone).contains(&at), "{last} in {history:?}");
        }
        for event_type in [
            "m.room.name",
            "m.room.topic",
            "m.room.avatar",
            "m.room.server_acl",
            "m.room.guest_access",
            "m.room.history_visibility",
            "m.room.join_rules",
        ] {
            let (before, after) = (alice.state(&old, event_type, "").await, alice.state(new, event_type, "").await);
            assert_eq!(before, after, "{old_version} to {new_version}: {event_type}");
        }
        let resolved = alice.get(&v3!("/directory/room/{}", format!("#{alias}:{}", server.name()))).await.ok();
        assert_eq!(resolved["room_id"], new, "the alias has moved");
        // Members move by themselves.
        let state = alice.all_state(new).await;
        assert!(find_state(&state, "m.room.member", &bob.user_id).is_none_or(|e| e["content"]["membership"] != "join"));
        bob.wait_until_sync(&since, |answer| find_state(timeline(answer, &old), "m.room.tombstone", "").is_some())
            .await;
        bob.join(new).await;
    }
}

#[tokio::test]
async fn the_old_room_is_closed_to_those_without_power_and_its_history_stays() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let old = alice.create_room(json!({ "room_version": "11", "preset": "public_chat" })).await;
    bob.join(&old).await;
    bob.send_text(&old, "history").await;
    alice.post(&v3!("/rooms/{}/upgrade", old), json!({ "new_version": "12" })).await.ok();
    let path = v3!("/rooms/{}/send/m.room.message/1", old);
    bob.put(&path, json!({ "msgtype": "m.text", "body": "late" })).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(bodies(&bob.whole_history(&old, 50).await), ["history"]);
}

#[tokio::test]
async fn power_levels_are_carried_over_and_the_upgrader_can_use_the_room() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for (old_version, new_version) in [("11", "12"), ("9", "11")] {
        let old = alice.create_room(json!({ "room_version": old_version, "preset": "public_chat" })).await;
        alice.change_power_levels(&old, json!({ "users": { bob.user_id.clone(): 50 }, "invite": 20 })).await;
        let answer = alice.post(&v3!("/rooms/{}/upgrade", old), json!({ "new_version": new_version })).await.ok();
        let new = answer["replacement_room"].as_str().expect("a room id");
        let levels = alice.state(new, "m.room.power_levels", "").await;
        assert_eq!((&levels["users"][&bob.user_id], &levels["invite"]), (&json!(50), &json!(20)), "{levels}");
        if new_version == "12" {
            assert!(levels["users"][&alice.user_id].is_null(), "a creator is not listed: {levels}");
        }
        alice.set_state(new, "m.room.name", "", json!({ "name": "new" })).await;
    }
}

#[tokio::test]
async fn additional_creators_are_set_by_the_upgrade_alone() {
    let server = SERVER.get();
    let (alice, bob, carol) =
        (server.register("alice").await, server.register("bob").await, server.register("carol").await);
    let creation = json!({ "additional_creators": [bob.user_id] });
    let old = alice.create_room(json!({ "room_version": "12", "creation_content": creation })).await;
    let body = json!({ "new_version": "12", "additional_creators": [carol.user_id] });
    let answer = alice.post(&v3!("/rooms/{}/upgrade", old), body).await.ok();
    let create = alice.state(answer["replacement_room"].as_str().expect("a room id"), "m.room.create", "").await;
    assert_eq!(create["additional_creators"], json!([carol.user_id]));
}

#[tokio::test]
async fn an_upgrade_needs_power_membership_and_a_version_that_exists() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let old = alice.create_room(json!({ "preset": "public_chat" })).await;
    let path = v3!("/rooms/{}/upgrade", old);
    bob.post(&path, json!({ "new_version": "12" })).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&old).await;
    alice.change_power_levels(&old, json!({ "users": { bob.user_id.clone(): 100 } })).await;
    // In version 12 a tombstone needs more than an administrator has.
    bob.post(&path, json!({ "new_version": "12" })).await.expect_error(403, "M_FORBIDDEN");
    alice.post(&path, json!({ "new_version": "999" })).await.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
    let reply = alice.post(&path, json!({})).await;
    assert_eq!(reply.status, 400, "{reply}");
    let unknown = alice.post(&v3!("/rooms/{}/upgrade", "!nosuchroom:a.example"), json!({ "new_version": "12" })).await;
    assert!(matches!(unknown.status, 403 | 404), "{unknown}");
    alice.get(&v3!("/rooms/{}/state/m.room.tombstone/", old)).await.expect_error(404, "M_NOT_FOUND");
}
