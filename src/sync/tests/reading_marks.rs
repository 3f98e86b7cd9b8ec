//! Client-Server API, "Receipts", "Fully read markers", "Receiving notifications", "Threading".

use super::*;

/// (notifications, highlights) of a room in the last answer that has them.
fn unread(answer: &Value, room: &RoomKey) -> (i64, i64) {
    let counts = &joined(answer, room)["unread_notifications"];
    (counts["notification_count"].as_i64().unwrap(), counts["highlight_count"].as_i64().unwrap())
}

struct Two {
    server: Server,
    alice: Session,
    bob: Session,
    room: Arc<RoomKey>,
}

/// Alice's room, with Bob in it.
async fn two() -> Two {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.say(&room, &alice, "before bob").await;
    server.join(&room, &bob).await;
    Two { server, alice, bob, room }
}

#[tokio::test]
async fn unread_counts_from_the_joining_to_what_was_read_or_sent() {
    let Two { server, alice, bob, room } = two().await;
    let answer = server.sync(&bob, now(None)).await;
    assert_eq!(unread(&answer, &room), (0, 0));
    let one = server.say(&room, &alice, "one").await;
    server.say(&room, &alice, "two").await;
    let answer = server.sync(&bob, now(Some(token(&answer)))).await;
    assert_eq!(unread(&answer, &room), (2, 0));
    assert_eq!(unread(&server.sync(&alice, now(None)).await, &room), (0, 0), "own messages are read");
    server.read(&bob, &room, &one).await;
    let answer = server.sync(&bob, now(Some(token(&answer)))).await;
    assert_eq!(unread(&answer, &room), (1, 0));
    server.say(&room, &bob, "three").await;
    let answer = server.sync(&bob, now(Some(token(&answer)))).await;
    assert_eq!(unread(&answer, &room), (0, 0));
}

#[tokio::test]
async fn redacted_and_ignored_events_do_not_count() {
    let Two { server, alice, bob, room } = two().await;
    let carol = server.account("carol").await;
    server.join(&room, &carol).await;
    let one = server.say(&room, &alice, "one").await;
    server.say(&room, &alice, "two").await;
    server.say(&room, &carol, "three").await;
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (3, 0));
    server.redact(&room, &alice, &one.event_id).await;
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (2, 0));
    let list = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    server.account_data(&bob, None, "m.ignored_user_list", list).await;
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (1, 0));
}

#[tokio::test]
async fn a_mention_highlights_until_it_is_read() {
    let Two { server, alice, bob, room } = two().await;
    let content = object(json!({
        "msgtype": "m.text", "body": "bob", "m.mentions": { "user_ids": [bob.user_id] },
    }));
    let event = LocalEvent::message(alice.user_id.clone(), "m.room.message", content);
    let mention = server.append(&room, event).await;
    server.say(&room, &alice, "two").await;
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (2, 1));
    server.read(&bob, &room, &mention).await;
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (1, 0));
}

#[tokio::test]
async fn a_public_receipt_is_seen_by_all_and_a_private_one_by_its_owner() {
    let Two { server, alice, bob, room } = two().await;
    let one = server.say(&room, &alice, "one").await;
    let two = server.say(&room, &alice, "two").await;
    let (of_alice, of_bob) = (server.sync(&alice, now(None)).await, server.sync(&bob, now(None)).await);
    server.read(&bob, &room, &one).await;
    server.mark(&bob, &room, ReceiptKind::ReadPrivate, &two, ReceiptThread::Unthreaded).await.unwrap();
    let of_alice = server.sync(&alice, now(Some(token(&of_alice)))).await;
    let events = joined(&of_alice, &room)["ephemeral"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    let receipt = &events[0]["content"][one.event_id.as_str()]["m.read"][bob.user_id.as_str()];
    assert!(receipt["ts"].is_i64() && receipt.get("thread_id").is_none(), "{receipt}");
    assert!(!of_alice.to_string().contains("m.read.private"));

    let of_bob = server.sync(&bob, now(Some(token(&of_bob)))).await;
    let content = &joined(&of_bob, &room)["ephemeral"]["events"][0]["content"];
    assert!(content[two.event_id.as_str()]["m.read.private"][bob.user_id.as_str()].is_object());
    assert_eq!(unread(&of_bob, &room), (0, 0));
    assert!(!server.sync(&alice, now(None)).await.to_string().contains("m.read.private"));
}

#[tokio::test]
async fn receipts_never_go_back() {
    let Two { server, alice, bob, room } = two().await;
    let one = server.say(&room, &alice, "one").await;
    let two = server.say(&room, &alice, "two").await;
    server.read(&bob, &room, &two).await;
    let start = server.sync(&alice, now(None)).await;
    server.read(&bob, &room, &one).await;
    server.read(&bob, &room, &two).await;
    assert_eq!(server.sync(&alice, now(Some(token(&start)))).await.get("rooms"), None);
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (0, 0));
    // A public receipt behind a private one is seen, and rewinds nothing.
    let three = server.say(&room, &alice, "three").await;
    let four = server.say(&room, &alice, "four").await;
    server.mark(&bob, &room, ReceiptKind::ReadPrivate, &four, ReceiptThread::Unthreaded).await.unwrap();
    server.read(&bob, &room, &three).await;
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    let content = &joined(&answer, &room)["ephemeral"]["events"][0]["content"];
    assert!(content[three.event_id.as_str()]["m.read"][bob.user_id.as_str()].is_object());
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (0, 0));
}

#[tokio::test]
async fn the_fully_read_marker_is_account_data_and_never_goes_back() {
    let Two { server, alice, bob, room } = two().await;
    let one = server.say(&room, &alice, "one").await;
    let two = server.say(&room, &alice, "two").await;
    let start = server.sync(&bob, now(None)).await;
    for event in [&two, &one] {
        server.mark(&bob, &room, ReceiptKind::FullyRead, event, ReceiptThread::Unthreaded).await.unwrap();
    }
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    let event = json!({ "type": "m.fully_read", "content": { "event_id": two.event_id } });
    assert_eq!(joined(&answer, &room)["account_data"]["events"], json!([event]));
    assert_eq!(unread(&server.sync(&bob, now(None)).await, &room), (2, 0), "it reads nothing");
}

#[tokio::test]
async fn threads_count_for_themselves() {
    let Two { server, alice, bob, room } = two().await;
    let root = server.say(&room, &alice, "root").await;
    let first = server.reply(&room, &alice, &root.event_id, "r1").await;
    let second = server.reply(&room, &alice, &root.event_id, "r2").await;
    let last = server.say(&room, &alice, "main").await;
    let by_thread = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let counts = async || {
        let answer = server.sync(&bob, filtered(None, &by_thread)).await;
        let threads = &joined(&answer, &room)["unread_thread_notifications"];
        let thread = threads[root.event_id.as_str()]["notification_count"].as_i64();
        let whole = unread(&server.sync(&bob, now(None)).await, &room).0;
        (unread(&answer, &room).0, thread, whole)
    };
    assert_eq!(counts().await, (2, Some(2), 4));
    let in_thread = ReceiptThread::Root(root.event_id.clone());
    server.mark(&bob, &room, ReceiptKind::Read, &first, in_thread.clone()).await.unwrap();
    assert_eq!(counts().await, (2, Some(1), 3));
    server.mark(&bob, &room, ReceiptKind::Read, &last, ReceiptThread::Main).await.unwrap();
    assert_eq!(counts().await, (0, Some(1), 1));
    server.mark(&bob, &room, ReceiptKind::Read, &second, in_thread).await.unwrap();
    assert_eq!(counts().await, (0, None, 0));
    server.say(&room, &alice, "more").await;
    server.reply(&room, &alice, &root.event_id, "r3").await;
    assert_eq!(counts().await, (1, Some(1), 2));
    let newest = server.say(&room, &alice, "newest").await;
    server.read(&bob, &room, &newest).await;
    assert_eq!(counts().await, (0, None, 0), "an unthreaded receipt reads all threads");
    let user = bob.user;
    let nid = room.nid;
    let marks = server
        .store
        .read::<_, StoreError, _>(move |read| crate::store::unread::read_to(read, user, nid))
        .await
        .unwrap();
    assert_eq!(marks, [(crate::store::unread::WHOLE_ROOM, newest.position)], "nothing is kept of threads all read");
}

#[tokio::test]
async fn a_receipt_of_each_thread_is_told() {
    let Two { server, alice, bob, room } = two().await;
    let root = server.say(&room, &alice, "root").await;
    let start = server.sync(&alice, now(None)).await;
    let in_thread = ReceiptThread::Root(root.event_id.clone());
    for thread in [ReceiptThread::Unthreaded, ReceiptThread::Main, in_thread] {
        server.mark(&bob, &room, ReceiptKind::Read, &root, thread).await.unwrap();
    }
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    let mut threads: Vec<Value> = joined(&answer, &room)["ephemeral"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["content"][root.event_id.as_str()]["m.read"][bob.user_id.as_str()]["thread_id"].clone())
        .collect();
    threads.sort_by_key(Value::to_string);
    assert_eq!(threads, [json!(root.event_id), json!("main"), Value::Null]);
}

#[tokio::test]
async fn wrong_receipts_change_nothing() {
    let Two { server, alice, bob, room } = two().await;
    let root = server.say(&room, &alice, "root").await;
    let reply = server.reply(&room, &alice, &root.event_id, "r").await;
    let start = server.sync(&bob, now(None)).await;
    let other = server.room(&alice, "shared").await;
    let elsewhere = server.say(&other, &alice, "elsewhere").await;
    let in_thread = ReceiptThread::Root(root.event_id.clone());
    let unthreaded = ReceiptThread::Unthreaded;
    let (read, fully) = (ReceiptKind::Read, ReceiptKind::FullyRead);
    use ReceiptError::{NotInThread, NotJoined, ThreadNotAllowed, UnknownEvent};
    assert!(matches!(server.mark(&bob, &room, read, &reply, ReceiptThread::Main).await, Err(NotInThread)));
    let of_reply = ReceiptThread::Root(reply.event_id.clone());
    assert!(matches!(server.mark(&bob, &room, read, &root, of_reply).await, Err(NotInThread)));
    assert!(matches!(server.mark(&bob, &room, fully, &reply, in_thread).await, Err(ThreadNotAllowed)));
    assert!(matches!(server.mark(&bob, &room, read, &elsewhere, unthreaded.clone()).await, Err(UnknownEvent)));
    assert!(matches!(server.mark(&bob, &other, read, &elsewhere, unthreaded.clone()).await, Err(NotJoined)));
    // All or none: the first of two marks is not kept when the second is wrong.
    let mark = |event: &Appended| Mark { kind: read, event_id: event.event_id.clone(), thread: unthreaded.clone() };
    let both = server.receipts.set(bob.user, room.room_id.clone(), vec![mark(&reply), mark(&elsewhere)]).await;
    assert!(matches!(both, Err(UnknownEvent)));
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    assert_eq!(joined(&answer, &room), &Value::Null);
}
