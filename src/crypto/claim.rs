//! One-time keys, each handed out once.
//!
//! Source: Client-Server API, `POST /keys/claim`.

use std::{collections::BTreeMap, sync::Arc};

use ruma::OwnedUserId;
use serde_json::value::RawValue;

use super::key_counts::KeyCounts;
use crate::store::{
    Store, StoreError, WriteTx, devices, ids,
    one_time_keys::{self, ClaimKey},
};

/// What is wanted: by user and device, the algorithm.
pub type Wanted = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

/// What was handed out: by user, device and `<algorithm>:<key id>`.
pub type Claimed = BTreeMap<OwnedUserId, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>;

/// Hands out the keys of this server's devices.
pub struct KeyClaims {
    store: Store,
    counts: Arc<KeyCounts>,
}

impl KeyClaims {
    /// `counts` forgets what it knew.
    pub fn new(store: Store, counts: Arc<KeyCounts>) -> Self {
        Self { store, counts }
    }

    /// Takes a key of each device, a one-time key if it has one left, else its fallback key; returns once it is durable that
    /// nobody else gets them. Devices without keys, and unknown ones, are left out.
    pub async fn local(&self, wanted: Wanted) -> Result<Claimed, StoreError> {
        let counts = self.counts.clone();
        self.store
            .write(move |tx| {
                let mut claimed = Claimed::new();
                for (user_id, wanted) in wanted {
                    let Some(user) = ids::user_nid(tx, &user_id)? else { continue };
                    let mut of_user = BTreeMap::new();
                    for (device_id, algorithm) in wanted {
                        let Some(device) = devices::nid(tx, user, &device_id)? else { continue };
                        let Some((key, changed)) = take(tx, device, &algorithm)? else { continue };
                        if changed {
                            let counts = counts.clone();
                            tx.after_commit(move || counts.forget(device));
                        }
                        let json = RawValue::from_string(key.key);
                        let json = json.map_err(|error| StoreError::Damaged(format!("a one-time key: {error}")))?;
                        of_user.insert(device_id, BTreeMap::from([(format!("{algorithm}:{}", key.key_id), json)]));
                    }
                    if !of_user.is_empty() {
                        claimed.insert(user_id, of_user);
                    }
                }
                Ok(claimed)
            })
            .await
    }
}

/// A key, and whether the device has less than before.
fn take(tx: &WriteTx<'_>, device: ids::DeviceNid, algorithm: &str) -> Result<Option<(ClaimKey, bool)>, StoreError> {
    match one_time_keys::claim(tx, device, algorithm)? {
        Some(key) => Ok(Some((key, true))),
        None => one_time_keys::use_fallback(tx, device, algorithm),
    }
}
