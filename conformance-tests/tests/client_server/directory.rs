//! "Published room directory". Each test has a server of its own: the directory is one for all.

use std::collections::BTreeSet;

use conformance_tests::{Client, Options, Server, v3};
use serde_json::{Value, json};

fn rooms(answer: &Value) -> Vec<String> {
    let chunk = answer["chunk"].as_array().unwrap_or_else(|| panic!("no chunk in {answer}"));
    chunk.iter().map(|room| room["room_id"].as_str().expect("a room id").to_owned()).collect()
}

async fn published(alice: &Client, body: Value) -> String {
    let mut body = body;
    body["visibility"] = json!("public");
    alice.create_room(body).await
}

#[tokio::test]
async fn a_published_room_is_described() {
    let server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let state = json!([
        { "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } },
        { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
        { "type": "m.room.avatar", "content": { "url": "mxc://a.example/avatar" } },
    ]);
    let room = published(
        &alice,
        json!({
            "name": "Tea", "topic": "At six", "room_alias_name": "tea", "initial_state": state,
            "creation_content": { "type": "m.space" },
        }),
    )
    .await;
    bob.join(&room).await;
    alice.create_room(json!({ "preset": "public_chat", "name": "not published" })).await;
    // The directory is read without a token.
    let answer = server.anonymous().get(&v3!("/publicRooms")).await.ok();
    assert_eq!(rooms(&answer), [room.as_str()]);
    let entry = &answer["chunk"][0];
    for (key, value) in [
        ("name", json!("Tea")),
        ("topic", json!("At six")),
        ("canonical_alias", json!("#tea:a.example")),
        ("avatar_url", json!("mxc://a.example/avatar")),
        ("num_joined_members", json!(2)),
        ("world_readable", json!(true)),
        ("guest_can_join", json!(true)),
        ("join_rule", json!("public")),
        ("room_type", json!("m.space")),
    ] {
        assert_eq!(entry[key], value, "{key}: {entry}");
    }
    bob.leave(&room).await;
    let answer = server.anonymous().get(&v3!("/publicRooms")).await.ok();
    assert_eq!(answer["chunk"][0]["num_joined_members"], 1);
}

#[tokio::test]
async fn publishing_is_changed_by_those_who_may() {
    let server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let path = v3!("/directory/list/room/{}", room);
    let stranger = server.anonymous();
    assert_eq!(stranger.get(&path).await.ok()["visibility"], "private");
    bob.put(&path, json!({ "visibility": "public" })).await.expect_error(403, "M_FORBIDDEN");
    alice.put(&path, json!({ "visibility": "public" })).await.ok();
    assert_eq!(stranger.get(&path).await.ok()["visibility"], "public");
    assert_eq!(rooms(&stranger.get(&v3!("/publicRooms")).await.ok()), [room]);
    let reply = alice.put(&path, json!({ "visibility": "sometimes" })).await;
    assert_eq!(reply.status, 400, "{reply}");
    alice.put(&path, json!({ "visibility": "private" })).await.ok();
    assert_eq!(rooms(&stranger.get(&v3!("/publicRooms")).await.ok()), Vec::<String>::new());
    let unknown = v3!("/directory/list/room/{}", "!nosuchroom:a.example");
    alice.get(&unknown).await.expect_error(404, "M_NOT_FOUND");
    alice.put(&unknown, json!({})).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_directory_pages_both_ways() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let mut wanted = BTreeSet::new();
    for number in 0..7 {
        wanted.insert(published(&alice, json!({ "name": format!("room {number}") })).await);
    }
    let (mut pages, mut since) = (Vec::new(), None::<String>);
    let mut last = Value::Null;
    for _ in 0..10 {
        let query =
            since.as_deref().map_or_else(String::new, |since| format!("&since={}", conformance_tests::encode(since)));
        last = alice.get(&(v3!("/publicRooms?limit=3") + &query)).await.ok();
        pages.push(rooms(&last));
        match last["next_batch"].as_str() {
            Some(next) => since = Some(next.to_owned()),
            None => break,
        }
    }
    let found: Vec<&String> = pages.iter().flatten().collect();
    assert_eq!(found.len(), 7, "each once: {pages:?}");
    assert_eq!(found.into_iter().cloned().collect::<BTreeSet<_>>(), wanted);
    assert!(pages.iter().all(|page| page.len() <= 3), "{pages:?}");
    let back = last["prev_batch"].as_str().expect("there are results before the last page");
    let before = alice.get(&v3!("/publicRooms?limit=3&since={}", back)).await.ok();
    assert_eq!(rooms(&before), pages[pages.len() - 2]);
    let first = alice.get(&v3!("/publicRooms?limit=3")).await.ok();
    assert!(first["prev_batch"].is_null(), "{first}");
    assert_eq!(first["total_room_count_estimate"].as_u64().unwrap_or(7), 7);
}

#[tokio::test]
async fn search_looks_into_name_topic_and_alias_and_at_types() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let tea = published(&alice, json!({ "name": "Mad TEA Party" })).await;
    let topic = published(&alice, json!({ "name": "Other", "topic": "about tea" })).await;
    let alias = published(&alice, json!({ "name": "Third", "room_alias_name": "tea-time" })).await;
    let space = published(&alice, json!({ "name": "Croquet", "creation_content": { "type": "m.space" } })).await;
    let search = async |filter: Value| {
        let answer = alice.post(&v3!("/publicRooms"), json!({ "filter": filter })).await.ok();
        rooms(&answer).into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(
        search(json!({ "generic_search_term": "tea" })).await,
        BTreeSet::from([tea.clone(), topic.clone(), alias.clone()])
    );
    assert_eq!(search(json!({ "generic_search_term": "no such thing" })).await, BTreeSet::new());
    // What is special in a query language is a plain character here.
    for term in ["%", "_", "*", "\"", "'", "\\"] {
        assert_eq!(search(json!({ "generic_search_term": term })).await, BTreeSet::new(), "{term}");
    }
    assert_eq!(search(json!({ "room_types": ["m.space"] })).await, BTreeSet::from([space.clone()]));
    assert_eq!(
        search(json!({ "room_types": [null] })).await,
        BTreeSet::from([tea.clone(), topic.clone(), alias.clone()])
    );
    assert_eq!(search(json!({ "room_types": [null, "m.space"] })).await.len(), 4);
    assert_eq!(search(json!({ "room_types": ["m.space"], "generic_search_term": "tea" })).await, BTreeSet::new());
}

#[tokio::test]
async fn mistyped_queries_are_refused() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    for body in [json!({ "limit": "many" }), json!({ "filter": [] }), json!({ "filter": { "room_types": "m.space" } })]
    {
        let reply = alice.post(&v3!("/publicRooms"), body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
    let reply = alice.get(&v3!("/publicRooms?since=nonsense")).await;
    assert_eq!(reply.status, 400, "{reply}");
}
