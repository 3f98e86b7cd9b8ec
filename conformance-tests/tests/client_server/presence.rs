//! "Presence".

use conformance_tests::{Client, Options, Server, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// What the answer says of somebody.
fn presence<'a>(answer: &'a Value, user: &Client) -> Option<&'a Value> {
    let events = answer["presence"]["events"].as_array()?;
    let event = events.iter().find(|event| event["sender"] == user.user_id)?;
    assert_eq!(event["type"], "m.presence", "{event}");
    Some(&event["content"])
}

async fn put(user: &Client, body: Value) {
    user.put(&v3!("/presence/{}/status", user.user_id), body).await.ok();
}

async fn two_in_a_room(server: &Server) -> (Client, Client) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    (alice, bob)
}

/// A first answer that does not make its user online.
async fn unseen(user: &Client) -> Value {
    user.sync(Sync::initial().with("set_presence", "offline")).await
}

#[tokio::test]
async fn what_somebody_sets_ends_the_others_polls() {
    let server = SERVER.get();
    let (alice, bob) = two_in_a_room(&server).await;
    let first = unseen(&bob).await;
    assert!(presence(&first, &alice).is_none(), "she was never seen: {first}");
    let mut since = first["next_batch"].as_str().expect("a token").to_owned();
    for (state, status) in [("online", "Tea"), ("unavailable", "Tea"), ("online", "Lunch"), ("offline", "Lunch")] {
        put(&alice, json!({ "presence": state, "status_msg": status })).await;
        let answer = bob
            .wait_until_sync(&since, |answer| {
                presence(answer, &alice).is_some_and(|it| it["presence"] == state && it["status_msg"] == status)
            })
            .await;
        let seen = presence(&answer, &alice).expect("it is there");
        assert!(seen["last_active_ago"].as_i64().is_some_and(|ago| ago >= 0), "{seen}");
        assert_eq!(seen.get("currently_active"), (state == "online").then_some(&json!(true)), "{seen}");
        since = answer["next_batch"].as_str().expect("a token").to_owned();
    }
}

#[tokio::test]
async fn who_syncs_is_online_in_the_first_answer_of_others() {
    let server = SERVER.get();
    let (alice, bob) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    let since = unseen(&bob).await["next_batch"].as_str().expect("a token").to_owned();
    alice.sync(Sync::initial()).await;
    bob.wait_until_sync(&since, |answer| presence(answer, &alice).is_some_and(|it| it["presence"] == "online")).await;
    let first = unseen(&bob).await;
    assert_eq!(presence(&first, &alice).expect("she is there")["presence"], "online");
    assert!(presence(&unseen(&carol).await, &alice).is_none(), "they share no room");
    let denied = carol.get(&v3!("/presence/{}/status", alice.user_id)).await;
    denied.expect_error(403, "M_FORBIDDEN");
    assert_eq!(bob.get(&v3!("/presence/{}/status", alice.user_id)).await.ok()["presence"], "online");
}

#[tokio::test]
async fn a_status_message_outlives_a_restart_and_being_online_does_not() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two_in_a_room(&server).await;
    put(&alice, json!({ "presence": "online", "status_msg": "On leave" })).await;
    server.kill9();
    server.restart();
    let bob = bob.at(&server.base);
    let status = bob.get(&v3!("/presence/{}/status", alice.user_id)).await.ok();
    assert_eq!(status, json!({ "presence": "offline", "status_msg": "On leave" }));
    let since = unseen(&bob).await["next_batch"].as_str().expect("a token").to_owned();
    let alice = alice.at(&server.base);
    alice.sync(Sync::initial()).await;
    let answer = bob.wait_until_sync(&since, |answer| presence(answer, &alice).is_some()).await;
    let seen = presence(&answer, &alice).expect("it is there");
    assert_eq!((&seen["presence"], &seen["status_msg"]), (&json!("online"), &json!("On leave")));
}

#[tokio::test]
async fn where_it_is_switched_off_nobody_is_told_of_anybody() {
    let tables = "[presence]\nenabled = false\n".to_owned();
    let server = Server::start(Options { tables, ..Options::default() });
    let (alice, bob) = two_in_a_room(&server).await;
    let since = bob.now().await;
    put(&alice, json!({ "presence": "online" })).await;
    alice.sync(Sync::initial()).await;
    assert_eq!(bob.get(&v3!("/presence/{}/status", alice.user_id)).await.ok(), json!({ "presence": "offline" }));
    let answer = bob.sync(Sync::since(&since).timeout(2_000)).await;
    assert!(answer.get("presence").is_none(), "{answer}");
}
