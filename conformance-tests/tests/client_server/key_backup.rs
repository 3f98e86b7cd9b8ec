//! "Server-side key backups".

use conformance_tests::{Client, v3};
use serde_json::{Value, json};

use crate::SERVER;

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

async fn new_version(client: &Client, public_key: &str) -> String {
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": public_key } });
    let answer = client.post(&v3!("/room_keys/version"), body).await.ok();
    answer["version"].as_str().expect("a version").to_owned()
}

fn key(verified: bool, first: u64, forwarded: u64, text: &str) -> Value {
    json!({
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": { "ciphertext": text, "mac": "m", "ephemeral": "e" },
    })
}

fn keys(rest: &str, version: &str) -> String {
    v3!("/room_keys/keys") + &format!("{rest}?version={version}")
}

#[tokio::test]
async fn the_newest_version_is_the_current_one() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/room_keys/version");
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    let first = new_version(&alice, "one").await;
    let second = new_version(&alice, "two").await;
    assert_ne!(first, second);
    let current = alice.get(&path).await.ok();
    assert_eq!(current["version"], second.as_str());
    assert_eq!(current["auth_data"], json!({ "public_key": "two" }));
    assert_eq!((&current["count"], &current["algorithm"]), (&json!(0), &json!(ALGORITHM)));
    let old = alice.get(&v3!("/room_keys/version/{}", first)).await.ok();
    assert_eq!(old["auth_data"], json!({ "public_key": "one" }));
    alice.get(&v3!("/room_keys/version/{}", "nonsense")).await.expect_error(404, "M_NOT_FOUND");

    alice.delete(&v3!("/room_keys/version/{}", second), None).await.ok();
    alice.delete(&v3!("/room_keys/version/{}", second), None).await.ok();
    alice.delete(&v3!("/room_keys/version/{}", "999999999"), None).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/room_keys/version/{}", second)).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(alice.get(&path).await.ok()["version"], first.as_str());
    let third = new_version(&alice, "three").await;
    assert!(third != first && third != second, "a version is never given out twice");
}

#[tokio::test]
async fn only_auth_data_can_be_changed() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let version = new_version(&alice, "one").await;
    let path = v3!("/room_keys/version/{}", version);
    let body = |algorithm: &str, version: &str| json!({ "algorithm": algorithm, "auth_data": { "public_key": "new" }, "version": version });
    alice.put(&path, body("other", &version)).await.expect_error(400, "M_INVALID_PARAM");
    alice.put(&path, body(ALGORITHM, "999999999")).await.expect_error(400, "M_INVALID_PARAM");
    assert_eq!(alice.get(&path).await.ok()["auth_data"], json!({ "public_key": "one" }));
    alice.put(&path, body(ALGORITHM, &version)).await.ok();
    assert_eq!(alice.get(&path).await.ok()["auth_data"], json!({ "public_key": "new" }));
    let unknown = v3!("/room_keys/version/{}", "999999999");
    alice.put(&unknown, body(ALGORITHM, "999999999")).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn keys_are_put_got_and_deleted_one_by_one_by_room_and_all_together() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let version = new_version(&alice, "one").await;
    let (one, two) = (key(true, 0, 0, "1"), key(false, 5, 2, "2"));
    let first = alice.put(&keys("/!a:x/s1", &version), one.clone()).await.ok();
    assert_eq!(first["count"], 1);
    let second = alice.put(&keys("/!a:x", &version), json!({ "sessions": { "s2": two } })).await.ok();
    assert_eq!(second["count"], 2);
    assert_ne!(first["etag"], second["etag"]);
    let rooms = json!({ "rooms": { "!b:x": { "sessions": { "s1": two } } } });
    let third = alice.put(&keys("", &version), rooms).await.ok();
    assert_eq!(third["count"], 3);
    let described = alice.get(&v3!("/room_keys/version/{}", version)).await.ok();
    assert_eq!((&described["count"], &described["etag"]), (&third["count"], &third["etag"]));

    assert_eq!(alice.get(&keys("/!a:x/s1", &version)).await.ok(), one);
    assert_eq!(alice.get(&keys("/!a:x", &version)).await.ok(), json!({ "sessions": { "s1": one, "s2": two } }));
    let all =
        json!({ "rooms": { "!a:x": { "sessions": { "s1": one, "s2": two } }, "!b:x": { "sessions": { "s1": two } } } });
    assert_eq!(alice.get(&keys("", &version)).await.ok(), all);
    assert_eq!(alice.get(&keys("/!none:x", &version)).await.ok(), json!({ "sessions": {} }));
    alice.get(&keys("/!a:x/none", &version)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&keys("", "999999999")).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/room_keys/keys")).await.expect_error(400, "M_MISSING_PARAM");
    bob.get(&keys("", &version)).await.expect_error(404, "M_NOT_FOUND");

    let answer = alice.delete(&keys("/!a:x/s1", &version), None).await.ok();
    assert_eq!(answer["count"], 2);
    assert_ne!(answer["etag"], third["etag"]);
    let again = alice.delete(&keys("/!a:x/s1", &version), None).await.ok();
    assert_eq!(again, answer, "nothing changed");
    assert_eq!(alice.delete(&keys("/!a:x", &version), None).await.ok()["count"], 1);
    assert_eq!(alice.delete(&keys("", &version), None).await.ok()["count"], 0);
    assert_eq!(alice.get(&keys("", &version)).await.ok(), json!({ "rooms": {} }));
    alice.delete(&keys("", "999999999"), None).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_better_key_stays() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let version = new_version(&alice, "one").await;
    let path = keys("/!a:x/s", &version);
    // In this order each is better than all before it.
    let ranked = [
        key(false, 9, 9, "a"),
        key(false, 9, 3, "b"),
        key(false, 4, 7, "c"),
        key(true, 8, 8, "d"),
        key(true, 8, 1, "e"),
        key(true, 2, 5, "f"),
    ];
    let mut etag = Value::Null;
    for (at, better) in ranked.iter().enumerate() {
        let answer = alice.put(&path, better.clone()).await.ok();
        assert_ne!(answer["etag"], etag);
        etag = answer["etag"].clone();
        for worse in &ranked[..at] {
            let answer = alice.put(&path, worse.clone()).await.ok();
            assert_eq!((&answer["etag"], &answer["count"]), (&etag, &json!(1)), "{worse} after {better}");
        }
        assert_eq!(alice.get(&path).await.ok(), *better);
    }
}

#[tokio::test]
async fn keys_go_into_the_current_version_alone() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.put(&keys("/!a:x/s", "999999999"), key(true, 0, 0, "1")).await.expect_error(404, "M_NOT_FOUND");
    let old = new_version(&alice, "one").await;
    alice.put(&keys("/!a:x/s", &old), key(true, 0, 0, "1")).await.ok();
    let new = new_version(&alice, "two").await;
    let error =
        alice.put(&keys("/!a:x/t", &old), key(true, 0, 0, "1")).await.expect_error(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(error["current_version"], new.as_str());
    alice.put(&keys("/!a:x/t", "999999999"), key(true, 0, 0, "1")).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(alice.get(&keys("/!a:x", &old)).await.ok()["sessions"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(alice.get(&keys("", &new)).await.ok(), json!({ "rooms": {} }));
}

#[tokio::test]
async fn what_is_no_key_is_refused_as_a_whole() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let version = new_version(&alice, "one").await;
    let good = key(true, 0, 0, "1");
    for field in ["first_message_index", "forwarded_count", "is_verified", "session_data"] {
        let mut lacking = good.clone();
        lacking.as_object_mut().expect("an object").remove(field);
        alice.put(&keys("/!a:x/s", &version), lacking).await.expect_error(400, "M_BAD_JSON");
        let mut wrong = good.clone();
        wrong[field] = json!("text");
        let sessions = json!({ "sessions": { "a": good, "b": wrong } });
        alice.put(&keys("/!a:x", &version), sessions).await.expect_error(400, "M_BAD_JSON");
    }
    assert_eq!(alice.get(&keys("", &version)).await.ok(), json!({ "rooms": {} }));
    let body = json!({ "algorithm": ALGORITHM });
    alice.post(&v3!("/room_keys/version"), body).await.expect_error(400, "M_BAD_JSON");
}
