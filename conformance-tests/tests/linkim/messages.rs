//! Sending, history, editing, withdrawing and restoring, each also seen from a plain Matrix client.

use conformance_tests::{Client, Options, Server, path, timeline, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// Two users of one server.
pub(crate) async fn two(server: &Server) -> (Client, Client) {
    (server.register(&unique("alice")).await, server.register(&unique("bob")).await)
}

/// Sends a text to somebody; gives the reply.
pub(crate) async fn say(from: &Client, to: &Client, text: &str) -> Value {
    from.post("/message/send", json!({ "the_other_person_id": to.user_id, "text": text })).await.done()
}

/// Makes a group; gives the reply of `/group/create`.
pub(crate) async fn group(owner: &Client, others: &[&Client]) -> Value {
    let users: Vec<&str> = others.iter().map(|user| user.user_id.as_str()).collect();
    owner.post("/group/create", json!({ "user_ids": users, "group_name": "Tea" })).await.done()
}

/// The history with somebody, newest first.
pub(crate) async fn history(of: &Client, with: &Client) -> Vec<Value> {
    let page = of.get(&path!("/conversation/get?the_other_person_id={}&page_size=200", with.user_id)).await.done();
    page["detail"]["Messages"].as_array().unwrap_or_else(|| panic!("no messages in {page}")).clone()
}

/// The texts of messages.
pub(crate) fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["Content"].as_str().expect("a content")).collect()
}

fn number(reply: &Value, key: &str) -> i64 {
    reply[key].as_i64().unwrap_or_else(|| panic!("no {key} in {reply}"))
}

#[tokio::test]
async fn a_text_is_an_event_in_the_room_of_the_two() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let bob_number = bob.number().await;
    let reply = alice
        .post(
            "/message/send",
            json!({ "user_id": alice.number().await, "the_other_person_id": bob_number, "text": "hi", "platform": 1 }),
        )
        .await
        .done();
    assert_eq!(reply["message"], "send message ok");
    let room = reply["room_id"].as_str().unwrap();
    let event = bob.event(room, reply["event_id"].as_str().unwrap()).await;
    assert_eq!((&event["sender"], &event["content"]["body"]), (&json!(alice.user_id), &json!("hi")));
    assert_eq!(event["content"]["msgtype"], "m.text");
    // And the other way: what Matrix sends is in the history, in the same conversation.
    let answer = bob.send_text(room, "hello").await;
    let messages = history(&alice, &bob).await;
    assert_eq!(texts(&messages), ["hello", "hi"]);
    assert_eq!((&messages[0]["event_id"], &messages[0]["Sender"]), (&json!(answer), &json!(bob_number)));
    let again = say(&bob, &alice, "again").await;
    assert_eq!((&again["thread_id"], &again["room_id"]), (&reply["thread_id"], &reply["room_id"]));
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_is_refused() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let to = |more: Value| {
        let mut body = json!({ "the_other_person_id": bob.user_id, "text": "hi" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let send = |body: Value| alice.post("/message/send", body);
    server.anonymous().post("/message/send", to(json!({}))).await.refused(401, 1507);
    send(to(json!({ "user_id": bob.user_id }))).await.refused(403, 1002);
    send(to(json!({ "the_other_person_id": "@nobody:a.example" }))).await.refused(404, 1101);
    send(to(json!({ "the_other_person_id": alice.user_id }))).await.refused(400, 1301);
    send(json!({ "text": "hi" })).await.refused(400, 1001);
    send(json!({ "the_other_person_id": bob.user_id })).await.refused(400, 1001);
    for text in ["", "  ", "\n\u{3000}"] {
        send(to(json!({ "text": text }))).await.refused(400, 1001);
    }
    send(to(json!({ "kind": 2 }))).await.refused(400, 1001);
    send(to(json!({ "kind": 4 }))).await.refused(400, 1001);
    send(to(json!({ "kind": 2, "url": "https://a.example/cat.png" }))).await.refused(400, 1001);
    send(to(json!({ "client_msg_id": "" }))).await.refused(400, 1001);
    send(to(json!({ "client_msg_id": "x".repeat(256) }))).await.refused(400, 1001);
    send(to(json!({ "at_user_ids": ["@nobody:a.example"] }))).await.refused(404, 1101);
    send(to(json!({ "quote_message_id": 1 }))).await.refused(404, 1004);
    assert_eq!(history(&alice, &bob).await.len(), 0, "nothing of it was sent");
}

#[tokio::test]
async fn a_group_hears_its_members_alone() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let mallory = server.register(&unique("mallory")).await;
    let made = group(&alice, &[&bob, &carol]).await;
    let (id, room) = (&made["groupID"], made["room_id"].as_str().unwrap());
    let sent = bob.post("/message/group/send", json!({ "group_id": id, "text": "tea?" })).await.done();
    assert_eq!(alice.event(room, sent["event_id"].as_str().unwrap()).await["content"]["body"], "tea?");
    let get = |who: &Client| {
        let who = who.clone();
        let path = path!("/conversation/group/get?group_id={}&page_size=5", id.as_str().unwrap());
        async move { who.get(&path).await }
    };
    let page = get(&carol).await.done();
    assert_eq!(page["msg"], "load messages successfully");
    assert_eq!(page["data"]["Messages"][0]["Content"], "tea?");
    assert_eq!(page["data"]["Unread"], 1);
    mallory.post("/message/group/send", json!({ "group_id": id, "text": "me too" })).await.refused(403, 1203);
    get(&mallory).await.refused(403, 1203);
    let nothing = "00000000-0000-8000-8000-000000000000";
    alice.post("/message/group/send", json!({ "group_id": nothing, "text": "?" })).await.refused(404, 1201);
    alice.get(&path!("/conversation/group/get?group_id={}", nothing)).await.refused(404, 1201);
    // As the old clients ask.
    let page = carol.get_with_body("/conversation/group/get", json!({ "group_id": id, "page_num": 1 })).await.done();
    assert_eq!(page["data"]["Messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn mentions_quotes_and_files_are_what_matrix_has_for_them() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let first = say(&alice, &bob, "which?").await;
    let room = first["room_id"].as_str().unwrap();
    let body = json!({
        "the_other_person_id": alice.user_id, "text": "this", "at_user_ids": [alice.number().await],
        "quote_message_id": first["lastMsgId"],
    });
    let sent = bob.post("/message/send", body).await.done();
    let event = alice.event(room, sent["event_id"].as_str().unwrap()).await;
    assert_eq!(event["content"]["m.mentions"], json!({ "user_ids": [alice.user_id] }));
    assert_eq!(event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"], first["event_id"]);
    let uploaded = alice
        .raw(
            reqwest::Method::POST,
            "/media/upload?filename=cat.png",
            &[("content-type", "image/png")],
            Some(b"not really a cat".to_vec()),
        )
        .await
        .done();
    let mxc = uploaded["mxc"].as_str().unwrap();
    let served = alice.get(uploaded["url"].as_str().unwrap()).await;
    assert_eq!((served.status, served.bytes.as_slice()), (200, b"not really a cat".as_slice()));
    for url in ["mxc", "url"] {
        let body = json!({
            "the_other_person_id": bob.user_id, "kind": 2, "url": uploaded[url], "file_name": "cat.png", "size": 16,
            "media_type": "image/png",
        });
        let sent = alice.post("/message/send", body).await.done();
        let event = bob.event(room, sent["event_id"].as_str().unwrap()).await;
        assert_eq!((&event["content"]["msgtype"], &event["content"]["url"]), (&json!("m.image"), &json!(mxc)));
        assert_eq!(event["content"]["info"], json!({ "mimetype": "image/png", "size": 16 }));
    }
    let newest = &history(&bob, &alice).await[0];
    assert_eq!((&newest["Kind"], &newest["Content"], &newest["Body"]), (&json!(2), &json!(mxc), &json!("cat.png")));
    server.anonymous().post("/media/upload", json!({})).await.refused(401, 1507);
    alice.post("/media/upload?filename=a&filename=b", json!({})).await.refused(400, 1001);
}

#[tokio::test]
async fn mentioning_everybody_is_for_who_may() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let id = group(&alice, &[&bob, &carol]).await["groupID"].clone();
    let all = json!({ "group_id": id, "text": "all!", "at_all": true });
    bob.post("/message/group/send", all.clone()).await.refused(403, 1002);
    alice.post("/message/group/send", all).await.done();
}

#[tokio::test]
async fn an_edit_keeps_the_number() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let sent = say(&alice, &bob, "teh").await;
    let edit = |who: &Client, more: Value| {
        let who = who.clone();
        let mut body = json!({ "thread_id": sent["thread_id"], "message_id": sent["lastMsgId"], "text": "the" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        async move { who.put("/message/edit", body).await }
    };
    let edited = edit(&alice, json!({})).await.done();
    assert_eq!(edited["lastMsgId"], sent["lastMsgId"]);
    let room = sent["room_id"].as_str().unwrap();
    let event = bob.event(room, edited["event_id"].as_str().unwrap()).await;
    assert_eq!(event["content"]["m.relates_to"], json!({ "rel_type": "m.replace", "event_id": sent["event_id"] }));
    assert_eq!(event["content"]["m.new_content"]["body"], "the");
    let messages = history(&bob, &alice).await;
    assert_eq!(texts(&messages), ["the"]);
    assert_eq!((&messages[0]["ID"], &messages[0]["Edited"]), (&sent["lastMsgId"], &json!(true)));
    edit(&bob, json!({})).await.refused(403, 1002);
    edit(&alice, json!({ "text": " " })).await.refused(400, 1001);
    edit(&alice, json!({ "message_id": 1 })).await.refused(404, 1004);
    edit(&alice, json!({ "group_id": sent["room_id"] })).await.refused(400, 1001);
    edit(&alice, json!({ "thread_id": 999_999 })).await.refused(404, 1004);
    let stranger = server.register(&unique("mallory")).await;
    edit(&stranger, json!({})).await.refused(403, 1203);
    // A plain client's edit is one, too.
    let content = json!({
        "msgtype": "m.text", "body": "* them", "m.new_content": { "msgtype": "m.text", "body": "them" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": sent["event_id"] },
    });
    alice.send(room, "m.room.message", content).await;
    assert_eq!(texts(&history(&bob, &alice).await), ["them"]);
    alice.redact(room, sent["event_id"].as_str().unwrap(), json!({})).await;
    edit(&alice, json!({})).await.refused(409, 1404);
}

#[tokio::test]
async fn what_is_withdrawn_is_redacted_and_what_is_restored_stands_in_its_place() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let first = say(&alice, &bob, "one").await;
    let second = say(&alice, &bob, "two").await;
    let third = say(&alice, &bob, "three").await;
    let room = first["room_id"].as_str().unwrap();
    let with = |who: &Client, other: &Client, path: &'static str, message: &Value, more: Value| {
        let who = who.clone();
        let mut body = json!({ "the_other_person_id": other.user_id, "message_id": message });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        async move { who.put(path, body).await }
    };
    let id = &second["lastMsgId"];
    with(&bob, &alice, "/message/withdraw", id, json!({})).await.refused(403, 1002);
    with(&alice, &bob, "/message/unwithdraw", id, json!({ "new_text": "2" })).await.refused(409, 1001);
    let withdrawn = with(&alice, &bob, "/message/withdraw", id, json!({})).await.done();
    assert_eq!((&withdrawn["message"], &withdrawn["lastMsgId"]), (&json!("withdraw ok"), &third["lastMsgId"]));
    let event = bob.event(room, second["event_id"].as_str().unwrap()).await;
    assert_eq!(event["content"], json!({}), "it is redacted for plain clients");
    assert_eq!(texts(&history(&bob, &alice).await), ["three", "one"]);
    with(&alice, &bob, "/message/withdraw", id, json!({})).await.refused(409, 1404);
    with(&bob, &alice, "/message/unwithdraw", id, json!({ "new_text": "2" })).await.refused(403, 1002);
    with(&alice, &bob, "/message/unwithdraw", id, json!({ "new_text": " " })).await.refused(400, 1001);
    let since = bob.now().await;
    let restored = with(&alice, &bob, "/message/unwithdraw", id, json!({ "new_text": "2" })).await.done();
    assert_eq!(&restored["lastMsgId"], id, "the number is the old one");
    let event_id = restored["event_id"].as_str().unwrap();
    let seen = bob.wait_for_event(&since, room, event_id).await;
    let event = timeline(&seen, room).iter().find(|event| event["event_id"] == event_id).unwrap();
    assert_eq!(event["content"]["org.linkim.restores"], second["event_id"]);
    let messages = history(&bob, &alice).await;
    assert_eq!(texts(&messages), ["three", "2", "one"], "at its old place");
    assert_eq!((&messages[1]["ID"], &messages[1]["Restored"]), (id, &json!(true)));
    with(&alice, &bob, "/message/unwithdraw", id, json!({ "new_text": "2" })).await.refused(409, 1001);
    // Once more, by the number, which now means the new event.
    with(&alice, &bob, "/message/withdraw", id, json!({})).await.done();
    assert_eq!(texts(&history(&bob, &alice).await), ["three", "one"]);
    let restored = with(&alice, &bob, "/message/unwithdraw", id, json!({ "new_text": "zwei" })).await.done();
    assert_eq!(&restored["lastMsgId"], id);
    assert_eq!(texts(&history(&alice, &bob).await), ["three", "zwei", "one"]);
    with(&alice, &bob, "/message/withdraw", &json!(1), json!({})).await.refused(404, 1004);
}

#[tokio::test]
async fn in_a_group_the_role_decides_who_withdraws_whose() {
    let server = SERVER.get();
    let (owner, member) = two(&server).await;
    let other = server.register(&unique("carol")).await;
    let id = group(&owner, &[&member, &other]).await["groupID"].clone();
    let send = |who: &Client, text: &str| {
        let (who, body) = (who.clone(), json!({ "group_id": id, "text": text }));
        async move { who.post("/message/group/send", body).await.done()["lastMsgId"].clone() }
    };
    let withdraw = |who: &Client, message: &Value| {
        let (who, body) = (who.clone(), json!({ "group_id": id, "message_id": message }));
        async move { who.put("/message/group/withdraw", body).await }
    };
    let of_member = send(&member, "member's").await;
    let of_owner = send(&owner, "owner's").await;
    withdraw(&other, &of_member).await.refused(403, 1002);
    withdraw(&member, &of_owner).await.refused(403, 1002);
    let left = withdraw(&owner, &of_member).await.done();
    assert_eq!(left["lastMsgId"], of_owner);
    let body = json!({ "group_id": id, "message_id": of_member, "new_text": "back" });
    member.put("/message/group/unwithdraw", body).await.refused(403, 1002);
    let left = withdraw(&owner, &of_owner).await.done();
    assert_eq!(left["lastMsgId"], 0, "nothing is left");
    let body = json!({ "group_id": id, "message_id": of_owner, "new_text": "back" });
    let restored = owner.put("/message/group/unwithdraw", body).await.done();
    assert_eq!(restored["lastMsgId"], of_owner);
}

#[tokio::test]
async fn the_window_binds_the_sender_and_not_the_owner() {
    let mut options = Options::default();
    options.tables.push_str("[linkim]\nwithdraw_seconds = 0\n");
    let server = Server::start(options);
    let (owner, member) = two(&server).await;
    let other = server.register(&unique("carol")).await;
    let id = group(&owner, &[&member, &other]).await["groupID"].clone();
    let sent = member.post("/message/group/send", json!({ "group_id": id, "text": "slow" })).await.done();
    // The window is closed a millisecond after the sending.
    let body = json!({ "group_id": id, "message_id": sent["lastMsgId"] });
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(5) {
        tokio::task::yield_now().await;
    }
    member.put("/message/group/withdraw", body.clone()).await.refused(403, 1002);
    owner.put("/message/group/withdraw", body).await.done();
}

#[tokio::test]
async fn weakness_07_a_message_is_sent_exactly_once() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    say(&alice, &bob, "first").await;
    let body = json!({ "the_other_person_id": bob.user_id, "text": "once", "client_msg_id": "m1" });
    let calls: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let (alice, body) = (alice.clone(), body.clone());
                async move { alice.post("/message/send", body).await.done()["lastMsgId"].clone() }
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for call in calls {
        numbers.push(call.await.unwrap());
    }
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(texts(&history(&bob, &alice).await), ["once", "first"]);
    let other = json!({ "the_other_person_id": bob.user_id, "text": "twice", "client_msg_id": "m2" });
    assert_ne!(alice.post("/message/send", other).await.done()["lastMsgId"], numbers[0]);
}

#[tokio::test]
async fn weakness_08_what_was_answered_survives_a_kill() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two(&server).await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(number(&say(&alice, &bob, &format!("m{n}")).await, "lastMsgId"));
    }
    server.restart();
    let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    let messages = history(&bob, &alice).await;
    let found: Vec<i64> = messages.iter().rev().map(|message| number(message, "ID")).collect();
    assert_eq!(found, sent, "each once, in order");
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn weakness_09_who_write_first_at_once_get_one_conversation() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let calls: Vec<_> = (0..10)
        .map(|n| {
            let (from, to) = if n % 2 == 0 { (alice.clone(), bob.clone()) } else { (bob.clone(), alice.clone()) };
            tokio::spawn(async move { say(&from, &to, &format!("m{n}")).await["thread_id"].clone() })
        })
        .collect();
    let mut threads = Vec::new();
    for call in calls {
        threads.push(call.await.unwrap());
    }
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
    assert_eq!(history(&alice, &bob).await.len(), 10, "no update was lost");
}

#[tokio::test]
async fn weakness_10_the_newest_page_is_never_an_old_one() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    for n in 0..5 {
        let sent = say(&alice, &bob, &format!("m{n}")).await;
        let page = bob
            .get(&path!("/conversation/get?the_other_person_id={}&page_num=1&page_size=1", alice.user_id))
            .await
            .done();
        assert_eq!(page["detail"]["Messages"][0]["ID"], sent["lastMsgId"]);
        assert_eq!(page["detail"]["Unread"], n + 1);
    }
    let newest = history(&bob, &alice).await[0]["ID"].clone();
    let body = json!({ "the_other_person_id": bob.user_id, "message_id": newest });
    alice.put("/message/withdraw", body).await.done();
    let page = bob.get(&path!("/conversation/get?the_other_person_id={}&page_num=1", alice.user_id)).await.done();
    assert_eq!(page["detail"]["Messages"][0]["Content"], "m3");
    assert_eq!(page["detail"]["Unread"], 4, "an unread message that is withdrawn counts no longer");
}

#[tokio::test]
async fn weakness_15_characters_are_counted_everywhere() {
    let mut options = Options::default();
    options.tables.push_str("[linkim]\ntext_limit = 10\n");
    let server = Server::start(options);
    let (alice, bob) = two(&server).await;
    let (fits, too_long) = ("一二三四五六七八九十", "一二三四五六七八九十百");
    let sent = say(&alice, &bob, fits).await;
    let body = json!({ "the_other_person_id": bob.user_id, "text": too_long });
    alice.post("/message/send", body).await.refused(413, 1001);
    let message = json!({ "the_other_person_id": bob.user_id, "message_id": sent["lastMsgId"] });
    let with = |more: Value| {
        let mut body = message.clone();
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    alice.put("/message/edit", with(json!({ "text": too_long }))).await.refused(413, 1001);
    alice.put("/message/withdraw", message.clone()).await.done();
    alice.put("/message/unwithdraw", with(json!({ "new_text": too_long }))).await.refused(413, 1001);
    alice.put("/message/unwithdraw", with(json!({ "new_text": fits }))).await.done();
    let draft = json!({ "thread_id": sent["thread_id"], "text": too_long });
    alice.put("/conversation/draft", draft).await.refused(413, 1001);
    assert_eq!(texts(&history(&bob, &alice).await), [fits]);
}

#[tokio::test]
async fn weakness_16_numbers_are_whole_in_every_json_reader() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let sent = say(&alice, &bob, "hi").await;
    for key in ["lastMsgId", "thread_id"] {
        assert!((1..1 << 53).contains(&number(&sent, key)), "{sent}");
        assert_eq!(sent[format!("{key}_str")], json!(number(&sent, key).to_string()));
    }
    let message = &history(&bob, &alice).await[0];
    for key in ["ID", "Sender"] {
        assert_eq!(message[format!("{key}_str")], json!(number(message, key).to_string()));
    }
    // Both forms, and the event's id, name the message.
    for name in [&sent["lastMsgId"], &sent["lastMsgId_str"], &sent["event_id"]] {
        let body = json!({ "thread_id": sent["thread_id_str"], "message_id": name, "text": "ho" });
        alice.put("/message/edit", body).await.done();
    }
}

#[tokio::test]
async fn weakness_18_pages_follow_a_cursor_and_are_bounded() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(number(&say(&alice, &bob, &format!("m{n}")).await, "lastMsgId"));
    }
    let get = |query: String| {
        let bob = bob.clone();
        let path = path!("/conversation/get?the_other_person_id={}", alice.user_id) + &query;
        async move { bob.get(&path).await }
    };
    assert_eq!(get(String::new()).await.done()["detail"]["Messages"].as_array().unwrap().len(), 20, "by default");
    for size in ["0", "-1", "x"] {
        get(format!("&page_size={size}")).await.refused(400, 1001);
    }
    assert_eq!(get("&page_size=100000".into()).await.done()["detail"]["Messages"].as_array().unwrap().len(), 25);
    let (mut found, mut cursor) = (Vec::new(), 0);
    loop {
        let page = get(format!("&page_size=7&last_msg_id={cursor}")).await.done();
        let detail = &page["detail"];
        found.extend(detail["Messages"].as_array().unwrap().iter().map(|message| number(message, "ID")));
        if detail["HasMore"] == false {
            break;
        }
        cursor = *found.last().unwrap();
        assert_eq!(detail["next_msg_id"], cursor);
        // What comes meanwhile shifts nothing.
        say(&alice, &bob, "meanwhile").await;
    }
    sent.reverse();
    assert_eq!(found, sent);
    get("&last_msg_id=1".into()).await.refused(404, 1004);
    get("&last_msg_id=9007199254740991".into()).await.refused(404, 1004);
    let elsewhere = server.register(&unique("carol")).await;
    let other = say(&alice, &elsewhere, "elsewhere").await;
    get(format!("&last_msg_id={}", other["lastMsgId"])).await.refused(404, 1004);
    bob.get(&path!("/conversation/get?the_other_person_id={}", elsewhere.user_id)).await.refused(404, 1004);
}

#[tokio::test]
async fn history_shows_what_matrix_shows() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let name = v3!("/profile/{}/displayname", alice.user_id);
    alice.put(&name, json!({ "displayname": "Alice of the group" })).await.ok();
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Later" })).await;
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
    alice.send_text(&room, "before").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    alice.send_text(&room, "after").await;
    alice.send(&room, "m.room.encrypted", json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" })).await;
    let page = bob.get(&path!("/conversation/group/get?group_id={}", room)).await.done();
    let messages = page["data"]["Messages"].as_array().unwrap();
    assert_eq!(texts(messages), ["", "after"]);
    assert_eq!((&messages[0]["Kind"], &messages[1]["Kind"]), (&json!(0), &json!(1)));
    assert_eq!(messages[1]["GroupNickname"], "Alice of the group");
    bob.leave(&room).await;
    alice.send_text(&room, "gone").await;
    let page = bob.get(&path!("/conversation/group/get?group_id={}", room)).await.done();
    assert_eq!(texts(page["data"]["Messages"].as_array().unwrap()), ["", "after"], "up to the leaving");
}
