//! The key endpoints of a whole server.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request},
};
use http_body_util::BodyExt as _;
use linkim_federation::{PublicKeyMap, server_keys::KeyDocument, verify_json};
use ruma::server_name;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{app::App, config::Config, ops::data_dir};

async fn start() -> (tempfile::TempDir, App) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
    let lock = data_dir::hold(&config.data_dir).unwrap();
    let app = App::start(std::sync::Arc::new(config), lock).await.unwrap();
    (folder, app)
}

async fn call(router: &Router, method: Method, uri: &str, body: impl Into<Body>) -> (u16, String) {
    let request =
        Request::builder().method(method).uri(uri).extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
    let response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn our_keys_are_published_signed_by_themselves() {
    let (_folder, app) = start().await;
    let router = app.router();
    let (status, json) = call(&router, Method::GET, "/_matrix/key/v2/server", "").await;
    assert_eq!(status, 200);
    let document = KeyDocument::parse(json.as_bytes(), server_name!("a.example")).unwrap();
    assert_eq!(document.verify_keys().len(), 1);
    for legacy in ["/_matrix/key/v2/server/ed25519:x", "/_matrix/key/v2/server/"] {
        assert_eq!(call(&router, Method::GET, legacy, "").await, (200, json.clone()));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_notary_signs_what_it_passes_on() {
    let (_folder, app) = start().await;
    let router = app.router();
    let keys = app.peers().own_keys.document().verify_keys().clone();
    let keys = PublicKeyMap::from([("a.example".to_owned(), keys)]);
    let asked = json!({ "server_keys": { "a.example": { "ed25519:x": { "minimum_valid_until_ts": 5 } } } });
    for (method, uri, body) in [
        (Method::GET, "/_matrix/key/v2/query/a.example", String::new()),
        (Method::GET, "/_matrix/key/v2/query/a.example?minimum_valid_until_ts=5", String::new()),
        (Method::GET, "/_matrix/key/v2/query/a.example/ed25519:x", String::new()),
        (Method::POST, "/_matrix/key/v2/query", asked.to_string()),
    ] {
        let (status, json) = call(&router, method, uri, body).await;
        assert_eq!(status, 200, "{uri}");
        let answer: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(answer["server_keys"].as_array().unwrap().len(), 1);
        let document = serde_json::from_value(answer["server_keys"][0].clone()).unwrap();
        verify_json(&document, "a.example", &keys).unwrap();
    }
    app.stop().await;
}

#[tokio::test]
async fn wrong_queries_are_told_what_is_wrong() {
    let (_folder, app) = start().await;
    let router = app.router();
    let many: serde_json::Map<String, Value> = (0..101).map(|at| (format!("s{at}.example"), json!({}))).collect();
    for (body, status, errcode) in [
        ("nonsense".to_owned(), 400, "M_NOT_JSON"),
        ("{}".to_owned(), 400, "M_BAD_JSON"),
        (json!({ "server_keys": { "not a name": {} } }).to_string(), 400, "M_BAD_JSON"),
        (json!({ "server_keys": { "b.example": { "ed25519:1": 5 } } }).to_string(), 400, "M_BAD_JSON"),
        (json!({ "server_keys": many }).to_string(), 413, "M_TOO_LARGE"),
        (json!({ "x": "x".repeat(70_000) }).to_string(), 413, "M_TOO_LARGE"),
    ] {
        let (found, json) = call(&router, Method::POST, "/_matrix/key/v2/query", body).await;
        let answer: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((found, answer["errcode"].as_str().unwrap()), (status, errcode));
    }
    let (status, json) =
        call(&router, Method::GET, "/_matrix/key/v2/query/a.example?minimum_valid_until_ts=x", "").await;
    assert!(status == 400 && json.contains("M_INVALID_PARAM"), "{json}");
    let (status, json) = call(&router, Method::GET, "/_matrix/federation/v1/version", "").await;
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &answer["server"]["name"]), (200, &json!("LinkIM")));
    app.stop().await;
}
