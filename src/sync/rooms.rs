//! The stream of rooms: which of them an answer has to speak of, and in which section.

use std::collections::HashSet;

use super::{
    account_data::AccountData,
    body::Object,
    invited::invited,
    joined::{joined, put_room},
    left::left,
    notifier::Notifier,
    view::View,
};
use crate::store::{
    StoreError,
    ids::{self, RoomNid},
    members,
    members::{MemberRow, Membership},
    sync,
};

/// Rooms of the server that are looked at one by one, at most. Above it the user's own rooms are gone through.
const FEW: usize = 400;

/// The `rooms` of an answer, from the rooms in which something may have changed.
pub(super) fn rooms(view: &View<'_>, members: &[MemberRow], account_data: &AccountData) -> Result<Object, StoreError> {
    let (mut join, mut invite) = (Object::default(), Object::default());
    let (mut knock, mut leave) = (Object::default(), Object::default());
    for member in members {
        let room = ids::room_by_nid(view.read, member.room)?;
        if member.forgotten || !view.filter.room.allows_room(&room.room_id) {
            continue;
        }
        let changed = account_data.rooms.get(&room.nid).map(Vec::as_slice).unwrap_or_default();
        let moved = view.since.is_none_or(|since| member.position > since);
        match member.membership {
            Membership::Join => {
                if let Some(content) = joined(view, &room, member, changed)? {
                    put_room(&mut join, &room, content);
                }
            }
            Membership::Invite | Membership::Knock if moved => {
                if let Some(content) = invited(view, &room, member)? {
                    let section = if member.membership == Membership::Invite { &mut invite } else { &mut knock };
                    put_room(section, &room, content);
                }
            }
            // A client that has everything anew has no rooms to lose, unless what it had was lost here.
            Membership::Leave | Membership::Ban
                if moved && (view.since.is_some() || view.lost || view.filter.room.include_leave) =>
            {
                put_room(&mut leave, &room, left(view, &room, member, changed)?);
            }
            _ => {}
        }
    }
    let mut out = Object::default();
    out.put_object("join", join);
    out.put_object("invite", invite);
    out.put_object("knock", knock);
    out.put_object("leave", leave);
    Ok(out)
}

/// The viewer's memberships of the rooms in which something may have changed, each once.
pub(super) fn candidates(
    view: &View<'_>,
    notifier: &Notifier,
    account_data: &AccountData,
) -> Result<Vec<MemberRow>, StoreError> {
    let (read, user) = (view.read, view.viewer.user);
    let Some(since) = view.since.filter(|_| !view.full_state) else { return members::of_user(read, user) };
    let typing = view.typing.changed_rooms(view.typing_since, FEW);
    let changed = notifier.changed_rooms(read, since, FEW)?;
    if let (Some(changed), Some(typing)) = (&changed, &typing) {
        let rooms: HashSet<RoomNid> = changed.iter().chain(typing).chain(account_data.rooms.keys()).copied().collect();
        if rooms.len() <= FEW {
            return rooms.into_iter().filter_map(|room| members::of(read, user, room).transpose()).collect();
        }
    }
    // Too many, or too long ago: each of the user's rooms is asked for what is stored; typing is asked in memory.
    let mut rows = sync::changed_rooms(read, user, since)?;
    let mut known: HashSet<RoomNid> = rows.iter().map(|row| row.room).collect();
    for room in account_data.rooms.keys() {
        if known.insert(*room)
            && let Some(row) = members::of(read, user, *room)?
        {
            rows.push(row);
        }
    }
    if typing.as_ref().is_none_or(|typing| !typing.is_empty()) {
        for row in members::of_user(read, user)? {
            if view.typing.changed(row.room, view.typing_since) && known.insert(row.room) {
                rows.push(row);
            }
        }
    }
    Ok(rows)
}
