//! Rooms whose members are still to be fetched, because the answer to our join left them out.

use ruma::{OwnedServerName, ServerName};

use super::{
    Read, StoreError, WriteTx,
    ids::{self, EventNid, RoomNid},
    room_servers,
};
use crate::params;

/// A join whose answer left out members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialRoom {
    /// Our join event: the state before it is what is to be fetched.
    pub join: EventNid,
    /// The server that answered the join.
    pub via: OwnedServerName,
}

/// Whether the members of a room are still to be fetched.
///
/// # Errors
/// [`StoreError`].
pub fn is_partial(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    let partial = read.one("SELECT partial FROM rooms WHERE nid = ?1", params![room], |row| row.get::<bool>(0))?;
    Ok(partial.unwrap_or(false))
}

/// What is to be fetched of a room, if anything is.
///
/// # Errors
/// [`StoreError`].
pub fn of(read: &dyn Read, room: RoomNid) -> Result<Option<PartialRoom>, StoreError> {
    let found = read.one("SELECT join_event, via FROM partial_joins WHERE room = ?1", params![room], |row| {
        Ok((row.get::<EventNid>(0)?, row.get::<i64>(1)?))
    })?;
    let Some((join, via)) = found else { return Ok(None) };
    Ok(Some(PartialRoom { join, via: ids::server_name(read, via)? }))
}

/// All rooms of which something is to be fetched.
///
/// # Errors
/// [`StoreError`].
pub fn rooms(read: &dyn Read) -> Result<Vec<RoomNid>, StoreError> {
    read.all("SELECT room FROM partial_joins ORDER BY room", params![], |row| row.get(0))
}

/// Notes that a room's members are to be fetched.
pub(crate) fn begin(tx: &WriteTx<'_>, room: RoomNid, join: EventNid, via: &ServerName) -> Result<(), StoreError> {
    let via = ids::intern_server(tx, via.as_str())?;
    tx.execute(
        "INSERT INTO partial_joins (room, join_event, via) VALUES (?1, ?2, ?3) \
         ON CONFLICT (room) DO UPDATE SET join_event = excluded.join_event, via = excluded.via",
        params![room, join, via],
    )?;
    tx.execute("UPDATE rooms SET partial = 1 WHERE nid = ?1", params![room])?;
    Ok(())
}

/// How a room stands to a join whose answer left out members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the members are still to be fetched.
    pub partial: bool,
    /// The position at which members that had been left out were filled in last; 0: none ever were.
    pub filled: i64,
}

/// Whether and when a room's members were fetched.
///
/// # Errors
/// [`StoreError`].
pub fn standing(read: &dyn Read, room: RoomNid) -> Result<Standing, StoreError> {
    let found = read.one("SELECT partial, filled FROM rooms WHERE nid = ?1", params![room], |row| {
        Ok(Standing { partial: row.get(0)?, filled: row.get(1)? })
    })?;
    Ok(found.unwrap_or(Standing { partial: false, filled: 0 }))
}

/// The members are here, from this position on.
pub(crate) fn filled(tx: &WriteTx<'_>, room: RoomNid, position: i64) -> Result<(), StoreError> {
    end(tx, room)?;
    tx.execute("UPDATE rooms SET filled = ?2 WHERE nid = ?1", params![room, position])?;
    Ok(())
}

/// Nothing is to be fetched any more.
fn end(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM partial_joins WHERE room = ?1", params![room])?;
    tx.execute("UPDATE rooms SET partial = 0 WHERE nid = ?1", params![room])?;
    Ok(())
}

/// We have left before the members came: nothing is to be fetched any more, and which servers are in the room is of no interest
/// beyond what is known of its members. Answers whether there was anything to give up.
pub(crate) fn give_up(tx: &WriteTx<'_>, room: RoomNid) -> Result<bool, StoreError> {
    if !is_partial(tx, room)? {
        return Ok(false);
    }
    end(tx, room)?;
    room_servers::close_empty(tx, room, tx.next_position())?;
    Ok(true)
}
