//! Tells senders, as frames of the moment, that devices of others, or their servers, have received what they sent: up to which
//! message.
//!
//! Devices say how far they have received with nearly every message, so it is told twice a second at most, for each recipient,
//! room and sender the newest message alone. In larger rooms, and to who was not connected, it is told on request.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::{
    super::{account_data::AccountData, filter::Filter, rooms, view::View},
    frames,
    look::{RECEIPTS_TOLD, Sources},
};
use crate::{
    accounts::ServerMoved,
    rooms::client_event::Viewer,
    store::{
        Read, StoreError, destinations, events, feed,
        ids::{self, RoomNid, UserNid},
        members,
        members::Membership,
        message_status,
    },
};

/// Events of one room that are looked at, the newest.
const LOOKED_AT: usize = 200;

/// Rooms that are looked at together, at most.
const CHANGED: usize = 400;

/// Events of the whole server that are looked at for what other servers received, the newest.
const LOOKED_AT_FOR_SERVERS: usize = 1_000;

/// What a recipient has received: behind `from`, up to `to`.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) user: UserNid,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The frames that tell of what some have received, with those who are to get them: of the users in `listening`.
pub(super) fn frames_of(
    read: &dyn Read,
    received: &[Received],
    listening: &HashSet<UserNid>,
    sources: &Sources,
) -> Result<Vec<(UserNid, String)>, StoreError> {
    let Some(since) = received.iter().map(|received| received.from).min() else { return Ok(Vec::new()) };
    // The members of a large room acknowledge the same message at the same time: it is left out for all of them at once.
    let mut small = sources.notifier.changed_rooms(read, since, CHANGED)?;
    if let Some(rooms) = &mut small {
        let all = std::mem::take(rooms);
        for room in all {
            if is_small(read, room)? {
                rooms.push(room);
            }
        }
    }
    let mut out = Vec::new();
    if small.as_ref().is_none_or(|rooms| !rooms.is_empty()) {
        for received in received {
            frames_of_one(read, received, listening, sources, small.as_deref(), &mut out)?;
        }
    }
    Ok(out)
}

/// Whether the members of a room hear of each other's receipts.
fn is_small(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    Ok(feed::joined(read, room)? <= RECEIPTS_TOLD)
}

/// `small`: the only rooms in which something may have happened that is to be told, if that is known.
fn frames_of_one(
    read: &dyn Read,
    received: &Received,
    listening: &HashSet<UserNid>,
    sources: &Sources,
    small: Option<&[RoomNid]>,
    out: &mut Vec<(UserNid, String)>,
) -> Result<(), StoreError> {
    let user = received.user;
    let viewer = Viewer { user, user_id: ids::user_id(read, user)?, device: None, now_ms: 0 };
    let filter = Filter::default();
    let mut view = View::new(read, &viewer, &filter, &sources.typing);
    view.since = Some(received.from);
    view.typing_since = sources.typing.serial();
    let rows = match small {
        Some(rooms) => {
            rooms.iter().filter_map(|room| members::of(read, user, *room).transpose()).collect::<Result<_, _>>()?
        }
        None => rooms::candidates(&view, &sources.notifier, &AccountData::default())?,
    };
    for row in rows {
        if row.membership != Membership::Join || !is_small(read, row.room)? {
            continue;
        }
        let mut told = HashSet::new();
        for event in feed::newest(read, row.room, received.from.max(row.since), received.to, LOOKED_AT)? {
            let event = events::by_nid(read, event)?;
            let tells = event.sender != user
                && listening.contains(&event.sender)
                && frames::is_message(&event)
                && event.redacted_by.is_none()
                && !view.ignored()?.contains(&event.sender);
            if tells && told.insert(event.sender) {
                let room = ids::room_by_nid(read, row.room)?;
                out.push((event.sender, frames::delivered(read, &sources.numbers, &room, user, &event)?));
            }
        }
    }
    Ok(())
}

/// As [`frames_of`], of what other servers have received: a message has come to all their users in the room, unless the server
/// does not take it.
pub(super) fn frames_of_servers(
    read: &dyn Read,
    moved: &[ServerMoved],
    listening: &HashSet<UserNid>,
    sources: &Sources,
) -> Result<Vec<(UserNid, String)>, StoreError> {
    let (Some(from), Some(to)) = (moved.iter().map(|it| it.from).min(), moved.iter().map(|it| it.to).max()) else {
        return Ok(Vec::new());
    };
    let servers: HashMap<i64, &ServerMoved> = moved.iter().map(|it| (it.server, it)).collect();
    let own = destinations::server_nid(read, sources.numbers.server_name().as_str())?.unwrap_or(0);
    let mut small: HashMap<RoomNid, bool> = HashMap::new();
    let mut told = HashSet::new();
    let mut out = Vec::new();
    for event in feed::newest_anywhere(read, from, to, LOOKED_AT_FOR_SERVERS)? {
        let event = events::by_nid(read, event)?;
        if !listening.contains(&event.sender) || !frames::is_message(&event) || event.redacted_by.is_some() {
            continue;
        }
        let small = match small.entry(event.room) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(is_small(read, event.room)?),
        };
        if !small {
            continue;
        }
        let position = event.position.unwrap_or(i64::MAX);
        let mut refused = None;
        for (user, server) in feed::members_elsewhere(read, event.room, position, own)? {
            let has = servers.get(&server).is_some_and(|it| it.from < position && position <= it.to);
            if !has || told.contains(&(event.room, event.sender, user)) {
                continue;
            }
            if refused.is_none() {
                refused = Some(message_status::refused_by(read, event.nid)?);
            }
            if refused.as_ref().is_some_and(|refused| refused.contains(&server)) {
                continue;
            }
            told.insert((event.room, event.sender, user));
            let room = ids::room_by_nid(read, event.room)?;
            out.push((event.sender, frames::delivered(read, &sources.numbers, &room, user, &event)?));
        }
    }
    Ok(out)
}
