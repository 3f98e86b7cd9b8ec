//! Client-Server API, "Presence": `GET` and `PUT /presence/{userId}/status`.

use super::*;

fn path(user: &str) -> String {
    format!("/v3/presence/@{user}:a.example/status")
}

/// A room of Alice's that Bob is in.
async fn together(app: &App, alice: &str, bob: &str) {
    let room = app.post("/v3/createRoom", Some(alice), json!({ "preset": "public_chat" })).await.text("room_id");
    app.post(&format!("/v3/join/{room}"), Some(bob), json!({})).await.ok();
}

/// Waits until a look at Alice by Bob gives this presence.
async fn until(app: &App, bob: &str, presence: &str) {
    let seen = async {
        while app.get(&path("alice"), Some(bob)).await.ok()["presence"] != presence {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.expect("she did not become that");
}

#[tokio::test]
async fn what_is_put_is_seen_by_those_who_share_a_room_and_nobody_else() {
    let app = App::open().await;
    let (alice, bob, carol) = (app.token("alice").await, app.token("bob").await, app.token("carol").await);
    together(&app, &alice, &bob).await;
    assert_eq!(app.get(&path("alice"), Some(&bob)).await.ok(), json!({ "presence": "offline" }));
    app.put(&path("alice"), Some(&alice), json!({ "presence": "online", "status_msg": "Tea" })).await.ok();
    app.clock.advance(1_500);
    let expected =
        json!({ "presence": "online", "currently_active": true, "last_active_ago": 1500, "status_msg": "Tea" });
    for viewer in [&alice, &bob] {
        assert_eq!(app.get(&path("alice"), Some(viewer)).await.ok(), expected);
    }
    assert_eq!(app.get(&path("alice"), Some(&carol)).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(app.get(&path("nobody"), Some(&carol)).await.error(), (403, "M_FORBIDDEN"), "as a stranger");
    assert_eq!(app.get(&path("alice"), None).await.error(), (401, "M_MISSING_TOKEN"));
    app.clock.advance(30_000);
    let away = json!({ "presence": "offline", "last_active_ago": 31_500, "status_msg": "Tea" });
    assert_eq!(app.get(&path("alice"), Some(&bob)).await.ok(), away);
}

#[tokio::test]
async fn a_bad_put_changes_nothing() {
    let app = App::open().await;
    let (alice, bob) = (app.token("alice").await, app.token("bob").await);
    app.put(&path("alice"), Some(&alice), json!({ "presence": "unavailable", "status_msg": "ä".repeat(255) }))
        .await
        .ok();
    let before = app.get(&path("alice"), Some(&alice)).await.ok();
    assert_eq!(before["presence"], "unavailable");
    for (body, error) in [
        (json!({}), (400, "M_BAD_JSON")),
        (json!({ "presence": "asleep" }), (400, "M_BAD_JSON")),
        (json!({ "presence": 1 }), (400, "M_BAD_JSON")),
        (json!({ "presence": "online", "status_msg": 1 }), (400, "M_BAD_JSON")),
        (json!({ "presence": "online", "status_msg": "ä".repeat(256) }), (400, "M_INVALID_PARAM")),
    ] {
        assert_eq!(app.put(&path("alice"), Some(&alice), body.clone()).await.error(), error, "{body}");
    }
    let body = json!({ "presence": "online" });
    assert_eq!(app.put(&path("alice"), Some(&bob), body.clone()).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(app.put(&path("nobody"), Some(&bob), body).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(app.get(&path("alice"), Some(&alice)).await.ok(), before);
}

#[tokio::test]
async fn a_status_message_stays_until_it_is_taken_away() {
    let app = App::open().await;
    let alice = app.token("alice").await;
    let put = async |body| app.put(&path("alice"), Some(&alice), body).await;
    let status = async || app.get(&path("alice"), Some(&alice)).await.ok()["status_msg"].clone();
    put(json!({ "presence": "online", "status_msg": "Tea" })).await.ok();
    put(json!({ "presence": "unavailable" })).await.ok();
    assert_eq!(status().await, "Tea");
    put(json!({ "presence": "online", "status_msg": null })).await.ok();
    assert_eq!(status().await, Value::Null);
    put(json!({ "presence": "online", "status_msg": "Tea" })).await.ok();
    put(json!({ "presence": "online", "status_msg": "" })).await.ok();
    assert_eq!(status().await, Value::Null);
}

#[tokio::test]
async fn a_sync_shows_its_user_as_it_says() {
    let app = App::open().await;
    let (alice, bob) = (app.token("alice").await, app.token("bob").await);
    together(&app, &alice, &bob).await;
    let seen = async || app.get(&path("alice"), Some(&bob)).await.ok()["presence"].clone();
    app.get("/v3/sync?set_presence=offline", Some(&alice)).await.ok();
    assert_eq!(seen().await, "offline");
    app.get("/v3/sync?set_presence=unavailable", Some(&alice)).await.ok();
    assert_eq!(seen().await, "unavailable");
    app.get("/v3/sync", Some(&alice)).await.ok();
    assert_eq!(seen().await, "online");
    app.clock.advance(29_999);
    assert_eq!(seen().await, "online");
    app.clock.advance(1);
    assert_eq!(seen().await, "offline");
    assert_eq!(app.get("/v3/sync?set_presence=asleep", Some(&alice)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sending_ends_idleness() {
    let app = App::open().await;
    let (alice, bob) = (app.token("alice").await, app.token("bob").await);
    let room = app.post("/v3/createRoom", Some(&alice), json!({ "preset": "public_chat" })).await.text("room_id");
    app.post(&format!("/v3/join/{room}"), Some(&bob), json!({})).await.ok();
    app.put(&path("alice"), Some(&alice), json!({ "presence": "unavailable" })).await.ok();
    let send = format!("/v3/rooms/{room}/send/m.room.message/1");
    app.put(&send, Some(&alice), json!({ "msgtype": "m.text", "body": "here" })).await.ok();
    assert_eq!(app.get(&path("alice"), Some(&bob)).await.ok()["presence"], "online");
}

#[tokio::test]
async fn a_locked_account_is_offline() {
    let app = App::open().await;
    let admin = super::restrictions::administrator(&app, "root").await;
    let (alice, bob) = (app.token("alice").await, app.token("bob").await);
    together(&app, &alice, &bob).await;
    app.put(&path("alice"), Some(&alice), json!({ "presence": "online" })).await.ok();
    until(&app, &bob, "online").await;
    app.put("/v1/admin/lock/@alice:a.example", Some(&admin), json!({ "locked": true })).await.ok();
    until(&app, &bob, "offline").await;
}

#[tokio::test]
async fn where_it_is_switched_off_everybody_is_offline() {
    let app = App::with(|config| {
        config.registration.open = true;
        config.presence.enabled = false;
    })
    .await;
    let (alice, bob, carol) = (app.token("alice").await, app.token("bob").await, app.token("carol").await);
    together(&app, &alice, &bob).await;
    app.put(&path("alice"), Some(&alice), json!({ "presence": "online", "status_msg": "Tea" })).await.ok();
    assert_eq!(app.get(&path("alice"), Some(&bob)).await.ok(), json!({ "presence": "offline" }));
    assert_eq!(app.get(&path("alice"), Some(&carol)).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(app.get("/v3/sync", Some(&alice)).await.ok()["presence"], Value::Null);
}
