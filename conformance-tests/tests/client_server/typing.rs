//! "Typing notifications".

use conformance_tests::{Client, Server, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn typing(answer: &Value, room: &str) -> Option<Vec<String>> {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    let event = events.iter().find(|event| event["type"] == "m.typing")?;
    Some(event["content"]["user_ids"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

async fn two_in_a_room(server: &Server) -> (Client, Client, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    (alice, bob, room)
}

async fn set(client: &Client, room: &str, body: Value) {
    client.put(&v3!("/rooms/{}/typing/{}", room, client.user_id), body).await.ok();
}

#[tokio::test]
async fn typing_begins_and_ends_for_the_others() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = alice.now().await;
    set(&bob, &room, json!({ "typing": true, "timeout": 30_000 })).await;
    let answer = alice
        .wait_until_sync(&since, |answer| typing(answer, &room).is_some_and(|users| users == [bob.user_id.clone()]))
        .await;
    let since = answer["next_batch"].as_str().expect("a token").to_owned();
    set(&bob, &room, json!({ "typing": false })).await;
    alice.wait_until_sync(&since, |answer| typing(answer, &room).is_some_and(|users| users.is_empty())).await;
}

#[tokio::test]
async fn all_who_type_are_listed() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = alice.now().await;
    set(&bob, &room, json!({ "typing": true, "timeout": 30_000 })).await;
    set(&alice, &room, json!({ "typing": true, "timeout": 30_000 })).await;
    alice.wait_until_sync(&since, |answer| typing(answer, &room).is_some_and(|users| users.len() == 2)).await;
}

#[tokio::test]
async fn typing_ends_by_itself_after_the_timeout() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = alice.now().await;
    set(&bob, &room, json!({ "typing": true, "timeout": 400 })).await;
    let mut began = false;
    alice
        .wait_until_sync(&since, |answer| {
            let users = typing(answer, &room);
            began |= users.as_ref().is_some_and(|users| !users.is_empty());
            began && users.is_some_and(|users| users.is_empty())
        })
        .await;
}

#[tokio::test]
async fn a_message_or_a_leave_of_the_typist_does_not_leave_typing_behind() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = alice.now().await;
    set(&bob, &room, json!({ "typing": true, "timeout": 30_000 })).await;
    alice.wait_until_sync(&since, |answer| typing(answer, &room).is_some_and(|users| users.len() == 1)).await;
    let since = alice.now().await;
    bob.leave(&room).await;
    alice.wait_until_sync(&since, |answer| typing(answer, &room).is_some_and(|users| users.is_empty())).await;
}

#[tokio::test]
async fn nobody_types_for_another_or_from_outside() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    let body = json!({ "typing": true, "timeout": 30_000 });
    let path = v3!("/rooms/{}/typing/{}", room, bob.user_id);
    alice.put(&path, body.clone()).await.expect_error(403, "M_FORBIDDEN");
    carol.put(&v3!("/rooms/{}/typing/{}", room, carol.user_id), body).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn mistyped_notifications_are_refused() {
    let server = SERVER.get();
    let (alice, _, room) = two_in_a_room(&server).await;
    let path = v3!("/rooms/{}/typing/{}", room, alice.user_id);
    for body in [json!({}), json!({ "typing": "yes" }), json!({ "typing": true, "timeout": "long" })] {
        let reply = alice.put(&path, body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
}
