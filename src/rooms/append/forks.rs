//! Events whose place in the DAG is not simply the room's end: they come from other servers, and their history may have
//! forked from ours, have gaps, or lie before ours.
//!
//! Each is judged as the spec orders the checks on receipt: by its auth events, by the state before it (reject), by the
//! current state (soft fail). Then the room's current state is what its new extremities resolve to; what changes by that
//! becomes rows of the main line at the event's position.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU".

use std::{collections::BTreeSet, sync::Arc};

use linkim_federation::{Pdu, RoomVersionRules};
use ruma::OwnedEventId;

use super::{
    Incoming, PduCache,
    checks::{auth_events, checks, power_before},
    commit::Site,
    resolution::{Resolver, Virtual, difference},
    told,
};
use crate::{
    rooms::state_hash::StateHashKey,
    store::{
        Read, StoreError, events,
        events::{EventRow, Standing, StateRef, flag},
        ids::{self, EventNid, RoomKey},
        partial_joins, rooms,
        rooms::RoomHeadRow,
        state,
    },
};

/// What the checks say about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Part of the room.
    Accepted,
    /// Part of the DAG, hidden from clients.
    SoftFailed(String),
    /// Refused for good.
    Rejected(String),
}

/// Which way an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is news.
    Live,
    /// It is history: the current state has no say, and it changes nothing in it.
    History {
        /// A stored state that is likely to be near to the one before it.
        near: Option<StateRef>,
    },
    /// It was judged while the room's members were still to be fetched, and now they are here: as it was then, without what
    /// came later.
    Again {
        /// Its number.
        nid: EventNid,
        /// Its place.
        position: i64,
    },
}

impl Way {
    /// Whether the current state has a say.
    pub(super) fn is_live(self) -> bool {
        !matches!(self, Self::History { .. })
    }

    /// Whether an event was here when this one came.
    fn was_here(self, row: &EventRow) -> bool {
        match self {
            Self::Again { position, .. } => row.position.is_none_or(|at| at < position),
            _ => true,
        }
    }
}

/// An event that was judged, and what writing it will change.
pub(super) struct Judged {
    pub(super) judgement: Judgement,
    pub(super) way: Way,
    /// The outlier that it was until now.
    pub(super) outlier: Option<Standing>,
    /// What [`Self::current`] calls the event itself: the outlier's number, or [`Resolver::NEW`].
    pub(super) own: i64,
    /// Previous events that are not here.
    pub(super) missing: Vec<OwnedEventId>,
    /// Whether the state before it is what a peer says.
    pub(super) told: bool,
    /// Numbers of its auth events.
    pub(super) auth: Vec<EventNid>,
    /// State before it.
    pub(super) before: Virtual,
    /// Extremities that it replaces.
    pub(super) replaced: Vec<EventNid>,
    /// Whether it becomes an extremity.
    pub(super) extremity: bool,
    /// What changes in the current state: (key, event or none).
    pub(super) current: Vec<(i64, Option<i64>)>,
    /// Key of the memo of the resolution that makes the current state, if it was computed now and its inputs are stored.
    pub(super) current_memo: Option<[u8; 32]>,
    /// Whether its sender may redact other servers' events, and mention the room.
    pub(super) redacts_others: bool,
    pub(super) may_notify_room: bool,
    pub(super) linear: bool,
    /// Whether the room's members are still to be fetched: nothing of it is remembered.
    pub(super) partial: bool,
}

/// Why an event can't be judged yet.
#[derive(Debug)]
pub(super) enum NotJudged {
    /// It is here already.
    Known(EventNid),
    /// These previous events are not here, or have no state.
    MissingPrev(Vec<OwnedEventId>),
    /// These auth events are not here.
    MissingAuth(Vec<OwnedEventId>),
    /// These events of the state before it, as a peer says, are not here.
    MissingState(Vec<OwnedEventId>),
    /// It was said to be history, and follows what is newest here.
    News,
    /// It can't belong here.
    Malformed(&'static str),
    /// The store failed.
    Store(StoreError),
}

impl Judged {
    /// Whether an outlier that others may have been resolved with is rejected in its place.
    pub(super) fn rejects_outlier(&self) -> bool {
        matches!(self.judgement, Judgement::Rejected(_)) && self.outlier.as_ref().is_some_and(is_accepted)
    }
}

/// Whether an outlier was judged, and accepted.
fn is_accepted(outlier: &Standing) -> bool {
    !outlier.loose && outlier.flags & flag::REJECTED == 0
}

impl From<StoreError> for NotJudged {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Judges one event on a snapshot that has all that was appended before it.
pub(super) fn judge(
    read: &dyn Read,
    room: &Arc<RoomKey>,
    rules: &RoomVersionRules,
    incoming: &Incoming,
    way: Way,
    resolver: &mut Resolver,
    site: &Site,
) -> Result<Judged, NotJudged> {
    let (pdu, pdus) = (&incoming.pdu, &site.pdus);
    let partial = !matches!(way, Way::Again { .. }) && partial_joins::is_partial(read, room.nid)?;
    let (outlier, stored) = match way {
        Way::Again { nid, .. } => (None, Some(nid)),
        _ => {
            let outlier = outlier(read, room, pdu)?;
            (outlier, outlier.filter(|outlier| !outlier.loose).map(|outlier| outlier.nid))
        }
    };
    let (prev, missing) = previous(read, room, pdu, way)?;
    check_place(read, room, incoming, way, (&prev, &missing), outlier.as_ref())?;
    let auth = auth_events(read, pdu, pdus)?;
    let tips = rooms::extremities(read, room.nid)?;
    let head = rooms::head(read, room.nid)?;
    let current = StateRef { line: room.main_line, epoch: head.state_position };
    resolver.begin(read, pdu, stored)?;

    let near = if let Way::History { near } = way { near } else { None };
    let near = (near, partial);
    let before = before(read, room, rules, (incoming, &prev, &missing, near), (&tips, &head), resolver, site)?;
    let current_says = way.is_live().then_some(current);
    let mut judgement = checks(read, rules, pdu, &auth, (&before, current_says, partial), resolver, pdus)?;
    if let (Judgement::Accepted, Some(reason)) = (&judgement, &incoming.soft_fail) {
        judgement = Judgement::SoftFailed(reason.clone());
    }
    if let (Judgement::Rejected(reason), Some(outlier)) = (&judgement, &outlier)
        && keeps_effect(read, room, way, outlier)?
    {
        judgement = Judgement::SoftFailed(reason.clone());
    }
    let mut judged = Judged {
        way,
        outlier,
        own: resolver.new_nid,
        told: !missing.is_empty(),
        missing,
        auth: auth.iter().map(|(nid, _)| *nid).collect(),
        replaced: Vec::new(),
        extremity: false,
        current: Vec::new(),
        current_memo: None,
        redacts_others: false,
        may_notify_room: false,
        linear: false,
        partial,
        before,
        judgement,
    };
    match way {
        Way::Live | Way::Again { .. } => {
            move_tips(read, room, rules, (pdu, &prev), (&tips, current), &mut judged, resolver, pdus)?
        }
        Way::History { .. } if follows_tip(read, room, &prev, &tips, pdus)? => return Err(NotJudged::News),
        Way::History { .. } => {}
    }
    let power = power_before(read, rules, &judged.before, resolver, pdus)?;
    judged.redacts_others = power.of(pdu.sender()) >= power.to_redact();
    judged.may_notify_room = power.of(pdu.sender()) >= power.to_notify_room();
    Ok(judged)
}

/// Whether an outlier is not to be rejected in its place, as what is newest here may stand on it: a server that tells a false
/// state of long ago, with history or with what it sends as news, must not be able to take the room's power levels out of
/// effect. It is kept from clients all the same. Other news is rejected: what is not in the current state would get into it.
fn keeps_effect(read: &dyn Read, room: &RoomKey, way: Way, outlier: &Standing) -> Result<bool, StoreError> {
    if !is_accepted(outlier) {
        return Ok(false);
    }
    match (way, outlier.state_key) {
        (Way::History { .. }, _) => Ok(true),
        (Way::Live, Some(key)) => Ok(state::current_value(read, room.nid, key)? == Some(outlier.nid)),
        (Way::Live, None) | (Way::Again { .. }, _) => Ok(false),
    }
}

/// The outlier that the event is here; `Known` if it is more than that.
fn outlier(read: &dyn Read, room: &RoomKey, pdu: &Pdu) -> Result<Option<Standing>, NotJudged> {
    if pdu.room_id() != room.room_id {
        return Err(NotJudged::Malformed("it is of another room"));
    }
    match events::standing(read, pdu.event_id())? {
        Some(known) if known.room != room.nid => Err(NotJudged::Malformed("its id is taken in another room")),
        Some(known) if known.flags & flag::OUTLIER == 0 => Err(NotJudged::Known(known.nid)),
        known => Ok(known),
    }
}

/// Whether the event can stand where it says that it does.
fn check_place(
    read: &dyn Read,
    room: &RoomKey,
    incoming: &Incoming,
    way: Way,
    (prev, missing): (&[EventRow], &[OwnedEventId]),
    outlier: Option<&Standing>,
) -> Result<(), NotJudged> {
    let Some(create) = rooms::create_event(read, room.nid)? else {
        return Err(NotJudged::Malformed("the room's state is not here"));
    };
    if is_create(&incoming.pdu) {
        let own = !way.is_live() && outlier.is_some_and(|outlier| outlier.nid == create);
        return if own { Ok(()) } else { Err(NotJudged::Malformed("it is not the event that created the room")) };
    }
    if prev.is_empty() && missing.is_empty() {
        return Err(NotJudged::Malformed("it names no previous event"));
    }
    if !missing.is_empty() && incoming.state_before.is_none() {
        return Err(NotJudged::MissingPrev(missing.to_vec()));
    }
    Ok(())
}

fn is_create(pdu: &Pdu) -> bool {
    pdu.state_key() == Some("") && pdu.event_type().to_string() == "m.room.create"
}

/// A stored state that is likely to be near, and whether the room's members are still to be fetched.
type Surroundings = (Option<StateRef>, bool);

/// The state before the event.
fn before(
    read: &dyn Read,
    room: &Arc<RoomKey>,
    rules: &RoomVersionRules,
    (incoming, prev, missing, (near, partial)): (&Incoming, &[EventRow], &[OwnedEventId], Surroundings),
    (tips, head): (&[EventNid], &RoomHeadRow),
    resolver: &mut Resolver,
    site: &Site,
) -> Result<Virtual, NotJudged> {
    let current = StateRef { line: room.main_line, epoch: head.state_position };
    let named: BTreeSet<EventNid> = prev.iter().map(|row| row.nid).collect();
    let mut states: Vec<Virtual> = prev.iter().filter_map(|row| row.after).map(Virtual::stored).collect();
    match (&incoming.state_before, missing) {
        (_, []) if !tips.is_empty() && tips.iter().all(|tip| named.contains(tip)) && named.len() == tips.len() => {
            return Ok(Virtual::stored(current));
        }
        (Some(ids), [_, ..]) => {
            let near = told::near(read, room.nid, &incoming.pdu, prev)?.into_iter().chain(near).collect();
            states.push(told::state(read, room, ids, current, near)?);
        }
        _ => {}
    }
    let before = resolver.resolve(read, room, rules, states, current, &site.pdus)?;
    if partial {
        return Ok(Virtual { memo: None, ..before });
    }
    Ok(share(read, room, &site.hash_key, head, before)?)
}

/// Whether an extremity is behind an event with these previous events.
fn follows_tip(
    read: &dyn Read,
    room: &RoomKey,
    prev: &[EventRow],
    tips: &[EventNid],
    pdus: &PduCache,
) -> Result<bool, StoreError> {
    let covered = behind_hidden(read, room, prev, pdus)?;
    Ok(tips.iter().any(|tip| covered.contains(tip) || prev.iter().any(|row| row.nid == *tip)))
}

/// What the event does to the extremities and to the current state: an accepted one takes the place of those behind it; so does,
/// for an accepted one that came before it, any that fills the gap between. An outlier that is rejected is so in the current
/// state, too.
#[expect(clippy::too_many_arguments, reason = "what the current state is made of")]
fn move_tips(
    read: &dyn Read,
    room: &Arc<RoomKey>,
    rules: &RoomVersionRules,
    (pdu, prev): (&Arc<Pdu>, &[EventRow]),
    (tips, current): (&[EventNid], StateRef),
    judged: &mut Judged,
    resolver: &mut Resolver,
    pdus: &PduCache,
) -> Result<(), StoreError> {
    let accepted = judged.judgement == Judgement::Accepted;
    let fills_gap = is_behind(read, room, pdu, judged.way)?;
    if accepted || fills_gap {
        let named: BTreeSet<EventNid> = prev.iter().map(|row| row.nid).collect();
        let covered = behind_hidden(read, room, prev, pdus)?;
        judged.replaced = tips.iter().copied().filter(|tip| named.contains(tip) || covered.contains(tip)).collect();
    }
    judged.extremity = accepted && !fills_gap;
    let mut states = Vec::new();
    if judged.extremity {
        states.push(judged.before.with_new(resolver, pdu));
        let newest = rooms::newest_event(read, room.nid)?.map(|(nid, _)| nid);
        judged.linear = judged.missing.is_empty() && prev.len() == 1 && newest == prev.first().map(|row| row.nid);
    } else if judged.rejects_outlier() {
        resolver.reject_late();
    } else if judged.replaced.is_empty() {
        return Ok(());
    }
    for tip in tips.iter().filter(|tip| !judged.replaced.contains(tip)) {
        states.extend(events::by_nid(read, *tip)?.after.map(Virtual::stored));
    }
    let after = resolver.resolve(read, room, rules, states, current, pdus)?;
    judged.current = difference(read, current, &after)?;
    judged.current_memo = after.memo.filter(|_| !judged.partial);
    Ok(())
}

/// Whether an accepted event that is here has the event behind it, directly or through soft-failed and rejected ones.
fn is_behind(read: &dyn Read, room: &RoomKey, pdu: &Pdu, way: Way) -> Result<bool, StoreError> {
    let mut todo = rooms::children(read, room.nid, pdu.event_id())?;
    let mut seen: BTreeSet<EventNid> = todo.iter().copied().collect();
    while let Some(nid) = todo.pop() {
        let row = events::by_nid(read, nid)?;
        if !way.was_here(&row) {
            continue;
        }
        if !row.is(flag::HIDDEN) {
            return Ok(true);
        }
        let mut behind = rooms::children(read, room.nid, &row.event_id)?;
        behind.extend(rooms::linear_child(read, &row)?);
        todo.extend(behind.into_iter().filter(|nid| seen.len() < MAX_HIDDEN && seen.insert(*nid)));
    }
    Ok(false)
}

/// The stored fork that has this state, if one has: two forks that come to the same state share its rows. The hash finds it,
/// a comparison entry by entry confirms it.
fn share(
    read: &dyn Read,
    room: &RoomKey,
    hash_key: &StateHashKey,
    head: &RoomHeadRow,
    mut state: Virtual,
) -> Result<Virtual, StoreError> {
    if state.changes.is_empty() {
        return Ok(state);
    }
    let current = StateRef { line: room.main_line, epoch: head.state_position };
    let mut hash = head.state_hash;
    for (key, new) in difference(read, current, &state)? {
        if let Some(old) = state::current_value(read, room.nid, key)? {
            hash = hash.wrapping_sub(hash_key.entry(key, old));
        }
        if let Some(new) = new {
            hash = hash.wrapping_add(hash_key.entry(key, EventNid(new)));
        }
    }
    for at in state::with_hash(read, room.nid, hash)? {
        if difference(read, at, &state)?.is_empty() {
            return Ok(Virtual { memo: state.memo, ..Virtual::stored(at) });
        }
    }
    state.hash = Some(hash);
    Ok(state)
}

/// The event's previous events: those that are here with a state, and the ids of the others.
fn previous(
    read: &dyn Read,
    room: &RoomKey,
    pdu: &Pdu,
    way: Way,
) -> Result<(Vec<EventRow>, Vec<OwnedEventId>), StoreError> {
    let mut rows: Vec<EventRow> = Vec::new();
    let mut missing = Vec::new();
    for id in pdu.prev_events() {
        let here = |row: &EventRow| row.room == room.nid && row.after.is_some() && way.was_here(row);
        match events::by_id(read, id)?.filter(here) {
            Some(row) if rows.iter().any(|other| other.nid == row.nid) => {}
            Some(row) => rows.push(row),
            None => missing.push(id.clone()),
        }
    }
    Ok((rows, missing))
}

/// Events that are walked behind soft-failed and rejected ones at most.
const MAX_HIDDEN: usize = 1_000;

/// What the event has behind it through soft-failed and rejected events alone. Those took no extremity's place, so an
/// extremity may stand right behind them; an accepted event that names them takes it.
fn behind_hidden(
    read: &dyn Read,
    room: &RoomKey,
    prev: &[EventRow],
    pdus: &PduCache,
) -> Result<BTreeSet<EventNid>, StoreError> {
    let hidden = |row: &EventRow| row.is(flag::SOFT_FAILED | flag::REJECTED);
    let mut todo: Vec<EventNid> = prev.iter().filter(|row| hidden(row)).map(|row| row.nid).collect();
    let mut walked: BTreeSet<EventNid> = todo.iter().copied().collect();
    let mut covered = BTreeSet::new();
    while let Some(nid) = todo.pop() {
        for id in super::resolution::load(read, nid, pdus)?.prev_events() {
            // An outlier, rejected or not, has nothing behind it yet.
            let placed = |row: &EventRow| row.room == room.nid && row.after.is_some();
            let Some(row) = events::by_id(read, id)?.filter(placed) else { continue };
            if hidden(&row) && walked.len() < MAX_HIDDEN && walked.insert(row.nid) {
                todo.push(row.nid);
            }
            covered.insert(row.nid);
        }
    }
    Ok(covered)
}

/// Number of the event's (type, state key), if such a pair is known yet.
pub(super) fn key_of(read: &dyn Read, pdu: &Pdu) -> Result<Option<i64>, StoreError> {
    match pdu.state_key() {
        Some(key) => ids::state_key_nid(read, &pdu.event_type().to_string(), key),
        None => Ok(None),
    }
}
