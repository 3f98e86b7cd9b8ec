//! Wires the services, the routers and the tasks together, and stops them in order.

mod admin;
mod encryption;
mod federation;
mod linkim;
mod memberships;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, Method, header},
    middleware,
    routing::get,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{Any, CorsLayer},
};

pub use self::{admin::admin, federation::Peers};
use self::{encryption::Encryption, memberships::Memberships};
use crate::{
    accounts::{
        AccountData, Deactivation, Devices, Filters, LastSeen, Login, LoginTokens, Passwords, Profiles, PushRules,
        RateLimits, Registration, Restrictions, Sessions, SharedSecret, Tags, TurnServer, Uia, UserNames,
        keep_last_seen,
    },
    api::{
        client,
        client::state::{ClientServices, ClientState},
        client_ip::{self, TrustedProxies},
        error::{ApiError, unknown_method, unknown_path},
        extract::MAX_BODY_BYTES,
        federation::state::FederationState,
        linkim::state::LinkImState,
    },
    clock::{Clock, SystemClock},
    config::{Config, StorageUrl},
    groups::{Changes, GroupRules, NoteChanges},
    listen,
    listen::tls::{Certificates, TlsError},
    media::{self, Media},
    ops::{
        admin::{Admin, AdminSocket, SOCKET},
        data_dir::{self, DataDirLock},
        metrics, signing_key,
        signing_key::SigningKeyError,
        sweepers,
    },
    peers::{
        hierarchy::RemoteRooms,
        https::TrustError,
        profiles::RemoteProfiles,
        sender,
        sender::{ServersHear, ServersHearReceipts},
        timestamps::RemoteTimestamps,
        transport::Transport,
    },
    random::{OsRandom, Random},
    rooms::{
        account_follower::AccountFollower,
        aliases::Aliases,
        append::{Appenders, Signer},
        create::RoomCreation,
        directory::Directory,
        hierarchy::Hierarchy,
        reading::Reading,
        receipts::Receipts,
        reports::Reports,
        send::Sending,
        state_hash::StateHashKey,
        summary::Summaries,
        typing::{LeaversDontType, Typing, TypingNotes},
        upgrade::Upgrades,
        user_directory::UserDirectory,
    },
    store::{self, Store, StoreError},
    sync::{notifier::Notifier, v3::V3},
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

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn serve(config: Config) -> Result<(), StartError> {
    let handle = metrics::install().map_err(|error| StartError::Metrics(error.to_string()))?;
    let config = Arc::new(config);
    let certificates = certificates(&config)?;
    let lock = data_dir::hold(&config.data_dir)?;
    let app = App::start(config.clone(), lock).await?;
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Vec::new();
    let mut line = String::from("listening");
    let router = app.router();
    for address in &config.listen.client {
        let (listener, real) = bind(*address).await?;
        line.push_str(&format!(" client http://{real}"));
        tasks.push(tokio::spawn(listen::serve(listener, router.clone(), stopping.clone())));
    }
    if let Some(certificates) = certificates {
        for address in &config.listen.federation {
            let (listener, real) = bind(*address).await?;
            line.push_str(&format!(" federation https://{real}"));
            let (router, certificates) = (router.clone(), certificates.clone());
            tasks.push(tokio::spawn(listen::serve_tls(listener, router, stopping.clone(), certificates)));
        }
        tasks.push(tokio::spawn(certificates.keep_fresh(stopping.clone())));
    }
    for address in &config.listen.metrics {
        let (listener, real) = bind(*address).await?;
        line.push_str(&format!(" metrics http://{real}"));
        let (notifier, store, appenders) = (app.notifier.clone(), app.store.clone(), app.appenders.clone());
        let (reachability, sender) = (app.peers.reachability.clone(), app.peers.sender.clone());
        let inbox = app.federation.as_ref().map(|federation| federation.inbox.clone());
        let routes = metrics::routes(handle.clone(), move || {
            ::metrics::gauge!("linkim_waiting_users").set(notifier.waiting() as f64);
            ::metrics::gauge!("linkim_write_queue_length").set(store.write_queue_length() as f64);
            ::metrics::gauge!("linkim_append_queue_length").set(appenders.queue_length() as f64);
            ::metrics::gauge!("linkim_appenders_awake").set(appenders.awake() as f64);
            ::metrics::gauge!("linkim_failing_destinations").set(reachability.failing() as f64);
            if let Some(inbox) = &inbox {
                inbox.refresh_metrics();
            }
            sender.refresh_gauges();
        });
        tasks.push(tokio::spawn(listen::serve(listener, routes, stopping.clone())));
    }
    tasks.extend(admin_socket(&config, &app, &stopping));
    if config.federation.enabled {
        app.peers.sender.start().await?;
    }
    // Before anybody can know that we serve: from then on a signal must find its handler.
    let stopped = StopSignal::listen();
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(StartError::Output)?;
    }
    tracing::info!(server_name = %config.server_name, "{line}");
    stopped.wait().await;
    tracing::info!("stopping");
    stop.send_replace(true);
    app.notifier.stop();
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a listener failed");
        }
    }
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// What `linkim admin` reaches this process by. Without it the server serves all the same.
fn admin_socket(config: &Config, app: &App, stopping: &watch::Receiver<bool>) -> Option<JoinHandle<()>> {
    let serving = match AdminSocket::bind(&config.data_dir) {
        Ok(socket) => socket.serve(Arc::new(app.admin()), stopping.clone()),
        Err(error) => {
            tracing::error!(%error, "linkim admin can't reach this server: no {SOCKET} in data_dir");
            return None;
        }
    };
    Some(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::warn!(%error, "{SOCKET} stays behind");
        }
    }))
}

/// What the HTTPS listeners show, if there are any.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, TlsError> {
    let files = config.tls.as_ref().filter(|_| !config.listen.federation.is_empty());
    files.map(|files| Certificates::load(files).map(Arc::new)).transpose()
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((listener, real))
}

/// SIGTERM and SIGINT. Without a handler they end the process at once, which the store survives too.
struct StopSignal {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl StopSignal {
    fn listen() -> Self {
        let handle = |kind| match signal(kind) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::warn!(%error, "no handler for a stop signal");
                None
            }
        };
        Self { terminate: handle(SignalKind::terminate()), interrupt: handle(SignalKind::interrupt()) }
    }

    async fn wait(mut self) {
        async fn received(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = received(&mut self.terminate) => {}
            () = received(&mut self.interrupt) => {}
        }
    }
}

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
        let key = keys[0].clone();
        let group_changes = Arc::<Changes>::default();
        let signer = Signer { server_name: config.server_name.clone(), key, random: random.clone() };
        let appenders = Arc::new(Appenders::new(
            store.clone(),
            clock.clone(),
            signer,
            StateHashKey::new(hash_key),
            Arc::new(NoteChanges {
                next: LeaversDontType { next: hear, wake: notifier.clone(), notes: typing_notes.clone() },
                changes: group_changes.clone(),
            }),
        ));
        let mut tasks = Vec::new();
        let last_seen = Arc::new(LastSeen::default());
        let follower = Arc::new(AccountFollower::default());
        let base = Base {
            config: config.clone(),
            store: store.clone(),
            clock: clock.clone(),
            random,
            notifier: notifier.clone(),
            appenders: appenders.clone(),
            typing_notes,
            sender_notes,
            group_changes,
            group_rules: Arc::new(GroupRules::new(clock.clone())),
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
        tasks.push(tokio::spawn(linkim.groups().clone().follow()));
        tasks.push(tokio::spawn(linkim.groups().clone().answer_requests()));
        let membership = state.membership.clone();
        let typing = state.typing.clone();
        tasks.push(tokio::spawn(async move { typing.run().await }));
        tasks.push(tokio::spawn(follower.run(store.clone(), appenders.clone(), membership)));
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
            trusted,
            tasks,
            _lock: lock,
        })
    }

    /// The services.
    pub fn state(&self) -> &ClientState {
        &self.state
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

    /// Stops the tasks and closes the store.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(federation) = &self.federation {
            federation.inbox.stop();
        }
        self.peers.sender.stop().await;
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
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    notifier: Arc<Notifier>,
    appenders: Arc<Appenders>,
    typing_notes: Arc<TypingNotes>,
    sender_notes: Arc<sender::Notes>,
    group_changes: Arc<Changes>,
    group_rules: Arc<GroupRules>,
}

/// Makes the services that the handlers call.
async fn services(
    base: &Base,
    peers: &Peers,
    memberships: &Memberships,
    last_seen: &Arc<LastSeen>,
    follower: &Arc<AccountFollower>,
    media: &Arc<Media>,
    encryption: &Encryption,
) -> Result<ClientState, StoreError> {
    let Base { config, store, clock, random, notifier, appenders, typing_notes, sender_notes, group_rules, .. } = base;
    let server_name = &config.server_name;
    let watcher = encryption.lists.clone();
    let sessions = Sessions::load(store.clone(), clock.clone(), random.clone(), last_seen.clone(), watcher);
    let sessions = Arc::new(sessions.await?);
    let limits = Arc::new(RateLimits::new(config.rate_limits.enabled, clock.clone()));
    let names = Arc::new(UserNames::new(server_name.clone(), config.registration.reserved_names.clone()));
    let passwords = Arc::new(Passwords::new(random.clone()));
    let registration = Arc::new(Registration::new(
        store.clone(),
        clock.clone(),
        random.clone(),
        passwords.clone(),
        sessions.clone(),
        names.clone(),
        config.registration.clone(),
    ));
    let login = Arc::new(Login::new(store.clone(), passwords, sessions.clone(), limits.clone()));
    let account_data = Arc::new(AccountData::new(store.clone(), notifier.clone()));
    let membership = memberships.membership.clone();
    let typing = Typing::new(store.clone(), appenders.clone(), notifier.clone(), typing_notes.clone());
    let typing = Arc::new(typing.telling(sender_notes.clone()));
    let hear = Arc::new(ServersHearReceipts { next: notifier.clone(), notes: sender_notes.clone() });
    let summaries = Arc::new(Summaries::new(store.clone()));
    Ok(ClientState::new(ClientServices {
        sync: Arc::new(V3::new(
            store.clone(),
            notifier.clone(),
            typing.clone(),
            encryption.counts.clone(),
            clock.clone(),
        )),
        receipts: Arc::new(Receipts::new(store.clone(), appenders.clone(), hear, clock.clone())),
        typing,
        uia: Arc::new(Uia::new(login.clone(), registration.clone(), names.clone(), clock.clone(), random.clone())),
        shared_secret: Arc::new(SharedSecret::new(
            config.registration.shared_secret.clone(),
            clock.clone(),
            random.clone(),
        )),
        devices: Arc::new(Devices::new(store.clone(), sessions.clone(), last_seen.clone())),
        deactivation: Arc::new(Deactivation::new(store.clone(), clock.clone(), sessions.clone(), follower.clone())),
        restrictions: Arc::new(Restrictions::new(store.clone(), sessions.clone(), server_name.clone())),
        profiles: Arc::new(Profiles::new(store.clone(), follower.clone())),
        tags: Arc::new(Tags::new(store.clone(), account_data.clone())),
        push_rules: Arc::new(PushRules::new(store.clone(), account_data.clone())),
        filters: Arc::new(Filters::new(store.clone())),
        room_creation: Arc::new(
            RoomCreation::new(
                store.clone(),
                appenders.clone(),
                server_name.clone(),
                config.rooms.default_version.clone(),
                clock.clone(),
            )
            .talking_to_others(config.federation.enabled),
        ),
        joining: memberships.joining.clone(),
        knocking: memberships.knocking.clone(),
        leaving: memberships.leaving.clone(),
        reading: Arc::new(Reading::new(store.clone(), clock.clone())),
        sending: Arc::new(
            Sending::new(store.clone(), appenders.clone(), membership.clone(), server_name.clone())
                .with_rules(vec![group_rules.clone()]),
        ),
        aliases: Arc::new(Aliases::new(store.clone(), appenders.clone(), server_name.clone(), clock.clone())),
        directory: Arc::new(Directory::new(store.clone(), summaries.clone(), server_name.clone())),
        hierarchy: Arc::new(Hierarchy::new(store.clone(), summaries.clone())),
        upgrades: Arc::new(Upgrades::new(store.clone(), appenders.clone())),
        reports: Arc::new(Reports::new(store.clone(), clock.clone())),
        user_directory: Arc::new(UserDirectory::new(store.clone())),
        turn: Arc::new(TurnServer::new(config.turn.clone(), clock.clone())),
        remote_directory: memberships.directory.clone(),
        remote_profiles: Arc::new(RemoteProfiles::new(peers.client.clone())),
        remote_rooms: Arc::new(RemoteRooms::new(peers.client.clone())),
        remote_timestamps: Arc::new(RemoteTimestamps::new(server_name.clone(), store.clone(), peers.client.clone())),
        backfill: Arc::new(peers.backfill(base)),
        key_uploads: encryption.uploads.clone(),
        key_queries: encryption.queries.clone(),
        key_claims: encryption.claims.clone(),
        remote_keys: encryption.remote_queries.clone(),
        cross_signing: encryption.cross_signing.clone(),
        signatures: encryption.signatures.clone(),
        to_device: encryption.to_device.clone(),
        key_backups: encryption.backups.clone(),
        login_tokens: Arc::new(LoginTokens::new(clock.clone(), random.clone())),
        summaries,
        media: media.clone(),
        config: config.clone(),
        sessions,
        names,
        registration,
        login,
        account_data,
        limits,
        membership,
    }))
}

/// Alive and able to answer. Needs no token.
async fn health() -> &'static str {
    "ok\n"
}
