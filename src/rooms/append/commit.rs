//! Writes a batch on the room's main line: one transaction holds everything that must be true together.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, OnceLock, PoisonError},
};

use linkim_federation::RoomVersionRules;
use ruma::{OwnedServerName, RoomId, RoomVersionId};
use tokio::sync::Notify;

use super::{
    Appended, LocalMembers, Wake,
    effects::{
        Concerned, Place, Redaction, apply_redaction, mention, read_up_to, state_changed, take_number, thread_of,
        waiting_redactions,
    },
    plan::{Planned, redacted_id, stored_auth},
};
use crate::{
    rooms::{direct::MemberWatcher, group_calls, state::load_pdu, state_hash::StateHashKey},
    store::{
        Read, StoreError, WriteTx, events,
        events::{NewEvent, Running, StateRef, flag},
        ids::{self, EventNid, RoomKey, RoomNid, UserNid},
        rooms,
        rooms::RoomHeadRow,
        state,
    },
};

/// What every write needs to know about the server.
pub(super) struct Site {
    pub(super) server_name: OwnedServerName,
    pub(super) hash_key: StateHashKey,
    pub(super) wake: Arc<dyn Wake>,
    pub(super) pdus: super::PduCache,
    /// Set once, after the services that watch are made.
    pub(super) watcher: OnceLock<Arc<dyn MemberWatcher>>,
    /// Woken by what admins ask of groups and by the answers.
    pub(super) calls: Arc<Notify>,
}

/// A batch to be written, and the room as it is before.
pub(super) struct MainCommit {
    pub(super) site: Arc<Site>,
    pub(super) room: Target,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) row: RoomHeadRow,
    pub(super) running: Running,
    pub(super) old_tips: Vec<EventNid>,
    pub(super) planned: Arc<Vec<Planned>>,
    pub(super) members: LocalMembers,
    pub(super) now_ms: i64,
    /// Whether the room's members are still to be fetched.
    pub(super) partial: bool,
}

/// Where a batch goes.
pub(super) enum Target {
    /// A room that is there.
    Room(Arc<RoomKey>),
    /// A room that the batch makes.
    New { room_id: ruma::OwnedRoomId, version: RoomVersionId },
}

/// The room after a batch.
pub(super) struct Committed {
    pub(super) room: Arc<RoomKey>,
    pub(super) row: RoomHeadRow,
    pub(super) running: Running,
    pub(super) appended: Vec<Appended>,
    concerned: Concerned,
    /// Whether a state event's body changed.
    pub(super) state_redacted: bool,
}

impl MainCommit {
    /// Runs in the writer's transaction.
    pub(super) fn run(self, tx: &WriteTx<'_>) -> Result<Committed, StoreError> {
        let room = match &self.room {
            Target::Room(room) => room.clone(),
            Target::New { room_id, version } => Arc::new(create_room(tx, room_id, version)?),
        };
        let mut out = Committed {
            room: room.clone(),
            row: self.row.clone(),
            running: self.running,
            appended: Vec::with_capacity(self.planned.len()),
            concerned: Concerned::default(),
            state_redacted: false,
        };
        let mut read: BTreeMap<(UserNid, i64), i64> = BTreeMap::new();
        for planned in self.planned.iter() {
            if let Some((user, thread, position)) = self.write_one(tx, &room, planned, &mut out)? {
                read.insert((user, thread.map_or(0, |nid| nid.0)), position);
            }
        }
        for ((user, thread), position) in read {
            let thread = (thread != 0).then_some(EventNid(thread));
            read_up_to(tx, user, room.nid, thread, position)?;
        }
        for tip in &self.old_tips {
            rooms::remove_extremity(tx, room.nid, *tip)?;
        }
        if let Some(last) = out.appended.last() {
            rooms::add_extremity(tx, room.nid, last.nid)?;
        }
        rooms::put_head(tx, room.nid, &out.row)?;
        let concerned = std::mem::take(&mut out.concerned);
        out.state_redacted = concerned.state_redacted;
        let news = if self.is_owed(&out.row) { News::Everywhere } else { News::Here };
        announce(tx, &self.site, room.nid, &out.row, (Some(&self.members), news), concerned);
        Ok(out)
    }

    /// Whether other servers may be owed something of the batch: events that we relay, where members have their accounts
    /// elsewhere; or what follows from state, such as device lists.
    fn is_owed(&self, after: &RoomHeadRow) -> bool {
        let state = after.state_position != self.row.state_position;
        let alone = after.joined == after.local_joined && !self.partial;
        state || (!alone && self.planned.iter().any(|planned| planned.relay))
    }

    fn write_one(
        &self,
        tx: &WriteTx<'_>,
        room: &RoomKey,
        planned: &Planned,
        out: &mut Committed,
    ) -> Result<Option<(UserNid, Option<EventNid>, i64)>, StoreError> {
        let position = tx.next_position();
        let nid = EventNid(position);
        let pdu = &planned.pdu;
        let place = Place { room: room.nid, site: &self.site, position };
        let before = StateRef { line: room.main_line, epoch: out.row.state_position };
        let mut after = before;
        let mut key = None;
        if let Some(state_key) = pdu.state_key() {
            let kind = pdu.event_type().to_string();
            let number = ids::intern_state_key(tx, &kind, state_key)?;
            after.epoch = position;
            set_current(tx, &self.site.hash_key, room.nid, after, number, Some(nid), &mut out.row)?;
            let load = || Ok(Some((pdu.clone(), nid)));
            state_changed(tx, &place, (&kind, state_key), load, &mut out.row, &mut out.concerned)?;
            let auth = stored_auth(&planned.auth, &out.appended);
            rooms::put_auth_edges(tx, room.nid, nid, &auth)?;
            key = Some(number);
        }
        let set = |bit, is| if is { bit } else { 0 };
        let flags = planned.class.flags
            | set(flag::LINEAR, planned.linear)
            | set(flag::RELAY, planned.relay)
            | set(flag::PARTIAL_STATE, self.partial);
        out.running = out.running.plus(flags);
        out.row.took(position, flags);
        let place_in = Written { nid, position, key, before, after, flags, running: out.running, stored: false };
        let read = write_event(
            tx,
            &Context {
                site: &self.site,
                room: room.nid,
                rules: self.rules,
                members: &self.members,
                now_ms: self.now_ms,
            },
            planned,
            &place_in,
            &mut out.concerned,
        )?;
        out.appended.push(Appended { nid, event_id: pdu.event_id().to_owned(), position, repeated: false });
        Ok(read.map(|(user, thread)| (user, thread, position)))
    }
}

/// What all events of a write have in common.
pub(super) struct Context<'a> {
    pub(super) site: &'a Site,
    pub(super) room: RoomNid,
    pub(super) rules: &'a RoomVersionRules,
    pub(super) members: &'a LocalMembers,
    pub(super) now_ms: i64,
}

/// Where an event comes to stand.
pub(super) struct Written {
    pub(super) nid: EventNid,
    pub(super) position: i64,
    pub(super) key: Option<i64>,
    pub(super) before: StateRef,
    pub(super) after: StateRef,
    pub(super) flags: i64,
    pub(super) running: Running,
    /// Whether its row is here, as an outlier's.
    pub(super) stored: bool,
}

/// Writes an event and what it changes beside the room's state. Answers its local sender, who has read up to here, and the
/// thread.
pub(super) fn write_event(
    tx: &WriteTx<'_>,
    context: &Context<'_>,
    planned: &Planned,
    at: &Written,
    concerned: &mut Concerned,
) -> Result<Option<(UserNid, Option<EventNid>)>, StoreError> {
    let pdu = &planned.pdu;
    let room = context.room;
    let kind = pdu.event_type().to_string();
    let sender = ids::intern_user(tx, pdu.sender())?;
    let relation = match &planned.class.relation {
        Some((kind, target)) => Some((ids::intern_type(tx, kind)?, target.as_ref())),
        None => None,
    };
    let thread = thread_of(tx, room, planned.class.relation.as_ref())?;
    let write = if at.stored { events::place } else { events::insert };
    write(
        tx,
        &NewEvent {
            nid: at.nid,
            event_id: pdu.event_id(),
            room,
            position: Some(at.position),
            depth: i64::try_from(pdu.depth()).unwrap_or(i64::MAX),
            kind: ids::intern_type(tx, &kind)?,
            state_key: at.key,
            sender,
            origin_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
            received_ts: context.now_ms,
            flags: at.flags,
            before: Some(at.before),
            after: Some(at.after),
            relation,
            thread,
            running: at.running,
            transaction: planned.transaction.as_ref().map(|t| (t.device, t.txn_id.as_str())),
            json: pdu.json(),
        },
    )?;
    if let Some(t) = &planned.transaction {
        events::put_transaction(tx, t.device, &t.key, at.nid, context.now_ms)?;
    }
    if !planned.linear {
        for prev in pdu.prev_events() {
            rooms::put_edge(tx, room, prev, at.nid)?;
        }
    }
    let local = pdu.sender().server_name() == context.site.server_name;
    if at.flags & flag::HIDDEN != 0 {
        return Ok(None);
    }
    if let Some(target) = redacted_id(planned, context.rules) {
        let redaction = Redaction { nid: at.nid, sender: pdu.sender(), redacts_others: planned.redacts_others };
        apply_redaction(tx, room, context.rules, &redaction, &target, concerned)?;
    }
    if planned.came {
        apply_waiting(tx, room, context.rules, pdu.event_id(), concerned)?;
    }
    if let Some(withdrawn) = &planned.class.restores {
        take_number(tx, room, withdrawn, sender, at.nid)?;
    }
    if !planned.class.mentions.is_empty() {
        let mentioned = mentioned(tx, context, planned, sender)?;
        let place = Place { room, site: context.site, position: at.position };
        mention(tx, &place, &mentioned, thread, at.flags)?;
    }
    let backfilled_ms = (at.flags & flag::BACKFILLED != 0).then_some(context.now_ms);
    if group_calls::came(tx, &context.site.server_name, room, (pdu, &kind), at.nid, backfilled_ms)? {
        let calls = context.site.calls.clone();
        tx.after_commit(move || calls.notify_waiters());
    }
    Ok((local && !group_calls::reads_nothing(&kind)).then_some((sender, thread)))
}

/// What an event changes beside the room's state that clients may see now, though not when it came.
pub(super) fn come_to_light(
    tx: &WriteTx<'_>,
    context: &Context<'_>,
    planned: &Planned,
    (nid, position, flags): (EventNid, i64, i64),
    sender: UserNid,
    thread: Option<EventNid>,
    concerned: &mut Concerned,
) -> Result<(), StoreError> {
    let (pdu, room) = (&planned.pdu, context.room);
    if let Some(target) = redacted_id(planned, context.rules) {
        let redaction = Redaction { nid, sender: pdu.sender(), redacts_others: planned.redacts_others };
        apply_redaction(tx, room, context.rules, &redaction, &target, concerned)?;
    }
    apply_waiting(tx, room, context.rules, pdu.event_id(), concerned)?;
    if !planned.class.mentions.is_empty() {
        let mentioned = mentioned(tx, context, planned, sender)?;
        let place = Place { room, site: context.site, position };
        mention(tx, &place, &mentioned, thread, flags)?;
    }
    Ok(())
}

/// Mentioned users who are joined local members, the sender left out.
fn mentioned(
    tx: &WriteTx<'_>,
    context: &Context<'_>,
    planned: &Planned,
    sender: UserNid,
) -> Result<Vec<UserNid>, StoreError> {
    let mut found = Vec::new();
    for user in &planned.class.mentions {
        if user.server_name() == context.site.server_name
            && let Some(nid) = ids::user_nid(tx, user)?
            && nid != sender
            && context.members.read().unwrap_or_else(PoisonError::into_inner).contains(&nid)
        {
            found.push(nid);
        }
    }
    Ok(found)
}

/// Writes one change of the current state on the main line.
pub(super) fn set_current(
    tx: &WriteTx<'_>,
    hash: &StateHashKey,
    room: RoomNid,
    at: StateRef,
    key: i64,
    new: Option<EventNid>,
    row: &mut RoomHeadRow,
) -> Result<(), StoreError> {
    if let Some(old) = state::current_value(tx, room, key)? {
        row.state_hash = row.state_hash.wrapping_sub(hash.entry(key, old));
    }
    if let Some(new) = new {
        row.state_hash = row.state_hash.wrapping_add(hash.entry(key, new));
    }
    state::put(tx, at, key, new)?;
    state::put_current(tx, room, key, new)?;
    row.state_position = at.epoch;
    Ok(())
}

/// Applies redactions that came before the event they redact.
pub(super) fn apply_waiting(
    tx: &WriteTx<'_>,
    room: RoomNid,
    rules: &RoomVersionRules,
    target: &ruma::EventId,
    concerned: &mut Concerned,
) -> Result<(), StoreError> {
    for (nid, redacts_others) in waiting_redactions(tx, room, target)? {
        let pdu = load_pdu(tx, nid)?;
        let redaction = Redaction { nid, sender: pdu.sender(), redacts_others };
        apply_redaction(tx, room, rules, &redaction, target, concerned)?;
        tx.execute("DELETE FROM pending_redactions WHERE room = ?1 AND redaction = ?2", crate::params![room, nid])?;
    }
    Ok(())
}

/// Whom something new may concern.
#[derive(Clone, Copy)]
pub(super) enum News {
    /// Other servers, too.
    Everywhere,
    /// Members with an account here.
    Here,
}

/// After the commit: brings the members up to date and wakes whom it concerns; nobody without `members`, where what was written
/// is no news.
pub(super) fn announce(
    tx: &WriteTx<'_>,
    site: &Arc<Site>,
    room: RoomNid,
    row: &RoomHeadRow,
    (members, news): (Option<&LocalMembers>, News),
    concerned: Concerned,
) {
    let (site, members) = (site.clone(), members.cloned());
    let Concerned { members: changed, redacted, state, .. } = concerned;
    let position = match &members {
        Some(_) => row.last_position.max(row.state_position),
        // The notifier learns from it up to where it was told of everything.
        None => tx.position(),
    };
    tx.after_commit(move || {
        for nid in redacted {
            site.pdus.invalidate(&nid);
        }
        if state {
            site.wake.state_changed(room);
        }
        let Some(members) = members else {
            site.wake.room_changed(room, position, &HashSet::new(), &[]);
            return;
        };
        if !changed.is_empty() {
            let mut members = members.write().unwrap_or_else(PoisonError::into_inner);
            for (user, joined) in &changed {
                if *joined {
                    members.insert(*user);
                } else {
                    members.remove(user);
                }
            }
        }
        let also: Vec<UserNid> = changed.into_keys().collect();
        let members: &HashSet<UserNid> = &members.read().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Here if also.is_empty() => site.wake.room_changed_here(room, position, members),
            _ => site.wake.room_changed(room, position, members, &also),
        }
    });
}

/// Writes a room that the batch makes.
fn create_room(tx: &WriteTx<'_>, room_id: &RoomId, version: &RoomVersionId) -> Result<RoomKey, StoreError> {
    if ids::room(tx, room_id)?.is_some() {
        return Err(StoreError::Damaged(format!("room {room_id} is there already")));
    }
    let (nid, main_line) = rooms::create(tx, room_id, version.as_str())?;
    Ok(RoomKey { nid, room_id: room_id.to_owned(), version: version.clone(), main_line, service: None })
}
