//! Coming back to `/ws` after long: how far behind a client may be, and what it hears if it is further.

use conformance_tests::{Client, Options, Server, eventually};
use serde_json::{Value, json};

/// A room of 1,000 events and some, made by one request.
async fn large_room(of: &Client) {
    let state = |number: usize| json!({ "type": "org.example.entry", "state_key": format!("{number}"), "content": {} });
    let state: Vec<Value> = (0..1_000).map(state).collect();
    of.create_room(json!({ "preset": "private_chat", "initial_state": state })).await;
}

#[tokio::test]
async fn who_is_ten_thousand_events_behind_loads_anew() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let tablet = server.new_device(&alice).await;
    let since = alice.push(None).await.position;
    for _ in 0..9 {
        large_room(&tablet).await;
    }
    // Less far behind, all of it comes, each once.
    let mut push = alice.push(Some(&since)).await;
    let all = push.up_to_now().await;
    let entries = |frames: &[Value]| {
        let entries = frames.iter().filter(|frame| frame["data"]["event_type"] == "org.example.entry");
        let mut entries: Vec<String> =
            entries.map(|it| it["data"]["event_id"].as_str().expect("an id").to_owned()).collect();
        let all = entries.len();
        entries.sort_unstable();
        entries.dedup();
        (all, entries.len())
    };
    assert_eq!(entries(&all), (9_000, 9_000));
    assert!(all.iter().all(|frame| frame["type"] != "resync"));
    let nine = push.position.clone();
    for _ in 0..2 {
        large_room(&tablet).await;
    }
    let mut far = alice.push(Some(&since)).await;
    let first = far.next().await;
    assert_eq!((&first["type"], &first["data"]["reason"]), (&json!("resync"), &json!("too_far_back")), "{first}");
    // It goes on from there.
    let room = tablet.create_room(json!({})).await;
    let told = far.wait_for(|frame| frame["data"]["room_id"] == *room).await;
    assert_eq!(told["type"], "group");
    // Who was nearer misses nothing.
    let all = alice.push(Some(&nine)).await.up_to_now().await;
    assert_eq!(entries(&all), (2_000, 2_000));
    assert!(all.iter().all(|frame| frame["type"] != "resync"));
}

/// Killed again and again while somebody sends and somebody listens: each message that was acknowledged comes, each once.
#[tokio::test]
async fn kills_between_frames_lose_and_double_nothing() {
    let mut server = Server::start(Options::default());
    let (mut alice, mut bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut since = bob.push(None).await.position;
    let mut wanted = Vec::new();
    let mut got: Vec<String> = Vec::new();
    for round in 0..4 {
        let mut push = bob.push(Some(&since)).await;
        for number in 0..10 {
            let text = format!("{round} {number}");
            alice.send_text(&room, &text).await;
            wanted.push(text);
        }
        // Some frames are on their way when the server goes.
        for _ in 0..round * 3 + 1 {
            got.push(push.until("message").await["body"]["content"].as_str().expect("a text").to_owned());
        }
        since = push.position.clone();
        server.kill9();
        server.restart();
        (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    }
    let mut push = bob.push(Some(&since)).await;
    while got.len() < wanted.len() {
        got.push(push.until("message").await["body"]["content"].as_str().expect("a text").to_owned());
    }
    assert_eq!(got, wanted);
    alice.send_text(&room, "last").await;
    assert_eq!(push.until("message").await["body"]["content"], "last");
}

/// What a device acknowledged on `/ws` is known after a stop.
#[tokio::test]
async fn what_was_acknowledged_on_ws_stays_so() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut push = bob.push(None).await;
    let event_id = alice.send_text(&room, "one").await;
    push.said_until("one").await;
    let ack = json!({ "type": "ack", "position": push.position });
    push.say(ack).await;
    push.up_to_now().await;
    server.terminate();
    server.restart();
    let alice = alice.at(&server.base);
    let path = conformance_tests::path!("/message/receipts?message_id={}", event_id);
    eventually("delivered", async || (alice.get(&path).await.done()["delivered_count"] == 1).then_some(())).await;
}
