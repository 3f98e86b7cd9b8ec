//! Room tags, which are the account data `m.tag` of a room.
//!
//! Source: Client-Server API, "Room Tagging".

use std::sync::Arc;

use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::account_data::{AccountData, AccountDataError, room_nid};
use crate::store::{
    Read, Store, StoreError, WriteTx, account_data,
    ids::{RoomNid, UserNid},
};

/// Longest name of a tag, in bytes.
const MAX_TAG: usize = 255;

/// The type that holds the tags.
const TYPE: &str = "m.tag";

/// Why a tag is not set.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// Its name is empty or longer than 255 bytes.
    #[error("The name of a tag has 1 to {MAX_TAG} bytes")]
    Name,
    /// Its `order` is not a number between 0 and 1.
    #[error("The order of a tag is a number between 0 and 1")]
    Order,
    /// The account data is not taken.
    #[error(transparent)]
    AccountData(#[from] AccountDataError),
}

impl From<StoreError> for TagError {
    fn from(error: StoreError) -> Self {
        Self::AccountData(error.into())
    }
}

/// The content of `m.tag`. What a client wrote in another shape counts as no tags.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    tags: Map<String, Value>,
}

impl Content {
    fn load(read: &dyn Read, user: UserNid, room: crate::store::ids::RoomNid) -> Result<Self, StoreError> {
        let stored = account_data::get(read, user, Some(room), TYPE)?;
        Ok(stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// The tags of this server's users.
pub struct Tags {
    store: Store,
    account_data: Arc<AccountData>,
}

impl Tags {
    /// Changes go through `account_data`.
    pub fn new(store: Store, account_data: Arc<AccountData>) -> Self {
        Self { store, account_data }
    }

    /// The tags of a room, each with its object.
    pub async fn list(&self, user: UserNid, room: OwnedRoomId) -> Result<Map<String, Value>, TagError> {
        self.store
            .read(move |read| {
                let room = room_nid(read, &room)?;
                Ok(Content::load(read, user, room)?.tags)
            })
            .await
    }

    /// Sets a tag of a room.
    pub async fn set(
        &self,
        user: UserNid,
        room: OwnedRoomId,
        tag: String,
        info: Map<String, Value>,
    ) -> Result<(), TagError> {
        if tag.is_empty() || tag.len() > MAX_TAG {
            return Err(TagError::Name);
        }
        if let Some(order) = info.get("order")
            && !order.as_f64().is_some_and(|order| (0.0..=1.0).contains(&order))
        {
            return Err(TagError::Order);
        }
        self.change(user, room, move |tags| {
            tags.insert(tag, Value::Object(info));
            true
        })
        .await
    }

    /// Removes a tag of a room, if it is there.
    pub async fn remove(&self, user: UserNid, room: OwnedRoomId, tag: String) -> Result<(), TagError> {
        self.change(user, room, move |tags| tags.remove(&tag).is_some()).await
    }

    /// Sets or removes a tag of a room in a running transaction.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn put_in(&self, tx: &WriteTx<'_>, user: UserNid, room: RoomNid, tag: &str, set: bool) -> Result<(), TagError> {
        let mut content = Content::load(tx, user, room)?;
        let changed = match set {
            true => content.tags.insert(tag.to_owned(), Value::Object(Map::new())).is_none(),
            false => content.tags.remove(tag).is_some(),
        };
        if changed {
            self.account_data.put(tx, user, Some(room), TYPE, &content.json())?;
        }
        Ok(())
    }

    /// Stores what `change` makes of the tags, if it answers that it changed them.
    async fn change(
        &self,
        user: UserNid,
        room: OwnedRoomId,
        change: impl FnOnce(&mut Map<String, Value>) -> bool + Send + 'static,
    ) -> Result<(), TagError> {
        let account_data = self.account_data.clone();
        self.store
            .write(move |tx| {
                let room = room_nid(tx, &room)?;
                let mut content = Content::load(tx, user, room)?;
                if change(&mut content.tags) {
                    account_data.put(tx, user, Some(room), TYPE, &content.json())?;
                }
                Ok(())
            })
            .await
    }
}
