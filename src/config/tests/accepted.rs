//! Every key is accepted, has its effect on the typed configuration, and its default.

use std::{collections::BTreeSet, path::Path, time::Duration};

use super::{config, loaded, sources, without_file};
use crate::config::{
    MultiDevicePolicy, Secret, StorageUrl, TurnCredentials,
    gather::gather,
    keys::{Effect, KEYS},
};

/// Every key that can be set in this release, each to something else than its default.
pub(super) const WHOLE: &str = r#"
server_name = "a.example:8448"
public_base_url = "https://a.example/"
data_dir = "./data"
signing_key = "keys/signing.key"
[listen]
client = ["127.0.0.1:0", "[::1]:8009"]
federation = ["0.0.0.0:8448"]
metrics = ["127.0.0.1:9090"]
grpc = ["127.0.0.1:9091"]
trusted_proxies = ["10.0.0.0/8", "::1"]
[tls]
certificate = "fullchain.pem"
key = "/etc/ssl/privkey.pem"
[well_known]
server = "a.example:443"
client = "https://matrix.a.example"
support = { admins = ["@admin:a.example"] }
[registration]
open = true
guests = true
shared_secret = "shared"
tokens = ["one", "two"]
reserved_names = ["root"]
[federation]
enabled = false
public_rooms = false
allow = ["*.example"]
deny = ["bad?.example"]
trusted_key_servers = ["keys.example"]
backoff_max_seconds = 60
[outgoing]
extra_ca_certificates = ["ca.pem"]
allow_private_addresses = true
allow_networks = ["10.1.0.0/16"]
[storage]
url = "sqlite:db/linkim.db"
[rate_limits]
enabled = false
[media]
max_upload_bytes = 1
url_previews = true
[email]
smtp_url = "smtp://user:password@mail.a.example"
from = "LinkIM <linkim@a.example>"
[verification]
sms_webhook = "https://sms.example/?token=t"
log_codes = true
[linkim]
withdraw_seconds = 0
text_limit = 10
friend_verify = true
reveal_block = false
multi_device_policy = 4
invitation_required = true
grpc_token = "grpc"
[presence]
enabled = false
[appservices]
registrations = ["bridge.yaml"]
[rooms]
default_version = "11"
[retention]
[turn]
uris = ["turn:turn.a.example?transport=udp"]
username = "user"
password = "turn-password"
ttl_seconds = 60
[log]
filter = "warn, linkim=debug"
"#;

/// Keys that [`WHOLE`] cannot hold: an engine that is not built, and the other way to use TURN.
const NOT_IN_WHOLE: [&str; 2] = ["redis.url", "turn.shared_secret"];

#[test]
fn the_whole_example_sets_every_key() {
    let gathered = gather(&sources(WHOLE, &[]));
    assert_eq!(gathered.mistakes, []);
    let set: BTreeSet<&str> = gathered.entries.keys().map(String::as_str).collect();
    let known = KEYS.iter().map(|key| key.path).filter(|path| !NOT_IN_WHOLE.contains(path)).collect();
    assert_eq!(set, known);
}

#[test]
fn paths_start_from_where_they_should() {
    let config = config(WHOLE);
    assert_eq!(config.data_dir, Path::new("/etc/linkim/data"));
    assert_eq!(config.signing_key, Path::new("/etc/linkim/data/keys/signing.key"));
    assert_eq!(config.storage.url, StorageUrl::Sqlite("/etc/linkim/data/db/linkim.db".into()));
    let tls = config.tls.expect("[tls] is set");
    assert_eq!(tls.certificate, Path::new("/etc/linkim/fullchain.pem"));
    assert_eq!(tls.key, Path::new("/etc/ssl/privkey.pem"));
    assert_eq!(config.outgoing.extra_ca_certificates, [Path::new("/etc/linkim/ca.pem")]);
    assert_eq!(config.appservices.registrations, [Path::new("/etc/linkim/bridge.yaml")]);
}

#[test]
fn who_the_server_is_and_where_it_listens() {
    let config = config(WHOLE);
    assert_eq!(config.server_name, "a.example:8448");
    assert_eq!(config.public_base_url.as_ref().map(|url| url.as_str()), Some("https://a.example"));
    assert_eq!(config.client_base_url().map(|url| url.as_str()), Some("https://matrix.a.example"));
    assert_eq!(config.well_known.server.as_ref().map(|name| name.as_str()), Some("a.example:443"));
    assert_eq!(config.well_known.support_admins, ["@admin:a.example"]);
    let shown = |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&config.listen.client), ["127.0.0.1:0", "[::1]:8009"]);
    assert_eq!(shown(&config.listen.federation), ["0.0.0.0:8448"]);
    assert_eq!(shown(&config.listen.metrics), ["127.0.0.1:9090"]);
    assert_eq!(shown(&config.listen.grpc), ["127.0.0.1:9091"]);
    let proxies: Vec<String> = config.listen.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
}

#[test]
fn registration_federation_and_the_outside() {
    let config = config(WHOLE);
    assert!(config.registration.open && config.registration.guests);
    assert_eq!(config.registration.shared_secret, Some(Secret::new("shared".to_owned())));
    assert_eq!(config.registration.tokens, ["one", "two"].map(|token| Secret::new(token.to_owned())));
    assert_eq!(config.registration.reserved_names, ["root"]);
    assert!(!config.federation.enabled && !config.federation.public_rooms);
    assert_eq!(config.federation.allow.len(), 1);
    assert_eq!(config.federation.deny.len(), 1);
    assert_eq!(config.federation.trusted_key_servers, ["keys.example"]);
    assert_eq!(config.federation.backoff_max, Duration::from_secs(60));
    assert!(config.outgoing.allow_private_addresses);
    assert_eq!(config.outgoing.allow_networks.len(), 1);
}

#[test]
fn features() {
    let config = config(WHOLE);
    assert!(!config.rate_limits.enabled && !config.presence.enabled);
    assert_eq!(config.media.max_upload_bytes, 1);
    assert!(config.media.url_previews);
    let email = config.email.expect("[email] is set");
    assert_eq!(email.smtp_url.expose(), "smtp://user:password@mail.a.example");
    assert_eq!(email.from, "LinkIM <linkim@a.example>");
    assert!(config.verification.log_codes);
    assert!(config.verification.sms_webhook.is_some());
    let linkim = config.linkim;
    assert_eq!((linkim.withdraw, linkim.text_limit), (Duration::ZERO, 10));
    assert!(linkim.friend_verify && !linkim.reveal_block && linkim.invitation_required);
    assert_eq!(linkim.multi_device_policy, MultiDevicePolicy::OnePerClass);
    assert_eq!(linkim.grpc_token, Some(Secret::new("grpc".to_owned())));
    assert_eq!(config.rooms.default_version.as_str(), "11");
    assert_eq!(config.turn.uris, ["turn:turn.a.example?transport=udp"]);
    assert_eq!(config.turn.ttl, Duration::from_secs(60));
    assert!(matches!(
        &config.turn.credentials,
        Some(TurnCredentials::Account { username, password }) if username == "user" && password.expose() == "turn-password"
    ));
    assert_eq!(config.log.filter.as_str(), "warn,linkim=debug");
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = config("server_name = \"a.example\"");
    assert_eq!(config.data_dir, Path::new("/etc/linkim/linkim-data"));
    assert_eq!(config.signing_key, Path::new("/etc/linkim/linkim-data/signing.key"));
    assert_eq!(config.storage.url, StorageUrl::Sqlite("/etc/linkim/linkim-data/linkim.db".into()));
    assert_eq!(config.listen.client, ["127.0.0.1:8008".parse().expect("an address")]);
    assert_eq!(config.listen.federation, []);
    assert_eq!(config.listen.trusted_proxies, ["127.0.0.1/32".parse().expect("a network")]);
    assert!(!config.registration.open && !config.registration.guests);
    assert_eq!(config.registration.reserved_names, ["admin"]);
    assert!(config.federation.enabled && config.federation.public_rooms);
    assert_eq!(config.federation.backoff_max, Duration::from_secs(3600));
    assert!(config.rate_limits.enabled && config.presence.enabled && config.linkim.reveal_block);
    assert_eq!(config.media.max_upload_bytes, 104_857_600);
    assert_eq!(config.linkim.withdraw, Duration::from_secs(180));
    assert_eq!(config.linkim.text_limit, 5000);
    assert_eq!(config.linkim.multi_device_policy, MultiDevicePolicy::KeepAll);
    assert_eq!(config.rooms.default_version.as_str(), "12");
    assert_eq!(config.log.filter.as_str(), "info");
    assert!(config.tls.is_none() && config.email.is_none() && config.turn.credentials.is_none());
}

#[test]
fn without_a_file_the_server_is_for_this_machine_alone() {
    let loaded = loaded(&without_file(&[]));
    assert_eq!(loaded.file, None);
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.server_name, "localhost:8008");
    assert_eq!(config.data_dir, Path::new("/run/linkim/linkim-data"));
    assert!(config.registration.open && !config.federation.enabled);
    assert!(config.listen.client.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn without_a_file_registration_closes_when_the_server_can_be_reached_or_has_a_name() {
    let reachable = loaded(&without_file(&[("LINKIM_LISTEN__CLIENT", "0.0.0.0:8008")])).config;
    assert!(!reachable.registration.open);
    let named = loaded(&without_file(&[("LINKIM_SERVER_NAME", "a.example")])).config;
    assert_eq!(named.server_name, "a.example");
    assert!(!named.registration.open && named.federation.enabled);
}

#[test]
fn each_key_without_effect_gets_one_warning_at_its_place() {
    let warnings = loaded(&sources(WHOLE, &[])).warnings;
    let warned: BTreeSet<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    let expected = KEYS.iter().filter(|key| key.effect == Effect::NotYet).map(|key| key.path);
    assert_eq!(warned, expected.filter(|path| !NOT_IN_WHOLE.contains(path)).collect());
    assert_eq!(warned.len(), warnings.len());

    let text = "server_name = \"a.example\"\n[media]\n  url_previews = true\n";
    let lines: Vec<String> = loaded(&sources(text, &[])).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["linkim.toml:3:3: media.url_previews: this setting has no effect yet"]);
}

#[test]
fn no_secret_is_shown_by_debug() {
    let shown = format!("{:?}", config(WHOLE));
    for secret in ["shared\"", "\"one\"", "\"two\"", "user:password", "token=t", "\"grpc\"", "turn-password"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("a.example"));
}

/// The example that operators start from: `#key = …` is a setting that is switched off, `# …` is prose.
const DEPLOY: &str = include_str!("../../../deploy/linkim.toml");

#[test]
fn the_example_for_operators_is_right_and_has_no_setting_without_effect() {
    assert_eq!(loaded(&sources(DEPLOY, &[])).warnings, []);
}

#[test]
fn the_example_for_operators_shows_every_key() {
    let off = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    let lines: Vec<&str> = DEPLOY.lines().map(|line| if off(line) { &line[1..] } else { line }).collect();
    let everything = sources(&lines.join("\n"), &[]);
    loaded(&everything);
    let set: BTreeSet<String> = gather(&everything).entries.into_keys().collect();
    // The other way to use TURN stands in the prose, and so does the engine that is not built.
    let prose = ["redis.url", "turn.username", "turn.password"];
    let known = KEYS.iter().map(|key| key.path.to_owned()).filter(|path| !prose.contains(&path.as_str()));
    assert_eq!(set, known.collect());
}

#[test]
fn what_the_example_for_operators_shows_as_default_is_the_default() {
    let shown = |key: &str| {
        let lines = DEPLOY.lines();
        lines
            .filter_map(|line| line.strip_prefix('#'))
            .find(|line| line.starts_with(&format!("{key} = ")))
            .map(str::to_owned)
    };
    let plain = "server_name = \"a.example\"\n";
    for (section, keys) in [
        ("", vec!["signing_key"]),
        ("listen", vec!["trusted_proxies"]),
        ("registration", vec!["open", "guests", "reserved_names"]),
        ("federation", vec!["public_rooms", "allow", "backoff_max_seconds"]),
        ("outgoing", vec!["allow_private_addresses"]),
        ("storage", vec!["url"]),
        ("media", vec!["max_upload_bytes", "url_previews"]),
        ("verification", vec!["log_codes"]),
        (
            "linkim",
            vec![
                "withdraw_seconds",
                "text_limit",
                "friend_verify",
                "reveal_block",
                "multi_device_policy",
                "invitation_required",
            ],
        ),
        ("rooms", vec!["default_version"]),
        ("turn", vec!["ttl_seconds"]),
        ("log", vec!["filter"]),
    ] {
        for key in keys {
            let line = shown(key).unwrap_or_else(|| panic!("{key} is not shown"));
            let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
            let text = format!("{plain}{prefix}{line}");
            assert_eq!(format!("{:?}", config(&text)), format!("{:?}", config(plain)), "{section} {key}");
        }
    }
}
