//! What servers say in their well-known documents about where they are, remembered for as long as they say.
//!
//! Source: Server-Server API, "Resolving server names", step 3.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, header};
use linkim_federation::well_known::{
    MAX_WELL_KNOWN_LENGTH, MAX_WELL_KNOWN_REDIRECTS, MIN_LIFETIME, WellKnown, WellKnownResponse, read_well_known,
};
use moka::sync::Cache;
use ruma::OwnedServerName;
use url::Url;

use super::outgoing::{Fetch, Fetched, Outgoing};
use crate::clock::Clock;

/// How many hosts' answers are remembered.
const MAX_DELEGATIONS: u64 = 10_000;

/// How long the request may take, redirects and all.
const TIME: Duration = Duration::from_secs(10);

/// Well-known documents of other servers. Whoever asks sees to it that a host is asked once at a time.
pub(super) struct Delegations {
    outgoing: Arc<Outgoing>,
    clock: Arc<dyn Clock>,
    port: u16,
    known: Cache<String, Known>,
}

#[derive(Clone)]
struct Known {
    delegated: Option<OwnedServerName>,
    asked_ms: i64,
    until_ms: i64,
    /// Answers without a delegation up to this one, without a break.
    failures: u32,
}

impl Delegations {
    /// Documents are asked for at this port.
    pub(super) fn new(outgoing: Arc<Outgoing>, clock: Arc<dyn Clock>, port: u16) -> Self {
        Self { outgoing, clock, port, known: Cache::builder().max_capacity(MAX_DELEGATIONS).build() }
    }

    /// The name that a host delegates to; `None` if it does not say.
    pub(super) async fn of(&self, host: &str) -> Option<OwnedServerName> {
        let known = self.known.get(host);
        let now_ms = self.clock.now_ms();
        if let Some(known) = &known
            && now_ms < known.until_ms
        {
            return known.delegated.clone();
        }
        let failures = known.map_or(0, |known| known.failures);
        let response = self.ask(host).await;
        let WellKnown { delegated, lifetime } = read(response.as_ref(), self.clock.now_ms(), failures);
        if let Err(error) = &delegated {
            tracing::debug!(host, %error, "no delegation");
        }
        let delegated = delegated.ok();
        let asked_ms = self.clock.now_ms();
        let known = Known {
            asked_ms,
            until_ms: asked_ms.saturating_add(milliseconds(lifetime)),
            failures: if delegated.is_some() { 0 } else { failures.saturating_add(1) },
            delegated: delegated.clone(),
        };
        self.known.insert(host.to_owned(), known);
        delegated
    }

    /// Believes what a host said no longer than the shortest lifetime: what it said has led nowhere.
    pub(super) fn doubt(&self, host: &str) {
        if let Some(mut known) = self.known.get(host) {
            known.until_ms = known.until_ms.min(known.asked_ms.saturating_add(milliseconds(MIN_LIFETIME)));
            self.known.insert(host.to_owned(), known);
        }
    }

    async fn ask(&self, host: &str) -> Option<Fetched> {
        let url = Url::parse(&format!("https://{host}:{}/.well-known/matrix/server", self.port)).ok()?;
        let fetch =
            Fetch::get(url).https_only().redirects(MAX_WELL_KNOWN_REDIRECTS).timeout(TIME).limit(MAX_WELL_KNOWN_LENGTH);
        let fetched = self.outgoing.fetch(fetch).await;
        fetched.inspect_err(|error| tracing::debug!(host, %error, "no well-known document")).ok()
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a response means. One that is too long is none: both say nothing, for equally long.
fn read(response: Option<&Fetched>, now_ms: i64, failures: u32) -> WellKnown {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
    let Some(response) = response else { return read_well_known(None, now, failures) };
    let one = |name| response.headers.get(name).map(http::HeaderValue::as_bytes);
    let cache_control = all(&response.headers, header::CACHE_CONTROL);
    let response = WellKnownResponse {
        status: response.status.as_u16(),
        cache_control: &cache_control,
        expires: one(header::EXPIRES),
        date: one(header::DATE),
        age: one(header::AGE),
        body: &response.body,
    };
    read_well_known(Some(&response), now, failures)
}

fn all(headers: &HeaderMap, name: header::HeaderName) -> Vec<&[u8]> {
    headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
}
