//! What is written of events.

use ruma::EventId;

use super::{Running, Standing, StateRef};
use crate::{
    params,
    store::{
        Param, StoreError, WriteTx, event_id,
        ids::{DeviceNid, EventNid, RoomNid, UserNid},
    },
};

/// Everything that is known of a new event when it is written.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Its number: a place of the server-wide order, as positions are.
    pub nid: EventNid,
    /// Its id.
    pub event_id: &'a EventId,
    /// Its room.
    pub room: RoomNid,
    /// Its place; None for outliers.
    pub position: Option<i64>,
    /// Its depth.
    pub depth: i64,
    /// Number of its type.
    pub kind: i64,
    /// Number of its (type, state key).
    pub state_key: Option<i64>,
    /// Who sent it.
    pub sender: UserNid,
    /// `origin_server_ts`.
    pub origin_ts: i64,
    /// When it came here.
    pub received_ts: i64,
    /// Bits of [`super::flag`].
    pub flags: i64,
    /// State before it.
    pub before: Option<StateRef>,
    /// State after it.
    pub after: Option<StateRef>,
    /// (number of the relation type, id of the target).
    pub relation: Option<(i64, &'a EventId)>,
    /// Root of its thread.
    pub thread: Option<EventNid>,
    /// Running numbers up to and with it.
    pub running: Running,
    /// Device and transaction id.
    pub transaction: Option<(DeviceNid, &'a str)>,
    /// Canonical JSON without `unsigned`.
    pub json: &'a str,
}

/// What an event has from its place on, in the order in which both statements below name it.
fn placed<'e>(event: &NewEvent<'_>, target: Option<&'e Vec<u8>>) -> [Param<'e>; 13] {
    [
        event.position.into(),
        event.received_ts.into(),
        event.flags.into(),
        event.before.map(|state| state.line).into(),
        event.before.map(|state| state.epoch).into(),
        event.after.map(|state| state.line).into(),
        event.after.map(|state| state.epoch).into(),
        event.relation.map(|(kind, _)| kind).into(),
        target.into(),
        event.thread.map_or(0, |root| root.0).into(),
        event.running.countable.into(),
        event.running.notify.into(),
        event.running.highlight.into(),
    ]
}

/// Writes a new event and its body.
pub fn insert(tx: &WriteTx<'_>, event: &NewEvent<'_>) -> Result<(), StoreError> {
    let target = event.relation.map(|(_, id)| event_id::encode(id));
    let id = event_id::encode(event.event_id);
    let identity = params![
        event.nid,
        &id,
        event.room,
        event.depth,
        event.kind,
        event.state_key,
        event.sender,
        event.origin_ts,
        event.transaction.map(|(device, _)| device),
        event.transaction.map(|(_, id)| id),
    ];
    tx.execute(
        "INSERT INTO events (nid, event_id, room, depth, type, state_key, sender, origin_ts, device, txn_id, \
         position, received_ts, flags, before_line, before_epoch, after_line, after_epoch, relation_type, \
         relation_target, thread, countable, notify, highlight) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
         ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
        &[identity.as_slice(), &placed(event, target.as_ref())].concat(),
    )?;
    tx.execute("INSERT INTO event_json (event, json) VALUES (?1, ?2)", params![event.nid, event.json])?;
    Ok(())
}

/// Gives an outlier its place: what is known of it now that its previous events are. Its number and its body stay.
pub fn place(tx: &WriteTx<'_>, event: &NewEvent<'_>) -> Result<(), StoreError> {
    let target = event.relation.map(|(_, id)| event_id::encode(id));
    tx.execute(
        "UPDATE events SET position = ?2, received_ts = ?3, flags = ?4, before_line = ?5, before_epoch = ?6, \
         after_line = ?7, after_epoch = ?8, relation_type = ?9, relation_target = ?10, thread = ?11, countable = ?12, \
         notify = ?13, highlight = ?14 WHERE nid = ?1",
        &[params![event.nid].as_slice(), &placed(event, target.as_ref())].concat(),
    )?;
    Ok(())
}

/// Gives an event that was judged again its verdict and its states.
pub(crate) fn judged_again(
    tx: &WriteTx<'_>,
    event: EventNid,
    flags: i64,
    (before, after): (StateRef, StateRef),
    running: Running,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE events SET flags = ?2, before_line = ?3, before_epoch = ?4, after_line = ?5, after_epoch = ?6, \
         countable = ?7, notify = ?8, highlight = ?9 WHERE nid = ?1",
        params![
            event,
            flags,
            before.line,
            before.epoch,
            after.line,
            after.epoch,
            running.countable,
            running.notify,
            running.highlight,
        ],
    )?;
    Ok(())
}

/// Changes the flags of an event.
pub(crate) fn set_flags(tx: &WriteTx<'_>, event: EventNid, flags: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE events SET flags = ?2 WHERE nid = ?1", params![event, flags])?;
    Ok(())
}

/// Takes a loose outlier away, which is to be written again behind its auth events under the number `new`.
pub fn replace_loose(tx: &WriteTx<'_>, old: &Standing, new: EventNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM events WHERE nid = ?1", params![old.nid])?;
    tx.execute("DELETE FROM event_json WHERE event = ?1", params![old.nid])?;
    // It is a member event: no other comes alone.
    let user = old.state_key.map(|key| -key);
    tx.execute(
        "UPDATE memberships SET event = ?2 WHERE user = ?3 AND room = ?4 AND event = ?1",
        params![old.nid, new, user, old.room],
    )?;
    Ok(())
}

/// Remembers why an event was rejected or soft-failed, in place of what was remembered of it before.
pub fn put_reason(tx: &WriteTx<'_>, event: EventNid, reason: Option<&str>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM rejections WHERE event = ?1", params![event])?;
    if let Some(reason) = reason {
        tx.execute("INSERT INTO rejections (event, reason) VALUES (?1, ?2)", params![event, reason])?;
    }
    Ok(())
}

/// Takes the content of a redacted event: its body becomes `json`, its redacted form.
pub fn redact(tx: &WriteTx<'_>, event: EventNid, by: EventNid, json: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE events SET redacted_by = ?2 WHERE nid = ?1", params![event, by])?;
    tx.execute("UPDATE event_json SET json = ?2 WHERE event = ?1", params![event, json])?;
    Ok(())
}

/// Remembers which event a request made.
pub fn put_transaction(
    tx: &WriteTx<'_>,
    device: DeviceNid,
    key: &[u8],
    event: EventNid,
    now_ms: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO transactions (device, key, event, created_ts) VALUES (?1, ?2, ?3, ?4)",
        params![device, key, event, now_ms],
    )?;
    Ok(())
}
