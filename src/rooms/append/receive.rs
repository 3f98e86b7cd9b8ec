//! Receives events that come with their place in the DAG: in runs where they follow the room's end, else one by one.

use std::{collections::VecDeque, sync::Arc};

use linkim_federation::Pdu;

use super::{
    Incoming, Received, Transaction,
    actor::{Appender, commit_batch, state_events},
    commit::Site,
    fork_commit::ForkCommit,
    forks::{Judged, Judgement, NotJudged, Way, judge},
    plan::{Batch, stored_auth},
    run,
    run::Facts,
};
use crate::store::StoreError;

/// Why there is no verdict; or the store's failure.
pub(super) fn not_judged(reason: NotJudged) -> Result<Received, StoreError> {
    Ok(match reason {
        NotJudged::Known(nid) => Received::Known(nid),
        NotJudged::MissingPrev(ids) => Received::MissingPrev(ids),
        NotJudged::MissingAuth(ids) => Received::MissingAuth(ids),
        NotJudged::MissingState(ids) => Received::MissingState(ids),
        NotJudged::Malformed(reason) => Received::Malformed(reason),
        NotJudged::News => Received::Malformed("it is no history"),
        NotJudged::Store(error) => return Err(error),
    })
}

/// A verdict with what was written.
pub(super) fn judged(judgement: Judgement, appended: super::Appended) -> Received {
    match judgement {
        Judgement::Accepted => Received::Accepted(appended),
        Judgement::SoftFailed(reason) => Received::SoftFailed(appended, reason),
        Judgement::Rejected(reason) => Received::Rejected(appended, reason),
    }
}

impl Appender {
    /// Judges events and writes them; one answer each.
    pub(super) async fn receive(&mut self, events: Vec<Incoming>) -> Result<Vec<Received>, StoreError> {
        let mut answers = Vec::with_capacity(events.len());
        let mut rest = VecDeque::from(events);
        while !rest.is_empty() {
            let run = self.receive_run(rest.make_contiguous()).await?;
            rest.drain(..run.len());
            let followed = !run.is_empty();
            answers.extend(run);
            if !followed && let Some(event) = rest.pop_front() {
                answers.push(self.receive_one(event, None).await?);
            }
        }
        Ok(answers)
    }

    /// Writes the events at the front that follow the room's end, as one batch.
    async fn receive_run(&mut self, events: &[Incoming]) -> Result<Vec<Received>, StoreError> {
        let (shared, room) = (self.shared.clone(), self.room);
        let head = self.load().await?;
        let events = &events[..run::length(head, events)];
        if events.is_empty() {
            return Ok(Vec::new());
        }
        head.make_room();
        let pdus: Vec<Arc<Pdu>> = events.iter().map(|event| event.pdu.clone()).collect();
        let (keys, site) = (run::needed(head, &pdus), shared.site.clone());
        let facts = shared.store.read(move |read| Facts::read(read, room, &pdus, keys, &site.pdus)).await?;
        let mut batch = Batch::default();
        if facts.plan(head, &mut batch, events) == 0 {
            return Ok(Vec::new());
        }
        let states = state_events(&batch);
        let now_ms = shared.clock.now_ms();
        let committed = commit_batch(&shared, head, batch, None, false, now_ms).await;
        let appended = match committed {
            Ok(appended) => appended,
            Err(error) => {
                // Whether the write happened may be unknown.
                self.head = None;
                return Err(error);
            }
        };
        for (index, auth) in states {
            self.resolver.written(appended[index].nid, &stored_auth(&auth, &appended));
        }
        Ok(appended.into_iter().map(Received::Accepted).collect())
    }

    /// Judges one event wherever it stands, and writes it.
    pub(super) async fn receive_one(
        &mut self,
        incoming: Incoming,
        transaction: Option<Transaction>,
    ) -> Result<Received, StoreError> {
        let head = self.load().await?;
        let (room, rules, members) = (head.room.clone(), head.rules, head.members.clone());
        let mut resolver = std::mem::take(&mut self.resolver);
        let (judged_room, judging, site) = (room.clone(), incoming.clone(), self.shared.site.clone());
        let (resolver, verdict) = self
            .shared
            .store
            .read::<_, StoreError, _>(move |read| {
                let verdict = judge(read, &judged_room, rules, &judging, Way::Live, &mut resolver, &site);
                Ok((resolver, verdict))
            })
            .await?;
        self.resolver = resolver;
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(reason) => return not_judged(reason),
        };
        let (judgement, auth, is_state) = (verdict.judgement.clone(), verdict.auth.clone(), incoming.pdu.is_state());
        let now_ms = self.shared.clock.now_ms();
        let site = self.shared.site.clone();
        let commit = fork_commit(site, incoming, verdict, transaction, (room, rules, members), now_ms);
        // Whatever happens now, what is in memory is older than the room.
        let old = self.head.take();
        let appended = self.shared.store.write::<_, StoreError, _>(move |tx| commit.run(tx, None)).await?;
        if is_state {
            self.resolver.written(appended.nid, &auth);
        }
        if let Some(head) = old {
            self.head = Some(self.shared.store.read(move |read| head.reload(read)).await?);
        }
        Ok(judged(judgement, appended))
    }
}

/// What writing a judged event takes.
pub(super) fn fork_commit(
    site: Arc<Site>,
    incoming: Incoming,
    judged: Judged,
    transaction: Option<Transaction>,
    (room, rules, members): (
        Arc<crate::store::ids::RoomKey>,
        &'static linkim_federation::RoomVersionRules,
        super::LocalMembers,
    ),
    now_ms: i64,
) -> ForkCommit {
    ForkCommit {
        site,
        room,
        rules,
        by_policy: incoming.soft_fail.is_some() && matches!(judged.judgement, Judgement::SoftFailed(_)),
        pdu: incoming.pdu,
        judged,
        relay: incoming.relay,
        transaction,
        members,
        now_ms,
    }
}
