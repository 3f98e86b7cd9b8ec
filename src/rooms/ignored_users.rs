//! Whom a user ignores.
//!
//! Source: Client-Server API, "Ignoring Users": the global account data `m.ignored_user_list`.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    params,
    store::{Read, StoreError, ids, ids::UserNid},
};

/// The account data's type.
pub const KIND: &str = "m.ignored_user_list";

/// The users whom `user` ignores, of those whom this server ever met. Empty if the list has not the shape that it must have.
///
/// # Errors
/// [`StoreError`].
pub fn of(read: &dyn Read, user: UserNid) -> Result<HashSet<UserNid>, StoreError> {
    #[derive(Deserialize)]
    struct List {
        ignored_users: BTreeMap<String, IgnoredAny>,
    }
    let content = read.one(
        "SELECT content FROM account_data WHERE user = ?1 AND room = 0 AND type = 'm.ignored_user_list'",
        params![user],
        |row| row.get::<String>(0),
    )?;
    let Some(list) = content.and_then(|content| serde_json::from_str::<List>(&content).ok()) else {
        return Ok(HashSet::new());
    };
    let mut ignored = HashSet::with_capacity(list.ignored_users.len());
    for name in list.ignored_users.keys() {
        if let Ok(id) = <&ruma::UserId>::try_from(name.as_str())
            && let Some(nid) = ids::user_nid(read, id)?
        {
            ignored.insert(nid);
        }
    }
    Ok(ignored)
}
