//! `GET /ws`.

use conformance_tests::{Client, Options, Server, eventually, unique, v3};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::SERVER;

/// Two users in a room that the first one made.
async fn two(server: &Server) -> (Client, Client, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = room_of(&alice, &bob).await;
    (alice, bob, room)
}

async fn room_of(alice: &Client, bob: &Client) -> String {
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    room
}

#[tokio::test]
async fn it_is_refused_as_other_paths_are() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let handshake = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let ask = async |client: &Client, path: &str| client.raw(reqwest::Method::GET, path, &handshake, None).await;
    ask(&server.anonymous(), "/ws").await.refused(401, 1507);
    ask(&alice.with_token("nonsense"), "/ws").await.refused(401, 1505);
    ask(&alice, "/ws?since=s1_2_3").await.refused(400, 1001);
    ask(&alice, "/ws?since=1_2&since=1_2").await.refused(400, 1001);
    alice.get("/ws").await.refused(426, 1001);
    let path = format!("/ws?access_token={}", alice.access_token);
    assert_eq!(ask(&server.anonymous(), &path).await.status, 101);
}

#[tokio::test]
async fn all_devices_are_told_of_messages_whichever_api_sent_them() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let group = room_of(&alice, &bob).await;
    let tablet = server.new_device(&bob).await;
    let mut pushes = [bob.push(None).await, tablet.push(None).await, alice.push(None).await];
    let event_id = alice.send_text(&group, "by Matrix").await;
    let sent = json!({ "group_id": group, "text": "by LinkIM" });
    let number = alice.post("/message/group/send", sent).await.done()["lastMsgId"].clone();
    for push in &mut pushes {
        let first = push.until("message").await;
        assert_eq!((&first["event_id"], &first["room_id"]), (&json!(event_id), &json!(group)));
        assert_eq!(first["matrix_id"], json!(alice.user_id));
        assert_eq!((&first["body"]["kind"], &first["body"]["content"]), (&json!(1), &json!("by Matrix")));
        assert_eq!(first["body"]["event_content"]["msgtype"], "m.text");
        assert_eq!(first["message_id"].as_i64().map(|it| json!(it.to_string())), Some(first["message_id_str"].clone()));
        let second = push.until("message").await;
        assert_eq!((&second["message_id"], &second["body"]["content"]), (&number, &json!("by LinkIM")));
    }
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_gets_nothing_twice() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let other = room_of(&alice, &bob).await;
    let mut push = bob.push(None).await;
    alice.send_text(&room, "1").await;
    push.said_until("1").await;
    let position = push.position.clone();
    drop(push);
    alice.send_text(&other, "2").await;
    let third = room_of(&alice, &bob).await;
    alice.send_text(&third, "3").await;
    alice.send_text(&room, "4").await;
    let mut push = bob.push(Some(&position)).await;
    alice.send_text(&other, "5").await;
    assert_eq!(push.said_until("5").await, ["2", "3", "4", "5"]);
    // As often as it is asked, and from any frame.
    for since in [position, push.position.clone()] {
        let all = bob.push(Some(&since)).await.up_to_now().await;
        let all = all.iter().filter(|frame| frame["type"] == "message").count();
        assert_eq!(all, if since == push.position { 0 } else { 4 });
    }
}

#[tokio::test]
async fn each_frame_of_a_long_absence_is_a_place_to_go_on_from() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let other = room_of(&alice, &bob).await;
    let mut push = bob.push(None).await;
    push.up_to_now().await;
    let mut since = push.position.clone();
    drop(push);
    let mut wanted = Vec::new();
    for n in 0..130 {
        for room in [&room, &other] {
            alice.send_text(room, &format!("{n} {room}")).await;
            wanted.push(format!("{n} {room}"));
        }
        alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, alice.send_text(&room, "r").await), json!({})).await.ok();
        wanted.push("r".into());
    }
    let mut got = Vec::new();
    // A connection that breaks after every few frames.
    while got.len() < wanted.len() {
        let mut push = bob.push(Some(&since)).await;
        for _ in 0..37.min(wanted.len() - got.len()) {
            got.push(push.until("message").await["body"]["content"].as_str().unwrap().to_owned());
        }
        since = push.position.clone();
    }
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn a_crash_takes_nothing_and_doubles_nothing() {
    let mut server = Server::start(Options::default());
    let (alice, bob, room) = two(&server).await;
    let mut push = bob.push(None).await;
    alice.send_text(&room, "1").await;
    push.said_until("1").await;
    alice.send_text(&room, "2").await;
    let position = push.position.clone();
    server.kill9();
    server.restart();
    let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    alice.send_text(&room, "3").await;
    let mut push = bob.push(Some(&position)).await;
    alice.send_text(&room, "4").await;
    assert_eq!(push.said_until("4").await, ["2", "3", "4"]);
}

#[tokio::test]
async fn a_place_that_is_not_ours_has_the_client_load_anew() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let mut push = bob.push(Some("9007199254740000_1")).await;
    assert_eq!(push.until("resync").await["reason"], "unknown_position");
    alice.send_text(&room, "after").await;
    assert_eq!(push.said_until("after").await, ["after"]);
}

#[tokio::test]
async fn withdrawals_edits_and_restorations_name_the_message() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let mut push = bob.push(None).await;
    let event_id = alice.send_text(&room, "one").await;
    let number = push.until("message").await["message_id"].clone();
    let edit = json!({ "msgtype": "m.text", "body": "* two", "m.new_content": { "msgtype": "m.text", "body": "two" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event_id } });
    alice.send(&room, "m.room.message", edit).await;
    let edited = push.until("edit").await;
    assert_eq!((&edited["message_id"], &edited["event_id"]), (&number, &json!(event_id)));
    assert_eq!(edited["body"]["content"], "two");
    alice.put("/message/group/withdraw", json!({ "group_id": room, "message_id": number })).await.done();
    let withdrawn = push.until("withdraw").await;
    assert_eq!((&withdrawn["message_id"], &withdrawn["event_id"]), (&number, &json!(event_id)));
    let restore = json!({ "group_id": room, "message_id": number, "new_text": "three" });
    alice.put("/message/group/unwithdraw", restore).await.done();
    let restored = push.until("restore").await;
    assert_eq!((&restored["message_id"], &restored["body"]["content"]), (&number, &json!("three")));
    // By Matrix, too, and again to who comes back.
    let position = push.position.clone();
    let second = alice.send_text(&room, "four").await;
    alice.redact(&room, &second, json!({})).await;
    assert_eq!(push.until("withdraw").await["event_id"], json!(second));
    let frames = bob.push(Some(&position)).await.up_to_now().await;
    let kinds: Vec<&str> =
        frames.iter().filter(|it| it["position"].is_string()).filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(kinds, ["withdraw", "pong"], "what was withdrawn is not shown any more");
}

#[tokio::test]
async fn receipts_typing_and_presence_are_told() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let mut push = alice.push(None).await;
    let event_id = alice.send_text(&room, "one").await;
    let number = push.until("message").await["message_id"].clone();
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    let read = push.until("read").await;
    assert_eq!((&read["matrix_id"], &read["message_id"]), (&json!(bob.user_id), &number));
    bob.put(&v3!("/rooms/{}/typing/{}", room, bob.user_id), json!({ "typing": true, "timeout": 30000 })).await.ok();
    let typing = push.wait_for(|frame| frame["type"] == "typing").await;
    assert_eq!((&typing["position"], &typing["data"]["users"][0]["matrix_id"]), (&Value::Null, &json!(bob.user_id)));
    // Who opens a connection is told who types, and is online.
    let mut second = bob.push(None).await;
    assert_eq!(second.until("typing").await["users"][0]["matrix_id"], json!(bob.user_id));
    let online = |frame: &Value| {
        frame["type"] == "presence"
            && frame["data"]["matrix_id"] == *bob.user_id
            && frame["data"]["presence"] == "online"
    };
    push.wait_for(online).await;
    // A private receipt is the reader's alone, on all devices.
    let last = alice.send_text(&room, "two").await;
    second.until("message").await;
    push.until("message").await;
    bob.post(&v3!("/rooms/{}/receipt/m.read.private/{}", room, last), json!({})).await.ok();
    let own = second.until("read").await;
    assert_eq!((&own["event_id"], &own["private"]), (&json!(last), &json!(true)));
    let frames = push.up_to_now().await;
    assert!(frames.iter().all(|frame| frame["type"] != "read"), "{frames:?}");
}

#[tokio::test]
async fn invitations_and_changes_of_rooms_are_told() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let mut push = bob.push(None).await;
    alice.set_state(&room, "m.room.name", "", json!({ "name": "Plans" })).await;
    let named = push.until("group").await;
    assert_eq!((&named["event_type"], &named["event_content"]["name"]), (&json!("m.room.name"), &json!("Plans")));
    let direct = json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [bob.user_id] });
    let direct = alice.create_room(direct).await;
    let asked = push.wait_for(|frame| frame["data"]["room_id"] == *direct).await;
    assert_eq!((&asked["type"], &asked["data"]["state_key"]), (&json!("friend"), &json!(bob.user_id)));
    assert_eq!(asked["data"]["event_content"]["membership"], "invite");
    // Who was removed is told so, and nothing further.
    let position = push.position.clone();
    alice.kick(&room, &bob).await;
    alice.send_text(&room, "without bob").await;
    let kicked = push.until("group").await;
    assert_eq!(kicked["event_content"]["membership"], "leave");
    for mut push in [push, bob.push(Some(&position)).await] {
        let frames = push.up_to_now().await;
        assert!(frames.iter().all(|frame| frame["type"] != "message"), "{frames:?}");
    }
}

#[tokio::test]
async fn ignored_users_are_not_heard() {
    let server = SERVER.get();
    let (alice, bob, room) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    carol.join(&room).await;
    let list = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    bob.put(&v3!("/user/{}/account_data/m.ignored_user_list", bob.user_id), list).await.ok();
    let mut push = bob.push(None).await;
    let event_id = alice.send_text(&room, "unheard").await;
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    alice.put(&v3!("/rooms/{}/typing/{}", room, alice.user_id), json!({ "typing": true, "timeout": 30000 })).await.ok();
    carol.send_text(&room, "heard").await;
    let mut seen = Vec::new();
    push.wait_for(|frame| {
        seen.push(frame.clone());
        frame["type"] == "message"
    })
    .await;
    assert_eq!(seen.pop().unwrap()["data"]["body"]["content"], "heard");
    let names_alice = |frame: &Value| frame.to_string().contains(&alice.user_id) && frame["type"] != "friend";
    assert!(!seen.iter().any(names_alice), "{seen:?}");
}

#[tokio::test]
async fn an_ended_session_is_told_why() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let other = server.new_device(&alice).await;
    let (mut first, mut second) = (alice.push(None).await, other.push(None).await);
    other.post(&v3!("/logout/all"), json!({})).await.ok();
    assert_eq!(first.until("kicked").await["reason"], "revoked");
    assert_eq!(first.closed().await, (4001, "revoked".to_owned()));
    assert_eq!(second.until("kicked").await["reason"], "logged_out");
    assert_eq!(second.closed().await.0, 4001);
    assert_eq!(alice.try_push(None, None).await.err(), Some(401));
}

#[tokio::test]
async fn a_user_has_twenty_connections() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(alice.push(None).await);
    }
    assert_eq!(alice.try_push(None, None).await.err(), Some(429));
    open.pop();
    eventually("a place is free", async || alice.try_push(None, None).await.ok()).await;
}

#[tokio::test]
async fn what_clients_may_send_is_bounded() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut push = alice.push(None).await;
    for wrong in [json!({ "type": "shout" }), json!({}), json!({ "type": "ack", "position": 5 })] {
        push.say(wrong).await;
        assert_eq!(push.until("error").await["errcode"], 1001);
    }
    push.say(json!({ "type": "ack", "position": "9007199254740000_1" })).await;
    assert_eq!(push.until("error").await["errcode"], 1001);
    let here = json!({ "type": "ack", "position": push.position });
    push.say(here).await;
    assert!(push.up_to_now().await.iter().all(|frame| frame["type"] != "error"));
    push.say(json!({ "type": "ping", "fill": "x".repeat(65_536) })).await;
    assert_eq!(push.closed().await.0, 1009);
    let mut push = alice.push(None).await;
    push.send(Message::binary(vec![1])).await;
    assert_eq!(push.closed().await.0, 1003);
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let mut server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let mut push = alice.push(None).await;
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    assert_eq!(push.closed().await.0, 1001);
    ended.await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_with_a_reason() {
    let server = Server::start(Options { metrics: true, ..Options::default() });
    let (alice, bob, room) = two(&server).await;
    let mut slow = bob.try_push(None, Some(4096)).await.unwrap();
    let metrics = Client::anonymous(server.metrics.as_ref().unwrap());
    let long = "x".repeat(60_000);
    // More than the buffers between the two hold; the server gives up after ten seconds without progress.
    let cut = async || metrics.get("/metrics").await.text.contains("linkim_ws_slow_clients_total 1");
    let start = std::time::Instant::now();
    let mut sent = 0;
    while !cut().await {
        assert!(start.elapsed() < std::time::Duration::from_secs(40), "not cut");
        alice.send_text(&room, &format!("{sent} {long}")).await;
        sent += 1;
    }
    let (mut frames, code, _) = slow.until_closed().await;
    assert_eq!(code, 4008);
    // It comes back where it was: nothing is missing, nothing twice.
    let mut back = bob.push(Some(&slow.position)).await;
    alice.send_text(&room, &format!("{sent} last")).await;
    back.wait_for(|frame| {
        frames.push(frame.clone());
        frame["data"]["body"]["content"].as_str().is_some_and(|content| content.ends_with("last"))
    })
    .await;
    let numbers = frames.iter().filter(|frame| frame["type"] == "message").map(|frame| {
        let content = frame["data"]["body"]["content"].as_str().unwrap();
        content.split(' ').next().unwrap().parse::<i32>().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), (0..=sent).collect::<Vec<_>>());
}
