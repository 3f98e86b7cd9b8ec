//! A server vanishes and returns: nothing is missing afterwards, nothing is there twice.

use conformance_tests::{Client, Server, event_ids, eventually, heard, same_state, shared_room};
use serde_json::json;

use crate::own;

/// Waits until the reader's whole history has these events, each once and in this order.
async fn has_all(reader: &Client, room: &str, sent: &[String]) {
    eventually("all events are there, in order", || async {
        let history = reader.whole_history(room, 100).await;
        let seen: Vec<&str> = event_ids(&history).into_iter().filter(|id| sent.iter().any(|sent| sent == id)).collect();
        (seen == sent).then_some(())
    })
    .await;
}

/// Lets the servers know at once that `back` is there again, as it does by itself whenever it has something to say.
async fn speak_up(speaker: &Client, room: &str) {
    speaker.send_text(room, "I am back").await;
}

#[tokio::test]
async fn what_was_said_while_a_server_was_away_reaches_it() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    b.gate().close();
    let mut sent = alice.send_texts(&room, "away ", 1..=120).await;
    sent.push(alice.set_state(&room, "m.room.topic", "", json!({ "topic": "missed" })).await);
    sent.extend(alice.send_texts(&room, "later ", 1..=10).await);
    b.gate().open();
    speak_up(&bob, &room).await;
    has_all(&bob, &room, &sent).await;
    same_state(&[&alice, &bob], &room).await;
    heard(&alice, &room, "live again", &[&bob]).await;
}

#[tokio::test]
async fn neither_servers_restart_loses_what_is_owed() {
    let [mut a, mut b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    b.kill9();
    let mut sent = alice.send_texts(&room, "first ", 1..=30).await;
    a.restart();
    let alice = alice.at(&a.base);
    sent.extend(alice.send_texts(&room, "second ", 1..=30).await);
    b.restart();
    let bob = bob.at(&b.base);
    speak_up(&bob, &room).await;
    has_all(&bob, &room, &sent).await;
    a.restart();
    let alice = alice.at(&a.base);
    heard(&bob, &room, "still here", &[&alice]).await;
    heard(&alice, &room, "so am I", &[&bob]).await;
}

#[tokio::test]
async fn a_sender_that_is_killed_while_sending_delivers_after_its_restart() {
    let [mut a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let mut sent = Vec::new();
    let mut alice = alice;
    for round in 0..4 {
        sent.extend(alice.send_texts(&room, &format!("round {round} "), 1..=25).await);
        a.restart();
        alice = alice.at(&a.base);
    }
    // It begins by itself: nothing is said that could remind it.
    has_all(&bob, &room, &sent).await;
}

#[tokio::test]
async fn other_rooms_and_servers_do_not_wait_for_the_one_that_is_away() {
    let [a, b, c] = own();
    let (alice, bob, carol) = (a.register("alice").await, b.register("bob").await, c.register("carol").await);
    let room = shared_room(&alice, &[&bob, &carol], json!({ "preset": "private_chat" })).await;
    c.gate().close();
    let sent = alice.send_texts(&room, "without carol ", 1..=20).await;
    has_all(&bob, &room, &sent).await;
    heard(&bob, &room, "still talking", &[&alice]).await;
    c.gate().open();
    speak_up(&carol, &room).await;
    has_all(&carol, &room, &sent).await;
    same_state(&[&alice, &bob, &carol], &room).await;
}

#[tokio::test]
async fn the_operator_sees_what_a_server_that_is_away_is_owed() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    b.gate().close();
    alice.send_texts(&room, "away ", 1..=3).await;
    let name: &str = Server::name(&b);
    eventually("linkim admin federation names the server with its error", || async {
        let (code, text) = a.run(&["admin", "federation"]);
        let line = text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        (code == 0 && line.contains('3')).then_some(())
    })
    .await;
}
