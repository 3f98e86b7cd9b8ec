//! What belongs to no room: the file, positions, transactions, rows that belong to nothing.

use ruma::UserId;

use super::{Kind, Report};
use crate::{
    params,
    store::{Read, StoreError},
};

/// SQLite's own check.
pub(super) fn integrity(read: &dyn Read, report: &mut Report) -> Result<(), StoreError> {
    let answers = read.all("PRAGMA integrity_check", params![], |row| row.get::<String>(0))?;
    for answer in answers.iter().filter(|answer| *answer != "ok") {
        report.add(Kind::Integrity, "database", answer);
    }
    Ok(())
}

/// Where positions are kept: (name, the newest of them).
const POSITIONS: &[(&str, &str)] = &[
    ("events.position", "SELECT MAX(position) FROM events"),
    ("events.nid", "SELECT MAX(nid) FROM events"),
    ("memberships.position", "SELECT MAX(position) FROM memberships"),
    ("account_data.position", "SELECT MAX(position) FROM account_data"),
    ("profiles.position", "SELECT MAX(position) FROM profiles"),
    ("receipts.position", "SELECT MAX(position) FROM receipts"),
    ("private_receipts.position", "SELECT MAX(position) FROM private_receipts"),
    ("room_servers.from_position", "SELECT MAX(from_position) FROM room_servers"),
    ("room_state.from_epoch", "SELECT MAX(from_epoch) FROM room_state"),
];

/// Places of the server-wide order: none twice, none above the newest or below the oldest.
pub(super) fn positions(read: &dyn Read, report: &mut Report) -> Result<(), StoreError> {
    let backfill =
        read.one("SELECT backfill FROM head WHERE id = 1", params![], |row| row.get::<i64>(0))?.unwrap_or_default();
    for (name, newest) in POSITIONS {
        let found = read.one(newest, params![], |row| row.get::<Option<i64>>(0))?.flatten();
        if let Some(found) = found.filter(|found| *found > read.position()) {
            report.add(Kind::Position, name, format_args!("{found} is above the newest, {}", read.position()));
        }
    }
    let oldest = read.one("SELECT MIN(position) FROM events", params![], |row| row.get::<Option<i64>>(0))?.flatten();
    if let Some(oldest) = oldest.filter(|oldest| *oldest < backfill) {
        report.add(Kind::Position, "events.position", format_args!("{oldest} is below the oldest, {backfill}"));
    }
    read.each(
        "SELECT position, COUNT(*) FROM events WHERE position IS NOT NULL GROUP BY position HAVING COUNT(*) > 1",
        params![],
        &mut |row| {
            let (position, count): (i64, i64) = (row.get(0)?, row.get(1)?);
            report.add(Kind::Position, "events.position", format_args!("{position} was given {count} times"));
            Ok(())
        },
    )?;
    // 1: flag::OUTLIER.
    read.each("SELECT nid FROM events WHERE (position IS NULL) <> (flags & 1 <> 0)", params![], &mut |row| {
        let nid: i64 = row.get(0)?;
        report.add(Kind::Position, format_args!("event {nid}"), "an outlier with a position, or none without one");
        Ok(())
    })
}

/// Transactions name events of their device.
pub(super) fn transactions(read: &dyn Read, report: &mut Report) -> Result<(), StoreError> {
    read.each(
        "SELECT t.device, t.event, e.device FROM transactions t LEFT JOIN events e ON e.nid = t.event \
         WHERE e.nid IS NULL OR e.device IS NULL OR e.device <> t.device OR e.txn_id IS NULL",
        params![],
        &mut |row| {
            let (device, event): (i64, i64) = (row.get(0)?, row.get(1)?);
            let what = format!("names event {event}, which is not there or not of a transaction of this device");
            report.add(Kind::Transaction, format_args!("device {device}"), what);
            Ok(())
        },
    )?;
    // A redaction's path names its target too. A transaction is forgotten after a week, and may then be used again.
    read.each(
        "SELECT e.device, e.txn_id, COUNT(*) FROM events e JOIN event_types t ON t.nid = e.type \
         WHERE e.device IS NOT NULL AND e.txn_id IS NOT NULL AND t.type <> 'm.room.redaction' \
         GROUP BY e.device, e.txn_id, e.room, e.type \
         HAVING COUNT(*) > 1 AND MAX(e.received_ts) - MIN(e.received_ts) < 604800000",
        params![],
        &mut |row| {
            let (device, txn, count): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let what = format!("transaction {txn:?} made {count} events of one type in one room");
            report.add(Kind::Transaction, format_args!("device {device}"), what);
            Ok(())
        },
    )
}

/// Rows that belong to nothing: (table, how to find them).
const ORPHANS: &[(&str, &str)] = &[
    ("events", "SELECT nid FROM events WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("event_json", "SELECT event FROM event_json WHERE event NOT IN (SELECT nid FROM events)"),
    ("rejections", "SELECT event FROM rejections WHERE event NOT IN (SELECT nid FROM events WHERE flags & 6 <> 0)"),
    ("state_lines", "SELECT line FROM state_lines WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("room_state", "SELECT DISTINCT line FROM room_state WHERE line NOT IN (SELECT line FROM state_lines)"),
    ("room_heads", "SELECT room FROM room_heads WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("current_state", "SELECT DISTINCT room FROM current_state WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("memberships", "SELECT DISTINCT room FROM memberships WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("room_servers", "SELECT DISTINCT room FROM room_servers WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("forward_extremities", "SELECT room FROM forward_extremities WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("receipts", "SELECT event FROM receipts WHERE event NOT IN (SELECT nid FROM events)"),
    ("private_receipts", "SELECT event FROM private_receipts WHERE event NOT IN (SELECT nid FROM events)"),
    ("devices", "SELECT nid FROM devices WHERE user NOT IN (SELECT user FROM accounts)"),
    ("tokens", "SELECT nid FROM tokens WHERE device NOT IN (SELECT nid FROM devices)"),
    ("aliases", "SELECT room FROM aliases WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("one_time_keys", "SELECT device FROM one_time_keys WHERE device NOT IN (SELECT nid FROM devices)"),
    ("fallback_keys", "SELECT device FROM fallback_keys WHERE device NOT IN (SELECT nid FROM devices)"),
    ("to_device", "SELECT DISTINCT device FROM to_device WHERE device NOT IN (SELECT nid FROM devices)"),
    ("group_mutes", "SELECT room FROM group_mutes WHERE room NOT IN (SELECT nid FROM rooms WHERE service IS NOT NULL)"),
    (
        "group_requests",
        "SELECT DISTINCT room FROM group_requests WHERE room NOT IN (SELECT nid FROM rooms WHERE service IS NOT NULL)",
    ),
    (
        "group_invitations",
        "SELECT DISTINCT room FROM group_invitations WHERE room NOT IN (SELECT nid FROM rooms WHERE service IS NOT NULL)",
    ),
    ("group_dissolutions", "SELECT room FROM group_dissolutions WHERE room NOT IN (SELECT nid FROM rooms)"),
    (
        "group_calls",
        "SELECT event FROM group_calls c WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.nid = c.event AND e.room = c.room)",
    ),
    (
        "message_numbers",
        "SELECT n.number FROM message_numbers n WHERE NOT EXISTS (SELECT 1 FROM events e JOIN events w ON w.room = e.room \
         WHERE e.nid = n.event AND w.nid = n.number AND w.redacted_by IS NOT NULL AND w.sender = e.sender)",
    ),
    ("refused_events", "SELECT event FROM refused_events WHERE event NOT IN (SELECT nid FROM events)"),
    ("direct_rooms", "SELECT room FROM direct_rooms WHERE room NOT IN (SELECT nid FROM rooms) OR low >= high"),
    ("friend_requests", "SELECT room FROM friend_requests WHERE room NOT IN (SELECT nid FROM rooms)"),
    ("unignored", "SELECT DISTINCT user FROM unignored WHERE user NOT IN (SELECT user FROM accounts)"),
    ("third_party_ids", "SELECT DISTINCT user FROM third_party_ids WHERE user NOT IN (SELECT user FROM accounts)"),
    (
        "device_keys",
        "SELECT k.user FROM device_keys k JOIN accounts a ON a.user = k.user WHERE NOT EXISTS \
         (SELECT 1 FROM devices d WHERE d.user = k.user AND d.device_id = k.device_id)",
    ),
    (
        "key_backup_keys",
        "SELECT DISTINCT k.user FROM key_backup_keys k WHERE NOT EXISTS \
         (SELECT 1 FROM key_backups b WHERE b.user = k.user AND b.version = k.version AND b.deleted = 0)",
    ),
];

/// Rows that belong to nothing.
pub(super) fn orphans(read: &dyn Read, report: &mut Report) -> Result<(), StoreError> {
    for (table, sql) in ORPHANS {
        read.each(sql, params![], &mut |row| {
            let of: i64 = row.get(0)?;
            report.add(Kind::Orphan, table, format_args!("a row of {of}, which is not there"));
            Ok(())
        })?;
    }
    Ok(())
}

/// Each user belongs to the server that their id names.
pub(super) fn users(read: &dyn Read, report: &mut Report) -> Result<(), StoreError> {
    read.each("SELECT u.user_id, s.name FROM users u LEFT JOIN servers s ON s.nid = u.server", params![], &mut |row| {
        let (user, server): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let named = <&UserId>::try_from(user.as_str()).ok().map(|user| user.server_name().as_str());
        if named.is_none() || named != server.as_deref() {
            report.add(Kind::Column, &user, format_args!("its server is stored as {server:?}"));
        }
        Ok(())
    })
}
