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
