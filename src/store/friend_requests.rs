//! Statements on friend requests: one row a direction of two users.

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Pending,
    /// The two became friends.
    Accepted,
    /// The addressee wanted none of it.
    Rejected,
}

impl Answer {
    fn number(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Accepted => 1,
            Self::Rejected => 2,
        }
    }

    fn from_number(number: i64) -> Result<Self, StoreError> {
        Ok(match number {
            0 => Self::Pending,
            1 => Self::Accepted,
            2 => Self::Rejected,
            other => return Err(StoreError::Damaged(format!("answer {other}"))),
        })
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FriendRequest {
    /// Who asks.
    pub requester: UserNid,
    /// Who is asked.
    pub addressee: UserNid,
    /// The direct room.
    pub room: RoomNid,
    /// What has become of it.
    pub answer: Answer,
    /// What the requester says.
    pub text: String,
    /// When it was made, in milliseconds.
    pub created_ts: i64,
    /// Place of the newest change.
    pub position: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT requester, addressee, room, state, text, created_ts, position FROM friend_requests ", $rest)
    };
}

/// The request of a row whose columns are those of `select!`.
fn row(row: &Row<'_>) -> Result<FriendRequest, StoreError> {
    Ok(FriendRequest {
        requester: row.get(0)?,
        addressee: row.get(1)?,
        room: row.get(2)?,
        answer: Answer::from_number(row.get(3)?)?,
        text: row.get(4)?,
        created_ts: row.get(5)?,
        position: row.get(6)?,
    })
}

/// The request of one user to another.
pub fn get(read: &dyn Read, requester: UserNid, addressee: UserNid) -> Result<Option<FriendRequest>, StoreError> {
    read.one(select!("WHERE requester = ?1 AND addressee = ?2"), params![requester, addressee], row)
}

/// The pending requests that belong to a room.
pub fn pending_in(read: &dyn Read, room: RoomNid) -> Result<Vec<FriendRequest>, StoreError> {
    read.all(select!("WHERE room = ?1 AND state = 0"), params![room], row)
}

/// Pending requests to a user, newest first, from below a position.
pub fn incoming(read: &dyn Read, addressee: UserNid, below: i64, limit: i64) -> Result<Vec<FriendRequest>, StoreError> {
    read.all(
        select!("WHERE addressee = ?1 AND state = 0 AND position < ?2 ORDER BY position DESC LIMIT ?3"),
        params![addressee, below, limit],
        row,
    )
}

/// Pending requests by a user, newest first, from below a position.
pub fn outgoing(read: &dyn Read, requester: UserNid, below: i64, limit: i64) -> Result<Vec<FriendRequest>, StoreError> {
    read.all(
        select!("WHERE requester = ?1 AND state = 0 AND position < ?2 ORDER BY position DESC LIMIT ?3"),
        params![requester, below, limit],
        row,
    )
}

/// Writes a request, in the place of an earlier one of the same direction.
pub fn put(tx: &WriteTx<'_>, request: &FriendRequest) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO friend_requests (requester, addressee, room, state, text, created_ts, position) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (requester, addressee) DO UPDATE SET room = excluded.room, \
         state = excluded.state, text = excluded.text, created_ts = excluded.created_ts, position = excluded.position",
        params![
            request.requester,
            request.addressee,
            request.room,
            request.answer.number(),
            &request.text,
            request.created_ts,
            request.position
        ],
    )?;
    Ok(())
}

/// Answers a request that is pending. Whether there was one.
pub fn answer(
    tx: &WriteTx<'_>,
    requester: UserNid,
    addressee: UserNid,
    answer: Answer,
    position: i64,
) -> Result<bool, StoreError> {
    let answered = tx.execute(
        "UPDATE friend_requests SET state = ?3, position = ?4 WHERE requester = ?1 AND addressee = ?2 AND state = 0",
        params![requester, addressee, answer.number(), position],
    )?;
    Ok(answered > 0)
}

/// Takes a request away.
pub fn delete(tx: &WriteTx<'_>, requester: UserNid, addressee: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM friend_requests WHERE requester = ?1 AND addressee = ?2", params![requester, addressee])?;
    Ok(())
}

/// Pairs with a pending request in each direction: the smaller number first.
pub fn crossing(read: &dyn Read) -> Result<Vec<(UserNid, UserNid)>, StoreError> {
    read.all(
        "SELECT a.requester, a.addressee FROM friend_requests a \
         JOIN friend_requests b ON b.requester = a.addressee AND b.addressee = a.requester \
         WHERE a.state = 0 AND b.state = 0 AND a.requester < a.addressee",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Accepted requests whose addressee is still invited, and rejected ones whose requester waits alone, though the two met in the
/// room of the request that crossed it: the room, the requester, the addressee.
pub fn left_over(read: &dyn Read, limit: u32) -> Result<Vec<(RoomNid, UserNid, UserNid)>, StoreError> {
    // Memberships: 1 joined, 2 invited, 4 left (`Membership::from_number`).
    read.all(
        "SELECT a.room, a.requester, a.addressee FROM friend_requests a \
         JOIN friend_requests b ON b.requester = a.addressee AND b.addressee = a.requester \
         JOIN memberships invited ON invited.user = a.addressee AND invited.room = a.room \
         JOIN memberships met ON met.user = a.addressee AND met.room = b.room \
         LEFT JOIN memberships own ON own.user = a.requester AND own.room = a.room \
         WHERE b.state = 1 AND a.room <> b.room AND met.membership = 1 \
         AND ((a.state = 1 AND invited.membership = 2) OR (a.state = 2 AND invited.membership = 4 AND own.membership = 1)) \
         LIMIT ?1",
        params![i64::from(limit)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}
