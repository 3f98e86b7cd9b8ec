//! How far local users have read, and the mentions that wait for them.

use std::collections::HashMap;

use super::{Kind, Report, Site, dag::name, replay::Replayed, room::Room};
use crate::{
    params,
    store::{StoreError, events::flag},
};

/// Checks a room's read marks and personal notifications.
pub(super) fn check(site: &Site<'_>, room: &Room, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
    let newest = site.read.position();
    let mut read_to: HashMap<(i64, i64), i64> = HashMap::new();
    site.read.each(
        "SELECT user, thread, position FROM read_to WHERE room = ?1",
        params![room.key.nid],
        &mut |row| {
            let (user, thread, position): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if position > newest {
                let what = format!("user {user} has read up to {position}, above the newest position");
                report.add(Kind::Unread, &room.key.room_id, what);
            }
            read_to.insert((user, thread), position);
            Ok(())
        },
    )?;
    let by_position: HashMap<i64, usize> =
        room.events.iter().enumerate().filter_map(|(at, event)| Some((event.live()?, at))).collect();
    site.read.each(
        "SELECT user, position, thread, notify, highlight FROM personal_notifications WHERE room = ?1",
        params![room.key.nid],
        &mut |row| {
            let (user, position, thread): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let Some(at) = by_position.get(&position) else {
                let what = format!("user {user} is notified of position {position}, where no event is");
                report.add(Kind::Unread, &room.key.room_id, what);
                return Ok(());
            };
            let event = &room.events[*at];
            let place = name(room, event.nid);
            if read_to.get(&(user, thread)).is_some_and(|read| *read >= position) {
                report.add(Kind::Unread, &place, format_args!("user {user} is notified of it and has read it"));
            }
            let wanted = (i64::from(!event.is(flag::NOTIFY)), i64::from(!event.is(flag::HIGHLIGHT)));
            if event.redacted_by.is_some() {
                return Ok(());
            }
            if !replayed.mentioned.contains(&(*at, user)) || event.is(flag::HIDDEN) || event.sender == user {
                report.add(Kind::Unread, &place, format_args!("user {user} is notified of it and not mentioned"));
            } else if thread != event.thread || (row.get(3)?, row.get(4)?) != wanted {
                report.add(Kind::Unread, &place, format_args!("what user {user} is notified of does not fit it"));
            }
            Ok(())
        },
    )
}
