//! A server's own word on where it is: the answer to `GET https://<hostname>/.well-known/matrix/server`, and for how long
//! it may be believed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>, and step 3 of
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>. Freshness is that of RFC 9111, section 4.2.

use std::time::{Duration, SystemTime};

use ruma::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::canonical::CanonicalError;
use crate::server_name::{ParsedServerName, ServerNameError};
use crate::value::{Numbers, Value, get, parse_object};

/// How much of a body is to be read, in bytes; a longer one is invalid. The object has one short string.
pub const MAX_WELL_KNOWN_LENGTH: usize = 50 * 1024;

/// How many redirects the caller should follow before it takes the answer for an error.
pub const MAX_WELL_KNOWN_REDIRECTS: usize = 10;

/// How long a valid answer is believed that says nothing about it.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long any answer is believed at most.
pub const MAX_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// How long any answer is believed at least, whatever it says: a server that forbids caching must not make us ask it at
/// every request.
pub const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// How long an error is believed at most.
pub const MAX_ERROR_LIFETIME: Duration = Duration::from_secs(3600);

/// The last response of a request for the well-known document, redirects followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct WellKnownResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The values of all `Cache-Control` headers.
    pub cache_control: &'a [&'a [u8]],
    /// The value of the `Expires` header.
    pub expires: Option<&'a [u8]>,
    /// The value of the `Date` header, which `Expires` is measured from.
    pub date: Option<&'a [u8]>,
    /// The value of the `Age` header.
    pub age: Option<&'a [u8]>,
    /// The body, or its first bytes if it has more than [`MAX_WELL_KNOWN_LENGTH`]; one more than that tells.
    pub body: &'a [u8],
}

/// Why there is no delegation. Discovery goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WellKnownError {
    /// There was no response: no address, no connection, a certificate that is not valid, too many redirects, a timeout.
    #[error("no response")]
    Unreachable,
    /// The status is not 200.
    #[error("status {0}")]
    Status(u16),
    /// The body is longer than [`MAX_WELL_KNOWN_LENGTH`].
    #[error("the body has more than {MAX_WELL_KNOWN_LENGTH} bytes")]
    TooLong,
    /// The body is not a JSON object.
    #[error("the body is not a JSON object: {0}")]
    Json(#[source] CanonicalError),
    /// There is no `m.server`, or it is not a string.
    #[error("`m.server` is missing or not a string")]
    NoServer,
    /// `m.server` is not a server name.
    #[error("`m.server` is not a server name: {0}")]
    ServerName(#[source] ServerNameError),
}

/// What a server said about where it is, or that it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WellKnown {
    /// The delegated server name.
    pub delegated: Result<OwnedServerName, WellKnownError>,
    /// For how long this may be believed, from now on.
    pub lifetime: Duration,
}

/// Decides what a response means, and for how long.
///
/// `response` is `None` if there was none. `failures` counts the answers without a delegation that came before this one
/// without a break. `now` is the time that `Expires` is measured from where the response has no `Date`.
pub fn read_well_known(response: Option<&WellKnownResponse<'_>>, now: SystemTime, failures: u32) -> WellKnown {
    let delegated = match response {
        None => Err(WellKnownError::Unreachable),
        Some(response) if response.status != 200 => Err(WellKnownError::Status(response.status)),
        Some(response) => parse_well_known(response.body),
    };
    let lifetime = match (&delegated, response) {
        (Ok(_), Some(response)) => success_lifetime(response, now),
        _ => error_lifetime(failures),
    };
    WellKnown { delegated, lifetime }
}

/// Reads the body.
///
/// # Errors
/// [`WellKnownError`], of the body alone.
pub fn parse_well_known(body: &[u8]) -> Result<OwnedServerName, WellKnownError> {
    if body.len() > MAX_WELL_KNOWN_LENGTH {
        return Err(WellKnownError::TooLong);
    }
    let object = parse_object(body, Numbers::Loose).map_err(WellKnownError::Json)?;
    let server = get(&object, "m.server").and_then(Value::as_str).ok_or(WellKnownError::NoServer)?;
    let parsed = ParsedServerName::parse(server).map_err(WellKnownError::ServerName)?;
    Ok(ServerName::to_owned(parsed.name()))
}

/// The body that a server publishes, to be served as `application/json`.
pub fn well_known_body(delegated: &ServerName) -> String {
    let mut out = b"{\"m.server\":".to_vec();
    crate::value::write_string(&mut out, delegated.as_str());
    out.push(b'}');
    crate::value::into_text(out)
}

/// How long to wait before an answer without a delegation is asked for again: a minute after the first, twice as long
/// after each one more, an hour at most.
pub fn error_lifetime(failures: u32) -> Duration {
    let doubled = MIN_LIFETIME.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    doubled.min(MAX_ERROR_LIFETIME)
}

fn success_lifetime(response: &WellKnownResponse<'_>, now: SystemTime) -> Duration {
    let stated = match cache_control(response.cache_control) {
        Some(lifetime) => Some(lifetime),
        None => response.expires.map(|expires| until(expires, response.date, now)),
    };
    let Some(stated) = stated else {
        return DEFAULT_LIFETIME;
    };
    let age = response.age.and_then(|age| delta_seconds(age.trim_ascii())).unwrap_or_default();
    stated.saturating_sub(age).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

/// What the directives allow: nothing if one forbids storing or using without asking again, or if `max-age` makes no
/// sense; otherwise the first `max-age`. `None` if they do not say.
fn cache_control(headers: &[&[u8]]) -> Option<Duration> {
    let mut stated = None;
    for directive in headers.iter().flat_map(|header| header.split(|byte| *byte == b',')) {
        let mut parts = directive.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"no-store") || name.eq_ignore_ascii_case(b"no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case(b"max-age") && stated.is_none() {
            let value = parts.next().unwrap_or_default().trim_ascii();
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            stated = Some(delta_seconds(value).unwrap_or_default());
        }
    }
    stated
}

/// RFC 9111, section 1.2.2: a number of any length; what is too large counts as 2^31.
fn delta_seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds.min(1 << 31)))
}

/// From `Date`, or now, to `Expires`; nothing if it is past, or not a date (section 5.3 of RFC 9111).
fn until(expires: &[u8], date: Option<&[u8]>, now: SystemTime) -> Duration {
    let from = date.and_then(http_date).unwrap_or(now);
    http_date(expires).and_then(|expires| expires.duration_since(from).ok()).unwrap_or_default()
}

fn http_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}
