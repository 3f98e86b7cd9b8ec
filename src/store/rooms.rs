//! Rooms, what changes with each of their batches, their extremities.

use std::sync::Arc;

use ruma::RoomId;

pub use super::room_servers::{Stretch, rooms_of_server, server_in_room, servers, stretches};
use super::{
    Read, StoreError, WriteTx, event_id,
    events::{EventRow, Running, flag},
    ids::{self, EventNid, RoomKey, RoomNid},
};
use crate::params;

/// What changes with every batch of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomHeadRow {
    /// Position of the newest event that clients may see.
    pub last_position: i64,
    /// Position of the newest of them that counts as unread, redacted or not; 0: none.
    pub message_position: i64,
    /// Position of the newest change of the current state.
    pub state_position: i64,
    /// Hash of the current state.
    pub state_hash: u128,
    /// Joined members.
    pub joined: i64,
    /// Invited members.
    pub invited: i64,
    /// Joined members with an account here.
    pub local_joined: i64,
}

impl RoomHeadRow {
    /// An event with these flags, one that clients may see, took its place at the end.
    pub fn took(&mut self, position: i64, flags: i64) {
        self.last_position = position;
        if flags & flag::COUNTABLE != 0 {
            self.message_position = position;
        }
    }
}

/// The head of a room. `Damaged` if there is none.
pub fn head(read: &dyn Read, room: RoomNid) -> Result<RoomHeadRow, StoreError> {
    read.one(
        "SELECT last_position, state_position, state_hash, joined, invited, local_joined, message_position \
         FROM room_heads WHERE room = ?1",
        params![room],
        |row| {
            let hash: [u8; 16] =
                row.blob(2)?.try_into().map_err(|_| StoreError::Damaged("a state hash has not 16 bytes".into()))?;
            Ok(RoomHeadRow {
                last_position: row.get(0)?,
                state_position: row.get(1)?,
                state_hash: u128::from_be_bytes(hash),
                joined: row.get(3)?,
                invited: row.get(4)?,
                local_joined: row.get(5)?,
                message_position: row.get(6)?,
            })
        },
    )?
    .ok_or_else(|| StoreError::Damaged(format!("room {} has no head", room.0)))
}

/// Writes the head of a room.
pub fn put_head(tx: &WriteTx<'_>, room: RoomNid, head: &RoomHeadRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO room_heads (room, last_position, state_position, state_hash, joined, invited, local_joined, \
         message_position) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (room) DO UPDATE SET \
         last_position = excluded.last_position, state_position = excluded.state_position, \
         state_hash = excluded.state_hash, joined = excluded.joined, invited = excluded.invited, \
         local_joined = excluded.local_joined, message_position = excluded.message_position",
        params![
            room,
            head.last_position,
            head.state_position,
            head.state_hash.to_be_bytes().as_slice(),
            head.joined,
            head.invited,
            head.local_joined,
            head.message_position
        ],
    )?;
    Ok(())
}

/// Writes a new room with its main line; answers (room, main line). The caller checked that its id is new.
pub fn create(tx: &WriteTx<'_>, room_id: &RoomId, version: &str) -> Result<(RoomNid, i64), StoreError> {
    let room = RoomNid(tx.insert(
        "INSERT INTO rooms (room_id, version, main_line) VALUES (?1, ?2, 0) RETURNING nid",
        params![room_id.as_str(), version],
    )?);
    let line = super::state::open_line(tx, room, None)?;
    tx.execute("UPDATE rooms SET main_line = ?2 WHERE nid = ?1", params![room, line])?;
    Ok((room, line))
}

/// Whether an administrator blocked a room.
pub fn is_blocked(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    Ok(read.one("SELECT blocked FROM rooms WHERE nid = ?1", params![room], |row| row.get(0))?.unwrap_or(false))
}

/// The head of a room of which nothing is here yet.
pub const UNBORN: RoomHeadRow = RoomHeadRow {
    last_position: 0,
    message_position: 0,
    state_position: 0,
    state_hash: 0,
    joined: 0,
    invited: 0,
    local_joined: 0,
};

/// What never changes about a room; made, with an empty head, if it is not here: for rooms of other servers, of which we may
/// have no more than an invitation.
pub fn ensure(tx: &WriteTx<'_>, room_id: &RoomId, version: &str) -> Result<Arc<RoomKey>, StoreError> {
    if let Some(known) = ids::room(tx, room_id)? {
        return Ok(known);
    }
    let (room, _) = create(tx, room_id, version)?;
    put_head(tx, room, &UNBORN)?;
    ids::room_by_nid(tx, room)
}

/// Gives a room of which nothing but outliers is here another version, as told by who knows better than the one who invited.
/// Outliers that were judged by the old version's rules go; an invitation stands for itself.
pub fn set_version(tx: &WriteTx<'_>, room: &Arc<RoomKey>, version: &str) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM event_json WHERE event IN (SELECT event FROM auth_edges WHERE room = ?1)",
        "DELETE FROM rejections WHERE event IN (SELECT event FROM auth_edges WHERE room = ?1)",
        "DELETE FROM events WHERE nid IN (SELECT event FROM auth_edges WHERE room = ?1)",
        "DELETE FROM auth_edges WHERE room = ?1",
    ] {
        tx.execute(sql, params![room.nid])?;
    }
    tx.execute("UPDATE rooms SET version = ?2 WHERE nid = ?1", params![room.nid, version])?;
    ids::forget_room(tx, room);
    Ok(())
}

/// The event that created a room; None while its state is not here.
pub fn create_event(read: &dyn Read, room: RoomNid) -> Result<Option<EventNid>, StoreError> {
    read.one("SELECT create_event FROM rooms WHERE nid = ?1", params![room], |row| row.get(0)).map(Option::flatten)
}

/// Notes which event created a room.
pub fn set_create_event(tx: &WriteTx<'_>, room: RoomNid, event: EventNid) -> Result<(), StoreError> {
    tx.execute("UPDATE rooms SET create_event = ?2 WHERE nid = ?1", params![room, event])?;
    Ok(())
}

/// Notes that a room is a group of LinkIM's, and which service user made it.
pub fn set_service(tx: &WriteTx<'_>, room: RoomNid, service: ids::UserNid) -> Result<(), StoreError> {
    tx.execute("UPDATE rooms SET service = ?2 WHERE nid = ?1", params![room, service])?;
    let room = ids::room_by_nid(tx, room)?;
    ids::forget_room(tx, &room);
    Ok(())
}

/// How many of a room's joined members are not shown: the service user of a group.
pub fn hidden_members(read: &dyn Read, room: &RoomKey) -> Result<i64, StoreError> {
    let Some(service) = room.service else { return Ok(0) };
    let joined = super::members::of(read, service, room.nid)?;
    Ok(i64::from(joined.is_some_and(|member| member.membership == super::members::Membership::Join)))
}

/// Newest events that nothing refers to.
pub fn extremities(read: &dyn Read, room: RoomNid) -> Result<Vec<EventNid>, StoreError> {
    read.all("SELECT event FROM forward_extremities WHERE room = ?1 ORDER BY event", params![room], |row| row.get(0))
}

/// Adds an extremity.
pub fn add_extremity(tx: &WriteTx<'_>, room: RoomNid, event: EventNid) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO forward_extremities (room, event) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![room, event],
    )?;
    Ok(())
}

/// Takes an extremity away.
pub fn remove_extremity(tx: &WriteTx<'_>, room: RoomNid, event: EventNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM forward_extremities WHERE room = ?1 AND event = ?2", params![room, event])?;
    Ok(())
}

/// Writes a prev_events edge that is not linear.
pub fn put_edge(tx: &WriteTx<'_>, room: RoomNid, prev: &ruma::EventId, event: EventNid) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO event_edges (room, prev, event) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![room, &event_id::encode(prev), event],
    )?;
    Ok(())
}

/// Numbers of a room's events that name `prev` among their prev_events by an edge that is not linear.
pub fn children(read: &dyn Read, room: RoomNid, prev: &ruma::EventId) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        "SELECT event FROM event_edges WHERE room = ?1 AND prev = ?2",
        params![room, &event_id::encode(prev)],
        |row| row.get(0),
    )
}

/// The event that follows this one linearly, if one does.
pub fn linear_child(read: &dyn Read, event: &EventRow) -> Result<Option<EventNid>, StoreError> {
    let Some(position) = event.position.filter(|position| *position > 0) else { return Ok(None) };
    let next = read.one(
        "SELECT nid, flags FROM events WHERE room = ?1 AND position > ?2 ORDER BY position LIMIT 1",
        params![event.room, position],
        |row| Ok((row.get::<EventNid>(0)?, row.get::<i64>(1)?)),
    )?;
    Ok(next.filter(|(_, flags)| flags & flag::LINEAR != 0).map(|(nid, _)| nid))
}

/// An event that is here names one that is not: backfill begins there.
pub fn put_backward(
    tx: &WriteTx<'_>,
    room: RoomNid,
    missing: &ruma::EventId,
    event: EventNid,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO backward_extremities (room, missing, event) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![room, &event_id::encode(missing), event],
    )?;
    Ok(())
}

/// What was missing came.
pub fn remove_backward(tx: &WriteTx<'_>, room: RoomNid, missing: &ruma::EventId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM backward_extremities WHERE room = ?1 AND missing = ?2",
        params![room, &event_id::encode(missing)],
    )?;
    Ok(())
}

/// Events that name `missing`, which is not here.
pub fn waiting_for(read: &dyn Read, room: RoomNid, missing: &ruma::EventId) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        "SELECT event FROM backward_extremities WHERE room = ?1 AND missing = ?2",
        params![room, &event_id::encode(missing)],
        |row| row.get(0),
    )
}

/// Where backfill begins: (the id that is not here, the event that names it), the newest by depth first, at most `limit`.
pub fn backward_extremities(
    read: &dyn Read,
    room: RoomNid,
    limit: usize,
) -> Result<Vec<(ruma::OwnedEventId, EventNid)>, StoreError> {
    read.all(
        "SELECT b.missing, b.event FROM backward_extremities b JOIN events e ON e.nid = b.event WHERE b.room = ?1 \
         ORDER BY e.depth DESC, b.event DESC LIMIT ?2",
        params![room, limit as i64],
        |row| Ok((event_id::decode(row.blob(0)?)?, row.get(1)?)),
    )
}

/// Newest event of a room by position, whatever its flags: (number, running numbers).
pub fn newest_event(read: &dyn Read, room: RoomNid) -> Result<Option<(EventNid, Running)>, StoreError> {
    read.one(
        "SELECT nid, countable, notify, highlight FROM events WHERE room = ?1 AND position > 0 \
         ORDER BY position DESC LIMIT 1",
        params![room],
        |row| {
            let running = Running { countable: row.get(1)?, notify: row.get(2)?, highlight: row.get(3)? };
            Ok((row.get(0)?, running))
        },
    )
}

/// Position of the newest event of a room that counts as unread, at or below `up_to`; 0: none.
pub fn newest_countable(read: &dyn Read, room: RoomNid, up_to: i64) -> Result<i64, StoreError> {
    // 7: flag::HIDDEN, 128: flag::COUNTABLE.
    let found = read.one(
        "SELECT position FROM events WHERE room = ?1 AND position <= ?2 AND position > 0 AND flags & 135 = 128 \
         ORDER BY position DESC LIMIT 1",
        params![room, up_to],
        |row| row.get(0),
    )?;
    Ok(found.unwrap_or(0))
}

/// Lists or unlists a room in the directory.
pub fn set_listed(tx: &WriteTx<'_>, room: RoomNid, listed: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE rooms SET listed = ?2 WHERE nid = ?1", params![room, listed])?;
    Ok(())
}

/// Whether a room is in the directory.
pub fn listed(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    Ok(read.one("SELECT listed FROM rooms WHERE nid = ?1", params![room], |row| row.get(0))?.unwrap_or(false))
}

/// Writes the auth events of a state event, as numbers.
pub fn put_auth_edges(tx: &WriteTx<'_>, room: RoomNid, event: EventNid, auth: &[EventNid]) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(auth.len() * 3);
    // The distance to the event is small where the room is; seven bits a byte, low ones first.
    for nid in auth {
        let mut rest = zigzag(event.0.wrapping_sub(nid.0));
        while rest >= 0x80 {
            bytes.push((rest as u8) | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    tx.execute(
        "INSERT INTO auth_edges (room, event, auth) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![room, event, &bytes],
    )?;
    Ok(())
}

/// All state events of a room with their auth events, in the order in which they were stored: an event comes after its auth
/// events.
pub fn auth_edges(read: &dyn Read, room: RoomNid) -> Result<Vec<(EventNid, Vec<EventNid>)>, StoreError> {
    read.all("SELECT event, auth FROM auth_edges WHERE room = ?1 ORDER BY event", params![room], |row| {
        let event: EventNid = row.get(0)?;
        Ok((event, auth_of_blob(event, row.blob(1)?)))
    })
}

/// The auth events of an event as [`put_auth_edges`] wrote them.
pub(super) fn auth_of_blob(event: EventNid, blob: &[u8]) -> Vec<EventNid> {
    let mut auth = Vec::new();
    let (mut value, mut shift) = (0u64, 0u32);
    for byte in blob {
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift += 7;
        if byte & 0x80 == 0 {
            auth.push(EventNid(event.0.wrapping_sub(unzigzag(value))));
            (value, shift) = (0, 0);
        }
    }
    auth
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Writes which room this one replaces.
pub fn set_predecessor(tx: &WriteTx<'_>, room: RoomNid, predecessor: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE rooms SET predecessor = ?2 WHERE nid = ?1", params![room, predecessor])?;
    Ok(())
}

/// Writes which room replaces this one, or that none does.
pub fn set_successor(tx: &WriteTx<'_>, room: RoomNid, successor: Option<&str>) -> Result<(), StoreError> {
    tx.execute("UPDATE rooms SET successor = ?2 WHERE nid = ?1", params![room, successor])?;
    Ok(())
}

/// The id of the room that this one replaces, as its create event says.
pub fn predecessor(read: &dyn Read, room: RoomNid) -> Result<Option<String>, StoreError> {
    read.one("SELECT predecessor FROM rooms WHERE nid = ?1", params![room], |row| row.get(0)).map(Option::flatten)
}

/// A room of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedRoom {
    /// The room.
    pub room: RoomNid,
    /// Its joined members.
    pub joined: i64,
    /// Position of the newest change of its current state.
    pub state_position: i64,
}

/// The rooms of the directory that have members, those with most of them first.
pub fn directory(read: &dyn Read) -> Result<Vec<ListedRoom>, StoreError> {
    read.all(
        "SELECT r.nid, h.joined, h.state_position FROM rooms r JOIN room_heads h ON h.room = r.nid \
         WHERE r.listed = 1 AND r.blocked = 0 AND h.joined > 0 ORDER BY h.joined DESC, r.nid",
        params![],
        |row| Ok(ListedRoom { room: row.get(0)?, joined: row.get(1)?, state_position: row.get(2)? }),
    )
}
