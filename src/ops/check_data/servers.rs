//! Which servers are in a room, over which stretches of positions: by the changes of its current state.

use std::collections::BTreeMap;

use super::{Kind, Report, Site, lines::Lines, room::Room};
use crate::{
    params,
    store::{StoreError, events::flag, ids, members::Membership, room_servers},
};

/// A stretch: from which position, and to which.
type Stretch = (i64, Option<i64>);

/// Checks a room's servers.
pub(super) fn check(site: &Site<'_>, room: &Room, lines: &Lines, report: &mut Report) -> Result<(), StoreError> {
    let wanted = wanted(site, room, lines)?;
    let mut stored: BTreeMap<i64, (Vec<Stretch>, i64)> = BTreeMap::new();
    for (server, stretch, joined) in room_servers::of_room(site.read, room.key.nid)? {
        let (stretches, count) = stored.entry(server).or_default();
        *count += joined;
        match stretches.last_mut() {
            // Ended and begun by one change of the state.
            Some(last) if last.1 == Some(stretch.from) => last.1 = stretch.to,
            _ => stretches.push((stretch.from, stretch.to)),
        }
    }
    let own = ids::server_nid(site.read, site.server_name)?;
    let given_up = room.events.iter().any(|event| event.is(flag::PARTIAL_STATE));
    for server in wanted.keys().chain(stored.keys().filter(|server| !wanted.contains_key(server))) {
        let none = (Vec::new(), 0);
        let (mut is, joined) = stored.get(server).unwrap_or(&none).clone();
        let (should, count) = wanted.get(server).unwrap_or(&none);
        is.retain(|stretch| stretch.1 != Some(stretch.0) || should.contains(stretch));
        // Where we left before the members of a room were here, servers were said to be in it.
        is.retain(|stretch| !given_up || stretch.1.is_none() || should.contains(stretch));
        let place = format!("{} server {server}", room.key.room_id);
        if joined != *count {
            report.add(Kind::Servers, &place, format_args!("{joined} joined members are counted, should be {count}"));
        }
        let open = |stretches: &[Stretch]| stretches.last().is_some_and(|stretch| stretch.1.is_none());
        // Nothing is owed to ourselves, and where a room is from before such rows were kept ours begin late.
        let agree = if Some(*server) == own { open(&is) == open(should) } else { is == *should };
        if !agree {
            report.add(Kind::Servers, &place, format_args!("in the room over {is:?}, should be over {should:?}"));
        }
    }
    Ok(())
}

/// Each server's stretches, and how many of its members are joined now.
fn wanted(site: &Site<'_>, room: &Room, lines: &Lines) -> Result<BTreeMap<i64, (Vec<Stretch>, i64)>, StoreError> {
    let joined =
        |nid: i64| room.by_nid(nid).and_then(|at| room.events[at].body.as_ref()?.membership) == Some(Membership::Join);
    // By server and epoch: how many joined less how many left.
    let mut changes: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
    for key in lines.keys(room.key.main_line).filter(|key| *key < 0) {
        let server = site.read.one("SELECT server FROM users WHERE nid = ?1", params![-key], |row| row.get(0))?;
        let Some(server) = server else { continue };
        let mut before = false;
        for (epoch, event) in lines.history(room.key.main_line, key) {
            let now = event.is_some_and(joined);
            if now != before {
                *changes.entry(server).or_default().entry(*epoch).or_default() += if now { 1 } else { -1 };
            }
            before = now;
        }
    }
    let mut out = BTreeMap::new();
    for (server, epochs) in changes {
        let (mut stretches, mut count): (Vec<Stretch>, i64) = (Vec::new(), 0);
        for (epoch, change) in epochs {
            let before = count;
            count += change;
            match (before > 0, count > 0) {
                (false, true) => stretches.push((epoch, None)),
                (true, false) => stretches.last_mut().into_iter().for_each(|last| last.1 = Some(epoch)),
                _ => {}
            }
        }
        out.insert(server, (stretches, count));
    }
    Ok(out)
}
