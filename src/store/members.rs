//! Who is in which room.

use ruma::events::room::member::MembershipState;

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// A membership as the `memberships` table numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// `join`.
    Join = 1,
    /// `invite`.
    Invite = 2,
    /// `knock`.
    Knock = 3,
    /// `leave`, or no membership any more.
    Leave = 4,
    /// `ban`.
    Ban = 5,
}

impl Membership {
    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        Ok(match number {
            1 => Self::Join,
            2 => Self::Invite,
            3 => Self::Knock,
            4 => Self::Leave,
            5 => Self::Ban,
            other => return Err(StoreError::Damaged(format!("membership {other}"))),
        })
    }

    /// The value of `membership` in a member event; an unknown one counts as `leave`.
    pub fn from_content(value: &MembershipState) -> Self {
        match value {
            MembershipState::Join => Self::Join,
            MembershipState::Invite => Self::Invite,
            MembershipState::Knock => Self::Knock,
            MembershipState::Ban => Self::Ban,
            _ => Self::Leave,
        }
    }

    /// The value as events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

/// A user's current membership of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Who.
    pub user: UserNid,
    /// Where.
    pub room: RoomNid,
    /// What.
    pub membership: Membership,
    /// The member event.
    pub event: EventNid,
    /// Position of the newest change that the user's clients must hear of.
    pub position: i64,
    /// Position of the transition into the present membership.
    pub since: i64,
    /// Whether the user forgot the room.
    pub forgotten: bool,
}

/// A statement that finds memberships, whose rows [`row`] reads.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT user, room, membership, event, position, since, forgotten FROM memberships ", $rest)
    };
}

/// The membership of a row whose columns are those of `select!`.
pub(super) fn row(row: &Row<'_>) -> Result<MemberRow, StoreError> {
    Ok(MemberRow {
        user: row.get(0)?,
        room: row.get(1)?,
        membership: Membership::from_number(row.get(2)?)?,
        event: row.get(3)?,
        position: row.get(4)?,
        since: row.get(5)?,
        forgotten: row.get(6)?,
    })
}

/// A user's membership of a room; None if they never had one.
pub fn of(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Option<MemberRow>, StoreError> {
    read.one(select!("WHERE user = ?1 AND room = ?2"), params![user, room], row)
}

/// All memberships of a user, forgotten ones included.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<MemberRow>, StoreError> {
    read.all(select!("WHERE user = ?1"), params![user], row)
}

/// Members of a room with this membership.
pub fn of_room(read: &dyn Read, room: RoomNid, membership: Membership) -> Result<Vec<MemberRow>, StoreError> {
    read.all(select!("WHERE room = ?1 AND membership = ?2"), params![room, membership as i64], row)
}

/// All memberships of a room, whatever they are.
pub(crate) fn all_of_room(read: &dyn Read, room: RoomNid) -> Result<Vec<MemberRow>, StoreError> {
    read.all(select!("WHERE room = ?1"), params![room], row)
}

/// Joined members of a room that have an account here.
pub fn local_joined(read: &dyn Read, room: RoomNid) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT m.user FROM memberships m JOIN accounts a ON a.user = m.user WHERE m.room = ?1 AND m.membership = 1",
        params![room],
        |row| row.get(0),
    )
}

/// Memberships in a room of a server's users; `server` is its number.
pub fn of_server(read: &dyn Read, room: RoomNid, server: i64) -> Result<Vec<MemberRow>, StoreError> {
    read.all(
        "SELECT m.user, m.room, m.membership, m.event, m.position, m.since, m.forgotten FROM memberships m \
         JOIN users u ON u.nid = m.user WHERE m.room = ?1 AND u.server = ?2",
        params![room, server],
        row,
    )
}

/// Writes a membership.
pub fn put(tx: &WriteTx<'_>, member: &MemberRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO memberships (user, room, membership, event, position, since, forgotten) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (user, room) DO UPDATE SET membership = excluded.membership, \
         event = excluded.event, position = excluded.position, since = excluded.since, forgotten = excluded.forgotten",
        params![
            member.user,
            member.room,
            member.membership as i64,
            member.event,
            member.position,
            member.since,
            member.forgotten
        ],
    )?;
    Ok(())
}

/// Takes a membership away, where a resolution took the member event out of the state.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM memberships WHERE user = ?1 AND room = ?2", params![user, room])?;
    Ok(())
}

/// Marks a room that the user left as forgotten; `position` is where their other clients hear of it.
pub fn forget(tx: &WriteTx<'_>, user: UserNid, room: RoomNid, position: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE memberships SET forgotten = 1, position = ?3 WHERE user = ?1 AND room = ?2",
        params![user, room, position],
    )?;
    Ok(())
}

/// Joined guests of this server.
pub fn local_guests(read: &dyn Read, room: RoomNid) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT m.user FROM memberships m JOIN accounts a ON a.user = m.user \
         WHERE m.room = ?1 AND m.membership = 1 AND a.kind = 1",
        params![room],
        |row| row.get(0),
    )
}
