//! "Receipts" and "Read and unread markers".

use conformance_tests::{Client, Server, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// The receipts of a room in a `/sync` answer: event id to type to user.
fn receipts<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array();
    events
        .into_iter()
        .flatten()
        .find(|event| event["type"] == "m.receipt")
        .map_or(&Value::Null, |event| &event["content"])
}

fn fully_read<'a>(answer: &'a Value, room: &str) -> Option<&'a str> {
    let events = answer["rooms"]["join"][room]["account_data"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == "m.fully_read")?["content"]["event_id"].as_str()
}

async fn two_in_a_room(server: &Server) -> (Client, Client, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    (alice, bob, room)
}

async fn read(client: &Client, room: &str, kind: &str, event_id: &str) {
    client.post(&v3!("/rooms/{}/receipt/{}/{}", room, kind, event_id), json!({})).await.ok();
}

#[tokio::test]
async fn a_receipt_reaches_the_others_with_its_time() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = alice.send_text(&room, "read me").await;
    let since = alice.now().await;
    read(&bob, &room, "m.read", &message).await;
    let answer = alice.wait_until_sync(&since, |answer| !receipts(answer, &room).is_null()).await;
    let receipt = &receipts(&answer, &room)[&message]["m.read"][&bob.user_id];
    assert!(receipt["ts"].as_u64().is_some_and(|time| time > 1_500_000_000_000), "{answer}");
    assert!(receipt["thread_id"].is_null(), "an unthreaded receipt: {receipt}");
    let initial = alice.sync(Sync::initial()).await;
    assert!(receipts(&initial, &room)[&message]["m.read"][&bob.user_id].is_object(), "{initial}");
}

#[tokio::test]
async fn a_newer_receipt_replaces_the_older() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let (first, second) = (alice.send_text(&room, "1").await, alice.send_text(&room, "2").await);
    read(&bob, &room, "m.read", &first).await;
    read(&bob, &room, "m.read", &second).await;
    let initial = alice.sync(Sync::initial()).await;
    let seen = receipts(&initial, &room);
    assert!(seen[&second]["m.read"][&bob.user_id].is_object(), "{seen}");
    assert!(seen[&first]["m.read"][&bob.user_id].is_null(), "{seen}");
}

#[tokio::test]
async fn a_private_receipt_is_shown_to_its_owner_alone() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = alice.send_text(&room, "read me").await;
    let (alice_since, bob_since) = (alice.now().await, bob.now().await);
    read(&bob, &room, "m.read.private", &message).await;
    let answer = bob.wait_until_sync(&bob_since, |answer| !receipts(answer, &room).is_null()).await;
    assert!(receipts(&answer, &room)[&message]["m.read.private"][&bob.user_id].is_object(), "{answer}");
    let after = bob.send_text(&room, "after").await;
    let answer = alice.wait_for_event(&alice_since, &room, &after).await;
    assert!(!answer.to_string().contains("m.read.private"), "{answer}");
    let initial = alice.sync(Sync::initial()).await;
    assert!(!initial.to_string().contains("m.read.private"), "{initial}");
}

#[tokio::test]
async fn a_receipt_of_a_thread_carries_the_thread() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = alice.send_text(&room, "main").await;
    let since = alice.now().await;
    let path = v3!("/rooms/{}/receipt/m.read/{}", room, message);
    bob.post(&path, json!({ "thread_id": "main" })).await.ok();
    let answer = alice.wait_until_sync(&since, |answer| !receipts(answer, &room).is_null()).await;
    assert_eq!(receipts(&answer, &room)[&message]["m.read"][&bob.user_id]["thread_id"], "main");
}

#[tokio::test]
async fn a_thread_id_must_be_a_thread_of_the_event() {
    let server = SERVER.get();
    let (alice, _, room) = two_in_a_room(&server).await;
    let (message, other) = (alice.send_text(&room, "main").await, alice.send_text(&room, "other").await);
    let path = v3!("/rooms/{}/receipt/m.read/{}", room, message);
    for thread in [json!(7), json!(""), json!(other)] {
        alice.post(&path, json!({ "thread_id": thread })).await.expect_error(400, "M_INVALID_PARAM");
    }
    let path = v3!("/rooms/{}/receipt/m.fully_read/{}", room, message);
    alice.post(&path, json!({ "thread_id": "main" })).await.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn unknown_kinds_and_strangers_are_refused() {
    let server = SERVER.get();
    let (alice, _, room) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    let message = alice.send_text(&room, "main").await;
    let reply = alice.post(&v3!("/rooms/{}/receipt/m.glanced/{}", room, message), json!({})).await;
    assert_eq!(reply.status, 400, "{reply}");
    carol.post(&v3!("/rooms/{}/receipt/m.read/{}", room, message), json!({})).await.expect_error(403, "M_FORBIDDEN");
    carol
        .post(&v3!("/rooms/{}/read_markers", room), json!({ "m.fully_read": message }))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_fully_read_marker_is_room_account_data() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = alice.send_text(&room, "read me").await;
    let since = bob.now().await;
    bob.post(&v3!("/rooms/{}/read_markers", room), json!({ "m.fully_read": message })).await.ok();
    bob.wait_until_sync(&since, |answer| fully_read(answer, &room) == Some(&message)).await;
    let path = v3!("/user/{}/rooms/{}/account_data/m.fully_read", bob.user_id, room);
    assert_eq!(bob.get(&path).await.ok(), json!({ "event_id": message }));
    let initial = bob.sync(Sync::initial()).await;
    assert_eq!(fully_read(&initial, &room), Some(message.as_str()));
    let others = alice.sync(Sync::initial()).await;
    assert_eq!(fully_read(&others, &room), None);
}

#[tokio::test]
async fn read_markers_move_the_receipts_too() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let (first, second) = (alice.send_text(&room, "1").await, alice.send_text(&room, "2").await);
    let since = bob.now().await;
    let body = json!({ "m.fully_read": first, "m.read": first, "m.read.private": second });
    bob.post(&v3!("/rooms/{}/read_markers", room), body).await.ok();
    let mut seen = (false, false, false);
    bob.wait_until_sync(&since, |answer| {
        let receipts = receipts(answer, &room);
        seen.0 |= receipts[&first]["m.read"][&bob.user_id].is_object();
        seen.1 |= receipts[&second]["m.read.private"][&bob.user_id].is_object();
        seen.2 |= fully_read(answer, &room) == Some(&first);
        seen == (true, true, true)
    })
    .await;
}

#[tokio::test]
async fn a_receipt_of_the_fully_read_kind_is_the_marker() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = alice.send_text(&room, "1").await;
    let since = bob.now().await;
    read(&bob, &room, "m.fully_read", &message).await;
    let answer = bob.wait_until_sync(&since, |answer| fully_read(answer, &room) == Some(&message)).await;
    assert!(receipts(&answer, &room).is_null(), "it does not appear under m.receipt: {answer}");
}
