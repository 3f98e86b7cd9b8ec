//! `/context`, `/event`, `/members` and `/joined_members`.

use conformance_tests::{Client, Server, Sync, event_ids, find_state_in, v3};
use serde_json::{Value, json};

use crate::SERVER;

async fn nine(server: &Server) -> (Client, String, Vec<String>) {
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat", "topic": "tea" })).await;
    let ids = alice.send_texts(&room, "", 1..=9).await;
    (alice, room, ids)
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().unwrap_or_else(|| panic!("no {key} in {answer}"))
}

fn ids_of(answer: &Value, key: &str) -> Vec<String> {
    event_ids(list(answer, key)).into_iter().map(str::to_owned).collect()
}

fn users(answer: &Value) -> Vec<&str> {
    let mut users: Vec<&str> = list(answer, "chunk").iter().filter_map(|event| event["state_key"].as_str()).collect();
    users.sort_unstable();
    users
}

fn sorted<'a>(clients: &[&'a Client]) -> Vec<&'a str> {
    let mut users: Vec<&str> = clients.iter().map(|client| client.user_id.as_str()).collect();
    users.sort_unstable();
    users
}

#[tokio::test]
async fn context_shows_what_was_around() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=4", room, ids[4])).await.ok();
    assert_eq!(answer["event"]["event_id"], ids[4]);
    assert_eq!(ids_of(&answer, "events_before"), [ids[3].clone(), ids[2].clone()]);
    assert_eq!(ids_of(&answer, "events_after"), [ids[5].clone(), ids[6].clone()]);
    let topic = find_state_in(&answer["state"], "m.room.topic", "").expect("the state of the room");
    assert_eq!(topic["content"]["topic"], "tea");
}

#[tokio::test]
async fn context_with_limit_zero_is_the_event_alone() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=0", room, ids[4])).await.ok();
    assert_eq!(answer["event"]["event_id"], ids[4]);
    assert!(answer["events_before"].as_array().is_none_or(Vec::is_empty), "{answer}");
    assert!(answer["events_after"].as_array().is_none_or(Vec::is_empty), "{answer}");
}

#[tokio::test]
async fn the_default_limit_of_context_is_ten() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let more = alice.send_texts(&room, "more", 1..=9).await;
    let answer = alice.get(&v3!("/rooms/{}/context/{}", room, ids[8])).await.ok();
    assert_eq!(list(&answer, "events_before").len() + list(&answer, "events_after").len(), 10, "{answer}");
    assert_eq!(ids_of(&answer, "events_after")[0], more[0]);
}

#[tokio::test]
async fn the_tokens_of_context_page_on_both_ways() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=2", room, ids[4])).await.ok();
    let (start, end) = (answer["start"].as_str().expect("start"), answer["end"].as_str().expect("end"));
    let back = alice.messages(&room, &[("dir", "b"), ("limit", "2"), ("from", start)]).await;
    assert_eq!(ids_of(&back, "chunk"), [ids[2].clone(), ids[1].clone()]);
    let forth = alice.messages(&room, &[("dir", "f"), ("limit", "2"), ("from", end)]).await;
    assert_eq!(ids_of(&forth, "chunk"), [ids[6].clone(), ids[7].clone()]);
}

#[tokio::test]
async fn the_state_of_context_is_of_then_not_of_now() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "coffee" })).await;
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=2", room, ids[2])).await.ok();
    let topic = find_state_in(&answer["state"], "m.room.topic", "").expect("a topic");
    assert_eq!(topic["content"]["topic"], "tea");
}

#[tokio::test]
async fn context_is_filtered_but_for_the_event_itself() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let filter = json!({ "types": ["org.example.none"] });
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=4&filter={}", room, ids[4], filter)).await.ok();
    assert_eq!(answer["event"]["event_id"], ids[4]);
    assert!(list(&answer, "events_before").is_empty() && list(&answer, "events_after").is_empty(), "{answer}");
}

#[tokio::test]
async fn context_loads_members_lazily() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let bob = server.register("bob").await;
    bob.join(&room).await;
    let filter = json!({ "lazy_load_members": true });
    let answer = alice.get(&v3!("/rooms/{}/context/{}?limit=2&filter={}", room, ids[4], filter)).await.ok();
    assert!(find_state_in(&answer["state"], "m.room.member", &alice.user_id).is_some(), "{answer}");
    assert!(find_state_in(&answer["state"], "m.room.member", &bob.user_id).is_none(), "{answer}");
}

#[tokio::test]
async fn what_is_not_seen_has_no_context_and_is_no_event() {
    let server = SERVER.get();
    let (alice, room, ids) = nine(&server).await;
    let bob = server.register("bob").await;
    let other = alice.create_room(json!({})).await;
    let unknown = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    alice.get(&v3!("/rooms/{}/event/{}", room, unknown)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/rooms/{}/context/{}", room, unknown)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/rooms/{}/event/{}", other, ids[0])).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/rooms/{}/context/{}", other, ids[0])).await.expect_error(404, "M_NOT_FOUND");
    let refused: [(u16, &str); 2] = [(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")];
    bob.get(&v3!("/rooms/{}/event/{}", room, ids[0])).await.expect_one_of(&refused);
    bob.get(&v3!("/rooms/{}/context/{}", room, ids[0])).await.expect_one_of(&refused);
}

#[tokio::test]
async fn members_lists_every_membership_and_filters_it() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (bob, carol, dave) =
        (server.register("bob").await, server.register("carol").await, server.register("dave").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "invite": [carol.user_id] })).await;
    bob.join(&room).await;
    dave.join(&room).await;
    dave.leave(&room).await;
    let get = async |query: &str| alice.get(&(v3!("/rooms/{}/members", room) + query)).await.ok();
    assert_eq!(users(&get("").await), sorted(&[&alice, &bob, &carol, &dave]));
    assert_eq!(users(&get("?membership=join").await), sorted(&[&alice, &bob]));
    assert_eq!(users(&get("?membership=invite").await), sorted(&[&carol]));
    assert_eq!(users(&get("?not_membership=leave").await), sorted(&[&alice, &bob, &carol]));
    // Both together are joined by "or".
    assert_eq!(users(&get("?membership=leave&not_membership=join").await), sorted(&[&carol, &dave]));
    let event = list(&get("?membership=invite").await, "chunk")[0].clone();
    assert_eq!((&event["type"], &event["sender"]), (&json!("m.room.member"), &json!(alice.user_id)));
    assert!(event["event_id"].is_string(), "{event}");
}

#[tokio::test]
async fn members_at_a_token_are_those_of_then() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let before = alice.now().await;
    bob.join(&room).await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let answer = alice.sync(Sync::since(&before).filter(filter)).await;
    let prev_batch = answer["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().expect("a token");
    let at = alice.get(&v3!("/rooms/{}/members?at={}", room, prev_batch)).await.ok();
    assert_eq!(users(&at), sorted(&[&alice]));
    let at = alice.get(&v3!("/rooms/{}/members?at={}", room, before)).await.ok();
    assert_eq!(users(&at), sorted(&[&alice]));
}

#[tokio::test]
async fn who_left_sees_the_members_of_that_moment() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    carol.join(&room).await;
    let seen = bob.get(&v3!("/rooms/{}/members", room)).await.ok();
    assert_eq!(users(&seen), sorted(&[&alice, &bob]));
}

#[tokio::test]
async fn members_are_not_for_strangers() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.get(&v3!("/rooms/{}/members", room)).await.expect_error(403, "M_FORBIDDEN");
    bob.get(&v3!("/rooms/{}/joined_members", room)).await.expect_error(403, "M_FORBIDDEN");
    let reply = alice.get(&v3!("/rooms/{}/members?membership=dancing", room)).await;
    assert_eq!(reply.status, 400, "{reply}");
}

#[tokio::test]
async fn joined_members_maps_to_names_and_avatars() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": "Bobby" })).await.ok();
    bob.put(&v3!("/profile/{}/avatar_url", bob.user_id), json!({ "avatar_url": "mxc://a.example/b" })).await.ok();
    let room = alice.create_room(json!({ "preset": "public_chat", "invite": [carol.user_id] })).await;
    bob.join(&room).await;
    let joined = alice.get(&v3!("/rooms/{}/joined_members", room)).await.ok()["joined"].clone();
    assert_eq!(joined.as_object().map(|joined| joined.len()), Some(2), "{joined}");
    let wanted = json!({ "display_name": "Bobby", "avatar_url": "mxc://a.example/b" });
    assert_eq!(joined[&bob.user_id], wanted);
    assert!(joined[&alice.user_id].is_object(), "{joined}");
    bob.leave(&room).await;
    bob.get(&v3!("/rooms/{}/joined_members", room)).await.expect_error(403, "M_FORBIDDEN");
}
