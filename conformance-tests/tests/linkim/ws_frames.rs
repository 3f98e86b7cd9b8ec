//! Which frames `/ws` has for what happens to messages, groups and conversations.

use conformance_tests::{Client, Push, v3};
use serde_json::{Value, json};

use crate::{
    SERVER,
    groups::{Group, group, people},
};

/// The next frame of this type whose event is of this type.
async fn of_type(push: &mut Push, kind: &str, event_type: &str) -> Value {
    push.wait_for(|frame| frame["type"] == kind && frame["data"]["event_type"] == event_type).await["data"].take()
}

/// The next `conversation` frame that carries this account data: its content.
async fn setting(push: &mut Push, event_type: &str) -> (Value, Value) {
    let carries =
        |frame: &Value| frame["type"] == "conversation" && frame["data"]["account_data"][0]["event_type"] == event_type;
    let frame = push.wait_for(carries).await;
    assert!(frame["position"].is_string(), "{frame}");
    let data = &frame["data"];
    (data["room_id"].clone(), data["account_data"][0]["event_content"].clone())
}

/// Types and positions of frames that have one.
fn placed(frames: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let placed = frames.iter().filter(|frame| frame["position"].is_string() && frame["type"] != "pong");
    placed.map(|frame| (text(&frame["type"]), text(&frame["position"]))).collect()
}

#[tokio::test]
async fn reactions_name_the_message() {
    let server = SERVER.get();
    let [alice, bob] = people(&server, ["alice", "bob"]).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut push = alice.push(None).await;
    let event_id = alice.send_text(&room, "one").await;
    let message = push.until("message").await;
    let since = push.position.clone();
    let of = |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event_id, "key": key } });
    let reaction = bob.send(&room, "m.reaction", of("👍")).await;
    let given = push.until("reaction").await;
    assert_eq!((&given["message_id"], &given["event_id"]), (&message["message_id"], &json!(event_id)));
    assert_eq!((&given["key"], &given["removed"]), (&json!("👍"), &json!(false)));
    assert_eq!((&given["matrix_id"], &given["reaction_id"]), (&json!(bob.user_id), &json!(reaction)));
    bob.redact(&room, &reaction, json!({})).await;
    let taken = push.until("reaction").await;
    assert_eq!((&taken["message_id"], &taken["event_id"]), (&message["message_id"], &json!(event_id)));
    assert_eq!((&taken["removed"], &taken["reaction_id"]), (&json!(true), &json!(reaction)));
    assert_eq!(taken["key"], Value::Null);
    // Of something that is no message, or without a key, there is nothing to tell.
    let nothing = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": reaction, "key": "x" } });
    bob.send(&room, "m.reaction", nothing).await;
    bob.send(&room, "m.reaction", json!({})).await;
    bob.send(&room, "m.reaction", of("👎")).await;
    assert_eq!(push.until("reaction").await["key"], "👎");
    // Who comes back does not hear of a reaction that was taken back, but of its taking back.
    let frames = alice.push(Some(&since)).await.up_to_now().await;
    let removed: Vec<&Value> =
        frames.iter().filter(|it| it["type"] == "reaction").map(|it| &it["data"]["removed"]).collect();
    assert_eq!(removed, [true, false]);
}

#[tokio::test]
async fn calls_are_told_with_what_they_say() {
    let server = SERVER.get();
    let [alice, bob] = people(&server, ["alice", "bob"]).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut push = bob.push(None).await;
    let invite = json!({ "call_id": "c1", "party_id": "p1", "version": "1", "lifetime": 60000,
        "offer": { "type": "offer", "sdp": "v=0" } });
    alice.send(&room, "m.call.invite", invite.clone()).await;
    let call = of_type(&mut push, "call", "m.call.invite").await;
    assert_eq!((&call["event_content"], &call["matrix_id"]), (&invite, &json!(alice.user_id)));
    let since = push.position.clone();
    alice.send(&room, "m.call.hangup", json!({ "call_id": "c1", "party_id": "p1", "version": "1" })).await;
    for mut push in [push, bob.push(Some(&since)).await] {
        assert_eq!(of_type(&mut push, "call", "m.call.hangup").await["event_content"]["call_id"], "c1");
    }
    // Who ignores the caller is not rung.
    let list = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    bob.put(&v3!("/user/{}/account_data/m.ignored_user_list", bob.user_id), list).await.ok();
    let mut push = bob.push(None).await;
    alice.send(&room, "m.call.invite", invite).await;
    let frames = push.up_to_now().await;
    assert!(frames.iter().all(|frame| frame["type"] != "call"), "{frames:?}");
}

#[tokio::test]
async fn other_devices_follow_the_settings_of_a_conversation() {
    let server = SERVER.get();
    let [alice, bob] = people(&server, ["alice", "bob"]).await;
    let room = bob.create_room(json!({ "preset": "public_chat" })).await;
    alice.join(&room).await;
    let tablet = server.new_device(&bob).await;
    let (mut push, mut others) = (tablet.push(None).await, alice.push(None).await);
    let since = push.position.clone();
    let set = async |path: &str, key: &str, value: Value| {
        bob.put(path, json!({ "group_id": room, key: value })).await.done();
    };
    set("/conversation/pin", "pinned", json!(true)).await;
    let (of, tags) = setting(&mut push, "m.tag").await;
    assert_eq!((of, &tags["tags"]["m.favourite"]), (json!(room), &json!({})));
    set("/conversation/draft", "text", json!("half a thou")).await;
    assert_eq!(setting(&mut push, "org.linkim.draft").await.1["text"], "half a thou");
    set("/conversation/mark_unread", "unread", json!(true)).await;
    assert_eq!(setting(&mut push, "m.marked_unread").await.1["unread"], true);
    set("/conversation/hide", "hidden", json!(true)).await;
    assert!(setting(&mut push, "org.linkim.hidden").await.1["until_seq"].is_i64());
    set("/conversation/recv_opt", "recv_opt", json!(1)).await;
    assert_eq!(setting(&mut push, "org.linkim.recv_opt").await.1["recv_opt"], 1);
    bob.put("/conversation/clear", json!({ "group_id": room })).await.done();
    assert!(setting(&mut push, "org.linkim.history_floor").await.1["until_seq"].is_i64());
    set("/conversation/mute", "muted", json!(true)).await;
    let rules =
        push.wait_for(|frame| frame["data"]["account_data"][0]["event_content"].to_string().contains(&room)).await;
    assert_eq!((&rules["type"], &rules["data"]["room_id"]), (&json!("conversation"), &Value::Null));
    assert_eq!(rules["data"]["account_data"][0]["event_type"], "m.push_rules");
    // By a plain client, too.
    let tag = v3!("/user/{}/rooms/{}/tags/m.lowpriority", bob.user_id, room);
    bob.put(&tag, json!({})).await.ok();
    assert!(setting(&mut push, "m.tag").await.1["tags"]["m.lowpriority"].is_object());
    // A device that comes back hears the newest of each, in the order of places.
    let told = placed(&tablet.push(Some(&since)).await.up_to_now().await);
    assert!(told.iter().all(|(kind, _)| kind == "conversation"), "{told:?}");
    let places: Vec<i64> = told.iter().map(|(_, at)| at.split('_').next().unwrap().parse().unwrap()).collect();
    assert!(places.is_sorted(), "{told:?}");
    assert!((7..=8).contains(&told.len()), "{told:?}");
    // Nobody else.
    let frames = others.up_to_now().await;
    assert!(frames.iter().all(|frame| frame["type"] != "conversation"), "{frames:?}");
}

async fn announce(by: &Client, group: &Group, text: &str, edit: bool) -> Value {
    let body = json!({ "group_id": group.id, "new_notice": text, "must_confirm": true, "edit": edit });
    by.put("/group/notice", body).await.done()["detail"].clone()
}

#[tokio::test]
async fn announcements_are_told_when_they_are_made_edited_and_confirmed() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let (mut push, mut owners) = (bob.push(None).await, alice.push(None).await);
    let since = push.position.clone();
    let made = announce(&alice, &group, "Moving", false).await;
    for push in [&mut push, &mut owners] {
        let told = of_type(push, "announcement", "org.linkim.group.notice").await;
        assert_eq!((&told["event_content"]["text"], &told["group_id"]), (&json!("Moving"), &json!(group.id)));
        assert_eq!(told["event_content"]["event_id"], made["event_id"]);
    }
    announce(&alice, &group, "Staying", true).await;
    let told = of_type(&mut push, "announcement", "org.linkim.group.notice").await;
    assert_eq!(told["event_content"]["text"], "Staying");
    bob.post("/group/notice/confirm", json!({ "group_id": group.id })).await.done();
    let told = of_type(&mut owners, "announcement", "org.linkim.group.confirm").await;
    assert_eq!((&told["matrix_id"], &told["room_id"]), (&json!(bob.user_id), &json!(group.room)));
    // All of it again, to who comes back; what the frames say is enough to follow.
    let mut back = bob.push(Some(&since)).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts
            .push(of_type(&mut back, "announcement", "org.linkim.group.notice").await["event_content"]["text"].clone());
    }
    assert_eq!(texts, ["Moving", "Staying"]);
    of_type(&mut back, "announcement", "org.linkim.group.confirm").await;
}

#[tokio::test]
async fn groups_tell_of_roles_mutes_and_their_end() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let mut push = carol.push(None).await;
    let since = push.position.clone();
    let on_bob = json!({ "group_id": group.id, "user_id": bob.user_id });
    alice.put("/group/promote/admin", on_bob.clone()).await.done();
    let levels = of_type(&mut push, "group", "m.room.power_levels").await;
    assert_eq!(levels["event_content"]["users"][&bob.user_id], 50);
    assert_eq!((&levels["group_id"], &levels["thread_type"]), (&json!(group.id), &json!("group")));
    alice.put("/group/demote/member", on_bob).await.done();
    of_type(&mut push, "group", "m.room.power_levels").await;
    let mute = json!({ "group_id": group.id, "user_id": bob.user_id, "seconds": 600 });
    alice.put("/group/mute/member", mute).await.done();
    let muted = of_type(&mut push, "group", "org.linkim.group.mute").await;
    assert_eq!(muted["state_key"], format!("_{}", bob.user_id));
    assert!(muted["event_content"]["until_ts"].is_i64(), "{muted}");
    alice.put("/group/name", json!({ "group_id": group.id, "new_name": "Crew" })).await.done();
    assert_eq!(of_type(&mut push, "group", "m.room.name").await["event_content"]["name"], "Crew");
    alice.delete("/group/dissolve", Some(json!({ "group_id": group.id }))).await.done();
    // Also who was away at the end hears of it.
    for mut push in [push, carol.push(Some(&since)).await] {
        let gone = |frame: &Value| {
            frame["data"]["event_type"] == "m.room.member"
                && frame["data"]["state_key"] == *carol.user_id
                && frame["data"]["event_content"]["membership"] == "leave"
        };
        let mut before = Vec::new();
        let last = push
            .wait_for(|frame| {
                before.push(frame["data"]["event_type"].clone());
                gone(frame)
            })
            .await;
        assert_eq!((&last["type"], &last["data"]["room_id"]), (&json!("group"), &json!(group.room)));
        assert!(before.contains(&json!("org.linkim.group.status")), "{before:?}");
    }
}
