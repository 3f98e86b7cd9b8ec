//! What users call their friends: the global account data `org.linkim.friend_remarks`, which the server alone writes.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{ContactError, Contacts, friends};
use crate::{
    accounts::AccountData,
    numbers::User,
    store::{Read, StoreError, WriteTx, account_data, ids::UserNid},
};

const KIND: &str = "org.linkim.friend_remarks";

/// Characters of a remark at most.
pub(super) const MAX_REMARK: usize = 50;

/// A user's remarks: at most one a friend. Its schema is spec/events/org.linkim.friend_remarks.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remarks {
    #[serde(default)]
    pub(super) remarks: BTreeMap<OwnedUserId, String>,
}

/// The remarks of a local user.
pub(super) fn of(read: &dyn Read, user: UserNid) -> Result<Remarks, StoreError> {
    let Some(content) = account_data::get(read, user, None, KIND)? else { return Ok(Remarks::default()) };
    serde_json::from_str(&content).map_err(|error| StoreError::Damaged(format!("{KIND}: {error}")))
}

/// Removes the remark on a friend.
pub(super) fn forget(tx: &WriteTx<'_>, data: &AccountData, user: UserNid, friend: &UserId) -> Result<(), ContactError> {
    let mut remarks = of(tx, user)?;
    if remarks.remarks.remove(friend).is_some() {
        friends::write(tx, data, user, KIND, &remarks)?;
    }
    Ok(())
}

impl Contacts {
    /// Sets what the user calls a friend; empty: nothing else than the friend does.
    ///
    /// # Errors
    /// `RemarkTooLong`, `NotAFriend`, or the store's.
    pub async fn set_remark(&self, user: UserNid, friend: &User, remark: String) -> Result<(), ContactError> {
        if remark.chars().count() > MAX_REMARK {
            return Err(ContactError::RemarkTooLong);
        }
        let (data, friend) = (self.data.clone(), friend.user_id.clone());
        self.store
            .write(move |tx| {
                if !friends::has(tx, user, &friend)? {
                    return Err(ContactError::NotAFriend);
                }
                let mut remarks = of(tx, user)?;
                match remark.is_empty() {
                    true => drop(remarks.remarks.remove(&friend)),
                    false => drop(remarks.remarks.insert(friend, remark)),
                }
                match friends::write(tx, &data, user, KIND, &remarks)? {
                    true => Ok(()),
                    false => Err(ContactError::TooMany),
                }
            })
            .await
    }
}
