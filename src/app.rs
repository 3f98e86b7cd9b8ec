//! Wires the services, the routers and the tasks together, and stops them in order.

mod admin;
mod encryption;
mod federation;
mod linkim;
mod listeners;
mod memberships;
mod services;
mod verification;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, Method, header},
    middleware,
    routing::get,
};
use tokio::task::JoinHandle;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{Any, CorsLayer},
};

pub use self::{admin::admin, federation::Peers, listeners::serve};
use self::{encryption::Encryption, memberships::Memberships, services::services};
use crate::{
    accounts::{Acknowledged, LastSeen, MailError, keep_acknowledged, keep_last_seen},
    api::{
        client,
        client::state::ClientState,
        client_ip::{self, TrustedProxies},
        error::{ApiError, unknown_method, unknown_path},
        extract::MAX_BODY_BYTES,
        federation::state::FederationState,
        linkim::state::LinkImState,
    },
    clock::{Clock, SystemClock},
    config::{Config, Secret, StorageUrl},
    contacts::ContactRules,
    conversations::ReceiveNothing,
    groups::{Changes, GroupRules, NoteChanges},
    listen::tls::TlsError,
    media::{self, Media},
    ops::{admin::Admin, data_dir::DataDirLock, metrics, signing_key, signing_key::SigningKeyError, sweepers},
    peers::{https::TrustError, sender, sender::ServersHear, transport::Transport},
    presence::{Presence, PresenceFollows},
    random::{OsRandom, Random},
    rooms::{
        account_follower::AccountFollower,
        append::{Appenders, Signer},
        state_hash::StateHashKey,
        typing::{LeaversDontType, TypingNotes},
    },
    store::{self, Store, StoreError},
    sync::notifier::Notifier,
};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database or the data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The certificates that other servers are judged by.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The mail server for verification codes.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// What requests to other servers need of the system.
    #[error("requests to other servers: {0}")]
    Outgoing(String),
    /// A listener.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate of the HTTPS listeners.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The metrics recorder.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The folders of media.
    #[error("the folder of media: {0}")]
    Media(std::io::Error),
    /// Standard output is closed.
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

/// The database file of a configuration.
pub fn database_path(config: &Config) -> PathBuf {
    match &config.storage.url {
        StorageUrl::Sqlite(path) => path.clone(),
    }
}

/// Connections of LinkIM's apps get this long to close once the server stops.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(1);

/// The running server, less its listeners.
pub struct App {
    store: Store,
    notifier: Arc<Notifier>,
    appenders: Arc<Appenders>,
    state: ClientState,
    linkim: LinkImState,
    peers: Peers,
    /// None where federation is off.
    federation: Option<FederationState>,
    last_seen: Arc<LastSeen>,
    acknowledged: Arc<Acknowledged>,
    trusted: TrustedProxies,
    tasks: Vec<JoinHandle<()>>,
    _lock: DataDirLock,
}

impl App {
    /// Opens the store and makes the services.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(config: Arc<Config>, lock: DataDirLock) -> Result<Self, StartError> {
        Self::start_with(config, lock, Arc::new(SystemClock), Arc::new(OsRandom)).await
    }

    /// As [`Self::start`], with another clock and other randomness.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start_with(
        config: Arc<Config>,
        lock: DataDirLock,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StartError> {
        Self::start_over(config, lock, clock, random, None).await
    }

    /// As [`Self::start_with`], reaching other servers over `transport`; without one, over HTTPS.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start_over(
        config: Arc<Config>,
        lock: DataDirLock,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Self, StartError> {
        let keys = signing_key::load_all_or_make(&config.signing_key, &*random)?;
        let store = Store::open(&database_path(&config), config.server_name.as_str())?;
        let seed = random.bytes32();
        let hash_key = store.write::<_, StoreError, _>(move |tx| store::secret(tx, "state_hash_key", seed)).await?;
        let notifier = Notifier::new(store.visible());
        let typing_notes = Arc::<TypingNotes>::default();
        let sender_notes = Arc::<sender::Notes>::default();
        let hear = Arc::new(ServersHear { next: notifier.clone(), notes: sender_notes.clone() });
        let hear = Arc::new(LeaversDontType { next: hear, wake: notifier.clone(), notes: typing_notes.clone() });
        let presence = Presence::new(config.presence.enabled, store.clone(), clock.clone(), notifier.clone());
        let presence = Arc::new(presence);
        let key = keys[0].clone();
        let group_changes = Arc::<Changes>::default();
        let signer = Signer { server_name: config.server_name.clone(), key, random: random.clone() };
        let appenders = Arc::new(Appenders::new(
            store.clone(),
            clock.clone(),
            signer,
            StateHashKey::new(hash_key),
            Arc::new(NoteChanges {
                next: PresenceFollows { next: hear, presence: presence.clone() },
                changes: group_changes.clone(),
            }),
        ));
        let contact_rules = Arc::new(ContactRules::new((&config.linkim).into()));
        let crossings = linkim::follow_contacts(&appenders, &store, &notifier, &contact_rules);
        let mut tasks = Vec::new();
        let last_seen = Arc::new(LastSeen::default());
        let follower = Arc::new(AccountFollower::default());
        let acknowledged = Arc::<Acknowledged>::default();
        let base = Base {
            config: config.clone(),
            receive_nothing: Arc::new(ReceiveNothing::load(&store).await?),
            store: store.clone(),
            clock: clock.clone(),
            random,
            notifier: notifier.clone(),
            appenders: appenders.clone(),
            typing_notes,
            sender_notes,
            group_changes,
            group_rules: Arc::new(GroupRules::new(clock.clone())),
            contact_rules,
            presence: presence.clone(),
            acknowledged: acknowledged.clone(),
        };
        let peers = Peers::new(&base, keys, transport).await?;
        let memberships = Memberships::new(&base, &peers);
        let media = Media::new(
            &config,
            store.clone(),
            clock.clone(),
            base.random.clone(),
            peers.client.clone(),
            peers.outgoing.clone(),
        );
        let media = Arc::new(media.map_err(StartError::Media)?);
        let encryption = Encryption::new(&base, &peers);
        let state = services(&base, &peers, &memberships, &last_seen, &follower, &media, &encryption).await?;
        let federation = match config.federation.enabled {
            true => Some(peers.state(&base, &state, &encryption, &memberships).await?),
            false => None,
        };
        let linkim = linkim::linkim(&base, &state).await?;
        tasks.push(tokio::spawn(linkim.push().clone().follow(state.sessions.endings())));
        tasks.push(tokio::spawn(linkim.push().clone().tell_delivered()));
        tasks.push(tokio::spawn(keep_acknowledged(acknowledged.clone(), store.clone())));
        tasks.push(tokio::spawn(linkim.groups().clone().follow()));
        tasks.push(tokio::spawn(linkim.contacts().clone().settle_crossings(crossings)));
        tasks.push(tokio::spawn(linkim.groups().clone().answer_requests()));
        let membership = state.membership.clone();
        let typing = state.typing.clone();
        tasks.push(tokio::spawn(async move { typing.run().await }));
        tasks.push(tokio::spawn(async move { presence.run().await }));
        let rejecting = memberships.leaving.clone();
        tasks.push(tokio::spawn(follower.run(store.clone(), appenders.clone(), membership, rejecting)));
        tasks.push(tokio::spawn(keep_last_seen(last_seen.clone(), store.clone())));
        tasks.push(tokio::spawn(sweepers::run(store.clone(), clock)));
        tasks.push(tokio::spawn(media::run_sweeper(media)));
        tasks.push(tokio::spawn(encryption.remote_lists.clone().run()));
        let trusted = TrustedProxies::new(config.listen.trusted_proxies.clone());
        Ok(Self {
            store,
            notifier,
            appenders,
            state,
            linkim,
            peers,
            federation,
            last_seen,
            acknowledged,
            trusted,
            tasks,
            _lock: lock,
        })
    }

    /// The services.
    pub fn state(&self) -> &ClientState {
        &self.state
    }

    /// The services of LinkIM's API.
    pub fn linkim(&self) -> &LinkImState {
        &self.linkim
    }

    /// The services that reach other servers.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What `linkim admin` asks for.
    pub fn admin(&self) -> Admin {
        Admin {
            store: self.store.clone(),
            names: self.state.names.clone(),
            registration: self.state.registration.clone(),
            login: self.state.login.clone(),
            deactivation: self.state.deactivation.clone(),
            invitations: self.state.invitations.clone(),
            sender: self.peers.sender.clone(),
        }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All routes with all that lies around them.
    pub fn router(&self) -> Router {
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS])
            // The wildcard would not cover Authorization (Fetch standard).
            .allow_headers([
                HeaderName::from_static("x-requested-with"),
                header::ORIGIN,
                header::CONTENT_TYPE,
                header::ACCEPT,
                header::AUTHORIZATION,
            ])
            .max_age(std::time::Duration::from_secs(86_400));
        client::routes()
            .with_state(self.state.clone())
            .merge(federation::routes(self.federation.as_ref()))
            .merge(linkim::routes(&self.linkim))
            .route("/health", get(health))
            .fallback(unknown_path)
            .method_not_allowed_fallback(unknown_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::map_request_with_state(self.trusted.clone(), client_ip::resolve))
            .layer(middleware::from_fn(metrics::count))
            .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
                axum::response::IntoResponse::into_response(ApiError::internal("a handler panicked"))
            }))
            .layer(cors)
    }

    /// The gRPC services, for who knows the token.
    fn grpc(&self, token: Secret) -> Router {
        linkim::grpc(&self.linkim, token).layer(middleware::from_fn(metrics::count))
    }

    /// Stops the tasks and closes the store.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.state.filling.stop();
        if let Some(federation) = &self.federation {
            federation.inbox.stop();
        }
        self.peers.sender.stop().await;
        self.linkim.push().closed(CLOSING).await;
        if let Err(error) = self.acknowledged.flush(&self.store).await {
            tracing::warn!(%error, "could not write how far devices have received");
        }
        if let Err(error) = self.last_seen.flush(&self.store).await {
            tracing::warn!(%error, "could not write when devices were last seen");
        }
        let store = self.store;
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the store failed");
        }
    }
}

/// What most services are given some of.
struct Base {
    config: Arc<Config>,
    receive_nothing: Arc<ReceiveNothing>,
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    notifier: Arc<Notifier>,
    appenders: Arc<Appenders>,
    typing_notes: Arc<TypingNotes>,
    sender_notes: Arc<sender::Notes>,
    group_changes: Arc<Changes>,
    group_rules: Arc<GroupRules>,
    contact_rules: Arc<ContactRules>,
    presence: Arc<Presence>,
    acknowledged: Arc<Acknowledged>,
}

/// Alive and able to answer. Needs no token.
async fn health() -> &'static str {
    "ok\n"
}
