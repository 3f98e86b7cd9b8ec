//! Statements on groups: whose they are, their members by number, timed mutes, requests, dissolutions.

use super::{
    Read, Row, StoreError, WriteTx,
    accounts::AccountKind,
    ids::{RoomNid, UserNid},
    members,
    members::{MemberRow, Membership},
};
use crate::params;

/// The service user of this server, if it was made.
pub fn service_user(read: &dyn Read) -> Result<Option<UserNid>, StoreError> {
    read.one(
        "SELECT user FROM accounts WHERE kind = ?1 ORDER BY user LIMIT 1",
        params![AccountKind::Service.number()],
        |row| row.get(0),
    )
}

/// Groups that a service user made, by number, after this one.
pub fn of_service(read: &dyn Read, service: UserNid, after: RoomNid, limit: usize) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT nid FROM rooms WHERE service = ?1 AND nid > ?2 ORDER BY nid LIMIT ?3",
        params![service, after, limit as i64],
        |row| row.get(0),
    )
}

/// Groups that other servers made, by number, after this one, each with the position of the newest change of its state.
pub fn of_others(
    read: &dyn Read,
    service: UserNid,
    after: RoomNid,
    limit: usize,
) -> Result<Vec<(RoomNid, i64)>, StoreError> {
    read.all(
        "SELECT r.nid, h.state_position FROM rooms r JOIN room_heads h ON h.room = r.nid \
         WHERE r.service IS NOT NULL AND r.service <> ?1 AND r.nid > ?2 ORDER BY r.nid LIMIT ?3",
        params![service, after, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Whether a user of this one's server has sent one of the newest events of a room, of so many, and since when it came.
pub fn heard_from_server_of(
    read: &dyn Read,
    room: RoomNid,
    user: UserNid,
    since_ts: i64,
    newest: usize,
) -> Result<bool, StoreError> {
    let heard = read.one(
        "SELECT 1 FROM (SELECT sender, received_ts FROM events WHERE room = ?1 AND position > 0 \
         ORDER BY position DESC LIMIT ?4) e JOIN users u ON u.nid = e.sender \
         WHERE e.received_ts >= ?3 AND u.server = (SELECT server FROM users WHERE nid = ?2) LIMIT 1",
        params![room, user, since_ts, newest as i64],
        |_| Ok(()),
    )?;
    Ok(heard.is_some())
}

/// Groups that a user is in, by number, after this one.
pub fn of_member(read: &dyn Read, user: UserNid, after: RoomNid, limit: usize) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT m.room FROM memberships m JOIN rooms r ON r.nid = m.room \
         WHERE m.user = ?1 AND m.room > ?2 AND m.membership = 1 AND r.service IS NOT NULL ORDER BY m.room LIMIT ?3",
        params![user, after, limit as i64],
        |row| row.get(0),
    )
}

/// Members with this membership by number, after this one.
pub fn members_after(
    read: &dyn Read,
    room: RoomNid,
    membership: Membership,
    after: UserNid,
    limit: usize,
) -> Result<Vec<MemberRow>, StoreError> {
    read.all(
        "SELECT user, room, membership, event, position, since, forgotten FROM memberships \
         WHERE room = ?1 AND membership = ?2 AND user > ?3 ORDER BY user LIMIT ?4",
        params![room, membership as i64, after, limit as i64],
        members::row,
    )
}

/// The joined members who joined first. A scan of the room's members.
pub fn earliest_members(read: &dyn Read, room: RoomNid, limit: usize) -> Result<Vec<MemberRow>, StoreError> {
    read.all(
        "SELECT user, room, membership, event, position, since, forgotten FROM memberships \
         WHERE room = ?1 AND membership = 1 ORDER BY since, user LIMIT ?2",
        params![room, limit as i64],
        members::row,
    )
}

/// When the event at a position of a room was made, in milliseconds, if there is one.
pub fn time_at(read: &dyn Read, room: RoomNid, position: i64) -> Result<Option<i64>, StoreError> {
    read.one("SELECT origin_ts FROM events WHERE nid = ?1 AND room = ?2", params![position, room], |row| row.get(0))
}

/// Notes when a mute ends.
pub fn put_mute(tx: &WriteTx<'_>, room: RoomNid, user: UserNid, until_ts: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO group_mutes (room, user, until_ts) VALUES (?1, ?2, ?3) \
         ON CONFLICT (room, user) DO UPDATE SET until_ts = excluded.until_ts",
        params![room, user, until_ts],
    )?;
    Ok(())
}

/// Forgets a mute.
pub fn delete_mute(tx: &WriteTx<'_>, room: RoomNid, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_mutes WHERE room = ?1 AND user = ?2", params![room, user])?;
    Ok(())
}

/// Forgets a room's mutes.
pub fn delete_mutes(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_mutes WHERE room = ?1", params![room])?;
    Ok(())
}

/// The timed mutes of a room: (user, until).
pub fn mutes(read: &dyn Read, room: RoomNid) -> Result<Vec<(UserNid, i64)>, StoreError> {
    read.all("SELECT user, until_ts FROM group_mutes WHERE room = ?1", params![room], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Rooms with mutes that ended by `now_ms`.
pub fn rooms_with_ended_mutes(read: &dyn Read, now_ms: i64, limit: usize) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT DISTINCT room FROM group_mutes WHERE until_ts <= ?1 LIMIT ?2",
        params![now_ms, limit as i64],
        |row| row.get(0),
    )
}

/// When the next mute ends.
pub fn next_mute_end(read: &dyn Read) -> Result<Option<i64>, StoreError> {
    read.one("SELECT MIN(until_ts) FROM group_mutes", params![], |row| row.get::<Option<i64>>(0)).map(Option::flatten)
}

/// What became of a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Nothing yet.
    Pending = 0,
    /// It was approved.
    Approved = 1,
    /// It was rejected.
    Rejected = -1,
}

/// A request to join, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Who is to join.
    pub user: UserNid,
    /// The member who invites them; none: they asked themselves.
    pub inviter: Option<UserNid>,
    /// What was said with it.
    pub text: String,
    /// 1 admin, 2 invitation, 3 search, 4 QR code.
    pub source: i64,
    /// When, in milliseconds.
    pub asked_ts: i64,
    /// What became of it.
    pub handled: Handled,
    /// Who answered it.
    pub handler: Option<UserNid>,
    /// When it was answered, in milliseconds.
    pub handled_ts: Option<i64>,
    /// What was said with the answer.
    pub answer: String,
}

fn request(row: &Row<'_>) -> Result<RequestRow, StoreError> {
    Ok(RequestRow {
        user: row.get(0)?,
        inviter: row.get(1)?,
        text: row.get(2)?,
        source: row.get(3)?,
        asked_ts: row.get(4)?,
        handled: match row.get::<i64>(5)? {
            0 => Handled::Pending,
            1 => Handled::Approved,
            _ => Handled::Rejected,
        },
        handler: row.get(6)?,
        handled_ts: row.get(7)?,
        answer: row.get(8)?,
    })
}

/// A user's newest request that has a row.
pub fn request_of(read: &dyn Read, room: RoomNid, user: UserNid) -> Result<Option<RequestRow>, StoreError> {
    read.one(
        "SELECT user, inviter, text, source, asked_ts, handled, handler, handled_ts, answer FROM group_requests \
         WHERE room = ?1 AND user = ?2",
        params![room, user],
        request,
    )
}

/// Requests of a room in this state, by the user's number, after this one.
pub fn requests_after(
    read: &dyn Read,
    room: RoomNid,
    handled: Handled,
    after: UserNid,
    limit: usize,
) -> Result<Vec<RequestRow>, StoreError> {
    read.all(
        "SELECT user, inviter, text, source, asked_ts, handled, handler, handled_ts, answer FROM group_requests \
         WHERE room = ?1 AND handled = ?2 AND user > ?3 ORDER BY user LIMIT ?4",
        params![room, handled as i64, after, limit as i64],
        request,
    )
}

/// How many requests of a room are in this state.
pub fn count_requests(read: &dyn Read, room: RoomNid, handled: Handled) -> Result<i64, StoreError> {
    let count = read.one(
        "SELECT COUNT(*) FROM group_requests WHERE room = ?1 AND handled = ?2",
        params![room, handled as i64],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or(0))
}

/// Writes a user's newest request.
pub fn put_request(tx: &WriteTx<'_>, room: RoomNid, row: &RequestRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO group_requests (room, user, inviter, text, source, asked_ts, handled, handler, handled_ts, answer) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (room, user) DO UPDATE SET \
         inviter = excluded.inviter, text = excluded.text, source = excluded.source, asked_ts = excluded.asked_ts, \
         handled = excluded.handled, handler = excluded.handler, handled_ts = excluded.handled_ts, \
         answer = excluded.answer",
        params![
            room,
            row.user,
            row.inviter,
            row.text.as_str(),
            row.source,
            row.asked_ts,
            row.handled as i64,
            row.handler,
            row.handled_ts,
            row.answer.as_str()
        ],
    )?;
    Ok(())
}

/// Forgets the answered requests of a room beyond the newest `keep`.
pub fn trim_requests(tx: &WriteTx<'_>, room: RoomNid, keep: usize) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM group_requests WHERE room = ?1 AND handled <> 0 AND handled_ts < \
         (SELECT handled_ts FROM group_requests WHERE room = ?1 AND handled <> 0 \
         ORDER BY handled_ts DESC LIMIT 1 OFFSET ?2)",
        params![room, keep as i64 - 1],
    )?;
    Ok(())
}

/// Forgets a room's requests.
pub fn delete_requests(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_requests WHERE room = ?1", params![room])?;
    Ok(())
}

/// A user who is still to be invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationRow {
    /// The group.
    pub room: RoomNid,
    /// Whom.
    pub user: UserNid,
    /// Who brings them in.
    pub inviter: UserNid,
}

/// Notes that a user is to be invited.
pub fn put_invitation(tx: &WriteTx<'_>, row: &InvitationRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO group_invitations (room, user, inviter) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![row.room, row.user, row.inviter],
    )?;
    Ok(())
}

/// Forgets that a user is to be invited: they are, or cannot be.
pub fn delete_invitation(tx: &WriteTx<'_>, room: RoomNid, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_invitations WHERE room = ?1 AND user = ?2", params![room, user])?;
    Ok(())
}

/// Forgets whom a room's members wanted to invite.
pub fn delete_invitations_of(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_invitations WHERE room = ?1", params![room])?;
    Ok(())
}

/// Users who are still to be invited, by group and user, after this one.
pub fn invitations(read: &dyn Read, after: (RoomNid, UserNid), limit: usize) -> Result<Vec<InvitationRow>, StoreError> {
    read.all(
        "SELECT room, user, inviter FROM group_invitations WHERE (room, user) > (?1, ?2) ORDER BY room, user LIMIT ?3",
        params![after.0, after.1, limit as i64],
        |row| Ok(InvitationRow { room: row.get(0)?, user: row.get(1)?, inviter: row.get(2)? }),
    )
}

/// Notes that a room is being dissolved.
pub fn start_dissolution(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("INSERT INTO group_dissolutions (room) VALUES (?1) ON CONFLICT DO NOTHING", params![room])?;
    Ok(())
}

/// Notes that a room was dissolved.
pub fn end_dissolution(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_dissolutions WHERE room = ?1", params![room])?;
    Ok(())
}

/// Rooms that are being dissolved.
pub fn dissolutions(read: &dyn Read) -> Result<Vec<RoomNid>, StoreError> {
    read.all("SELECT room FROM group_dissolutions", params![], |row| row.get(0))
}
