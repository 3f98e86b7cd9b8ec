//! Who hears of changed keys: whoever shares a room with their owner.
//!
//! Source: Client-Server API, "Tracking the device list for a user"; Server-Server API, "Device Management".

use std::sync::{Arc, OnceLock};

use crate::{
    accounts::DeviceWatcher,
    rooms::wake::WakeMembers,
    store::{Read as _, StoreError, WriteTx, device_lists, ids::UserNid},
};

/// Whoever tells other servers.
pub trait WakePeers: Send + Sync + 'static {
    /// Called on the writer thread right after a commit: what is owed of this user's keys stands in the store, at `position` or
    /// before.
    fn keys_changed(&self, user: UserNid, position: i64);
}

/// Notes changes of keys and wakes those who must hear of them.
pub struct DeviceLists {
    wake: Arc<dyn WakeMembers>,
    peers: OnceLock<Arc<dyn WakePeers>>,
}

impl DeviceLists {
    /// `wake` tells long polls.
    pub fn new(wake: Arc<dyn WakeMembers>) -> Self {
        Self { wake, peers: OnceLock::new() }
    }

    /// Whom to tell besides: set once the services exist that reach other servers.
    pub fn tell_peers(&self, peers: Arc<dyn WakePeers>) {
        // A second one would be a mistake in the wiring; the first stays.
        let _ = self.peers.set(peers);
    }

    /// The keys of `user` changed, as everybody sees them who shares a room with them. `device_id`: of which device of an
    /// account here; empty for cross-signing keys and for other servers' users.
    pub fn changed(&self, tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<(), StoreError> {
        device_lists::put(tx, user, device_id)?;
        let observers = device_lists::observers(tx, user)?.into_iter().collect();
        let (wake, peers, position) = (self.wake.clone(), self.peers.get().cloned(), tx.position());
        tx.after_commit(move || {
            wake.wake_users(&observers);
            if let Some(peers) = peers {
                peers.keys_changed(user, position);
            }
        });
        Ok(())
    }

    /// The keys of `user` look different to `viewer` alone.
    pub(super) fn changed_for(&self, tx: &WriteTx<'_>, viewer: UserNid, user: UserNid) -> Result<(), StoreError> {
        device_lists::put_own(tx, viewer, user)?;
        let wake = self.wake.clone();
        tx.after_commit(move || wake.wake_user(viewer));
        Ok(())
    }
}

impl DeviceWatcher for DeviceLists {
    fn device_changed(&self, tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<(), StoreError> {
        self.changed(tx, user, device_id)
    }
}
