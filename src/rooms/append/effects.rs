//! What an event changes beside itself, in its own transaction: memberships, redactions, how far its sender has read.

use std::{collections::BTreeMap, sync::Arc};

use linkim_federation::{Pdu, RoomVersionRules, redact};
use ruma::{EventId, OwnedEventId, OwnedRoomId, ServerName, UserId, events::room::member::MembershipState};
use serde::Deserialize;

use super::commit::Site;
use crate::{
    accounts::SERVICE_PREFIX,
    params,
    rooms::{direct, state::load_pdu},
    store::{
        Read, StoreError, WriteTx, accounts,
        accounts::AccountKind,
        device_lists, event_id, events,
        ids::{self, EventNid, RoomNid, UserNid},
        members,
        members::{MemberRow, Membership},
        message_numbers, room_servers, rooms,
        rooms::RoomHeadRow,
    },
};

/// Who of ours a batch concerns, beside the room's members.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Local users whose membership changed: whether they are joined now.
    pub(super) members: BTreeMap<UserNid, bool>,
    /// Events whose body changed.
    pub(super) redacted: Vec<EventNid>,
    /// Whether a state event's body changed.
    pub(super) state_redacted: bool,
    /// Whether the current state changed.
    pub(super) state: bool,
}

/// Levels of relations below an event of a thread that follow it into the thread when the root comes late.
const MAX_RELATED: usize = 3;

#[derive(Deserialize)]
struct MemberContent {
    membership: MembershipState,
}

/// The membership that a member event gives.
pub(crate) fn membership(pdu: &Pdu) -> Membership {
    serde_json::from_str::<MemberContent>(pdu.content().get())
        .map_or(Membership::Leave, |content| Membership::from_content(&content.membership))
}

/// Where an effect happens.
pub(super) struct Place<'a> {
    pub(super) room: RoomNid,
    pub(super) site: &'a Site,
    pub(super) position: i64,
}

/// The current state of one key changed: to the event that `load` gives, or to none. What follows from it is written.
pub(super) fn state_changed(
    tx: &WriteTx<'_>,
    place: &Place<'_>,
    (kind, key): (&str, &str),
    load: impl FnOnce() -> Result<Option<(Arc<Pdu>, EventNid)>, StoreError>,
    head: &mut RoomHeadRow,
    concerned: &mut Concerned,
) -> Result<(), StoreError> {
    concerned.state = true;
    match (kind, key) {
        ("m.room.member", user) => {
            let event = load()?;
            member_changed(tx, place, user, event.as_ref().map(|(pdu, nid)| (&**pdu, *nid)), head, concerned)
        }
        ("m.room.tombstone", "") => {
            let successor = load()?.and_then(|(pdu, _)| replacement(&pdu));
            rooms::set_successor(tx, place.room, successor.as_ref().map(|room| room.as_str()))
        }
        ("m.room.create", "") => {
            let Some((pdu, nid)) = load()? else { return Ok(()) };
            rooms::set_create_event(tx, place.room, nid)?;
            if let Some(service) = group_service(tx, &place.site.server_name, &pdu)? {
                let service = ids::intern_user(tx, service)?;
                rooms::set_service(tx, place.room, service)?;
            }
            match predecessor(&pdu) {
                Some(old) => rooms::set_predecessor(tx, place.room, old.as_str()),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The service user who made a room, if it is a group of LinkIM's: its create event says so, and its only creator is a service
/// user of their server's. For a server of others the name must suffice.
pub(crate) fn group_service<'c>(
    read: &dyn Read,
    own: &ServerName,
    create: &'c Pdu,
) -> Result<Option<&'c UserId>, StoreError> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "org.linkim.group", default)]
        group: bool,
        additional_creators: Option<serde::de::IgnoredAny>,
    }
    let marked = serde_json::from_str::<Content>(create.content().get())
        .is_ok_and(|content| content.group && content.additional_creators.is_none());
    let sender = create.sender();
    if !marked || !sender.localpart().starts_with(SERVICE_PREFIX) {
        return Ok(None);
    }
    if sender.server_name() != own {
        return Ok(Some(sender));
    }
    let account = ids::user_nid(read, sender)?.map(|user| accounts::get(read, user)).transpose()?.flatten();
    Ok(account.filter(|account| account.kind == AccountKind::Service).map(|_| sender))
}

/// The room that a tombstone points to.
fn replacement(pdu: &Pdu) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Content {
        replacement_room: OwnedRoomId,
    }
    serde_json::from_str::<Content>(pdu.content().get()).ok().map(|content| content.replacement_room)
}

/// The room that a create event says it replaces.
fn predecessor(pdu: &Pdu) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Content {
        predecessor: Predecessor,
    }
    #[derive(Deserialize)]
    struct Predecessor {
        room_id: OwnedRoomId,
    }
    serde_json::from_str::<Content>(pdu.content().get()).ok().map(|content| content.predecessor.room_id)
}

/// A member event became (or, with None, ceased to be) the current one of `user`.
fn member_changed(
    tx: &WriteTx<'_>,
    place: &Place<'_>,
    user: &str,
    event: Option<(&Pdu, EventNid)>,
    head: &mut RoomHeadRow,
    concerned: &mut Concerned,
) -> Result<(), StoreError> {
    // A state key that is no user id stands for nobody.
    let Ok(user_id) = <&UserId>::try_from(user) else { return Ok(()) };
    let user = ids::intern_user(tx, user_id)?;
    let old = members::of(tx, user, place.room)?;
    let local = user_id.server_name() == place.site.server_name;
    let before = old.map(|old| old.membership);
    let after = event.map(|(pdu, _)| membership(pdu));
    let count = |at: Option<Membership>, what| i64::from(at == Some(what));
    head.joined += count(after, Membership::Join) - count(before, Membership::Join);
    head.invited += count(after, Membership::Invite) - count(before, Membership::Invite);
    if local {
        head.local_joined += count(after, Membership::Join) - count(before, Membership::Join);
        concerned.members.insert(user, after == Some(Membership::Join));
    }
    match (before == Some(Membership::Join), after == Some(Membership::Join)) {
        (false, true) => {
            room_servers::joined(tx, place.room, user, place.position)?;
            if local {
                device_lists::joined(tx, user, place.room, place.position)?;
            }
        }
        (true, false) => {
            room_servers::left(tx, place.room, user, place.position)?;
            if local {
                device_lists::left(tx, user, place.room)?;
            }
        }
        _ => {}
    }
    let Some(((pdu, event), membership)) = event.zip(after) else {
        return members::delete(tx, user, place.room);
    };
    let out = |at: Option<Membership>| matches!(at, Some(Membership::Leave | Membership::Ban));
    if !matches!(membership, Membership::Invite | Membership::Knock) && local && before.is_some() {
        tx.execute("DELETE FROM stripped_state WHERE user = ?1 AND room = ?2", params![user, place.room])?;
    }
    members::put(
        tx,
        &MemberRow {
            user,
            room: place.room,
            membership,
            event,
            position: place.position,
            since: old.filter(|old| old.membership == membership).map_or(place.position, |old| old.since),
            forgotten: old.is_some_and(|old| old.forgotten) && out(before) && out(after),
        },
    )?;
    direct::member_changed(tx, place.site.watcher.get(), place.room, (user, before, membership), pdu)
}

/// A redaction, as far as its effect goes.
pub(super) struct Redaction<'a> {
    pub(super) nid: EventNid,
    pub(super) sender: &'a UserId,
    /// Whether the sender's power suffices for other servers' events.
    pub(super) redacts_others: bool,
}

/// Takes the content of the redacted event, if it is here and the redaction may; remembers the redaction if it is not here.
///
/// Source: room version 3, "Handling redactions".
pub(super) fn apply_redaction(
    tx: &WriteTx<'_>,
    room: RoomNid,
    rules: &RoomVersionRules,
    redaction: &Redaction<'_>,
    target: &EventId,
    concerned: &mut Concerned,
) -> Result<(), StoreError> {
    let Some(row) = events::by_id(tx, target)? else {
        tx.execute(
            "INSERT INTO pending_redactions (room, target, redaction, redacts_others) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO NOTHING",
            params![room, &event_id::encode(target), redaction.nid, redaction.redacts_others],
        )?;
        return Ok(());
    };
    if row.room != room || row.redacted_by.is_some() || &*row.kind == "m.room.create" {
        return Ok(());
    }
    let pdu = load_pdu(tx, row.nid)?;
    if redaction.redacts_others || pdu.sender().server_name() == redaction.sender.server_name() {
        events::redact(tx, row.nid, redaction.nid, redact(&pdu, rules).json())?;
        concerned.redacted.push(row.nid);
        concerned.state_redacted |= row.state_key.is_some();
    }
    Ok(())
}

/// A message restores one that its sender withdrew: for LinkIM's clients it takes the number, and so the place, of that one. At
/// most one at a time does; another, or one of somebody else's message, is a message like any other.
pub(super) fn take_number(
    tx: &WriteTx<'_>,
    room: RoomNid,
    withdrawn: &EventId,
    sender: UserNid,
    by: EventNid,
) -> Result<(), StoreError> {
    let Some(row) = events::by_id(tx, withdrawn)? else { return Ok(()) };
    let Some(redaction) = row.redacted_by.filter(|_| row.room == room && row.sender == sender) else { return Ok(()) };
    if row.flags & events::flag::COUNTABLE == 0 || events::by_nid(tx, redaction)?.sender != sender {
        return Ok(());
    }
    let number = message_numbers::of_event(tx, row.nid)?;
    let heir = message_numbers::event(tx, room, number)?;
    if let Some(heir) = heir.filter(|heir| *heir != row.nid)
        && events::by_nid(tx, heir)?.redacted_by.is_none()
    {
        return Ok(());
    }
    message_numbers::take(tx, number, by)
}

/// Redactions that came before the event they redact, with whether their sender has the power to redact others' events.
pub(super) fn waiting_redactions(
    read: &dyn Read,
    room: RoomNid,
    target: &EventId,
) -> Result<Vec<(EventNid, bool)>, StoreError> {
    read.all(
        "SELECT redaction, redacts_others FROM pending_redactions WHERE room = ?1 AND target = ?2 ORDER BY redaction",
        params![room, &event_id::encode(target)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// An event came that others relate to already: those of its thread, and what relates to them, are of it now.
pub(super) fn adopt_thread(tx: &WriteTx<'_>, room: RoomNid, root: EventNid, id: &EventId) -> Result<(), StoreError> {
    let Some(thread) = ids::type_nid(tx, "m.thread")? else { return Ok(()) };
    let mut adopted = tx.execute(
        "UPDATE events SET thread = ?1 WHERE relation_target = ?2 AND relation_type = ?3 AND room = ?4 AND thread = 0",
        params![root, &event_id::encode(id), thread, room],
    )?;
    if adopted == 0 {
        return Ok(());
    }
    for _ in 0..MAX_RELATED {
        if adopted == 0 {
            break;
        }
        adopted = tx.execute(
            "UPDATE events INDEXED BY events_relation SET thread = ?1 WHERE relation_target IN \
             (SELECT event_id FROM events WHERE thread = ?1 AND thread <> 0) AND thread = 0 AND room = ?2",
            params![root, room],
        )?;
    }
    tx.execute(
        "UPDATE personal_notifications SET thread = ?1 WHERE thread = 0 AND room = ?2 AND position IN \
         (SELECT position FROM events WHERE thread = ?1 AND thread <> 0 AND position > 0)",
        params![root, room],
    )?;
    Ok(())
}

/// The thread that an event belongs to: its own relation's, or that of what it relates to.
pub(super) fn thread_of(
    read: &dyn Read,
    room: RoomNid,
    relation: Option<&(String, OwnedEventId)>,
) -> Result<Option<EventNid>, StoreError> {
    let Some((kind, target)) = relation else { return Ok(None) };
    let Some(row) = events::by_id(read, target)?.filter(|row| row.room == room) else { return Ok(None) };
    Ok(if kind == "m.thread" { Some(row.nid) } else { row.thread })
}

/// A local user sent something: they have read up to there.
pub(super) fn read_up_to(
    tx: &WriteTx<'_>,
    user: UserNid,
    room: RoomNid,
    thread: Option<EventNid>,
    position: i64,
) -> Result<(), StoreError> {
    let thread = thread.map_or(0, |nid| nid.0);
    tx.execute(
        "INSERT INTO read_to (user, room, thread, position) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, room, thread) DO UPDATE SET position = excluded.position \
         WHERE excluded.position > read_to.position",
        params![user, room, thread, position],
    )?;
    tx.execute(
        "DELETE FROM personal_notifications WHERE user = ?1 AND room = ?2 AND position <= ?3 AND thread = ?4",
        params![user, room, position, thread],
    )?;
    Ok(())
}

/// Writes what mentions add to the counts of the mentioned local members.
pub(super) fn mention(
    tx: &WriteTx<'_>,
    place: &Place<'_>,
    users: &[UserNid],
    thread: Option<EventNid>,
    flags: i64,
) -> Result<(), StoreError> {
    let notified = flags & events::flag::NOTIFY != 0;
    let highlighted = flags & events::flag::HIGHLIGHT != 0;
    for user in users {
        tx.execute(
            "INSERT INTO personal_notifications (user, room, position, thread, notify, highlight) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            params![
                *user,
                place.room,
                place.position,
                thread.map_or(0, |nid| nid.0),
                i64::from(!notified),
                i64::from(!highlighted)
            ],
        )?;
    }
    Ok(())
}
