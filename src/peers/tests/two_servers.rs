//! Servers in one process that federate: a transport that hands requests from one's client to the other's router.
//!
//! A [`Network`] connects any number of [`Server`]s, and of routers that only say that they are one. What crosses it can be
//! changed on the way, answered in place of the server, or lost; all of it is written down.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use linkim_federation::{SigningKey, x_matrix::SignedRequest};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    api::client::state::ClientState,
    app::App,
    clock::SystemClock,
    config::Config,
    ops::data_dir,
    peers::transport::{Sending, Transport, TransportError},
    random::OsRandom,
    store::{
        Read, StoreError, ids,
        members::{self, Membership},
    },
};

/// Changes what a server answers: its name, method and path with query, status and body.
pub(crate) type Tamper = Arc<dyn Fn(&ServerName, &str, &mut StatusCode, &mut Value) + Send + Sync>;

/// What connects servers.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Wires>);

#[derive(Default)]
struct Wires {
    routers: Mutex<HashMap<OwnedServerName, Router>>,
    down: Mutex<HashSet<OwnedServerName>>,
    tamper: Mutex<Option<Tamper>>,
    seen: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    /// Lets a router answer for a name.
    pub(crate) fn connect(&self, name: &ServerName, router: Router) {
        lock(&self.0.routers).insert(name.to_owned(), router);
    }

    /// Lets nobody reach a server any more, or again.
    pub(crate) fn set_down(&self, name: &ServerName, down: bool) {
        let mut servers = lock(&self.0.down);
        if down {
            servers.insert(name.to_owned())
        } else {
            servers.remove(name)
        };
    }

    /// Changes all answers from now on.
    pub(crate) fn tamper(
        &self,
        tamper: impl Fn(&ServerName, &str, &mut StatusCode, &mut Value) + Send + Sync + 'static,
    ) {
        *lock(&self.0.tamper) = Some(Arc::new(tamper));
    }

    /// Hands answers on as they are again.
    pub(crate) fn tamper_no_more(&self) {
        *lock(&self.0.tamper) = None;
    }

    /// The requests so far: destination, method, and path with query.
    pub(crate) fn seen(&self) -> Vec<String> {
        lock(&self.0.seen).clone()
    }

    /// How many requests had this in their line.
    pub(crate) fn count(&self, what: &str) -> usize {
        lock(&self.0.seen).iter().filter(|line| line.contains(what)).count()
    }

    async fn carry(&self, to: &ServerName, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let line = format!("{} {}", request.method(), request.uri());
        lock(&self.0.seen).push(format!("{to} {line}"));
        if lock(&self.0.down).contains(to) {
            return Err(TransportError::Connect("it is down".into()));
        }
        let router = lock(&self.0.routers).get(to).cloned();
        let router = router.ok_or_else(|| TransportError::NoRoute(format!("no server {to}")))?;
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        let Ok(response) = router.oneshot(request).await;
        let tamper = lock(&self.0.tamper).clone();
        let Some(tamper) = tamper else { return Ok(response) };
        let (mut head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|error| TransportError::Broken(error.to_string()))?.to_bytes();
        let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
            return Ok(Response::from_parts(head, Body::from(bytes)));
        };
        tamper(to, &line, &mut head.status, &mut value);
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Body::from(value.to_string())))
    }
}

impl Transport for Network {
    fn send<'a>(&'a self, destination: &'a ServerName, request: Request<Bytes>) -> Sending<'a> {
        Box::pin(self.carry(destination, request))
    }
}

/// A server of ours.
pub(crate) struct Server {
    pub(crate) name: OwnedServerName,
    app: App,
    router: Router,
    _folder: tempfile::TempDir,
}

/// Somebody with an account.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: OwnedUserId,
    pub(crate) token: String,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and errcode, to be compared in one go.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["errcode"].as_str().unwrap_or("no errcode"))
    }

    /// The body of an answer that must be 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    async fn of(response: Response<Body>) -> Self {
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Self { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }
}

impl Server {
    /// A server with open registration and no rate limits, on the network.
    pub(crate) async fn start(network: &Network, name: &str) -> Self {
        Self::start_with(network, name, |_| {}).await
    }

    /// As [`Self::start`], configured further.
    pub(crate) async fn start_with(network: &Network, name: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = ServerName::parse(name).unwrap();
        let mut config = Config::new(name.clone(), folder.path().to_owned());
        config.registration.open = true;
        config.rate_limits.enabled = false;
        configure(&mut config);
        let lock = data_dir::hold(&config.data_dir).unwrap();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let transport: Arc<dyn Transport> = Arc::new(network.clone());
        let app = App::start_over(Arc::new(config), lock, clock, random, Some(transport)).await.unwrap();
        let router = app.router();
        network.connect(&name, router.clone());
        Self { name, app, router, _folder: folder }
    }

    /// Its services.
    pub(crate) fn services(&self) -> &ClientState {
        self.app.state()
    }

    /// Ends it, as if it had crashed: nobody reaches it any more.
    pub(crate) async fn stop(self, network: &Network) {
        network.set_down(&self.name, true);
        self.app.stop().await;
    }

    /// Registers somebody.
    pub(crate) async fn person(&self, localpart: &str) -> Person {
        let body = json!({ "username": localpart, "password": "secret", "auth": { "type": "m.login.dummy" } });
        let body = self.call(Method::POST, "/_matrix/client/v3/register", None, body).await.ok();
        let id = UserId::parse(body["user_id"].as_str().unwrap()).unwrap();
        Person { id, token: body["access_token"].as_str().unwrap().to_owned() }
    }

    /// A request of a client, at a path from the root.
    pub(crate) async fn call(&self, method: Method, path: &str, by: Option<&Person>, body: Value) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        if let Some(by) = by {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", by.token));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let Ok(response) = self.router.clone().oneshot(request.body(body).unwrap()).await;
        Answer::of(response).await
    }

    /// A `POST` under `/_matrix/client/v3`.
    pub(crate) async fn post(&self, path: &str, by: &Person, body: Value) -> Answer {
        self.call(Method::POST, &format!("/_matrix/client/v3{path}"), Some(by), body).await
    }

    /// A `PUT` under `/_matrix/client/v3`.
    pub(crate) async fn put(&self, path: &str, by: &Person, body: Value) -> Answer {
        self.call(Method::PUT, &format!("/_matrix/client/v3{path}"), Some(by), body).await
    }

    /// A `GET` under `/_matrix/client/v3`.
    pub(crate) async fn get(&self, path: &str, by: &Person) -> Answer {
        self.call(Method::GET, &format!("/_matrix/client/v3{path}"), Some(by), Value::Null).await
    }

    /// Makes a room; answers its id.
    pub(crate) async fn room(&self, by: &Person, body: Value) -> String {
        self.post("/createRoom", by, body).await.ok()["room_id"].as_str().unwrap().to_owned()
    }

    /// Somebody's membership of a room by its state as a member of this server sees it; `none` without one.
    pub(crate) async fn membership(&self, room: &str, by: &Person, of: &UserId) -> String {
        let answer = self.get(&format!("/rooms/{room}/state/m.room.member/{of}"), by).await;
        answer.body["membership"].as_str().unwrap_or("none").to_owned()
    }

    /// Sends what other servers are owed, from now on.
    pub(crate) async fn tell_others(&self) {
        self.app.peers().sender.start().await.unwrap();
    }

    /// How many receipts wait for their events.
    pub(crate) async fn pending_receipts(&self) -> i64 {
        let count = self.app.store().read::<_, StoreError, _>(|read| {
            (read as &dyn Read).one("SELECT COUNT(*) FROM pending_receipts", &[], |row| row.get(0))
        });
        count.await.unwrap().unwrap()
    }

    /// In how many rooms somebody is, or is invited to, or knocks at.
    pub(crate) async fn waiting_for(&self, user: &UserId) -> usize {
        let user = user.to_owned();
        let memberships = self.app.store().read::<_, StoreError, _>(move |read| {
            let user = ids::user_nid(read, &user)?.expect("a user of ours");
            members::of_user(read, user)
        });
        let memberships = memberships.await.unwrap();
        memberships.iter().filter(|member| !matches!(member.membership, Membership::Leave | Membership::Ban)).count()
    }

    /// What somebody's first /sync has.
    pub(crate) async fn sync(&self, by: &Person) -> Value {
        self.get("/sync?timeout=0", by).await.ok()
    }
}

/// A server that is nothing but a name and a key: it says what the test wants.
pub(crate) struct RawServer {
    pub(crate) name: OwnedServerName,
    pub(crate) key: SigningKey,
    network: Network,
}

impl RawServer {
    /// On the network, with its key document and these routes.
    pub(crate) fn start(network: &Network, name: &str, routes: Router) -> Self {
        let name = ServerName::parse(name).unwrap();
        let key = SigningKey::generate([9; 32], "raw").unwrap();
        // The year 2100.
        let document = linkim_federation::server_keys::build_key_document(
            &name,
            std::slice::from_ref(&key),
            &std::collections::BTreeMap::new(),
            4_102_444_800_000,
        );
        let text = document.json().to_owned();
        let keys = axum::routing::get(move || {
            let text = text.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], text) }
        });
        network.connect(&name, routes.route("/_matrix/key/v2/server", keys));
        Self { name, key, network: network.clone() }
    }

    /// A signed request.
    pub(crate) async fn ask(&self, to: &ServerName, method: Method, uri: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        let signed = SignedRequest { method: method.as_str(), uri, content: body.as_deref().map(str::as_bytes) };
        let header_value = signed.sign(&self.name, to, &self.key).unwrap().to_header_value();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, header_value)
            .body(Bytes::from(body.unwrap_or_default()))
            .unwrap();
        Answer::of(self.network.carry(to, request).await.unwrap()).await
    }
}
