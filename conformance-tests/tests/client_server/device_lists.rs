//! "Tracking the device list for a user": `device_lists` of /sync and `/keys/changes`.

use conformance_tests::keys::{Ed25519, device_keys};
use conformance_tests::{Client, Sync, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn has(list: &Value, user: &Client) -> bool {
    list.as_array().is_some_and(|users| users.iter().any(|id| id == &user.user_id))
}

fn changed(answer: &Value, user: &Client) -> bool {
    has(&answer["device_lists"]["changed"], user)
}

fn left(answer: &Value, user: &Client) -> bool {
    has(&answer["device_lists"]["left"], user)
}

async fn upload(client: &Client, seed: u8) {
    let keys = device_keys(client, &Ed25519::new(seed));
    client.post(&v3!("/keys/upload"), json!({ "device_keys": keys })).await.ok();
}

#[tokio::test]
async fn those_who_share_a_room_hear_of_new_changed_and_lost_devices() {
    let server = SERVER.get();
    let (alice, bob, carol) =
        (server.register("alice").await, server.register("bob").await, server.register("carol").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let mut since = bob.now().await;
    let carols = carol.now().await;
    let laptop = server.new_device(&alice).await;
    let hears = async |since: &str| {
        let answer = bob.wait_until_sync(since, |answer| changed(answer, &alice)).await;
        let keys = bob.get(&(v3!("/keys/changes") + &format!("?from={since}&to={since}"))).await.ok();
        assert!(has(&keys["changed"], &alice), "{keys}");
        answer["next_batch"].as_str().expect("a token").to_owned()
    };
    upload(&laptop, 1).await;
    since = hears(&since).await;
    upload(&laptop, 2).await;
    since = hears(&since).await;
    let name = json!({ "display_name": "Laptop" });
    laptop.put(&v3!("/devices/{}", laptop.device_id), name).await.ok();
    since = hears(&since).await;
    // The same keys once more are no change.
    upload(&laptop, 2).await;
    let answer = bob.sync(Sync::since(&since)).await;
    assert!(!changed(&answer, &alice), "{answer}");
    laptop.post(&v3!("/logout"), json!({})).await.ok();
    hears(&since).await;
    let answer = carol.sync(Sync::since(&carols)).await;
    assert!(!changed(&answer, &alice), "whoever shares no room hears nothing: {answer}");
}

#[tokio::test]
async fn a_user_hears_of_their_own_devices() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let since = alice.now().await;
    let laptop = server.new_device(&alice).await;
    upload(&laptop, 1).await;
    alice.wait_until_sync(&since, |answer| changed(answer, &alice)).await;
}

#[tokio::test]
async fn a_device_without_keys_changes_nothing() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let since = alice.now().await;
    let laptop = server.new_device(&alice).await;
    laptop.post(&v3!("/logout"), json!({})).await.ok();
    let answer = alice.sync(Sync::since(&since)).await;
    assert!(!changed(&answer, &alice), "{answer}");
}

#[tokio::test]
async fn joins_and_leaves_begin_and_end_the_sharing() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let encrypted = json!({
        "preset": "public_chat",
        "initial_state": [
            { "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }
        ],
    });
    let (first, second) = (alice.create_room(encrypted.clone()).await, alice.create_room(encrypted).await);
    let (alices, bobs) = (alice.now().await, bob.now().await);
    bob.join(&first).await;
    let to_alice = alice.sync(Sync::since(&alices)).await;
    let to_bob = bob.sync(Sync::since(&bobs)).await;
    assert!(changed(&to_alice, &bob), "{to_alice}");
    assert!(changed(&to_bob, &alice), "{to_bob}");
    bob.join(&second).await;

    // One shared room is left: nothing ends.
    let (alices, bobs) = (alice.now().await, bob.now().await);
    bob.leave(&first).await;
    assert!(!left(&alice.sync(Sync::since(&alices)).await, &bob));
    assert!(!left(&bob.sync(Sync::since(&bobs)).await, &alice));
    let (alices, bobs) = (alice.now().await, bob.now().await);
    bob.leave(&second).await;
    let to_alice = alice.sync(Sync::since(&alices)).await;
    let to_bob = bob.sync(Sync::since(&bobs)).await;
    assert!(left(&to_alice, &bob) && !changed(&to_alice, &bob), "{to_alice}");
    assert!(left(&to_bob, &alice) && !changed(&to_bob, &alice), "{to_bob}");
    let path = v3!("/keys/changes") + &format!("?from={alices}&to={alices}");
    assert!(has(&alice.get(&path).await.ok()["left"], &bob));

    // What happens to them afterwards is none of the other's business, until they meet again.
    let alices = alice.now().await;
    upload(&bob, 3).await;
    assert!(!changed(&alice.sync(Sync::since(&alices)).await, &bob));
    bob.join(&first).await;
    assert!(changed(&alice.sync(Sync::since(&alices)).await, &bob));
}

#[tokio::test]
async fn an_invitation_refused_ends_nothing() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    let since = alice.now().await;
    bob.leave(&room).await;
    let answer = alice.sync(Sync::since(&since)).await;
    assert!(!left(&answer, &bob) && !changed(&answer, &bob), "{answer}");
}

#[tokio::test]
async fn changes_want_tokens() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/keys/changes");
    alice.get(&path).await.expect_error(400, "M_MISSING_PARAM");
    alice.get(&format!("{path}?from=x&to=y")).await.expect_error(400, "M_INVALID_PARAM");
}
