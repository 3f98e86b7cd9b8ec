//! Login, tokens, refresh, logout, devices; and what needs no account.

use super::*;
use crate::accounts::AuthenticateError;

#[tokio::test]
async fn login_by_localpart_by_id_and_the_old_way() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.public_base_url = crate::config::HttpUrl::parse("https://m.a.example/");
    })
    .await;
    app.register("alice").await;
    let flows = app.get("/v3/login", None).await.ok();
    assert_eq!(flows["flows"][0]["type"], "m.login.password");
    for user in ["alice", "Alice", "@alice:a.example"] {
        let body = app.post("/v3/login", None, password_login(user, "secret")).await.ok();
        assert_eq!(body["user_id"], "@alice:a.example");
        assert_eq!(body.get("expires_in_ms"), None);
        assert_eq!(body["well_known"]["m.homeserver"]["base_url"], "https://m.a.example");
    }
    let old = json!({ "type": "m.login.password", "user": "alice", "password": "secret" });
    app.post("/r0/login", None, old).await.ok();
}

#[tokio::test]
async fn a_wrong_login_says_why() {
    let app = App::open().await;
    app.register("alice").await;
    let forbidden = [
        password_login("alice", "wrong"),
        password_login("nobody", "secret"),
        password_login("@alice:b.example", "secret"),
        password_login("\u{0}", "secret"),
        json!({ "type": "m.login.password", "password": "secret",
                "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "x@y" } }),
    ];
    for body in forbidden {
        assert_eq!(app.post("/v3/login", None, body).await.error(), (403, "M_FORBIDDEN"));
    }
    let cases = [
        (json!({}), "M_BAD_JSON"),
        (json!({ "type": "m.login.sso", "token": "x" }), "M_UNKNOWN"),
        (json!({ "type": "m.login.password", "user": "alice" }), "M_MISSING_PARAM"),
        (json!({ "type": "m.login.password", "password": "secret" }), "M_MISSING_PARAM"),
        (
            json!({ "type": "m.login.password", "user": "alice", "password": "secret", "device_id": "" }),
            "M_INVALID_PARAM",
        ),
    ];
    for (body, errcode) in cases {
        let answer = app.post("/v3/login", None, body.clone()).await;
        assert_eq!(answer.error(), (400, errcode), "{body}");
    }
}

#[tokio::test]
async fn wrong_passwords_run_out() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.rate_limits.enabled = true;
    })
    .await;
    app.register("alice").await;
    for _ in 0..10 {
        let answer = app.post("/v3/login", None, password_login("alice", "wrong")).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    }
    let right = password_login("alice", "secret");
    let answer = app.post("/v3/login", None, right.clone()).await;
    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED"));
    app.clock.advance(12_000);
    app.post("/v3/login", None, right).await.ok();
}

/// As a long poll asks before it answers.
#[tokio::test]
async fn a_session_stands_until_its_device_goes() {
    let app = App::open().await;
    app.register("alice").await;
    let sessions = &app.state.sessions;
    let mut body = password_login("alice", "secret");
    body["refresh_token"] = json!(true);
    let login = app.post("/v3/login", None, body).await.ok();
    let session = sessions.authenticate(login["access_token"].as_str().unwrap()).await.unwrap();
    // A client refreshes its tokens while it polls: the poll's own token is gone, the session is not.
    let pair = app.post("/v3/refresh", None, json!({ "refresh_token": login["refresh_token"] })).await.ok();
    let token = pair["access_token"].as_str().unwrap();
    app.get("/v3/account/whoami", Some(token)).await.ok();
    sessions.still_stands(&session).await.unwrap();
    sessions.set_locked(session.user, true).await.unwrap();
    assert!(matches!(sessions.still_stands(&session).await, Err(AuthenticateError::Locked)));
    sessions.set_locked(session.user, false).await.unwrap();
    app.post("/v3/logout", Some(token), json!({})).await.ok();
    assert!(matches!(sessions.still_stands(&session).await, Err(AuthenticateError::Unknown)));
}

#[tokio::test]
async fn a_token_is_missing_unknown_or_in_the_query() {
    let app = App::open().await;
    let token = app.token("alice").await;
    assert_eq!(app.get("/v3/account/whoami", None).await.error(), (401, "M_MISSING_TOKEN"));
    let unknown = app.get("/v3/account/whoami", Some("nonsense")).await;
    assert_eq!(unknown.error(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(unknown.body["soft_logout"], false);
    let query = format!("/v3/account/whoami?access_token={token}");
    app.get(&query, None).await.ok();
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    let forged = app.get("/v3/account/whoami", Some(&format!("{head}.{flipped}"))).await;
    assert_eq!(forged.error(), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn a_token_of_another_algorithm_proves_nothing() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let claims = token.split('.').nth(1).unwrap();
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    for header in [r#"{"alg":"none","kid":"1"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"2"}"#] {
        let forged = format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(header));
        let answer = app.get("/v3/account/whoami", Some(&forged)).await;
        assert_eq!(answer.error(), (401, "M_UNKNOWN_TOKEN"), "{header}");
    }
}

#[tokio::test]
async fn logout_ends_the_session_and_its_device() {
    let app = App::open().await;
    let first = app.token("alice").await;
    let second = app.post("/v3/login", None, password_login("alice", "secret")).await;
    let second = second.text("access_token");
    app.get("/v3/account/whoami", Some(&first)).await.ok();
    app.post("/v3/logout", Some(&first), Value::Null).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&first)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    let devices = app.get("/v3/devices", Some(&second)).await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
    let third = app.post("/v3/login", None, password_login("alice", "secret")).await;
    let third = third.text("access_token");
    app.post("/v3/logout/all", Some(&second), Value::Null).await.ok();
    for token in [&second, &third] {
        let gone = app.get("/v3/account/whoami", Some(token)).await;
        assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    }
}

#[tokio::test]
async fn a_device_that_logs_in_again_loses_its_old_token() {
    let app = App::open().await;
    app.register("alice").await;
    let login = |name: &str| {
        let mut body = password_login("alice", "secret");
        body["device_id"] = "PHONE".into();
        body["initial_device_display_name"] = name.into();
        body
    };
    let old = app.post("/v3/login", None, login("one")).await.text("access_token");
    let new = app.post("/v3/login", None, login("two")).await.text("access_token");
    assert_eq!(app.get("/v3/account/whoami", Some(&old)).await.error(), (401, "M_UNKNOWN_TOKEN"));
    let device = app.get("/v3/devices/PHONE", Some(&new)).await.ok();
    assert_eq!(device["display_name"], "one");
}

/// Logs alice in with refresh tokens; answers (access, refresh).
async fn refreshable(app: &App) -> (String, String) {
    app.register("alice").await;
    let mut body = password_login("alice", "secret");
    body["refresh_token"] = true.into();
    let body = app.post("/v3/login", None, body).await.ok();
    assert_eq!(body["expires_in_ms"], 3_600_000);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

async fn refresh(app: &App, token: &str) -> Answer {
    app.post("/v3/refresh", None, json!({ "refresh_token": token })).await
}

#[tokio::test]
async fn the_old_pair_lives_until_the_new_access_token_is_used() {
    let app = App::open().await;
    let (access, first) = refreshable(&app).await;
    let new = refresh(&app, &first).await.ok();
    app.get("/v3/account/whoami", Some(&access)).await.ok();
    // The client lost the answer and asks again, twice.
    let again = refresh(&app, &first).await.ok();
    assert_eq!(again["refresh_token"], new["refresh_token"]);
    let newer = again["access_token"].as_str().unwrap();
    app.get("/v3/account/whoami", Some(newer)).await.ok();
    app.get("/v3/account/whoami", new["access_token"].as_str()).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&access)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(refresh(&app, &first).await.error(), (401, "M_UNKNOWN_TOKEN"));
    refresh(&app, new["refresh_token"].as_str().unwrap()).await.ok();
}

#[tokio::test]
async fn the_old_pair_lives_until_the_new_refresh_token_is_used() {
    let app = App::open().await;
    let (access, first) = refreshable(&app).await;
    let second = refresh(&app, &first).await.text("refresh_token");
    let third = refresh(&app, &second).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&access)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(refresh(&app, &first).await.error(), (401, "M_UNKNOWN_TOKEN"));
    app.get("/v3/account/whoami", third["access_token"].as_str()).await.ok();
    assert_eq!(refresh(&app, &second).await.error(), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn an_expired_token_is_a_soft_logout() {
    let app = App::open().await;
    let (access, first) = refreshable(&app).await;
    app.clock.advance(3_599_999);
    app.get("/v3/account/whoami", Some(&access)).await.ok();
    app.clock.advance(1);
    let expired = app.get("/v3/account/whoami", Some(&access)).await;
    assert_eq!(expired.error(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(expired.body["soft_logout"], true);
    let access = refresh(&app, &first).await.text("access_token");
    app.get("/v3/account/whoami", Some(&access)).await.ok();
    // Neither token does the other's work.
    assert_eq!(refresh(&app, &access).await.error(), (401, "M_UNKNOWN_TOKEN"));
    let mixed = app.get("/v3/account/whoami", Some(&first)).await;
    assert_eq!(mixed.error(), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn a_locked_account_may_only_log_out() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let session = app.state.sessions.authenticate(&token).await.unwrap();
    app.state.sessions.set_locked(session.user, true).await.unwrap();
    let locked = app.get("/v3/account/whoami", Some(&token)).await;
    assert_eq!(locked.error(), (401, "M_USER_LOCKED"));
    assert_eq!(locked.body["soft_logout"], true);
    let login = app.post("/v3/login", None, password_login("alice", "secret")).await;
    assert_eq!(login.error(), (401, "M_USER_LOCKED"));
    let wrong = app.post("/v3/login", None, password_login("alice", "wrong")).await;
    assert_eq!(wrong.error(), (403, "M_FORBIDDEN"));
    app.state.sessions.set_locked(session.user, false).await.unwrap();
    app.get("/v3/account/whoami", Some(&token)).await.ok();
    app.state.sessions.set_locked(session.user, true).await.unwrap();
    app.post("/v3/logout", Some(&token), Value::Null).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&token)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn a_number_given_out_again_does_not_revive_a_token() {
    let app = App::open().await;
    let old = app.token("alice").await;
    app.post("/v3/logout", Some(&old), Value::Null).await.ok();
    // As after the restoration of a backup: the sequence is back where it was.
    app.store
        .write::<_, crate::store::StoreError, _>(|tx| tx.execute("DELETE FROM sqlite_sequence", &[]))
        .await
        .unwrap();
    app.clock.advance(1);
    let new = app.token("bob").await;
    app.get("/v3/account/whoami", Some(&new)).await.ok();
    assert_eq!(app.get("/v3/account/whoami", Some(&old)).await.error(), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn devices_are_listed_renamed_and_seen() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let devices = app.get("/v3/devices", Some(&token)).await.ok();
    let id = devices["devices"][0]["device_id"].as_str().unwrap();
    let path = format!("/v3/devices/{id}");
    app.put(&path, Some(&token), json!({ "display_name": "desk" })).await.ok();
    app.put(&path, Some(&token), json!({})).await.ok();
    app.clock.advance(5000);
    app.get("/v3/account/whoami", Some(&token)).await.ok();
    let expected = json!({
        "device_id": id, "display_name": "desk", "last_seen_ip": "127.0.0.1",
        "last_seen_ts": 1_700_000_005_000_i64,
    });
    assert_eq!(app.get(&path, Some(&token)).await.ok(), expected);
    let missing = app.get("/v3/devices/NONE", Some(&token)).await;
    assert_eq!(missing.error(), (404, "M_NOT_FOUND"));
    let missing = app.put("/v3/devices/NONE", Some(&token), json!({})).await;
    assert_eq!(missing.error(), (404, "M_NOT_FOUND"));
    let long = app.put(&path, Some(&token), json!({ "display_name": "x".repeat(256) })).await;
    assert_eq!(long.error(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn what_needs_no_account() {
    let app = App::with(|config| {
        config.well_known.server = Some("a.example:443".try_into().unwrap());
        config.well_known.support_admins = vec!["@root:a.example".try_into().unwrap()];
    })
    .await;
    let versions = app.get("/versions", None).await.ok();
    assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.19")));
    let metadata = app.get("/v1/auth_metadata", None).await;
    assert_eq!(metadata.error(), (404, "M_UNRECOGNIZED"));
    assert_eq!(app.get("/v3/nonsense", None).await.error(), (404, "M_UNRECOGNIZED"));
    let wrong = app.call(Method::PATCH, "/v3/login", None, Value::Null).await;
    assert_eq!(wrong.error(), (405, "M_UNRECOGNIZED"));
    let well_known = async |name: &str| {
        let path = format!("/.well-known/matrix/{name}");
        app.send(Request::get(path).body(Body::empty()).unwrap()).await
    };
    assert_eq!(well_known("server").await.ok(), json!({ "m.server": "a.example:443" }));
    assert_eq!(well_known("client").await.error(), (404, "M_NOT_FOUND"));
    let contact = json!({ "matrix_id": "@root:a.example", "role": "m.role.admin" });
    assert_eq!(well_known("support").await.ok(), json!({ "contacts": [contact] }));
}

#[tokio::test]
async fn capabilities_name_every_stable_room_version() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let body = app.get("/v3/capabilities", Some(&token)).await.ok();
    let versions = &body["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    for version in 1..=12 {
        assert_eq!(versions["available"][version.to_string()], "stable");
    }
    assert_eq!(body["capabilities"]["m.change_password"]["enabled"], true);
}
