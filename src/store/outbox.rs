//! Statements on what is owed to other servers and cannot be derived: to-device messages, and events for servers that are
//! not in the room. A place in the server-wide order numbers each row, so a prefix of a server's rows is «up to a place».

use ruma::ServerName;

use super::{
    Read, StoreError, WriteTx,
    ids::{self, EventNid},
};
use crate::params;

/// Writes the content of an `m.direct_to_device` EDU for a server; answers its place. Whoever writes it wakes the sender
/// after the commit: `peers::sender::Sender::to_device` does both.
pub fn put_to_device(
    tx: &WriteTx<'_>,
    server: &ServerName,
    message_id: &str,
    content: &str,
) -> Result<i64, StoreError> {
    let server = ids::intern_server(tx, server.as_str())?;
    let position = tx.next_position();
    tx.execute(
        "INSERT INTO outbox_to_device (position, server, message_id, content) VALUES (?1, ?2, ?3, ?4)",
        params![position, server, message_id, content],
    )?;
    Ok(position)
}

/// Contents of the oldest `limit` to-device EDUs for a server after a place, each with its place.
pub fn to_device(read: &dyn Read, server: i64, after: i64, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
    read.all(
        "SELECT position, content FROM outbox_to_device WHERE server = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
        params![server, after, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Owes an event to a server that is not in its room; answers the place of the row.
pub fn put_event(tx: &WriteTx<'_>, server: &ServerName, event: EventNid) -> Result<i64, StoreError> {
    let server = ids::intern_server(tx, server.as_str())?;
    let position = tx.next_position();
    tx.execute(
        "INSERT INTO outbox_events (position, server, event) VALUES (?1, ?2, ?3)",
        params![position, server, event],
    )?;
    Ok(position)
}

/// The oldest `limit` events owed to a server outside their rooms after a place: (place, event, when it came).
pub fn events(read: &dyn Read, server: i64, after: i64, limit: usize) -> Result<Vec<(i64, EventNid, i64)>, StoreError> {
    read.all(
        "SELECT o.position, o.event, e.received_ts FROM outbox_events o JOIN events e ON e.nid = o.event \
         WHERE o.server = ?1 AND o.position > ?2 ORDER BY o.position LIMIT ?3",
        params![server, after, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Deletes a server's to-device messages up to a place, and its events up to another.
pub fn delete_acknowledged(tx: &WriteTx<'_>, server: i64, to_device: i64, events: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM outbox_to_device WHERE server = ?1 AND position <= ?2", params![server, to_device])?;
    tx.execute("DELETE FROM outbox_events WHERE server = ?1 AND position <= ?2", params![server, events])?;
    Ok(())
}

/// Servers for which something is here.
pub fn servers(read: &dyn Read) -> Result<Vec<i64>, StoreError> {
    read.all("SELECT server FROM outbox_to_device UNION SELECT server FROM outbox_events", params![], |row| row.get(0))
}

/// How many rows there are: (to-device messages, events).
pub fn counts(read: &dyn Read, server: i64) -> Result<(i64, i64), StoreError> {
    let counted = read.one(
        "SELECT (SELECT COUNT(*) FROM outbox_to_device WHERE server = ?1), \
         (SELECT COUNT(*) FROM outbox_events WHERE server = ?1)",
        params![server],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(counted.unwrap_or_default())
}

/// Drops what waits for servers that have failed since before `before_ts` without a break; answers how many rows.
pub fn drop_for_dead(tx: &WriteTx<'_>, before_ts: i64) -> Result<usize, StoreError> {
    let to_device = tx.execute(
        "DELETE FROM outbox_to_device WHERE server IN (SELECT server FROM destinations WHERE failing_since_ts < ?1)",
        params![before_ts],
    )?;
    let events = tx.execute(
        "DELETE FROM outbox_events WHERE server IN (SELECT server FROM destinations WHERE failing_since_ts < ?1)",
        params![before_ts],
    )?;
    Ok(to_device + events)
}
