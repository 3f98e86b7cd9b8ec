//! EDUs for users that are not the sender's, for rooms that it is not in, and that are none.
//!
//! Source: Server-Server API, "EDUs".

use conformance_tests::{Client, Sync, v3};
use serde_json::{Value, json};

use crate::{raw, shared, shown, still_there, world};

fn ephemeral(answer: &Value, room: &str, kind: &str) -> Value {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().find(|event| event["type"] == kind).unwrap_or(Value::Null)
}

fn typing(room: &str, user: &str) -> Value {
    json!({ "room_id": room, "user_id": user, "typing": true })
}

fn receipt(room: &str, user: &str, event: &str) -> Value {
    json!({ room: { "m.read": { user: { "event_ids": [event], "data": { "ts": 1_700_000_000_000_u64 } } } } })
}

#[tokio::test]
async fn a_server_types_for_its_own_users_alone() {
    let server = shared();
    let world = world(&server).await;
    let bob = server.register("bob").await;
    bob.join(&world.room.id).await;
    let outsider = raw().await;
    let since = world.alice.now().await;
    for user in [bob.user_id.as_str(), "@stranger:elsewhere.example", &world.peer.user("not-in-the-room")] {
        world.peer.edu(&server, "m.typing", typing(&world.room.id, user)).await.ok();
    }
    outsider.edu(&server, "m.typing", typing(&world.room.id, &outsider.user("eve"))).await.ok();
    outsider.edu(&server, "m.typing", typing(&world.room.id, &world.mallory)).await.ok();
    world.peer.edu(&server, "m.typing", typing("!nowhere:localhost", &world.mallory)).await.ok();
    world.peer.edu(&server, "m.typing", typing(&world.room.id, &world.mallory)).await.ok();
    let answer = world
        .alice
        .wait_until_sync(&since, |answer| {
            let typing = ephemeral(answer, &world.room.id, "m.typing");
            typing["content"]["user_ids"].as_array().is_some_and(|users| !users.is_empty())
        })
        .await;
    let users = &ephemeral(&answer, &world.room.id, "m.typing")["content"]["user_ids"];
    assert_eq!(*users, json!([world.mallory]), "{answer}");
}

#[tokio::test]
async fn a_server_reads_for_its_own_users_alone() {
    let server = shared();
    let world = world(&server).await;
    let bob = server.register("bob").await;
    bob.join(&world.room.id).await;
    let outsider = raw().await;
    let said = world.alice.send_text(&world.room.id, "who has read this?").await;
    let since = world.alice.now().await;
    let room = world.room.id.as_str();
    let eve = outsider.user("eve");
    for user in [bob.user_id.as_str(), world.alice.user_id.as_str(), "@stranger:elsewhere.example"] {
        world.peer.edu(&server, "m.receipt", receipt(room, user, &said)).await.ok();
    }
    for user in [eve.as_str(), world.mallory.as_str()] {
        outsider.edu(&server, "m.receipt", receipt(room, user, &said)).await.ok();
    }
    world.peer.edu(&server, "m.receipt", receipt(room, &world.mallory, &said)).await.ok();
    let mut seen = Vec::new();
    world
        .alice
        .wait_until_sync(&since, |answer| {
            let receipts = ephemeral(answer, room, "m.receipt");
            let readers = receipts["content"][&said]["m.read"].as_object().cloned().unwrap_or_default();
            seen.extend(readers.into_iter().map(|(user, _)| user));
            seen.contains(&world.mallory)
        })
        .await;
    let first = world.alice.sync(Sync::initial()).await;
    let receipts = ephemeral(&first, room, "m.receipt");
    let readers: Vec<&String> = receipts["content"][&said]["m.read"].as_object().expect("receipts").keys().collect();
    for forged in [bob.user_id.as_str(), "@stranger:elsewhere.example", &eve] {
        assert!(!seen.iter().any(|user| user == forged), "{forged} in {seen:?}");
        assert!(!readers.iter().any(|user| *user == forged), "{forged} in {readers:?}");
    }
}

#[tokio::test]
async fn a_server_speaks_of_its_own_users_presence_alone() {
    let server = shared();
    let world = world(&server).await;
    let bob = server.register("bob").await;
    bob.join(&world.room.id).await;
    let outsider = raw().await;
    let online = |user: &str| json!({ "user_id": user, "presence": "online", "last_active_ago": 0 });
    let long = "x".repeat(10_000);
    let push = |users: &[&str]| json!({ "push": users.iter().map(|user| online(user)).collect::<Vec<_>>() });
    world.peer.edu(&server, "m.presence", push(&[&bob.user_id, "@stranger:elsewhere.example"])).await.ok();
    outsider.edu(&server, "m.presence", push(&[&outsider.user("eve"), &world.mallory, &bob.user_id])).await.ok();
    let path = |user: &str| v3!("/presence/{}/status", user);
    for user in [&bob.user_id, &world.mallory] {
        assert_eq!(world.alice.get(&path(user)).await.ok(), json!({ "presence": "offline" }), "{user}");
    }
    let mut said = online(&world.mallory);
    said["status_msg"] = json!(long);
    world.peer.edu(&server, "m.presence", json!({ "push": [7, {}, said] })).await.ok();
    let seen = world.alice.get(&path(&world.mallory)).await.ok();
    assert_eq!(seen["presence"], "online", "{seen}");
    assert_eq!(seen["status_msg"].as_str().map(str::len), Some(255));
    world.alice.get(&path(&outsider.user("eve"))).await.expect_error(403, "M_FORBIDDEN");
}

/// What an own device was sent since.
async fn to_device(client: &Client, since: &str) -> Vec<Value> {
    let answer = client.sync(Sync::since(since)).await;
    answer["to_device"]["events"].as_array().cloned().unwrap_or_default()
}

fn direct(sender: &str, id: &str, to: &Client) -> Value {
    let messages = json!({ &to.user_id: { "*": { "from": sender } } });
    json!({ "sender": sender, "type": "org.example.note", "message_id": id, "messages": messages })
}

#[tokio::test]
async fn messages_to_devices_are_of_the_senders_own_users() {
    let (server, peer) = (shared(), raw().await);
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let since = alice.now().await;
    for (n, sender) in [bob.user_id.as_str(), "@stranger:elsewhere.example", "nobody"].iter().enumerate() {
        peer.edu(&server, "m.direct_to_device", direct(sender, &format!("forged-{n}"), &alice)).await.ok();
    }
    let mallory = peer.user("mallory");
    let honest = direct(&mallory, "honest", &alice);
    peer.edu(&server, "m.direct_to_device", honest.clone()).await.ok();
    // Received idempotently by its id.
    peer.edu(&server, "m.direct_to_device", honest).await.ok();
    alice.wait_until_sync(&since, |answer| answer["to_device"]["events"] != Value::Null).await;
    let events = to_device(&alice, &since).await;
    let senders: Vec<&Value> = events.iter().map(|event| &event["sender"]).collect();
    assert_eq!(senders, [&json!(mallory)], "{events:?}");
}

#[tokio::test]
async fn nobody_changes_the_devices_of_another_servers_users() {
    let server = shared();
    let world = world(&server).await;
    let bob = server.register("bob").await;
    bob.join(&world.room.id).await;
    let third = raw().await;
    let third_user = third.user("third");
    third.join(&server, &world.room.id, &third_user).await;
    let since = world.alice.now().await;
    for user in [bob.user_id.as_str(), &third_user] {
        let update = json!({ "user_id": user, "device_id": "EVIL", "stream_id": 5, "prev_id": [], "keys": {} });
        world.peer.edu(&server, "m.device_list_update", update).await.ok();
        let keys = json!({ "user_id": user, "usage": ["master"], "keys": { "ed25519:x": "x" } });
        world.peer.edu(&server, "m.signing_key_update", json!({ "user_id": user, "master_key": keys })).await.ok();
    }
    let after = world.say("after them");
    world.peer.transact(&server, &[&after], &[]).await.ok();
    world.alice.wait_for_event(&since, &world.room.id, &after.id).await;
    let answer = world.alice.sync(Sync::since(&since)).await;
    let changed = answer["device_lists"]["changed"].as_array().cloned().unwrap_or_default();
    assert!(!changed.contains(&json!(bob.user_id)) && !changed.contains(&json!(third_user)), "{answer}");
    let query = json!({ "device_keys": { &bob.user_id: [] } });
    let keys = world.alice.post(&v3!("/keys/query"), query).await.ok();
    assert!(keys["device_keys"][&bob.user_id].get("EVIL").is_none(), "{keys}");
    assert!(keys["master_keys"].get(&bob.user_id).is_none(), "{keys}");
}

#[tokio::test]
async fn what_is_no_edu_costs_nothing_else() {
    let server = shared();
    let world = world(&server).await;
    let kinds = [
        "m.typing",
        "m.receipt",
        "m.presence",
        "m.direct_to_device",
        "m.device_list_update",
        "m.signing_key_update",
        "org.example.unknown",
    ];
    let long = "x".repeat(100_000);
    let contents = [
        json!(null),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!({ "user_id": 7, "room_id": [], "sender": {} }),
        json!({ "push": [7, {}, { "user_id": "nobody" }] }),
        json!({ "user_id": long, "room_id": long, "sender": long, "message_id": long, "messages": { long.as_str(): long } }),
        json!({ "sender": world.mallory, "type": "x", "message_id": "y", "messages": { &world.alice.user_id: 7 } }),
        json!({ "user_id": world.mallory, "room_id": world.room.id, "typing": "yes" }),
        json!({ &world.room.id: { "m.read": { &world.mallory: { "event_ids": [7], "data": 7 } } } }),
        json!({ "user_id": world.mallory, "device_id": "D", "stream_id": -1, "prev_id": ["x"], "keys": 7 }),
    ];
    for kind in kinds {
        let mut edus: Vec<Value> =
            contents.iter().map(|content| json!({ "edu_type": kind, "content": content })).collect();
        edus.extend([json!(7), json!({}), json!({ "edu_type": 7, "content": {} }), json!({ "edu_type": kind })]);
        let good = world.say(&format!("beside {kind}"));
        let answer = world.peer.transact(&server, &[&good], &edus).await.ok();
        assert_eq!(answer["pdus"][&good.id], json!({}), "{kind}: {answer}");
        shown(&world.alice, &world.room.id, &good.id).await;
    }
    still_there(&server, &world.alice, &world.peer).await;
}
