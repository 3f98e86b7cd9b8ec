//! Client-Server API, "Syncing": `timeout`.

use super::*;

/// Runs `then` once a poll of `user` waits.
async fn while_waiting<T>(server: &Server, poll: impl Future<Output = Value>, then: impl Future<Output = T>) -> Value {
    let act = async {
        while server.notifier.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        then.await
    };
    tokio::join!(poll, act).0
}

#[tokio::test]
async fn a_message_ends_it() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&bob, now(None)).await;
    let poll = server.poll(&bob, now(Some(token(&start))));
    let answer = while_waiting(&server, poll, server.say(&room, &alice, "one")).await;
    assert_eq!(said(&answer, &room), ["one"]);
    assert_eq!(server.notifier.waiting(), 0);
}

#[tokio::test]
async fn what_the_filter_leaves_out_does_not_end_it() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    let filter = json!({ "room": { "timeline": { "not_types": ["org.example.noise"] } } });
    let poll = server.poll(&alice, filtered(Some(token(&start)), &filter));
    let act = async {
        let noise = LocalEvent::message(alice.user_id.clone(), "org.example.noise", object(json!({})));
        server.append(&room, noise).await;
        server.say(&room, &alice, "one").await;
    };
    let answer = while_waiting(&server, poll, act).await;
    assert_eq!(said(&answer, &room), ["one"]);
}

#[tokio::test]
async fn an_invitation_a_receipt_typing_and_account_data_end_it() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&bob, now(None)).await;
    let poll = server.poll(&bob, now(Some(token(&start))));
    let answer = while_waiting(&server, poll, server.member(&room, &alice, &bob, "invite")).await;
    assert!(answer["rooms"]["invite"].is_object());
    let sent = server.join(&room, &bob).await;
    let start = server.sync(&bob, now(Some(token(&answer)))).await;

    let poll = server.poll(&bob, now(Some(token(&start))));
    let answer = while_waiting(&server, poll, server.read(&alice, &room, &sent)).await;
    assert_eq!(joined(&answer, &room)["ephemeral"]["events"][0]["type"], "m.receipt");

    let poll = server.poll(&bob, now(Some(token(&answer))));
    let types = server.typing.set(alice.user, room.room_id.clone(), Some(Duration::from_secs(30)));
    let answer = while_waiting(&server, poll, types).await;
    let event = json!({ "type": "m.typing", "content": { "user_ids": [alice.user_id] } });
    assert_eq!(joined(&answer, &room)["ephemeral"]["events"], json!([event]));

    let poll = server.poll(&bob, now(Some(token(&answer))));
    let answer = while_waiting(&server, poll, server.account_data(&bob, None, "org.example.a", json!({}))).await;
    assert_eq!(answer["account_data"]["events"][0]["type"], "org.example.a");
}

#[tokio::test]
async fn typing_ends_by_itself() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    server.typing.set(alice.user, room.room_id.clone(), Some(Duration::from_millis(1))).await.unwrap();
    let begun = server.sync(&alice, now(Some(token(&start)))).await;
    assert_eq!(joined(&begun, &room)["ephemeral"]["events"][0]["content"]["user_ids"], json!([alice.user_id]));
    let expiry = server.typing.run();
    let poll = server.poll(&alice, now(Some(token(&begun))));
    let answer = tokio::select! {
        answer = poll => answer,
        () = expiry => unreachable!("it runs for ever"),
    };
    assert_eq!(joined(&answer, &room)["ephemeral"]["events"][0]["content"]["user_ids"], json!([]));
}

#[tokio::test]
async fn who_leaves_types_no_more() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    server.typing.set(bob.user, room.room_id.clone(), Some(Duration::from_secs(60))).await.unwrap();
    let start = server.sync(&alice, now(None)).await;
    assert_eq!(joined(&start, &room)["ephemeral"]["events"][0]["content"]["user_ids"], json!([bob.user_id]));
    server.member(&room, &bob, &bob, "leave").await;
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    assert_eq!(joined(&answer, &room)["ephemeral"]["events"][0]["content"]["user_ids"], json!([]));
}

#[tokio::test]
async fn all_devices_are_woken_and_stopping_ends_all() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    let (one, two) = (server.poll(&alice, now(Some(token(&start)))), server.poll(&alice, now(Some(token(&start)))));
    let both = async { json!([one.await]) };
    let (first, second) = tokio::join!(while_waiting(&server, both, server.say(&room, &alice, "one")), two);
    assert_eq!(said(&first[0], &room), ["one"]);
    assert_eq!(said(&second, &room), ["one"]);

    let poll = server.poll(&alice, now(Some(token(&second))));
    let answer = while_waiting(&server, poll, async { server.notifier.stop() }).await;
    assert_eq!(answer.get("rooms"), None);
}

#[tokio::test]
async fn the_time_runs_out() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let start = server.sync(&alice, now(None)).await;
    let request = SyncRequest { timeout: Duration::from_millis(1), ..now(Some(token(&start))) };
    let answer = server.sync(&alice, request).await;
    assert_eq!(answer.get("rooms"), None);
    assert_eq!(token(&answer), token(&start));
}
