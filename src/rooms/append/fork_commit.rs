//! Writes an event that was judged (forks.rs): its states as lines, and what it changes in the current state.

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules};

use super::{
    Appended, LocalMembers,
    classify::classify,
    commit::{Context, News, Site, Written, announce, set_current, write_event},
    effects::{Concerned, Place, adopt_thread, state_changed},
    forks::{Judged, Judgement},
    plan::{AuthRef, Planned},
    resolution::{Resolver, Virtual},
};
use crate::{
    rooms::state::load_pdu,
    store::{
        StoreError, WriteTx, events,
        events::{Running, StateRef, flag},
        ids::{self, EventNid, RoomKey},
        rooms,
        rooms::RoomHeadRow,
        state,
    },
};

/// A judged event to be written.
pub(super) struct ForkCommit {
    pub(super) site: Arc<Site>,
    pub(super) room: Arc<RoomKey>,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) pdu: Arc<Pdu>,
    pub(super) judged: Judged,
    /// Whether we relay it.
    pub(super) relay: bool,
    /// Whether a policy server soft-failed it.
    pub(super) by_policy: bool,
    pub(super) transaction: Option<super::Transaction>,
    pub(super) members: LocalMembers,
    pub(super) now_ms: i64,
}

impl ForkCommit {
    /// Runs in the writer's transaction. `history`: the place of one that is history.
    pub(super) fn run(self, tx: &WriteTx<'_>, history: Option<i64>) -> Result<Appended, StoreError> {
        let mut row = rooms::head(tx, self.room.nid)?;
        let before = self.store_state(tx, &self.judged.before)?;
        if self.judged.rejects_outlier() {
            // What is remembered was resolved with it.
            state::forget_resolutions(tx, self.room.nid)?;
        }
        let epoch = tx.next_position();
        let position = history.unwrap_or(epoch);
        let nid = self.number(tx, EventNid(epoch))?;
        let key = match self.pdu.state_key() {
            Some(key) => Some(ids::intern_state_key(tx, &self.pdu.event_type().to_string(), key)?),
            None => None,
        };
        let after = self.state_after(tx, before, key, nid, (epoch, epoch), &row)?;
        let accepted = self.judged.judgement == Judgement::Accepted;
        let mut concerned = Concerned::default();
        let planned = self.planned();
        let flags = self.flags(planned.class.flags);
        let running = match history {
            None => rooms::newest_event(tx, self.room.nid)?.map(|(_, r)| r).unwrap_or_default().plus(flags),
            Some(_) => Running::default(),
        };
        let stored = nid.0 != epoch;
        let written = Written { nid, position, key, before, after, flags, running, stored };
        let context = Context {
            site: &self.site,
            room: self.room.nid,
            rules: self.rules,
            members: &self.members,
            now_ms: self.now_ms,
        };
        write_event(tx, &context, &planned, &written, &mut concerned)?;
        if key.is_some() {
            rooms::put_auth_edges(tx, self.room.nid, nid, &self.judged.auth)?;
        }
        let reason = match &self.judged.judgement {
            Judgement::Accepted => None,
            Judgement::SoftFailed(reason) | Judgement::Rejected(reason) => Some(reason.as_str()),
        };
        if stored || reason.is_some() {
            events::put_reason(tx, nid, reason)?;
        }
        if stored {
            // Its verdict is kept with its body there.
            concerned.redacted.push(nid);
        }
        self.close_gaps(tx, nid)?;
        if history.is_some() {
            announce(tx, &self.site, self.room.nid, &row, (None, News::Everywhere), concerned);
        } else {
            if accepted {
                row.took(position, flags);
            }
            self.change_current(tx, position, nid, key, &mut row, &mut concerned)?;
            self.move_extremities(tx, nid, &row)?;
            rooms::put_head(tx, self.room.nid, &row)?;
            announce(tx, &self.site, self.room.nid, &row, (Some(&self.members), News::Everywhere), concerned);
        }
        Ok(Appended { nid, event_id: self.pdu.event_id().to_owned(), position, repeated: false })
    }

    /// The event's number: that of the outlier that it was, if its auth events come before that.
    fn number(&self, tx: &WriteTx<'_>, fresh: EventNid) -> Result<EventNid, StoreError> {
        match &self.judged.outlier {
            Some(outlier) if outlier.loose => events::replace_loose(tx, outlier, fresh).map(|()| fresh),
            Some(outlier) => Ok(outlier.nid),
            None => Ok(fresh),
        }
    }

    pub(super) fn planned(&self) -> Planned {
        let may_notify_room = self.judged.may_notify_room;
        let mut class = classify(&self.pdu, |_| may_notify_room);
        if self.judged.judgement != Judgement::Accepted {
            class.flags = 0;
            class.mentions.clear();
        }
        if !self.judged.way.is_live() {
            class.mentions.clear();
        }
        Planned {
            pdu: self.pdu.clone(),
            transaction: self.transaction.clone(),
            class,
            auth: self.judged.auth.iter().map(|nid| AuthRef::Stored(*nid)).collect(),
            redacts_others: self.judged.redacts_others,
            linear: self.judged.linear,
            relay: self.relay,
            came: true,
        }
    }

    pub(super) fn flags(&self, class: i64) -> i64 {
        let set = |bit, is| if is { bit } else { 0 };
        class
            | set(flag::LINEAR, self.judged.linear)
            | set(flag::TOLD, self.judged.told)
            | set(flag::RELAY, self.relay)
            | set(flag::BACKFILLED, !self.judged.way.is_live())
            | set(flag::PARTIAL_STATE, self.judged.partial)
            | set(flag::POLICY_CHECKED, self.by_policy)
            | match self.judged.judgement {
                Judgement::Accepted => 0,
                Judgement::SoftFailed(_) => flag::SOFT_FAILED,
                Judgement::Rejected(_) => flag::REJECTED,
            }
    }

    /// What waited for the event has it now; what it names and is not here is where backfill goes on.
    fn close_gaps(&self, tx: &WriteTx<'_>, nid: EventNid) -> Result<(), StoreError> {
        rooms::remove_backward(tx, self.room.nid, self.pdu.event_id())?;
        for id in &self.judged.missing {
            rooms::put_backward(tx, self.room.nid, id, nid)?;
        }
        adopt_thread(tx, self.room.nid, nid, self.pdu.event_id())
    }

    pub(super) fn move_extremities(
        &self,
        tx: &WriteTx<'_>,
        nid: EventNid,
        row: &RoomHeadRow,
    ) -> Result<(), StoreError> {
        if let Some(memo) = &self.judged.current_memo {
            let current = StateRef { line: self.room.main_line, epoch: row.state_position };
            state::put_resolution(tx, self.room.nid, memo, current)?;
        }
        for tip in &self.judged.replaced {
            rooms::remove_extremity(tx, self.room.nid, *tip)?;
        }
        if self.judged.extremity {
            rooms::add_extremity(tx, self.room.nid, nid)?;
        }
        Ok(())
    }

    /// Stores the state before the event, if it is not stored yet.
    pub(super) fn store_state(&self, tx: &WriteTx<'_>, state: &Virtual) -> Result<StateRef, StoreError> {
        if let (Some(base), true) = (state.base, state.changes.is_empty()) {
            self.remember(tx, state, base)?;
            return Ok(base);
        }
        let epoch = tx.next_position();
        let line = open_line(tx, &self.room, state.base, epoch)?;
        for (key, event) in &state.changes {
            state::put(tx, StateRef { line, epoch }, *key, event.map(EventNid))?;
        }
        let at = StateRef { line, epoch };
        if let Some(hash) = state.hash {
            state::put_hash(tx, self.room.nid, hash, at)?;
        }
        self.remember(tx, state, at)?;
        Ok(at)
    }

    fn remember(&self, tx: &WriteTx<'_>, state: &Virtual, at: StateRef) -> Result<(), StoreError> {
        match &state.memo {
            Some(memo) => state::put_resolution(tx, self.room.nid, memo, at),
            None => Ok(()),
        }
    }

    /// The state after the event: that before it, or a change on a line, at the first of the epochs on the main line and at the
    /// second on another.
    pub(super) fn state_after(
        &self,
        tx: &WriteTx<'_>,
        before: StateRef,
        key: Option<i64>,
        nid: EventNid,
        (main, epoch): (i64, i64),
        row: &RoomHeadRow,
    ) -> Result<StateRef, StoreError> {
        let (Some(key), false) = (key, matches!(self.judged.judgement, Judgement::Rejected(_))) else {
            return Ok(before);
        };
        let current = StateRef { line: self.room.main_line, epoch: row.state_position };
        let own =
            |(k, event): &(i64, Option<i64>)| (*k == key || *k == Resolver::NEW) && *event == Some(self.judged.own);
        if before == current && matches!(self.judged.current.as_slice(), [only] if own(only)) {
            // The current state becomes exactly the state after this event: the main line carries both.
            return Ok(StateRef { line: current.line, epoch: main });
        }
        let newest = state::newest_epoch(tx, before.line)?;
        let line = if before.line != current.line && newest.is_none_or(|newest| newest <= before.epoch) {
            before.line
        } else {
            open_line(tx, &self.room, Some(before), epoch)?
        };
        let after = StateRef { line, epoch };
        state::put(tx, after, key, Some(nid))?;
        Ok(after)
    }

    /// Writes what changes in the current state as rows of the main line, with the memberships that follow.
    fn change_current(
        &self,
        tx: &WriteTx<'_>,
        position: i64,
        nid: EventNid,
        own_key: Option<i64>,
        row: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<(), StoreError> {
        let at = StateRef { line: self.room.main_line, epoch: position };
        let place = Place { room: self.room.nid, site: &self.site, position };
        for (key, event) in &self.judged.current {
            let key = match (*key, own_key) {
                (Resolver::NEW, Some(own)) => own,
                (key, _) => key,
            };
            let event = event.map(|event| if event == Resolver::NEW { nid } else { EventNid(event) });
            set_current(tx, &self.site.hash_key, self.room.nid, at, key, event, row)?;
            let pair = ids::state_key(tx, key)?;
            let load = || match event {
                Some(event) if event == nid => Ok(Some((self.pdu.clone(), event))),
                Some(event) => Ok(Some((load_pdu(tx, event)?, event))),
                None => Ok(None),
            };
            state_changed(tx, &place, (&pair.0, &pair.1), load, row, concerned)?;
        }
        Ok(())
    }
}

/// Opens a line on `base`. A base that is as deep as lines may be is copied whole first, at `epoch`.
fn open_line(tx: &WriteTx<'_>, room: &RoomKey, base: Option<StateRef>, epoch: i64) -> Result<i64, StoreError> {
    let Some(at) = base else { return state::open_line(tx, room.nid, None) };
    if state::line(tx, at.line)?.level < state::MAX_LEVEL {
        return state::open_line(tx, room.nid, base);
    }
    let line = state::open_line(tx, room.nid, None)?;
    for (key, event) in state::full(tx, at)? {
        // Below the epoch of the changes that follow.
        state::put(tx, StateRef { line, epoch: epoch - 1 }, key, Some(event))?;
    }
    Ok(line)
}
