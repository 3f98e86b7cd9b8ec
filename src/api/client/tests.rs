//! The handlers through a router in this process, each test on a fresh database.

mod account_data;
mod profiles;
mod pushrules;
mod reading;
mod registration;
mod sessions;
mod uia;

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit},
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use linkim_federation::SigningKey;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{routes, state::ClientState};
use crate::{
    accounts::tests::{Services, server},
    api::{client_ip, error, extract::MAX_BODY_BYTES},
    config::Config,
    random::OsRandom,
    rooms::{
        aliases::Aliases,
        append::{Appenders, Signer, Wake},
        create::RoomCreation,
        directory::Directory,
        hierarchy::Hierarchy,
        membership::Membership,
        reading::Reading,
        send::Sending,
        state_hash::StateHashKey,
        summary::Summaries,
        upgrade::Upgrades,
    },
    store::ids::{RoomNid, UserNid},
};

struct NoWake;

impl Wake for NoWake {
    fn room_changed(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>, _: &[UserNid]) {}
}

/// The services that write rooms.
struct Rooms {
    creation: Arc<RoomCreation>,
    membership: Arc<Membership>,
    sending: Arc<Sending>,
    aliases: Arc<Aliases>,
    directory: Arc<Directory>,
    summaries: Arc<Summaries>,
    hierarchy: Arc<Hierarchy>,
    upgrades: Arc<Upgrades>,
}

impl Rooms {
    fn new(services: &Services) -> Self {
        let (store, clock) = (services.store.clone(), services.clock.clone());
        let signer = Signer {
            server_name: server(),
            key: SigningKey::generate([1; 32], "1").unwrap(),
            random: Arc::new(OsRandom),
        };
        let hash_key = StateHashKey::new([2; 32]);
        let wake = Arc::new(NoWake);
        let appenders = Arc::new(Appenders::new(store.clone(), clock.clone(), signer, hash_key, wake));
        let membership = Arc::new(Membership::new(store.clone(), appenders.clone(), server()));
        let summaries = Arc::new(Summaries::new(store.clone()));
        let version = ruma::RoomVersionId::V12;
        Self {
            aliases: Arc::new(Aliases::new(store.clone(), appenders.clone(), server(), clock.clone())),
            directory: Arc::new(Directory::new(store.clone(), summaries.clone(), server())),
            hierarchy: Arc::new(Hierarchy::new(store.clone(), summaries.clone())),
            summaries,
            upgrades: Arc::new(Upgrades::new(store.clone(), appenders.clone())),
            creation: Arc::new(RoomCreation::new(store.clone(), appenders.clone(), server(), version, clock)),
            sending: Arc::new(Sending::new(store, appenders, membership.clone(), server())),
            membership,
        }
    }
}

/// A server in this process.
struct App {
    services: Services,
    router: Router,
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

    /// A server with this configuration; rate limits are off unless it turns them on.
    async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(server(), "/nowhere".into());
        config.rate_limits.enabled = false;
        configure(&mut config);
        let services =
            Services::new(config.registration.clone(), config.rate_limits.enabled).await;
        let trusted = client_ip::TrustedProxies::new(config.listen.trusted_proxies.clone());
        let rooms = Rooms::new(&services);
        let state = ClientState {
            config: Arc::new(config),
            sessions: services.sessions.clone(),
            names: services.names.clone(),
            registration: services.registration.clone(),
            shared_secret: services.shared_secret.clone(),
            login: services.login.clone(),
            uia: services.uia.clone(),
            devices: services.devices.clone(),
            deactivation: services.deactivation.clone(),
            profiles: services.profiles.clone(),
            account_data: services.account_data.clone(),
            tags: services.tags.clone(),
            push_rules: services.push_rules.clone(),
            filters: services.filters.clone(),
            limits: services.limits.clone(),
            room_creation: rooms.creation,
            membership: rooms.membership,
            reading: Arc::new(Reading::new(services.store.clone(), services.clock.clone())),
            sending: rooms.sending,
            aliases: rooms.aliases,
            directory: rooms.directory,
            summaries: rooms.summaries,
            hierarchy: rooms.hierarchy,
            upgrades: rooms.upgrades,
        };
        let router = routes()
            .fallback(error::unknown_path)
            .method_not_allowed_fallback(error::unknown_method)
            .layer(axum::middleware::map_request_with_state(trusted, client_ip::resolve))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(state);
        Self { services, router }
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
