//! Who is online on one server is seen on the other.
//!
//! Source: Server-Server API, "Presence".

use conformance_tests::{Client, Sync, eventually, join_via, shared_room, v3};
use serde_json::{Value, json};

use crate::{own, pair};

async fn put(user: &Client, body: Value) {
    user.put(&v3!("/presence/{}/status", user.user_id), body).await.ok();
}

fn is(answer: &Value, user: &Client, state: &str) -> bool {
    let events = answer["presence"]["events"].as_array();
    events.into_iter().flatten().any(|event| event["sender"] == user.user_id && event["content"]["presence"] == state)
}

async fn unseen(user: &Client) -> String {
    let answer = user.sync(Sync::initial().with("set_presence", "offline")).await;
    answer["next_batch"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn coming_and_going_ends_polls_on_the_other_server() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let since = unseen(&bob).await;
    put(&alice, json!({ "presence": "unavailable", "status_msg": "Tea" })).await;
    let answer = bob.wait_until_sync(&since, |answer| is(answer, &alice, "unavailable")).await;
    let since = answer["next_batch"].as_str().expect("a token").to_owned();
    let path = v3!("/presence/{}/status", alice.user_id);
    let seen = bob.get(&path).await.ok();
    assert_eq!((&seen["presence"], &seen["status_msg"]), (&json!("unavailable"), &json!("Tea")), "{seen}");
    put(&alice, json!({ "presence": "offline", "status_msg": null })).await;
    bob.wait_until_sync(&since, |answer| is(answer, &alice, "offline")).await;
    let seen = bob.get(&path).await.ok();
    assert_eq!((&seen["presence"], &seen["status_msg"]), (&json!("offline"), &Value::Null), "{seen}");
    let stranger = b.register("stranger").await;
    stranger.get(&path).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_server_that_comes_into_a_room_is_told_who_is_there() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    // For the next half minute.
    alice.sync(Sync::initial()).await;
    let name = a.name().to_owned();
    join_via(&bob, &room, &name).await;
    eventually("his server knows that she is online", || async {
        let reply = bob.get(&v3!("/presence/{}/status", alice.user_id)).await;
        (reply.status == 200 && reply.ok()["presence"] == "online").then_some(())
    })
    .await;
}
