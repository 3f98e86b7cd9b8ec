//! Rooms of two people, and which of several counts.
//!
//! A room is direct for two users once one was invited into it with `is_direct` by the other, whoever made it, and as long as
//! nobody else is in it or invited. Which of their rooms counts follows from their memberships: one where both are in before
//! one where the other is invited, before one that somebody has left; among equals the one with the smaller create event's id,
//! which both servers of the two know. So nothing has to be kept right when somebody leaves or comes back.

use super::{
    Read, StoreError, WriteTx, events, ids,
    ids::{RoomNid, UserNid},
    members,
    members::Membership,
    rooms,
};
use crate::params;

/// Rooms of one pair that are looked at; the others, in which less is going on, do not count.
const MAX_CANDIDATES: i64 = 64;

/// A direct room of two users, from the first one's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectRoom {
    /// The room.
    pub room: RoomNid,
    /// The first one's membership.
    pub own: Option<Membership>,
    /// The second one's; none where this server is not in the room and knows of its own users alone.
    pub other: Option<Membership>,
}

/// How much is going on in a room; less is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Both are in it.
    Joined,
    /// One is invited, the other in it.
    Invited,
    /// One is in it.
    Alone,
    /// Both have left.
    Left,
}

impl DirectRoom {
    fn standing(&self) -> Standing {
        use Membership::{Invite, Join};
        match (self.own, self.other) {
            (Some(Join), Some(Join)) => Standing::Joined,
            // Of a room that we are not in, the inviter's membership is not known.
            (Some(Invite), Some(Join) | None) | (Some(Join) | None, Some(Invite)) => Standing::Invited,
            (Some(Join), _) | (_, Some(Join)) => Standing::Alone,
            _ => Standing::Left,
        }
    }
}

/// Notes that one of the two was invited by the other with `is_direct`. A room stays that of its first two, unless one of them
/// is out of it.
pub fn note(tx: &WriteTx<'_>, room: RoomNid, one: UserNid, other: UserNid) -> Result<(), StoreError> {
    if one == other {
        return Ok(());
    }
    let (low, high) = pair(one, other);
    if let Some((old_low, old_high)) = pair_of(tx, room)? {
        if (old_low, old_high) == (low, high) {
            return Ok(());
        }
        let is_in = |user| -> Result<bool, StoreError> {
            let member = members::of(tx, user, room)?.map(|member| member.membership);
            Ok(matches!(member, Some(Membership::Join | Membership::Invite)))
        };
        if is_in(old_low)? && is_in(old_high)? {
            return Ok(());
        }
    }
    tx.execute(
        "INSERT INTO direct_rooms (room, low, high) VALUES (?1, ?2, ?3) \
         ON CONFLICT (room) DO UPDATE SET low = excluded.low, high = excluded.high",
        params![room, low, high],
    )?;
    Ok(())
}

fn pair(one: UserNid, other: UserNid) -> (UserNid, UserNid) {
    if one.0 <= other.0 { (one, other) } else { (other, one) }
}

/// The two of a room, whoever else is in it.
pub fn pair_of(read: &dyn Read, room: RoomNid) -> Result<Option<(UserNid, UserNid)>, StoreError> {
    read.one("SELECT low, high FROM direct_rooms WHERE room = ?1", params![room], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The one with whom the user shares the room, if it is a direct room of theirs: one of several, perhaps.
pub fn peer(read: &dyn Read, room: RoomNid, user: UserNid) -> Result<Option<UserNid>, StoreError> {
    let pair = read.one(
        "SELECT d.low, d.high FROM direct_rooms d LEFT JOIN room_heads h ON h.room = d.room \
         WHERE d.room = ?1 AND COALESCE(h.joined + h.invited, 0) <= 2",
        params![room],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(match pair {
        Some((low, high)) if low == user => Some(high),
        Some((low, high)) if high == user => Some(low),
        _ => None,
    })
}

/// The direct rooms of two users, in no order.
pub fn all(read: &dyn Read, own: UserNid, other: UserNid) -> Result<Vec<DirectRoom>, StoreError> {
    let (low, high) = pair(own, other);
    let membership = |number: Option<i64>| number.map(Membership::from_number).transpose();
    read.all(
        "SELECT d.room, own.membership, other.membership FROM direct_rooms d \
         LEFT JOIN room_heads h ON h.room = d.room \
         LEFT JOIN memberships own ON own.room = d.room AND own.user = ?3 \
         LEFT JOIN memberships other ON other.room = d.room AND other.user = ?4 \
         WHERE d.low = ?1 AND d.high = ?2 AND COALESCE(h.joined + h.invited, 0) <= 2 \
         ORDER BY COALESCE(own.membership, 2) + COALESCE(other.membership, 2), d.room LIMIT ?5",
        params![low, high, own, other, MAX_CANDIDATES],
        |row| Ok(DirectRoom { room: row.get(0)?, own: membership(row.get(1)?)?, other: membership(row.get(2)?)? }),
    )
}

/// The direct room of two users that counts, with their memberships.
pub fn canonical(read: &dyn Read, own: UserNid, other: UserNid) -> Result<Option<DirectRoom>, StoreError> {
    let mut rooms = all(read, own, other)?;
    let Some(best) = rooms.iter().map(DirectRoom::standing).min() else { return Ok(None) };
    rooms.retain(|room| room.standing() == best);
    if rooms.len() < 2 {
        return Ok(rooms.pop());
    }
    let mut keyed = Vec::with_capacity(rooms.len());
    for room in rooms {
        keyed.push((age(read, room.room)?, room));
    }
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(keyed.into_iter().next().map(|(_, room)| room))
}

/// The direct room of two users that counts. It need not be one that they can talk in: see [`canonical`].
pub fn between(read: &dyn Read, one: UserNid, other: UserNid) -> Result<Option<RoomNid>, StoreError> {
    Ok(canonical(read, one, other)?.map(|room| room.room))
}

/// What rooms are ordered by: the create event's id without its sigil, the unknown ones last.
pub fn age(read: &dyn Read, room: RoomNid) -> Result<(bool, String), StoreError> {
    let key = ids::room_by_nid(read, room)?;
    let of_create =
        linkim_federation::rules(&key.version).is_some_and(|rules| rules.authorization.room_create_event_id_as_room_id);
    if of_create {
        return Ok((false, key.room_id.as_str().trim_start_matches('!').to_owned()));
    }
    match rooms::create_event(read, room)? {
        Some(create) => Ok((false, events::id(read, create)?.as_str().trim_start_matches('$').to_owned())),
        None => Ok((true, key.room_id.as_str().to_owned())),
    }
}

/// All direct rooms of a user: the room, the other one.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<(RoomNid, UserNid)>, StoreError> {
    read.all(
        "SELECT room, high FROM direct_rooms WHERE low = ?1 UNION ALL SELECT room, low FROM direct_rooms WHERE high = ?1",
        params![user],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

#[cfg(test)]
#[path = "direct_rooms_tests.rs"]
mod tests;
