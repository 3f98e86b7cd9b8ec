//! The list of conversations, what is unread, and what users decide for themselves; each also seen from a plain Matrix client.

use conformance_tests::{Client, Options, Server, Sync, path, timeline, unique, v3};
use serde_json::{Value, json};

use crate::{
    SERVER,
    messages::{group, history, say, texts, two},
};

/// The first page of a list.
async fn list(of: &Client) -> Value {
    of.get("/conversations?page_size=200").await.done()
}

/// The one conversation with this number in a list or an incremental answer.
fn entry(list: &Value, thread: &Value) -> Option<Value> {
    let entries = list["detail"].as_array().unwrap_or_else(|| panic!("no detail in {list}"));
    entries.iter().find(|entry| entry["thread_id"] == *thread).cloned()
}

/// The unread count of a conversation in its list.
async fn unread(of: &Client, thread: &Value) -> Value {
    entry(&list(of).await, thread).expect("the conversation")["unread_count"].clone()
}

/// What changed in a list since an earlier answer.
async fn since(of: &Client, earlier: &Value) -> Value {
    of.get(&path!("/conversations?since={}", earlier["position"].as_str().unwrap())).await.done()
}

/// A wish about a conversation.
async fn wish(of: &Client, what: &str, thread: &Value, mut body: Value) -> Value {
    body["thread_id"] = thread.clone();
    of.put(&format!("/conversation/{what}"), body).await.done()
}

#[tokio::test]
async fn the_list_has_the_shape_of_old() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    assert_eq!(list(&alice).await["detail"], json!([]));
    let sent = say(&bob, &alice, "hi").await;
    let made = group(&alice, &[&bob, &carol]).await;
    let said = carol.post("/message/group/send", json!({ "group_id": made["groupID"], "text": "tea" })).await.done();
    let list = list(&alice).await;
    assert_eq!((&list["full"], &list["has_more"], &list["next_cursor"]), (&json!(true), &json!(false), &Value::Null));
    let single = entry(&list, &sent["thread_id"]).unwrap();
    let bob_number = bob.number().await;
    assert_eq!(single["type"], "single");
    assert_eq!(single["user_info"]["user_id"], bob_number);
    assert_eq!(single["group_info"], json!({ "group_id": null, "group_name": "", "avatar": "" }));
    assert_eq!((&single["unread_count"], &single["room_id"]), (&json!(1), &sent["room_id"]));
    let last = &single["last_message"];
    assert_eq!((&last["id"], &last["sender_id"]), (&sent["lastMsgId"], &json!(bob_number)));
    assert_eq!((&last["kind"], &last["content"]), (&json!(1), &json!("hi")));
    assert_eq!(last["created_at"], single["update_time"]);
    let tea = entry(&list, &said["thread_id"]).unwrap();
    assert_eq!((&tea["type"], &tea["group_info"]["group_id"]), (&json!("group"), &made["groupID"]));
    assert_eq!(tea["group_info"]["group_name"], "Tea");
    assert_eq!(tea["user_info"]["user_id"], 0);
    assert_eq!(tea["last_message"]["id"], said["lastMsgId"]);
    // The newest first; a group without a message stands by its making.
    let order: Vec<&Value> = list["detail"].as_array().unwrap().iter().map(|entry| &entry["thread_id"]).collect();
    assert_eq!(order, [&said["thread_id"], &sent["thread_id"]]);
    let of_bob = super::conversations::list(&bob).await;
    assert_eq!(entry(&of_bob, &said["thread_id"]).unwrap()["unread_count"], 1);
    server.anonymous().get("/conversations").await.refused(401, 1507);
    alice.get(&path!("/conversations?user_id={}", bob.user_id)).await.refused(403, 1002);
}

#[tokio::test]
async fn pages_of_the_list_follow_a_cursor() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut rooms = Vec::new();
    for n in 0..7 {
        let room = alice.create_room(json!({ "name": format!("room {n}") })).await;
        alice.send_text(&room, "hi").await;
        rooms.push(room);
    }
    let pinned = rooms[2].clone();
    alice.put(&v3!("/user/{}/rooms/{}/tags/m.favourite", alice.user_id, pinned), json!({ "order": 0.1 })).await.ok();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = alice.get(&format!("/conversations?page_size=3{cursor}")).await.done();
        for entry in page["detail"].as_array().unwrap() {
            found.push(entry["room_id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        // What becomes newest meanwhile shifts nothing.
        alice.send_text(&rooms[6], "again").await;
    }
    let mut wanted: Vec<String> = rooms.iter().rev().filter(|room| **room != pinned).cloned().collect();
    wanted.insert(0, pinned);
    assert_eq!(found, wanted, "pinned first, then the newest");
    for bad in ["cursor=x", "cursor=0-01", "page_size=0", "since=x", "since=s1_1_0_0&cursor=0-1"] {
        alice.get(&format!("/conversations?{bad}")).await.refused(400, 1001);
    }
}

#[tokio::test]
async fn changes_since_a_position_are_told_once() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two(&server).await;
    let sent = say(&bob, &alice, "hi").await;
    let thread = &sent["thread_id"];
    let other = alice.create_room(json!({ "name": "Other" })).await;
    let first = list(&alice).await;
    let nothing = since(&alice, &first).await;
    assert_eq!((&nothing["detail"], &nothing["removed"], &nothing["full"]), (&json!([]), &json!([]), &json!(false)));
    let new = say(&bob, &alice, "there").await;
    let changed = since(&alice, &first).await;
    assert_eq!(changed["detail"].as_array().unwrap().len(), 1, "the other one is as it was");
    let told = entry(&changed, thread).unwrap();
    assert_eq!((&told["last_message"]["id"], &told["unread_count"]), (&new["lastMsgId"], &json!(2)));
    // Reading on another device, a pin and a draft are changes, too.
    let phone = server.new_device(&alice).await;
    wish(&phone, "unread", thread, json!({})).await;
    let read = since(&alice, &changed).await;
    assert_eq!(entry(&read, thread).unwrap()["unread_count"], 0);
    wish(&phone, "pin", thread, json!({ "pinned": true })).await;
    wish(&phone, "draft", thread, json!({ "text": "well" })).await;
    let set = since(&alice, &read).await;
    let told = entry(&set, thread).unwrap();
    assert_eq!((&told["pinned"], &told["draft"]["text"]), (&json!(true), &json!("well")));
    // Push rules concern every conversation, so they are all told.
    wish(&phone, "mute", thread, json!({ "muted": true })).await;
    let all = since(&alice, &set).await;
    assert_eq!((&all["full"], &entry(&all, thread).unwrap()["muted"]), (&json!(true), &json!(true)));
    alice.leave(&other).await;
    wish(&phone, "hide", thread, json!({ "hidden": true })).await;
    let gone = since(&alice, &all).await;
    assert_eq!(gone["removed"].as_array().unwrap().len(), 2, "{gone}");
    // A position outlives a restart; one of a future that never was begins the list anew.
    server.restart();
    let alice = alice.at(&server.base);
    assert_eq!(since(&alice, &gone).await["full"], false);
    let lost = alice.get("/conversations?since=s900000_1_0_0").await.done();
    assert_eq!(lost["full"], true);
}

#[tokio::test]
async fn reading_on_one_device_clears_the_others_and_tells_the_sender() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let phone = server.new_device(&bob).await;
    let first = say(&alice, &bob, "one").await;
    let second = say(&alice, &bob, "two").await;
    let thread = &first["thread_id"];
    let room = first["room_id"].as_str().unwrap();
    assert_eq!((unread(&bob, thread).await, unread(&phone, thread).await), (json!(2), json!(2)));
    let now = alice.now().await;
    wish(&phone, "unread", thread, json!({ "message_id": first["lastMsgId"] })).await;
    assert_eq!(unread(&bob, thread).await, 1);
    let id = first["event_id"].as_str().unwrap();
    alice
        .wait_until_sync(&now, |answer| {
            let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array();
            events.is_some_and(|events| {
                events.iter().any(|event| event["content"][id]["m.read"][&bob.user_id].is_object())
            })
        })
        .await;
    // By the old path and name, and from a plain client.
    bob.put("/conversation/unread", json!({ "user_id": bob.number().await, "thread_id": thread, "platform": 1 }))
        .await
        .done();
    assert_eq!((unread(&bob, thread).await, unread(&phone, thread).await), (json!(0), json!(0)));
    let third = say(&alice, &bob, "three").await;
    assert_eq!(unread(&phone, thread).await, 1);
    phone.post(&v3!("/rooms/{}/receipt/m.read/{}", room, third["event_id"].as_str().unwrap()), json!({})).await.ok();
    assert_eq!(unread(&bob, thread).await, 0);
    bob.put("/conversation/unread", json!({ "thread_id": thread, "message_id": 1 })).await.refused(404, 1004);
    bob.put("/conversation/unread", json!({ "thread_id": 999_999 })).await.refused(404, 1004);
    let mallory = server.register(&unique("mallory")).await;
    mallory.put("/conversation/unread", json!({ "thread_id": thread })).await.refused(403, 1203);
    mallory.put("/conversation/unread", json!({})).await.refused(400, 1001);
    drop(second);
}

#[tokio::test]
async fn who_reads_unseen_is_not_seen() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let settings = json!({ "private_receipts": true });
    let set = bob.put(&v3!("/user/{}/account_data/org.linkim.settings", bob.user_id), settings).await;
    set.ok();
    let sent = say(&alice, &bob, "one").await;
    wish(&bob, "unread", &sent["thread_id"], json!({})).await;
    assert_eq!(unread(&bob, &sent["thread_id"]).await, 0);
    let seen = alice.sync(Sync::initial()).await.to_string();
    assert!(!seen.contains("m.read"), "no receipt of theirs is told");
}

#[tokio::test]
async fn weakness_17_unread_is_a_difference_of_positions() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let made = group(&alice, &[&bob, &carol]).await;
    let (thread, room) = (&made["thread_id"], made["room_id"].as_str().unwrap());
    let send = |who: &Client, text: &str| {
        let (who, body) = (who.clone(), json!({ "group_id": made["groupID"], "text": text }));
        async move { who.post("/message/group/send", body).await.done() }
    };
    let first = send(&alice, "one").await;
    send(&carol, "two").await;
    assert_eq!(unread(&bob, thread).await, 2);
    // Reactions, edits and changes of the group's state don't count.
    let id = first["event_id"].as_str().unwrap();
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": id, "key": "👍" } });
    carol.send(room, "m.reaction", reaction).await;
    alice.put("/message/edit", json!({ "thread_id": thread, "message_id": id, "text": "uno" })).await.done();
    assert_eq!(unread(&bob, thread).await, 2);
    // Withdrawn ones don't, restored ones do as the new messages they are.
    let body = json!({ "group_id": made["groupID"], "message_id": first["lastMsgId"] });
    alice.put("/message/group/withdraw", body.clone()).await.done();
    assert_eq!(unread(&bob, thread).await, 1);
    let mut body = body;
    body["new_text"] = json!("eins");
    alice.put("/message/group/unwithdraw", body).await.done();
    assert_eq!(unread(&bob, thread).await, 2);
    // Those of whom one ignores don't.
    let ignored = json!({ "ignored_users": { &carol.user_id: {} } });
    bob.put(&v3!("/user/{}/account_data/m.ignored_user_list", bob.user_id), ignored).await.ok();
    assert_eq!(unread(&bob, thread).await, 1);
    bob.put(&v3!("/user/{}/account_data/m.ignored_user_list", bob.user_id), json!({ "ignored_users": {} })).await.ok();
    // What one sends, one has read, and everything before it.
    send(&bob, "three").await;
    assert_eq!(unread(&bob, thread).await, 0);
    // Who joins has nothing of before unread.
    let dave = server.register(&unique("dave")).await;
    alice.post("/group/invite", json!({ "group_id": made["groupID"], "user_ids": [dave.user_id] })).await.done();
    assert_eq!(unread(&dave, thread).await, 0);
    send(&alice, "welcome").await;
    assert_eq!(unread(&dave, thread).await, 1);
}

#[tokio::test]
async fn who_is_mentioned_is_told() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let made = group(&alice, &[&bob, &carol]).await;
    let flag = || async { entry(&list(&bob).await, &made["thread_id"]).unwrap()["at_flag"].clone() };
    let send = |more: Value| {
        let mut body = json!({ "group_id": made["groupID"], "text": "hey" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let alice = alice.clone();
        async move { alice.post("/message/group/send", body).await.done() }
    };
    send(json!({})).await;
    assert_eq!(flag().await, 0);
    send(json!({ "at_user_ids": [bob.user_id] })).await;
    assert_eq!(flag().await, 1);
    send(json!({ "at_all": true })).await;
    assert_eq!(flag().await, 3);
    assert_eq!(entry(&list(&carol).await, &made["thread_id"]).unwrap()["at_flag"], 2);
    wish(&bob, "unread", &made["thread_id"], json!({})).await;
    assert_eq!(flag().await, 0);
}

#[tokio::test]
async fn pin_mute_draft_and_mark_are_account_data() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let sent = say(&bob, &alice, "hi").await;
    let (thread, room) = (&sent["thread_id"], sent["room_id"].as_str().unwrap());
    let data = |kind: &'static str| {
        let path = v3!("/user/{}/rooms/{}/account_data/{}", alice.user_id, room, kind);
        let alice = alice.clone();
        async move { alice.get(&path).await.ok() }
    };
    let shown = || async { entry(&list(&alice).await, thread).unwrap() };
    wish(&alice, "pin", thread, json!({ "pinned": true })).await;
    assert_eq!(data("m.tag").await, json!({ "tags": { "m.favourite": {} } }));
    assert_eq!(shown().await["pinned"], true);
    wish(&alice, "pin", thread, json!({ "pinned": false })).await;
    assert_eq!((data("m.tag").await, &shown().await["pinned"]), (json!({ "tags": {} }), &json!(false)));
    wish(&alice, "mute", thread, json!({ "muted": true })).await;
    let rule = v3!("/pushrules/global/room/{}", room);
    assert_eq!(alice.get(&rule).await.ok()["actions"], json!([]));
    assert_eq!((&shown().await["muted"], &shown().await["recv_opt"]), (&json!(true), &json!(2)));
    wish(&alice, "mute", thread, json!({ "muted": false })).await;
    assert_eq!((alice.get(&rule).await.status, &shown().await["muted"]), (404, &json!(false)));
    wish(&alice, "draft", thread, json!({ "text": "I was going to" })).await;
    assert_eq!(data("org.linkim.draft").await["text"], "I was going to");
    assert_eq!(shown().await["draft"]["text"], "I was going to");
    wish(&alice, "draft", thread, json!({ "text": "" })).await;
    assert_eq!((data("org.linkim.draft").await, &shown().await["draft"]), (json!({}), &Value::Null));
    wish(&alice, "mark_unread", thread, json!({ "unread": true })).await;
    assert_eq!(data("m.marked_unread").await, json!({ "unread": true }));
    assert_eq!(shown().await["marked_unread"], true);
    wish(&alice, "unread", thread, json!({})).await;
    assert_eq!(shown().await["marked_unread"], false, "reading takes the mark away");
    let mallory = server.register(&unique("mallory")).await;
    for (what, body) in [
        ("pin", json!({ "pinned": true })),
        ("mute", json!({ "muted": true })),
        ("recv_opt", json!({ "recv_opt": 1 })),
        ("draft", json!({ "text": "x" })),
        ("hide", json!({ "hidden": true })),
        ("clear", json!({})),
        ("mark_unread", json!({ "unread": true })),
    ] {
        let path = format!("/conversation/{what}");
        let with = |thread: &Value| {
            let mut body = body.clone();
            body["thread_id"] = thread.clone();
            body
        };
        server.anonymous().put(&path, with(thread)).await.refused(401, 1507);
        mallory.put(&path, with(thread)).await.refused(403, 1203);
        mallory.put(&path, with(&json!(999_999))).await.refused(404, 1004);
        mallory.put(&path, body.clone()).await.refused(400, 1001);
        let mut other = with(thread);
        other["user_id"] = json!(alice.user_id);
        mallory.put(&path, other).await.refused(403, 1002);
    }
    mallory.delete("/conversation", Some(json!({ "thread_id": thread }))).await.refused(403, 1203);
    alice.put("/conversation/recv_opt", json!({ "thread_id": thread, "recv_opt": 3 })).await.refused(400, 1001);
}

#[tokio::test]
async fn who_receives_nothing_is_not_reached() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let sent = say(&alice, &bob, "hi").await;
    let (thread, room) = (&sent["thread_id"], sent["room_id"].as_str().unwrap());
    wish(&bob, "recv_opt", thread, json!({ "recv_opt": 1 })).await;
    assert_eq!(unread(&bob, thread).await, 0, "nothing of it is counted");
    let body = json!({ "the_other_person_id": bob.user_id, "text": "hello?" });
    alice.post("/message/send", body.clone()).await.refused(403, 1002);
    let content = json!({ "msgtype": "m.text", "body": "hello?" });
    let path = v3!("/rooms/{}/send/m.room.message/{}", room, alice.next_transaction());
    assert_eq!(alice.put(&path, content.clone()).await.status, 403, "nor by the other API");
    // The account data is the server's: what hangs on it would be missed otherwise.
    let own = v3!("/user/{}/rooms/{}/account_data/org.linkim.recv_opt", bob.user_id, room);
    assert_eq!(bob.get(&own).await.ok(), json!({ "recv_opt": 1 }));
    assert_eq!(bob.put(&own, json!({ "recv_opt": 0 })).await.status, 405);
    // It holds after a restart, and for the other direction it never did.
    server.restart();
    let (alice, bob, carol) = (alice.at(&server.base), bob.at(&server.base), carol.at(&server.base));
    alice.post("/message/send", body.clone()).await.refused(403, 1002);
    say(&bob, &alice, "leave me alone").await;
    wish(&bob, "recv_opt", thread, json!({ "recv_opt": 0 })).await;
    alice.post("/message/send", body).await.done();
    assert_eq!(unread(&bob, thread).await, 1);
    // In a group others go on; it is only not counted.
    let made = group(&alice, &[&bob, &carol]).await;
    wish(&bob, "recv_opt", &made["thread_id"], json!({ "recv_opt": 1 })).await;
    let (mut bobs, mut carols) = (bob.push(None).await, carol.push(None).await);
    alice.post("/message/group/send", json!({ "group_id": made["groupID"], "text": "tea" })).await.done();
    assert_eq!(unread(&bob, &made["thread_id"]).await, 0);
    assert_eq!(unread(&carol, &made["thread_id"]).await, 1);
    carols.said_until("tea").await;
    // Not pushed either, but for what the user's other devices say.
    let tablet = server.new_device(&bob).await;
    tablet.post("/message/group/send", json!({ "group_id": made["groupID"], "text": "no" })).await.done();
    assert_eq!(bobs.said_until("no").await, ["no"]);
    wish(&bob, "recv_opt", &made["thread_id"], json!({ "recv_opt": 0 })).await;
    alice.post("/message/group/send", json!({ "group_id": made["groupID"], "text": "cake" })).await.done();
    assert_eq!(bobs.said_until("cake").await, ["cake"]);
}

#[tokio::test]
async fn a_hidden_conversation_comes_back_with_its_next_message() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let sent = say(&bob, &alice, "hi").await;
    let thread = &sent["thread_id"];
    wish(&alice, "hide", thread, json!({ "hidden": true })).await;
    assert_eq!(entry(&list(&alice).await, thread), None);
    assert!(entry(&list(&bob).await, thread).is_some());
    wish(&alice, "hide", thread, json!({ "hidden": false })).await;
    assert!(entry(&list(&alice).await, thread).is_some());
    wish(&alice, "hide", thread, json!({ "hidden": true })).await;
    say(&bob, &alice, "hello?").await;
    assert_eq!(entry(&list(&alice).await, thread).unwrap()["unread_count"], 2);
}

#[tokio::test]
async fn what_is_cleared_is_gone_for_one_alone_on_both_apis() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let old = say(&bob, &alice, "old").await;
    let (thread, room) = (&old["thread_id"], old["room_id"].as_str().unwrap());
    wish(&alice, "clear", thread, json!({})).await;
    assert_eq!(unread(&alice, thread).await, 0);
    assert_eq!(history(&alice, &bob).await, Vec::<Value>::new());
    assert_eq!(entry(&list(&alice).await, thread).unwrap()["last_message"], Value::Null);
    let id = old["event_id"].as_str().unwrap();
    let has = |answer: &Value| answer.to_string().contains(id);
    assert!(!has(&alice.messages(room, &[("dir", "b"), ("limit", "100")]).await), "nor in /messages");
    assert!(!has(&json!(timeline(&alice.sync(Sync::initial()).await, room))), "nor in /sync");
    assert_eq!(alice.get(&v3!("/rooms/{}/event/{}", room, id)).await.status, 404);
    assert_eq!(alice.all_state(room).await.len(), bob.all_state(room).await.len(), "state stays");
    assert_eq!(texts(&history(&bob, &alice).await), ["old"], "the other one has it");
    say(&bob, &alice, "new").await;
    assert_eq!(texts(&history(&alice, &bob).await), ["new"]);
    assert_eq!(unread(&alice, thread).await, 1);
    let own = v3!("/user/{}/rooms/{}/account_data/org.linkim.history_floor", alice.user_id, room);
    assert_eq!(alice.put(&own, json!({ "until_seq": 0 })).await.status, 405);
}

#[tokio::test]
async fn a_deleted_conversation_begins_anew() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let sent = say(&bob, &alice, "old").await;
    let thread = &sent["thread_id"];
    wish(&alice, "pin", thread, json!({ "pinned": true })).await;
    wish(&alice, "draft", thread, json!({ "text": "well" })).await;
    alice.delete("/conversation", Some(json!({ "the_other_person_id": bob.user_id }))).await.done();
    assert_eq!(entry(&list(&alice).await, thread), None);
    let again = say(&bob, &alice, "new").await;
    assert_eq!(again["thread_id"], *thread, "it is the same conversation");
    let shown = entry(&list(&alice).await, thread).unwrap();
    assert_eq!((&shown["pinned"], &shown["draft"], &shown["unread_count"]), (&json!(false), &Value::Null, &json!(1)));
    assert_eq!(texts(&history(&alice, &bob).await), ["new"]);
    assert_eq!(texts(&history(&bob, &alice).await), ["new", "old"]);
    let path = path!("/conversation?the_other_person_id={}", bob.user_id);
    alice.delete(&path, None).await.done();
}

#[tokio::test]
async fn words_are_found_in_ones_own_conversations_alone() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let word = unique("Zauberwort").replace('-', "");
    let first = say(&alice, &bob, &format!("the {word}, please")).await;
    let other = say(&alice, &carol, &format!("again: {word}")).await;
    say(&alice, &bob, "nothing").await;
    let find = |who: &Client, query: String| {
        let (who, path) = (who.clone(), path!("/message/search?keyword={}", word.to_lowercase()) + &query);
        async move { who.get(&path).await }
    };
    let found = find(&alice, String::new()).await.done();
    let ids: Vec<&Value> = found["detail"].as_array().unwrap().iter().map(|message| &message["ID"]).collect();
    assert_eq!(ids, [&other["lastMsgId"], &first["lastMsgId"]], "the newest first");
    assert_eq!(found["detail"][1]["thread_id"], first["thread_id"]);
    let page = find(&alice, "&page_size=1".into()).await.done();
    let next = page["next_cursor"].as_str().unwrap();
    let page = find(&alice, format!("&page_size=1&cursor={next}")).await.done();
    assert_eq!(page["detail"][0]["ID"], first["lastMsgId"]);
    assert_eq!(find(&bob, String::new()).await.done()["detail"].as_array().unwrap().len(), 1);
    let of_carol = path!("&the_other_person_id={}", carol.user_id);
    assert_eq!(find(&alice, of_carol).await.done()["detail"].as_array().unwrap().len(), 1);
    find(&carol, format!("&thread_id={}", first["thread_id"])).await.refused(403, 1203);
    // By Matrix's own search on the same messages.
    let body = json!({ "search_categories": { "room_events": {
        "search_term": word, "event_context": { "before_limit": 1, "after_limit": 1 },
        "groupings": { "group_by": [{ "key": "room_id" }] },
    } } });
    let answer = bob.post(&v3!("/search"), body.clone()).await.ok();
    let results = &answer["search_categories"]["room_events"];
    assert_eq!(results["count"], 1);
    assert_eq!(results["results"][0]["result"]["event_id"], first["event_id"]);
    assert_eq!(results["results"][0]["context"]["events_after"][0]["content"]["body"], "nothing");
    let room = first["room_id"].as_str().unwrap();
    assert_eq!(results["groups"]["room_id"][room]["results"], json!([first["event_id"]]));
    // What is withdrawn, cleared or of somebody ignored is not found.
    let message = json!({ "the_other_person_id": bob.user_id, "message_id": first["lastMsgId"] });
    alice.put("/message/withdraw", message).await.done();
    assert_eq!(find(&bob, String::new()).await.done()["detail"], json!([]));
    let answer = bob.post(&v3!("/search"), body).await.ok();
    assert_eq!(answer["search_categories"]["room_events"]["count"], 0);
    for bad in ["&page_size=0", "&cursor=x", "&thread_id=1&group_id=!a:b.example"] {
        find(&alice, bad.into()).await.refused(400, 1001);
    }
    alice.get("/message/search?keyword=%20").await.refused(400, 1001);
    alice.get("/message/search").await.refused(400, 1001);
    server.anonymous().get("/message/search?keyword=x").await.refused(401, 1507);
    let empty = json!({ "search_categories": { "room_events": { "search_term": " " } } });
    assert_eq!(alice.post(&v3!("/search"), empty).await.status, 400);
}
