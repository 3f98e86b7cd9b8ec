//! Who a user's friends are: the global account data `org.linkim.friends`, which the server alone writes.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::{AccountData, AccountDataError},
    store::{Read, StoreError, WriteTx, account_data, ids::UserNid},
};

/// The account data's type.
pub const KIND: &str = "org.linkim.friends";

/// Friends of a user at most.
pub const MAX_FRIENDS: usize = 5000;

/// A user's friends. Its schema is spec/events/org.linkim.friends.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Friends {
    /// One entry a friend.
    #[serde(default)]
    pub friends: BTreeMap<OwnedUserId, Friend>,
}

/// What is noted of a friend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Friend {
    /// Since when, in milliseconds.
    pub since: i64,
}

/// The friends of a local user.
///
/// # Errors
/// [`StoreError`].
pub fn of(read: &dyn Read, user: UserNid) -> Result<Friends, StoreError> {
    let Some(content) = account_data::get(read, user, None, KIND)? else { return Ok(Friends::default()) };
    serde_json::from_str(&content).map_err(|error| StoreError::Damaged(format!("{KIND}: {error}")))
}

/// Whether a local user has this friend.
///
/// # Errors
/// [`StoreError`].
pub fn has(read: &dyn Read, user: UserNid, friend: &UserId) -> Result<bool, StoreError> {
    let Some(content) = account_data::get(read, user, None, KIND)? else { return Ok(false) };
    // The server alone writes it, so a friend's id is a key of it or stands nowhere in it: no need to read all of it.
    let key = serde_json::Value::from(friend.as_str()).to_string() + ":";
    Ok(content.contains(&key))
}

/// Adds a friend, if they are not one. False: there is no room for more.
///
/// # Errors
/// [`StoreError`].
pub fn add(
    tx: &WriteTx<'_>,
    data: &AccountData,
    user: UserNid,
    friend: &UserId,
    since: i64,
) -> Result<bool, StoreError> {
    let mut friends = of(tx, user)?;
    if friends.friends.contains_key(friend) {
        return Ok(true);
    }
    if friends.friends.len() >= MAX_FRIENDS {
        return Ok(false);
    }
    friends.friends.insert(friend.to_owned(), Friend { since });
    write(tx, data, user, KIND, &friends)
}

/// Removes a friend. Whether they were one.
///
/// # Errors
/// [`StoreError`].
pub fn remove(tx: &WriteTx<'_>, data: &AccountData, user: UserNid, friend: &UserId) -> Result<bool, StoreError> {
    let mut friends = of(tx, user)?;
    if friends.friends.remove(friend).is_none() {
        return Ok(false);
    }
    write(tx, data, user, KIND, &friends)?;
    Ok(true)
}

/// Writes account data that is the server's own. False: there is no room for it.
pub(super) fn write(
    tx: &WriteTx<'_>,
    data: &AccountData,
    user: UserNid,
    kind: &str,
    content: &impl Serialize,
) -> Result<bool, StoreError> {
    let content = serde_json::to_string(content).map_err(|error| StoreError::Damaged(error.to_string()))?;
    match data.put_own(tx, user, None, kind, &content) {
        Ok(()) => Ok(true),
        Err(AccountDataError::Store(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, kind, "account data has no room for more");
            Ok(false)
        }
    }
}
