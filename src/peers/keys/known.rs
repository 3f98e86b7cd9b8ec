//! What is known of other servers' keys: in the database, and the part that is in use in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use linkim_federation::server_keys::{KeyDocument, KnownKey, KnownKeys, Validity, refresh_ts};
use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::{OwnedServerName, ServerName, serde::Base64};

use crate::store::{
    Store, StoreError,
    server_keys::{self as table, StoredDocument, StoredKey, StoredServer},
};

/// Keys in memory at most: most servers have one, so as many servers; about 500 bytes each.
const MAX_KEYS: u64 = 20_000;

/// After this long a server's keys are read from the database again, so that it is noted there that they are used.
const IN_MEMORY: Duration = Duration::from_secs(24 * 3_600);

/// `used_ts` is kept to the day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What is known of one server's keys.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) keys: KnownKeys,
    /// When to ask for them again.
    pub(super) refresh_ts: u64,
}

impl Known {
    fn of(stored: &StoredServer) -> Self {
        let keys = stored.keys.iter().map(|stored| {
            let end = u64::try_from(stored.end_ts).unwrap_or(0);
            let validity = if stored.expired { Validity::Expired(end) } else { Validity::Until(end) };
            (stored.key_id.clone(), KnownKey { key: Base64::new(stored.key.clone()), validity })
        });
        let document = &stored.document;
        let time = |ts: i64| u64::try_from(ts).unwrap_or(0);
        Self {
            keys: KnownKeys::from_stored(keys),
            refresh_ts: refresh_ts(time(document.valid_until_ts), time(document.received_ts)),
        }
    }
}

/// The keys of other servers, remembered.
pub(super) struct Memory {
    store: Store,
    cache: Cache<OwnedServerName, Arc<Known>>,
}

impl Memory {
    pub(super) fn new(store: Store) -> Self {
        let weight = |_: &OwnedServerName, known: &Arc<Known>| {
            u32::try_from(known.keys.iter().count()).unwrap_or(u32::MAX).saturating_add(1)
        };
        let cache = Cache::builder()
            .max_capacity(MAX_KEYS)
            .weigher(weight)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(IN_MEMORY)
            .build();
        Self { store, cache }
    }

    /// What is known of a server.
    pub(super) async fn get(&self, server: &ServerName, now_ms: i64) -> Result<Arc<Known>, StoreError> {
        if let Some(known) = self.cache.get(server) {
            return Ok(known);
        }
        let found = self.all(HashSet::from([server.to_owned()]), now_ms).await?;
        Ok(found.into_values().next().unwrap_or_default())
    }

    /// What is known of each of these servers; those of which nothing is known are left out.
    pub(super) async fn all(
        &self,
        servers: HashSet<OwnedServerName>,
        now_ms: i64,
    ) -> Result<HashMap<OwnedServerName, Arc<Known>>, StoreError> {
        let mut found = HashMap::with_capacity(servers.len());
        let mut missing = Vec::new();
        for server in servers {
            match self.cache.get(&server) {
                Some(known) => {
                    found.insert(server, known);
                }
                None => missing.push(server),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let look = move |read: &crate::store::Snapshot<'_>| {
            let mut stored = Vec::new();
            for server in missing {
                if let Some(known) = table::server(read, server.as_str())? {
                    stored.push((server, known));
                }
            }
            Ok::<_, StoreError>(stored)
        };
        let stored = self.store.read(look).await?;
        let mut unused = Vec::new();
        for (server, stored) in stored {
            let known = Arc::new(Known::of(&stored));
            if stored.used_ts < today(now_ms) {
                unused.push(server.clone());
            }
            // Not over what a document has brought meanwhile.
            let known = self.cache.entry(server.clone()).or_insert(known).into_value();
            found.insert(server, known);
        }
        self.touch(unused, now_ms);
        Ok(found)
    }

    /// Notes in the database that these are used; nobody waits for it.
    fn touch(&self, servers: Vec<OwnedServerName>, now_ms: i64) {
        if servers.is_empty() {
            return;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            let touched = store.write::<_, StoreError, _>(move |tx| {
                servers.iter().try_for_each(|server| table::touch_server(tx, server.as_str(), today(now_ms)))
            });
            if let Err(error) = touched.await {
                tracing::warn!(%error, "could not note which servers' keys are used");
            }
        });
    }

    /// Takes in documents that were received now. `direct`: from the server itself, so that it is the newest whatever it says.
    ///
    /// If the database can't be written, memory has them all the same.
    pub(super) async fn learn(&self, documents: Vec<KeyDocument>, direct: bool, now_ms: i64) {
        let documents = Arc::new(documents);
        let (learned, cache) = (documents.clone(), self.cache.clone());
        let written = self.store.write::<_, StoreError, _>(move |tx| {
            for document in &*learned {
                let name = document.server_name().to_owned();
                let stored = merged(table::server(tx, name.as_str())?, document, direct, now_ms);
                table::put_server(tx, name.as_str(), &stored)?;
                let (known, cache) = (Arc::new(Known::of(&stored)), cache.clone());
                // In the order of the commits, so that the newest stays.
                tx.after_commit(move || cache.insert(name, known));
            }
            Ok(())
        });
        let Err(error) = written.await else { return };
        tracing::warn!(%error, "could not store the keys of other servers");
        let received_ts = u64::try_from(now_ms).unwrap_or(0);
        for document in &*documents {
            let before = self.cache.get(document.server_name());
            let mut keys = before.map_or_else(KnownKeys::default, |known| known.keys.clone());
            keys.merge(document, received_ts);
            let known = Known { keys, refresh_ts: document.refresh_ts(received_ts) };
            self.cache.insert(document.server_name().to_owned(), Arc::new(known));
        }
    }

    /// The newest document of each of these servers, where there is one.
    pub(super) async fn documents(
        &self,
        servers: Vec<OwnedServerName>,
    ) -> Result<HashMap<OwnedServerName, KeyDocument>, StoreError> {
        let look = move |read: &crate::store::Snapshot<'_>| {
            let mut found = HashMap::new();
            for server in servers {
                let stored = table::server(read, server.as_str())?;
                let document = stored.and_then(|s| KeyDocument::parse(s.document.json.as_bytes(), &server).ok());
                found.extend(document.map(|document| (server, document)));
            }
            Ok(found)
        };
        self.store.read(look).await
    }
}

fn today(now_ms: i64) -> i64 {
    now_ms - now_ms.rem_euclid(DAY_MS)
}

/// What is known once a document has come.
fn merged(stored: Option<StoredServer>, document: &KeyDocument, direct: bool, now_ms: i64) -> StoredServer {
    let now = u64::try_from(now_ms).unwrap_or(0);
    let stamp = |ts: u64| i64::try_from(ts).unwrap_or(i64::MAX);
    let mut keys = stored.as_ref().map_or_else(KnownKeys::default, |stored| Known::of(stored).keys);
    keys.merge(document, now);
    let valid_until_ts = stamp(document.valid_until_ts());
    let newest = match stored {
        Some(stored) if !direct && stored.document.valid_until_ts >= valid_until_ts => stored.document,
        _ => StoredDocument { json: document.json().to_owned(), valid_until_ts, received_ts: now_ms },
    };
    let keys = keys.iter().map(|(key_id, known)| StoredKey {
        key_id: key_id.to_owned(),
        key: known.key.as_bytes().to_vec(),
        end_ts: stamp(known.validity.end_ts()),
        expired: matches!(known.validity, Validity::Expired(_)),
    });
    StoredServer { document: newest, keys: keys.collect(), used_ts: today(now_ms) }
}
