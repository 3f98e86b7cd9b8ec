//! Keys and messages to devices across servers.

use conformance_tests::keys::{Ed25519, cross_signing_key, device_keys, one_time_key};
use conformance_tests::{Client, Sync, eventually, shared_room, v3};
use serde_json::{Value, json};

use crate::{own, pair};

async fn upload(client: &Client, seed: u8) -> Value {
    let keys = device_keys(client, &Ed25519::new(seed));
    client.post(&v3!("/keys/upload"), json!({ "device_keys": keys })).await.ok();
    keys
}

async fn query(client: &Client, user: &Client) -> Value {
    client.post(&v3!("/keys/query"), json!({ "device_keys": { user.user_id.as_str(): [] } })).await.ok()
}

/// The signed part of a device's keys as another user sees them, null if they see none.
async fn seen(client: &Client, device: &Client) -> Value {
    let answer = query(client, device).await;
    assert_eq!(answer["failures"], json!({}), "{answer}");
    let mut keys = answer["device_keys"][&device.user_id][&device.device_id].clone();
    if let Some(keys) = keys.as_object_mut() {
        keys.remove("unsigned");
    }
    keys
}

fn changed(answer: &Value, user: &Client) -> bool {
    let users = answer["device_lists"]["changed"].as_array();
    users.is_some_and(|users| users.iter().any(|id| id == &user.user_id))
}

async fn send(from: &Client, to: &Client, device: &str, number: i64) {
    let path = v3!("/sendToDevice/org.example.number/{}", from.next_transaction());
    let body = json!({ "messages": { to.user_id.as_str(): { device: { "number": number } } } });
    from.put(&path, body).await.ok();
}

/// Syncs until `count` messages came, each acknowledged; gives their numbers.
async fn receive(client: &Client, mut since: String, count: usize) -> (Vec<i64>, String) {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let answer = client.wait_until_sync(&since, |answer| answer["to_device"]["events"].is_array()).await;
        for event in answer["to_device"]["events"].as_array().into_iter().flatten() {
            numbers.push(event["content"]["number"].as_i64().expect("a number"));
        }
        since = answer["next_batch"].as_str().expect("a token").to_owned();
    }
    (numbers, since)
}

#[tokio::test]
async fn keys_are_asked_for_and_claimed_across_servers() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let keys = upload(&bob, 1).await;
    // Without a shared room their server is asked each time.
    assert_eq!(seen(&alice, &bob).await, keys);
    shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    assert_eq!(seen(&alice, &bob).await, keys);
    let key = Ed25519::new(1);
    let one_time: serde_json::Map<String, Value> =
        ["A", "B"].map(|id| (format!("signed_curve25519:{id}"), one_time_key(&bob, &key, id))).into_iter().collect();
    bob.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time })).await.ok();
    let body = json!({ "one_time_keys": { bob.user_id.as_str(): { bob.device_id.as_str(): "signed_curve25519" } } });
    let mut claimed = serde_json::Map::new();
    for _ in 0..2 {
        let answer = alice.post(&v3!("/keys/claim"), body.clone()).await.ok();
        assert_eq!(answer["failures"], json!({}), "{answer}");
        let got = answer["one_time_keys"][&bob.user_id][&bob.device_id].as_object().expect("a key").clone();
        claimed.extend(got);
    }
    assert_eq!(claimed, one_time, "each once");
    let answer = alice.post(&v3!("/keys/claim"), body).await.ok();
    assert_eq!(answer["one_time_keys"].get(&bob.user_id), None, "{answer}");
}

#[tokio::test]
async fn changed_devices_reach_those_who_share_a_room() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    assert_eq!(seen(&alice, &bob).await, Value::Null);
    for seed in 1..4 {
        let since = alice.now().await;
        let keys = upload(&bob, seed).await;
        alice.wait_until_sync(&since, |answer| changed(answer, &bob)).await;
        eventually("the new keys are seen", || async { (seen(&alice, &bob).await == keys).then_some(()) }).await;
    }
    let laptop = b.new_device(&bob).await;
    let since = alice.now().await;
    let keys = upload(&laptop, 9).await;
    alice.wait_until_sync(&since, |answer| changed(answer, &bob)).await;
    eventually("the laptop is seen", || async { (seen(&alice, &laptop).await == keys).then_some(()) }).await;
    let since = alice.now().await;
    laptop.post(&v3!("/logout"), json!({})).await.ok();
    alice.wait_until_sync(&since, |answer| changed(answer, &bob)).await;
    eventually("the laptop is gone", || async { seen(&alice, &laptop).await.is_null().then_some(()) }).await;
}

#[tokio::test]
async fn cross_signing_keys_reach_the_other_server() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let mut device = upload(&bob, 1).await;
    eventually("the device is seen", || async { (seen(&alice, &bob).await == device).then_some(()) }).await;
    let (master, signing) = (Ed25519::new(2), Ed25519::new(3));
    let keys = json!({
        "master_key": cross_signing_key(&bob.user_id, "master", &master, None),
        "self_signing_key": cross_signing_key(&bob.user_id, "self_signing", &signing, Some(&master)),
        "user_signing_key": cross_signing_key(&bob.user_id, "user_signing", &Ed25519::new(4), Some(&master)),
    });
    bob.post(&v3!("/keys/device_signing/upload"), keys.clone()).await.ok();
    eventually("the keys are seen", || async {
        let answer = query(&alice, &bob).await;
        assert_eq!(answer["user_signing_keys"].get(&bob.user_id), None, "{answer}");
        let both = answer["master_keys"][&bob.user_id] == keys["master_key"]
            && answer["self_signing_keys"][&bob.user_id] == keys["self_signing_key"];
        both.then_some(())
    })
    .await;
    signing.sign(&mut device, &bob.user_id, &signing.public());
    let body = json!({ bob.user_id.as_str(): { bob.device_id.as_str(): device } });
    assert_eq!(bob.post(&v3!("/keys/signatures/upload"), body).await.ok()["failures"], json!({}));
    eventually("the signature is seen", || async { (seen(&alice, &bob).await == device).then_some(()) }).await;
}

#[tokio::test]
async fn messages_reach_devices_of_other_servers_in_order_and_once() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let laptop = b.new_device(&bob).await;
    let since = bob.now().await;
    for number in 0..30 {
        send(&alice, &bob, &bob.device_id, number).await;
    }
    send(&alice, &bob, "*", 30).await;
    let (numbers, since) = receive(&bob, since, 31).await;
    assert_eq!(numbers, (0..=30).collect::<Vec<_>>());
    let answer = laptop.wait_until_sync_with(Sync::initial(), |answer| answer["to_device"]["events"].is_array()).await;
    assert_eq!(answer["to_device"]["events"][0]["content"], json!({ "number": 30 }));
    assert_eq!(answer["to_device"]["events"][0]["sender"], alice.user_id);
    assert!(bob.sync(Sync::since(&since)).await["to_device"]["events"].is_null());
}

#[tokio::test]
async fn messages_and_changes_wait_for_a_server_that_is_away() {
    let [a, mut b] = own::<2>();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    upload(&alice, 1).await;
    eventually("the keys are seen", || async { (!seen(&bob, &alice).await.is_null()).then_some(()) }).await;
    let since = bob.now().await;
    b.kill9();
    for number in 0..3 {
        send(&alice, &bob, &bob.device_id, number).await;
    }
    let keys = upload(&alice, 2).await;
    b.restart();
    let bob = bob.at(&b.base);
    // Whoever says something is heard of: the other server does not wait for the end of its pause.
    query(&bob, &alice).await;
    let (numbers, _) = receive(&bob, since, 3).await;
    assert_eq!(numbers, [0, 1, 2]);
    eventually("the new keys are seen", || async { (seen(&bob, &alice).await == keys).then_some(()) }).await;
}
