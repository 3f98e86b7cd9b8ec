//! Locks and suspensions.

use super::*;
use crate::{params, store::ids};

/// An administrator's access token.
pub(super) async fn administrator(app: &App, name: &str) -> String {
    app.register(name).await;
    let user_id = format!("@{name}:a.example");
    app.store
        .write::<_, crate::store::StoreError, _>(move |tx| {
            let user = ids::user_nid(tx, &ruma::UserId::parse(user_id).unwrap())?.unwrap();
            tx.execute("UPDATE accounts SET admin = 1 WHERE user = ?1", params![user])?;
            Ok(())
        })
        .await
        .unwrap();
    app.post("/v3/login", None, password_login(name, "secret")).await.text("access_token")
}

fn password_login(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

#[tokio::test]
async fn only_administrators_may_and_not_with_everybody() {
    let app = App::open().await;
    let (admin, alice) = (administrator(&app, "root").await, app.token("alice").await);
    administrator(&app, "other").await;
    for (kind, field) in [("suspend", "suspended"), ("lock", "locked")] {
        let path = |user: &str| format!("/v1/admin/{kind}/{user}");
        let on = json!({ field: true });
        // Before anything else: who is no administrator learns nothing of accounts.
        for user in ["@alice:a.example", "@nobody:a.example", "@x:b.example"] {
            assert_eq!(app.get(&path(user), Some(&alice)).await.error(), (403, "M_FORBIDDEN"), "{user}");
            assert_eq!(app.put(&path(user), Some(&alice), on.clone()).await.error(), (403, "M_FORBIDDEN"), "{user}");
        }
        for (user, error) in [
            ("@nobody:a.example", (404, "M_NOT_FOUND")),
            ("@x:b.example", (400, "M_INVALID_PARAM")),
            ("@other:a.example", (403, "M_FORBIDDEN")),
        ] {
            assert_eq!(app.get(&path(user), Some(&admin)).await.error(), error, "{user}");
            assert_eq!(app.put(&path(user), Some(&admin), on.clone()).await.error(), error, "{user}");
        }
        let own = app.put(&path("@root:a.example"), Some(&admin), on.clone()).await;
        assert_eq!(own.error(), (403, "M_FORBIDDEN"));
        let user = path("@alice:a.example");
        assert_eq!(app.put(&user, Some(&admin), json!({})).await.error(), (400, "M_BAD_JSON"));
        assert_eq!(app.get(&user, Some(&admin)).await.ok(), json!({ field: false }));
        assert_eq!(app.put(&user, Some(&admin), on).await.ok(), json!({ field: true }));
        assert_eq!(app.get(&user, Some(&admin)).await.ok(), json!({ field: true }));
        app.put(&user, Some(&admin), json!({ field: false })).await.ok();
        app.get("/v3/account/whoami", Some(&alice)).await.ok();
    }
    let deactivated = app.token("gone").await;
    let auth = json!({ "type": "m.login.password", "password": "secret",
        "identifier": { "type": "m.id.user", "user": "gone" } });
    app.post("/v3/account/deactivate", Some(&deactivated), json!({ "auth": auth })).await.ok();
    let gone = app.get("/v1/admin/lock/@gone:a.example", Some(&admin)).await;
    assert_eq!(gone.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn a_lock_is_felt_at_once() {
    let app = App::open().await;
    let (admin, alice) = (administrator(&app, "root").await, app.token("alice").await);
    app.get("/v3/account/whoami", Some(&alice)).await.ok();
    app.put("/v1/admin/lock/@alice:a.example", Some(&admin), json!({ "locked": true })).await.ok();
    let locked = app.get("/v3/account/whoami", Some(&alice)).await;
    assert_eq!(locked.error(), (401, "M_USER_LOCKED"));
    assert_eq!(locked.body["soft_logout"], true);
    app.put("/v1/admin/lock/@alice:a.example", Some(&admin), json!({ "locked": false })).await.ok();
    app.get("/v3/account/whoami", Some(&alice)).await.ok();
}

#[tokio::test]
async fn a_suspended_user_reads_and_leaves_but_does_not_speak() {
    let app = App::open().await;
    let (admin, alice, bob) = (administrator(&app, "root").await, app.token("alice").await, app.token("bob").await);
    let public = json!({ "preset": "public_chat" });
    let room = app.post("/v3/createRoom", Some(&alice), public.clone()).await.text("room_id");
    let bobs = app.post("/v3/createRoom", Some(&bob), public).await.text("room_id");
    app.post(&format!("/v3/rooms/{room}/join"), Some(&bob), json!({})).await.ok();
    let send = |room: &str, txn: &str| format!("/v3/rooms/{room}/send/m.room.message/{txn}");
    let text = json!({ "msgtype": "m.text", "body": "x" });
    let own = app.put(&send(&room, "1"), Some(&alice), text.clone()).await.text("event_id");
    let bobs_event = app.put(&send(&room, "1"), Some(&bob), text.clone()).await.text("event_id");
    app.put("/v1/admin/suspend/@alice:a.example", Some(&admin), json!({ "suspended": true })).await.ok();
    // A session that began while suspended is suspended, too.
    let second = app.post("/v3/login", None, password_login("alice", "secret")).await.text("access_token");
    for alice in [&alice, &second] {
        let bob_id = json!({ "user_id": "@bob:a.example" });
        let refused = [
            (Method::PUT, send(&room, "2"), text.clone()),
            (Method::PUT, format!("/v3/rooms/{room}/state/m.room.name"), json!({ "name": "x" })),
            (Method::POST, format!("/v3/rooms/{bobs}/join"), json!({})),
            (Method::POST, format!("/v3/join/{bobs}"), json!({})),
            (Method::POST, format!("/v3/knock/{bobs}"), json!({})),
            (Method::POST, format!("/v3/rooms/{room}/invite"), bob_id.clone()),
            (Method::POST, format!("/v3/rooms/{room}/kick"), bob_id.clone()),
            (Method::POST, "/v3/createRoom".to_owned(), json!({})),
            (Method::PUT, "/v3/profile/@alice:a.example/displayname".to_owned(), json!({ "displayname": "x" })),
            (Method::DELETE, "/v3/profile/@alice:a.example/displayname".to_owned(), Value::Null),
            (Method::PUT, format!("/v3/rooms/{room}/redact/{bobs_event}/3"), json!({})),
            (
                Method::PUT,
                format!("/v3/rooms/{room}/send/m.room.redaction/4"),
                json!({ "redacts": bobs_event.clone() }),
            ),
        ];
        for (method, path, body) in refused {
            let answer = app.call(method, &path, Some(alice), body).await;
            assert_eq!(answer.error(), (403, "M_USER_SUSPENDED"), "{path}");
        }
        app.get("/v3/sync", Some(alice)).await.ok();
        app.get(&format!("/v3/rooms/{room}/messages?dir=b"), Some(alice)).await.ok();
    }
    app.put(&format!("/v3/rooms/{room}/redact/{own}/5"), Some(&alice), json!({})).await.ok();
    app.post(&format!("/v3/rooms/{room}/leave"), Some(&alice), json!({})).await.ok();
    app.post("/v3/logout", Some(&second), json!({})).await.ok();
    app.put("/v1/admin/suspend/@alice:a.example", Some(&admin), json!({ "suspended": false })).await.ok();
    app.post(&format!("/v3/rooms/{bobs}/join"), Some(&alice), json!({})).await.ok();
}

#[tokio::test]
async fn what_administrators_can_do_is_a_capability_of_theirs_alone() {
    let app = App::open().await;
    let (admin, alice) = (administrator(&app, "root").await, app.token("alice").await);
    let of = async |token: &str| app.get("/v3/capabilities", Some(token)).await.ok()["capabilities"].clone();
    assert_eq!(of(&admin).await["m.account_moderation"], json!({ "suspend": true, "lock": true }));
    assert!(of(&alice).await.get("m.account_moderation").is_none());
}

#[tokio::test]
async fn who_somebody_is() {
    let app = App::open().await;
    let (admin, alice, bob) = (administrator(&app, "root").await, app.token("alice").await, app.token("bob").await);
    let path = "/v3/admin/whois/@alice:a.example";
    assert_eq!(app.get(path, Some(&bob)).await.error(), (403, "M_FORBIDDEN"));
    for token in [&alice, &admin] {
        let answer = app.get(path, Some(token)).await.ok();
        assert_eq!(answer["user_id"], "@alice:a.example");
        let devices = answer["devices"].as_object().unwrap();
        assert_eq!(devices.len(), 1);
        let connection = &devices.values().next().unwrap()["sessions"][0]["connections"][0];
        assert!(connection["last_seen"].is_i64(), "{answer}");
    }
    let unknown = app.get("/v3/admin/whois/@nobody:a.example", Some(&admin)).await;
    assert_eq!(unknown.error(), (404, "M_NOT_FOUND"));
}
