//! Registration of people and guests, by tokens and by the shared secret.

use super::*;
use crate::config::Secret;

#[tokio::test]
async fn one_request_suffices_where_registration_is_open() {
    let app = App::open().await;
    let body = app.register("alice").await;
    assert_eq!(body["user_id"], "@alice:a.example");
    let token = body["access_token"].as_str().unwrap();
    let me = app.get("/v3/account/whoami", Some(token)).await.ok();
    assert_eq!(me, json!({ "user_id": "@alice:a.example", "device_id": body["device_id"] }));
    let rules = app.get("/v3/pushrules/", Some(token)).await.ok();
    assert_eq!(rules["global"]["override"][0]["rule_id"], ".m.rule.master");
}

#[tokio::test]
async fn without_auth_it_asks_for_the_dummy_stage() {
    let app = App::open().await;
    let asked = app.post("/v3/register", None, json!({})).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    assert_eq!(asked.body.get("errcode"), None);
    let session = asked.body["session"].as_str().unwrap();
    let auth = json!({ "type": "m.login.dummy", "session": session });
    let body = json!({ "username": "bob", "password": "secret", "auth": auth });
    app.post("/r0/register", None, body.clone()).await.ok();
    let again = app.post("/v3/register", None, body).await;
    assert_eq!(again.error(), (400, "M_USER_IN_USE"));
}

#[tokio::test]
async fn names_are_checked_before_authentication() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.registration.reserved_names = vec!["admin".into()];
    })
    .await;
    app.register("alice").await;
    let long = "a".repeat(245);
    let cases = [
        ("Alice", "M_USER_IN_USE"),
        ("admin", "M_USER_IN_USE"),
        ("", "M_INVALID_USERNAME"),
        ("al ice", "M_INVALID_USERNAME"),
        ("al:ice", "M_INVALID_USERNAME"),
        ("älice", "M_INVALID_USERNAME"),
        (long.as_str(), "M_INVALID_USERNAME"),
    ];
    for (username, errcode) in cases {
        let answer = app.post("/v3/register", None, json!({ "username": username })).await;
        assert_eq!(answer.error(), (400, errcode), "{username}");
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("username", username).finish();
        let answer = app.get(&format!("/v3/register/available?{query}"), None).await;
        assert_eq!(answer.error(), (400, errcode), "{username}");
    }
    // "@" + 243 + ":" + "a.example" are 254 bytes, one more letter makes 255.
    let longest = "a".repeat(244);
    let answer = app.get(&format!("/v3/register/available?username={longest}"), None).await;
    assert_eq!(answer.ok(), json!({ "available": true }));
    let upper = app.register("UPPER").await;
    assert_eq!(upper["user_id"], "@upper:a.example");
}

#[tokio::test]
async fn a_name_is_made_up_and_login_may_be_inhibited() {
    let app = App::open().await;
    let auth = json!({ "type": "m.login.dummy" });
    let body = json!({ "password": "secret", "inhibit_login": true, "auth": auth });
    let body = app.post("/v3/register", None, body).await.ok();
    assert!(body["user_id"].as_str().unwrap().ends_with(":a.example"));
    assert_eq!((body.get("access_token"), body.get("device_id")), (None, None));
    let no_password = app.post("/v3/register", None, json!({ "auth": auth })).await;
    assert_eq!(no_password.error(), (400, "M_MISSING_PARAM"));
    let body = json!({ "password": "", "auth": auth });
    assert_eq!(app.post("/v3/register", None, body).await.error(), (400, "M_WEAK_PASSWORD"));
}

#[tokio::test]
async fn malformed_bodies_change_nothing() {
    let app = App::open().await;
    let auth = json!({ "type": "m.login.dummy" });
    let cases = [
        json!({ "username": 5, "password": "secret", "auth": auth }),
        json!({ "username": "bob", "password": "secret", "auth": 5 }),
        json!({ "username": "bob", "password": "secret", "inhibit_login": "no", "auth": auth }),
        json!([]),
    ];
    for body in cases {
        assert_eq!(app.post("/v3/register", None, body).await.error(), (400, "M_BAD_JSON"));
    }
    let request = Request::post("/_matrix/client/v3/register").body(Body::from("{nonsense"));
    assert_eq!(app.send(request.unwrap()).await.error(), (400, "M_NOT_JSON"));
    let answer = app.post("/v3/register?kind=robot", None, json!({})).await;
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    let body = json!({ "username": "bob", "password": "x", "device_id": "d".repeat(256), "auth": auth });
    assert_eq!(app.post("/v3/register", None, body).await.error(), (400, "M_INVALID_PARAM"));
    app.get("/v3/register/available?username=bob", None).await.ok();
}

#[tokio::test]
async fn closed_registration_is_forbidden() {
    let app = App::with(|_| {}).await;
    let answer = app.post("/v3/register", None, json!({ "username": "bob" })).await;
    assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    let answer = app.post("/v3/register?kind=guest", None, json!({})).await;
    assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    let path = "/v1/register/m.login.registration_token/validity?token=x";
    assert_eq!(app.get(path, None).await.error(), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn a_registration_token_lets_its_holder_in() {
    let app = App::with(|config| {
        config.registration.tokens = vec![Secret::new("one".into()), Secret::new("two".into())];
    })
    .await;
    let valid = |token| format!("/v1/register/m.login.registration_token/validity?token={token}");
    assert_eq!(app.get(&valid("two"), None).await.ok(), json!({ "valid": true }));
    assert_eq!(app.get(&valid("three"), None).await.ok(), json!({ "valid": false }));
    let with = |auth| json!({ "username": "bob", "password": "secret", "auth": auth });
    let dummy = app.post("/v3/register", None, with(json!({ "type": "m.login.dummy" }))).await;
    assert_eq!(dummy.error(), (401, "M_FORBIDDEN"));
    assert_eq!(dummy.body["flows"], json!([{ "stages": ["m.login.registration_token"] }]));
    let session = dummy.body["session"].as_str().unwrap();
    let token = |token| json!({ "type": "m.login.registration_token", "session": session, "token": token });
    let wrong = app.post("/v3/register", None, with(token("three"))).await;
    assert_eq!(wrong.error(), (401, "M_FORBIDDEN"));
    assert_eq!(wrong.body["session"], session);
    let body = app.post("/v3/register", None, with(token("two"))).await.ok();
    assert_eq!(body["user_id"], "@bob:a.example");
}

#[tokio::test]
async fn guests_come_in_and_become_people() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.registration.guests = true;
    })
    .await;
    let body = json!({ "username": "ignored", "device_id": "IGNORED" });
    let guest = app.post("/v3/register?kind=guest", None, body).await.ok();
    let token = guest["access_token"].as_str().unwrap();
    assert_ne!(guest["device_id"], "IGNORED");
    let me = app.get("/v3/account/whoami", Some(token)).await.ok();
    assert_eq!(me["is_guest"], true);
    let id = guest["user_id"].as_str().unwrap();
    let path = format!("/v3/user/{id}/account_data/x");
    let refused = app.put(&path, Some(token), json!({})).await;
    assert_eq!(refused.error(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
    let name = json!({ "displayname": "Visitor" });
    app.put(&format!("/v3/profile/{id}/displayname"), Some(token), name).await.ok();
    let tz = json!({ "m.tz": "Europe/Berlin" });
    let refused = app.put(&format!("/v3/profile/{id}/m.tz"), Some(token), tz).await;
    assert_eq!(refused.error(), (403, "M_GUEST_ACCESS_FORBIDDEN"));

    let upgrade = |username: &str| {
        json!({
            "username": username, "password": "secret", "guest_access_token": token,
            "auth": { "type": "m.login.dummy" },
        })
    };
    let refused = app.post("/v3/register", None, upgrade("other")).await;
    assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
    let localpart = id[1..].split(':').next().unwrap();
    let upgraded = app.post("/v3/register", None, upgrade(localpart)).await.ok();
    assert_eq!(upgraded["user_id"], id);
    app.put(&path, Some(token), json!({})).await.ok();
    app.post("/v3/login", None, password_login(localpart, "secret")).await.ok();
}

#[tokio::test]
async fn addresses_are_limited() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.rate_limits.enabled = true;
    })
    .await;
    for _ in 0..30 {
        let answer = app.post("/v3/register", None, json!({})).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let limited = app.post("/v3/register", None, json!({})).await;
    assert_eq!(limited.error(), (429, "M_LIMIT_EXCEEDED"));
    assert_eq!(limited.body["retry_after_ms"], 2000);
    app.clock.advance(2000);
    let answer = app.post("/v3/register", None, json!({})).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

mod shared_secret {
    use super::*;

    const PATH: &str = "/_synapse/admin/v1/register";

    async fn app() -> App {
        App::with(|config| {
            config.registration.shared_secret = Some(Secret::new("shh".into()));
        })
        .await
    }

    async fn nonce(app: &App) -> String {
        let request = Request::get(PATH).body(Body::empty()).unwrap();
        app.send(request).await.text("nonce")
    }

    /// The MAC as Synapse's documentation describes it, with its own HMAC: blocks of 64 bytes, SHA-1 inside and outside.
    fn mac(parts: &[&str]) -> String {
        use sha1::{Digest, Sha1};
        let mut key = [0_u8; 64];
        key[..3].copy_from_slice(b"shh");
        let message = parts.join("\0");
        let inner = Sha1::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
        let outer = Sha1::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
        outer.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn register(app: &App, body: Value) -> Answer {
        app.send(Request::post(PATH).body(Body::from(body.to_string())).unwrap()).await
    }

    #[tokio::test]
    async fn a_right_mac_makes_an_administrator_once() {
        let app = app().await;
        let nonce = nonce(&app).await;
        let mac = mac(&[&nonce, "root", "secret", "admin"]);
        let body = json!({
            "nonce": nonce, "username": "root", "password": "secret", "admin": true, "mac": mac,
            "displayname": "Root",
        });
        let made = register(&app, body.clone()).await.ok();
        assert_eq!(made["user_id"], "@root:a.example");
        let token = made["access_token"].as_str().unwrap();
        let session = app.state.sessions.authenticate(token).await.unwrap();
        assert!(session.admin);
        let profile = app.get("/v3/profile/@root:a.example", None).await.ok();
        assert_eq!(profile, json!({ "displayname": "Root" }));
        assert_eq!(register(&app, body).await.error(), (400, "M_UNKNOWN"));
    }

    #[tokio::test]
    async fn a_user_type_is_covered() {
        let app = app().await;
        let nonce = nonce(&app).await;
        let mac = mac(&[&nonce, "bob", "secret", "notadmin", "support"]);
        let body = json!({
            "nonce": nonce, "username": "bob", "password": "secret", "mac": mac, "user_type": "support",
        });
        let made = register(&app, body).await.ok();
        let token = made["access_token"].as_str().unwrap();
        assert!(!app.state.sessions.authenticate(token).await.unwrap().admin);
    }

    #[tokio::test]
    async fn a_wrong_mac_and_a_late_one_make_nothing() {
        let app = app().await;
        let first = nonce(&app).await;
        let wrong = mac(&[&first, "bob", "secret", "notadmin"]);
        let body = json!({
            "nonce": first, "username": "bob", "password": "secret", "admin": true, "mac": wrong,
        });
        assert_eq!(register(&app, body).await.error(), (403, "M_UNKNOWN"));
        let late = nonce(&app).await;
        let mac = mac(&[&late, "bob", "secret", "notadmin"]);
        let body = json!({ "nonce": late, "username": "bob", "password": "secret", "mac": mac });
        app.clock.advance(60_000);
        assert_eq!(register(&app, body).await.error(), (400, "M_UNKNOWN"));
        let answer = app.get("/v3/profile/@bob:a.example", None).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
    }

    #[tokio::test]
    async fn without_a_secret_it_is_off() {
        let app = App::open().await;
        let request = Request::get(PATH).body(Body::empty()).unwrap();
        assert_eq!(app.send(request).await.error(), (400, "M_UNKNOWN"));
    }
}
