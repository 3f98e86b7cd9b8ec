//! "Lazy-loading room members" and the room summary.

use conformance_tests::{Client, Server, Sync, find_state_in, room_in, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn lazy(limit: u32) -> Value {
    json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": limit } } })
}

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().expect("a token").to_owned()
}

/// The users whose member events are in the state of a room.
fn members(answer: &Value, room: &str) -> Vec<String> {
    let state = room_in(answer, "join", room)["state"]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut users: Vec<String> = state
        .iter()
        .filter(|event| event["type"] == "m.room.member")
        .filter_map(|event| event["state_key"].as_str())
        .map(str::to_owned)
        .collect();
    users.sort_unstable();
    users
}

async fn crowd(server: &Server, size: usize) -> (Client, Vec<Client>, String) {
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Crowd" })).await;
    let mut others = Vec::new();
    for _ in 0..size {
        let user = server.register("member").await;
        user.join(&room).await;
        others.push(user);
    }
    (alice, others, room)
}

#[tokio::test]
async fn without_lazy_loading_all_members_come() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 4).await;
    alice.send_text(&room, "x").await;
    let answer = alice.sync(Sync::initial().filter(json!({ "room": { "timeline": { "limit": 1 } } }))).await;
    assert_eq!(members(&answer, &room).len(), others.len() + 1);
}

#[tokio::test]
async fn lazily_come_the_senders_and_oneself() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 4).await;
    others[1].send_text(&room, "x").await;
    let answer = alice.sync(Sync::initial().filter(lazy(1))).await;
    let seen = members(&answer, &room);
    assert!(seen.contains(&others[1].user_id), "the sender: {seen:?}");
    assert!(seen.contains(&alice.user_id), "the own membership: {seen:?}");
    assert!(!seen.contains(&others[2].user_id), "no bystander: {seen:?}");
    let state = &room_in(&answer, "join", &room)["state"]["events"];
    assert!(find_state_in(state, "m.room.power_levels", "").is_some(), "other state comes whole: {state}");
}

#[tokio::test]
async fn a_new_sender_brings_the_member_event_along() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 4).await;
    alice.send_text(&room, "x").await;
    let since = next(&alice.sync(Sync::initial().filter(lazy(1))).await);
    others[3].send_text(&room, "hello").await;
    let answer = alice.sync(Sync::since(&since).filter(lazy(10))).await;
    assert!(members(&answer, &room).contains(&others[3].user_id), "{answer}");
}

#[tokio::test]
async fn redundant_members_come_on_request() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 2).await;
    let mut filter = lazy(10);
    filter["room"]["state"]["include_redundant_members"] = json!(true);
    let mut since = next(&alice.sync(Sync::initial().filter(filter.clone())).await);
    for _ in 0..2 {
        others[0].send_text(&room, "hello").await;
        let answer = alice.sync(Sync::since(&since).filter(filter.clone())).await;
        assert!(members(&answer, &room).contains(&others[0].user_id), "{answer}");
        since = next(&answer);
    }
}

#[tokio::test]
async fn members_that_changed_in_a_gap_come_although_they_said_nothing() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 3).await;
    let since = next(&alice.sync(Sync::initial().filter(lazy(5))).await);
    others[0].leave(&room).await;
    let newcomer = server.register("newcomer").await;
    newcomer.join(&room).await;
    alice.send_texts(&room, "", 1..=5).await;
    let answer = alice.sync(Sync::since(&since).filter(lazy(1))).await;
    let seen = members(&answer, &room);
    for user in [&others[0], &newcomer] {
        assert!(seen.contains(&user.user_id), "{} changed in the gap: {seen:?}", user.user_id);
    }
}

#[tokio::test]
async fn after_a_reset_of_the_client_members_come_again() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 2).await;
    others[0].send_text(&room, "x").await;
    for _ in 0..2 {
        let answer = alice.sync(Sync::initial().filter(lazy(1))).await;
        assert!(members(&answer, &room).contains(&others[0].user_id), "an initial sync knows of nothing: {answer}");
    }
}

fn summary<'a>(answer: &'a Value, room: &str) -> &'a Value {
    &room_in(answer, "join", room)["summary"]
}

#[tokio::test]
async fn the_summary_counts_members_and_names_heroes() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut users = Vec::new();
    for _ in 0..7 {
        let user = server.register("hero").await;
        user.join(&room).await;
        users.push(user);
    }
    let invited = server.register("invited").await;
    alice.invite(&room, &invited).await;
    let answer = alice.sync(Sync::initial().filter(lazy(1))).await;
    let summary = summary(&answer, &room);
    assert_eq!((&summary["m.joined_member_count"], &summary["m.invited_member_count"]), (&json!(8), &json!(1)));
    let heroes: Vec<&str> =
        summary["m.heroes"].as_array().expect("no name, so heroes").iter().filter_map(Value::as_str).collect();
    assert_eq!(heroes, users[..5].iter().map(|user| user.user_id.as_str()).collect::<Vec<_>>(), "the first five");
    let seen = members(&answer, &room);
    for hero in heroes {
        assert!(seen.iter().any(|user| user == hero), "the member event of hero {hero}: {seen:?}");
    }
}

#[tokio::test]
async fn in_a_room_of_two_the_hero_is_the_other() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice
        .create_room(json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [bob.user_id] }))
        .await;
    let answer = alice.sync(Sync::initial()).await;
    assert_eq!(summary(&answer, &room)["m.heroes"], json!([bob.user_id]), "the invited counts: {answer}");
    bob.join(&room).await;
    let answer = bob.sync(Sync::initial()).await;
    assert_eq!(summary(&answer, &room)["m.heroes"], json!([alice.user_id]));
}

#[tokio::test]
async fn when_all_others_are_gone_they_are_the_heroes() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let answer = alice.sync(Sync::initial()).await;
    assert_eq!(summary(&answer, &room)["m.heroes"], json!([bob.user_id]), "{answer}");
}

#[tokio::test]
async fn a_change_of_the_summary_is_told() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let since = next(&alice.sync(Sync::initial().filter(lazy(10))).await);
    bob.join(&room).await;
    let answer = alice.sync(Sync::since(&since).filter(lazy(10))).await;
    assert_eq!(summary(&answer, &room)["m.joined_member_count"], 2, "{answer}");
    assert_eq!(summary(&answer, &room)["m.heroes"], json!([bob.user_id]), "{answer}");
    bob.leave(&room).await;
    let answer = alice.sync(Sync::since(&next(&answer)).filter(lazy(10))).await;
    assert_eq!(summary(&answer, &room)["m.joined_member_count"], 1, "{answer}");
}

#[tokio::test]
async fn the_members_of_a_lazy_client_are_completed_by_members_at_its_token() {
    let server = SERVER.get();
    let (alice, others, room) = crowd(&server, 3).await;
    let token = next(&alice.sync(Sync::initial().filter(lazy(1))).await);
    others[0].leave(&room).await;
    let answer = alice.get(&v3!("/rooms/{}/members?at={}&not_membership=leave", room, token)).await.ok();
    let chunk = answer["chunk"].as_array().expect("a list");
    assert_eq!(chunk.len(), others.len() + 1, "as it was at the token: {answer}");
}
