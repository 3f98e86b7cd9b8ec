//! "Key management API": device keys, one-time keys and fallback keys.

use std::collections::BTreeSet;

use conformance_tests::keys::{Ed25519, device_keys, one_time_key};
use conformance_tests::{Client, Options, Server, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// Uploads the client's device keys; gives them.
async fn upload(client: &Client, seed: u8) -> Value {
    let keys = device_keys(client, &Ed25519::new(seed));
    client.post(&v3!("/keys/upload"), json!({ "device_keys": keys })).await.ok();
    keys
}

async fn query(client: &Client, user: &Client) -> Value {
    client.post(&v3!("/keys/query"), json!({ "device_keys": { user.user_id.as_str(): [] } })).await.ok()
}

async fn claim(client: &Client, of: &Client) -> Value {
    let body = json!({ "one_time_keys": { of.user_id.as_str(): { of.device_id.as_str(): "signed_curve25519" } } });
    let answer = client.post(&v3!("/keys/claim"), body).await.ok();
    assert_eq!(answer["failures"], json!({}), "{answer}");
    answer["one_time_keys"][&of.user_id][&of.device_id].clone()
}

/// One-time keys with these ids.
fn one_time(client: &Client, ids: &[&str]) -> Value {
    let key = Ed25519::new(1);
    let keys = ids.iter().map(|id| (format!("signed_curve25519:{id}"), one_time_key(client, &key, id)));
    Value::Object(keys.collect())
}

#[tokio::test]
async fn uploaded_device_keys_are_given_to_whoever_asks() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let keys = upload(&alice, 1).await;
    let path = v3!("/devices/{}", alice.device_id);
    alice.put(&path, json!({ "display_name": "Alice's telephone" })).await.ok();
    let answer = query(&bob, &alice).await;
    let mut seen = answer["device_keys"][&alice.user_id][&alice.device_id].clone();
    assert_eq!(seen["unsigned"]["device_display_name"], "Alice's telephone");
    seen.as_object_mut().expect("keys").remove("unsigned");
    assert_eq!(seen, keys);
    assert_eq!(answer["failures"], json!({}));

    let some = json!({ "device_keys": { alice.user_id.as_str(): [alice.device_id, "NONE"] } });
    let answer = bob.post(&v3!("/keys/query"), some).await.ok();
    let devices = answer["device_keys"][&alice.user_id].as_object().expect("devices");
    assert_eq!(devices.keys().collect::<Vec<_>>(), [&alice.device_id]);
    let nobody = json!({ "device_keys": { format!("@nobody-at-all:{}", server.name()): [] } });
    assert_eq!(bob.post(&v3!("/keys/query"), nobody).await.ok()["device_keys"], json!({}));
}

#[tokio::test]
async fn keys_of_another_device_or_of_another_shape_are_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let good = device_keys(&alice, &Ed25519::new(1));
    let with = |field: &str, value: Value| {
        let mut keys = good.clone();
        keys[field] = value;
        json!({ "device_keys": keys })
    };
    for body in [
        with("user_id", json!("@mallory:example.org")),
        with("device_id", json!("OTHER")),
        with("algorithms", json!("all")),
        with("keys", json!([])),
        with("signatures", json!({ alice.user_id.as_str(): "x" })),
        json!({ "one_time_keys": { "noname": { "key": "x", "signatures": {} } } }),
        json!({ "one_time_keys": { "signed_curve25519:A": "unsigned" } }),
        json!({ "one_time_keys": { "signed_curve25519:A": { "signatures": {} } } }),
        json!({ "one_time_keys": [] }),
    ] {
        alice.post(&v3!("/keys/upload"), body).await.expect_error(400, "M_BAD_JSON");
    }
    let body = json!({ "device_keys": { alice.user_id.as_str(): { "not": "a list" } } });
    alice.post(&v3!("/keys/query"), body).await.expect_error(400, "M_BAD_JSON");
    assert_eq!(query(&alice, &alice).await["device_keys"][&alice.user_id], json!({}), "nothing was taken");
}

#[tokio::test]
async fn one_time_keys_are_counted_and_an_id_keeps_its_key() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/keys/upload");
    let since = alice.now().await;
    let answer = alice.post(&path, json!({})).await.ok();
    assert_eq!(answer, json!({ "one_time_key_counts": {} }));
    let answer = alice.post(&path, json!({ "one_time_keys": one_time(&alice, &["A", "B"]) })).await.ok();
    assert_eq!(answer, json!({ "one_time_key_counts": { "signed_curve25519": 2 } }));
    // The same once more is what a client does that lost the answer.
    let answer = alice.post(&path, json!({ "one_time_keys": one_time(&alice, &["B"]) })).await.ok();
    assert_eq!(answer["one_time_key_counts"]["signed_curve25519"], 2);
    let mut other = one_time(&alice, &["C", "B"]);
    other["signed_curve25519:B"]["key"] = "another".into();
    alice.post(&path, json!({ "one_time_keys": other })).await.expect_status(400);
    let answer = alice.sync(Sync::since(&since)).await;
    assert_eq!(answer["device_one_time_keys_count"], json!({ "signed_curve25519": 2 }), "C was not taken");
}

#[tokio::test]
async fn a_one_time_key_is_claimed_once_however_many_ask_at_once() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let ids: Vec<String> = (0..20).map(|number| format!("K{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    alice.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time(&alice, &ids) })).await.ok();
    let mut claims = Vec::new();
    for _ in 0..24 {
        let (alice, bob) = (alice.clone(), bob.clone());
        claims.push(tokio::spawn(async move { claim(&bob, &alice).await }));
    }
    let mut claimed = Vec::new();
    for task in claims {
        let keys = task.await.expect("a claim");
        claimed.extend(keys.as_object().into_iter().flatten().map(|(id, _)| id.clone()));
    }
    let distinct: BTreeSet<&String> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (20, 20), "each key once: {claimed:?}");
    // Uploaded again by a client that lost the answer, the keys are still gone.
    let answer = alice.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time(&alice, &ids) })).await.ok();
    assert_eq!(answer["one_time_key_counts"].get("signed_curve25519"), None, "{answer}");
    assert_eq!(claim(&bob, &alice).await, Value::Null);
}

#[tokio::test]
async fn keys_are_claimed_in_the_order_of_their_upload_and_the_claim_outlives_a_kill() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for id in ["Z", "M", "A"] {
        alice.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time(&alice, &[id]) })).await.ok();
    }
    let first = claim(&bob, &alice).await;
    assert_eq!(first, one_time(&alice, &["Z"]));
    server.kill9();
    server.restart();
    let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    assert_eq!(claim(&bob, &alice).await, one_time(&alice, &["M"]));
    assert_eq!(claim(&bob, &alice).await, one_time(&alice, &["A"]));
    assert_eq!(claim(&bob, &alice).await, Value::Null);
}

#[tokio::test]
async fn a_fallback_key_is_handed_out_again_and_again_and_its_owner_is_told() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = v3!("/keys/upload");
    let fallback = |id: &str| {
        let mut key = json!({ "key": id, "fallback": true });
        Ed25519::new(1).sign(&mut key, &alice.user_id, &alice.device_id);
        json!({ format!("signed_curve25519:{id}"): key })
    };
    let body = json!({ "one_time_keys": one_time(&alice, &["A"]), "fallback_keys": fallback("F1") });
    alice.post(&path, body).await.ok();
    let unused = async || alice.sync(Sync::initial()).await["device_unused_fallback_key_types"].clone();
    assert_eq!(claim(&bob, &alice).await, one_time(&alice, &["A"]));
    assert_eq!(unused().await, json!(["signed_curve25519"]));
    assert_eq!(claim(&bob, &alice).await, fallback("F1"));
    assert_eq!(claim(&bob, &alice).await, fallback("F1"));
    assert_eq!(unused().await, json!([]));
    alice.post(&path, json!({ "fallback_keys": fallback("F1") })).await.ok();
    assert_eq!(unused().await, json!([]), "the same key is still a used one");
    alice.post(&path, json!({ "fallback_keys": fallback("F2") })).await.ok();
    assert_eq!(unused().await, json!(["signed_curve25519"]));
    assert_eq!(claim(&bob, &alice).await, fallback("F2"));
}

#[tokio::test]
async fn counts_are_right_in_answers_without_news() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time(&alice, &["A", "B"]) })).await.ok();
    let since = alice.now().await;
    for left in [2, 1] {
        let answer = alice.sync(Sync::since(&since)).await;
        assert_eq!(answer["device_one_time_keys_count"]["signed_curve25519"], left, "{answer}");
        claim(&bob, &alice).await;
    }
    let answer = alice.sync(Sync::since(&since)).await;
    assert_eq!(answer["device_one_time_keys_count"].get("signed_curve25519"), None, "{answer}");
}

#[tokio::test]
async fn the_keys_of_a_device_go_with_it() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let laptop = server.new_device(&alice).await;
    upload(&laptop, 2).await;
    laptop.post(&v3!("/keys/upload"), json!({ "one_time_keys": one_time(&laptop, &["A"]) })).await.ok();
    laptop.post(&v3!("/logout"), json!({})).await.ok();
    assert_eq!(query(&bob, &alice).await["device_keys"][&alice.user_id], json!({}));
    assert_eq!(claim(&bob, &laptop).await, Value::Null);
}
