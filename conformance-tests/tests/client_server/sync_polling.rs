//! "Syncing": the long poll.

use std::time::{Duration, Instant};

use conformance_tests::{Client, Server, Sync, bodies, timeline, v3};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::SERVER;

/// Longer than a loaded machine needs to deliver, far shorter than the polls below.
const PROMPT: Duration = Duration::from_secs(8);

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().expect("a token").to_owned()
}

fn poll(client: &Client, since: &str) -> JoinHandle<Value> {
    let (client, since) = (client.clone(), since.to_owned());
    tokio::spawn(async move {
        client.sync(Sync::since(&since).timeout(50_000).filter(json!({ "presence": { "types": [] } }))).await
    })
}

async fn ends(poll: JoinHandle<Value>, what: &str) -> Value {
    let ended = tokio::time::timeout(PROMPT, poll).await;
    ended.unwrap_or_else(|_| panic!("the poll was not woken by {what}")).expect("the task ends")
}

async fn two_in_a_room(server: &Server) -> (Client, Client, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    (alice, bob, room)
}

/// Reads the news away until a poll without patience has none: what follows is caused by the test.
async fn settled(client: &Client) -> String {
    let mut since = client.now().await;
    loop {
        let answer = client.sync(Sync::since(&since)).await;
        let quiet = ["rooms", "account_data", "presence"].iter().all(|key| is_empty(&answer[*key]));
        if quiet {
            return next(&answer);
        }
        since = next(&answer);
    }
}

/// Whether there is something of rooms or account data; presence comes and goes by itself.
fn has_news(answer: &Value) -> bool {
    ["rooms", "account_data"].iter().any(|key| !is_empty(&answer[*key]))
}

/// Whether a value holds nothing but empty containers.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

#[tokio::test]
async fn without_news_a_poll_ends_empty_at_its_timeout() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.create_room(json!({})).await;
    let since = settled(&alice).await;
    let start = Instant::now();
    let answer = alice.sync(Sync::since(&since).timeout(700)).await;
    assert!(start.elapsed() >= Duration::from_millis(600), "it returned after {:?}: {answer}", start.elapsed());
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    assert!(is_empty(&answer["rooms"]), "{answer}");
}

#[tokio::test]
async fn without_a_timeout_a_sync_returns_at_once() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let since = settled(&alice).await;
    let start = Instant::now();
    alice.get(&v3!("/sync?since={}", since)).await.ok();
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_initial_sync_does_not_wait() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let start = Instant::now();
    alice.sync(Sync::initial().timeout(50_000)).await;
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_message_wakes_the_poll() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = settled(&bob).await;
    let waiting = poll(&bob, &since);
    alice.send_text(&room, "wake up").await;
    let answer = ends(waiting, "a message").await;
    assert_eq!(bodies(timeline(&answer, &room)), ["wake up"]);
}

#[tokio::test]
async fn news_between_two_polls_end_the_second_at_once() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = settled(&bob).await;
    alice.send_text(&room, "missed?").await;
    let answer = ends(poll(&bob, &since), "an event before it").await;
    assert_eq!(bodies(timeline(&answer, &room)), ["missed?"]);
}

#[tokio::test]
async fn a_room_one_is_not_in_does_not_end_the_poll() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    let since = settled(&carol).await;
    let waiting = poll(&carol, &since);
    alice.send_text(&room, "not for carol").await;
    // Something of her own ends the poll, and is all that it brings.
    carol.put(&v3!("/user/{}/account_data/org.example.x", carol.user_id), json!({})).await.ok();
    let answer = ends(waiting, "account data").await;
    assert!(is_empty(&answer["rooms"]), "{answer}");
    drop(bob);
}

#[tokio::test]
async fn everything_that_sync_carries_wakes_the_poll() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let other = server.register("other").await;
    let body = json!({ "initial_state": [{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }] });
    let door = bob.create_room(body).await;
    let to_read = bob.send_text(&room, "read me").await;
    let phone = server.new_device(&bob).await;
    for what in
        ["invite", "knock", "state", "typing", "receipt", "account data", "room account data", "join", "leave", "kick"]
    {
        let since = settled(&bob).await;
        let waiting = {
            let bob = bob.clone();
            tokio::spawn(async move { bob.wait_until_sync(&since, has_news).await })
        };
        match what {
            "invite" => drop(other.create_room(json!({ "invite": [bob.user_id] })).await),
            "knock" => other.knock(&door).await,
            "state" => drop(alice.set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).await),
            "typing" => {
                let body = json!({ "typing": true, "timeout": 30_000 });
                drop(alice.put(&v3!("/rooms/{}/typing/{}", room, alice.user_id), body).await.ok());
            }
            "receipt" => {
                drop(alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, to_read), json!({})).await.ok());
            }
            "account data" => {
                drop(phone.put(&v3!("/user/{}/account_data/org.example.y", bob.user_id), json!({})).await.ok());
            }
            "room account data" => {
                let path = v3!("/user/{}/rooms/{}/account_data/org.example.y", bob.user_id, room);
                drop(phone.put(&path, json!({})).await.ok());
            }
            "join" => {
                let public = other.create_room(json!({ "preset": "public_chat" })).await;
                phone.join(&public).await;
            }
            "leave" => phone.leave(&door).await,
            _ => alice.kick(&room, &bob).await,
        }
        ends(waiting, what).await;
    }
}

#[tokio::test]
async fn a_filtered_event_does_not_end_the_poll_early_or_is_shown_as_nothing() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = settled(&bob).await;
    let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] }, "state": { "types": [] } } });
    let waiting = {
        let bob = bob.clone();
        tokio::spawn(async move { bob.wait_until_sync_with(Sync::since(&since).filter(filter), has_message).await })
    };
    alice.send(&room, "org.example.noise", json!({})).await;
    alice.send_text(&room, "signal").await;
    let answer = ends(waiting, "the message").await;
    assert_eq!(bodies(timeline(&answer, &room)), ["signal"]);
}

fn has_message(answer: &Value) -> bool {
    answer.to_string().contains("m.room.message")
}

#[tokio::test]
async fn many_polls_of_many_users_all_end() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut waiting = Vec::new();
    for _ in 0..15 {
        let user = server.register("listener").await;
        user.join(&room).await;
        let since = user.now().await;
        let room = room.clone();
        waiting.push(tokio::spawn(async move {
            user.wait_until_sync(&since, |answer| bodies(timeline(answer, &room)).contains(&"all together")).await
        }));
    }
    alice.send_text(&room, "all together").await;
    for one in waiting {
        one.await.expect("each listener hears it");
    }
}

#[tokio::test]
async fn a_poll_that_the_client_gives_up_loses_nothing() {
    let server = SERVER.get();
    let (alice, bob, room) = two_in_a_room(&server).await;
    let since = settled(&bob).await;
    for number in 0..5 {
        let given_up = poll(&bob, &since);
        tokio::task::yield_now().await;
        given_up.abort();
        alice.send_text(&room, &format!("{number}")).await;
    }
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["0", "1", "2", "3", "4"]);
}
