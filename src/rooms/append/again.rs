//! Judges events again that were judged while their room's members were still to be fetched.

use std::sync::Arc;

use linkim_federation::RoomVersionRules;
use ruma::OwnedEventId;

use super::{
    Incoming, LocalMembers,
    commit::{Context, Site, come_to_light, set_current},
    complete::incoming,
    effects::Concerned,
    forks::{Judgement, NotJudged, Way, judge},
    receive::fork_commit,
    resolution::Resolver,
};
use crate::store::{
    StoreError, WriteTx, events,
    events::{EventRow, Running, StateRef, flag},
    ids::{EventNid, RoomKey, RoomNid},
    rooms,
    rooms::RoomHeadRow,
    state, unread,
};

/// What an event counts as.
const CLASS: i64 = flag::COUNTABLE | flag::NOTIFY | flag::HIGHLIGHT;

/// What a verdict leaves as it is.
const KEPT: i64 = flag::LINEAR | flag::RELAY | flag::TOLD | flag::POLICY_CHECKED;

/// An event that is to be judged again.
pub(super) struct Flagged {
    row: EventRow,
    incoming: Incoming,
}

/// The events of a room after a position, oldest first.
pub(super) fn gather(tx: &WriteTx<'_>, room: RoomNid, after: i64) -> Result<Vec<Flagged>, StoreError> {
    let mut out = Vec::new();
    for nid in events::since(tx, room, after)? {
        let row = events::by_nid(tx, nid)?;
        let told: Option<Vec<OwnedEventId>> = match row.before.filter(|_| row.is(flag::TOLD)) {
            // What a peer said is kept nowhere but there.
            Some(before) => {
                let told = state::full(tx, before)?;
                Some(told.into_iter().map(|(_, event)| events::id(tx, event)).collect::<Result<_, _>>()?)
            }
            None => None,
        };
        let incoming = incoming(tx, &row, told)?;
        out.push(Flagged { row, incoming });
    }
    Ok(out)
}

/// Takes the verdicts away: whatever looks at one of these before it is judged again must not see the old one.
pub(super) fn forget_verdicts(tx: &WriteTx<'_>, flagged: &[Flagged]) -> Result<(), StoreError> {
    for event in flagged.iter().filter(|event| event.row.is(flag::HIDDEN)) {
        events::set_flags(tx, event.row.nid, event.row.flags & !flag::HIDDEN)?;
    }
    Ok(())
}

/// What judging them takes, and how far it has come.
pub(super) struct Again {
    pub(super) site: Arc<Site>,
    pub(super) room: Arc<RoomKey>,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) members: LocalMembers,
    pub(super) now_ms: i64,
    pub(super) resolver: Resolver,
    /// Running numbers up to the last one.
    pub(super) running: Running,
}

impl Again {
    /// Judges the next event and writes its verdict, its states and what it changes in the current one.
    pub(super) fn event(
        &mut self,
        tx: &WriteTx<'_>,
        event: Flagged,
        head: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<(), StoreError> {
        let Flagged { row, incoming } = event;
        let Some(position) = row.position else { return Ok(()) };
        // Judging reads it.
        rooms::put_head(tx, self.room.nid, head)?;
        // Without the verdict that it had.
        let pdu = Arc::new(linkim_federation::Pdu::clone(&incoming.pdu).with_rejected(false));
        let incoming = Incoming { pdu, ..incoming };
        let way = Way::Again { nid: row.nid, position };
        let judged = judge(tx, &self.room, self.rules, &incoming, way, &mut self.resolver, &self.site);
        let mut judged = judged.map_err(|reason| match reason {
            NotJudged::Store(error) => error,
            other => StoreError::Damaged(format!("event {} can't be judged again: {other:?}", row.nid.0)),
        })?;
        judged.linear = row.is(flag::LINEAR);
        let room = (self.room.clone(), self.rules, self.members.clone());
        let commit = fork_commit(self.site.clone(), incoming, judged, None, room, self.now_ms);
        let before = commit.store_state(tx, &commit.judged.before)?;
        let fresh = tx.next_position();
        let after = commit.state_after(tx, before, row.state_key, row.nid, (position, fresh), head)?;
        let planned = commit.planned();
        let flags = commit.flags(planned.class.flags);
        let hidden = flags & flag::HIDDEN;
        // The body of a redacted event no longer tells what it counted as.
        let class = if row.redacted_by.is_some() && hidden == 0 { row.flags & CLASS } else { flags & CLASS };
        let flags = (row.flags & KEPT) | hidden | class;
        self.running = self.running.plus(flags);
        events::judged_again(tx, row.nid, flags, (before, after), self.running)?;
        let reason = match &commit.judged.judgement {
            Judgement::Accepted => None,
            Judgement::SoftFailed(reason) | Judgement::Rejected(reason) => Some(reason.as_str()),
        };
        events::put_reason(tx, row.nid, reason)?;
        let main = StateRef { line: self.room.main_line, epoch: position };
        for (key, event) in &commit.judged.current {
            set_current(tx, &self.site.hash_key, self.room.nid, main, *key, event.map(EventNid), head)?;
        }
        commit.move_extremities(tx, row.nid, head)?;
        if hidden == 0 {
            head.took(position, flags);
        }
        if row.flags & flag::HIDDEN == hidden {
            return Ok(());
        }
        // Its verdict is kept with its body in memory.
        concerned.redacted.push(row.nid);
        concerned.state_redacted |= row.state_key.is_some();
        if hidden != 0 {
            return unread::take_back(tx, self.room.nid, position);
        }
        if !row.is(flag::HIDDEN) {
            return Ok(());
        }
        let context = Context {
            site: &self.site,
            room: self.room.nid,
            rules: self.rules,
            members: &self.members,
            now_ms: self.now_ms,
        };
        come_to_light(tx, &context, &planned, (row.nid, position, flags), row.sender, row.thread, concerned)
    }
}
