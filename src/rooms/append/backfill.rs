//! History from before ours: events that take their place before everything that is here.
//!
//! A batch is judged and written in one transaction, so that its places descend from its newest event to its oldest without
//! anything in between: a hundred events that follow each other take some 20 ms of it.

use super::{
    Incoming, Received,
    actor::Appender,
    forks::{Way, judge},
    receive::{fork_commit, judged, not_judged},
};
use crate::store::{StoreError, WriteTx, events, events::StateRef, ids::RoomNid, rooms};

impl Appender {
    /// Judges history and writes it, oldest first; one answer each.
    pub(super) async fn backfill(&mut self, events: Vec<Incoming>) -> Result<Vec<Received>, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let site = self.shared.site.clone();
        let head = self.load().await?;
        let (room, rules, members) = (head.room.clone(), head.rules, head.members.clone());
        // If the write fails, what the resolver learned of it is wrong.
        let mut resolver = std::mem::take(&mut self.resolver);
        let written = self.shared.store.write::<_, StoreError, _>(move |tx| {
            let near = near(tx, room.nid, &events)?;
            let mut places: Vec<i64> = events.iter().map(|_| tx.next_backfill_position()).collect();
            let mut answers = Vec::with_capacity(events.len());
            for incoming in events {
                let place = places.pop();
                answers.push(match judge(tx, &room, rules, &incoming, Way::History { near }, &mut resolver, &site) {
                    Err(reason) => not_judged(reason)?,
                    Ok(verdict) => {
                        let (judgement, auth) = (verdict.judgement.clone(), verdict.auth.clone());
                        let is_state = incoming.pdu.is_state();
                        let place_in = (room.clone(), rules, members.clone());
                        let appended =
                            fork_commit(site.clone(), incoming, verdict, None, place_in, now_ms).run_at(tx, place)?;
                        if is_state {
                            resolver.written(appended.nid, &auth);
                        }
                        judged(judgement, appended)
                    }
                });
            }
            Ok((resolver, answers))
        });
        let (resolver, answers) = written.await?;
        self.resolver = resolver;
        Ok(answers)
    }
}

/// The state before an event that waits for one of these: what comes before them differs little from it.
fn near(tx: &WriteTx<'_>, room: RoomNid, events: &[Incoming]) -> Result<Option<StateRef>, StoreError> {
    for event in events.iter().rev() {
        if let Some(child) = rooms::waiting_for(tx, room, event.pdu.event_id())?.first() {
            return Ok(events::by_nid(tx, *child)?.before);
        }
    }
    Ok(None)
}
