//! User-interactive authentication and what it guards.

use super::*;

fn auth(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

#[tokio::test]
async fn deleting_a_device_needs_the_own_password() {
    let app = App::open().await;
    let token = app.token("alice").await;
    app.register("bob").await;
    let mut body = password_login("alice", "secret");
    body["device_id"] = "OTHER".into();
    let other = app.post("/v3/login", None, body).await.text("access_token");

    let path = "/v3/devices/OTHER";
    let delete = async |body| app.call(Method::DELETE, path, Some(&token), body).await;
    let asked = delete(json!({})).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.password"] }]));
    let session = asked.body["session"].clone();
    let with_session = |mut auth: Value| {
        auth["session"] = session.clone();
        json!({ "auth": auth })
    };
    for wrong in [auth("alice", "wrong"), auth("bob", "secret"), json!({ "type": "m.login.dummy" })] {
        let answer = delete(with_session(wrong)).await;
        assert_eq!(answer.error(), (401, "M_FORBIDDEN"));
        assert_eq!(answer.body["session"], session);
    }
    let unfinished = delete(json!({ "auth": { "session": session } })).await;
    assert_eq!(unfinished.status, StatusCode::UNAUTHORIZED);
    assert_eq!(unfinished.body.get("errcode"), None);
    let missing = delete(with_session(json!({ "type": "m.login.password", "user": "alice" }))).await;
    assert_eq!(missing.error(), (400, "M_MISSING_PARAM"));
    app.get("/v3/account/whoami", Some(&other)).await.ok();
    delete(with_session(auth("@alice:a.example", "secret"))).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&other)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    // The session is used up.
    let again = delete(with_session(auth("alice", "secret"))).await;
    assert_eq!(again.error(), (401, "M_UNKNOWN"));
    // A device that is gone may be deleted again.
    delete(json!({ "auth": auth("alice", "secret") })).await.ok();
}

#[tokio::test]
async fn a_session_is_good_for_one_user_and_operation() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let bob = app.token("bob").await;
    let asked = app.post("/v3/delete_devices", Some(&alice), json!({ "devices": [] })).await;
    let session = asked.body["session"].clone();
    let with_session = |user: &str| {
        let mut auth = auth(user, "secret");
        auth["session"] = session.clone();
        auth
    };
    let body = json!({ "devices": [], "auth": with_session("bob") });
    let answer = app.post("/v3/delete_devices", Some(&bob), body).await;
    assert_eq!(answer.error(), (401, "M_UNKNOWN"));
    let body = json!({ "new_password": "other", "auth": with_session("alice") });
    let answer = app.post("/v3/account/password", Some(&alice), body).await;
    assert_eq!(answer.error(), (401, "M_UNKNOWN"));
    app.clock.advance(15 * 60 * 1000);
    let body = json!({ "devices": [], "auth": with_session("alice") });
    let answer = app.post("/v3/delete_devices", Some(&alice), body).await;
    assert_eq!(answer.error(), (401, "M_UNKNOWN"));
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let app = App::open().await;
    let mine = app.token("alice").await;
    let login = async |password| app.post("/v3/login", None, password_login("alice", password)).await;
    let other = login("secret").await.text("access_token");
    let change = async |old, new, logout| {
        let body = json!({ "new_password": new, "logout_devices": logout, "auth": auth("alice", old) });
        app.post("/v3/account/password", Some(&mine), body).await
    };
    change("secret", "second", false).await.ok();
    app.get("/v3/account/whoami", Some(&other)).await.ok();
    assert_eq!(login("secret").await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(change("secret", "x", false).await.error(), (401, "M_FORBIDDEN"));
    assert_eq!(change("second", "", false).await.error(), (400, "M_WEAK_PASSWORD"));
    let body = json!({ "new_password": "third", "auth": auth("alice", "second") });
    app.post("/v3/account/password", Some(&mine), body).await.ok();
    app.get("/v3/account/whoami", Some(&mine)).await.ok();
    let gone = app.get("/v3/account/whoami", Some(&other)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    login("third").await.ok();
}

#[tokio::test]
async fn a_deactivated_account_is_gone_for_good() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let name = json!({ "displayname": "Alice" });
    app.put("/v3/profile/@alice:a.example/displayname", Some(&token), name).await.ok();
    let asked = app.post("/v3/account/deactivate", Some(&token), json!({})).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    let body = json!({ "erase": true, "auth": auth("alice", "secret") });
    let done = app.post("/v3/account/deactivate", Some(&token), body).await.ok();
    assert_eq!(done, json!({ "id_server_unbind_result": "success" }));
    let gone = app.get("/v3/account/whoami", Some(&token)).await;
    assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    let login = app.post("/v3/login", None, password_login("alice", "secret")).await;
    assert_eq!(login.error(), (403, "M_USER_DEACTIVATED"));
    let taken = app.post("/v3/register", None, json!({ "username": "alice" })).await;
    assert_eq!(taken.error(), (400, "M_USER_IN_USE"));
    let profile = app.get("/v3/profile/@alice:a.example", None).await.ok();
    assert_eq!(profile, json!({}));
}
