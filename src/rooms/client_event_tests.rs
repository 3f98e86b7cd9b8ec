//! Events as clients are shown them, in rooms of versions 10, 11 and 12.

use serde_json::{Value, json};

use super::*;
use crate::rooms::{
    append::Appended,
    reading_fixture::{EPOCH, Room, fixture, user},
    timeline,
};

async fn shown(room: &Room<'_>, viewer: &Viewer, shape: Shape, event: &Appended) -> Value {
    let id = event.event_id.clone();
    let text = room
        .look(viewer, shape, move |open| {
            let event = timeline::visible(open, &id)?;
            let mut out = String::new();
            open.renderer.event(&event, &mut out)?;
            Ok(out)
        })
        .await
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_fields_of_each_shape() {
    for version in ["10", "11", "12"] {
        let f = fixture();
        let room = f.room(version, None).await;
        let alice = f.viewer("alice").await;
        let said = room.say("alice", "hello \"you\" ☃").await;
        let event = shown(&room, &alice, Shape::ClientWithRoom, &said).await;
        assert_eq!(keys(&event), ["content", "event_id", "origin_server_ts", "room_id", "sender", "type", "unsigned"]);
        assert_eq!(event["content"], json!({ "msgtype": "m.text", "body": "hello \"you\" ☃" }));
        assert_eq!(event["event_id"], said.event_id.as_str());
        assert_eq!(event["room_id"], room.key.room_id.as_str());
        assert_eq!(event["sender"], "@alice:a.example");
        assert_eq!(event["type"], "m.room.message");
        let age = EPOCH - event["origin_server_ts"].as_i64().unwrap();
        assert_eq!(event["unsigned"], json!({ "age": age, "membership": "join" }));

        let plain = shown(&room, &alice, Shape::Client, &said).await;
        assert!(plain.get("room_id").is_none());

        let federation = shown(&room, &alice, Shape::Federation, &said).await;
        assert_eq!(
            keys(&federation),
            [
                "auth_events",
                "content",
                "depth",
                "hashes",
                "origin_server_ts",
                "prev_events",
                "room_id",
                "sender",
                "signatures",
                "type",
                "unsigned"
            ],
            "version {version}"
        );
    }
}

/// A create event of version 12 names no room; clients are told it all the same.
#[tokio::test]
async fn the_create_event_has_its_room() {
    for version in ["11", "12"] {
        let f = fixture();
        let room = f.room(version, None).await;
        let alice = f.viewer("alice").await;
        let event = shown(&room, &alice, Shape::ClientWithRoom, &room.first[0]).await;
        assert_eq!(event["type"], "m.room.create");
        assert_eq!(event["state_key"], "");
        assert_eq!(event["room_id"], room.key.room_id.as_str());
        assert_eq!(event["event_id"].as_str().unwrap()[1..] == room.key.room_id.as_str()[1..], version == "12");
    }
}

/// `redacts` at the top level and in the content, in every version; `redacted_because` on what was redacted.
#[tokio::test]
async fn redactions() {
    for version in ["10", "11", "12"] {
        let f = fixture();
        let room = f.room(version, None).await;
        let alice = f.viewer("alice").await;
        let said = room.say("alice", "secret").await;
        let redaction = room.redact("alice", &said.event_id).await;
        let event = shown(&room, &alice, Shape::ClientWithRoom, &redaction).await;
        assert_eq!(event["redacts"], said.event_id.as_str(), "version {version}");
        assert_eq!(event["content"], json!({ "reason": "spam", "redacts": said.event_id }));

        let redacted = shown(&room, &alice, Shape::Client, &said).await;
        assert_eq!(redacted["content"], json!({}));
        let because = &redacted["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction.event_id.as_str());
        assert_eq!(because["redacts"], said.event_id.as_str());
        assert!(because.get("room_id").is_none());
    }
}

#[tokio::test]
async fn what_state_replaced() {
    let f = fixture();
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    room.member("bob", "bob", "join").await;
    let first = room.set("bob", "m.room.topic", "", json!({ "topic": "one" })).await;
    let second = room.set("alice", "m.room.topic", "", json!({ "topic": "two" })).await;
    let event = shown(&room, &alice, Shape::Client, &first).await;
    assert!(event["unsigned"].get("replaces_state").is_none());
    let event = shown(&room, &alice, Shape::Client, &second).await;
    assert_eq!(event["unsigned"]["prev_content"], json!({ "topic": "one" }));
    assert_eq!(event["unsigned"]["prev_sender"], "@bob:a.example");
    assert_eq!(event["unsigned"]["replaces_state"], first.event_id.as_str());
}

#[tokio::test]
async fn transaction_ids_are_the_devices_own() {
    let f = fixture();
    let room = f.room("12", None).await;
    let mut alice = f.viewer("alice").await;
    let said = room.send_from("alice", DeviceNid(7), "txn \"1\"").await;
    for (device, expected) in [(None, None), (Some(DeviceNid(8)), None), (Some(DeviceNid(7)), Some("txn \"1\""))] {
        alice.device = device;
        let event = shown(&room, &alice, Shape::Client, &said).await;
        assert_eq!(event["unsigned"].get("transaction_id").and_then(Value::as_str), expected);
    }
}

#[tokio::test]
async fn the_latest_valid_edit_is_bundled() {
    let f = fixture();
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    room.member("bob", "bob", "join").await;
    let said = room.say("alice", "one").await;
    let event = shown(&room, &alice, Shape::Client, &said).await;
    assert!(event["unsigned"].get("m.relations").is_none());
    room.relate("alice", "m.replace", &said.event_id, "two").await;
    let third = room.relate("alice", "m.replace", &said.event_id, "three").await;
    // None of these is an edit: another's, of another type, without new content, an annotation.
    room.relate("bob", "m.replace", &said.event_id, "bob's").await;
    let relates_to = json!({ "rel_type": "m.replace", "event_id": said.event_id });
    room.send("alice", "m.sticker", json!({ "m.relates_to": relates_to, "m.new_content": {} })).await;
    room.send("alice", "m.room.message", json!({ "body": "x", "m.relates_to": relates_to })).await;
    let event = shown(&room, &alice, Shape::ClientWithRoom, &said).await;
    assert_eq!(keys(&event["unsigned"]["m.relations"]), ["m.replace"]);
    let edit = &event["unsigned"]["m.relations"]["m.replace"];
    assert_eq!(edit["event_id"], third.event_id.as_str());
    assert_eq!(edit["content"]["m.new_content"]["body"], "three");
    assert_eq!(event["content"]["body"], "one", "the content of the original is left intact");
    // An edit of an edit is none.
    room.relate("alice", "m.replace", &third.event_id, "four").await;
    let event = shown(&room, &alice, Shape::Client, &third).await;
    assert!(event["unsigned"].get("m.relations").is_none());
    // Redacting the latest reverts to the one before; redacting the original ends it.
    room.redact("alice", &third.event_id).await;
    let event = shown(&room, &alice, Shape::Client, &said).await;
    assert_eq!(event["unsigned"]["m.relations"]["m.replace"]["content"]["body"], "two");
    room.redact("alice", &said.event_id).await;
    let event = shown(&room, &alice, Shape::Client, &said).await;
    assert!(event["unsigned"].get("m.relations").is_none());
}

#[tokio::test]
async fn threads_and_references_are_bundled() {
    let f = fixture();
    let room = f.room("12", None).await;
    let (alice, bob, carol) = (f.viewer("alice").await, f.viewer("bob").await, f.viewer("carol").await);
    for name in ["bob", "carol"] {
        room.member(name, name, "join").await;
    }
    let root = room.say("alice", "root").await;
    room.relate("bob", "m.thread", &root.event_id, "1").await;
    let last = room.relate("bob", "m.thread", &root.event_id, "2").await;
    let edit = room.relate("bob", "m.replace", &last.event_id, "2b").await;
    let gone = room.relate("bob", "m.thread", &root.event_id, "3").await;
    room.redact("bob", &gone.event_id).await;
    let reference = room.relate("carol", "m.reference", &root.event_id, "see").await;
    for (viewer, took_part) in [(&alice, true), (&bob, true), (&carol, false)] {
        let event = shown(&room, viewer, Shape::Client, &root).await;
        let relations = &event["unsigned"]["m.relations"];
        assert_eq!(keys(relations), ["m.reference", "m.thread"]);
        assert_eq!(relations["m.reference"], json!({ "chunk": [{ "event_id": reference.event_id }] }));
        let thread = &relations["m.thread"];
        assert_eq!(thread["count"], 2);
        assert_eq!(thread["current_user_participated"], took_part, "{}", viewer.user_id);
        assert_eq!(thread["latest_event"]["event_id"], last.event_id.as_str());
        assert_eq!(thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit.event_id.as_str());
    }
    ignore(&f, &carol, "bob").await;
    let event = shown(&room, &carol, Shape::Client, &root).await;
    assert_eq!(keys(&event["unsigned"]["m.relations"]), ["m.reference"]);
}

/// Somebody who left is told nothing of what came later.
#[tokio::test]
async fn bundles_end_with_the_viewers_leaving() {
    let f = fixture();
    let room = f.room("12", None).await;
    let bob = f.viewer("bob").await;
    room.member("bob", "bob", "join").await;
    let root = room.say("alice", "root").await;
    let seen = room.relate("alice", "m.thread", &root.event_id, "1").await;
    room.member("bob", "bob", "leave").await;
    room.relate("alice", "m.thread", &root.event_id, "2").await;
    room.relate("alice", "m.replace", &root.event_id, "root 2").await;
    room.relate("alice", "m.reference", &root.event_id, "3").await;
    let event = shown(&room, &bob, Shape::Client, &root).await;
    let relations = &event["unsigned"]["m.relations"];
    assert_eq!(keys(relations), ["m.thread"]);
    assert_eq!(relations["m.thread"]["count"], 1);
    assert_eq!(relations["m.thread"]["latest_event"]["event_id"], seen.event_id.as_str());
}

/// Of an erased user, those who were not in the room at the time see the redacted form.
#[tokio::test]
async fn erased_senders() {
    let f = fixture();
    let room = f.room("12", None).await;
    let (alice, carol) = (f.viewer("alice").await, f.viewer("carol").await);
    room.member("bob", "bob", "join").await;
    let said = room.say("bob", "mine").await;
    room.member("carol", "carol", "join").await;
    let bob = f.viewer("bob").await;
    f.store
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "INSERT INTO accounts (user, kind, created_ts, erased) VALUES (?1, 0, 0, 1)",
                crate::params![bob.user],
            )
        })
        .await
        .unwrap();
    let event = shown(&room, &alice, Shape::Client, &said).await;
    assert_eq!(event["content"]["body"], "mine");
    let event = shown(&room, &carol, Shape::Client, &said).await;
    assert_eq!((&event["content"], &event["type"]), (&json!({}), &json!("m.room.message")));
}

#[tokio::test]
async fn stripped_state_has_four_fields() {
    let f = fixture();
    let room = f.room("12", None).await;
    let topic = room.set("alice", "m.room.topic", "", json!({ "topic": "t" })).await;
    let text =
        f.store.read::<_, StoreError, _>(move |read| stripped(read, &events::by_nid(read, topic.nid)?)).await.unwrap();
    let event: Value = serde_json::from_str(text.get()).unwrap();
    assert_eq!(
        event,
        json!({ "content": { "topic": "t" }, "sender": user("alice"), "state_key": "", "type": "m.room.topic" })
    );
}

async fn ignore(f: &crate::rooms::reading_fixture::Fixture, viewer: &Viewer, whom: &str) {
    let (user_nid, list) = (viewer.user, json!({ "ignored_users": { user(whom).as_str(): {} } }).to_string());
    f.store
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "INSERT INTO account_data (user, room, type, content, position) \
                 VALUES (?1, 0, 'm.ignored_user_list', ?2, 1)",
                crate::params![user_nid, &list],
            )
        })
        .await
        .unwrap();
}
