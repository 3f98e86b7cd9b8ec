//! "Login", "Using access tokens" and logging out.

use conformance_tests::{Client, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn password_login(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

fn localpart(client: &Client) -> &str {
    client.user_id[1..].split(':').next().expect("a user id has a localpart")
}

#[tokio::test]
async fn password_login_is_offered() {
    let flows = SERVER.get().anonymous().get(&v3!("/login")).await.ok();
    let types: Vec<&str> =
        flows["flows"].as_array().expect("flows").iter().filter_map(|f| f["type"].as_str()).collect();
    assert!(types.contains(&"m.login.password"), "{flows}");
}

#[tokio::test]
async fn the_localpart_and_the_full_id_both_log_in() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for user in [localpart(&alice), &alice.user_id] {
        let other = Client::login(&server.base, user, server.password()).await;
        assert_eq!(other.user_id, alice.user_id);
        assert_ne!(other.device_id, alice.device_id);
        assert_ne!(other.access_token, alice.access_token);
    }
}

#[tokio::test]
async fn the_deprecated_user_key_still_logs_in() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let body = json!({ "type": "m.login.password", "user": localpart(&alice), "password": server.password() });
    assert_eq!(server.anonymous().post(&v3!("/login"), body).await.ok()["user_id"], alice.user_id);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_refusal() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let post = async |user: &str, password: &str| {
        server.anonymous().post(&v3!("/login"), password_login(user, password)).await.expect_error(403, "M_FORBIDDEN")
    };
    let wrong = post(&alice.user_id, "wrong").await;
    let unknown = post("@nobody-at-all:a.example", "wrong").await;
    assert_eq!(wrong["error"], unknown["error"], "the answer must not tell which names exist");
    post("@alice:elsewhere.example", server.password()).await;
}

#[tokio::test]
async fn an_unknown_login_type_is_a_bad_request() {
    let server = SERVER.get();
    let reply = server.anonymous().post(&v3!("/login"), json!({ "type": "m.login.telepathy" })).await;
    reply.expect_one_of(&[(400, "M_UNKNOWN"), (400, "M_INVALID_PARAM")]);
}

#[tokio::test]
async fn missing_and_mistyped_fields_are_bad_requests() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for body in [
        json!({}),
        json!({ "type": 7 }),
        json!({ "type": "m.login.password" }),
        json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.user_id } }),
        json!({ "type": "m.login.password", "identifier": { "type": "m.id.user" }, "password": server.password() }),
        json!({ "type": "m.login.password", "identifier": "alice", "password": server.password() }),
        json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": 1 }, "password": 2 }),
    ] {
        let reply = server.anonymous().post(&v3!("/login"), body).await;
        assert_eq!(reply.status, 400, "{reply}");
        assert!(reply.errcode().starts_with("M_"), "{reply}");
    }
}

#[tokio::test]
async fn a_request_without_a_token_is_told_so() {
    SERVER.get().anonymous().get(&v3!("/account/whoami")).await.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn an_unknown_token_is_a_hard_logout() {
    let server = SERVER.get();
    for token in ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."] {
        let stranger = server.anonymous().with_token(token);
        let error = stranger.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
        assert_ne!(error["soft_logout"], true, "{error}");
    }
}

#[tokio::test]
async fn a_token_altered_in_one_character_is_unknown() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let middle = alice.access_token.len() / 2;
    let replacement = if alice.access_token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let mut altered = alice.access_token.clone();
    altered.replace_range(middle..=middle, replacement);
    alice.with_token(&altered).get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn whoami_names_user_and_device() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let answer = alice.get(&v3!("/account/whoami")).await.ok();
    assert_eq!((&answer["user_id"], &answer["device_id"]), (&json!(alice.user_id), &json!(alice.device_id)));
    assert_ne!(answer["is_guest"], true);
}

#[tokio::test]
async fn logout_ends_this_device_and_no_other() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    phone.post(&v3!("/logout"), json!({})).await.ok();
    phone.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    let devices = laptop.get(&v3!("/devices")).await.ok();
    let ids: Vec<&str> =
        devices["devices"].as_array().expect("devices").iter().filter_map(|d| d["device_id"].as_str()).collect();
    assert_eq!(ids, [laptop.device_id.as_str()]);
}

#[tokio::test]
async fn logout_all_ends_every_device() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    laptop.post(&v3!("/logout/all"), json!({})).await.ok();
    for device in [&phone, &laptop] {
        device.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    }
    let back = server.new_device(&phone).await;
    let devices = back.get(&v3!("/devices")).await.ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1), "{devices}");
}

#[tokio::test]
async fn logout_ends_a_long_poll_of_the_same_token_or_lets_it_end_without_events() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let room = phone.create_room(json!({})).await;
    let since = phone.now().await;
    let laptop = server.new_device(&phone).await;
    let polling = {
        let phone = phone.clone();
        tokio::spawn(async move { phone.try_sync(conformance_tests::Sync::since(&since).timeout(2000)).await })
    };
    phone.post(&v3!("/logout"), json!({})).await.ok();
    laptop.send_text(&room, "after the logout").await;
    let reply = polling.await.expect("the poll ends");
    assert!(
        reply.errcode() == "M_UNKNOWN_TOKEN" || !reply.text.contains("after the logout"),
        "a token that was logged out hears nothing more\n{reply}"
    );
}

#[tokio::test]
async fn logging_in_on_a_known_device_replaces_its_token_and_keeps_its_name() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.put(&v3!("/devices/{}", alice.device_id), json!({ "display_name": "first name" })).await.ok();
    let mut body = password_login(&alice.user_id, server.password());
    body["device_id"] = json!(alice.device_id);
    body["initial_device_display_name"] = json!("second name");
    let answer = server.anonymous().post(&v3!("/login"), body).await.ok();
    assert_eq!(answer["device_id"], alice.device_id);
    alice.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    let again = alice.with_login(&answer);
    let device = again.get(&v3!("/devices/{}", alice.device_id)).await.ok();
    assert_eq!(device["display_name"], "first name");
}

#[tokio::test]
async fn a_password_of_any_length_and_script_works() {
    let server = SERVER.get();
    for password in ["пароль-密码-🔑", &"long".repeat(100), " spaces around "] {
        let alice = Client::register(&server.base, &conformance_tests::unique("alice"), password).await;
        Client::login(&server.base, &alice.user_id, password).await;
        let wrong = password_login(&alice.user_id, password.trim_end_matches(['g', '🔑', ' ']));
        server.anonymous().post(&v3!("/login"), wrong).await.expect_error(403, "M_FORBIDDEN");
    }
}
