//! Requests that are right, and each way in which one is not.

use std::sync::Mutex;

use axum::{
    Router,
    http::Method,
    routing::{get, put},
};
use linkim_federation::SigningKey;
use ruma::{ServerName, server_name};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    config::ServerPattern,
    peers::keys::tests::{World, key},
};

fn server_a() -> &'static ServerName {
    server_name!("a.example")
}

fn server_b() -> &'static ServerName {
    server_name!("b.example")
}

#[derive(Default)]
struct Heard(Mutex<Vec<OwnedServerName>>);

impl HeardFrom for Heard {
    fn heard_from(&self, server: &ServerName) {
        self.0.lock().unwrap().push(server.to_owned());
    }
}

/// server_a() server with nested routes, as the real ones may be.
struct Server {
    world: World,
    heard: Arc<Heard>,
    router: Router,
}

impl Server {
    async fn new() -> Self {
        let world = World::with(|config| {
            config.federation.deny = vec![ServerPattern::parse("bad.example").unwrap()];
        })
        .await;
        world.network.publish(world.document(server_b(), &[key(1, "b")], &[(&key(2, "old"), 1_000)]));
        let heard = Arc::<Heard>::default();
        let authenticator = Authenticator::new(world.config.clone(), world.keys.clone(), heard.clone());
        let inner = Router::new()
            .route("/empty/{id}", get(|signed: SignedEmpty| async move { signed.origin.to_string() }))
            .route(
                "/json/{id}",
                put(|signed: Signed<Value>| async move { format!("{} {}", signed.origin, signed.body) }),
            )
            .route(
                "/bytes/{id}",
                put(|signed: SignedBytes| async move { format!("{} {}", signed.origin, signed.body.len()) }),
            );
        let router = Router::new().nest("/_matrix/federation/v1", inner).with_state(Arc::new(authenticator));
        Self { world, heard, router }
    }

    /// Status, and what the body says: `errcode`, or all of it.
    async fn send(&self, request: Request) -> (u16, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let errcode =
            serde_json::from_str::<Value>(&text).ok().and_then(|body| body["errcode"].as_str().map(Into::into));
        (status, errcode.unwrap_or(text))
    }
}

/// What is signed, and with what.
struct Sent {
    method: Method,
    uri: &'static str,
    body: Option<String>,
    origin: &'static ServerName,
    destination: &'static ServerName,
    key: SigningKey,
}

impl Sent {
    fn get(uri: &'static str) -> Self {
        Self { method: Method::GET, uri, body: None, origin: server_b(), destination: server_a(), key: key(1, "b") }
    }

    fn put(uri: &'static str, body: impl ToString) -> Self {
        Self { method: Method::PUT, body: Some(body.to_string()), ..Self::get(uri) }
    }

    fn header(&self) -> String {
        let content = self.body.as_deref().map(str::as_bytes);
        let signed = SignedRequest { method: self.method.as_str(), uri: self.uri, content };
        signed.sign(self.origin, self.destination, &self.key).unwrap().to_header_value()
    }

    fn request(&self) -> Request {
        let builder = Request::builder().method(self.method.clone()).uri(self.uri);
        let body = self.body.clone().map_or_else(Body::empty, Body::from);
        builder.header(header::AUTHORIZATION, self.header()).body(body).unwrap()
    }
}

const EMPTY: &str = "/_matrix/federation/v1/empty/%21a%2Fb?x=1&y=%20+&z";
const JSON: &str = "/_matrix/federation/v1/json/1";
const BYTES: &str = "/_matrix/federation/v1/bytes/1";

#[tokio::test]
async fn a_signed_request_is_its_origins() {
    let server = Server::new().await;
    assert_eq!(server.send(Sent::get(EMPTY).request()).await, (200, "b.example".into()));
    let question_mark = Sent::get("/_matrix/federation/v1/empty/x?");
    assert_eq!(server.send(question_mark.request()).await.0, 200);
    let json = Sent::put(JSON, json!({ "b": [1, "\u{e9}"], "a": {} }));
    assert_eq!(server.send(json.request()).await, (200, "b.example {\"a\":{},\"b\":[1,\"\u{e9}\"]}".into()));
    let spaced = "{ \"pdus\" : [ {\"depth\": 1.5} ] }";
    assert_eq!(server.send(Sent::put(BYTES, spaced).request()).await, (200, format!("b.example {}", spaced.len())));
    assert_eq!(*server.heard.0.lock().unwrap(), [server_b(), server_b(), server_b(), server_b()]);
    assert_eq!(server.world.network.asked(server_b()), 1);
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_refused() {
    let server = Server::new().await;
    let unauthorized = (401, "M_UNAUTHORIZED".to_owned());
    let header = |sent: &Sent, mut request: Request| {
        request.headers_mut().insert(header::AUTHORIZATION, sent.header().parse().unwrap());
        request
    };
    let get = Sent::get(EMPTY);
    for other in [
        Sent::get("/_matrix/federation/v1/empty/%21a%2fb?x=1&y=%20+&z"),
        Sent::get("/_matrix/federation/v1/empty/%21a%2Fb?x=1&y=%20+&z="),
        Sent::get("/_matrix/federation/v1/empty/%21a%2Fb"),
    ] {
        assert_eq!(server.send(header(&get, other.request())).await, unauthorized, "{}", other.uri);
    }
    let put = Sent::put(JSON, json!({ "a": 1 }));
    assert_eq!(server.send(header(&put, Sent::put(JSON, json!({ "a": 2 })).request())).await, unauthorized);
    let post = Sent { method: Method::POST, ..Sent::put(JSON, json!({ "a": 1 })) };
    assert_eq!(server.send(header(&post, put.request())).await, unauthorized, "another method");
    let without = Sent { body: None, ..Sent::put(JSON, "") };
    assert_eq!(server.send(header(&without, put.request())).await, unauthorized, "a body was added");
    assert!(server.heard.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_can_not_be_known_is_refused() {
    let server = Server::new().await;
    let none = Request::builder().uri(EMPTY).body(Body::empty()).unwrap();
    let bearer = Request::builder().uri(EMPTY).header("authorization", "Bearer x").body(Body::empty()).unwrap();
    let wrong = [
        none,
        bearer,
        Sent { destination: server_name!("c.example"), ..Sent::get(EMPTY) }.request(),
        Sent { origin: server_name!("gone.example"), ..Sent::get(EMPTY) }.request(),
        Sent { key: key(1, "unknown"), ..Sent::get(EMPTY) }.request(),
        Sent { key: key(3, "b"), ..Sent::get(EMPTY) }.request(),
        Sent { key: key(2, "old"), ..Sent::get(EMPTY) }.request(),
        Sent { origin: server_a(), key: key(9, "own"), ..Sent::get(EMPTY) }.request(),
    ];
    for (at, request) in wrong.into_iter().enumerate() {
        assert_eq!(server.send(request).await, (401, "M_UNAUTHORIZED".to_owned()), "{at}");
    }
    let denied = Sent { origin: server_name!("bad.example"), ..Sent::get(EMPTY) }.request();
    assert_eq!(server.send(denied).await, (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(server.world.network.asked(server_name!("bad.example")), 0);
    assert!(server.heard.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_are_json_objects_within_bounds() {
    let server = Server::new().await;
    // Nothing can sign these, and nothing has to: they are refused before the signature is looked at.
    for body in ["[]", "nonsense", "\"{\"", " 1"] {
        let mut request = Sent::put(JSON, json!({})).request();
        *request.body_mut() = Body::from(body);
        assert_eq!(server.send(request).await, (400, "M_NOT_JSON".to_owned()), "{body}");
    }
    assert_eq!(server.world.network.asked(server_b()), 0, "no keys for a body that is none");
    let mut request = Sent::put(JSON, json!({})).request();
    *request.body_mut() = Body::from("{\"a\":");
    assert_eq!(server.send(request).await, (400, "M_NOT_JSON".to_owned()));
    let missing = Sent { body: None, ..Sent::put(JSON, "") };
    assert_eq!(server.send(missing.request()).await, (400, "M_NOT_JSON".to_owned()));
    let large = json!({ "a": "x".repeat(MAX_BODY_BYTES) });
    assert_eq!(server.send(Sent::put(JSON, &large).request()).await, (413, "M_TOO_LARGE".to_owned()));
    assert_eq!(server.send(Sent::put(BYTES, &large).request()).await.0, 200);
    let mut announced = Sent::put(JSON, json!({})).request();
    announced.headers_mut().insert("content-length", "2000000".parse().unwrap());
    assert_eq!(server.send(announced).await, (413, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let endless = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    let read = read_body(Body::from_stream(endless), None, MAX_BODY_BYTES, Duration::from_millis(50)).await;
    assert!(matches!(read, Err(AuthenticationError::Slow)));
    let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let read = read_body(silent, None, MAX_BODY_BYTES, Duration::from_millis(50)).await;
    assert_eq!(ApiError::from(read.unwrap_err()).status(), StatusCode::REQUEST_TIMEOUT);
}
