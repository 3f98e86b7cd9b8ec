//! Writes an event that was judged (forks.rs): its states as lines, and what it changes in the current state.

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules};

use super::{
    Appended, LocalMembers,
    classify::classify,
    commit::{Context, Site, Written, announce, set_current, write_event},
    effects::{Concerned, Place, member_changed},
    forks::{Judged, Judgement},
    plan::{AuthRef, Planned},
    resolution::{Resolver, Virtual},
};
use crate::{
    params,
    rooms::state::load_pdu,
    store::{
        StoreError, WriteTx,
        events::{StateRef, flag},
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
    pub(super) transaction: Option<super::Transaction>,
    pub(super) members: LocalMembers,
    pub(super) now_ms: i64,
}

impl ForkCommit {
    /// Runs in the writer's transaction.
    pub(super) fn run(self, tx: &WriteTx<'_>) -> Result<Appended, StoreError> {
        let mut row = rooms::head(tx, self.room.nid)?;
        let before = self.store_state(tx, &self.judged.before)?;
        let position = tx.next_position();
        let nid = EventNid(position);
        let key = match self.pdu.state_key() {
            Some(key) => Some(ids::intern_state_key(tx, &self.pdu.event_type().to_string(), key)?),
            None => None,
        };
        let after = self.state_after(tx, before, key, nid, &row)?;
        let accepted = self.judged.judgement == Judgement::Accepted;
        let may_notify_room = self.judged.may_notify_room;
        let mut class = classify(&self.pdu, |_| may_notify_room);
        if !accepted {
            class.flags = 0;
            class.mentions.clear();
        }
        let flags = class.flags
            | if self.judged.linear { flag::LINEAR } else { 0 }
            | match self.judged.judgement {
                Judgement::Accepted => 0,
                Judgement::SoftFailed(_) => flag::SOFT_FAILED,
                Judgement::Rejected(_) => flag::REJECTED,
            };
        let running = rooms::newest_event(tx, self.room.nid)?.map(|(_, running)| running).unwrap_or_default();
        let planned = Planned {
            pdu: self.pdu.clone(),
            transaction: self.transaction.clone(),
            class,
            auth: self.judged.auth.iter().map(|nid| AuthRef::Stored(*nid)).collect(),
            redacts_others: self.judged.redacts_others,
            linear: self.judged.linear,
        };
        let mut concerned = Concerned::default();
        let written = Written { nid, position, key, before, after, flags, running: running.plus(flags) };
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
        if let Judgement::Rejected(reason) = &self.judged.judgement {
            tx.execute("INSERT INTO rejections (event, reason) VALUES (?1, ?2)", params![nid, reason])?;
        }
        if accepted {
            row.last_position = position;
        }
        self.change_current(tx, position, nid, key, &mut row, &mut concerned)?;
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
        rooms::put_head(tx, self.room.nid, &row)?;
        announce(tx, &self.site, self.room.nid, &row, &self.members, &concerned);
        Ok(Appended { nid, event_id: self.pdu.event_id().to_owned(), position, repeated: false })
    }

    /// Stores the state before the event, if it is not stored yet.
    fn store_state(&self, tx: &WriteTx<'_>, state: &Virtual) -> Result<StateRef, StoreError> {
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

    /// The state after the event: that before it, or a change on a line.
    fn state_after(
        &self,
        tx: &WriteTx<'_>,
        before: StateRef,
        key: Option<i64>,
        nid: EventNid,
        row: &RoomHeadRow,
    ) -> Result<StateRef, StoreError> {
        let (Some(key), false) = (key, matches!(self.judged.judgement, Judgement::Rejected(_))) else {
            return Ok(before);
        };
        let current = StateRef { line: self.room.main_line, epoch: row.state_position };
        let own = |(k, event): &(i64, Option<i64>)| (*k == key || *k == Resolver::NEW) && *event == Some(Resolver::NEW);
        if before == current && matches!(self.judged.current.as_slice(), [only] if own(only)) {
            // The current state becomes exactly the state after this event: the main line carries both.
            return Ok(StateRef { line: current.line, epoch: nid.0 });
        }
        let newest = state::newest_epoch(tx, before.line)?;
        let line = if before.line != current.line && newest.is_none_or(|newest| newest <= before.epoch) {
            before.line
        } else {
            open_line(tx, &self.room, Some(before), nid.0)?
        };
        let after = StateRef { line, epoch: nid.0 };
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
        let place = Place { room: self.room.nid, server_name: &self.site.server_name, position };
        for (key, event) in &self.judged.current {
            let key = match (*key, own_key) {
                (Resolver::NEW, Some(own)) => own,
                (key, _) => key,
            };
            let event = event.map(|event| if event == Resolver::NEW { nid } else { EventNid(event) });
            set_current(tx, &self.site.hash_key, self.room.nid, at, key, event, row)?;
            let (kind, state_key) = ids::state_key(tx, key)?;
            if &*kind == "m.room.member" {
                let pdu = match event {
                    Some(event) if event == nid => Some(self.pdu.clone()),
                    Some(event) => Some(load_pdu(tx, event)?),
                    None => None,
                };
                let event = pdu.as_deref().zip(event);
                member_changed(tx, &place, &state_key, event, row, concerned)?;
            }
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
