//! Messages from device to device.
//!
//! Source: Client-Server API, "Send-to-Device messaging".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::key_shapes::canonical;
use crate::{
    accounts::Session,
    clock::Clock,
    peers::sender::Sender,
    random::Random,
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

/// Where messages to devices of other servers wait until those have them.
pub trait Outbox: Send + Sync + 'static {
    /// Owes a server the content of an `m.direct_to_device` EDU, from the commit of this transaction on.
    fn to_device(
        &self,
        tx: &WriteTx<'_>,
        destination: &ServerName,
        message_id: &str,
        content: &str,
    ) -> Result<(), StoreError>;
}

impl Outbox for Sender {
    fn to_device(
        &self,
        tx: &WriteTx<'_>,
        destination: &ServerName,
        message_id: &str,
        content: &str,
    ) -> Result<(), StoreError> {
        Self::to_device(self, tx, destination, message_id, content)
    }
}

/// Takes messages and puts them before their devices, or on the way to them.
pub struct ToDevice {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    wake: Arc<dyn WakeMembers>,
    outbox: Arc<dyn Outbox>,
    server_name: OwnedServerName,
}

impl ToDevice {
    /// `wake` tells long polls, `outbox` other servers; `server_name` is ours.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        wake: Arc<dyn WakeMembers>,
        outbox: Arc<dyn Outbox>,
        server_name: OwnedServerName,
    ) -> Self {
        Self { store, clock, random, wake, outbox, server_name }
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
        let (ours, others): (Written, Written) =
            written(messages)?.into_iter().partition(|(user, _)| user.server_name() == self.server_name);
        let edus = self.edus(&session.user_id, &kind, others)?;
        let key = hash([&kind, txn_id]);
        let (session, wake, outbox, now) =
            (session.clone(), self.wake.clone(), self.outbox.clone(), self.clock.now_ms());
        self.store
            .write(move |tx| {
                if devices::locked(tx, session.device)?.is_none() {
                    return Err(ToDeviceError::Ended);
                }
                if !to_device::begin_transaction(tx, session.device, &key, now)? {
                    return Ok(());
                }
                for (user_id, of_user) in &ours {
                    deliver(tx, &wake, session.user_id.as_str(), &kind, user_id, of_user)?;
                }
                for Direct { destination, message_id, content } in &edus {
                    outbox.to_device(tx, destination, message_id, content)?;
                }
                Ok(())
            })
            .await
    }

    /// The EDUs that carry messages to devices of other servers.
    fn edus(&self, sender: &UserId, kind: &str, messages: Written) -> Result<Vec<Direct>, StoreError> {
        let mut by_server: BTreeMap<OwnedServerName, Vec<Recipient>> = BTreeMap::new();
        for (user, devices) in messages {
            let of_server = by_server.entry(user.server_name().to_owned()).or_default();
            of_server.extend(devices.into_iter().map(|(device, content)| (user.clone(), device, content)));
        }
        let mut out = Vec::new();
        for (destination, recipients) in by_server {
            for chunk in chunks(recipients) {
                let message_id = self.random.letters(24);
                let content = direct(sender, kind, &message_id, chunk)?;
                out.push(Direct { destination: destination.clone(), message_id, content });
            }
        }
        Ok(out)
    }
}

/// An `m.direct_to_device`.
struct Direct {
    destination: OwnedServerName,
    message_id: String,
    content: String,
}

/// User, device, content.
type Recipient = (OwnedUserId, String, String);

/// Splits messages so that the contents in an EDU have about as many bytes as one of them may have.
fn chunks(recipients: Vec<Recipient>) -> Vec<Vec<Recipient>> {
    let mut out: Vec<Vec<Recipient>> = Vec::new();
    let mut size = usize::MAX;
    for recipient in recipients {
        let length = recipient.2.len();
        match out.last_mut() {
            Some(chunk) if size.saturating_add(length) <= MAX_CONTENT => {
                size += length;
                chunk.push(recipient);
            }
            _ => {
                size = length;
                out.push(vec![recipient]);
            }
        }
    }
    out
}

fn direct(sender: &UserId, kind: &str, message_id: &str, messages: Vec<Recipient>) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Content<'a> {
        sender: &'a UserId,
        #[serde(rename = "type")]
        kind: &'a str,
        message_id: &'a str,
        messages: BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>,
    }
    let failed = |error: serde_json::Error| StoreError::Damaged(format!("a message to a device: {error}"));
    let mut content = Content { sender, kind, message_id, messages: BTreeMap::new() };
    for (user, device, json) in messages {
        let json = RawValue::from_string(json).map_err(failed)?;
        content.messages.entry(user).or_default().insert(device, json);
    }
    serde_json::to_string(&content).map_err(failed)
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
    user_id: &UserId,
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

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn no_edu_is_much_larger_than_a_message_may_be() {
        let user = user_id!("@bob:b.example").to_owned();
        let of = |sizes: &[usize]| -> Vec<Recipient> {
            let content = |(at, size): (usize, &usize)| (user.clone(), at.to_string(), "x".repeat(*size));
            sizes.iter().enumerate().map(content).collect()
        };
        let sizes = |sizes: &[usize]| chunks(of(sizes)).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&[MAX_CONTENT, 1, 1]), [1, 2]);
        assert_eq!(sizes(&[10_000; 14]), [6, 6, 2]);
        assert_eq!(chunks(of(&[1; 100])).concat(), of(&[1; 100]));
    }
}
