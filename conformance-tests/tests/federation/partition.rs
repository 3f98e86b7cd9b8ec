//! The way between servers is cut while both sides go on: the room heals to one state.

use conformance_tests::{eventually, heard, same_state, shared_room, state_of};
use serde_json::json;

use crate::own;

#[tokio::test]
async fn both_sides_change_the_state_and_agree_afterwards() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let carol = a.register("carol").await;
    let room = shared_room(&alice, &[&bob, &carol], json!({ "preset": "trusted_private_chat" })).await;
    alice.change_power_levels(&room, json!({ "users": { &bob.user_id: 90 } })).await;
    same_state(&[&alice, &bob], &room).await;

    a.gate().close();
    b.gate().close();
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "alice's" })).await;
    alice.set_state(&room, "m.room.name", "", json!({ "name": "A" })).await;
    bob.set_state(&room, "m.room.topic", "", json!({ "topic": "bob's" })).await;
    bob.kick(&room, &carol).await;
    alice.send_texts(&room, "a ", 1..=5).await;
    bob.send_texts(&room, "b ", 1..=5).await;
    for n in 0..15 {
        alice.set_state(&room, "org.example.a", &n.to_string(), json!({ "n": n })).await;
        bob.set_state(&room, "org.example.b", &n.to_string(), json!({ "n": n })).await;
    }
    a.gate().open();
    b.gate().open();
    alice.send_text(&room, "can you hear me?").await;
    bob.send_text(&room, "can you?").await;

    let state = eventually("both sides have the same state, of both sides' changes", || async {
        let (one, two) = (state_of(&alice, &room).await, state_of(&bob, &room).await);
        let of = |kind: &str| one.keys().filter(|(k, _)| k == kind).count();
        (one == two && of("org.example.a") == 15 && of("org.example.b") == 15).then_some(one)
    })
    .await;
    assert!(state.contains_key(&("m.room.topic".to_owned(), String::new())));
    assert_eq!(alice.state(&room, "m.room.topic", "").await, bob.state(&room, "m.room.topic", "").await);
    assert_eq!(alice.state(&room, "m.room.member", &carol.user_id).await["membership"], "leave");
    heard(&alice, &room, "one room again", &[&bob]).await;
    heard(&bob, &room, "it is", &[&alice]).await;
}

#[tokio::test]
async fn three_isolated_servers_agree_afterwards() {
    let [a, b, c] = own();
    let (alice, bob, carol) = (a.register("alice").await, b.register("bob").await, c.register("carol").await);
    let room = shared_room(&alice, &[&bob, &carol], json!({ "preset": "private_chat" })).await;
    let users = json!({ &bob.user_id: 80, &carol.user_id: 80 });
    alice.change_power_levels(&room, json!({ "users": users })).await;
    let all = [&alice, &bob, &carol];
    same_state(&all, &room).await;
    for server in [&a, &b, &c] {
        server.gate().close();
    }
    for (n, user) in all.iter().enumerate() {
        user.set_state(&room, "m.room.topic", "", json!({ "topic": format!("of {n}") })).await;
        user.set_state(&room, "org.example.own", &n.to_string(), json!({})).await;
        user.send_texts(&room, &format!("{n} alone "), 1..=3).await;
    }
    // A conflict of power: alice takes bob's while he uses it.
    alice.change_power_levels(&room, json!({ "users": { &bob.user_id: 0 } })).await;
    bob.set_state(&room, "m.room.name", "", json!({ "name": "bob's" })).await;
    for server in [&a, &b, &c] {
        server.gate().open();
    }
    for user in all {
        user.send_text(&room, "hello?").await;
    }
    eventually("all three have the same state, of all changes", || async {
        let first = state_of(&alice, &room).await;
        let whole = (0..3).all(|n: u8| n == 1 || first.contains_key(&("org.example.own".to_owned(), n.to_string())));
        for other in [&bob, &carol] {
            if state_of(other, &room).await != first {
                return None;
            }
        }
        whole.then_some(())
    })
    .await;
    heard(&carol, &room, "together", &[&alice, &bob]).await;
}
