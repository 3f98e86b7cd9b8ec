//! A user's devices.
//!
//! Source: Client-Server API, "Device Management".

use std::{collections::HashSet, sync::Arc};

use ruma::OwnedUserId;

use super::{
    endings::EndReason,
    last_seen::LastSeen,
    platforms::Platform,
    sessions::{DeviceRefused, Sessions, check_device_name},
};
use crate::store::{
    Store, StoreError, accounts,
    devices::{self, Device},
    ids::{self, DeviceNid, UserNid},
};

/// A device as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub device_id: String,
    /// Its number, by which LinkIM's clients name it.
    pub nid: DeviceNid,
    /// What kind of device it is, if a LinkIM client logged in with it.
    pub platform: Platform,
    /// Its name.
    pub display_name: Option<String>,
    /// From where it was last used.
    pub last_seen_ip: Option<String>,
    /// With what it was last used: a `User-Agent`.
    pub user_agent: Option<String>,
    /// When it was last used, in milliseconds.
    pub last_seen_ts: i64,
}

/// The devices of this server's users.
pub struct Devices {
    store: Store,
    sessions: Arc<Sessions>,
    last_seen: Arc<LastSeen>,
}

impl Devices {
    /// `last_seen` has what is not written yet.
    pub fn new(store: Store, sessions: Arc<Sessions>, last_seen: Arc<LastSeen>) -> Self {
        Self { store, sessions, last_seen }
    }

    /// All of a user's devices, oldest first.
    pub async fn list(&self, user: UserNid) -> Result<Vec<Seen>, StoreError> {
        let found = self.store.read::<_, StoreError, _>(move |read| devices::of_user(read, user)).await?;
        Ok(found.into_iter().map(|device| self.seen(device)).collect())
    }

    /// All devices of an account of this server, oldest first; none if there is no such account.
    pub async fn of_account(&self, user_id: OwnedUserId) -> Result<Option<Vec<Seen>>, StoreError> {
        let found = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let Some(user) = ids::user_nid(read, &user_id)? else { return Ok(None) };
                if !accounts::exists(read, user)? {
                    return Ok(None);
                }
                devices::of_user(read, user).map(Some)
            })
            .await?;
        Ok(found.map(|devices| devices.into_iter().map(|device| self.seen(device)).collect()))
    }

    /// One of a user's devices.
    pub async fn get(&self, user: UserNid, device_id: String) -> Result<Option<Seen>, StoreError> {
        let found = self.store.read::<_, StoreError, _>(move |read| devices::get(read, user, &device_id)).await?;
        Ok(found.map(|device| self.seen(device)))
    }

    fn seen(&self, device: Device) -> Seen {
        let noted = self.last_seen.noted(device.nid);
        let ip = noted.as_ref().and_then(|access| access.ip);
        Seen {
            nid: device.nid,
            platform: Platform::stored(device.platform),
            device_id: device.device_id,
            display_name: device.display_name,
            last_seen_ip: ip.map(|ip| ip.to_string()).or(device.last_seen_ip),
            user_agent: noted.as_ref().and_then(|access| access.user_agent.clone()).or(device.user_agent),
            last_seen_ts: noted.map_or(device.last_seen_ts, |access| access.ts.max(device.last_seen_ts)),
        }
    }

    /// Whether a device can have this name.
    pub fn check_name(name: &str) -> Result<(), DeviceRefused> {
        check_device_name(name)
    }

    /// Renames a device. Answers whether the user has it.
    pub async fn rename(&self, user: UserNid, device_id: String, name: String) -> Result<bool, StoreError> {
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                let known = devices::rename(tx, user, &device_id, &name)?;
                sessions.renamed(tx, user, &device_id)?;
                Ok(known)
            })
            .await
    }

    /// Ends the session of one of a user's devices, named by its number. Answers whether the user has it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn end(&self, user: UserNid, device: DeviceNid, own: bool) -> Result<bool, StoreError> {
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                if devices::user(tx, device)? != Some(user) {
                    return Ok(false);
                }
                sessions.end(tx, device, (!own).then_some(EndReason::Revoked))?;
                Ok(true)
            })
            .await
    }

    /// Deletes devices and ends their sessions; those that the user does not have are passed over.
    pub async fn delete(&self, user: UserNid, device_ids: HashSet<String>) -> Result<(), StoreError> {
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                // One look-up, however many ids a client sends.
                for device in devices::of_user(tx, user)? {
                    if device_ids.contains(&device.device_id) {
                        sessions.end(tx, device.nid, Some(EndReason::Revoked))?;
                    }
                }
                Ok(())
            })
            .await
    }
}
