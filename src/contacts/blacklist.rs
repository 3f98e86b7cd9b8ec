//! The blacklist: `m.ignored_user_list`, as LinkIM's API changes and shows it.
//!
//! Source: Client-Server API, "Ignoring Users".

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{ContactError, Contacts, OpenError, Person, people::person};
use crate::{
    accounts::{AccountDataError, Session},
    numbers::User,
    rooms::ignored_users,
    store::{Read, StoreError, account_data, ids, ids::UserNid},
};

/// Users on a blacklist at most.
const MAX_BLOCKED: usize = 1000;

/// The list as it is stored, what clients put beside the users included. Another shape counts as an empty list.
fn load(read: &dyn Read, user: UserNid) -> Result<Map<String, Value>, StoreError> {
    let stored = account_data::get(read, user, None, ignored_users::KIND)?;
    let mut content = match stored.and_then(|text| serde_json::from_str(&text).ok()) {
        Some(Value::Object(content)) => content,
        _ => Map::new(),
    };
    if !content.get("ignored_users").is_some_and(Value::is_object) {
        content.insert("ignored_users".into(), json!({}));
    }
    Ok(content)
}

fn users(content: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, StoreError> {
    let users = content.get_mut("ignored_users").and_then(Value::as_object_mut);
    users.ok_or_else(|| StoreError::Damaged("a list that was just made is none".into()))
}

impl Contacts {
    /// Blocks a user.
    ///
    /// # Errors
    /// `Open(Oneself)`, `Duplicate`, `TooMany`, or the store's.
    pub async fn block(&self, by: &Session, whom: &User) -> Result<(), ContactError> {
        if by.user == whom.nid {
            return Err(OpenError::Oneself.into());
        }
        self.change(by.user, whom.user_id.clone(), |users, whom| {
            if users.contains_key(whom.as_str()) {
                return Err(ContactError::Duplicate);
            }
            if users.len() >= MAX_BLOCKED {
                return Err(ContactError::TooMany);
            }
            users.insert(whom.as_str().to_owned(), json!({}));
            Ok(())
        })
        .await
    }

    /// Unblocks a user.
    ///
    /// # Errors
    /// `NotBlocked`, or the store's.
    pub async fn unblock(&self, by: &Session, whom: &User) -> Result<(), ContactError> {
        self.change(by.user, whom.user_id.clone(), |users, whom| {
            users.remove(whom.as_str()).map(drop).ok_or(ContactError::NotBlocked)
        })
        .await
    }

    async fn change(
        &self,
        user: UserNid,
        whom: OwnedUserId,
        change: fn(&mut Map<String, Value>, &UserId) -> Result<(), ContactError>,
    ) -> Result<(), ContactError> {
        let data = self.data.clone();
        self.store
            .write(move |tx| {
                let mut content = load(tx, user)?;
                change(users(&mut content)?, &whom)?;
                let content = Value::Object(content).to_string();
                data.put(tx, user, None, ignored_users::KIND, &content).map_err(|error| match error {
                    AccountDataError::Store(error) => ContactError::Store(error),
                    _ => ContactError::TooMany,
                })
            })
            .await
    }

    /// Whom the user has blocked, by their ids; `after`: those that follow this one. Whether there are more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn blacklist(
        &self,
        user: UserNid,
        after: Option<OwnedUserId>,
        limit: usize,
    ) -> Result<(Vec<Person>, bool), StoreError> {
        self.store.read(move |read| list(read, user, after, limit)).await
    }
}

fn list(
    read: &dyn Read,
    user: UserNid,
    after: Option<OwnedUserId>,
    limit: usize,
) -> Result<(Vec<Person>, bool), StoreError> {
    let mut content = load(read, user)?;
    let mut listed: Vec<OwnedUserId> =
        users(&mut content)?.keys().filter_map(|id| id.as_str().try_into().ok()).collect();
    listed.sort();
    listed.retain(|id| after.as_ref().is_none_or(|after| id > after));
    let mut out = Vec::new();
    for id in listed {
        // A plain client may block whom this server never met: nothing comes from there, and there is no number to show.
        let Some(nid) = ids::user_nid(read, &id)? else { continue };
        if out.len() == limit {
            return Ok((out, true));
        }
        out.push(person(read, user, nid)?);
    }
    Ok((out, false))
}
