//! "Receiving notifications": unread counts by the server-default push rules.

use conformance_tests::{Client, Server, Sync, room_in, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// Notifications and highlights as an initial sync of the user has them.
async fn counts(client: &Client, room: &str) -> (u64, u64) {
    let answer = client.sync(Sync::initial()).await;
    of(&answer, room)
}

fn of(answer: &Value, room: &str) -> (u64, u64) {
    let counts = &room_in(answer, "join", room)["unread_notifications"];
    let count = |key: &str| counts[key].as_u64().unwrap_or_else(|| panic!("no {key} in {counts}"));
    (count("notification_count"), count("highlight_count"))
}

/// Alice, who reads, bob, who writes, and carol, so that the room is not one to one.
async fn three(server: &Server) -> (Client, Client, Client, String) {
    let (alice, bob, carol) =
        (server.register("alice").await, server.register("bob").await, server.register("carol").await);
    let room = bob.create_room(json!({ "preset": "public_chat" })).await;
    for user in [&alice, &carol] {
        user.join(&room).await;
    }
    (alice, bob, carol, room)
}

async fn read(client: &Client, room: &str, kind: &str, event_id: &str) {
    client.post(&v3!("/rooms/{}/receipt/{}/{}", room, kind, event_id), json!({})).await.ok();
}

#[tokio::test]
async fn messages_of_others_count_and_the_own_do_not() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    assert_eq!(counts(&alice, &room).await, (0, 0));
    bob.send_texts(&room, "", 1..=3).await;
    assert_eq!(counts(&alice, &room).await, (3, 0));
    assert_eq!(counts(&bob, &room).await, (0, 0));
}

#[tokio::test]
async fn a_room_of_two_counts_as_well() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = bob.create_room(json!({ "preset": "public_chat" })).await;
    alice.join(&room).await;
    bob.send_text(&room, "hello").await;
    assert_eq!(counts(&alice, &room).await, (1, 0));
}

#[tokio::test]
async fn what_happened_before_the_join_is_not_unread() {
    let server = SERVER.get();
    let (_, bob, _, room) = three(&server).await;
    bob.send_texts(&room, "", 1..=3).await;
    let dave = server.register("dave").await;
    dave.join(&room).await;
    assert_eq!(counts(&dave, &room).await, (0, 0));
    bob.send_text(&room, "welcome").await;
    assert_eq!(counts(&dave, &room).await, (1, 0));
}

#[tokio::test]
async fn the_count_comes_with_the_event_that_changes_it() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let mut since = alice.now().await;
    for number in 1..=3 {
        let id = bob.send_text(&room, "x").await;
        let answer = alice.wait_for_event(&since, &room, &id).await;
        assert_eq!(of(&answer, &room), (number, 0), "{answer}");
        since = answer["next_batch"].as_str().expect("a token").to_owned();
    }
}

#[tokio::test]
async fn a_mention_highlights_the_mentioned_alone() {
    let server = SERVER.get();
    let (alice, bob, carol, room) = three(&server).await;
    let mention = json!({ "msgtype": "m.text", "body": "hey", "m.mentions": { "user_ids": [alice.user_id] } });
    bob.send(&room, "m.room.message", mention).await;
    assert_eq!(counts(&alice, &room).await, (1, 1));
    assert_eq!(counts(&carol, &room).await, (1, 0));
}

#[tokio::test]
async fn a_mention_of_the_room_highlights_all_if_the_sender_may() {
    let server = SERVER.get();
    let (alice, bob, carol, room) = three(&server).await;
    let mention = || json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "room": true } });
    carol.send(&room, "m.room.message", mention()).await;
    assert_eq!(counts(&alice, &room).await, (1, 0), "carol has not the power of @room");
    bob.send(&room, "m.room.message", mention()).await;
    assert_eq!(counts(&alice, &room).await, (2, 1));
    assert_eq!(counts(&carol, &room).await, (1, 1));
}

#[tokio::test]
async fn a_notice_that_mentions_nobody_is_silent() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    bob.send(&room, "m.room.message", json!({ "msgtype": "m.notice", "body": "beep" })).await;
    assert_eq!(counts(&alice, &room).await, (0, 0));
}

#[tokio::test]
async fn members_reactions_edits_and_unknown_events_are_silent() {
    let server = SERVER.get();
    let (alice, bob, carol, room) = three(&server).await;
    let message = alice.send_text(&room, "alice's").await;
    let bobs = bob.send_text(&room, "first").await;
    let before = counts(&alice, &room).await;
    carol.leave(&room).await;
    carol.join(&room).await;
    let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": message, "key": "👍" } });
    bob.send(&room, "m.reaction", relation).await;
    let edit = json!({
        "msgtype": "m.text", "body": "* second", "m.new_content": { "msgtype": "m.text", "body": "second" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": bobs },
    });
    bob.send(&room, "m.room.message", edit).await;
    bob.send(&room, "org.example.unknown", json!({})).await;
    bob.set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).await;
    assert_eq!(counts(&alice, &room).await, before);
}

#[tokio::test]
async fn an_encrypted_event_counts_and_a_tombstone_highlights() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let encrypted = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "y" });
    bob.send(&room, "m.room.encrypted", encrypted).await;
    assert_eq!(counts(&alice, &room).await, (1, 0));
    bob.set_state(&room, "m.room.tombstone", "", json!({ "body": "moved", "replacement_room": "!x" })).await;
    assert_eq!(counts(&alice, &room).await, (2, 1));
}

#[tokio::test]
async fn receipts_of_either_kind_clear_up_to_their_event() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    for kind in ["m.read", "m.read.private"] {
        let ids = bob.send_texts(&room, "", 1..=4).await;
        read(&alice, &room, kind, &ids[1]).await;
        assert_eq!(counts(&alice, &room).await, (2, 0), "{kind}");
        read(&alice, &room, kind, &ids[3]).await;
        assert_eq!(counts(&alice, &room).await, (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_receipt_that_goes_back_makes_nothing_unread_again() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let ids = bob.send_texts(&room, "", 1..=3).await;
    read(&alice, &room, "m.read.private", &ids[2]).await;
    read(&alice, &room, "m.read", &ids[0]).await;
    assert_eq!(counts(&alice, &room).await, (0, 0), "the receipt that is further ahead counts");
}

#[tokio::test]
async fn a_receipt_is_told_with_the_new_count() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let laptop = server.new_device(&alice).await;
    let id = bob.send_text(&room, "x").await;
    let since = laptop.now().await;
    read(&alice, &room, "m.read", &id).await;
    laptop
        .wait_until_sync(&since, |answer| {
            !room_in(answer, "join", &room)["unread_notifications"].is_null() && of(answer, &room) == (0, 0)
        })
        .await;
}

#[tokio::test]
async fn sending_reads_what_was_before() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    bob.send_texts(&room, "", 1..=3).await;
    alice.send_text(&room, "an answer").await;
    assert_eq!(counts(&alice, &room).await, (0, 0));
    bob.send_text(&room, "and on").await;
    assert_eq!(counts(&alice, &room).await, (1, 0));
}

#[tokio::test]
async fn a_fully_read_marker_alone_reads_nothing() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let id = bob.send_text(&room, "x").await;
    alice.post(&v3!("/rooms/{}/read_markers", room), json!({ "m.fully_read": id })).await.ok();
    assert_eq!(counts(&alice, &room).await, (1, 0));
}

#[tokio::test]
async fn threads_are_counted_apart_on_request() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let root = bob.send_text(&room, "root").await;
    let in_thread = json!({
        "msgtype": "m.text", "body": "in the thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    bob.send(&room, "m.room.message", in_thread.clone()).await;
    let last = bob.send(&room, "m.room.message", in_thread).await;
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let threaded = async || {
        let answer = alice.sync(Sync::initial().filter(filter.clone())).await;
        let threads = &room_in(&answer, "join", &room)["unread_thread_notifications"][&root];
        (of(&answer, &room).0, threads["notification_count"].as_u64().unwrap_or(0))
    };
    assert_eq!(threaded().await, (1, 2));
    assert_eq!(counts(&alice, &room).await, (3, 0), "without the request all count together");
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, last), json!({ "thread_id": root })).await.ok();
    assert_eq!(threaded().await, (1, 0));
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, root), json!({ "thread_id": "main" })).await.ok();
    assert_eq!(threaded().await, (0, 0));
    assert_eq!(counts(&alice, &room).await, (0, 0));
}

#[tokio::test]
async fn an_unthreaded_receipt_clears_the_threads_too() {
    let server = SERVER.get();
    let (alice, bob, _, room) = three(&server).await;
    let root = bob.send_text(&room, "root").await;
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = json!({ "msgtype": "m.text", "body": "in the thread", "m.relates_to": relation });
    let last = bob.send(&room, "m.room.message", reply).await;
    read(&alice, &room, "m.read", &last).await;
    assert_eq!(counts(&alice, &room).await, (0, 0));
}
