//! "Sending events to a room", "Transaction identifiers" and "Size limits".

use std::collections::BTreeSet;

use conformance_tests::{Client, Sync, bodies, event_ids, find_event, timeline, v3};
use serde_json::{Value, json};

use crate::{ROOM_VERSIONS, SERVER};

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn send_path(room: &str, event_type: &str, transaction: &str) -> String {
    v3!("/rooms/{}/send/{}/{}", room, event_type, transaction)
}

/// How often an event with this body is in the room.
async fn count(client: &Client, room: &str, body: &str) -> usize {
    let history = client.whole_history(room, 100).await;
    bodies(&history).into_iter().filter(|found| *found == body).count()
}

#[tokio::test]
async fn an_event_comes_back_in_the_client_format() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let content = json!({
        "msgtype": "m.text", "body": "ünïcode ☃ 🐇\n\u{1}", "org.example.null": null, "empty": "",
        "nested": { "list": [1, -2, [], {}], "true": true }, "max": 9_007_199_254_740_991i64,
    });
    let id = alice.send(&room, "m.room.message", content.clone()).await;
    let event = alice.event(&room, &id).await;
    assert_eq!(event["content"], content);
    assert_eq!(event["event_id"], id);
    assert_eq!(event["sender"], alice.user_id);
    assert_eq!(event["room_id"], room);
    assert_eq!(event["type"], "m.room.message");
    assert!(event["origin_server_ts"].as_u64().is_some_and(|time| time > 1_500_000_000_000), "{event}");
    assert!(event["state_key"].is_null(), "{event}");
    for federation_only in ["auth_events", "prev_events", "hashes", "signatures", "depth"] {
        assert!(event[federation_only].is_null(), "{federation_only} is not for clients: {event}");
    }
}

#[tokio::test]
async fn events_of_any_type_can_be_sent() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for event_type in ["org.example.game.score", "ünï code/with slash?&%", "m.sticker"] {
        let id = alice.send(&room, event_type, json!({ "a": 1 })).await;
        assert_eq!(alice.event(&room, &id).await["type"], event_type);
    }
}

#[tokio::test]
async fn a_repeated_transaction_is_the_same_event() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for transaction in ["plain", "with/slash", "ünïcode", "a b", "%41"] {
        let path = send_path(&room, "m.room.message", transaction);
        let first = alice.put(&path, text(transaction)).await.ok();
        let second = alice.put(&path, text(transaction)).await.ok();
        assert_eq!(first, second, "{transaction}");
        assert_eq!(count(&alice, &room, transaction).await, 1, "{transaction}");
    }
}

#[tokio::test]
async fn a_repeated_transaction_with_other_content_keeps_the_first() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = send_path(&room, "m.room.message", "t");
    let first = alice.put(&path, text("first")).await.ok();
    assert_eq!(alice.put(&path, text("second")).await.ok(), first);
    assert_eq!(count(&alice, &room, "second").await, 0);
}

#[tokio::test]
async fn the_scope_of_a_transaction_is_the_device_and_the_path() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    let (room, other) = (phone.create_room(json!({})).await, phone.create_room(json!({})).await);
    let mut ids = BTreeSet::new();
    for (device, path) in [
        (&phone, send_path(&room, "m.room.message", "t")),
        (&phone, send_path(&other, "m.room.message", "t")),
        (&phone, send_path(&room, "org.example.other", "t")),
        (&phone, send_path(&room, "m.room.message", "T")),
        (&laptop, send_path(&room, "m.room.message", "t")),
    ] {
        let answer = device.put(&path, text("scope")).await.ok();
        ids.insert(answer["event_id"].as_str().expect("an event id").to_owned());
    }
    assert_eq!(ids.len(), 5, "five different transactions");
    // A redaction's path is another endpoint.
    let first = ids.first().expect("an id");
    let redact = v3!("/rooms/{}/redact/{}/{}", room, first, "t");
    let answer = phone.put(&redact, json!({})).await;
    assert!(!ids.contains(answer.json["event_id"].as_str().unwrap_or("")), "{answer}");
}

#[tokio::test]
async fn concurrent_repetitions_of_a_transaction_make_one_event() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = send_path(&room, "m.room.message", "once");
    let tries: Vec<_> = (0..12)
        .map(|_| {
            let (alice, path) = (alice.clone(), path.clone());
            tokio::spawn(async move { alice.put(&path, text("once")).await.ok()["event_id"].clone() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for one in tries {
        ids.insert(one.await.expect("the task ends").to_string());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(count(&alice, &room, "once").await, 1);
}

#[tokio::test]
async fn the_transaction_id_is_shown_to_the_sending_device_alone() {
    let server = SERVER.get();
    let (phone, bob) = (server.register("alice").await, server.register("bob").await);
    let laptop = server.new_device(&phone).await;
    let room = phone.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut since = Vec::new();
    for device in [&phone, &laptop, &bob] {
        since.push(device.now().await);
    }
    let answer = phone.put(&send_path(&room, "m.room.message", "mine"), text("hello")).await.ok();
    let id = answer["event_id"].as_str().expect("an event id");
    for (device, since) in [&phone, &laptop, &bob].into_iter().zip(&since) {
        let answer = device.wait_for_event(since, &room, id).await;
        let event = find_event(timeline(&answer, &room), id).expect("waited for").clone();
        let again = device.event(&room, id).await;
        for event in [event, again] {
            let shown = &event["unsigned"]["transaction_id"];
            if device.device_id == phone.device_id {
                assert_eq!(shown, "mine", "{event}");
            } else {
                assert!(shown.is_null(), "{event}");
            }
        }
    }
}

#[tokio::test]
async fn concurrent_senders_lose_nothing_and_double_nothing() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut tasks = Vec::new();
    for number in 0..6 {
        let user = server.register("sender").await;
        user.join(&room).await;
        let room = room.clone();
        tasks.push(tokio::spawn(async move { user.send_texts(&room, &format!("{number}-"), 1..=15).await }));
    }
    let mut sent = BTreeSet::new();
    for task in tasks {
        sent.extend(task.await.expect("the task ends"));
    }
    assert_eq!(sent.len(), 90);
    let history = alice.whole_history(&room, 25).await;
    let ids = event_ids(&history);
    let found: BTreeSet<String> = history
        .iter()
        .filter(|e| e["type"] == "m.room.message")
        .filter_map(|e| e["event_id"].as_str())
        .map(str::to_owned)
        .collect();
    assert_eq!(found, sent);
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "no event comes twice");
    // Each sender's messages are in the order of sending.
    for number in 0..6 {
        let own: Vec<u32> = bodies(&history)
            .into_iter()
            .filter_map(|body| body.strip_prefix(&format!("{number}-"))?.parse().ok())
            .collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test]
async fn only_members_send() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let path = send_path(&room, "m.room.message", "1");
    bob.put(&path, text("x")).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.put(&path, text("x")).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.leave(&room).await;
    bob.put(&path, text("x")).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(count(&alice, &room, "x").await, 0);
}

#[tokio::test]
async fn a_refused_transaction_can_be_sent_again_once_it_is_allowed() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let path = send_path(&room, "m.room.message", "1");
    bob.put(&path, text("x")).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.put(&path, text("x")).await.ok();
}

#[tokio::test]
async fn an_unknown_room_takes_nothing() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for room in ["!nosuchroom:a.example", "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "nonsense"] {
        let reply = alice.put(&send_path(room, "m.room.message", "1"), text("x")).await;
        assert!(matches!(reply.status, 400 | 403 | 404) && !reply.errcode().is_empty(), "{reply}");
    }
}

#[tokio::test]
async fn content_is_an_object() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for body in [json!([]), json!("text"), json!(1), json!(null), json!(true)] {
        let reply = alice.put(&send_path(&room, "m.room.message", &alice.next_transaction()), body).await;
        reply.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_NOT_JSON")]);
    }
}

#[tokio::test]
async fn numbers_outside_canonical_json_are_refused_from_version_6_on() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for version in ROOM_VERSIONS {
        let strict = !matches!(version, "1" | "2" | "3" | "4" | "5");
        let room = alice.create_room(json!({ "room_version": version })).await;
        for number in ["1.5", "9007199254740992", "-9007199254740992", "1e300"] {
            let body = format!("{{\"msgtype\":\"m.text\",\"body\":\"x\",\"n\":{number}}}").into_bytes();
            let path = send_path(&room, "m.room.message", &alice.next_transaction());
            let json = [("content-type", "application/json")];
            let reply = alice.raw(reqwest::Method::PUT, &path, &json, Some(body)).await;
            if strict {
                reply.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")]);
            } else {
                assert!(matches!(reply.status, 200 | 400), "version {version}, {number}\n{reply}");
            }
        }
        alice.send_text(&room, "the room goes on").await;
    }
}

#[tokio::test]
async fn an_event_over_64_kib_is_too_large() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let reply = alice.put(&send_path(&room, "m.room.message", "large"), text(&"x".repeat(65_536))).await;
    reply.expect_error(413, "M_TOO_LARGE");
    // The limit is of bytes, not of characters.
    let reply = alice.put(&send_path(&room, "m.room.message", "wide"), text(&"☃".repeat(22_000))).await;
    reply.expect_error(413, "M_TOO_LARGE");
    let fits = alice.put(&send_path(&room, "m.room.message", "fits"), text(&"x".repeat(60_000))).await.ok();
    let event = alice.event(&room, fits["event_id"].as_str().expect("an event id")).await;
    assert_eq!(event["content"]["body"].as_str().map(str::len), Some(60_000));
}

#[tokio::test]
async fn types_and_state_keys_have_255_bytes() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let (fits, long) = ("t".repeat(255), "t".repeat(256));
    alice.send(&room, &fits, json!({})).await;
    alice.set_state(&room, "org.example.key", &fits, json!({})).await;
    for path in [
        send_path(&room, &long, "1"),
        v3!("/rooms/{}/state/{}/", room, long),
        v3!("/rooms/{}/state/org.example.key/{}", room, long),
    ] {
        let reply = alice.put(&path, json!({})).await;
        assert!(matches!(reply.status, 400 | 413), "{reply}");
    }
}

#[tokio::test]
async fn events_that_must_be_state_are_not_sent_as_messages() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let reply = alice.put(&send_path(&room, "m.room.create", "1"), json!({ "room_version": "12" })).await;
    assert!(matches!(reply.status, 400 | 403), "{reply}");
    let reply = alice.put(&send_path(&room, "m.room.member", "2"), json!({ "membership": "leave" })).await;
    assert!(matches!(reply.status, 400 | 403), "{reply}");
    alice.send_text(&room, "still a member").await;
}

#[tokio::test]
async fn a_sent_event_is_in_the_next_sync_of_the_sender() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let mut since = alice.now().await;
    for number in 0..10 {
        let id = alice.send_text(&room, &format!("{number}")).await;
        // No waiting: what was answered is committed and visible.
        let answer = alice.sync(Sync::since(&since)).await;
        assert_eq!(event_ids(timeline(&answer, &room)), [id.as_str()]);
        since = answer["next_batch"].as_str().expect("a token").to_owned();
    }
}
