//! Device lists of other servers' users, kept while we share a room with them.
//!
//! Their servers tell of each change and of the one before it. Where the one before is not what we have, the list is stale: it is
//! fetched again in the background, and by whoever asks for it first.
//!
//! Source: Server-Server API, "Device Management", `GET /user/devices/{userId}`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::{CanonicalJsonObject, OwnedUserId, UInt, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use super::{
    device_lists::DeviceLists,
    key_shapes::{canonical, check_device_keys, cross_signing_public_key, keep_own_signatures},
};
use crate::{
    clock::Clock,
    peers::{
        client::{Call, PeerClient, PeerError},
        reachability::Reachability,
    },
    store::{
        Read, Store, StoreError, WriteTx,
        device_keys::{self, CrossSigningKey, Usage},
        device_lists::{self, RemoteList},
        ids::{self, UserNid},
    },
};

/// Devices of a user that are kept; a server that tells of more is not believed.
pub(super) const MAX_DEVICES: usize = 1_000;

/// Longest device id and name, in bytes.
const MAX_TEXT: usize = 255;

/// How long a server may take to tell a list.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Lists that are fetched at once in the background.
const AT_ONCE: usize = 4;

/// Lists looked at in one go in the background.
const CHUNK: usize = 200;

/// Time between two rounds, unless something wakes the work.
const PERIOD: Duration = Duration::from_secs(60);

/// Why a list could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ResyncError {
    /// The server failed of late and is left alone for a while.
    #[error("the server has not answered of late")]
    Paused,
    /// It did not answer as wanted.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The lists.
pub struct RemoteLists {
    store: Store,
    peers: Arc<PeerClient>,
    reachability: Arc<Reachability>,
    clock: Arc<dyn Clock>,
    lists: Arc<DeviceLists>,
    /// Fetches under way. Bound: those who ask, and [`AT_ONCE`].
    flights: Mutex<HashMap<OwnedUserId, watch::Receiver<()>>>,
    stale: Notify,
}

/// The answer of `GET /user/devices/{userId}`.
#[derive(Deserialize)]
struct Answer {
    user_id: OwnedUserId,
    stream_id: UInt,
    devices: Vec<Box<RawValue>>,
    master_key: Option<CanonicalJsonObject>,
    self_signing_key: Option<CanonicalJsonObject>,
}

#[derive(Deserialize)]
struct AnswerDevice {
    device_id: String,
    keys: CanonicalJsonObject,
    device_display_name: Option<String>,
}

/// A user's whole list, as far as it is what the spec says.
struct Fetched {
    stream_id: i64,
    /// By device id: keys and name.
    devices: BTreeMap<String, (String, Option<String>)>,
    cross_signing: Vec<(Usage, CrossSigningKey)>,
}

/// Ends a fetch, however it ends.
struct Flight<'l> {
    lists: &'l RemoteLists,
    user: OwnedUserId,
    _end: watch::Sender<()>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.lists.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
    }
}

impl RemoteLists {
    /// `lists` tells of changes.
    pub fn new(
        store: Store,
        peers: Arc<PeerClient>,
        reachability: Arc<Reachability>,
        clock: Arc<dyn Clock>,
        lists: Arc<DeviceLists>,
    ) -> Self {
        Self { store, peers, reachability, clock, lists, flights: Mutex::default(), stale: Notify::new() }
    }

    /// Fetches a user's list, if we share a room with them, or waits until somebody else has.
    pub async fn resync(&self, user: &UserId) -> Result<(), ResyncError> {
        if self.reachability.may_try(user.server_name(), self.clock.now_ms()).is_err() {
            return Err(ResyncError::Paused);
        }
        let (end, other) = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(user) {
                Some(other) => (None, Some(other.clone())),
                None => {
                    let (end, ended) = watch::channel(());
                    flights.insert(user.to_owned(), ended);
                    (Some(end), None)
                }
            }
        };
        if let Some(mut other) = other {
            // Nothing is ever sent: the end is that the sender is dropped.
            while other.changed().await.is_ok() {}
            return if self.has_fresh(user).await? { Ok(()) } else { Err(ResyncError::Paused) };
        }
        let _flight = end.map(|end| Flight { lists: self, user: user.to_owned(), _end: end });
        let asked_at = self.store.position();
        let fetched = self.fetch(user).await?;
        let (user, lists) = (user.to_owned(), self.lists.clone());
        Ok(self.store.write::<_, StoreError, _>(move |tx| replace(tx, &lists, &user, fetched, asked_at)).await?)
    }

    async fn has_fresh(&self, user: &UserId) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.store
            .read(move |read| {
                let Some(user) = ids::user_nid(read, &user)? else { return Ok(false) };
                match device_lists::remote_list(read, user)? {
                    Some(list) => is_fresh(read, user, &list),
                    None => Ok(false),
                }
            })
            .await
    }

    async fn fetch(&self, user: &UserId) -> Result<Option<Fetched>, PeerError> {
        let server = user.server_name();
        let name = percent_encoding::utf8_percent_encode(user.as_str(), percent_encoding::NON_ALPHANUMERIC);
        let call = Call::get(format!("/_matrix/federation/v1/user/devices/{name}")).timeout(TIMEOUT);
        let answer = match self.peers.json::<Answer>(server, call).await {
            Ok(answer) => answer,
            // There is no such user, or we may not know.
            Err(error) if error.status().is_some_and(|status| matches!(status.as_u16(), 403 | 404)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if answer.user_id != *user || answer.devices.len() > MAX_DEVICES {
            return Err(PeerError::Malformed(server.to_owned(), "another user's devices, or too many".into()));
        }
        let devices = answer.devices.iter().filter_map(|device| {
            let device: AnswerDevice = serde_json::from_str(device.get()).ok()?;
            accept_device(user, &device.device_id, device.keys, device.device_display_name)
                .map(|accepted| (device.device_id, accepted))
        });
        let keys = [(Usage::Master, answer.master_key), (Usage::SelfSigning, answer.self_signing_key)];
        Ok(Some(Fetched {
            stream_id: answer.stream_id.into(),
            devices: devices.collect(),
            cross_signing: keys
                .into_iter()
                .filter_map(|(usage, key)| Some((usage, accept_cross_signing(user, usage, key?)?)))
                .collect(),
        }))
    }

    /// Makes the work in the background look for stale lists.
    pub(super) fn look(&self) {
        self.stale.notify_one();
    }

    /// Fetches stale lists again, until dropped. Servers that fail are left alone as long as [`Reachability`] says.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "could not look for device lists that are stale");
            }
            // A second of rest: what one transaction makes stale is fetched once.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = tokio::time::timeout(PERIOD, self.stale.notified()).await;
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let mut after = UserNid(0);
        loop {
            let found = self
                .store
                .read::<_, StoreError, _>(move |read| {
                    let users = device_lists::stale_lists(read, after, CHUNK)?;
                    users.into_iter().map(|user| Ok((user, ids::user_id(read, user)?))).collect::<Result<Vec<_>, _>>()
                })
                .await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = *last;
            stream::iter(found)
                .for_each_concurrent(AT_ONCE, async |(_, user)| {
                    if let Err(error) = self.resync(&user).await {
                        tracing::debug!(%user, %error, "a device list stays stale");
                    }
                })
                .await;
        }
    }
}

/// A device's keys and name, if they are what the spec says.
pub(super) fn accept_device(
    user: &UserId,
    device_id: &str,
    keys: CanonicalJsonObject,
    name: Option<String>,
) -> Option<(String, Option<String>)> {
    let keys = keep_own_signatures(keys, user);
    if device_id.len() > MAX_TEXT || check_device_keys(&keys, user, device_id).is_err() {
        return None;
    }
    Some((canonical(&keys), name.filter(|name| name.len() <= MAX_TEXT)))
}

/// A cross-signing key, if it is what the spec says.
pub(super) fn accept_cross_signing(user: &UserId, usage: Usage, key: CanonicalJsonObject) -> Option<CrossSigningKey> {
    let public_key = cross_signing_public_key(&key, user, usage).ok()?;
    Some(CrossSigningKey { public_key, keys: canonical(&keep_own_signatures(key, user)) })
}

/// Whether a list is as their server has it.
pub(super) fn is_fresh(read: &dyn Read, user: UserNid, list: &RemoteList) -> Result<bool, StoreError> {
    Ok(!list.stale && device_lists::followed_since(read, user, list.position)?)
}

/// Writes a whole list, or that there is none. `asked_at`: our position before it was asked for: what their server told since
/// may not be in it.
fn replace(
    tx: &WriteTx<'_>,
    lists: &DeviceLists,
    user_id: &UserId,
    fetched: Option<Fetched>,
    asked_at: i64,
) -> Result<(), StoreError> {
    let Some(user) = ids::user_nid(tx, user_id)? else { return Ok(()) };
    if !device_lists::is_followed(tx, user)? {
        return Ok(());
    }
    let told_since = !device_lists::changes(tx, user, asked_at, i64::MAX)?.is_empty();
    let fetched = fetched.unwrap_or(Fetched { stream_id: 0, devices: BTreeMap::new(), cross_signing: Vec::new() });
    let mut changed = false;
    for known in device_keys::of_user(tx, user)? {
        if !fetched.devices.contains_key(&known.device_id) {
            changed |= device_keys::delete(tx, user, &known.device_id)?;
        }
    }
    for (device_id, (keys, name)) in &fetched.devices {
        changed |= put_device(tx, user, device_id, keys, name.as_deref())?;
    }
    for usage in [Usage::Master, Usage::SelfSigning] {
        let known = device_keys::cross_signing(tx, user, usage)?;
        match fetched.cross_signing.iter().find(|(of, _)| *of == usage) {
            Some((_, key)) if known.as_ref() != Some(key) => device_keys::put_cross_signing(tx, user, usage, key)?,
            None if known.is_some() => device_keys::delete_cross_signing(tx, user, usage)?,
            _ => continue,
        }
        changed = true;
    }
    let list = RemoteList { stream_id: fetched.stream_id, stale: told_since, position: asked_at };
    device_lists::put_remote_list(tx, user, &list)?;
    if changed {
        lists.changed(tx, user, "")?;
    }
    Ok(())
}

/// Writes a device of another server's user. Answers whether it is not what was there.
pub(super) fn put_device(
    tx: &WriteTx<'_>,
    user: UserNid,
    device_id: &str,
    keys: &str,
    name: Option<&str>,
) -> Result<bool, StoreError> {
    let known = device_keys::get(tx, user, device_id)?;
    if known.as_ref().is_some_and(|known| known.keys == keys && known.display_name.as_deref() == name) {
        return Ok(false);
    }
    device_keys::put(tx, user, device_id, keys, name)?;
    Ok(true)
}
