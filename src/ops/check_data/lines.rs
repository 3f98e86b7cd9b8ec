//! The stored states of a room, as their lines and rows show them.

use std::collections::{BTreeMap, HashMap};

use super::{Kind, Report, Site, room::Room};
use crate::{
    params,
    rooms::state_hash::StateHashKey,
    store::{StoreError, events::StateRef, ids::EventNid, state::MAX_LEVEL},
};

/// All lines of a room in memory: about 100 bytes a row.
pub(super) struct Lines {
    lines: HashMap<i64, Line>,
}

struct Line {
    base: Option<StateRef>,
    /// Hash of the base's state.
    base_hash: u128,
    /// What each key was on this line itself, by epoch.
    keys: BTreeMap<i64, Vec<(i64, Option<i64>)>>,
    /// Hash of the state from each epoch on.
    hashes: Vec<(i64, u128)>,
    level: i64,
}

impl Lines {
    /// Reads a room's lines, bases first, and checks that they hang together.
    pub(super) fn load(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<Self, StoreError> {
        let rows = site.read.all(
            "SELECT line, base_line, base_epoch, level FROM state_lines WHERE room = ?1 ORDER BY line",
            params![room.key.nid],
            |row| {
                let base: Option<i64> = row.get(1)?;
                let base = base.map(|line| Ok::<_, StoreError>(StateRef { line, epoch: row.get(2)? })).transpose()?;
                Ok((row.get::<i64>(0)?, base, row.get::<i64>(3)?))
            },
        )?;
        let mut lines = Self { lines: HashMap::with_capacity(rows.len()) };
        for (line, base, level) in rows {
            let known = base.filter(|base| lines.lines.contains_key(&base.line));
            let wanted = known.map_or(0, |base| lines.lines[&base.line].level + 1);
            let place = format!("{} line {line}", room.key.room_id);
            if known != base {
                report.add(Kind::Line, &place, format_args!("its base {base:?} is no earlier line of the room"));
            }
            if level != wanted || level > MAX_LEVEL {
                report.add(Kind::Line, &place, format_args!("its level is {level}, should be {wanted}"));
            }
            let read = lines.read_line(site, room, line, known, wanted, report)?;
            lines.lines.insert(line, read);
        }
        if !lines.lines.contains_key(&room.key.main_line) {
            report.add(
                Kind::Line,
                &room.key.room_id,
                format_args!("its main line {} is not there", room.key.main_line),
            );
        }
        Ok(lines)
    }

    fn read_line(
        &self,
        site: &Site<'_>,
        room: &Room,
        line: i64,
        base: Option<StateRef>,
        level: i64,
        report: &mut Report,
    ) -> Result<Line, StoreError> {
        let base_hash = base.and_then(|base| self.hash(base)).unwrap_or(0);
        let mut out = Line { base, base_hash, keys: BTreeMap::new(), hashes: Vec::new(), level };
        let mut hash = base_hash;
        site.read.each(
            "SELECT state_key, from_epoch, event FROM room_state WHERE line = ?1 ORDER BY from_epoch",
            params![line],
            &mut |row| {
                let (key, epoch, event): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if let Some(event) = event
                    && room.by_nid(event).is_none_or(|at| room.events[at].state_key != Some(key))
                {
                    let what = format!("key {key} has event {event}, which is not of that key or not in the room");
                    report.add(Kind::Line, format_args!("{} line {line}", room.key.room_id), what);
                }
                let own = out.keys.entry(key).or_default();
                let old = match own.last() {
                    Some((_, event)) => *event,
                    None => base.and_then(|base| self.value(base, key)),
                };
                hash = changed(&site.hash_key, hash, key, old, event);
                own.push((epoch, event));
                match out.hashes.last_mut() {
                    Some(last) if last.0 == epoch => last.1 = hash,
                    _ => out.hashes.push((epoch, hash)),
                }
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// The event that a key has in a state.
    pub(super) fn value(&self, mut at: StateRef, key: i64) -> Option<i64> {
        loop {
            let line = self.lines.get(&at.line)?;
            let own = line.keys.get(&key).map_or(&[][..], Vec::as_slice);
            let upto = own.partition_point(|(epoch, _)| *epoch <= at.epoch);
            match upto.checked_sub(1) {
                Some(last) => return own[last].1,
                None => at = line.base?,
            }
        }
    }

    /// The hash of a state; None if there is no such line.
    pub(super) fn hash(&self, at: StateRef) -> Option<u128> {
        let line = self.lines.get(&at.line)?;
        let upto = line.hashes.partition_point(|(epoch, _)| *epoch <= at.epoch);
        Some(upto.checked_sub(1).map_or(line.base_hash, |last| line.hashes[last].1))
    }

    /// A whole state.
    pub(super) fn full(&self, at: StateRef) -> BTreeMap<i64, i64> {
        let mut keys = Vec::new();
        let mut next = Some(at.line);
        while let Some(line) = next.and_then(|line| self.lines.get(&line)) {
            keys.extend(line.keys.keys().copied());
            next = line.base.map(|base| base.line);
        }
        keys.into_iter().filter_map(|key| Some((key, self.value(at, key)?))).collect()
    }

    /// What a key was on a line itself: (from epoch, event or removed), oldest first.
    pub(super) fn history(&self, line: i64, key: i64) -> &[(i64, Option<i64>)] {
        self.lines.get(&line).and_then(|line| line.keys.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// The keys that changed on a line itself.
    pub(super) fn keys(&self, line: i64) -> impl Iterator<Item = i64> {
        self.lines.get(&line).into_iter().flat_map(|line| line.keys.keys().copied())
    }

    /// The newest epoch at which a line changed.
    pub(super) fn newest_epoch(&self, line: i64) -> Option<i64> {
        self.lines.get(&line)?.hashes.last().map(|(epoch, _)| *epoch)
    }
}

/// The hash of a state after one change.
pub(super) fn changed(key: &StateHashKey, hash: u128, of: i64, old: Option<i64>, new: Option<i64>) -> u128 {
    let without = old.map_or(hash, |old| hash.wrapping_sub(key.entry(of, EventNid(old))));
    new.map_or(without, |new| without.wrapping_add(key.entry(of, EventNid(new))))
}
