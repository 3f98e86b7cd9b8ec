//! "Send-to-Device messaging".

use conformance_tests::{Client, Options, Server, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn messages(answer: &Value) -> Vec<Value> {
    answer["to_device"]["events"].as_array().cloned().unwrap_or_default()
}

fn numbers(answer: &Value) -> Vec<i64> {
    messages(answer).iter().map(|event| event["content"]["number"].as_i64().expect("a number")).collect()
}

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().expect("a token").to_owned()
}

async fn send(from: &Client, to: &Client, device: &str, number: i64) {
    let path = v3!("/sendToDevice/org.example.number/{}", from.next_transaction());
    let body = json!({ "messages": { to.user_id.as_str(): { device: { "number": number } } } });
    from.put(&path, body).await.ok();
}

#[tokio::test]
async fn a_message_is_given_until_it_is_acknowledged_and_then_no_more() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let since = bob.now().await;
    send(&alice, &bob, &bob.device_id, 1).await;
    let answer = bob.sync(Sync::since(&since)).await;
    let event = json!({ "type": "org.example.number", "sender": alice.user_id, "content": { "number": 1 } });
    assert_eq!(messages(&answer), [event]);
    // The answer was lost: the same token again, before and after a kill.
    assert_eq!(numbers(&bob.sync(Sync::since(&since)).await), [1]);
    server.kill9();
    server.restart();
    let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    assert_eq!(numbers(&bob.sync(Sync::since(&since)).await), [1]);
    // The next token acknowledges it, also across a kill.
    let answer = bob.sync(Sync::since(&next(&answer))).await;
    assert_eq!(numbers(&answer), [] as [i64; 0]);
    send(&alice, &bob, &bob.device_id, 2).await;
    server.kill9();
    server.restart();
    let bob = bob.at(&server.base);
    let answer = bob.sync(Sync::since(&next(&answer))).await;
    assert_eq!(numbers(&answer), [2]);
    bob.sync(Sync::since(&next(&answer))).await;
    assert_eq!(
        numbers(&bob.sync(Sync::initial()).await),
        [] as [i64; 0],
        "nothing is left for a client that begins anew"
    );
}

#[tokio::test]
async fn a_client_that_only_polls_acknowledges_too() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let since = bob.now().await;
    send(&alice, &bob, &bob.device_id, 1).await;
    let answer = bob.wait_until_sync(&since, |answer| !messages(answer).is_empty()).await;
    let answer = bob.sync(Sync::since(&next(&answer))).await;
    assert!(messages(&answer).is_empty());
    assert!(messages(&bob.sync(Sync::initial()).await).is_empty());
}

#[tokio::test]
async fn a_message_wakes_a_waiting_poll() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let since = bob.now().await;
    let waiting = bob.clone();
    let poll = tokio::spawn(async move { waiting.sync(Sync::since(&since).timeout(30_000)).await });
    send(&alice, &bob, &bob.device_id, 7).await;
    assert_eq!(numbers(&poll.await.expect("a poll")), [7]);
}

#[tokio::test]
async fn a_repeated_transaction_sends_nothing_more() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let other = server.new_device(&alice).await;
    let since = bob.now().await;
    let body = json!({ "messages": { bob.user_id.as_str(): { bob.device_id.as_str(): { "number": 1 } } } });
    let path = v3!("/sendToDevice/org.example.number/once");
    for _ in 0..3 {
        alice.put(&path, body.clone()).await.ok();
    }
    assert_eq!(numbers(&bob.sync(Sync::since(&since)).await), [1]);
    // Another type and another device are other requests.
    alice.put(&v3!("/sendToDevice/org.example.other/once"), body.clone()).await.ok();
    other.put(&path, body).await.ok();
    assert_eq!(numbers(&bob.sync(Sync::since(&since)).await), [1, 1, 1]);
}

#[tokio::test]
async fn a_star_is_every_device_and_strangers_are_passed_over() {
    let server = SERVER.get();
    let (alice, phone) = (server.register("alice").await, server.register("bob").await);
    let laptop = server.new_device(&phone).await;
    send(&alice, &phone, "*", 1).await;
    send(&alice, &phone, &laptop.device_id, 2).await;
    send(&alice, &phone, "NONE", 3).await;
    assert_eq!(numbers(&phone.sync(Sync::initial()).await), [1]);
    assert_eq!(numbers(&laptop.sync(Sync::initial()).await), [1, 2]);
    let nobody = json!({ "messages": { format!("@nobody-at-all:{}", server.name()): { "*": { "number": 1 } } } });
    alice.put(&v3!("/sendToDevice/org.example.number/{}", alice.next_transaction()), nobody).await.ok();
}

#[tokio::test]
async fn a_long_queue_comes_in_order_in_answers_of_a_hundred() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let mut since = bob.now().await;
    for number in 0..250 {
        send(&alice, &bob, &bob.device_id, number).await;
    }
    let (mut seen, mut answers) = (Vec::new(), 0);
    while seen.len() < 250 {
        // Each answer twice: a lost one is given again.
        let answer = bob.sync(Sync::since(&since)).await;
        assert_eq!(numbers(&bob.sync(Sync::since(&since)).await), numbers(&answer));
        assert!((1..=100).contains(&numbers(&answer).len()), "{answer}");
        if answers == 0 {
            send(&alice, &bob, &bob.device_id, 250).await;
        }
        seen.extend(numbers(&answer));
        answers += 1;
        since = next(&answer);
    }
    seen.extend(numbers(&bob.sync(Sync::since(&since)).await));
    seen.dedup();
    assert_eq!(seen, (0..=250).collect::<Vec<_>>());
    assert!(answers >= 3, "{answers}");
    // The token of such an answer is good for /messages like any other.
    let room = bob.create_room(json!({})).await;
    bob.messages(&room, &[("dir", "b"), ("from", &since)]).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_as_a_whole() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = || v3!("/sendToDevice/org.example.number/{}", alice.next_transaction());
    alice.put(&path(), json!({})).await.expect_error(400, "M_BAD_JSON");
    let content = json!({ "messages": { bob.user_id.as_str(): { bob.device_id.as_str(): "text" } } });
    alice.put(&path(), content).await.expect_error(400, "M_BAD_JSON");
    let large = "x".repeat(70_000);
    let content = json!({ "messages": { bob.user_id.as_str(): {
        "*": { "number": 1 }, bob.device_id.as_str(): { "number": 2, "text": large }
    } } });
    alice.put(&path(), content).await.expect_error(413, "M_TOO_LARGE");
    assert!(messages(&bob.sync(Sync::initial()).await).is_empty());
}
