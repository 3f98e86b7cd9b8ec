//! "Cross-signing".

use conformance_tests::keys::{Ed25519, cross_signing_key, device_keys};
use conformance_tests::{Client, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// A user's three keys.
struct Identity {
    master: Ed25519,
    self_signing: Ed25519,
    user_signing: Ed25519,
}

impl Identity {
    fn new(seed: u8) -> Self {
        let [master, self_signing, user_signing] = [0, 1, 2].map(|at| Ed25519::new(seed + at));
        Self { master, self_signing, user_signing }
    }

    fn keys(&self, user: &str) -> Value {
        json!({
            "master_key": cross_signing_key(user, "master", &self.master, None),
            "self_signing_key": cross_signing_key(user, "self_signing", &self.self_signing, Some(&self.master)),
            "user_signing_key": cross_signing_key(user, "user_signing", &self.user_signing, Some(&self.master)),
        })
    }
}

async fn with_identity(client: &Client, seed: u8) -> Identity {
    let identity = Identity::new(seed);
    client.post(&v3!("/keys/device_signing/upload"), identity.keys(&client.user_id)).await.ok();
    identity
}

async fn query(client: &Client, user: &Client) -> Value {
    client.post(&v3!("/keys/query"), json!({ "device_keys": { user.user_id.as_str(): [] } })).await.ok()
}

fn password(user: &Client, password: &str, session: &Value) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.user_id },
        "password": password,
        "session": session,
    })
}

fn changed(answer: &Value, user: &Client) -> bool {
    let users = answer["device_lists"]["changed"].as_array();
    users.is_some_and(|users| users.iter().any(|id| id == &user.user_id))
}

#[tokio::test]
async fn the_first_keys_need_no_password_and_others_do() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/keys/device_signing/upload");
    let identity = with_identity(&alice, 10).await;
    // The answer may have been lost.
    alice.post(&path, identity.keys(&alice.user_id)).await.ok();
    let mut others = Identity::new(20).keys(&alice.user_id);
    let challenge = alice.post(&path, others.clone()).await.expect_status(401).json;
    others["auth"] = password(&alice, "wrong", &challenge["session"]);
    alice.post(&path, others.clone()).await.expect_status(401);
    let seen = query(&alice, &alice).await;
    assert_eq!(seen["master_keys"][&alice.user_id], identity.keys(&alice.user_id)["master_key"]);
    others["auth"] = password(&alice, server.password(), &challenge["session"]);
    alice.post(&path, others.clone()).await.ok();
    let seen = query(&alice, &alice).await;
    assert_eq!(seen["master_keys"][&alice.user_id], others["master_key"]);
    assert_eq!(seen["self_signing_keys"][&alice.user_id], others["self_signing_key"]);
}

#[tokio::test]
async fn keys_are_shown_to_others_but_the_user_signing_key() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let keys = with_identity(&alice, 10).await.keys(&alice.user_id);
    let own = query(&alice, &alice).await;
    let foreign = query(&bob, &alice).await;
    for (field, key) in [("master_keys", "master_key"), ("self_signing_keys", "self_signing_key")] {
        assert_eq!(own[field][&alice.user_id], keys[key]);
        assert_eq!(foreign[field][&alice.user_id], keys[key]);
    }
    assert_eq!(own["user_signing_keys"][&alice.user_id], keys["user_signing_key"]);
    assert_eq!(foreign["user_signing_keys"].get(&alice.user_id), None, "{foreign}");
}

#[tokio::test]
async fn keys_must_be_the_users_and_signed_by_the_master_key() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/keys/device_signing/upload");
    let keys = Identity::new(10).keys(&alice.user_id);
    alice
        .post(&path, json!({ "self_signing_key": keys["self_signing_key"] }))
        .await
        .expect_error(400, "M_MISSING_PARAM");
    let mut unsigned = keys.clone();
    unsigned["self_signing_key"] = cross_signing_key(&alice.user_id, "self_signing", &Ed25519::new(30), None);
    alice.post(&path, unsigned).await.expect_error(400, "M_INVALID_SIGNATURE");
    let mut of_another = keys.clone();
    let stranger = Ed25519::new(40);
    of_another["user_signing_key"] =
        cross_signing_key(&alice.user_id, "user_signing", &Ed25519::new(30), Some(&stranger));
    alice.post(&path, of_another).await.expect_error(400, "M_INVALID_SIGNATURE");
    let mut changed = keys.clone();
    changed["self_signing_key"]["org.example"] = json!(1);
    alice.post(&path, changed).await.expect_error(400, "M_INVALID_SIGNATURE");
    let mallory = cross_signing_key("@mallory:example.org", "master", &Ed25519::new(10), None);
    alice.post(&path, json!({ "master_key": mallory })).await.expect_error(400, "M_INVALID_PARAM");
    let other_usage = cross_signing_key(&alice.user_id, "self_signing", &Ed25519::new(10), None);
    alice.post(&path, json!({ "master_key": other_usage })).await.expect_error(400, "M_INVALID_PARAM");
    assert_eq!(query(&alice, &alice).await["master_keys"].get(&alice.user_id), None, "nothing was taken");
}

#[tokio::test]
async fn a_device_and_a_cross_signing_key_never_share_a_name() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let identity = Identity::new(10);
    let login = |device: String| {
        json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": alice.user_id },
            "password": server.password(),
            "device_id": device,
        })
    };
    alice.post(&v3!("/login"), login(identity.self_signing.public())).await.ok();
    let path = v3!("/keys/device_signing/upload");
    alice.post(&path, identity.keys(&alice.user_id)).await.expect_error(403, "M_FORBIDDEN");
    let other = with_identity(&alice, 20).await;
    alice.post(&v3!("/login"), login(other.master.public())).await.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_signed_device_is_seen_by_everybody() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let identity = with_identity(&alice, 10).await;
    let mut keys = device_keys(&alice, &Ed25519::new(1));
    alice.post(&v3!("/keys/upload"), json!({ "device_keys": keys })).await.ok();
    let since = bob.now().await;
    let path = v3!("/keys/signatures/upload");
    identity.self_signing.sign(&mut keys, &alice.user_id, &identity.self_signing.public());
    let body = json!({ alice.user_id.as_str(): { alice.device_id.as_str(): keys } });
    assert_eq!(alice.post(&path, body).await.ok()["failures"], json!({}));
    let answer = query(&bob, &alice).await;
    assert_eq!(answer["device_keys"][&alice.user_id][&alice.device_id]["signatures"], keys["signatures"]);
    bob.wait_until_sync(&since, |answer| changed(answer, &alice)).await;

    // Alice's device signs her master key: seen by everybody, too.
    let mut master = identity.keys(&alice.user_id)["master_key"].clone();
    Ed25519::new(1).sign(&mut master, &alice.user_id, &alice.device_id);
    let body = json!({ alice.user_id.as_str(): { identity.master.public(): master } });
    assert_eq!(alice.post(&path, body).await.ok()["failures"], json!({}));
    let answer = query(&bob, &alice).await;
    assert_eq!(answer["master_keys"][&alice.user_id]["signatures"], master["signatures"]);
}

#[tokio::test]
async fn whom_somebody_verified_is_seen_by_themselves_alone() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let (alices, bobs) = (with_identity(&alice, 10).await, with_identity(&bob, 20).await);
    let (laptop, since) = (server.new_device(&alice).await, alice.now().await);
    let bobs_since = bob.now().await;
    let mut master = bobs.keys(&bob.user_id)["master_key"].clone();
    alices.user_signing.sign(&mut master, &alice.user_id, &alices.user_signing.public());
    let body = json!({ bob.user_id.as_str(): { bobs.master.public(): master } });
    assert_eq!(alice.post(&v3!("/keys/signatures/upload"), body).await.ok()["failures"], json!({}));
    assert_eq!(query(&laptop, &bob).await["master_keys"][&bob.user_id]["signatures"], master["signatures"]);
    let seen = query(&bob, &bob).await;
    assert_eq!(seen["master_keys"][&bob.user_id], bobs.keys(&bob.user_id)["master_key"]);
    // Alice's other devices hear that Bob looks different now, Bob hears nothing.
    laptop.wait_until_sync(&since, |answer| changed(answer, &bob)).await;
    let answer = bob.sync(Sync::since(&bobs_since)).await;
    assert!(!changed(&answer, &bob) && !changed(&answer, &alice), "{answer}");
}

#[tokio::test]
async fn wrong_signatures_are_named_and_the_others_are_taken() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let (identity, bobs) = (with_identity(&alice, 10).await, with_identity(&bob, 20).await);
    let keys = device_keys(&alice, &Ed25519::new(1));
    alice.post(&v3!("/keys/upload"), json!({ "device_keys": keys })).await.ok();
    let mut good = keys.clone();
    identity.self_signing.sign(&mut good, &alice.user_id, &identity.self_signing.public());
    let mut wrong = bobs.keys(&bob.user_id)["master_key"].clone();
    identity.self_signing.sign(&mut wrong, &alice.user_id, &identity.user_signing.public());
    let body = json!({
        alice.user_id.as_str(): { alice.device_id.as_str(): good, "NONE": good },
        bob.user_id.as_str(): { bobs.master.public(): wrong, bob.device_id.as_str(): good },
    });
    let failures = alice.post(&v3!("/keys/signatures/upload"), body).await.ok()["failures"].clone();
    assert_eq!(failures[&bob.user_id][bobs.master.public()]["errcode"], "M_INVALID_SIGNATURE", "{failures}");
    assert_eq!(failures[&alice.user_id]["NONE"]["errcode"], "M_NOT_FOUND", "{failures}");
    assert_eq!(failures[&alice.user_id].get(&alice.device_id), None, "{failures}");
    // What differs from the key that is known is no signature of it.
    let mut other = keys.clone();
    other["algorithms"] = json!(["other"]);
    identity.self_signing.sign(&mut other, &alice.user_id, &identity.self_signing.public());
    let body = json!({ alice.user_id.as_str(): { alice.device_id.as_str(): other } });
    let failures = alice.post(&v3!("/keys/signatures/upload"), body).await.ok()["failures"].clone();
    assert!(failures[&alice.user_id][&alice.device_id]["errcode"].is_string(), "{failures}");
}
