//! One plain struct per section of the configuration, with its defaults.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use ruma::{OwnedServerName, OwnedUserId, RoomVersionId};

use super::values::{HttpUrl, LogFilter, MultiDevicePolicy, Secret, ServerPattern, StorageUrl};

/// The whole configuration, checked. Every path in it is absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name that ends every user id of this server; may carry a port. It can never change.
    pub server_name: OwnedServerName,
    /// How clients reach the client-server API, where that is known.
    pub public_base_url: Option<HttpUrl>,
    /// The directory that holds everything the server keeps.
    pub data_dir: PathBuf,
    /// The file of the ed25519 key that signs events and requests, in Synapse's format; made if absent.
    pub signing_key: PathBuf,
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]`, where a certificate is configured.
    pub tls: Option<Tls>,
    /// `[well_known]`
    pub well_known: WellKnown,
    /// `[registration]`
    pub registration: Registration,
    /// `[federation]`
    pub federation: Federation,
    /// `[outgoing]`
    pub outgoing: Outgoing,
    /// `[storage]`
    pub storage: Storage,
    /// `[rate_limits]`
    pub rate_limits: RateLimits,
    /// `[media]`
    pub media: Media,
    /// `[email]`, where an SMTP server is configured.
    pub email: Option<Email>,
    /// `[verification]`
    pub verification: Verification,
    /// `[linkim]`
    pub linkim: LinkIm,
    /// `[presence]`
    pub presence: Presence,
    /// `[appservices]`
    pub appservices: AppServices,
    /// `[rooms]`
    pub rooms: Rooms,
    /// `[turn]`
    pub turn: Turn,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// A configuration that says nothing but who the server is and where its data lies; everything else has its default.
    pub fn new(server_name: OwnedServerName, data_dir: PathBuf) -> Self {
        Self {
            server_name,
            public_base_url: None,
            signing_key: data_dir.join("signing.key"),
            listen: Listen::default(),
            tls: None,
            well_known: WellKnown::default(),
            registration: Registration::default(),
            federation: Federation::default(),
            outgoing: Outgoing::default(),
            storage: Storage::in_data_dir(&data_dir),
            rate_limits: RateLimits::default(),
            media: Media::default(),
            email: None,
            verification: Verification::default(),
            linkim: LinkIm::default(),
            presence: Presence::default(),
            appservices: AppServices::default(),
            rooms: Rooms::default(),
            turn: Turn::default(),
            log: Log::default(),
            data_dir,
        }
    }

    /// The address to name to clients: `well_known.client`, else `public_base_url`.
    pub fn client_base_url(&self) -> Option<&HttpUrl> {
        self.well_known.client.as_ref().or(self.public_base_url.as_ref())
    }
}

/// `[listen]`: where the server accepts connections.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Plain HTTP, every API; for loopback or behind a proxy. Port 0 lets the system choose.
    pub client: Vec<SocketAddr>,
    /// HTTPS, every API; only together with `[tls]`.
    pub federation: Vec<SocketAddr>,
    /// Plain HTTP, `/metrics` alone.
    pub metrics: Vec<SocketAddr>,
    /// LinkIM's gRPC services.
    pub grpc: Vec<SocketAddr>,
    /// The peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            client: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8008))],
            federation: Vec::new(),
            metrics: Vec::new(),
            grpc: Vec::new(),
            trusted_proxies: vec![IpNet::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST))],
        }
    }
}

/// `[tls]`: for the federation listener; both files are PEM and are read again when they change.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// `[well_known]`: the answers under `/.well-known/matrix/` (Client-Server API, "Server Discovery"; Server-Server API, "Resolving server names").
#[derive(Clone, Debug, Default)]
pub struct WellKnown {
    /// `m.server` of `/.well-known/matrix/server`.
    pub server: Option<OwnedServerName>,
    /// `m.homeserver.base_url` of `/.well-known/matrix/client`.
    pub client: Option<HttpUrl>,
    /// `well_known.support.admins`: the contacts of `/.well-known/matrix/support` with the role `m.role.admin`.
    pub support_admins: Vec<OwnedUserId>,
}

/// `[registration]`: who may create an account.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Anyone may, with `m.login.dummy` alone. Wins over `tokens`.
    pub open: bool,
    /// Guests may.
    pub guests: bool,
    /// The key of `/_synapse/admin/v1/register`; that endpoint is off without it.
    pub shared_secret: Option<Secret>,
    /// Holders of one of these may, with `m.login.registration_token`. Compare in constant time.
    pub tokens: Vec<Secret>,
    /// Localparts that self-registration refuses.
    pub reserved_names: Vec<String>,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            open: false,
            guests: false,
            shared_secret: None,
            tokens: Vec::new(),
            reserved_names: vec!["admin".to_owned()],
        }
    }
}

/// `[federation]`: which other servers this one talks to.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Whether it talks to any.
    pub enabled: bool,
    /// Whether other servers may list the public rooms.
    pub public_rooms: bool,
    /// The servers that it talks to; empty stands for all. Ask [`Federation::permits`].
    pub allow: Vec<ServerPattern>,
    /// The servers that it refuses, also where `allow` names them.
    pub deny: Vec<ServerPattern>,
    /// Notaries that are asked for keys of servers that cannot be reached.
    pub trusted_key_servers: Vec<OwnedServerName>,
    /// The longest pause between two attempts to reach a failing server (`backoff_max_seconds`).
    pub backoff_max: Duration,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            public_rooms: true,
            allow: Vec::new(),
            deny: Vec::new(),
            trusted_key_servers: Vec::new(),
            backoff_max: Duration::from_secs(3600),
        }
    }
}

impl Federation {
    /// Whether this server talks to `server`: federation is on, `deny` does not match it, and `allow` is empty or matches it.
    ///
    /// A pattern is held against the whole name, port included, and against the name without its port, so that `deny` cannot be
    /// passed by with a port.
    pub fn permits(&self, server: &ruma::ServerName) -> bool {
        let names = |pattern: &ServerPattern| pattern.matches(server);
        self.enabled && !self.deny.iter().any(names) && (self.allow.is_empty() || self.allow.iter().any(names))
    }
}

/// `[outgoing]`: every request that the server makes: federation, push, previews, application services.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// PEM files of authorities that are trusted beside the system's.
    pub extra_ca_certificates: Vec<PathBuf>,
    /// Whether loopback and private networks may be reached.
    pub allow_private_addresses: bool,
    /// Networks that may be reached although they are private.
    pub allow_networks: Vec<IpNet>,
}

/// `[storage]`: the database.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Which engine, and where.
    pub url: StorageUrl,
}

impl Storage {
    /// The default: SQLite, in `linkim.db` of the data directory.
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self { url: StorageUrl::Sqlite(data_dir.join("linkim.db")) }
    }
}

/// `[rate_limits]`
#[derive(Clone, Debug)]
pub struct RateLimits {
    /// Whether requests are limited at all.
    pub enabled: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[media]`
#[derive(Clone, Debug)]
pub struct Media {
    /// The largest file that is accepted, in bytes; `m.upload.size` of `/media/config`.
    pub max_upload_bytes: u64,
    /// Whether the server fetches pages to describe links.
    pub url_previews: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self { max_upload_bytes: 100 * 1024 * 1024, url_previews: false }
    }
}

/// `[email]`: verification codes and notifications.
#[derive(Clone, Debug)]
pub struct Email {
    /// `smtp://` or `smtps://`, with user and password where the server asks for them.
    pub smtp_url: Secret,
    /// The sender, as `linkim@a.example` or `LinkIM <linkim@a.example>`.
    pub from: String,
}

/// `[verification]`: how verification codes travel beside email.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// The `http(s)` address that sends a text message. Such addresses often carry a token, hence the secret.
    pub sms_webhook: Option<Secret>,
    /// Whether codes are written to the log; for development alone.
    pub log_codes: bool,
}

/// `[linkim]`: LinkIM's own API.
#[derive(Clone, Debug)]
pub struct LinkIm {
    /// How long after sending a message may be withdrawn (`withdraw_seconds`); zero: never.
    pub withdraw: Duration,
    /// The longest text, in characters.
    pub text_limit: usize,
    /// Whether messages between people who are not friends are refused.
    pub friend_verify: bool,
    /// Whether a blocked sender is told so; otherwise the message is accepted and hidden.
    pub reveal_block: bool,
    /// Which older sessions a login ends.
    pub multi_device_policy: MultiDevicePolicy,
    /// Whether registration asks for an invitation code.
    pub invitation_required: bool,
    /// The bearer token of the gRPC services.
    pub grpc_token: Option<Secret>,
}

impl Default for LinkIm {
    fn default() -> Self {
        Self {
            withdraw: Duration::from_secs(180),
            text_limit: 5000,
            friend_verify: false,
            reveal_block: true,
            multi_device_policy: MultiDevicePolicy::KeepAll,
            invitation_required: false,
            grpc_token: None,
        }
    }
}

/// `[presence]`
#[derive(Clone, Debug)]
pub struct Presence {
    /// Whether presence is kept and sent.
    pub enabled: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[appservices]`
#[derive(Clone, Debug, Default)]
pub struct AppServices {
    /// Registration files (Application Service API, "Registration").
    pub registrations: Vec<PathBuf>,
}

/// `[rooms]`
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The version of rooms whose creator names none.
    pub default_version: RoomVersionId,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V12 }
    }
}

/// `[turn]`: the answer of `/voip/turnServer` (Client-Server API, "Voice over IP").
#[derive(Clone, Debug)]
pub struct Turn {
    /// `turn:`, `turns:`, `stun:` or `stuns:` addresses; none: there is no TURN server.
    pub uris: Vec<String>,
    /// How clients prove themselves to the TURN server; none: nothing is asked of them.
    pub credentials: Option<TurnCredentials>,
    /// How long clients may keep the answer (`ttl_seconds`).
    pub ttl: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self { uris: Vec::new(), credentials: None, ttl: Duration::from_secs(86_400) }
    }
}

/// The two ways of `[turn]` to let clients in.
#[derive(Clone, Debug)]
pub enum TurnCredentials {
    /// `shared_secret`: passwords are made for each user and expire with `ttl`.
    SharedSecret(Secret),
    /// `username` and `password`: one account for all.
    Account {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
}

/// `[log]`
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What is logged.
    pub filter: LogFilter,
}
