//! Profiles of this server's users.
//!
//! Source: Client-Server API, "Profiles".

use std::sync::Arc;

use ruma::OwnedUserId;
use serde_json::{Map, Value};

use super::{
    ProfileWatcher,
    profile_fields::{FieldName, FieldRefused},
};
use crate::store::{
    Read, Store, StoreError, WriteTx, accounts,
    ids::{self, UserNid},
    profiles,
};

/// A whole profile is smaller than this many bytes of JSON.
const MAX_PROFILE: usize = 64 * 1024;

/// Why a profile is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The field cannot be had.
    #[error(transparent)]
    Field(#[from] FieldRefused),
    /// The profile would reach 64 KiB.
    #[error("The profile would not be smaller than {MAX_PROFILE} bytes")]
    TooLarge,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The profiles of this server's users.
pub struct Profiles {
    store: Store,
    watcher: Arc<dyn ProfileWatcher>,
}

impl Profiles {
    /// `watcher` is told of each change.
    pub fn new(store: Store, watcher: Arc<dyn ProfileWatcher>) -> Self {
        Self { store, watcher }
    }

    /// A user's whole profile. None for users without an account here.
    pub async fn all(&self, user_id: OwnedUserId) -> Result<Option<Map<String, Value>>, StoreError> {
        self.store
            .read(move |read| {
                let Some(user) = account(read, &user_id)? else { return Ok(None) };
                let fields = profiles::all(read, user)?.into_iter();
                let parsed = fields.map(|(name, json)| Ok((name, parse(&json)?)));
                parsed.collect::<Result<_, StoreError>>().map(Some)
            })
            .await
    }

    /// One field. None where it is not set, and for users without an account here.
    pub async fn get(&self, user_id: OwnedUserId, field: FieldName) -> Result<Option<Value>, StoreError> {
        self.store
            .read(move |read| {
                let Some(user) = account(read, &user_id)? else { return Ok(None) };
                let stored = profiles::get(read, user, field.as_str())?;
                stored.map(|json| parse(&json)).transpose()
            })
            .await
    }

    /// Sets a field.
    pub async fn set(&self, user: UserNid, field: FieldName, value: &Value) -> Result<(), ProfileError> {
        let Some(json) = field.accept(value)? else {
            return Ok(self.delete(user, field).await?);
        };
        let watcher = self.watcher.clone();
        self.store
            .write(move |tx| {
                if profiles::get(tx, user, field.as_str())?.as_deref() == Some(json.as_str()) {
                    return Ok(());
                }
                if size_with(tx, user, &field, &json)? >= MAX_PROFILE {
                    return Err(ProfileError::TooLarge);
                }
                profiles::set(tx, user, field.as_str(), &json, tx.next_position())?;
                if let Some(other) = field.takes_place_of()
                    && profiles::delete(tx, user, other.as_str())?
                {
                    let watcher = watcher.clone();
                    tx.after_commit(move || watcher.profile_changed(user, &other));
                }
                tx.after_commit(move || watcher.profile_changed(user, &field));
                Ok(())
            })
            .await
    }

    /// Deletes a field, if it is there.
    pub async fn delete(&self, user: UserNid, field: FieldName) -> Result<(), StoreError> {
        let watcher = self.watcher.clone();
        self.store
            .write(move |tx| {
                if profiles::delete(tx, user, field.as_str())? {
                    tx.after_commit(move || watcher.profile_changed(user, &field));
                }
                Ok(())
            })
            .await
    }
}

/// The number of a user who has an account here.
fn account(read: &dyn Read, user_id: &OwnedUserId) -> Result<Option<UserNid>, StoreError> {
    let Some(user) = ids::user_nid(read, user_id)? else { return Ok(None) };
    Ok(accounts::exists(read, user)?.then_some(user))
}

fn parse(json: &str) -> Result<Value, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("a profile: {error}")))
}

/// Bytes of the profile's JSON object once `field` is `json`.
fn size_with(tx: &WriteTx<'_>, user: UserNid, field: &FieldName, json: &str) -> Result<usize, StoreError> {
    // `"name":value,` for each field; names need no escapes. The braces are two, the last comma is none.
    let size = |name: &str, json: &str| name.len() + json.len() + 4;
    let others = profiles::all(tx, user)?;
    let others = others.iter().filter(|(name, _)| name != field.as_str());
    let others: usize = others.map(|(name, json)| size(name, json)).sum();
    Ok(others + size(field.as_str(), json) + 1)
}
