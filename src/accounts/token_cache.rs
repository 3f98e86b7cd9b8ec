//! Access tokens in memory, so that a request costs no database read.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::session::Session;

/// Tokens kept at most, about 400 bytes each.
const MAX_TOKENS: u64 = 50_000;

/// What authentication must know of an access token.
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) created_ts: i64,
    pub(super) expires_ts: Option<i64>,
    pub(super) locked: bool,
    used: AtomicBool,
}

impl Entry {
    pub(super) fn new(session: Session, created_ts: i64, expires_ts: Option<i64>) -> Self {
        Self { session, created_ts, expires_ts, locked: false, used: AtomicBool::new(true) }
    }

    /// The entry of an account that is locked, or not.
    pub(super) fn with_locked(self, locked: bool) -> Self {
        Self { locked, ..self }
    }

    /// The entry of a token whose first use must still end the pair before it, or not.
    pub(super) fn with_used(self, used: bool) -> Self {
        Self { used: AtomicBool::new(used), ..self }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    pub(super) fn set_used(&self) {
        self.used.store(true, Ordering::Release);
    }
}

/// The cache. An entry dies in the hook of the commit that deletes or changes its row.
///
/// A reader may have looked before that commit and want to store what it saw after it; `changes` counts the commits, and a
/// reader stores only what no commit can have outdated.
pub(super) struct TokenCache {
    entries: Cache<i64, Arc<Entry>>,
    changes: Mutex<u64>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self {
            entries: Cache::builder().max_capacity(MAX_TOKENS).eviction_policy(EvictionPolicy::lru()).build(),
            changes: Mutex::new(0),
        }
    }
}

impl TokenCache {
    pub(super) fn get(&self, nid: i64) -> Option<Arc<Entry>> {
        self.entries.get(&nid)
    }

    /// To be taken before the look-up whose result goes to [`Self::fill`].
    pub(super) fn changes(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores what a look-up found, unless something changed since `changes` was taken.
    pub(super) fn fill(&self, nid: i64, entry: Arc<Entry>, changes: u64) {
        let now = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == changes {
            self.entries.insert(nid, entry);
        }
    }

    /// Stores a token that the present commit made.
    pub(super) fn put(&self, nid: i64, entry: Arc<Entry>) {
        self.entries.insert(nid, entry);
    }

    /// Forgets tokens that the present commit deleted or changed.
    pub(super) fn forget(&self, nids: &[i64]) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        for nid in nids {
            self.entries.invalidate(nid);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::store::ids::{DeviceNid, UserNid};

    fn entry() -> Arc<Entry> {
        let session = Session {
            user: UserNid(1),
            user_id: user_id!("@alice:a.example").to_owned(),
            device: DeviceNid(2),
            device_id: "PHONE".into(),
            token: 3,
            guest: false,
            admin: false,
            suspended: false,
        };
        Arc::new(Entry::new(session, 4, None))
    }

    #[test]
    fn what_was_read_before_a_change_is_not_stored_after_it() {
        let cache = TokenCache::default();
        let changes = cache.changes();
        cache.fill(3, entry(), changes);
        assert!(cache.get(3).is_some());
        let changes = cache.changes();
        cache.forget(&[3]);
        cache.fill(3, entry(), changes);
        assert!(cache.get(3).is_none());
        cache.fill(3, entry(), cache.changes());
        assert!(cache.get(3).is_some());
    }
}
