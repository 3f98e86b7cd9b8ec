//! "Client config": account data, global and of rooms.

use conformance_tests::{Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn has<'a>(events: &'a Value, event_type: &str) -> Option<&'a Value> {
    events["events"].as_array()?.iter().find(|event| event["type"] == event_type)
}

#[tokio::test]
async fn global_account_data_is_kept_and_synced_to_other_devices() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    let since = laptop.now().await;
    let path = v3!("/user/{}/account_data/org.example.theme", phone.user_id);
    let content = json!({ "colour": "blue", "levels": [1, 2, { "deep": true }] });
    phone.put(&path, content.clone()).await.ok();
    assert_eq!(laptop.get(&path).await.ok(), content);
    let answer =
        laptop.wait_until_sync(&since, |answer| has(&answer["account_data"], "org.example.theme").is_some()).await;
    assert_eq!(has(&answer["account_data"], "org.example.theme").expect("found above")["content"], content);
    let initial = laptop.sync(Sync::initial()).await;
    assert_eq!(has(&initial["account_data"], "org.example.theme").expect("in an initial sync")["content"], content);
}

#[tokio::test]
async fn the_newest_of_two_settings_is_kept() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/user/{}/account_data/org.example.theme", alice.user_id);
    alice.put(&path, json!({ "n": 1 })).await.ok();
    let since = alice.now().await;
    alice.put(&path, json!({ "n": 2 })).await.ok();
    assert_eq!(alice.get(&path).await.ok(), json!({ "n": 2 }));
    let answer = alice.sync(Sync::since(&since)).await;
    let events = answer["account_data"]["events"].as_array().expect("events");
    assert_eq!(events.iter().filter(|event| event["type"] == "org.example.theme").count(), 1, "{answer}");
}

#[tokio::test]
async fn room_account_data_is_kept_apart_and_synced_with_the_room() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let since = alice.now().await;
    let path = v3!("/user/{}/rooms/{}/account_data/org.example.note", alice.user_id, room);
    alice.put(&path, json!({ "note": "rabbit" })).await.ok();
    assert_eq!(alice.get(&path).await.ok(), json!({ "note": "rabbit" }));
    let global = v3!("/user/{}/account_data/org.example.note", alice.user_id);
    alice.get(&global).await.expect_error(404, "M_NOT_FOUND");
    let answer = alice
        .wait_until_sync(&since, |answer| {
            has(&answer["rooms"]["join"][&room]["account_data"], "org.example.note").is_some()
        })
        .await;
    assert!(has(&answer["account_data"], "org.example.note").is_none(), "{answer}");
    let initial = alice.sync(Sync::initial()).await;
    let event = has(&initial["rooms"]["join"][&room]["account_data"], "org.example.note").expect("in an initial sync");
    assert_eq!(event["content"], json!({ "note": "rabbit" }));
}

#[tokio::test]
async fn what_was_never_set_is_not_found() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let global = v3!("/user/{}/account_data/org.example.none", alice.user_id);
    alice.get(&global).await.expect_error(404, "M_NOT_FOUND");
    let of_room = v3!("/user/{}/rooms/{}/account_data/org.example.none", alice.user_id, room);
    alice.get(&of_room).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn nobody_reads_or_writes_anothers() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = v3!("/user/{}/account_data/org.example.secret", alice.user_id);
    alice.put(&path, json!({ "secret": 1 })).await.ok();
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    bob.put(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(alice.get(&path).await.ok(), json!({ "secret": 1 }));
    let seen = bob.sync(Sync::initial()).await;
    assert!(has(&seen["account_data"], "org.example.secret").is_none(), "{seen}");
}

#[tokio::test]
async fn types_that_the_server_controls_are_not_set_here() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = v3!("/user/{}/rooms/{}/account_data/m.fully_read", alice.user_id, room);
    alice.put(&path, json!({ "event_id": "$x" })).await.expect_error(405, "M_BAD_JSON");
    for event_type in ["m.fully_read", "m.push_rules"] {
        let path = v3!("/user/{}/account_data/{}", alice.user_id, event_type);
        alice.put(&path, json!({})).await.expect_error(405, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn the_content_is_an_object() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/user/{}/account_data/org.example.theme", alice.user_id);
    for body in [json!([1]), json!("text"), json!(7), json!(null)] {
        alice.put(&path, body).await.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_NOT_JSON")]);
    }
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn account_data_of_something_that_is_no_room_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/user/{}/rooms/{}/account_data/org.example.note", alice.user_id, "not-a-room");
    alice.put(&path, json!({})).await.expect_error(400, "M_INVALID_PARAM");
}
