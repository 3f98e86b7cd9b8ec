//! "Syncing": which section a room is in.

use conformance_tests::{Client, Server, Sync, bodies, membership_of, room_in, timeline, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().expect("a token").to_owned()
}

/// The sections that a room is in.
fn sections(answer: &Value, room: &str) -> Vec<&'static str> {
    ["join", "invite", "knock", "leave"]
        .into_iter()
        .filter(|section| !room_in(answer, section, room).is_null())
        .collect()
}

async fn two(server: &Server) -> (Client, Client) {
    (server.register("alice").await, server.register("bob").await)
}

#[tokio::test]
async fn a_room_moves_through_the_sections_with_the_membership() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({})).await;
    let mut since = bob.now().await;
    for (step, section) in [
        ("invite", "invite"),
        ("leave", "leave"),
        ("invite", "invite"),
        ("join", "join"),
        ("kick", "leave"),
        ("invite", "invite"),
        ("withdraw", "leave"),
        ("ban", "leave"),
    ] {
        match step {
            "invite" => alice.invite(&room, &bob).await,
            "leave" => bob.leave(&room).await,
            "join" => bob.join(&room).await,
            "ban" => alice.ban(&room, &bob).await,
            _ => alice.kick(&room, &bob).await,
        }
        let answer = bob.sync(Sync::since(&since)).await;
        assert_eq!(sections(&answer, &room), [section], "{step}: {answer}");
        since = next(&answer);
        let quiet = bob.sync(Sync::since(&since)).await;
        assert_eq!(sections(&quiet, &room), Vec::<&str>::new(), "{step} is told once: {quiet}");
    }
}

#[tokio::test]
async fn an_initial_sync_has_joined_invited_and_knocked_rooms() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let knock = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let joined = alice.create_room(json!({ "preset": "public_chat" })).await;
    let invited = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let knocked = alice.create_room(json!({ "initial_state": knock })).await;
    let left = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&joined).await;
    bob.knock(&knocked).await;
    bob.join(&left).await;
    bob.leave(&left).await;
    let answer = bob.sync(Sync::initial()).await;
    assert_eq!(sections(&answer, &joined), ["join"]);
    assert_eq!(sections(&answer, &invited), ["invite"]);
    assert_eq!(sections(&answer, &knocked), ["knock"]);
    assert_eq!(sections(&answer, &left), Vec::<&str>::new());
}

#[tokio::test]
async fn a_room_left_between_two_polls_shows_what_was_said_up_to_the_leave() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    alice.send_text(&room, "before").await;
    bob.leave(&room).await;
    alice.send_text(&room, "after").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "after" })).await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), ["leave"]);
    assert_eq!(bodies(timeline(&answer, &room)), ["before"]);
    assert_eq!(timeline(&answer, &room).last().expect("the leave")["state_key"], bob.user_id);
    assert!(!answer.to_string().contains("after\""), "{answer}");
}

#[tokio::test]
async fn a_room_joined_and_left_between_two_polls_is_not_joined() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let since = bob.now().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), ["leave"], "{answer}");
    assert_eq!(membership_of(timeline(&answer, &room), &bob.user_id), Some("leave"));
}

#[tokio::test]
async fn a_left_room_stays_silent_afterwards() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let since = bob.now().await;
    alice.send_text(&room, "secret").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "secret" })).await;
    let message = alice.send_text(&room, "secret").await;
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, message), json!({})).await.ok();
    alice
        .put(&v3!("/rooms/{}/typing/{}", room, alice.user_id), json!({ "typing": true, "timeout": 30_000 }))
        .await
        .ok();
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), Vec::<&str>::new(), "{answer}");
}

#[tokio::test]
async fn an_invitation_accepted_elsewhere_moves_on_every_device() {
    let server = SERVER.get();
    let (alice, phone) = two(&server).await;
    let laptop = server.new_device(&phone).await;
    let room = alice.create_room(json!({ "invite": [phone.user_id] })).await;
    let since = laptop.now().await;
    phone.join(&room).await;
    let answer = laptop.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), ["join"], "{answer}");
}

#[tokio::test]
async fn a_knock_that_is_answered_moves_to_invite_and_a_withdrawn_one_to_leave() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let knock = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice.create_room(json!({ "initial_state": knock })).await;
    bob.knock(&room).await;
    let since = bob.now().await;
    bob.leave(&room).await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), ["leave"], "{answer}");
    bob.knock(&room).await;
    let since = bob.now().await;
    alice.invite(&room, &bob).await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(sections(&answer, &room), ["invite"], "{answer}");
}

#[tokio::test]
async fn the_invited_hear_nothing_of_what_is_said() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let since = bob.now().await;
    alice.send_text(&room, "secret").await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert!(!answer.to_string().contains("secret"), "{answer}");
}

#[tokio::test]
async fn a_forgotten_room_is_in_no_section() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    bob.leave(&room).await;
    bob.forget(&room).await;
    let filter = json!({ "room": { "include_leave": true } });
    let initial = bob.sync(Sync::initial().filter(filter)).await;
    assert_eq!(sections(&initial, &room), Vec::<&str>::new(), "{initial}");
    // An older token may still be told of the leave, so that the client can drop the room; never of a join.
    let answer = bob.sync(Sync::since(&since)).await;
    assert!(room_in(&answer, "join", &room).is_null(), "{answer}");
}
