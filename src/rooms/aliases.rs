//! Room aliases of this server: making, resolving, listing and deleting them.
//!
//! Source: Client-Server API, "Room aliases".

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId,
};

use super::{
    append::{AppendError, Appenders, LocalEvent},
    power::Power,
    state,
    summary::is_world_readable,
};
use crate::{
    accounts::Session,
    clock::Clock,
    store::{Read, Store, StoreError, aliases, ids, ids::RoomNid, members, members::Membership},
};

/// Servers named with a resolved alias at most.
const MAX_SERVERS: i64 = 500;

/// Why an alias is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// It is not an alias that this server can have.
    #[error("{0} is not an alias that this server can have")]
    NotOurs(OwnedRoomAliasId),
    /// It points somewhere already.
    #[error("the alias {0} already exists")]
    InUse(OwnedRoomAliasId),
    /// There is none.
    #[error("the alias {0} is not known")]
    Unknown(OwnedRoomAliasId),
    /// No such room here.
    #[error("no such room")]
    UnknownRoom,
    /// The user may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The canonical alias could not be changed with it.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an alias points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers through which it can be joined, this one first.
    pub servers: Vec<String>,
}

/// The aliases of this server.
pub struct Aliases {
    store: Store,
    appenders: Arc<Appenders>,
    server_name: OwnedServerName,
    clock: Arc<dyn Clock>,
}

/// An alias that may be deleted, and what the room says of it.
struct Deletion {
    room: RoomNid,
    /// `m.room.canonical_alias` without it; None if it is not there.
    canonical: Option<CanonicalJsonObject>,
}

impl Aliases {
    /// For the server of this name.
    pub fn new(store: Store, appenders: Arc<Appenders>, server_name: OwnedServerName, clock: Arc<dyn Clock>) -> Self {
        Self { store, appenders, server_name, clock }
    }

    /// Makes an alias for a room that the user is in.
    ///
    /// # Errors
    /// [`AliasError`]
    pub async fn create(&self, by: &Session, alias: &RoomAliasId, room: &RoomId) -> Result<(), AliasError> {
        let alias = alias.to_owned();
        if alias.server_name() != self.server_name || alias.alias().is_empty() {
            return Err(AliasError::NotOurs(alias));
        }
        let (by, room, now_ms) = (by.clone(), room.to_owned(), self.clock.now_ms());
        self.store
            .write(move |tx| {
                let room = ids::room(tx, &room)?.ok_or(AliasError::UnknownRoom)?;
                if !by.admin && !is_joined(tx, &by, room.nid)? {
                    return Err(AliasError::Forbidden("you are not in this room"));
                }
                match aliases::insert(tx, &alias, room.nid, by.user, now_ms)? {
                    true => Ok(()),
                    false => Err(AliasError::InUse(alias)),
                }
            })
            .await
    }

    /// What an alias of this server points to.
    ///
    /// # Errors
    /// `Unknown`, also for an alias of another server; or the store's.
    pub async fn resolve(&self, alias: &RoomAliasId) -> Result<Resolved, AliasError> {
        let (alias, own) = (alias.to_owned(), self.server_name.to_string());
        self.store
            .read(move |read| {
                let row = aliases::get(read, &alias)?.ok_or(AliasError::Unknown(alias))?;
                let others = aliases::servers(read, row.room, MAX_SERVERS)?;
                let mut servers = vec![own];
                servers.extend(others.into_iter().filter(|name| *name != servers[0]).collect::<Vec<_>>());
                Ok(Resolved { room_id: ids::room_by_nid(read, row.room)?.room_id.clone(), servers })
            })
            .await
    }

    /// Aliases of this server that point to a room, sorted: for its members, and for everybody where everybody may read.
    ///
    /// # Errors
    /// `Forbidden`, also for a room that we do not have; or the store's.
    pub async fn of_room(&self, by: &Session, room: &RoomId) -> Result<Vec<OwnedRoomAliasId>, AliasError> {
        let (by, room) = (by.clone(), room.to_owned());
        self.store
            .read(move |read| {
                let forbidden = AliasError::Forbidden("you are not in this room");
                let Some(room) = ids::room(read, &room)? else { return Err(forbidden) };
                if !by.admin && !is_joined(read, &by, room.nid)? && !is_world_readable(read, room.nid)? {
                    return Err(forbidden);
                }
                Ok(aliases::of_room(read, room.nid)?)
            })
            .await
    }

    /// Deletes an alias: for who made it, for members who may set the room's canonical alias, and for administrators of this
    /// server. Where the user may, `m.room.canonical_alias` loses it too.
    ///
    /// # Errors
    /// [`AliasError`]
    pub async fn delete(&self, by: &Session, alias: &RoomAliasId) -> Result<(), AliasError> {
        let (session, wanted) = (by.clone(), alias.to_owned());
        let deletion = self.store.read(move |read| look_into_deletion(read, &session, &wanted)).await?;
        let alias = alias.to_owned();
        if let Some(content) = deletion.canonical {
            let event = LocalEvent::state(by.user_id.clone(), "m.room.canonical_alias", "", content);
            let gone = alias.clone();
            let along = Box::new(move |tx: &crate::store::WriteTx<'_>, _: RoomNid, _: &[_]| {
                aliases::delete(tx, &gone).map(drop)
            });
            match self.appenders.append(deletion.room, vec![event], Some(along)).await {
                Ok(_) => return Ok(()),
                // The alias goes even if the event may not change (spec: "delete the alias and return a successful
                // response even if the user does not have permission").
                Err(AppendError::Denied(_) | AppendError::Blocked | AppendError::TooLarge | AppendError::Policy(_)) => {
                }
                Err(AppendError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(AliasError::Append(error)),
            }
        }
        self.store.write(move |tx| aliases::delete(tx, &alias).map(drop).map_err(AliasError::Store)).await
    }
}

/// Whether the user is in the room.
fn is_joined(read: &dyn Read, by: &Session, room: RoomNid) -> Result<bool, StoreError> {
    Ok(members::of(read, by.user, room)?.is_some_and(|member| member.membership == Membership::Join))
}

/// Whether the user is in the room and may say which aliases it has.
pub(super) fn may_name(read: &dyn Read, by: &Session, room: &ids::RoomKey) -> Result<bool, StoreError> {
    if !is_joined(read, by, room.nid)? {
        return Ok(false);
    }
    let power = Power::of_room(read, room)?;
    Ok(power.of(&by.user_id) >= power.to_send("m.room.canonical_alias", true))
}

fn look_into_deletion(read: &dyn Read, by: &Session, alias: &RoomAliasId) -> Result<Deletion, AliasError> {
    let row = aliases::get(read, alias)?.ok_or_else(|| AliasError::Unknown(alias.to_owned()))?;
    let room = ids::room_by_nid(read, row.room)?;
    if row.creator != by.user && !by.admin && !may_name(read, by, &room)? {
        return Err(AliasError::Forbidden("the alias is not yours"));
    }
    let canonical: Option<CanonicalJsonObject> = state::current_content(read, room.nid, "m.room.canonical_alias", "")?;
    Ok(Deletion { room: room.nid, canonical: canonical.and_then(|content| without(content, alias.as_str())) })
}

/// The content of `m.room.canonical_alias` without an alias; None if it does not name it.
fn without(mut content: CanonicalJsonObject, alias: &str) -> Option<CanonicalJsonObject> {
    let mut named = false;
    if matches!(content.get("alias"), Some(CanonicalJsonValue::String(canonical)) if canonical == alias) {
        content.remove("alias");
        named = true;
    }
    if let Some(CanonicalJsonValue::Array(list)) = content.get_mut("alt_aliases") {
        let before = list.len();
        list.retain(|other| !matches!(other, CanonicalJsonValue::String(other) if other == alias));
        named |= list.len() < before;
    }
    named.then_some(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alias_leaves_both_places_and_nothing_else() {
        let content = |value| -> CanonicalJsonObject { serde_json::from_value(value).unwrap() };
        let full = content(json!({ "alias": "#a:x", "alt_aliases": ["#a:x", "#b:x"], "org.example.own": 1 }));
        assert_eq!(
            without(full.clone(), "#a:x"),
            Some(content(json!({ "alt_aliases": ["#b:x"], "org.example.own": 1 })))
        );
        assert_eq!(without(full.clone(), "#c:x"), None);
        assert_eq!(without(content(json!({})), "#a:x"), None);
        assert_eq!(
            without(full, "#b:x"),
            Some(content(json!({ "alias": "#a:x", "alt_aliases": ["#a:x"], "org.example.own": 1 })))
        );
    }
}
