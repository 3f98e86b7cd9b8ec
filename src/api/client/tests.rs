//! The handlers through a router in this process, each test on a fresh database.

mod account_data;
mod at_login;
mod presence;
mod profiles;
mod pushrules;
mod rate_limits;
mod reading;
mod registration;
mod restrictions;
mod sessions;
mod uia;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::state::ClientState;
use crate::{
    accounts::tests::{FakeClock, FakeRandom, server},
    app,
    config::Config,
    ops::data_dir,
    store::Store,
};

/// A server in this process.
struct App {
    state: ClientState,
    store: Store,
    clock: Arc<FakeClock>,
    router: Router,
    _app: app::App,
    _folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    /// Status and errcode, to be compared in one go.
    fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["errcode"].as_str().unwrap_or("no errcode"))
    }

    /// The body of an answer that must be 200.
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// A text of an answer that must be 200.
    #[track_caller]
    fn text(self, field: &str) -> String {
        self.ok()[field].as_str().unwrap().to_owned()
    }
}

impl App {
    /// A server with open registration.
    async fn open() -> Self {
        Self::with(|config| config.registration.open = true).await
    }

    /// A server with this configuration; rate limits and federation are off unless it turns them on.
    async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(server(), folder.path().to_owned());
        config.rate_limits.enabled = false;
        config.federation.enabled = false;
        configure(&mut config);
        let lock = data_dir::hold(&config.data_dir).unwrap();
        let clock = Arc::new(FakeClock::default());
        let random = Arc::new(FakeRandom::default());
        let app = app::App::start_with(Arc::new(config), lock, clock.clone(), random).await.unwrap();
        Self {
            state: app.state().clone(),
            store: app.store().clone(),
            router: app.router(),
            clock,
            _app: app,
            _folder: folder,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, body }
    }

    /// A request under `/_matrix/client`.
    async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Value) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/_matrix/client{path}"))
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::GET, path, token, Value::Null).await
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::POST, path, token, body).await
    }

    async fn put(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::PUT, path, token, body).await
    }

    /// Registers a user with the password `secret`; answers the whole body.
    async fn register(&self, username: &str) -> Value {
        let body = json!({
            "username": username,
            "password": "secret",
            "auth": { "type": "m.login.dummy" },
        });
        self.post("/v3/register", None, body).await.ok()
    }

    /// Registers a user and answers the access token.
    async fn token(&self, username: &str) -> String {
        self.register(username).await["access_token"].as_str().unwrap().to_owned()
    }
}

/// The body of a password login.
fn password_login(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}
