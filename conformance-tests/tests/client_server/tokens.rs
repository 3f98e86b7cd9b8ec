//! "Refreshing access tokens" and "Relationship between access tokens and devices".

use conformance_tests::{Client, Server, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// A new user whose client supports refresh tokens: the client and the answer of the registration.
async fn refreshing(server: &Server) -> (Client, Value) {
    let body = json!({
        "username": unique("alice"),
        "password": server.password(),
        "auth": { "type": "m.login.dummy" },
        "refresh_token": true,
    });
    let answer = server.anonymous().post(&v3!("/register"), body).await.ok();
    (server.anonymous().with_login(&answer), answer)
}

async fn refresh(client: &Client, refresh_token: &Value) -> Value {
    let anonymous = client.with_token("");
    anonymous.post(&v3!("/refresh"), json!({ "refresh_token": refresh_token })).await.ok()
}

fn with_answer(client: &Client, answer: &Value) -> Client {
    client.with_token(answer["access_token"].as_str().expect("an access token"))
}

#[tokio::test]
async fn a_client_that_asks_gets_a_refresh_token_and_an_expiry() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    assert!(answer["refresh_token"].is_string(), "{answer}");
    assert!(answer["expires_in_ms"].as_u64().is_some_and(|expiry| expiry > 0), "{answer}");
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": alice.user_id },
        "password": server.password(),
        "refresh_token": true,
    });
    let answer = server.anonymous().post(&v3!("/login"), login).await.ok();
    assert!(answer["refresh_token"].is_string() && answer["expires_in_ms"].is_u64(), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_ask_gets_neither() {
    let server = SERVER.get();
    let body = json!({ "username": unique("alice"), "password": "x", "auth": { "type": "m.login.dummy" } });
    let answer = server.anonymous().post(&v3!("/register"), body).await.ok();
    assert!(answer["refresh_token"].is_null() && answer["expires_in_ms"].is_null(), "{answer}");
}

#[tokio::test]
async fn a_refreshed_token_is_of_the_same_device() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    let refreshed = refresh(&alice, &answer["refresh_token"]).await;
    assert_ne!(refreshed["access_token"], answer["access_token"]);
    let who = with_answer(&alice, &refreshed).get(&v3!("/account/whoami")).await.ok();
    assert_eq!((&who["user_id"], &who["device_id"]), (&answer["user_id"], &answer["device_id"]));
}

#[tokio::test]
async fn the_old_refresh_token_is_valid_until_the_new_access_token_is_used() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    refresh(&alice, &answer["refresh_token"]).await;
    let second = refresh(&alice, &answer["refresh_token"]).await;
    with_answer(&alice, &second).get(&v3!("/account/whoami")).await.ok();
    let anonymous = alice.with_token("");
    let body = json!({ "refresh_token": answer["refresh_token"] });
    let reply = anonymous.post(&v3!("/refresh"), body).await;
    reply.expect_one_of(&[(401, "M_UNKNOWN_TOKEN"), (403, "M_FORBIDDEN")]);
}

#[tokio::test]
async fn the_old_refresh_token_is_revoked_when_the_new_refresh_token_is_used() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    let second = refresh(&alice, &answer["refresh_token"]).await;
    let third = refresh(&alice, &second["refresh_token"]).await;
    with_answer(&alice, &third).get(&v3!("/account/whoami")).await.ok();
    let body = json!({ "refresh_token": answer["refresh_token"] });
    let reply = alice.with_token("").post(&v3!("/refresh"), body).await;
    reply.expect_one_of(&[(401, "M_UNKNOWN_TOKEN"), (403, "M_FORBIDDEN")]);
}

#[tokio::test]
async fn an_unknown_refresh_token_is_refused() {
    let server = SERVER.get();
    let anonymous = server.anonymous();
    let body = json!({ "refresh_token": "nonsense" });
    anonymous.post(&v3!("/refresh"), body).await.expect_error(401, "M_UNKNOWN_TOKEN");
    assert_eq!(anonymous.post(&v3!("/refresh"), json!({})).await.status, 400);
    assert_eq!(anonymous.post(&v3!("/refresh"), json!({ "refresh_token": 7 })).await.status, 400);
}

#[tokio::test]
async fn an_access_token_does_not_refresh_and_a_refresh_token_does_not_give_access() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    let body = json!({ "refresh_token": alice.access_token });
    alice.with_token("").post(&v3!("/refresh"), body).await.expect_error(401, "M_UNKNOWN_TOKEN");
    let wrong = alice.with_token(answer["refresh_token"].as_str().expect("a refresh token"));
    wrong.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn logout_revokes_the_refresh_token_too() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    alice.post(&v3!("/logout"), json!({})).await.ok();
    let body = json!({ "refresh_token": answer["refresh_token"] });
    alice.with_token("").post(&v3!("/refresh"), body).await.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_transaction_repeated_after_a_refresh_is_the_same_transaction() {
    let server = SERVER.get();
    let (alice, answer) = refreshing(&server).await;
    let room = alice.create_room(json!({})).await;
    let path = v3!("/rooms/{}/send/m.room.message/{}", room, "once");
    let content = json!({ "msgtype": "m.text", "body": "once" });
    let first = alice.put(&path, content.clone()).await.ok();
    let refreshed = with_answer(&alice, &refresh(&alice, &answer["refresh_token"]).await);
    assert_eq!(refreshed.put(&path, content).await.ok(), first);
}
