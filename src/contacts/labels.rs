//! Labels that users give their friends: the global account data `org.linkim.friend_labels`, which the server alone writes. Plain
//! clients see them as tags `u.<name>` of the direct rooms.

use std::collections::BTreeSet;

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use super::{ContactError, Contacts, friends};
use crate::{
    accounts::{AccountData, TagError, Tags},
    numbers::User,
    store::{Read, StoreError, WriteTx, account_data, direct_rooms, ids, ids::UserNid},
};

const KIND: &str = "org.linkim.friend_labels";

/// Labels of a user at most.
pub const MAX_LABELS: usize = 100;

/// Friends with labels at most, counted once a label.
const MAX_LABELLED: usize = 10_000;

/// Characters of a label's name at most.
pub(super) const MAX_NAME: usize = 50;

/// A user's labels, in the order in which they were made. Its schema is spec/events/org.linkim.friend_labels.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    #[serde(default)]
    pub(super) labels: Vec<Label>,
}

/// A label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
    #[serde(default)]
    pub(super) friends: BTreeSet<OwnedUserId>,
}

impl Labels {
    pub(super) fn get(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name == name)
    }

    fn get_mut(&mut self, name: &str) -> Result<&mut Label, ContactError> {
        self.labels.iter_mut().find(|label| label.name == name).ok_or(ContactError::NoLabel)
    }
}

/// The labels of a local user.
pub(super) fn of(read: &dyn Read, user: UserNid) -> Result<Labels, StoreError> {
    let Some(content) = account_data::get(read, user, None, KIND)? else { return Ok(Labels::default()) };
    serde_json::from_str(&content).map_err(|error| StoreError::Damaged(format!("{KIND}: {error}")))
}

fn write(tx: &WriteTx<'_>, data: &AccountData, user: UserNid, labels: &Labels) -> Result<(), ContactError> {
    if friends::write(tx, data, user, KIND, labels)? { Ok(()) } else { Err(ContactError::TooMany) }
}

/// Sets or removes the tag of a label on the direct room with a friend. A client that has filled up a room's tags has none of
/// this one.
fn tag(
    tx: &WriteTx<'_>,
    tags: &Tags,
    user: UserNid,
    friend: UserNid,
    label: &str,
    set: bool,
) -> Result<(), StoreError> {
    let Some(room) = direct_rooms::between(tx, user, friend)? else { return Ok(()) };
    match tags.put_in(tx, user, room, &format!("u.{label}"), set) {
        Ok(()) => Ok(()),
        Err(TagError::AccountData(crate::accounts::AccountDataError::Store(error))) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a label is no tag");
            Ok(())
        }
    }
}

/// Takes all labels from a friend.
pub(super) fn forget(
    tx: &WriteTx<'_>,
    data: &AccountData,
    tags: &Tags,
    user: UserNid,
    friend: &User,
) -> Result<(), ContactError> {
    let mut labels = of(tx, user)?;
    let mut changed = false;
    for label in &mut labels.labels {
        if label.friends.remove(&friend.user_id) {
            tag(tx, tags, user, friend.nid, &label.name, false)?;
            changed = true;
        }
    }
    if changed { write(tx, data, user, &labels) } else { Ok(()) }
}

impl Contacts {
    /// The names of the user's labels, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn labels(&self, user: UserNid) -> Result<Vec<String>, StoreError> {
        self.store.read(move |read| Ok(of(read, user)?.labels.into_iter().map(|label| label.name).collect())).await
    }

    /// Makes a label.
    ///
    /// # Errors
    /// `NameLength`, `Duplicate`, `TooMany`, or the store's.
    pub async fn add_label(&self, user: UserNid, name: String) -> Result<(), ContactError> {
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(ContactError::NameLength);
        }
        let data = self.data.clone();
        self.store
            .write(move |tx| {
                let mut labels = of(tx, user)?;
                if labels.get(&name).is_some() {
                    return Err(ContactError::Duplicate);
                }
                if labels.labels.len() >= MAX_LABELS {
                    return Err(ContactError::TooMany);
                }
                labels.labels.push(Label { name, friends: BTreeSet::new() });
                write(tx, &data, user, &labels)
            })
            .await
    }

    /// Removes a label from the user's, and from all who have it.
    ///
    /// # Errors
    /// `NoLabel`, or the store's.
    pub async fn remove_label(&self, user: UserNid, name: String) -> Result<(), ContactError> {
        let (data, tags) = (self.data.clone(), self.tags.clone());
        self.store
            .write(move |tx| {
                let mut labels = of(tx, user)?;
                let at = labels.labels.iter().position(|label| label.name == name).ok_or(ContactError::NoLabel)?;
                for friend in labels.labels.remove(at).friends {
                    if let Some(friend) = ids::user_nid(tx, &friend)? {
                        tag(tx, &tags, user, friend, &name, false)?;
                    }
                }
                write(tx, &data, user, &labels)
            })
            .await
    }

    /// Gives a friend a label.
    ///
    /// # Errors
    /// `NoLabel`, `NotAFriend`, `Duplicate`, `TooMany`, or the store's.
    pub async fn label_friend(&self, user: UserNid, name: String, friend: &User) -> Result<(), ContactError> {
        let (data, tags, friend) = (self.data.clone(), self.tags.clone(), friend.clone());
        self.store
            .write(move |tx| {
                let mut labels = of(tx, user)?;
                let labelled: usize = labels.labels.iter().map(|label| label.friends.len()).sum();
                let label = labels.get_mut(&name)?;
                if !friends::has(tx, user, &friend.user_id)? {
                    return Err(ContactError::NotAFriend);
                }
                if labelled >= MAX_LABELLED {
                    return Err(ContactError::TooMany);
                }
                if !label.friends.insert(friend.user_id.clone()) {
                    return Err(ContactError::Duplicate);
                }
                tag(tx, &tags, user, friend.nid, &name, true)?;
                write(tx, &data, user, &labels)
            })
            .await
    }

    /// Takes a label from a friend.
    ///
    /// # Errors
    /// `NoLabel`, `NotLabelled`, or the store's.
    pub async fn unlabel_friend(&self, user: UserNid, name: String, friend: &User) -> Result<(), ContactError> {
        let (data, tags, friend) = (self.data.clone(), self.tags.clone(), friend.clone());
        self.store
            .write(move |tx| {
                let mut labels = of(tx, user)?;
                if !labels.get_mut(&name)?.friends.remove(&friend.user_id) {
                    return Err(ContactError::NotLabelled);
                }
                tag(tx, &tags, user, friend.nid, &name, false)?;
                write(tx, &data, user, &labels)
            })
            .await
    }
}
