//! From gathered values to the typed configuration: each key with its type, its bounds and its default.

use std::{net::SocketAddr, path::Path, time::Duration};

use ruma::{OwnedServerName, RoomVersionId, UserId, owned_server_name};

use super::{
    grammar::{is_line, is_localpart, is_mailbox, is_registration_token, parse_network, parse_server},
    mistakes::{Mistake, Place},
    read::{Reader, resolve},
    sections::{
        AppServices, Config, Email, Federation, LinkIm, Listen, Log, Media, Outgoing, Presence, RateLimits,
        Registration, Rooms, Storage, Tls, Turn, TurnCredentials, Verification, WellKnown,
    },
    values::{HttpUrl, LogFilter, MultiDevicePolicy, Secret, ServerPattern, StorageUrl, http_url},
};

/// No duration of the configuration is longer.
const YEAR: u64 = 365 * 24 * 60 * 60;
/// The largest integer that JSON carries exactly (Matrix appendices, "Canonical JSON").
const MAX_JSON_INTEGER: u64 = (1 << 53) - 1;
/// What an event may have in all, in bytes (Client-Server API, "Size limits"); no text in it can be longer.
const MAX_EVENT_BYTES: u64 = 65_536;

const ADDRESS: &str = "an IP address with a port, such as \"127.0.0.1:8008\" or \"[::]:8448\"";
const HTTP_URL: &str = "an http:// or https:// address without query, user or password";
const NETWORK: &str = "an IP address or a network, such as \"10.1.0.0/16\"";
const SERVER: &str = "a server name, such as \"a.example\" or \"a.example:8448\"";
const PATTERN: &str = "a server name, in which * and ? may stand";
const STORAGE: &str = "\"sqlite:<file>\", the file relative to data_dir";
const ONE_LINE: &str = "a string of one line";
const FILTER: &str = "a level (error, warn, info, debug, trace, off) and <module>=<level>, separated by commas";

/// Reads every key. The result holds defaults where a value was wrong; the reader has the mistakes.
///
/// `directory` is where the default `data_dir` lies. Zero-configuration holds if there is neither a `file` (its name) nor a
/// `server_name`.
pub(super) fn build(reader: &mut Reader, directory: &Path, file: Option<&str>) -> Config {
    let zero = file.is_none() && reader.place("server_name").is_none();
    let server_name = if zero { None } else { server_name(reader, file) };
    let data_dir = reader.path("data_dir").unwrap_or_else(|| directory.join("linkim-data"));
    let signing_key = reader.string("signing_key", "a path, relative to data_dir", |text| resolve(&data_dir, text));
    let listen = listen(reader);
    redis(reader);
    Config {
        server_name: server_name.unwrap_or_else(|| owned_server_name!("localhost:8008")),
        public_base_url: reader.string("public_base_url", HTTP_URL, HttpUrl::parse),
        signing_key: signing_key.unwrap_or_else(|| data_dir.join("signing.key")),
        tls: tls(reader),
        well_known: well_known(reader),
        registration: registration(reader, zero && is_loopback_only(&listen)),
        federation: federation(reader, !zero),
        outgoing: outgoing(reader),
        storage: storage(reader, &data_dir),
        rate_limits: rate_limits(reader),
        media: media(reader),
        email: email(reader),
        verification: verification(reader),
        linkim: linkim(reader),
        presence: presence(reader),
        appservices: AppServices { registrations: reader.paths("appservices.registrations").unwrap_or_default() },
        rooms: rooms(reader),
        turn: turn(reader),
        log: log(reader),
        listen,
        data_dir,
    }
}

fn server_name(reader: &mut Reader, file: Option<&str>) -> Option<OwnedServerName> {
    if reader.place("server_name").is_none() && !reader.incomplete() {
        let place = file.map_or(Place::Nowhere, |file| Place::At { file: file.to_owned(), line: 1, column: 1 });
        reader.mistake(Mistake::new(place, "server_name", format!("missing; allowed: {SERVER}")));
        return None;
    }
    // A user id has at most 255 bytes (Matrix appendices, "User Identifiers"); this leaves 23 for the localpart.
    let fits = |name: &OwnedServerName| name.as_str().len() <= 230;
    reader.string("server_name", SERVER, |text| parse_server(text).filter(fits))
}

/// Without a configuration registration is open as long as nobody from outside can reach the server.
fn is_loopback_only(listen: &Listen) -> bool {
    listen.client.iter().chain(&listen.federation).all(|address| address.ip().is_loopback())
}

fn listen(reader: &mut Reader) -> Listen {
    let default = Listen::default();
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    Listen {
        client: reader.strings("listen.client", ADDRESS, address).unwrap_or(default.client),
        federation: reader.strings("listen.federation", ADDRESS, address).unwrap_or(default.federation),
        metrics: reader.strings("listen.metrics", ADDRESS, address).unwrap_or(default.metrics),
        grpc: reader.strings("listen.grpc", ADDRESS, address).unwrap_or(default.grpc),
        trusted_proxies: reader
            .strings("listen.trusted_proxies", NETWORK, parse_network)
            .unwrap_or(default.trusted_proxies),
    }
}

fn tls(reader: &mut Reader) -> Option<Tls> {
    let certificate = reader.path("tls.certificate");
    let key = reader.path("tls.key");
    Some(Tls { certificate: certificate?, key: key? })
}

fn well_known(reader: &mut Reader) -> WellKnown {
    WellKnown {
        server: reader.string("well_known.server", SERVER, parse_server),
        client: reader.string("well_known.client", HTTP_URL, HttpUrl::parse),
        support_admins: reader
            .strings("well_known.support.admins", "a user id, such as \"@admin:a.example\"", |text| {
                UserId::parse(text).ok()
            })
            .unwrap_or_default(),
    }
}

fn registration(reader: &mut Reader, open_by_default: bool) -> Registration {
    let default = Registration::default();
    Registration {
        open: reader.boolean("registration.open").unwrap_or(open_by_default),
        guests: reader.boolean("registration.guests").unwrap_or(default.guests),
        shared_secret: reader.secret("registration.shared_secret", ONE_LINE, is_line),
        tokens: reader
            .strings("registration.tokens", "1 to 64 of the characters a-z A-Z 0-9 - . _ ~", |text| {
                is_registration_token(text).then(|| Secret::new(text.to_owned()))
            })
            .unwrap_or(default.tokens),
        reserved_names: reader
            .strings("registration.reserved_names", "a localpart of the characters a-z 0-9 - . = _ / +", |text| {
                is_localpart(text).then(|| text.to_owned())
            })
            .unwrap_or(default.reserved_names),
    }
}

fn federation(reader: &mut Reader, enabled_by_default: bool) -> Federation {
    let default = Federation::default();
    Federation {
        enabled: reader.boolean("federation.enabled").unwrap_or(enabled_by_default),
        public_rooms: reader.boolean("federation.public_rooms").unwrap_or(default.public_rooms),
        allow: reader.strings("federation.allow", PATTERN, ServerPattern::parse).unwrap_or(default.allow),
        deny: reader.strings("federation.deny", PATTERN, ServerPattern::parse).unwrap_or(default.deny),
        trusted_key_servers: reader
            .strings("federation.trusted_key_servers", SERVER, parse_server)
            .unwrap_or(default.trusted_key_servers),
        backoff_max: seconds(reader, "federation.backoff_max_seconds", 1).unwrap_or(default.backoff_max),
    }
}

fn outgoing(reader: &mut Reader) -> Outgoing {
    let default = Outgoing::default();
    Outgoing {
        extra_ca_certificates: reader.paths("outgoing.extra_ca_certificates").unwrap_or(default.extra_ca_certificates),
        allow_private_addresses: reader
            .boolean("outgoing.allow_private_addresses")
            .unwrap_or(default.allow_private_addresses),
        allow_networks: reader
            .strings("outgoing.allow_networks", NETWORK, parse_network)
            .unwrap_or(default.allow_networks),
    }
}

fn storage(reader: &mut Reader, data_dir: &Path) -> Storage {
    let url = reader.checked("storage.url", |text| {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err(format!("PostgreSQL is not built into this release; allowed: {STORAGE}"));
        }
        // `sqlite:///a` and `sqlite://a` as in other programs: what follows the two slashes is the path.
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        let file = path.filter(|path| !path.contains('?') && *path != ":memory:" && !path.ends_with('/'));
        let resolved = file.and_then(|path| resolve(data_dir, path)).map(StorageUrl::Sqlite);
        resolved.ok_or_else(|| format!("found another kind of address; allowed: {STORAGE}"))
    });
    url.map_or_else(|| Storage::in_data_dir(data_dir), |url| Storage { url })
}

/// Redis is for several processes on one PostgreSQL, and neither is built.
fn redis(reader: &mut Reader) {
    reader.checked::<()>("redis.url", |text| {
        Err(match text.starts_with("redis://") || text.starts_with("rediss://") {
            true => "Redis is not built into this release; allowed: leave it out".to_owned(),
            false => {
                "found another kind of address; allowed: leave it out (Redis is not built into this release)".to_owned()
            }
        })
    });
}

fn rate_limits(reader: &mut Reader) -> RateLimits {
    RateLimits { enabled: reader.boolean("rate_limits.enabled").unwrap_or(RateLimits::default().enabled) }
}

fn media(reader: &mut Reader) -> Media {
    let default = Media::default();
    Media {
        max_upload_bytes: reader
            .integer("media.max_upload_bytes", 1..=MAX_JSON_INTEGER)
            .unwrap_or(default.max_upload_bytes),
        url_previews: reader.boolean("media.url_previews").unwrap_or(default.url_previews),
    }
}

fn email(reader: &mut Reader) -> Option<Email> {
    let smtp_url = reader.secret("email.smtp_url", "an smtp:// or smtps:// address", |text| {
        is_line(text)
            && ["smtp://", "smtps://"].iter().any(|scheme| text.starts_with(scheme))
            && lettre::AsyncSmtpTransport::<lettre::Tokio1Executor>::from_url(text).is_ok()
    });
    let from =
        reader.string("email.from", "an address, as \"linkim@a.example\" or \"LinkIM <linkim@a.example>\"", |text| {
            (is_mailbox(text) && text.parse::<lettre::message::Mailbox>().is_ok()).then(|| text.to_owned())
        });
    Some(Email { smtp_url: smtp_url?, from: from? })
}

fn verification(reader: &mut Reader) -> Verification {
    let default = Verification::default();
    Verification {
        sms_webhook: reader
            .secret("verification.sms_webhook", "an http:// or https:// address", |text| http_url(text).is_some()),
        log_codes: reader.boolean("verification.log_codes").unwrap_or(default.log_codes),
    }
}

fn linkim(reader: &mut Reader) -> LinkIm {
    let default = LinkIm::default();
    LinkIm {
        withdraw: seconds(reader, "linkim.withdraw_seconds", 0).unwrap_or(default.withdraw),
        text_limit: reader
            .integer("linkim.text_limit", 1..=MAX_EVENT_BYTES)
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(default.text_limit),
        friend_verify: reader.boolean("linkim.friend_verify").unwrap_or(default.friend_verify),
        reveal_block: reader.boolean("linkim.reveal_block").unwrap_or(default.reveal_block),
        multi_device_policy: reader
            .number(
                "linkim.multi_device_policy",
                "0 (every session stays), 1 (one per platform), 4 (one per class of device) or 5 (any number of computers and one other)",
                MultiDevicePolicy::from_number,
            )
            .unwrap_or(default.multi_device_policy),
        invitation_required: reader.boolean("linkim.invitation_required").unwrap_or(default.invitation_required),
        grpc_token: reader.secret("linkim.grpc_token", ONE_LINE, is_line),
    }
}

fn presence(reader: &mut Reader) -> Presence {
    Presence { enabled: reader.boolean("presence.enabled").unwrap_or(Presence::default().enabled) }
}

fn rooms(reader: &mut Reader) -> Rooms {
    let version = reader.string("rooms.default_version", "a room version, \"1\" to \"12\"", |text| {
        let known = text.parse::<u8>().is_ok_and(|number| (1..=12).contains(&number) && number.to_string() == text);
        known.then(|| RoomVersionId::try_from(text).ok()).flatten()
    });
    version.map_or_else(Rooms::default, |default_version| Rooms { default_version })
}

fn turn(reader: &mut Reader) -> Turn {
    let default = Turn::default();
    let uris = reader.strings("turn.uris", "a turn:, turns:, stun: or stuns: address", |text| {
        let known = ["turn:", "turns:", "stun:", "stuns:"];
        let fits = known.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        (fits && is_line(text)).then(|| text.to_owned())
    });
    let shared_secret = reader.secret("turn.shared_secret", ONE_LINE, is_line);
    let username = reader.string("turn.username", ONE_LINE, |text| is_line(text).then(|| text.to_owned()));
    let password = reader.secret("turn.password", ONE_LINE, is_line);
    let account = username.zip(password).map(|(username, password)| TurnCredentials::Account { username, password });
    Turn {
        uris: uris.unwrap_or(default.uris),
        credentials: shared_secret.map(TurnCredentials::SharedSecret).or(account),
        ttl: seconds(reader, "turn.ttl_seconds", 1).unwrap_or(default.ttl),
    }
}

fn log(reader: &mut Reader) -> Log {
    let filter = reader.checked("log.filter", |text| {
        LogFilter::parse(text).map_err(|found| format!("found {found}; allowed: {FILTER}"))
    });
    Log { filter: filter.unwrap_or_default() }
}

/// A duration, at most a year.
fn seconds(reader: &mut Reader, path: &str, least: u64) -> Option<Duration> {
    reader.integer(path, least..=YEAR).map(Duration::from_secs)
}
