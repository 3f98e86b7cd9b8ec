//! History from before ours: events that take their place before everything that is here.
//!
//! A batch is judged and written in one transaction, so that its places descend from its newest event to its oldest without
//! anything in between: a hundred events that follow each other take some 20 ms of it.

use std::sync::Arc;

use linkim_federation::RoomVersionRules;

use super::{
    Incoming, LocalMembers, Received,
    actor::Appender,
    commit::Site,
    forks::{Judged, NotJudged, Way, judge},
    receive::{fork_commit, judged, not_judged},
    resolution::Resolver,
};
use crate::store::{
    StoreError, WriteTx, events,
    events::StateRef,
    ids::{RoomKey, RoomNid},
    rooms,
};

impl Appender {
    /// Judges history and writes it, oldest first; one answer each. What follows the room's newest events is none: it takes its
    /// place as news.
    pub(super) async fn backfill(&mut self, events: Vec<Incoming>) -> Result<Vec<Received>, StoreError> {
        let (site, now_ms) = (self.shared.site.clone(), self.shared.clock.now_ms());
        let head = self.load().await?;
        if head.partial {
            // Its state would be a change of one that is about to be written anew.
            return Ok(events
                .iter()
                .map(|_| Received::Malformed("the room's members are still to be fetched"))
                .collect());
        }
        let (room, rules, members) = (head.room.clone(), head.rules, head.members.clone());
        let mut stretch = Stretch {
            site,
            room,
            rules,
            members,
            now_ms,
            // If the write fails, what it learned is wrong: so it is left behind.
            resolver: std::mem::take(&mut self.resolver),
        };
        let written = self.shared.store.write::<_, StoreError, _>(move |tx| {
            let near = near(tx, stretch.room.nid, &events)?;
            let mut places: Vec<i64> = events.iter().map(|_| tx.next_backfill_position()).collect();
            let mut answers = Vec::with_capacity(events.len());
            for incoming in events {
                answers.push(stretch.one(tx, incoming, near, places.pop())?);
            }
            Ok((stretch.resolver, answers))
        });
        // Whatever happens now, what is in memory may be older than the room.
        let old = self.head.take();
        let (resolver, answers) = written.await?;
        self.resolver = resolver;
        if let Some(head) = old {
            self.head = Some(self.shared.store.read(move |read| head.reload(read)).await?);
        }
        Ok(answers)
    }
}

/// What all events of a stretch have in common.
struct Stretch {
    site: Arc<Site>,
    room: Arc<RoomKey>,
    rules: &'static RoomVersionRules,
    members: LocalMembers,
    now_ms: i64,
    resolver: Resolver,
}

impl Stretch {
    fn one(
        &mut self,
        tx: &WriteTx<'_>,
        incoming: Incoming,
        near: Option<StateRef>,
        place: Option<i64>,
    ) -> Result<Received, StoreError> {
        let (verdict, place) = match self.judge(tx, &incoming, Way::History { near }) {
            Err(NotJudged::News) => (self.judge(tx, &incoming, Way::Live), None),
            verdict => (verdict, place),
        };
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(reason) => return not_judged(reason),
        };
        let (judgement, auth, is_state) = (verdict.judgement.clone(), verdict.auth.clone(), incoming.pdu.is_state());
        let room = (self.room.clone(), self.rules, self.members.clone());
        let commit = fork_commit(self.site.clone(), incoming, verdict, None, room, self.now_ms);
        let appended = commit.run(tx, place)?;
        if is_state {
            self.resolver.written(appended.nid, &auth);
        }
        Ok(judged(judgement, appended))
    }

    fn judge(&mut self, tx: &WriteTx<'_>, incoming: &Incoming, way: Way) -> Result<Judged, NotJudged> {
        judge(tx, &self.room, self.rules, incoming, way, &mut self.resolver, &self.site)
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
