//! Message status: sent, delivered, read (`GET /message/receipts`, and frames of `/ws`).

use conformance_tests::{Client, PATIENCE, Sync, eventually, path, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

async fn receipts(client: &Client, message: &str) -> Value {
    client.get(&path!("/message/receipts?message_id={}", message)).await.done()
}

fn counts(reply: &Value) -> (i64, i64, i64, &str) {
    let count = |key: &str| reply[key].as_i64().unwrap_or_else(|| panic!("no {key} in {reply}"));
    (count("recipient_count"), count("delivered_count"), count("read_count"), reply["status"].as_str().unwrap())
}

/// The device says with the token of an answer that it has the answer.
async fn takes(client: &Client, since: &str) -> String {
    let answer = client.sync(Sync::since(since)).await;
    let next = answer["next_batch"].as_str().unwrap().to_owned();
    client.sync(Sync::since(&next)).await["next_batch"].as_str().unwrap().to_owned()
}

async fn room_of(alice: &Client, others: &[&Client]) -> String {
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    for other in others {
        other.join(&room).await;
    }
    room
}

#[tokio::test]
async fn a_message_is_sent_then_delivered_then_read() {
    let server = SERVER.get();
    let (alice, bob) = (server.register(&unique("alice")).await, server.register(&unique("bob")).await);
    let room = room_of(&alice, &[&bob]).await;
    let since = bob.now().await;
    let event_id = alice.send_text(&room, "one").await;
    let reply = receipts(&alice, &event_id).await;
    assert_eq!(counts(&reply), (1, 0, 0, "sent"));
    assert_eq!(reply["detail"][0]["status"], "sent");
    // To be given an answer is not to have it.
    let answer = bob.sync(Sync::since(&since)).await;
    assert_eq!(counts(&receipts(&alice, &event_id).await), (1, 0, 0, "sent"));
    bob.sync(Sync::since(answer["next_batch"].as_str().unwrap())).await;
    let reply = receipts(&alice, &event_id).await;
    assert_eq!(counts(&reply), (1, 1, 0, "delivered"));
    // By number, as a string and as a number.
    let number = reply["message_id_str"].as_str().unwrap();
    assert_eq!(receipts(&alice, number).await["event_id"], json!(event_id));
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    let reply = receipts(&alice, &event_id).await;
    assert_eq!(counts(&reply), (1, 1, 1, "read"));
    assert_eq!(reply["detail"][0]["matrix_id"], json!(bob.user_id));
    assert!(reply["detail"][0]["read_ts"].as_i64().unwrap() > 0);
    // What comes later is not read by it.
    let later = alice.send_text(&room, "two").await;
    assert_eq!(counts(&receipts(&alice, &later).await), (1, 0, 0, "sent"));
}

#[tokio::test]
async fn the_sender_is_told_of_delivery_up_to_the_newest() {
    let server = SERVER.get();
    let (alice, bob) = (server.register(&unique("alice")).await, server.register(&unique("bob")).await);
    let room = room_of(&alice, &[&bob]).await;
    let mut senders = alice.push(None).await;
    let mut push = bob.push(None).await;
    let ids = alice.send_texts(&room, "", 1..=3).await;
    push.said_until("3").await;
    let ack = json!({ "type": "ack", "position": push.position });
    push.say(ack).await;
    let told = tokio::time::timeout(PATIENCE, senders.until("delivered")).await.unwrap();
    assert_eq!((&told["matrix_id"], &told["event_id"]), (&json!(bob.user_id), &json!(ids[2])));
    assert_eq!(told["room_id"], json!(room));
    for id in &ids {
        assert_eq!(counts(&receipts(&alice, id).await), (1, 1, 0, "delivered"));
    }
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, ids[1]), json!({})).await.ok();
    assert_eq!(senders.until("read").await["event_id"], json!(ids[1]));
    let status: Vec<Value> = [receipts(&alice, &ids[1]).await, receipts(&alice, &ids[2]).await]
        .iter_mut()
        .map(|reply| reply["status"].take())
        .collect();
    assert_eq!(status, ["read", "delivered"]);
}

#[tokio::test]
async fn who_is_who_in_a_group() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut others = Vec::new();
    for n in 0..5 {
        others.push(server.register(&unique(&format!("member{n}"))).await);
    }
    let room = room_of(&alice, &others.iter().collect::<Vec<_>>()).await;
    let mut tokens = Vec::new();
    for other in &others {
        tokens.push(other.now().await);
    }
    let event_id = alice.send_text(&room, "one").await;
    // Two read, one has it, one reads in private, one has nothing.
    for reader in &others[..2] {
        reader.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    }
    takes(&others[2], &tokens[2]).await;
    takes(&others[3], &tokens[3]).await;
    others[3].post(&v3!("/rooms/{}/receipt/m.read.private/{}", room, event_id), json!({})).await.ok();
    // Who comes later is not meant.
    let late = server.register(&unique("late")).await;
    late.join(&room).await;
    assert_eq!(counts(&receipts(&alice, &event_id).await), (5, 4, 2, "sent"));
    let ids_of = |reply: &Value| -> Vec<String> {
        reply["detail"].as_array().unwrap().iter().map(|it| it["matrix_id"].as_str().unwrap().to_owned()).collect()
    };
    for (status, wanted) in [("read", &others[..2]), ("delivered", &others[2..4]), ("sent", &others[4..])] {
        let reply = alice.get(&path!("/message/receipts?message_id={}&status={}", event_id, status)).await.done();
        assert_eq!(ids_of(&reply), wanted.iter().map(|it| it.user_id.clone()).collect::<Vec<_>>(), "{status}");
    }
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = path!("/message/receipts?message_id={}&page_size=2", event_id) + &cursor;
        let reply = alice.get(&path).await.done();
        all.extend(ids_of(&reply));
        if reply["has_more"] == false {
            break;
        }
        cursor = format!("&cursor={}", reply["next"]);
    }
    assert_eq!(all, others.iter().map(|it| it.user_id.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_is_told_to_the_sender_alone() {
    let server = SERVER.get();
    let (alice, bob) = (server.register(&unique("alice")).await, server.register(&unique("bob")).await);
    let room = room_of(&alice, &[&bob]).await;
    let event_id = alice.send_text(&room, "one").await;
    let of = |message: &str| path!("/message/receipts?message_id={}", message);
    bob.get(&of(&event_id)).await.refused(403, 1002);
    server.register(&unique("mallory")).await.get(&of(&event_id)).await.refused(404, 1004);
    alice.get(&of("$unknown")).await.refused(404, 1004);
    alice.get(&of("9007199254740991")).await.refused(404, 1004);
    alice.get("/message/receipts").await.refused(400, 1001);
    alice.get(&(of(&event_id) + "&status=lost")).await.refused(400, 1001);
    alice.get(&(of(&event_id) + "&page_size=0")).await.refused(400, 1001);
    alice.get(&(of(&event_id) + "&cursor=9007199254740991")).await.refused(404, 1004);
    server.anonymous().get(&of(&event_id)).await.refused(401, 1507);
    alice.redact(&room, &event_id, json!({})).await;
    alice.get(&of(&event_id)).await.refused(404, 1004);
}

#[tokio::test]
async fn who_ignores_the_sender_receives_nothing() {
    let server = SERVER.get();
    let (alice, bob) = (server.register(&unique("alice")).await, server.register(&unique("bob")).await);
    let room = room_of(&alice, &[&bob]).await;
    let list = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    bob.put(&v3!("/user/{}/account_data/m.ignored_user_list", bob.user_id), list).await.ok();
    let since = bob.now().await;
    let event_id = alice.send_text(&room, "one").await;
    takes(&bob, &since).await;
    assert_eq!(counts(&receipts(&alice, &event_id).await), (1, 0, 0, "sent"));
}

#[tokio::test]
async fn what_devices_have_survives_a_stop() {
    let mut server = conformance_tests::Server::start(conformance_tests::Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = room_of(&alice, &[&bob]).await;
    let since = bob.now().await;
    let event_id = alice.send_text(&room, "one").await;
    takes(&bob, &since).await;
    server.terminate();
    server.restart();
    let alice = alice.at(&server.base);
    eventually("the status", async || (counts(&receipts(&alice, &event_id).await).1 == 1).then_some(())).await;
}

/// Status and counts of the messages on the newest page of a conversation, the newest first.
fn on_page(page: &Value) -> Vec<(Value, [Value; 3])> {
    let messages = page["Messages"].as_array().unwrap_or_else(|| panic!("no messages in {page}"));
    let count = |message: &Value, key: &str| message[key].clone();
    let counts = |message: &Value| ["RecipientCount", "DeliveredCount", "ReadCount"].map(|key| count(message, key));
    messages.iter().map(|message| (message["Status"].clone(), counts(message))).collect()
}

#[tokio::test]
async fn pages_say_how_far_the_readers_own_messages_have_come() {
    let server = SERVER.get();
    let (alice, bob) = (server.register(&unique("alice")).await, server.register(&unique("bob")).await);
    let carol = server.register(&unique("carol")).await;
    let direct = json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [bob.user_id] });
    let direct = alice.create_room(direct).await;
    bob.join(&direct).await;
    let ids = alice.send_texts(&direct, "", 1..=3).await;
    bob.send_text(&direct, "bob's").await;
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", direct, ids[0]), json!({})).await.ok();
    let mut push = bob.push(None).await;
    alice.send_text(&direct, "4").await;
    push.said_until("4").await;
    let ack = json!({ "type": "ack", "position": push.position });
    push.say(ack).await;
    push.up_to_now().await;
    alice.send_text(&direct, "5").await;
    let page = |who: &Client, other: &Client| {
        let (who, path) = (who.clone(), path!("/conversation/get?the_other_person_id={}", other.user_id));
        async move { on_page(&who.get(&path).await.done()["detail"]) }
    };
    let one = |status: &str, delivered: i64, read: i64| (json!(status), [json!(1), json!(delivered), json!(read)]);
    let theirs = (Value::Null, [Value::Null, Value::Null, Value::Null]);
    assert_eq!(
        page(&alice, &bob).await,
        [
            one("sent", 0, 0),
            one("delivered", 1, 0),
            theirs.clone(),
            one("delivered", 1, 0),
            one("delivered", 1, 0),
            one("read", 1, 1)
        ]
    );
    let bobs = page(&bob, &alice).await;
    assert_eq!((&bobs[0], &bobs[1]), (&theirs, &theirs));
    assert_eq!(bobs[2].0, "sent");

    // In a group the status is that of all, and the counts say of how many.
    let room = room_of(&alice, &[&bob, &carol]).await;
    let event_id = alice.send_text(&room, "to all").await;
    carol.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    let path = path!("/conversation/group/get?group_id={}", room);
    let seen = on_page(&alice.get(&path).await.done()["data"]);
    assert_eq!(seen[0], (json!("sent"), [json!(2), json!(1), json!(1)]));
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event_id), json!({})).await.ok();
    let seen = on_page(&alice.get(&path).await.done()["data"]);
    assert_eq!(seen[0], (json!("read"), [json!(2), json!(2), json!(2)]));
}
