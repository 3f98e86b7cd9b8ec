//! This server's own keys: those that it signs with, those that it used to, and the document that says so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use linkim_federation::{
    SigningKey,
    server_keys::{KeyDocument, KnownKey, KnownKeys, OldVerifyKey, Validity, build_key_document},
};
use ruma::{OwnedServerName, ServerName, serde::Base64};

use crate::{
    clock::Clock,
    store::{
        Store, StoreError,
        server_keys::{self, OwnKey},
    },
};

/// How long a document says that it is valid for. Servers that have it don't ask again for half of that; a key that was
/// stolen and replaced is believed elsewhere for no longer.
const VALIDITY_MS: u64 = 24 * 3_600 * 1_000;

/// A document is given out until this much of its time is left.
const LEFT_MS: u64 = 20 * 3_600 * 1_000;

/// Old keys in the document at most, the newest; with those in use it stays below what readers accept.
const MAX_OLD_KEYS: usize = 200;

/// This server's keys.
pub struct OwnKeys {
    server_name: OwnedServerName,
    keys: Vec<SigningKey>,
    old: BTreeMap<String, OldVerifyKey>,
    clock: Arc<dyn Clock>,
    document: Mutex<Option<Arc<KeyDocument>>>,
}

impl OwnKeys {
    /// Takes the keys of the signing key file, one at least, and compares them with those that the database remembers: one
    /// that the file no longer has is old from now on.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load(
        store: &Store,
        server_name: OwnedServerName,
        keys: Vec<SigningKey>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let in_file: Vec<OwnKey> = keys
            .iter()
            .map(|key| OwnKey {
                key_id: key.key_id().to_owned(),
                public_key: key.public_key_base64().into_inner(),
                expired_ts: None,
            })
            .collect();
        let now = clock.now_ms();
        let known = store.write::<_, StoreError, _>(move |tx| compare(tx, &in_file, now)).await?;
        let old = known.into_iter().filter_map(|key| {
            let expired_ts = u64::try_from(key.expired_ts?).unwrap_or(0);
            Some((key.key_id, OldVerifyKey { key: Base64::new(key.public_key), expired_ts }))
        });
        Ok(Self { server_name, keys, old: old.collect(), clock, document: Mutex::default() })
    }

    /// This server's name.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The key that signs.
    pub fn signing_key(&self) -> &SigningKey {
        &self.keys[0]
    }

    /// The document to publish, valid for 20 hours at least.
    pub fn document(&self) -> Arc<KeyDocument> {
        let now = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        let mut cached = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cached {
            // A clock that was set back must not leave a document from the future.
            Some(document)
                if document.valid_until_ts() >= now + LEFT_MS && document.valid_until_ts() <= now + VALIDITY_MS =>
            {
                document.clone()
            }
            _ => {
                let mut old: Vec<_> = self.old.iter().collect();
                old.sort_by_key(|(_, old)| std::cmp::Reverse(old.expired_ts));
                let old = old.into_iter().take(MAX_OLD_KEYS).map(|(key_id, old)| (key_id.clone(), old.clone()));
                let made = build_key_document(&self.server_name, &self.keys, &old.collect(), now + VALIDITY_MS);
                cached.insert(Arc::new(made)).clone()
            }
        }
    }

    /// What our own events are verified with. The keys in use have no end.
    pub fn known(&self) -> KnownKeys {
        let old = self.old.iter().map(|(key_id, old)| {
            (key_id.clone(), KnownKey { key: old.key.clone(), validity: Validity::Expired(old.expired_ts) })
        });
        let used = self.keys.iter().map(|key| {
            let known = KnownKey { key: key.public_key_base64(), validity: Validity::Until(u64::MAX) };
            (key.key_id().to_owned(), known)
        });
        KnownKeys::from_stored(old.chain(used))
    }
}

/// Writes what the file says into the table of our keys, and answers the whole table.
fn compare(tx: &crate::store::WriteTx<'_>, in_file: &[OwnKey], now: i64) -> Result<Vec<OwnKey>, StoreError> {
    for known in server_keys::own_keys(tx)? {
        let kept = in_file.iter().find(|key| key.key_id == known.key_id);
        match kept {
            None if known.expired_ts.is_none() => {
                tracing::info!(key = known.key_id, "a signing key is no longer used");
                server_keys::put_own_key(tx, &OwnKey { expired_ts: Some(now), ..known })?;
            }
            Some(kept) if kept.public_key != known.public_key => {
                let key = &known.key_id;
                tracing::error!(
                    key,
                    "a new signing key has the name of an old one: events that the old one signed can't be verified; give each key a name of its own"
                );
            }
            _ => {}
        }
    }
    for key in in_file {
        server_keys::put_own_key(tx, key)?;
    }
    server_keys::own_keys(tx)
}

#[cfg(test)]
mod tests {
    use ruma::{RoomVersionId, server_name};

    use super::*;
    use crate::accounts::tests::FakeClock;

    fn key(seed: u8, version: &str) -> SigningKey {
        SigningKey::generate([seed; 32], version).unwrap()
    }

    async fn load(store: &Store, keys: Vec<SigningKey>, clock: &Arc<FakeClock>) -> OwnKeys {
        OwnKeys::load(store, server_name!("a.example").to_owned(), keys, clock.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_that_left_the_file_is_old_and_verifies_what_it_signed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let clock = Arc::new(FakeClock::default());
        let first = load(&store, vec![key(1, "one")], &clock).await;
        assert!(first.document().old_verify_keys().is_empty());
        clock.advance(1_000);
        let replaced_at = u64::try_from(clock.now_ms()).unwrap();
        load(&store, vec![key(2, "two"), key(3, "three")], &clock).await;
        clock.advance(1_000);
        // Another start does not move the time.
        let keys = load(&store, vec![key(2, "two"), key(3, "three")], &clock).await;
        assert_eq!(keys.signing_key().key_id(), "ed25519:two");
        let published = keys.document();
        let document = KeyDocument::parse(published.json().as_bytes(), server_name!("a.example")).unwrap();
        assert_eq!(document.verify_keys().keys().collect::<Vec<_>>(), ["ed25519:three", "ed25519:two"]);
        assert_eq!(document.old_verify_keys()["ed25519:one"].expired_ts, replaced_at);
        let rules = linkim_federation::rules(&RoomVersionId::V10).unwrap();
        let known = keys.known();
        assert!(known.for_event(replaced_at, rules).contains_key("ed25519:one"));
        assert!(!known.for_event(replaced_at + 1, rules).contains_key("ed25519:one"));
        assert!(known.for_event(replaced_at + 1, rules).contains_key("ed25519:three"));
        // Back in the file, it is used again.
        let keys = load(&store, vec![key(1, "one")], &clock).await;
        assert!(keys.document().verify_keys().contains_key("ed25519:one"));
        assert_eq!(keys.document().old_verify_keys().len(), 2);
    }

    #[tokio::test]
    async fn the_document_is_made_again_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let clock = Arc::new(FakeClock::default());
        let keys = load(&store, vec![key(1, "one")], &clock).await;
        let first = keys.document();
        clock.advance(3_600_000);
        assert!(Arc::ptr_eq(&first, &keys.document()));
        for _ in 0..48 {
            clock.advance(3_600_000);
            let left = keys.document().valid_until_ts() - u64::try_from(clock.now_ms()).unwrap();
            assert!((20 * 3_600_000..=24 * 3_600_000).contains(&left), "{left}");
        }
        clock.advance(-72 * 3_600_000);
        assert!(keys.document().valid_until_ts() <= u64::try_from(clock.now_ms()).unwrap() + 24 * 3_600_000);
    }
}
