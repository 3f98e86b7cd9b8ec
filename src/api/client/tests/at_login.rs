//! What clients ask for once they are in: TURN, OpenID, login tokens, reports, the user directory.

use std::time::Duration;

use super::*;
use crate::{
    clock::Clock,
    config::{Secret, TurnCredentials},
    store::StoreError,
};

#[tokio::test]
async fn without_a_turn_server_there_is_none() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    assert_eq!(app.get("/v3/voip/turnServer", None).await.error(), (401, "M_MISSING_TOKEN"));
    assert_eq!(app.get("/v3/voip/turnServer", Some(&alice)).await.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn turn_accounts_name_their_end_and_their_user() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.turn.uris = vec!["turn:turn.a.example".into()];
        config.turn.ttl = Duration::from_secs(600);
        config.turn.credentials = Some(TurnCredentials::SharedSecret(Secret::new("s".into())));
    })
    .await;
    let alice = app.token("alice").await;
    let answer = app.get("/v3/voip/turnServer", Some(&alice)).await.ok();
    let expires = app.clock.now_ms() / 1_000 + 600;
    assert_eq!(answer["username"], format!("{expires}:@alice:a.example"));
    assert_eq!(answer["uris"], json!(["turn:turn.a.example"]));
    assert_eq!(answer["ttl"], 600);
    // 20 bytes in base64.
    assert_eq!(answer["password"].as_str().unwrap().len(), 28);
}

#[tokio::test]
async fn one_turn_account_for_all() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.turn.uris = vec!["turn:turn.a.example".into()];
        let (username, password) = ("u".to_owned(), Secret::new("p".into()));
        config.turn.credentials = Some(TurnCredentials::Account { username, password });
    })
    .await;
    let alice = app.token("alice").await;
    let answer = app.get("/v3/voip/turnServer", Some(&alice)).await.ok();
    let expected = json!({ "username": "u", "password": "p", "uris": ["turn:turn.a.example"], "ttl": 86_400 });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn no_protocols_are_bridged() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    assert_eq!(app.get("/v3/thirdparty/protocols", Some(&alice)).await.ok(), json!({}));
}

#[tokio::test]
async fn an_openid_token_proves_who_one_is_and_nothing_else() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let path = "/v3/user/@alice:a.example/openid/request_token";
    let sessions = &app.state.sessions;
    let answer = app.post(path, Some(&alice), json!({})).await.ok();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["matrix_server_name"], "a.example");
    assert_eq!(answer["expires_in"], 3_600);
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(sessions.openid_user(token).await.unwrap().unwrap(), "@alice:a.example");
    assert_eq!(app.get("/v3/account/whoami", Some(token)).await.error(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(sessions.openid_user(&alice).await.unwrap(), None);
    let bobs = app.post("/v3/user/@bob:a.example/openid/request_token", Some(&alice), json!({})).await;
    assert_eq!(bobs.error(), (403, "M_FORBIDDEN"));
    // Ten at once.
    for _ in 0..9 {
        app.post(path, Some(&alice), json!({})).await.ok();
    }
    assert!(sessions.openid_user(token).await.unwrap().is_some());
    let last = app.post(path, Some(&alice), json!({})).await.text("access_token");
    assert_eq!(sessions.openid_user(token).await.unwrap(), None);
    app.clock.advance(3_599_999);
    assert!(sessions.openid_user(&last).await.unwrap().is_some());
    app.clock.advance(1);
    assert_eq!(sessions.openid_user(&last).await.unwrap(), None);
    let last = app.post(path, Some(&alice), json!({})).await.text("access_token");
    app.post("/v3/logout", Some(&alice), json!({})).await.ok();
    assert_eq!(sessions.openid_user(&last).await.unwrap(), None);
}

fn with_token(token: &str) -> Value {
    json!({ "type": "m.login.token", "token": token })
}

/// A login token of alice's.
async fn login_token(app: &App, alice: &str) -> String {
    let asked = app.post("/v1/login/get_token", Some(alice), json!({})).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{asked:?}");
    let auth = json!({ "type": "m.login.password", "session": asked.body["session"], "password": "secret",
        "identifier": { "type": "m.id.user", "user": "alice" } });
    let answer = app.post("/v1/login/get_token", Some(alice), json!({ "auth": auth })).await.ok();
    assert_eq!(answer["expires_in_ms"], 120_000);
    answer["login_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_token_lets_one_device_in_once() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let flows = app.get("/v3/login", None).await.ok()["flows"].clone();
    assert!(flows.as_array().unwrap().contains(&json!({ "type": "m.login.token", "get_login_token": true })));
    let token = login_token(&app, &alice).await;
    // What is refused for the device's sake does not use it up.
    let mut bad = with_token(&token);
    bad["device_id"] = json!("");
    assert_eq!(app.post("/v3/login", None, bad).await.error(), (400, "M_INVALID_PARAM"));
    let second = app.post("/v3/login", None, with_token(&token)).await.ok();
    assert_eq!(second["user_id"], "@alice:a.example");
    app.get("/v3/account/whoami", second["access_token"].as_str()).await.ok();
    assert_eq!(app.post("/v3/login", None, with_token(&token)).await.error(), (403, "M_FORBIDDEN"));
    let missing = app.post("/v3/login", None, json!({ "type": "m.login.token" })).await;
    assert_eq!(missing.error(), (400, "M_MISSING_PARAM"));
}

#[tokio::test]
async fn a_login_token_ends_with_its_time_and_with_the_session_that_asked() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let old = login_token(&app, &alice).await;
    app.clock.advance(120_000);
    assert_eq!(app.post("/v3/login", None, with_token(&old)).await.error(), (403, "M_FORBIDDEN"));
    let orphan = login_token(&app, &alice).await;
    app.post("/v3/logout", Some(&alice), json!({})).await.ok();
    assert_eq!(app.post("/v3/login", None, with_token(&orphan)).await.error(), (403, "M_FORBIDDEN"));
}

/// Reports as (room, event, user, reason).
async fn reports(app: &App) -> Vec<(bool, bool, bool, String)> {
    app.store
        .read::<_, StoreError, _>(|read| {
            let read: &dyn crate::store::Read = read;
            read.all("SELECT room, event, user, reason FROM reports ORDER BY nid", &[], |row| {
                let there = |column| row.get::<Option<i64>>(column).map(|nid| nid.is_some());
                Ok((there(0)?, there(1)?, there(2)?, row.get(3)?))
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn reports_are_kept() {
    let app = App::open().await;
    let (alice, bob) = (app.token("alice").await, app.token("bob").await);
    let room = app.post("/v3/createRoom", Some(&alice), json!({ "preset": "public_chat" })).await.text("room_id");
    let path = format!("/v3/rooms/{room}/send/m.room.message/1");
    let event = app.put(&path, Some(&alice), json!({ "body": "x", "msgtype": "m.text" })).await.text("event_id");
    let reason = json!({ "reason": "sad" });
    let (of_room, of_event) = (format!("/v3/rooms/{room}/report"), format!("/v3/rooms/{room}/report/{event}"));
    app.post(&of_room, Some(&bob), reason.clone()).await.ok();
    assert_eq!(app.post(&of_event, Some(&bob), reason.clone()).await.error(), (404, "M_NOT_FOUND"));
    app.post(&format!("/v3/rooms/{room}/join"), Some(&bob), json!({})).await.ok();
    app.post(&of_event, Some(&bob), json!({})).await.ok();
    app.post("/v3/users/@alice:a.example/report", Some(&bob), json!({ "reason": "" })).await.ok();
    let kept =
        [(true, false, false, "sad".into()), (true, true, false, String::new()), (false, false, true, String::new())];
    assert_eq!(reports(&app).await, kept);
    for (path, body, error) in [
        ("/v3/rooms/!x:a.example/report", reason.clone(), (404, "M_NOT_FOUND")),
        (&format!("/v3/rooms/{room}/report/$x"), reason.clone(), (404, "M_NOT_FOUND")),
        ("/v3/users/@nobody:a.example/report", reason.clone(), (404, "M_NOT_FOUND")),
        (&of_room, json!({}), (400, "M_BAD_JSON")),
        (&of_room, json!({ "reason": "x".repeat(4_097) }), (400, "M_INVALID_PARAM")),
    ] {
        assert_eq!(app.post(path, Some(&bob), body).await.error(), error, "{path}");
    }
    assert_eq!(reports(&app).await.len(), 3);
}

/// Ids that a search finds, and whether there are more.
async fn search(app: &App, token: &str, body: Value) -> (Vec<String>, bool) {
    let answer = app.post("/v3/user_directory/search", Some(token), body).await.ok();
    let users = answer["results"].as_array().unwrap().iter();
    (users.map(|user| user["user_id"].as_str().unwrap().to_owned()).collect(), answer["limited"].as_bool().unwrap())
}

#[tokio::test]
async fn people_are_found_by_those_who_may_know_of_them() {
    let app = App::open().await;
    let (alice, bob, carol) = (app.token("alice").await, app.token("bob").await, app.token("carol").await);
    let name = json!({ "displayname": "Żaneta Nowak" });
    app.put("/v3/profile/@bob:a.example/displayname", Some(&bob), name).await.ok();
    let found = async |token: &str, term: &str| search(&app, token, json!({ "search_term": term })).await.0;
    // In no room with anybody.
    assert!(found(&alice, "bob").await.is_empty());
    let room = app.post("/v3/createRoom", Some(&bob), json!({ "preset": "private_chat" })).await.text("room_id");
    assert!(found(&alice, "bob").await.is_empty());
    app.post(&format!("/v3/rooms/{room}/invite"), Some(&bob), json!({ "user_id": "@alice:a.example" })).await.ok();
    assert!(found(&alice, "bob").await.is_empty(), "an invitation is not a common room yet");
    app.post(&format!("/v3/rooms/{room}/join"), Some(&alice), json!({})).await.ok();
    for term in ["bob", "BO", "@bob:a.example", "żaneta", "NOWAK"] {
        assert_eq!(found(&alice, term).await, ["@bob:a.example"], "{term}");
    }
    assert!(found(&alice, "a.example").await.is_empty());
    // Carol is in neither's room; Bob's joining a public one shows him to her.
    assert!(found(&carol, "bob").await.is_empty());
    let public = app.post("/v3/createRoom", Some(&alice), json!({ "preset": "public_chat" })).await.text("room_id");
    app.post(&format!("/v3/rooms/{public}/join"), Some(&bob), json!({})).await.ok();
    let answer = app.post("/v3/user_directory/search", Some(&carol), json!({ "search_term": "nowak" })).await.ok();
    let bob_shown = json!({ "user_id": "@bob:a.example", "display_name": "Żaneta Nowak" });
    assert_eq!(answer, json!({ "results": [bob_shown], "limited": false }));
    app.post(&format!("/v3/rooms/{public}/leave"), Some(&bob), json!({})).await.ok();
    assert!(found(&carol, "bob").await.is_empty());
}

#[tokio::test]
async fn a_cut_list_says_so() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let room = app.post("/v3/createRoom", Some(&alice), json!({ "preset": "public_chat" })).await.text("room_id");
    for name in ["user1", "user2", "user3"] {
        let token = app.token(name).await;
        app.post(&format!("/v3/rooms/{room}/join"), Some(&token), json!({})).await.ok();
    }
    let of = async |limit: Value| search(&app, &alice, json!({ "search_term": "user", "limit": limit })).await;
    assert_eq!(of(json!(2)).await, (vec!["@user1:a.example".into(), "@user2:a.example".into()], true));
    let (all, limited) = of(json!(3)).await;
    assert_eq!((all.len(), limited), (3, false));
    let long = json!({ "search_term": "x".repeat(256) });
    let answer = app.post("/v3/user_directory/search", Some(&alice), long).await;
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    let missing = app.post("/v3/user_directory/search", Some(&alice), json!({})).await;
    assert_eq!(missing.error(), (400, "M_BAD_JSON"));
}
