//! Every way of writing has its limit.

use axum::http::HeaderMap;

use super::*;
use crate::accounts::RATES;

/// One request by alice, into her room.
async fn ask(app: &App, token: &str, method: &Method, path: &str, body: &Value) -> (Answer, HeaderMap) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/_matrix/client/v3{path}"))
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() }, headers)
}

#[tokio::test]
async fn who_writes_too_much_is_told_when_to_go_on() {
    use crate::accounts::Rate;
    let app = App::with(|config| {
        config.registration.open = true;
        config.rate_limits.enabled = true;
    })
    .await;
    let event = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    // ROOM and USER stand for alice's.
    let writes = [
        (Rate::CreateRoom, Method::POST, "/createRoom", json!({})),
        (Rate::CreateRoom, Method::POST, "/rooms/ROOM/upgrade", json!({ "new_version": "none" })),
        (Rate::Message, Method::PUT, "/rooms/ROOM/send/m.room.message/1", json!({ "body": "x" })),
        (Rate::Message, Method::PUT, "/rooms/ROOM/redact/EVENT/1", json!({})),
        (Rate::State, Method::PUT, "/rooms/ROOM/state/org.example.x", json!({})),
        (Rate::State, Method::PUT, "/rooms/ROOM/state/org.example.x/y", json!({})),
        (Rate::State, Method::POST, "/rooms/ROOM/kick", json!({ "user_id": "@bob:a.example" })),
        (Rate::State, Method::POST, "/rooms/ROOM/ban", json!({ "user_id": "@bob:a.example" })),
        (Rate::State, Method::POST, "/rooms/ROOM/unban", json!({ "user_id": "@bob:a.example" })),
        (Rate::State, Method::POST, "/rooms/ROOM/leave", json!({})),
        (Rate::Join, Method::POST, "/rooms/ROOM/join", json!({})),
        (Rate::Join, Method::POST, "/join/ROOM", json!({})),
        (Rate::Join, Method::POST, "/knock/ROOM", json!({})),
        (Rate::Invite, Method::POST, "/rooms/ROOM/invite", json!({ "user_id": "@bob:a.example" })),
        (Rate::Ephemeral, Method::PUT, "/rooms/ROOM/typing/USER", json!({ "typing": true })),
        (Rate::Ephemeral, Method::POST, "/rooms/ROOM/receipt/m.read/EVENT", json!({})),
        (Rate::Ephemeral, Method::POST, "/rooms/ROOM/read_markers", json!({})),
        (Rate::Search, Method::POST, "/publicRooms", json!({})),
        (Rate::Settings, Method::PUT, "/directory/room/%23a:a.example", json!({ "room_id": "ROOM" })),
        (Rate::Settings, Method::PUT, "/directory/list/room/ROOM", json!({ "visibility": "private" })),
        (Rate::Settings, Method::POST, "/rooms/ROOM/forget", json!({})),
        (Rate::Settings, Method::PUT, "/user/USER/account_data/org.example.x", json!({})),
        (Rate::Profile, Method::PUT, "/profile/USER/displayname", json!({ "displayname": "A" })),
    ];
    for (number, (rate, method, path, body)) in writes.into_iter().enumerate() {
        // As if from an office each, so that the limits per address do not come first.
        app.clock.advance(60_000);
        let user = app.register(&format!("alice{number}")).await;
        let token = user["access_token"].as_str().unwrap();
        let room = app.post("/v3/createRoom", Some(token), json!({})).await.text("room_id");
        app.clock.advance(60_000);
        let path = path.replace("ROOM", &room).replace("EVENT", event);
        let path = path.replace("USER", user["user_id"].as_str().unwrap());
        let burst = RATES.iter().find(|row| row.0 == rate).unwrap().1;
        for _ in 0..burst {
            let (answer, _) = ask(&app, token, &method, &path, &body).await;
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{method} {path}");
            assert_ne!(answer.error().1, "M_UNRECOGNIZED", "{method} {path}");
        }
        let (answer, headers) = ask(&app, token, &method, &path, &body).await;
        assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED"), "{method} {path}");
        let wait = answer.body["retry_after_ms"].as_u64().unwrap();
        assert_eq!(headers[header::RETRY_AFTER], wait.div_ceil(1000).to_string());
        app.clock.advance(i64::try_from(wait).unwrap());
        let (answer, _) = ask(&app, token, &method, &path, &body).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{method} {path} after {wait} ms");
    }
}
