//! What follows from a room's current state: the table of it, its head, its members.

use std::collections::BTreeMap;

use ruma::UserId;

use super::{Kind, Report, Site, lines::Lines, replay::Replayed, room::Room};
use crate::{
    params,
    store::{
        StoreError,
        events::{StateRef, flag},
        ids::{self, UserNid},
        members::{self, MemberRow, Membership},
        rooms, state,
    },
};

/// Checks what follows from a room's current state.
pub(super) fn check(
    site: &Site<'_>,
    room: &Room,
    lines: &Lines,
    replayed: &Replayed,
    report: &mut Report,
) -> Result<(), StoreError> {
    current_state(site, room, lines, replayed, report)?;
    let wanted = members(site, room, lines, replayed)?;
    memberships(site, room, &wanted, report)?;
    head(site, room, lines, replayed, &wanted, report)
}

fn current_state(
    site: &Site<'_>,
    room: &Room,
    lines: &Lines,
    replayed: &Replayed,
    report: &mut Report,
) -> Result<(), StoreError> {
    let stored: BTreeMap<i64, i64> =
        state::current(site.read, room.key.nid)?.into_iter().map(|(key, event)| (key, event.0)).collect();
    let main = lines.full(StateRef { line: room.key.main_line, epoch: i64::MAX });
    for (name, found) in [("current_state", &stored), ("the main line's newest", &main)] {
        for key in found.keys().chain(replayed.current.map.keys().filter(|key| !found.contains_key(key))) {
            let (is, wanted) = (found.get(key), replayed.current.map.get(key));
            if is != wanted {
                let what = format!("{name}: key {key} is event {is:?}, should be {wanted:?}");
                report.add(Kind::CurrentState, &room.key.room_id, what);
            }
        }
    }
    Ok(())
}

/// A membership that the events give.
struct Wanted {
    membership: Membership,
    event: i64,
    /// Position of the newest change of it.
    newest: i64,
    since: i64,
    local: bool,
}

/// Who is what, by the current state; since when, by the main line.
fn members(
    site: &Site<'_>,
    room: &Room,
    lines: &Lines,
    replayed: &Replayed,
) -> Result<BTreeMap<UserNid, (String, Wanted)>, StoreError> {
    let membership = |nid: i64| room.by_nid(nid).and_then(|at| room.events[at].body.as_ref()?.membership);
    let mut out = BTreeMap::new();
    for (key, event) in replayed.current.map.iter() {
        let Some(now) = membership(*event) else { continue };
        let (_, user) = ids::state_key(site.read, *key)?;
        let Ok(user_id) = <&UserId>::try_from(&*user) else { continue };
        let Some(nid) = ids::user_nid(site.read, user_id)? else { continue };
        let history = lines.history(room.key.main_line, *key);
        let same = history.iter().rev().take_while(|(_, event)| event.and_then(membership) == Some(now));
        let wanted = Wanted {
            membership: now,
            event: *event,
            newest: history.last().map_or(0, |(epoch, _)| *epoch),
            since: same.last().map_or(0, |(epoch, _)| *epoch),
            local: user_id.server_name() == site.server_name,
        };
        out.insert(nid, (user.to_string(), wanted));
    }
    Ok(out)
}

fn memberships(
    site: &Site<'_>,
    room: &Room,
    wanted: &BTreeMap<UserNid, (String, Wanted)>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut stored: BTreeMap<UserNid, MemberRow> = BTreeMap::new();
    let users =
        site.read.all("SELECT user FROM memberships WHERE room = ?1", params![room.key.nid], |row| row.get(0))?;
    for user in users {
        match members::of(site.read, user, room.key.nid) {
            Ok(Some(row)) => {
                stored.insert(user, row);
            }
            Ok(None) => {}
            Err(error) => report.add(Kind::Membership, format_args!("{} user {}", room.key.room_id, user.0), error),
        }
    }
    let inside = wanted.values().any(|(_, wanted)| wanted.local && wanted.membership == Membership::Join);
    for (user, (name, wanted)) in wanted {
        let place = format!("{} {name}", room.key.room_id);
        let row = stored.remove(user);
        if !inside && row.is_some_and(|row| row.event.0 != wanted.event && from_outside(room, &row)) {
            continue;
        }
        let Some(row) = row else {
            report.add(Kind::Membership, place, format_args!("{} is not noted", wanted.membership.as_str()));
            continue;
        };
        if (row.membership, row.event.0) != (wanted.membership, wanted.event) {
            let what = format!(
                "{} by event {} is stored, should be {} by event {}",
                row.membership.as_str(),
                row.event.0,
                wanted.membership.as_str(),
                wanted.event
            );
            report.add(Kind::Membership, &place, what);
        }
        if row.since != wanted.since {
            report.add(
                Kind::Membership,
                &place,
                format_args!("since {} is stored, should be {}", row.since, wanted.since),
            );
        }
        // Forgetting a room moves the position further.
        let moved = row.forgotten && row.position > wanted.newest;
        if row.position != wanted.newest && !moved {
            let what = format!("position {} is stored, should be {}", row.position, wanted.newest);
            report.add(Kind::Membership, &place, what);
        }
        if row.forgotten && !matches!(wanted.membership, Membership::Leave | Membership::Ban) {
            report.add(Kind::Membership, &place, "is forgotten by one who has not left");
        }
    }
    // In a room whose state we don't have, invitations and knocks stand for themselves.
    if room.events.iter().any(|event| event.live().is_some()) {
        stored.retain(|_, row| inside || !from_outside(room, row));
        for user in stored.keys() {
            let what = format!("user {} has a membership that the state does not give", user.0);
            report.add(Kind::Membership, &room.key.room_id, what);
        }
    }
    Ok(())
}

/// Whether a membership is what another server told us of a room that we are not in: its event is an outlier.
fn from_outside(room: &Room, row: &MemberRow) -> bool {
    let event = room.by_nid(row.event.0).map(|at| &room.events[at]);
    event.is_some_and(|event| {
        event.is(flag::OUTLIER)
            && event.state_key == Some(ids::member_key(row.user))
            && event.body.as_ref().and_then(|body| body.membership) == Some(row.membership)
    })
}

fn head(
    site: &Site<'_>,
    room: &Room,
    lines: &Lines,
    replayed: &Replayed,
    members: &BTreeMap<UserNid, (String, Wanted)>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let stored = match rooms::head(site.read, room.key.nid) {
        Ok(head) => head,
        Err(error) => {
            report.add(Kind::Head, &room.key.room_id, error);
            return Ok(());
        }
    };
    if stored.state_hash != replayed.current.hash {
        report.add(Kind::StateHash, &room.key.room_id, "is not the hash of the current state");
    }
    let count = |what: Membership, local: bool| {
        let counted = members.values().filter(|(_, m)| m.membership == what && (m.local || !local));
        i64::try_from(counted.count()).unwrap_or(i64::MAX)
    };
    let visible = room.events.iter().filter(|event| !event.is(flag::HIDDEN)).filter_map(|event| event.live());
    let messages = room.events.iter().filter(|event| event.flags & (flag::HIDDEN | flag::COUNTABLE) == flag::COUNTABLE);
    let messages = messages.filter_map(|event| event.live());
    for (name, is, wanted) in [
        ("joined", stored.joined, count(Membership::Join, false)),
        ("invited", stored.invited, count(Membership::Invite, false)),
        ("local_joined", stored.local_joined, count(Membership::Join, true)),
        ("last_position", stored.last_position, visible.max().unwrap_or(0)),
        ("message_position", stored.message_position, messages.max().unwrap_or(0)),
        ("state_position", stored.state_position, lines.newest_epoch(room.key.main_line).unwrap_or(0)),
    ] {
        if is != wanted {
            report.add(Kind::Head, &room.key.room_id, format_args!("{name} is {is}, should be {wanted}"));
        }
    }
    let create = ids::state_key_nid(site.read, "m.room.create", "")?;
    let create = create.and_then(|key| replayed.current.map.get(&key)).copied();
    if create != room.create_event && create.is_some() {
        report.add(
            Kind::Head,
            &room.key.room_id,
            format_args!("create_event is {:?}, should be {create:?}", room.create_event),
        );
    }
    Ok(())
}
