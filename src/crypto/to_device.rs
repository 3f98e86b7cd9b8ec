//! Messages from device to device.
//!
//! Source: Client-Server API, "Send-to-Device messaging".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, OwnedUserId};

use super::key_shapes::canonical;
use crate::{
    accounts::Session,
    clock::Clock,
    rooms::wake::WakeMembers,
    store::{
        Store, StoreError, WriteTx, devices,
        ids::{self, DeviceNid, UserNid},
        to_device,
    },
};

/// Largest content, in bytes of its canonical JSON: as of events.
pub(super) const MAX_CONTENT: usize = 65_536;

/// Longest type, in bytes: as of events.
pub(super) const MAX_TYPE: usize = 255;

/// Messages: by user and device, `*` for all devices of the user.
pub type Messages = BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonObject>>;

/// Why messages are not taken; then none of the request is.
#[derive(Debug, thiserror::Error)]
pub enum ToDeviceError {
    /// The type is longer than an event's may be.
    #[error("The type is longer than {MAX_TYPE} bytes")]
    TypeTooLong,
    /// A message is larger than an event may be.
    #[error("A message is larger than {MAX_CONTENT} bytes")]
    TooLarge,
    /// The session ended meanwhile.
    #[error("Unrecognised access token")]
    Ended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes messages and puts them before their devices.
pub struct ToDevice {
    store: Store,
    clock: Arc<dyn Clock>,
    wake: Arc<dyn WakeMembers>,
}

impl ToDevice {
    /// `wake` tells long polls.
    pub fn new(store: Store, clock: Arc<dyn Clock>, wake: Arc<dyn WakeMembers>) -> Self {
        Self { store, clock, wake }
    }

    /// Takes what a device sends; returns once it is durable. A request of the same type and transaction id that was taken
    /// before is not taken again.
    pub async fn send(
        &self,
        session: &Session,
        kind: String,
        txn_id: &str,
        messages: Messages,
    ) -> Result<(), ToDeviceError> {
        if kind.len() > MAX_TYPE {
            return Err(ToDeviceError::TypeTooLong);
        }
        let messages = written(messages)?;
        let key = hash([&kind, txn_id]);
        let (session, wake, now) = (session.clone(), self.wake.clone(), self.clock.now_ms());
        self.store
            .write(move |tx| {
                if devices::locked(tx, session.device)?.is_none() {
                    return Err(ToDeviceError::Ended);
                }
                if !to_device::begin_transaction(tx, session.device, &key, now)? {
                    return Ok(());
                }
                for (user_id, of_user) in &messages {
                    deliver(tx, &wake, session.user_id.as_str(), &kind, user_id, of_user)?;
                }
                Ok(())
            })
            .await
    }
}

/// A short name for these texts together.
pub(super) fn hash(texts: [&str; 2]) -> Vec<u8> {
    let mut hash = blake3::Hasher::new();
    for text in texts {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().as_bytes()[..16].to_vec()
}

/// Messages as canonical JSON, none too large.
type Written = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

fn written(messages: Messages) -> Result<Written, ToDeviceError> {
    let write = |content: CanonicalJsonObject| {
        let json = canonical(&content);
        if json.len() > MAX_CONTENT { Err(ToDeviceError::TooLarge) } else { Ok(json) }
    };
    let mut out = Written::new();
    for (user, messages) in messages {
        let of_user = out.entry(user).or_default();
        for (device, content) in messages {
            of_user.insert(device, write(content)?);
        }
    }
    Ok(out)
}

/// Puts messages for a user of this server before their devices, and wakes them. Users and devices that are unknown are passed
/// over.
pub(super) fn deliver(
    tx: &WriteTx<'_>,
    wake: &Arc<dyn WakeMembers>,
    sender: &str,
    kind: &str,
    user_id: &ruma::UserId,
    messages: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let Some(user) = ids::user_nid(tx, user_id)? else { return Ok(()) };
    let mut delivered = false;
    let mut put = |device: DeviceNid, content: &str| -> Result<(), StoreError> {
        delivered = true;
        if to_device::insert(tx, device, sender, kind, content)? {
            tracing::warn!(%user_id, "a device has too many messages waiting; its oldest are dropped");
        }
        Ok(())
    };
    for (device_id, content) in messages {
        if device_id == "*" {
            for device in devices::of_user(tx, user)? {
                put(device.nid, content)?;
            }
        } else if let Some(device) = devices::nid(tx, user, device_id)? {
            put(device, content)?;
        }
    }
    if delivered {
        wake_after(tx, wake, user);
    }
    Ok(())
}

fn wake_after(tx: &WriteTx<'_>, wake: &Arc<dyn WakeMembers>, user: UserNid) {
    let wake = wake.clone();
    tx.after_commit(move || wake.wake_user(user));
}
