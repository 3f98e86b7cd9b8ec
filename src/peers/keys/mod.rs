//! Keys: our own, and those of other servers, remembered, asked for and refreshed.
//!
//! Source: Server-Server API, "Retrieving server keys".

mod fetch;
mod flights;
mod known;
mod notary;
mod own;
mod ring;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use linkim_federation::{PublicKeyMap, PublicKeySet, RoomVersionRules, server_keys::MAX_QUERY_SERVERS};
use ruma::{OwnedServerName, ServerName};
use tokio::{sync::Semaphore, time::Instant};

use self::{
    fetch::WantedKeys,
    flights::{Claim, Flight, Flights},
    known::{Known, Memory},
};
pub use self::{
    notary::Notary,
    own::OwnKeys,
    ring::{Keyring, Wanted},
};
use crate::{
    clock::Clock,
    config::Config,
    peers::client::PeerClient,
    store::{Store, StoreError},
};

/// How long a request waits for the keys of its origin.
const REQUEST_WAIT: Duration = Duration::from_secs(25);

/// How long events wait for the keys of their servers, in each of the two rounds: the servers themselves, the notaries.
const EVENTS_WAIT: Duration = Duration::from_secs(30);

/// Servers asked at once for the keys of one batch of events.
const AT_ONCE: usize = 32;

/// Servers asked at once in all.
const MAX_AT_ONCE: usize = 128;

/// Key identifiers of one server in a query to a notary. A server has one key, or two; an event may claim any number.
const MAX_KEY_IDS: usize = 16;

/// Why the keys of a server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The configuration does not allow to talk to this server, or it is this one.
    #[error("this server does not talk to {0}")]
    Refused(OwnedServerName),
    /// It says that it signs with other keys, or could not be asked.
    #[error("no valid key of {0}")]
    NoKey(OwnedServerName),
    /// What is known can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys of other servers.
///
/// Bounds: a server is asked once at a time, not within a minute after it answered, and ever less often while it does not;
/// 512 servers are asked at once at most; memory and database keep what they say in [`known`] and migration 0004.
pub struct RemoteKeys {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    own: Arc<OwnKeys>,
    peers: Arc<PeerClient>,
    clock: Arc<dyn Clock>,
    memory: Memory,
    direct: Arc<Flights>,
    by_notary: Arc<Flights>,
    places: Semaphore,
}

impl RemoteKeys {
    /// Remembers in `store`, asks by `peers`.
    pub fn new(
        config: Arc<Config>,
        own: Arc<OwnKeys>,
        store: Store,
        peers: Arc<PeerClient>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            config,
            own,
            peers,
            clock,
            memory: Memory::new(store),
            direct: Flights::new(),
            by_notary: Flights::new(),
            places: Semaphore::new(MAX_AT_ONCE),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The keys that a server signs requests with now, one of `key_ids` among them.
    ///
    /// # Errors
    /// [`KeyError`]
    pub async fn for_request(&self, server: &ServerName, key_ids: &[String]) -> Result<PublicKeyMap, KeyError> {
        let inner = &self.inner;
        if !inner.permits(server) {
            return Err(KeyError::Refused(server.to_owned()));
        }
        let usable = |known: &Known| {
            let keys = known.keys.for_request(inner.now());
            key_ids.iter().any(|key_id| keys.contains_key(key_id)).then_some(keys)
        };
        let of_server = |keys: PublicKeySet| PublicKeyMap::from([(server.to_string(), keys)]);
        let known = inner.memory.get(server, inner.clock.now_ms()).await?;
        if let Some(keys) = usable(&known) {
            if inner.now() >= known.refresh_ts {
                inner.refresh(server);
            }
            return Ok(of_server(keys));
        }
        let wanted = WantedKeys::from([(server.to_owned(), key_ids.iter().take(MAX_KEY_IDS).cloned().collect())]);
        let asking = async {
            inner.ask_server(server).await;
            let known = inner.memory.get(server, inner.clock.now_ms()).await?;
            // One that answered has said which keys it has; nobody knows better.
            if usable(&known).is_none() && !inner.direct.answered_last(server) {
                inner.ask_notaries(wanted, Instant::now() + REQUEST_WAIT).await;
            }
            Ok::<(), StoreError>(())
        };
        if let Ok(asked) = tokio::time::timeout(REQUEST_WAIT, asking).await {
            asked?;
        }
        let known = inner.memory.get(server, inner.clock.now_ms()).await?;
        usable(&known).map(of_server).ok_or_else(|| KeyError::NoKey(server.to_owned()))
    }

    /// The keys that events are verified with: what could be had of those that are wanted. A key is left out where it was not
    /// valid at the time of each of its server's events; [`Self::ring`] tells for each event.
    pub async fn for_events(&self, wanted: Vec<Wanted>, rules: &RoomVersionRules) -> PublicKeyMap {
        let ring = self.ring(&wanted, rules).await;
        let mut map = PublicKeyMap::new();
        for wanted in &wanted {
            let valid = ring.keys_at(&wanted.server, wanted.origin_server_ts, rules);
            match map.get_mut(wanted.server.as_str()) {
                Some(keys) => keys.retain(|key_id, _| valid.contains_key(key_id)),
                None => {
                    map.insert(wanted.server.to_string(), valid);
                }
            }
        }
        map
    }

    /// What is known of the servers that are wanted; None where one would have to be asked.
    pub async fn ring_at_hand(&self, wanted: &[Wanted], rules: &RoomVersionRules) -> Option<Keyring> {
        let ring = self.inner.known_ring(wanted).await;
        self.inner.lacking(&ring, wanted, rules).is_empty().then_some(ring)
    }

    /// What is known of the servers that are wanted, after those were asked whose keys do not suffice.
    pub async fn ring(&self, wanted: &[Wanted], rules: &RoomVersionRules) -> Keyring {
        let inner = &self.inner;
        let mut ring = inner.known_ring(wanted).await;
        let lacking = inner.lacking(&ring, wanted, rules);
        if lacking.is_empty() {
            return ring;
        }
        let asking = stream::iter(lacking.keys()).for_each_concurrent(AT_ONCE, |server| inner.ask_server(server));
        if tokio::time::timeout(EVENTS_WAIT, asking).await.is_err() {
            tracing::info!(servers = lacking.len(), "not all servers were asked for their keys in time");
        }
        inner.fill(&mut ring, lacking.into_keys().collect()).await;
        let lacking = inner.lacking(&ring, wanted, rules);
        if !lacking.is_empty() && !inner.config.federation.trusted_key_servers.is_empty() {
            let servers = lacking.keys().cloned().collect();
            inner.ask_notaries(lacking, Instant::now() + EVENTS_WAIT).await;
            inner.fill(&mut ring, servers).await;
        }
        ring
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now_ms()).unwrap_or(0)
    }

    fn permits(&self, server: &ServerName) -> bool {
        server != self.own.server_name() && self.config.federation.permits(server)
    }

    /// What is known of the servers that are wanted. Those of which it is too old are asked while nobody waits.
    async fn known_ring(self: &Arc<Self>, wanted: &[Wanted]) -> Keyring {
        let own_name = self.own.server_name();
        let mut ring = Keyring::new(own_name, self.own.known());
        let servers: HashSet<_> = wanted.iter().map(|wanted| &wanted.server).filter(|name| *name != own_name).collect();
        self.fill(&mut ring, servers.into_iter().cloned().collect()).await;
        for server in ring.to_refresh(wanted, self.now()) {
            self.refresh(&server);
        }
        ring
    }

    /// Takes what is known into the ring.
    async fn fill(&self, ring: &mut Keyring, servers: HashSet<OwnedServerName>) {
        match self.memory.all(servers, self.clock.now_ms()).await {
            Ok(known) => ring.extend(known),
            Err(error) => tracing::error!(%error, "could not read the keys of other servers"),
        }
    }

    /// Of which servers a document may help.
    fn lacking(&self, ring: &Keyring, wanted: &[Wanted], rules: &RoomVersionRules) -> WantedKeys {
        let mut lacking = WantedKeys::new();
        for wanted in wanted {
            if !self.permits(&wanted.server) || !ring.lacks(wanted, self.now(), rules) {
                continue;
            }
            let key_ids: &mut BTreeSet<String> = lacking.entry(wanted.server.clone()).or_default();
            let free = MAX_KEY_IDS.saturating_sub(key_ids.len());
            key_ids.extend(wanted.key_ids.iter().take(free).cloned());
        }
        lacking
    }

    /// Asks a server for its keys while nobody waits.
    fn refresh(self: &Arc<Self>, server: &ServerName) {
        if self.permits(server)
            && let Claim::Ask(flight) = self.direct.claim(server, self.clock.now_ms())
        {
            tokio::spawn(self.clone().fly(flight));
        }
    }

    /// Asks a server for its keys, unless it was asked just now; waits if it is being asked.
    async fn ask_server(self: &Arc<Self>, server: &ServerName) {
        match self.direct.claim(server, self.clock.now_ms()) {
            Claim::No => {}
            Claim::Wait(other) => flights::ended(other).await,
            // A task of its own: whoever waits may go away, and others wait too.
            Claim::Ask(flight) => {
                let flight = tokio::spawn(self.clone().fly(flight));
                if flight.await.is_err() {
                    tracing::error!(%server, "asking for keys failed");
                }
            }
        }
    }

    async fn fly(self: Arc<Self>, flight: Flight) {
        let Ok(_place) = self.places.acquire().await else { return };
        let answered = match fetch::from_server(&self.peers, flight.server()).await {
            Ok(document) => {
                self.memory.learn(vec![document], true, self.clock.now_ms()).await;
                true
            }
            Err(error) => {
                tracing::debug!(server = %flight.server(), %error, "no keys");
                false
            }
        };
        let answered_label = if answered { "yes" } else { "no" };
        metrics::counter!("linkim_key_requests_total", "answered" => answered_label).increment(1);
        flight.end(answered, self.clock.now_ms());
    }

    /// Asks the trusted notaries, one after the other, for the keys of servers that don't give them.
    async fn ask_notaries(self: &Arc<Self>, wanted: WantedKeys, deadline: Instant) {
        if self.config.federation.trusted_key_servers.is_empty() {
            return;
        }
        let mut mine = Vec::new();
        let mut others = Vec::new();
        for (server, key_ids) in wanted {
            match self.by_notary.claim(&server, self.clock.now_ms()) {
                Claim::No => {}
                Claim::Wait(other) => others.push(other),
                Claim::Ask(flight) => mine.push((flight, key_ids)),
            }
        }
        let inner = self.clone();
        let asking = tokio::spawn(async move { inner.ask_each_notary(mine).await });
        let all = async {
            if asking.await.is_err() {
                tracing::error!("asking the notaries failed");
            }
            for other in others {
                flights::ended(other).await;
            }
        };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            tracing::info!("the notaries did not answer in time");
        }
    }

    async fn ask_each_notary(self: &Arc<Self>, mut flights: Vec<(Flight, BTreeSet<String>)>) {
        for notary in &self.config.federation.trusted_key_servers {
            let mut later = Vec::new();
            while !flights.is_empty() {
                let batch = flights.split_off(flights.len().saturating_sub(MAX_QUERY_SERVERS));
                later.extend(self.ask_notary(notary, batch).await);
            }
            flights = later;
        }
        for (flight, _) in flights {
            flight.end(false, self.clock.now_ms());
        }
    }

    /// Asks one notary of a hundred servers at most; answers those of which it had nothing.
    async fn ask_notary(
        self: &Arc<Self>,
        notary: &ServerName,
        flights: Vec<(Flight, BTreeSet<String>)>,
    ) -> Vec<(Flight, BTreeSet<String>)> {
        let keys = match self.notary_keys(notary).await {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(%notary, %error, "a notary could not be asked");
                return flights;
            }
        };
        let wanted = flights.iter().filter(|(flight, _)| flight.server() != notary);
        let wanted = wanted.map(|(flight, key_ids)| (flight.server().to_owned(), key_ids.clone())).collect();
        let documents = match fetch::from_notary(&self.peers, notary, keys, &wanted).await {
            Ok(documents) => documents,
            Err(error) => {
                tracing::warn!(%notary, %error, "a notary did not answer");
                return flights;
            }
        };
        let had: HashSet<_> = documents.iter().map(|document| document.server_name().to_owned()).collect();
        let now = self.clock.now_ms();
        self.memory.learn(documents, false, now).await;
        let mut later = Vec::new();
        for (flight, key_ids) in flights {
            if had.contains(flight.server()) {
                flight.end(true, now);
            } else {
                later.push((flight, key_ids));
            }
        }
        later
    }

    /// The keys that a notary signs with, from itself.
    async fn notary_keys(self: &Arc<Self>, notary: &ServerName) -> Result<PublicKeyMap, KeyError> {
        if !self.permits(notary) {
            return Err(KeyError::Refused(notary.to_owned()));
        }
        let known = self.memory.get(notary, self.clock.now_ms()).await?;
        let mut keys = known.keys.for_request(self.now());
        if keys.is_empty() || self.now() >= known.refresh_ts {
            self.ask_server(notary).await;
            keys = self.memory.get(notary, self.clock.now_ms()).await?.keys.for_request(self.now());
        }
        if keys.is_empty() {
            return Err(KeyError::NoKey(notary.to_owned()));
        }
        Ok(PublicKeyMap::from([(notary.to_string(), keys)]))
    }
}
