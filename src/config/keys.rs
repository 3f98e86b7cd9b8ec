//! Every key that the configuration accepts, and which of them have effect in this release.

/// Whether setting a key changes anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It does.
    Yes,
    /// It is accepted and checked; setting it logs a warning.
    NotYet,
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its name with those of the tables around it: `listen.client`.
    pub(super) path: &'static str,
    /// Whether setting it changes anything yet.
    pub(super) effect: Effect,
    /// Whether its value must not be shown. Such a key has a twin, `<key>_file`, that names a file with the value.
    pub(super) secret: bool,
}

const fn key(path: &'static str, effect: Effect) -> Key {
    Key { path, effect, secret: false }
}

const fn secret(path: &'static str, effect: Effect) -> Key {
    Key { path, effect, secret: true }
}

/// Every key. Change [`Effect::NotYet`] here in the same commit that makes a key work.
pub(super) const KEYS: &[Key] = &[
    key("server_name", Effect::Yes),
    key("public_base_url", Effect::Yes),
    key("data_dir", Effect::Yes),
    key("signing_key", Effect::Yes),
    key("listen.client", Effect::Yes),
    key("listen.federation", Effect::Yes),
    key("listen.metrics", Effect::Yes),
    key("listen.grpc", Effect::Yes),
    key("listen.trusted_proxies", Effect::Yes),
    key("tls.certificate", Effect::Yes),
    key("tls.key", Effect::Yes),
    key("well_known.server", Effect::Yes),
    key("well_known.client", Effect::Yes),
    key("well_known.support.admins", Effect::Yes),
    key("registration.open", Effect::Yes),
    key("registration.guests", Effect::Yes),
    secret("registration.shared_secret", Effect::Yes),
    secret("registration.tokens", Effect::Yes),
    key("registration.reserved_names", Effect::Yes),
    key("federation.enabled", Effect::Yes),
    key("federation.public_rooms", Effect::Yes),
    key("federation.allow", Effect::Yes),
    key("federation.deny", Effect::Yes),
    key("federation.trusted_key_servers", Effect::Yes),
    key("federation.backoff_max_seconds", Effect::Yes),
    key("outgoing.extra_ca_certificates", Effect::Yes),
    key("outgoing.allow_private_addresses", Effect::Yes),
    key("outgoing.allow_networks", Effect::Yes),
    secret("storage.url", Effect::Yes),
    secret("redis.url", Effect::NotYet),
    key("rate_limits.enabled", Effect::Yes),
    key("media.max_upload_bytes", Effect::Yes),
    key("media.url_previews", Effect::NotYet),
    secret("email.smtp_url", Effect::Yes),
    key("email.from", Effect::Yes),
    secret("verification.sms_webhook", Effect::Yes),
    key("verification.log_codes", Effect::Yes),
    key("linkim.withdraw_seconds", Effect::Yes),
    key("linkim.text_limit", Effect::Yes),
    key("linkim.multi_device_policy", Effect::Yes),
    key("linkim.invitation_required", Effect::Yes),
    key("linkim.friend_verify", Effect::Yes),
    key("linkim.reveal_block", Effect::Yes),
    secret("linkim.grpc_token", Effect::Yes),
    key("presence.enabled", Effect::Yes),
    key("appservices.registrations", Effect::NotYet),
    key("rooms.default_version", Effect::Yes),
    key("turn.uris", Effect::Yes),
    secret("turn.shared_secret", Effect::Yes),
    key("turn.username", Effect::Yes),
    secret("turn.password", Effect::Yes),
    key("turn.ttl_seconds", Effect::Yes),
    key("log.filter", Effect::Yes),
];

/// Sections that are accepted although they have no keys yet.
pub(super) const EMPTY_SECTIONS: &[&str] = &["retention"];

/// What the name of a secret's twin ends in.
pub(super) const TWIN: &str = "_file";

/// The key at a path; for a twin's path, the key that it stands for.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.path == path);
    exact.or_else(|| {
        let base = path.strip_suffix(TWIN)?;
        KEYS.iter().find(|key| key.secret && key.path == base)
    })
}

/// Every path that may be set, twins included.
pub(super) fn paths() -> impl Iterator<Item = String> {
    KEYS.iter().flat_map(|key| {
        let twin = key.secret.then(|| format!("{}{TWIN}", key.path));
        std::iter::once(key.path.to_owned()).chain(twin)
    })
}

/// Whether a path names a section.
pub(super) fn is_section(path: &str) -> bool {
    let inside = |key: &Key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    EMPTY_SECTIONS.contains(&path) || KEYS.iter().any(inside)
}

/// The names that may stand directly in a section (`""`: at the top), in the order of [`KEYS`].
pub(super) fn names_in(section: &str) -> Vec<String> {
    let mut names = Vec::new();
    let all = paths().chain(EMPTY_SECTIONS.iter().map(|section| (*section).to_owned()));
    for path in all {
        let rest = match section {
            "" => Some(path.as_str()),
            _ => path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        if let Some(name) = rest.and_then(|rest| rest.split('.').next())
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// The environment variable that sets a path.
pub(super) fn variable(path: &str) -> String {
    format!("LINKIM_{}", path.replace('.', "__").to_ascii_uppercase())
}
