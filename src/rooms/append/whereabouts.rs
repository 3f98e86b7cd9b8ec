//! Since when members, and their servers, are in a room, read anew from its main line after that was written anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::effects::membership;
use crate::{
    rooms::state::load_pdu,
    store::{
        Read, StoreError, WriteTx,
        events::StateRef,
        ids::{self, EventNid, RoomKey, UserNid},
        members,
        members::{MemberRow, Membership},
        room_servers,
        room_servers::Stretch,
        state,
    },
};

/// Corrects what the main line says otherwise from `from` on.
pub(super) fn correct(tx: &WriteTx<'_>, room: &RoomKey, from: i64) -> Result<(), StoreError> {
    let rows = members::all_of_room(tx, room.nid)?;
    let mut known: HashMap<EventNid, Membership> = rows.iter().map(|row| (row.event, row.membership)).collect();
    for row in &rows {
        correct_member(tx, room, row, &mut known)?;
    }
    correct_servers(tx, room, from, &mut known)
}

fn membership_of(
    read: &dyn Read,
    event: EventNid,
    known: &mut HashMap<EventNid, Membership>,
) -> Result<Membership, StoreError> {
    if let Some(found) = known.get(&event) {
        return Ok(*found);
    }
    let found = membership(&*load_pdu(read, event)?);
    known.insert(event, found);
    Ok(found)
}

/// Position of the newest change of a membership, and of the transition into it.
fn correct_member(
    tx: &WriteTx<'_>,
    room: &RoomKey,
    row: &MemberRow,
    known: &mut HashMap<EventNid, Membership>,
) -> Result<(), StoreError> {
    let history = state::history(tx, room.main_line, ids::member_key(row.user))?;
    let (Some((newest, Some(event))), false) = (history.last().copied(), row.forgotten) else { return Ok(()) };
    if event != row.event {
        return Ok(());
    }
    let mut since = newest;
    for (epoch, event) in history.into_iter().rev() {
        match event {
            Some(event) if membership_of(tx, event, known)? == row.membership => since = epoch,
            _ => break,
        }
    }
    if (row.position, row.since) == (newest, since) {
        return Ok(());
    }
    members::put(tx, &MemberRow { position: newest, since, ..*row })
}

/// Joined members of a server, and the stretches over which it had some.
#[derive(Default)]
struct Server {
    count: i64,
    stretches: Vec<(i64, Option<i64>)>,
}

impl Server {
    fn change(&mut self, epoch: i64, by: i64) {
        let before = self.count;
        self.count += by;
        match (before > 0, self.count > 0) {
            (false, true) => self.stretches.push((epoch, None)),
            (true, false) => self.stretches.iter_mut().next_back().into_iter().for_each(|last| last.1 = Some(epoch)),
            _ => {}
        }
    }
}

fn correct_servers(
    tx: &WriteTx<'_>,
    room: &RoomKey,
    from: i64,
    known: &mut HashMap<EventNid, Membership>,
) -> Result<(), StoreError> {
    let mut servers: BTreeMap<i64, Server> = BTreeMap::new();
    let mut joined: BTreeSet<i64> = BTreeSet::new();
    let open: HashMap<i64, i64> = room_servers::of_room(tx, room.nid)?
        .into_iter()
        .filter(|(_, stretch, _)| stretch.from < from && stretch.to.is_none_or(|to| to >= from))
        .map(|(server, stretch, _)| (server, stretch.from))
        .collect();
    for (key, event) in state::part(tx, StateRef { line: room.main_line, epoch: from - 1 }, state::Part::Members)? {
        if membership_of(tx, event, known)? == Membership::Join {
            joined.insert(key);
            let server = ids::server_of(tx, UserNid(-key))?;
            servers.entry(server).or_default().change(open.get(&server).copied().unwrap_or(from), 1);
        }
    }
    // By epoch, so that one leaving and another coming by one change end no stretch.
    let mut changes: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (epoch, key, event) in state::rows_from(tx, room.main_line, from)?.into_iter().filter(|(_, key, _)| *key < 0) {
        let now = match event {
            Some(event) => membership_of(tx, event, known)? == Membership::Join,
            None => false,
        };
        let changed = if now { joined.insert(key) } else { joined.remove(&key) };
        if changed {
            let server = ids::server_of(tx, UserNid(-key))?;
            *changes.entry((epoch, server)).or_default() += if now { 1 } else { -1 };
        }
    }
    for ((epoch, server), by) in changes {
        servers.entry(server).or_default().change(epoch, by);
    }
    let mut rows = Vec::new();
    for (server, of) in servers {
        for (from, to) in of.stretches {
            let count = if to.is_none() { of.count } else { 0 };
            rows.push((server, Stretch { room: room.nid, from, to }, count));
        }
    }
    room_servers::rewrite(tx, room.nid, from, &rows)
}
