//! How far local users have read, and the mentions that wait for them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Kind, Report, Site,
    dag::name,
    replay::Replayed,
    room::{Event, Room},
};
use crate::{
    params,
    rooms::{
        ignored_users,
        unread::{self, RoomUnread, Unread},
    },
    store::{
        StoreError,
        events::flag,
        ids::{EventNid, UserNid},
        members,
        unread::{MAIN, WHOLE_ROOM},
    },
};

/// Checks a room's read marks, personal notifications and unread counts.
pub(super) fn check(site: &Site<'_>, room: &Room, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
    marks(site, room, replayed, report)?;
    counts(site, room, replayed, report)
}

fn marks(site: &Site<'_>, room: &Room, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
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
            if [thread, WHOLE_ROOM]
                .iter()
                .any(|thread| read_to.get(&(user, *thread)).is_some_and(|read| *read >= position))
            {
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

/// Unread counts by the running numbers, against a count of every event, for each local member.
fn counts(site: &Site<'_>, room: &Room, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
    for user in members::local_joined(site.read, room.key.nid)? {
        let Some(member) = members::of(site.read, user, room.key.nid)? else { continue };
        let ignored = ignored_users::of(site.read, user)?;
        let shown = unread::of(site.read, &member, &ignored)?;
        let read_to = crate::store::unread::read_to(site.read, user, room.key.nid)?.into_iter().collect();
        let unignored = crate::store::unignored::of(site.read, user)?;
        let marks = Marks { since: member.since, read_to, unignored };
        let wanted = count(room, replayed, user, &marks, &ignored);
        if shown != wanted {
            let what = format!("user {} is shown {shown:?}, a full count gives {wanted:?}", user.0);
            report.add(Kind::Unread, &room.key.room_id, what);
        }
    }
    Ok(())
}

struct Marks {
    since: i64,
    read_to: BTreeMap<i64, i64>,
    /// Up to where what somebody sent does not count, who was ignored.
    unignored: HashMap<UserNid, i64>,
}

impl Marks {
    fn of(&self, thread: i64) -> i64 {
        let mark = |thread: i64| self.read_to.get(&thread).copied().unwrap_or(i64::MIN);
        self.since.max(mark(WHOLE_ROOM)).max(mark(thread))
    }
}

/// Counts what a member has not read, event by event.
fn count(room: &Room, replayed: &Replayed, user: UserNid, marks: &Marks, ignored: &HashSet<UserNid>) -> RoomUnread {
    let mut out = RoomUnread::default();
    let counts = |event: &Event| {
        !event.is(flag::HIDDEN)
            && event.redacted_by.is_none()
            && event.sender != user.0
            && !ignored.contains(&UserNid(event.sender))
            && event.live().is_some_and(|position| {
                position > marks.of(event.thread)
                    && marks.unignored.get(&UserNid(event.sender)).is_none_or(|until| position > *until)
            })
    };
    for (at, event) in room.events.iter().enumerate().filter(|(_, event)| counts(event)) {
        let mentioned = replayed.mentioned.contains(&(at, user.0));
        let unread: &mut Unread = match event.thread {
            MAIN => &mut out.main,
            root => out.threads.entry(EventNid(root)).or_default(),
        };
        unread.countable += i64::from(event.is(flag::COUNTABLE));
        unread.notify += i64::from(event.is(flag::NOTIFY) || mentioned);
        unread.highlight += i64::from(event.is(flag::HIGHLIGHT) || mentioned);
        out.mentions += i64::from(mentioned);
        out.room_mentions += i64::from(event.is(flag::HIGHLIGHT));
    }
    out.threads.retain(|_, unread| *unread != Unread::default());
    out
}
