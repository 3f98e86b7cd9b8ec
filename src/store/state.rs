//! Temporal room state on lines.
//!
//! The main line carries a room's current state; a fork opens a line with a base, a state of another line, and then costs
//! one row a change too. A look-up takes the newest row at or below the epoch, then asks the base. On every line an epoch is
//! the position of the event that made the change; of history, whose positions are negative, a place of the same order that was
//! given out when it came.

use std::collections::BTreeMap;

use super::{
    Read, StoreError, WriteTx,
    events::StateRef,
    ids::{EventNid, RoomNid},
};
use crate::params;

/// Bases below each other at most. A deeper line is written as a full copy, once (level 0 again).
pub const MAX_LEVEL: i64 = 8;

/// Which entries of a state are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// Member events of users.
    Members,
    /// Everything else.
    Others,
}

impl Part {
    /// The lowest and the highest number of such a key (`ids::member_key`).
    pub(super) fn keys(self) -> (i64, i64) {
        match self {
            Self::All => (i64::MIN, i64::MAX),
            Self::Members => (i64::MIN, -1),
            Self::Others => (0, i64::MAX),
        }
    }
}

/// What never changes about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it starts; None for a line that stands alone.
    pub base: Option<StateRef>,
    /// How many bases are below it.
    pub level: i64,
}

/// A line. `Damaged` if there is none.
pub fn line(read: &dyn Read, line: i64) -> Result<Line, StoreError> {
    read.one("SELECT base_line, base_epoch, level FROM state_lines WHERE line = ?1", params![line], |row| {
        let base: Option<i64> = row.get(0)?;
        Ok(Line {
            base: base.map(|line| Ok::<_, StoreError>(StateRef { line, epoch: row.get(1)? })).transpose()?,
            level: row.get(2)?,
        })
    })?
    .ok_or_else(|| StoreError::Damaged(format!("no state line {line}")))
}

/// The event that `key` has in a state.
pub fn value(read: &dyn Read, mut at: StateRef, key: i64) -> Result<Option<EventNid>, StoreError> {
    loop {
        let found = read.one(
            "SELECT event FROM room_state WHERE line = ?1 AND state_key = ?2 AND from_epoch <= ?3 \
             ORDER BY from_epoch DESC LIMIT 1",
            params![at.line, key, at.epoch],
            |row| row.get::<Option<EventNid>>(0),
        )?;
        if let Some(value) = found {
            return Ok(value);
        }
        match line(read, at.line)?.base {
            Some(base) => at = base,
            None => return Ok(None),
        }
    }
}

/// What `key` was on a line itself, its bases left out: (from epoch, event or removed), oldest first.
pub fn history(read: &dyn Read, line: i64, key: i64) -> Result<Vec<(i64, Option<EventNid>)>, StoreError> {
    read.all(
        "SELECT from_epoch, event FROM room_state WHERE line = ?1 AND state_key = ?2 ORDER BY from_epoch",
        params![line, key],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// A whole state: (key, event), ascending by key.
pub fn full(read: &dyn Read, at: StateRef) -> Result<Vec<(i64, EventNid)>, StoreError> {
    part(read, at, Part::All)
}

/// A part of a state: (key, event), ascending by key.
pub fn part(read: &dyn Read, at: StateRef, part: Part) -> Result<Vec<(i64, EventNid)>, StoreError> {
    let (low, high) = part.keys();
    let mut state: BTreeMap<i64, Option<EventNid>> = BTreeMap::new();
    let mut next = Some(at);
    while let Some(at) = next {
        // `+` keeps the planner on the primary key: the rows of a key are in order of their epochs, the newest comes last.
        let mut own: Vec<(i64, Option<EventNid>)> = Vec::new();
        read.each(
            "SELECT state_key, event FROM room_state WHERE line = ?1 AND +from_epoch <= ?2 \
             AND state_key BETWEEN ?3 AND ?4 ORDER BY state_key, from_epoch",
            params![at.line, at.epoch, low, high],
            &mut |row| {
                let key = row.get(0)?;
                match own.last_mut() {
                    Some(last) if last.0 == key => last.1 = row.get(1)?,
                    _ => own.push((key, row.get(1)?)),
                }
                Ok(())
            },
        )?;
        for (key, event) in own {
            state.entry(key).or_insert(event);
        }
        next = line(read, at.line)?.base;
    }
    Ok(state.into_iter().filter_map(|(key, event)| Some((key, event?))).collect())
}

/// Changes of a line with `after < epoch <= up_to`: (key, event or removed), oldest first. A key may occur more than once.
pub fn changes(read: &dyn Read, line: i64, after: i64, up_to: i64) -> Result<Vec<(i64, Option<EventNid>)>, StoreError> {
    read.all(
        "SELECT state_key, event FROM room_state INDEXED BY room_state_epoch \
         WHERE line = ?1 AND from_epoch > ?2 AND from_epoch <= ?3 ORDER BY from_epoch",
        params![line, after, up_to],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The newest epoch at which a line changed, or None if it never did.
pub fn newest_epoch(read: &dyn Read, line: i64) -> Result<Option<i64>, StoreError> {
    read.one("SELECT MAX(from_epoch) FROM room_state WHERE line = ?1", params![line], |row| row.get::<Option<i64>>(0))
        .map(Option::flatten)
}

/// The current state of a room: (key, event), ascending by key.
pub fn current(read: &dyn Read, room: RoomNid) -> Result<Vec<(i64, EventNid)>, StoreError> {
    read.all("SELECT state_key, event FROM current_state WHERE room = ?1 ORDER BY state_key", params![room], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// The current state of a room without its members: (key, event), ascending by key.
pub fn current_others(read: &dyn Read, room: RoomNid) -> Result<Vec<(i64, EventNid)>, StoreError> {
    read.all(
        "SELECT state_key, event FROM current_state WHERE room = ?1 AND state_key >= 0 ORDER BY state_key",
        params![room],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The current state of a room under one event type other than `m.room.member`, given by its number: (state key, event).
pub fn current_of_type(read: &dyn Read, room: RoomNid, kind: i64) -> Result<Vec<(String, EventNid)>, StoreError> {
    read.all(
        "SELECT k.state_key, c.event FROM current_state c JOIN state_keys k ON k.nid = c.state_key \
         WHERE c.room = ?1 AND c.state_key >= 0 AND k.type = ?2",
        params![room, kind],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The event that `key` has in a room's current state.
pub fn current_value(read: &dyn Read, room: RoomNid, key: i64) -> Result<Option<EventNid>, StoreError> {
    read.one("SELECT event FROM current_state WHERE room = ?1 AND state_key = ?2", params![room, key], |row| row.get(0))
}

/// Opens a line on `base`, or one that stands alone; answers its number.
pub fn open_line(tx: &WriteTx<'_>, room: RoomNid, base: Option<StateRef>) -> Result<i64, StoreError> {
    let level = match base {
        Some(base) => line(tx, base.line)?.level + 1,
        None => 0,
    };
    tx.insert(
        "INSERT INTO state_lines (room, base_line, base_epoch, level) VALUES (?1, ?2, ?3, ?4) RETURNING line",
        params![room, base.map(|b| b.line), base.map(|b| b.epoch), level],
    )
}

/// Writes one change on a line.
pub fn put(tx: &WriteTx<'_>, at: StateRef, key: i64, event: Option<EventNid>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO room_state (line, state_key, from_epoch, event) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (line, state_key, from_epoch) DO UPDATE SET event = excluded.event",
        params![at.line, key, at.epoch, event],
    )?;
    Ok(())
}

/// Writes one change of a room's current state beside its main line.
pub fn put_current(tx: &WriteTx<'_>, room: RoomNid, key: i64, event: Option<EventNid>) -> Result<(), StoreError> {
    match event {
        Some(event) => tx.execute(
            "INSERT INTO current_state (room, state_key, event) VALUES (?1, ?2, ?3) \
             ON CONFLICT (room, state_key) DO UPDATE SET event = excluded.event",
            params![room, key, event],
        )?,
        None => tx.execute("DELETE FROM current_state WHERE room = ?1 AND state_key = ?2", params![room, key])?,
    };
    Ok(())
}

/// Takes away what lines of a room have from an epoch on, which only its newest events rely on, and what is remembered of it.
pub(crate) fn cut(tx: &WriteTx<'_>, room: RoomNid, main_line: i64, from: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM state_hashes WHERE room = ?1 AND epoch >= ?2", params![room, from])?;
    tx.execute("DELETE FROM resolutions WHERE room = ?1 AND epoch >= ?2", params![room, from])?;
    let read: &dyn Read = tx;
    let lines: Vec<i64> = read.all(
        "SELECT line FROM state_lines WHERE room = ?1 \
         AND EXISTS (SELECT 1 FROM room_state r WHERE r.line = state_lines.line AND r.from_epoch >= ?2)",
        params![room, from],
        |row| row.get(0),
    )?;
    for line in lines {
        tx.execute("DELETE FROM room_state WHERE line = ?1 AND from_epoch >= ?2", params![line, from])?;
        if line != main_line && newest_epoch(tx, line)?.is_none() {
            tx.execute("DELETE FROM state_lines WHERE line = ?1", params![line])?;
        }
    }
    Ok(())
}

/// All changes of a line from an epoch on: (epoch, key, event or removed), oldest first.
pub(crate) fn rows_from(
    read: &dyn Read,
    line: i64,
    from: i64,
) -> Result<Vec<(i64, i64, Option<EventNid>)>, StoreError> {
    read.all(
        "SELECT from_epoch, state_key, event FROM room_state INDEXED BY room_state_epoch \
         WHERE line = ?1 AND from_epoch >= ?2 ORDER BY from_epoch",
        params![line, from],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Forks of the room whose state has this hash.
pub fn with_hash(read: &dyn Read, room: RoomNid, hash: u128) -> Result<Vec<StateRef>, StoreError> {
    read.all(
        "SELECT line, epoch FROM state_hashes WHERE room = ?1 AND hash = ?2",
        params![room, hash.to_be_bytes().as_slice()],
        |row| Ok(StateRef { line: row.get(0)?, epoch: row.get(1)? }),
    )
}

/// Remembers the hash of a fork's state.
pub fn put_hash(tx: &WriteTx<'_>, room: RoomNid, hash: u128, at: StateRef) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO state_hashes (room, hash, line, epoch) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![room, hash.to_be_bytes().as_slice(), at.line, at.epoch],
    )?;
    Ok(())
}

/// The result of resolving these inputs, if it was ever computed.
pub fn resolution(read: &dyn Read, room: RoomNid, inputs: &[u8]) -> Result<Option<StateRef>, StoreError> {
    read.one("SELECT line, epoch FROM resolutions WHERE room = ?1 AND inputs = ?2", params![room, inputs], |row| {
        Ok(StateRef { line: row.get(0)?, epoch: row.get(1)? })
    })
}

/// Forgets what a room's states were resolved to: they would be resolved otherwise now.
pub fn forget_resolutions(tx: &WriteTx<'_>, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM resolutions WHERE room = ?1", params![room])?;
    Ok(())
}

/// Remembers the result of a resolution.
pub fn put_resolution(tx: &WriteTx<'_>, room: RoomNid, inputs: &[u8], result: StateRef) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO resolutions (room, inputs, line, epoch) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![room, inputs, result.line, result.epoch],
    )?;
    Ok(())
}
