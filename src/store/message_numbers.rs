//! Statements on the numbers of messages: an event's own, or that of a withdrawn one whose place it took.

use super::{
    Read, StoreError, WriteTx, events,
    ids::{EventNid, RoomNid},
};
use crate::params;

/// The event that a number means in a room: the one that took the place of the event with this number, or that event itself.
pub fn event(read: &dyn Read, room: RoomNid, number: i64) -> Result<Option<EventNid>, StoreError> {
    let heir = read.one("SELECT event FROM message_numbers WHERE number = ?1", params![number], |row| row.get(0))?;
    let nid = heir.unwrap_or(EventNid(number));
    Ok(events::room_of(read, nid)?.filter(|of| *of == room).map(|_| nid))
}

/// The number of an event: its own, or that whose place it took.
pub fn of_event(read: &dyn Read, event: EventNid) -> Result<i64, StoreError> {
    let taken = read.one("SELECT number FROM message_numbers WHERE event = ?1", params![event], |row| row.get(0))?;
    Ok(taken.unwrap_or(event.0))
}

/// Gives an event the number of a withdrawn one.
pub fn take(tx: &WriteTx<'_>, number: i64, event: EventNid) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO message_numbers (number, event) VALUES (?1, ?2) \
         ON CONFLICT (number) DO UPDATE SET event = excluded.event",
        params![number, event],
    )?;
    Ok(())
}
