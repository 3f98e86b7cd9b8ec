//! What other servers tell about their users' keys, and messages to our devices.
//!
//! Source: Server-Server API, `m.device_list_update`, `m.signing_key_update`, `m.direct_to_device`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use ruma::{CanonicalJsonObject, OwnedServerName, OwnedUserId, ServerName, UInt};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    device_lists::DeviceLists,
    remote_lists::{MAX_DEVICES, RemoteLists, accept_cross_signing, accept_device, is_fresh, put_device},
    to_device::{MAX_CONTENT, MAX_TYPE, deliver, hash},
};
use crate::{
    clock::Clock,
    peers::inbox::edus::{EduError, EduHandler},
    rooms::wake::WakeMembers,
    store::{
        Store, StoreError, WriteTx,
        device_keys::{self, Usage},
        device_lists::{self, RemoteList},
        ids::{self, UserNid},
        to_device,
    },
};

/// Longest message id, in bytes: 32 characters.
const MAX_MESSAGE_ID: usize = 128;

/// Parses contents; those that are not what the spec says, or not the origin's to say, are passed over.
fn parse_all<T: DeserializeOwned>(
    origin: &ServerName,
    contents: &[&RawValue],
    of: impl Fn(&T) -> &OwnedUserId,
) -> Vec<T> {
    let parse = |content: &&RawValue| match serde_json::from_str::<T>(content.get()) {
        Ok(parsed) if of(&parsed).server_name() == origin => Some(parsed),
        Ok(_) => {
            tracing::debug!(%origin, "an EDU about another server's user is passed over");
            None
        }
        Err(error) => {
            tracing::debug!(%origin, %error, "an EDU is passed over");
            None
        }
    };
    contents.iter().filter_map(parse).collect()
}

/// Takes `m.device_list_update`.
pub struct DeviceListUpdates {
    store: Store,
    lists: Arc<DeviceLists>,
    remote: Arc<RemoteLists>,
}

#[derive(Deserialize)]
struct DeviceUpdate {
    user_id: OwnedUserId,
    device_id: String,
    device_display_name: Option<String>,
    stream_id: UInt,
    prev_id: Option<Vec<UInt>>,
    deleted: Option<bool>,
    keys: Option<CanonicalJsonObject>,
}

impl DeviceListUpdates {
    /// `lists` tells our users; `remote` fetches what cannot be applied.
    pub fn new(store: Store, lists: Arc<DeviceLists>, remote: Arc<RemoteLists>) -> Self {
        Self { store, lists, remote }
    }
}

impl EduHandler for DeviceListUpdates {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move { Ok(self.handle_all(origin, &[content]).await?) })
    }

    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let updates = parse_all::<DeviceUpdate>(origin, contents, |update| &update.user_id);
        let (lists, remote) = (self.lists.clone(), self.remote.clone());
        Box::pin(self.store.write(move |tx| {
            let (mut changed, mut stale) = (BTreeSet::new(), false);
            for update in updates {
                match update_device(tx, update)? {
                    Outcome::Nothing => continue,
                    Outcome::Changed(user) => changed.insert(user),
                    Outcome::Stale(user) => {
                        stale = true;
                        changed.insert(user)
                    }
                };
            }
            // Once for each user: to find out who must hear of it is the larger part of the work.
            for user in changed {
                lists.changed(tx, user, "")?;
            }
            if stale {
                tx.after_commit(move || remote.look());
            }
            Ok(())
        }))
    }
}

/// What became of an update.
enum Outcome {
    /// It concerns nobody here, or came before.
    Nothing,
    /// The user's keys are others now.
    Changed(UserNid),
    /// The same, and which is to be found out: updates are missing in between.
    Stale(UserNid),
}

/// Applies an update to the list that we have.
fn update_device(tx: &WriteTx<'_>, update: DeviceUpdate) -> Result<Outcome, StoreError> {
    let Some(user) = ids::user_nid(tx, &update.user_id)? else { return Ok(Outcome::Nothing) };
    if !device_lists::is_followed(tx, user)? {
        return Ok(Outcome::Nothing);
    }
    // If nobody asked for the list yet there is nothing to keep right, but a client may know it from elsewhere.
    let Some(list) = device_lists::remote_list(tx, user)? else { return Ok(Outcome::Changed(user)) };
    let stream_id = i64::from(update.stream_id);
    let fresh = is_fresh(tx, user, &list)?;
    if fresh && stream_id == list.stream_id {
        return Ok(Outcome::Nothing);
    }
    let previous = update.prev_id.as_deref().unwrap_or_default();
    let follows = fresh && !previous.is_empty() && previous.iter().all(|id| i64::from(*id) == list.stream_id);
    let applied = follows && apply(tx, user, update)?;
    let list = RemoteList {
        stream_id: if applied { stream_id } else { list.stream_id },
        stale: !applied,
        position: if applied { tx.next_position() } else { list.position },
    };
    device_lists::put_remote_list(tx, user, &list)?;
    Ok(if applied { Outcome::Changed(user) } else { Outcome::Stale(user) })
}

/// Answers whether the update is one that can be applied.
fn apply(tx: &WriteTx<'_>, user: UserNid, update: DeviceUpdate) -> Result<bool, StoreError> {
    let DeviceUpdate { user_id, device_id, device_display_name, deleted, keys, .. } = update;
    let Some(keys) = keys.filter(|_| deleted != Some(true)) else {
        device_keys::delete(tx, user, &device_id)?;
        return Ok(true);
    };
    let Some((keys, name)) = accept_device(&user_id, &device_id, keys, device_display_name) else { return Ok(false) };
    put_device(tx, user, &device_id, &keys, name.as_deref())?;
    Ok(device_keys::of_user(tx, user)?.len() <= MAX_DEVICES)
}

/// Takes `m.signing_key_update`.
pub struct SigningKeyUpdates {
    store: Store,
    lists: Arc<DeviceLists>,
}

#[derive(Deserialize)]
struct SigningKeyUpdate {
    user_id: OwnedUserId,
    master_key: Option<CanonicalJsonObject>,
    self_signing_key: Option<CanonicalJsonObject>,
}

impl SigningKeyUpdates {
    /// `lists` tells our users.
    pub fn new(store: Store, lists: Arc<DeviceLists>) -> Self {
        Self { store, lists }
    }
}

impl EduHandler for SigningKeyUpdates {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move { Ok(self.handle_all(origin, &[content]).await?) })
    }

    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let updates = parse_all::<SigningKeyUpdate>(origin, contents, |update| &update.user_id);
        let lists = self.lists.clone();
        Box::pin(self.store.write(move |tx| {
            for update in updates {
                update_signing_keys(tx, &lists, update)?;
            }
            Ok(())
        }))
    }
}

fn update_signing_keys(tx: &WriteTx<'_>, lists: &DeviceLists, update: SigningKeyUpdate) -> Result<(), StoreError> {
    let Some(user) = ids::user_nid(tx, &update.user_id)? else { return Ok(()) };
    if !device_lists::is_followed(tx, user)? {
        return Ok(());
    }
    if device_lists::remote_list(tx, user)?.is_some() {
        let old = device_keys::cross_signing(tx, user, Usage::Master)?;
        for (usage, key) in [(Usage::Master, update.master_key), (Usage::SelfSigning, update.self_signing_key)] {
            let Some(key) = key.and_then(|key| accept_cross_signing(&update.user_id, usage, key)) else { continue };
            if usage == Usage::Master && old.as_ref().is_some_and(|old| old.public_key != key.public_key) {
                // What the old one signed means nothing any more.
                device_keys::delete_cross_signing(tx, user, Usage::SelfSigning)?;
            }
            device_keys::put_cross_signing(tx, user, usage, &key)?;
        }
    }
    lists.changed(tx, user, "")
}

/// Takes `m.direct_to_device`.
pub struct DirectToDevice {
    store: Store,
    clock: Arc<dyn Clock>,
    wake: Arc<dyn WakeMembers>,
    server_name: OwnedServerName,
}

#[derive(Deserialize)]
struct Direct {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    message_id: String,
    messages: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
}

impl DirectToDevice {
    /// `wake` tells long polls; `server_name` is ours.
    pub fn new(store: Store, clock: Arc<dyn Clock>, wake: Arc<dyn WakeMembers>, server_name: OwnedServerName) -> Self {
        Self { store, clock, wake, server_name }
    }
}

impl EduHandler for DirectToDevice {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move { Ok(self.handle_all(origin, &[content]).await?) })
    }

    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let direct = parse_all::<Direct>(origin, contents, |direct| &direct.sender);
        let (wake, now, origin) = (self.wake.clone(), self.clock.now_ms(), origin.to_owned());
        let server_name = self.server_name.clone();
        Box::pin(self.store.write(move |tx| {
            for direct in direct {
                if direct.message_id.len() <= MAX_MESSAGE_ID
                    && direct.kind.len() <= MAX_TYPE
                    && to_device::receive(tx, &hash([origin.as_str(), &direct.message_id]), now)?
                {
                    deliver_direct(tx, &wake, &server_name, direct)?;
                }
            }
            Ok(())
        }))
    }
}

fn deliver_direct(
    tx: &WriteTx<'_>,
    wake: &Arc<dyn WakeMembers>,
    server_name: &ServerName,
    direct: Direct,
) -> Result<(), StoreError> {
    for (user, messages) in direct.messages {
        let Ok(user) = OwnedUserId::try_from(user) else { continue };
        if user.server_name() != server_name {
            continue;
        }
        let good = |content: &RawValue| content.get().starts_with('{') && content.get().len() <= MAX_CONTENT;
        let messages = messages.into_iter().filter(|(_, content)| good(content));
        let messages = messages.map(|(device, content)| (device, content.get().to_owned())).collect();
        deliver(tx, wake, direct.sender.as_str(), &direct.kind, &user, &messages)?;
    }
    Ok(())
}
