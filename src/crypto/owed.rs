//! What other servers are owed of our users' changed keys.
//!
//! Each change of a device is an `m.device_list_update` whose stream id is its place in the server-wide order, after the one
//! before it; a server that missed one sees that and fetches the whole list. Changed cross-signing keys are an
//! `m.signing_key_update`. What is sent is how the device stands when it is sent.
//!
//! Source: Server-Server API, "Device Management".

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use serde::Serialize;

use super::query::{Viewed, user_keys};
use crate::{
    peers::sender::{Edu, OwedEdus, Peer},
    store::{
        Read, StoreError,
        device_lists::{self, Change},
        ids::{self, RoomNid, UserNid},
    },
};

/// Derives what is owed.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwedKeys;

#[derive(Serialize)]
struct DeviceUpdate {
    user_id: OwnedUserId,
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<CanonicalJsonValue>,
    stream_id: i64,
    prev_id: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<CanonicalJsonObject>,
}

#[derive(Serialize)]
struct SigningKeyUpdate {
    user_id: OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<CanonicalJsonObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<CanonicalJsonObject>,
}

impl OwedEdus for OwedKeys {
    fn owed(
        &self,
        read: &dyn Read,
        destination: &Peer,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Edu)>, StoreError> {
        let owed = device_lists::owed(read, destination.nid, after, up_to, limit)?;
        owed.into_iter().map(|(position, user, change)| Ok((position, edu(read, user, &change)?))).collect()
    }

    fn rooms_after(&self, read: &dyn Read, after: i64) -> Result<Vec<RoomNid>, StoreError> {
        device_lists::rooms_with_changes(read, after)
    }
}

/// The EDU that tells of a change, and how things stand now.
fn edu(read: &dyn Read, user: UserNid, change: &Change) -> Result<Edu, StoreError> {
    let user_id = ids::user_id(read, user)?;
    let written = |error: serde_json::Error| StoreError::Damaged(format!("a key: {error}"));
    if change.device_id.is_empty() {
        let keys = user_keys(read, Viewed::ByServer, (user, &user_id), &[])?;
        let update = SigningKeyUpdate { user_id, master_key: keys.master, self_signing_key: keys.self_signing };
        return Edu::new("m.signing_key_update", &update).map_err(written);
    }
    let keys = user_keys(read, Viewed::ByServer, (user, &user_id), std::slice::from_ref(&change.device_id))?;
    let mut keys = keys.devices.into_values().next();
    let name = match keys.as_mut().and_then(|keys| keys.remove("unsigned")) {
        Some(CanonicalJsonValue::Object(mut unsigned)) => unsigned.remove("device_display_name"),
        _ => None,
    };
    let update = DeviceUpdate {
        user_id,
        device_id: change.device_id.clone(),
        device_display_name: name,
        stream_id: change.position,
        prev_id: change.previous.into_iter().collect(),
        deleted: keys.is_none().then_some(true),
        keys,
    };
    Edu::new("m.device_list_update", &update).map_err(written)
}
