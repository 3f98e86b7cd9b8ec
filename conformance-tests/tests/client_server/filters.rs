//! "Filtering": stored filters, and what each part of a filter does to `/sync`.

use conformance_tests::{Client, Sync, bodies, find_state_in, timeline, v3};
use serde_json::{Value, json};

use crate::SERVER;

async fn store(client: &Client, filter: Value) -> String {
    let answer = client.post(&v3!("/user/{}/filter", client.user_id), filter).await.ok();
    answer["filter_id"].as_str().expect("a filter id").to_owned()
}

#[tokio::test]
async fn a_stored_filter_is_given_back_and_used() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.send_texts(&room, "", 1..=5).await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let id = store(&alice, filter.clone()).await;
    assert!(!id.starts_with('{'), "{id}");
    assert_eq!(alice.get(&v3!("/user/{}/filter/{}", alice.user_id, id)).await.ok(), filter);
    let answer = alice.sync(Sync::initial().filter_id(&id)).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["4", "5"]);
}

#[tokio::test]
async fn filters_belong_to_their_user() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let id = store(&alice, json!({ "room": { "rooms": [] } })).await;
    bob.get(&v3!("/user/{}/filter/{}", alice.user_id, id)).await.expect_error(403, "M_FORBIDDEN");
    bob.post(&v3!("/user/{}/filter", alice.user_id), json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_unknown_filter_is_not_found_and_refused_by_sync() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.get(&v3!("/user/{}/filter/{}", alice.user_id, "987654321")).await.expect_error(404, "M_NOT_FOUND");
    for id in ["987654321", "nonsense"] {
        let reply = alice.try_sync(Sync::initial().filter_id(id)).await;
        assert!(matches!(reply.status, 400 | 404) && reply.errcode().starts_with("M_"), "{reply}");
    }
}

#[tokio::test]
async fn filters_that_make_no_sense_are_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for filter in [
        json!([]),
        json!({ "room": [] }),
        json!({ "room": { "timeline": { "limit": "many" } } }),
        json!({ "room": { "timeline": { "types": "m.room.message" } } }),
        json!({ "room": { "rooms": [7] } }),
        json!({ "event_fields": 7 }),
        json!({ "event_format": "poetry" }),
    ] {
        let reply = alice.post(&v3!("/user/{}/filter", alice.user_id), filter).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
    let reply = alice.try_sync(Sync::initial().filter_id("{nonsense")).await;
    assert_eq!(reply.status, 400, "{reply}");
}

#[tokio::test]
async fn rooms_and_not_rooms_choose_rooms() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (one, two) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    let rooms = async |filter: Value| {
        let answer = alice.sync(Sync::initial().filter(json!({ "room": filter }))).await;
        let joined = &answer["rooms"]["join"];
        (!joined[&one].is_null(), !joined[&two].is_null())
    };
    assert_eq!(rooms(json!({})).await, (true, true));
    assert_eq!(rooms(json!({ "rooms": [one] })).await, (true, false));
    assert_eq!(rooms(json!({ "not_rooms": [one] })).await, (false, true));
    assert_eq!(rooms(json!({ "rooms": [one, two], "not_rooms": [two] })).await, (true, false));
    assert_eq!(rooms(json!({ "rooms": [] })).await, (false, false));
}

#[tokio::test]
async fn timeline_and_state_have_filters_of_their_own() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "Tea", "topic": "At six" })).await;
    alice.send_text(&room, "hello").await;
    alice.send(&room, "org.example.other", json!({})).await;
    let filter = json!({
        "room": {
            "timeline": { "types": ["m.room.message", "org.example.*"], "not_types": ["org.example.other"], "limit": 1 },
            "state": { "types": ["m.room.name"] },
        },
    });
    let answer = alice.sync(Sync::initial().filter(filter)).await;
    let section = &answer["rooms"]["join"][&room];
    assert_eq!(section["timeline"]["events"].as_array().map(Vec::len), Some(1), "{section}");
    assert_eq!(bodies(timeline(&answer, &room)), ["hello"]);
    let state = section["state"]["events"].as_array().expect("state");
    assert!(find_state_in(&section["state"]["events"], "m.room.name", "").is_some(), "{section}");
    assert_eq!(state.len(), 1, "{section}");
}

#[tokio::test]
async fn account_data_and_ephemeral_events_are_filtered() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for event_type in ["org.example.a", "org.example.b"] {
        alice.put(&v3!("/user/{}/account_data/{}", alice.user_id, event_type), json!({})).await.ok();
        alice.put(&v3!("/user/{}/rooms/{}/account_data/{}", alice.user_id, room, event_type), json!({})).await.ok();
    }
    let message = alice.send_text(&room, "x").await;
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, message), json!({})).await.ok();
    let filter = json!({
        "account_data": { "types": ["org.example.a"] },
        "room": { "account_data": { "not_types": ["org.example.a"] }, "ephemeral": { "types": [] } },
    });
    let answer = alice.sync(Sync::initial().filter(filter)).await;
    let types = |events: &Value| -> Vec<String> {
        let events = events["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        events.iter().filter_map(|event| event["type"].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(types(&answer["account_data"]), ["org.example.a"]);
    let section = &answer["rooms"]["join"][&room];
    assert_eq!(types(&section["account_data"]), ["org.example.b"], "{section}");
    assert_eq!(types(&section["ephemeral"]), Vec::<String>::new(), "{section}");
}

#[tokio::test]
async fn include_leave_shows_rooms_that_were_left() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    alice.send_text(&room, "before").await;
    bob.leave(&room).await;
    alice.send_text(&room, "after").await;
    let without = bob.sync(Sync::initial()).await;
    assert!(without["rooms"]["leave"][&room].is_null(), "{without}");
    let with = bob.sync(Sync::initial().filter(json!({ "room": { "include_leave": true } }))).await;
    assert_eq!(bodies(timeline(&with, &room)), ["before"], "{with}");
}

#[tokio::test]
async fn event_fields_keep_what_is_asked_for() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let id = alice.send_text(&room, "kept").await;
    let filter = json!({
        "event_fields": ["content.body", "event_id", "type", "sender"],
        "room": { "timeline": { "limit": 1 } },
    });
    let answer = alice.sync(Sync::initial().filter(filter)).await;
    let event = &timeline(&answer, &room)[0];
    assert_eq!((&event["event_id"], &event["content"]["body"]), (&json!(id), &json!("kept")));
}

#[tokio::test]
async fn event_format_federation_gives_the_signed_event() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.send_text(&room, "signed").await;
    let filter = json!({ "event_format": "federation", "room": { "timeline": { "limit": 1 } } });
    let answer = alice.sync(Sync::initial().filter(filter)).await;
    let event = &timeline(&answer, &room)[0];
    for key in ["auth_events", "prev_events", "hashes", "signatures", "depth"] {
        assert!(!event[key].is_null(), "{key} is missing: {event}");
    }
    assert!(event["signatures"][server.name()].is_object(), "{event}");
}
