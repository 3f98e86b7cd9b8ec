//! "Password management" and "Account deactivation".

use conformance_tests::{Client, Server, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn login_body(user: &Client, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.user_id },
        "password": password,
    })
}

/// Posts with the password stage of the session that the server offers.
async fn authenticated(server: &Server, user: &Client, path: &str, mut body: Value) -> Value {
    let offer = user.post(path, body.clone()).await.expect_status(401).json;
    body["auth"] = login_body(user, server.password());
    body["auth"]["session"] = offer["session"].clone();
    user.post(path, body).await.ok()
}

#[tokio::test]
async fn the_new_password_replaces_the_old_one() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    authenticated(&server, &alice, &v3!("/account/password"), json!({ "new_password": "through the glass" })).await;
    let old = login_body(&alice, server.password());
    server.anonymous().post(&v3!("/login"), old).await.expect_error(403, "M_FORBIDDEN");
    Client::login(&server.base, &alice.user_id, "through the glass").await;
}

#[tokio::test]
async fn changing_the_password_logs_other_devices_out_and_keeps_this_one() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    authenticated(&server, &phone, &v3!("/account/password"), json!({ "new_password": "new" })).await;
    phone.get(&v3!("/account/whoami")).await.ok();
    laptop.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    let devices = phone.get(&v3!("/devices")).await.ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1), "{devices}");
}

#[tokio::test]
async fn logout_devices_false_keeps_the_other_devices() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    let body = json!({ "new_password": "new", "logout_devices": false });
    authenticated(&server, &phone, &v3!("/account/password"), body).await;
    laptop.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn a_wrong_password_changes_nothing() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let mut body = json!({ "new_password": "stolen" });
    let offer = alice.post(&v3!("/account/password"), body.clone()).await.expect_status(401).json;
    body["auth"] = login_body(&alice, "wrong");
    body["auth"]["session"] = offer["session"].clone();
    alice.post(&v3!("/account/password"), body).await.expect_error(401, "M_FORBIDDEN");
    server.new_device(&alice).await;
}

#[tokio::test]
async fn the_password_stage_with_a_session_of_another_endpoint_changes_no_password() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let offer = alice.delete(&v3!("/devices/{}", "X"), Some(json!({}))).await.expect_status(401).json;
    // The stage is completed for a deletion; its session may not be replayed without credentials for something else.
    let mut auth = login_body(&alice, server.password());
    auth["session"] = offer["session"].clone();
    alice.delete(&v3!("/devices/{}", "X"), Some(json!({ "auth": auth }))).await.ok();
    let body = json!({ "new_password": "stolen", "auth": { "session": offer["session"] } });
    let reply = alice.post(&v3!("/account/password"), body).await;
    assert!(matches!(reply.status, 400 | 401 | 403), "{reply}");
    server.new_device(&alice).await;
}

#[tokio::test]
async fn deactivation_ends_tokens_login_and_the_name() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let laptop = server.new_device(&alice).await;
    let answer = authenticated(&server, &alice, &v3!("/account/deactivate"), json!({})).await;
    assert_eq!(answer["id_server_unbind_result"], "success", "there was nothing to unbind");
    for device in [&alice, &laptop] {
        device.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    }
    let reply = server.anonymous().post(&v3!("/login"), login_body(&alice, server.password())).await;
    reply.expect_one_of(&[(403, "M_USER_DEACTIVATED"), (403, "M_FORBIDDEN")]);
    let name = alice.user_id[1..].split(':').next().expect("a localpart");
    let again = json!({ "username": name, "password": "x", "auth": { "type": "m.login.dummy" } });
    server.anonymous().post(&v3!("/register"), again).await.expect_error(400, "M_USER_IN_USE");
    server.anonymous().get(&v3!("/register/available?username={}", name)).await.expect_error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_deactivated_user_leaves_the_rooms() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = alice.now().await;
    authenticated(&server, &bob, &v3!("/account/deactivate"), json!({})).await;
    alice
        .wait_until_sync(&since, |answer| {
            let events = conformance_tests::timeline(answer, &room);
            conformance_tests::membership_of(events, &bob.user_id) == Some("leave")
        })
        .await;
}

#[tokio::test]
async fn deactivation_without_the_password_changes_nothing() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let offer = alice.post(&v3!("/account/deactivate"), json!({})).await.expect_status(401).json;
    let mut auth = login_body(&alice, "wrong");
    auth["session"] = offer["session"].clone();
    alice.post(&v3!("/account/deactivate"), json!({ "auth": auth })).await.expect_error(401, "M_FORBIDDEN");
    alice.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn a_deactivated_user_cannot_refresh() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let mut login = login_body(&alice, server.password());
    login["refresh_token"] = json!(true);
    let answer = server.anonymous().post(&v3!("/login"), login).await.ok();
    authenticated(&server, &alice, &v3!("/account/deactivate"), json!({})).await;
    let body = json!({ "refresh_token": answer["refresh_token"] });
    server.anonymous().post(&v3!("/refresh"), body).await.expect_error(401, "M_UNKNOWN_TOKEN");
}
