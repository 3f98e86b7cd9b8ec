//! How many one-time keys a device has left: every answer of /sync says so, and most answers read nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::store::{Read, Store, StoreError, ids::DeviceNid, one_time_keys};

/// Devices kept at most, about 200 bytes each.
const MAX_DEVICES: u64 = 50_000;

/// What /sync says of a device's keys, as JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// `device_one_time_keys_count`
    pub one_time: String,
    /// `device_unused_fallback_key_types`
    pub fallback: String,
}

/// The counts in memory. As in the cache of tokens: an entry dies in the hook of the commit that changes it, and a reader stores
/// only what no commit can have outdated.
pub struct KeyCounts {
    counts: Cache<DeviceNid, Arc<Counts>>,
    changes: Mutex<u64>,
}

impl Default for KeyCounts {
    fn default() -> Self {
        let counts = Cache::builder().max_capacity(MAX_DEVICES).eviction_policy(EvictionPolicy::lru()).build();
        Self { counts, changes: Mutex::new(0) }
    }
}

impl KeyCounts {
    /// The counts of a device now.
    pub async fn get(&self, store: &Store, device: DeviceNid) -> Result<Arc<Counts>, StoreError> {
        if let Some(known) = self.counts.get(&device) {
            return Ok(known);
        }
        let changes = *self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Arc::new(store.read_short(move |read| read_counts(read, device)).await?);
        let now = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == changes {
            self.counts.insert(device, counts.clone());
        }
        Ok(counts)
    }

    /// To be called after each commit that changed a device's keys.
    pub(super) fn forget(&self, device: DeviceNid) {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.counts.invalidate(&device);
    }
}

fn read_counts(read: &dyn Read, device: DeviceNid) -> Result<Counts, StoreError> {
    let json = |value: serde_json::Result<String>| value.map_err(|error| StoreError::Damaged(error.to_string()));
    let one_time: std::collections::BTreeMap<String, i64> = one_time_keys::counts(read, device)?.into_iter().collect();
    Ok(Counts {
        one_time: json(serde_json::to_string(&one_time))?,
        fallback: json(serde_json::to_string(&one_time_keys::unused_fallbacks(read, device)?))?,
    })
}
