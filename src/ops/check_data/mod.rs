//! `linkim check-data`: recomputes what is derived from the events, from their bodies alone, and compares.
//!
//! One room at a time, in three steps: `room` reads its events and what their bodies say, `replay` walks the DAG and
//! recomputes every state, then each family of derived rows is held against that. `whole` looks at what belongs to no room.

mod counters;
mod dag;
mod events;
mod groups;
mod lines;
mod members;
mod reading;
mod redactions;
mod replay;
mod report;
mod resolution;
mod room;
mod servers;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ruma::ServerName;

pub use report::{Kind, Report};

use crate::{
    config::{Config, StorageUrl},
    ops::data_dir,
    params,
    rooms::state_hash::StateHashKey,
    store::{self, Read, StoreError, ids::RoomNid},
};

/// Checks the data of a server that does not run.
///
/// # Errors
/// `Locked` if the server runs, and what keeps the data from being read at all.
pub fn check_data(config: &Config) -> Result<Report, StoreError> {
    let StorageUrl::Sqlite(path) = &config.storage.url;
    // Looked at first: taking the lock makes the directory.
    std::fs::metadata(path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
    let _lock = data_dir::hold(&config.data_dir)?;
    store::inspect(path, config.server_name.as_str(), |read| check(read, &config.server_name))
}

/// Checks everything that a snapshot shows.
fn check(read: &dyn Read, server_name: &ServerName) -> Result<Report, StoreError> {
    let mut report = Report::default();
    whole::integrity(read, &mut report)?;
    whole::positions(read, &mut report)?;
    whole::transactions(read, &mut report)?;
    whole::orphans(read, &mut report)?;
    whole::users(read, &mut report)?;
    let Some(hash_key) = hash_key(read)? else {
        report.add(Kind::StateHash, "meta", "no state_hash_key of 32 bytes");
        return Ok(report);
    };
    let site = Site { read, server_name, hash_key };
    for (room, events) in events_by_room(read)? {
        report.events += events.len() as u64;
        report.rooms += 1;
        check_room(&site, room, &events, &mut report)?;
    }
    Ok(report)
}

/// What every check of a room needs.
struct Site<'a> {
    read: &'a dyn Read,
    server_name: &'a ServerName,
    hash_key: StateHashKey,
}

fn check_room(site: &Site<'_>, nid: RoomNid, events: &[i64], report: &mut Report) -> Result<(), StoreError> {
    let Some(room) = room::Room::load(site, nid, events, report)? else { return Ok(()) };
    let lines = lines::Lines::load(site, &room, report)?;
    events::check(site, &room, report)?;
    dag::check(site, &room, report)?;
    let replayed = replay::replay(site, &room, &lines, report)?;
    redactions::check(site, &room, &replayed, report)?;
    counters::check(&room, &replayed, report);
    groups::check(site, &room, report)?;
    if !room.partial {
        members::check(site, &room, &lines, &replayed, report)?;
        servers::check(site, &room, &lines, report)?;
        reading::check(site, &room, &replayed, report)?;
    }
    Ok(())
}

/// The numbers of every room's events, ascending. One pass, so that rooms without positions in the index cost no scan each.
fn events_by_room(read: &dyn Read) -> Result<BTreeMap<RoomNid, Vec<i64>>, StoreError> {
    let mut rooms: BTreeMap<RoomNid, Vec<i64>> = BTreeMap::new();
    read.each("SELECT nid FROM rooms", params![], &mut |row| {
        rooms.insert(row.get(0)?, Vec::new());
        Ok(())
    })?;
    read.each("SELECT room, nid FROM events ORDER BY nid", params![], &mut |row| {
        // Events of no room are reported as orphans.
        if let Some(events) = rooms.get_mut(&row.get(0)?) {
            events.push(row.get(1)?);
        }
        Ok(())
    })?;
    Ok(rooms)
}

fn hash_key(read: &dyn Read) -> Result<Option<StateHashKey>, StoreError> {
    let key =
        read.one("SELECT value FROM meta WHERE name = 'state_hash_key'", params![], |row| row.get::<Vec<u8>>(0))?;
    Ok(key.and_then(|key| key.try_into().ok()).map(StateHashKey::new))
}
