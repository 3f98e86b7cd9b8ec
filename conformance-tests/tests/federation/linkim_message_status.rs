//! How far a message has come with users of other servers.

use conformance_tests::{Client, eventually, path, shared_room, v3};
use serde_json::json;

use crate::own;

async fn status(client: &Client, message: &str) -> String {
    let reply = client.get(&path!("/message/receipts?message_id={}", message)).await.done();
    reply["detail"][0]["status"].as_str().expect("a status").to_owned()
}

#[tokio::test]
async fn a_message_is_delivered_once_the_other_server_has_it() {
    let [a, b] = own::<2>();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    b.gate().close();
    let event_id = alice.send_text(&room, "one").await;
    assert_eq!(status(&alice, &event_id).await, "sent");
    b.gate().open();
    // Who hears of a server again tries it at once.
    bob.send_text(&room, "two").await;
    eventually("delivered", async || (status(&alice, &event_id).await == "delivered").then_some(())).await;
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    eventually("read", async || (status(&alice, &event_id).await == "read").then_some(())).await;
}

#[tokio::test]
async fn the_sender_is_told_when_the_other_server_has_it() {
    let [a, b] = own::<2>();
    let (alice, bob, carol) = (a.register("alice").await, b.register("bob").await, b.register("carol").await);
    let room = shared_room(&alice, &[&bob, &carol], json!({ "preset": "private_chat" })).await;
    let mut push = alice.push(None).await;
    b.gate().close();
    let ids = alice.send_texts(&room, "", 1..=3).await;
    push.said_until("3").await;
    let frames = push.up_to_now().await;
    assert!(frames.iter().all(|frame| frame["type"] != "delivered"), "{frames:?}");
    b.gate().open();
    bob.send_text(&room, "back").await;
    let mut told = Vec::new();
    // Once for each recipient; the newest stands for those before it.
    while told.len() < 2 {
        let frame = push.until("delivered").await;
        if frame["event_id"] == *ids[2] {
            told.push(frame["matrix_id"].as_str().expect("an id").to_owned());
        }
    }
    told.sort_unstable();
    assert_eq!(told, [&*bob.user_id, &*carol.user_id]);
    for id in &ids {
        assert_eq!(status(&alice, id).await, "delivered");
    }
}
