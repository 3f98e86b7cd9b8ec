//! Numbers for strings: users, rooms, servers, event types, state keys.
//!
//! The number of (`m.room.member`, user id) is that of the user, negative: it costs no row and no look-up of its own, and a
//! state's members are one stretch of its keys, everything else the other.
//!
//! A number, once committed, never changes, so a bounded cache of committed pairs is right for every snapshot. Pairs made
//! by a transaction enter the cache after its commit only.

use std::sync::{Arc, LazyLock};

use moka::sync::Cache;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId};

use super::{Read, StoreError, WriteTx};
use crate::params;

/// Local number of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserNid(pub i64);

/// Local number of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomNid(pub i64);

/// Local number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNid(pub i64);

/// Local number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNid(pub i64);

macro_rules! params_of {
    ($($name:ident),*) => {$(
        impl From<$name> for super::Param<'_> {
            fn from(value: $name) -> Self { Self::Int(value.0) }
        }
        impl super::Column for $name {
            fn read(row: &super::Row<'_>, index: usize) -> Result<Self, StoreError> {
                i64::read(row, index).map($name)
            }
        }
    )*};
}
params_of!(UserNid, RoomNid, EventNid, DeviceNid);

/// What never changes about a room.
#[derive(Debug)]
pub struct RoomKey {
    /// Its number.
    pub nid: RoomNid,
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// The line of its current state.
    pub main_line: i64,
    /// In a group of LinkIM's: the service user who made it. None also while the create event is not here.
    pub service: Option<UserNid>,
}

/// The caches. Bound: [`CACHED`] entries each, about 100 bytes an entry.
pub struct Ids {
    user_nids: Cache<OwnedUserId, UserNid>,
    user_ids: Cache<UserNid, OwnedUserId>,
    rooms: Cache<OwnedRoomId, Arc<RoomKey>>,
    rooms_by_nid: Cache<RoomNid, Arc<RoomKey>>,
    type_nids: Cache<String, i64>,
    types: Cache<i64, Arc<str>>,
    state_key_nids: Cache<(i64, String), i64>,
    state_keys: Cache<i64, (Arc<str>, Arc<str>)>,
}

/// Entries of each cache.
const CACHED: u64 = 20_000;

impl Default for Ids {
    fn default() -> Self {
        Self {
            user_nids: Cache::new(CACHED),
            user_ids: Cache::new(CACHED),
            rooms: Cache::new(CACHED),
            rooms_by_nid: Cache::new(CACHED),
            type_nids: Cache::new(CACHED),
            types: Cache::new(CACHED),
            state_key_nids: Cache::new(CACHED),
            state_keys: Cache::new(CACHED),
        }
    }
}

impl Ids {
    /// What never changes about a room, if it is cached: spares a snapshot where nothing else must be read.
    pub fn cached_room(&self, room_id: &RoomId) -> Option<Arc<RoomKey>> {
        self.rooms.get(room_id)
    }
}

/// The number of a user, if we ever met them.
pub fn user_nid(read: &dyn Read, user: &UserId) -> Result<Option<UserNid>, StoreError> {
    let ids = read.ids();
    if let Some(nid) = ids.user_nids.get(user) {
        return Ok(Some(nid));
    }
    let found = read.one("SELECT nid FROM users WHERE user_id = ?1", params![user.as_str()], |row| row.get(0))?;
    if let Some(nid) = found
        && !read.uncommitted()
    {
        ids.user_nids.insert(user.to_owned(), nid);
    }
    Ok(found)
}

/// The id of a user. `Damaged` if the number is not one of ours.
pub fn user_id(read: &dyn Read, nid: UserNid) -> Result<OwnedUserId, StoreError> {
    let ids = read.ids();
    if let Some(user) = ids.user_ids.get(&nid) {
        return Ok(user);
    }
    let found = read
        .one("SELECT user_id FROM users WHERE nid = ?1", params![nid], |row| row.get::<String>(0))?
        .ok_or_else(|| StoreError::Damaged(format!("no user {}", nid.0)))?;
    let user = OwnedUserId::try_from(found).map_err(|e| StoreError::Damaged(e.to_string()))?;
    if !read.uncommitted() {
        ids.user_ids.insert(nid, user.clone());
    }
    Ok(user)
}

/// The user with this number, if it is one of ours: for numbers that come from outside.
pub fn known_user(read: &dyn Read, number: i64) -> Result<Option<(UserNid, OwnedUserId)>, StoreError> {
    let nid = UserNid(number);
    if let Some(user) = read.ids().user_ids.get(&nid) {
        return Ok(Some((nid, user)));
    }
    let found = read.one("SELECT nid FROM users WHERE nid = ?1", params![nid], |row| row.get::<UserNid>(0))?;
    found.map(|nid| Ok((nid, user_id(read, nid)?))).transpose()
}

/// The number of a user, made if we never met them.
pub fn intern_user(tx: &WriteTx<'_>, user: &UserId) -> Result<UserNid, StoreError> {
    if let Some(nid) = user_nid(tx, user)? {
        return Ok(nid);
    }
    let server = intern_server(tx, user.server_name().as_str())?;
    Ok(UserNid(
        tx.insert("INSERT INTO users (user_id, server) VALUES (?1, ?2) RETURNING nid", params![user.as_str(), server])?,
    ))
}

/// The number of a server, made if we never met it.
pub fn intern_server(tx: &WriteTx<'_>, name: &str) -> Result<i64, StoreError> {
    let read: &dyn Read = tx;
    match read.one("SELECT nid FROM servers WHERE name = ?1", params![name], |row| row.get(0))? {
        Some(nid) => Ok(nid),
        None => tx.insert("INSERT INTO servers (name) VALUES (?1) RETURNING nid", params![name]),
    }
}

/// The number of a server, if we ever met it.
pub fn server_nid(read: &dyn Read, name: &ServerName) -> Result<Option<i64>, StoreError> {
    read.one("SELECT nid FROM servers WHERE name = ?1", params![name.as_str()], |row| row.get(0))
}

/// The number of a user's server. `Damaged` if the number is not one of ours.
pub(crate) fn server_of(read: &dyn Read, user: UserNid) -> Result<i64, StoreError> {
    let found = read.one("SELECT server FROM users WHERE nid = ?1", params![user], |row| row.get(0))?;
    found.ok_or_else(|| StoreError::Damaged(format!("no user {}", user.0)))
}

/// The name of a server. `Damaged` if the number is not one of ours.
pub fn server_name(read: &dyn Read, nid: i64) -> Result<OwnedServerName, StoreError> {
    let found = read.one("SELECT name FROM servers WHERE nid = ?1", params![nid], |row| row.get::<String>(0))?;
    let name = found.ok_or_else(|| StoreError::Damaged(format!("no server {nid}")))?;
    OwnedServerName::try_from(name).map_err(|e| StoreError::Damaged(e.to_string()))
}

/// After the commit: what is cached of a room is read anew.
pub(super) fn forget_room(tx: &WriteTx<'_>, room: &Arc<RoomKey>) {
    let (rooms, by_nid) = (tx.ids().rooms.clone(), tx.ids().rooms_by_nid.clone());
    let room = room.clone();
    tx.after_commit(move || {
        rooms.invalidate(&room.room_id);
        by_nid.invalidate(&room.nid);
    });
}

/// What never changes about a room, if we know it.
pub fn room(read: &dyn Read, room_id: &RoomId) -> Result<Option<Arc<RoomKey>>, StoreError> {
    if let Some(room) = read.ids().rooms.get(room_id) {
        return Ok(Some(room));
    }
    let found = read.one(
        "SELECT nid, room_id, version, main_line, service, create_event IS NOT NULL FROM rooms WHERE room_id = ?1",
        params![room_id.as_str()],
        room_key,
    )?;
    remember_room(read, found)
}

/// What never changes about a room, by number. `Damaged` if the number is not one of ours.
pub fn room_by_nid(read: &dyn Read, nid: RoomNid) -> Result<Arc<RoomKey>, StoreError> {
    if let Some(room) = read.ids().rooms_by_nid.get(&nid) {
        return Ok(room);
    }
    let found = read.one(
        "SELECT nid, room_id, version, main_line, service, create_event IS NOT NULL FROM rooms WHERE nid = ?1",
        params![nid],
        room_key,
    )?;
    remember_room(read, found)?.ok_or_else(|| StoreError::Damaged(format!("no room {}", nid.0)))
}

/// What never changes about the room with this number, if it is one of ours: for numbers that come from outside.
pub fn known_room(read: &dyn Read, number: i64) -> Result<Option<Arc<RoomKey>>, StoreError> {
    let found = read.one("SELECT nid FROM rooms WHERE nid = ?1", params![number], |row| row.get::<RoomNid>(0))?;
    found.map(|nid| room_by_nid(read, nid)).transpose()
}

/// A room, and whether its create event is here: with that comes what else there is to know.
fn room_key(row: &super::Row<'_>) -> Result<(RoomKey, bool), StoreError> {
    let damaged = |e: ruma::IdParseError| StoreError::Damaged(e.to_string());
    let room = RoomKey {
        nid: row.get(0)?,
        room_id: OwnedRoomId::try_from(row.text(1)?).map_err(damaged)?,
        version: RoomVersionId::try_from(row.text(2)?).map_err(damaged)?,
        main_line: row.get(3)?,
        service: row.get(4)?,
    };
    Ok((room, row.get(5)?))
}

fn remember_room(read: &dyn Read, found: Option<(RoomKey, bool)>) -> Result<Option<Arc<RoomKey>>, StoreError> {
    let Some((room, born)) = found else { return Ok(None) };
    let room = Arc::new(room);
    // A room of which no more than an invitation is here may yet change: a late reader must not bring its old self back.
    if born && !read.uncommitted() {
        read.ids().rooms.insert(room.room_id.clone(), room.clone());
        read.ids().rooms_by_nid.insert(room.nid, room.clone());
    }
    Ok(Some(room))
}

/// The number of an event or relation type, if it ever occurred.
pub fn type_nid(read: &dyn Read, kind: &str) -> Result<Option<i64>, StoreError> {
    if let Some(nid) = read.ids().type_nids.get(kind) {
        return Ok(Some(nid));
    }
    let found = read.one("SELECT nid FROM event_types WHERE type = ?1", params![kind], |row| row.get(0))?;
    if let Some(nid) = found
        && !read.uncommitted()
    {
        read.ids().type_nids.insert(kind.to_owned(), nid);
    }
    Ok(found)
}

/// The event type of a number. `Damaged` if the number is not one of ours.
pub fn type_name(read: &dyn Read, nid: i64) -> Result<Arc<str>, StoreError> {
    if let Some(kind) = read.ids().types.get(&nid) {
        return Ok(kind);
    }
    let kind: Arc<str> = read
        .one("SELECT type FROM event_types WHERE nid = ?1", params![nid], |row| row.get::<String>(0))?
        .ok_or_else(|| StoreError::Damaged(format!("no event type {nid}")))?
        .into();
    if !read.uncommitted() {
        read.ids().types.insert(nid, kind.clone());
    }
    Ok(kind)
}

/// The number of an event or relation type, made if it never occurred.
pub fn intern_type(tx: &WriteTx<'_>, kind: &str) -> Result<i64, StoreError> {
    match type_nid(tx, kind)? {
        Some(nid) => Ok(nid),
        None => tx.insert("INSERT INTO event_types (type) VALUES (?1) RETURNING nid", params![kind]),
    }
}

/// The event type whose pairs have the numbers of users.
const MEMBER: &str = "m.room.member";

/// The number of (`m.room.member`, user id).
pub fn member_key(user: UserNid) -> i64 {
    -user.0
}

/// The user whose member event this pair numbers, if it is one.
fn member_of(kind: &str, state_key: &str) -> Option<OwnedUserId> {
    if kind == MEMBER { OwnedUserId::try_from(state_key).ok() } else { None }
}

/// The number of a (type, state key) pair, if it ever occurred; of a member's, if the user was ever met.
pub fn state_key_nid(read: &dyn Read, kind: &str, state_key: &str) -> Result<Option<i64>, StoreError> {
    if let Some(user) = member_of(kind, state_key) {
        return Ok(user_nid(read, &user)?.map(member_key));
    }
    let Some(type_nid) = type_nid(read, kind)? else { return Ok(None) };
    let cache_key = (type_nid, state_key.to_owned());
    if let Some(nid) = read.ids().state_key_nids.get(&cache_key) {
        return Ok(Some(nid));
    }
    let found = read.one(
        "SELECT nid FROM state_keys WHERE type = ?1 AND state_key = ?2",
        params![type_nid, state_key],
        |row| row.get(0),
    )?;
    if let Some(nid) = found
        && !read.uncommitted()
    {
        read.ids().state_key_nids.insert(cache_key, nid);
    }
    Ok(found)
}

/// The (type, state key) pair of a number. `Damaged` if the number is not one of ours.
pub fn state_key(read: &dyn Read, nid: i64) -> Result<(Arc<str>, Arc<str>), StoreError> {
    static KIND: LazyLock<Arc<str>> = LazyLock::new(|| MEMBER.into());
    if nid < 0 {
        return Ok((KIND.clone(), user_id(read, UserNid(-nid))?.as_str().into()));
    }
    if let Some(pair) = read.ids().state_keys.get(&nid) {
        return Ok(pair);
    }
    let (kind, key) = read
        .one("SELECT type, state_key FROM state_keys WHERE nid = ?1", params![nid], |row| {
            Ok((row.get::<i64>(0)?, row.get::<String>(1)?))
        })?
        .ok_or_else(|| StoreError::Damaged(format!("no state key {nid}")))?;
    let pair: (Arc<str>, Arc<str>) = (type_name(read, kind)?, key.into());
    if !read.uncommitted() {
        read.ids().state_keys.insert(nid, pair.clone());
    }
    Ok(pair)
}

/// The number of a (type, state key) pair, made if it never occurred.
pub fn intern_state_key(tx: &WriteTx<'_>, kind: &str, state_key: &str) -> Result<i64, StoreError> {
    if let Some(user) = member_of(kind, state_key) {
        return intern_user(tx, &user).map(member_key);
    }
    if let Some(nid) = state_key_nid(tx, kind, state_key)? {
        return Ok(nid);
    }
    let kind = intern_type(tx, kind)?;
    tx.insert("INSERT INTO state_keys (type, state_key) VALUES (?1, ?2) RETURNING nid", params![kind, state_key])
}
