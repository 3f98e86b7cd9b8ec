//! Receives events that come with their place in the DAG: in runs where they follow the room's end, else one by one.

use std::{collections::VecDeque, sync::Arc};

use linkim_federation::Pdu;

use super::{
    Along, Appended, Beside, Incoming, Received, Stored, Transaction,
    actor::{Appender, commit_batch, state_events},
    commit::Site,
    fork_commit::ForkCommit,
    forks::{Judged, Judgement, NotJudged, Way, judge},
    plan::{Batch, stored_auth},
    run,
    run::Facts,
};
use crate::store::{Snapshot, StoreError};

/// What so few events need is looked up where they are planned: a dozen statements for each.
const FEW: usize = 4;

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
pub(super) fn judged(judgement: Judgement, appended: Appended) -> Received {
    match judgement {
        Judgement::Accepted => Received::Accepted(appended),
        Judgement::SoftFailed(reason) => Received::SoftFailed(appended, reason),
        Judgement::Rejected(reason) => Received::Rejected(appended, reason),
    }
}

/// What is written beside events of one verdict, as a part of their transaction.
fn along(beside: Option<&Beside>, accepted: bool) -> Option<Along> {
    let beside = beside?.clone();
    Some(Box::new(move |tx, room, events| beside(tx, room, Stored { events, accepted })))
}

impl Appender {
    /// Judges events and writes them; one answer each.
    pub(super) async fn receive(
        &mut self,
        events: Vec<Incoming>,
        beside: Option<&Beside>,
    ) -> Result<Vec<Received>, StoreError> {
        let mut answers = Vec::with_capacity(events.len());
        let mut rest = VecDeque::from(events);
        while !rest.is_empty() {
            let run = self.receive_run(rest.make_contiguous(), beside).await?;
            rest.drain(..run.len());
            let followed = !run.is_empty();
            answers.extend(run);
            if !followed && let Some(event) = rest.pop_front() {
                answers.push(self.receive_one(event, None, beside).await?);
            }
        }
        Ok(answers)
    }

    /// Writes the events at the front that follow the room's end, as one batch.
    async fn receive_run(&mut self, events: &[Incoming], beside: Option<&Beside>) -> Result<Vec<Received>, StoreError> {
        let head = self.load().await?;
        let events = &events[..run::length(head, events)];
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.plan_run(events).await?;
        if batch.planned.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.commit_run(batch, along(beside, true)).await?;
        Ok(appended.into_iter().map(Received::Accepted).collect())
    }

    /// Writes local events that were built before and follow the room's end, as one batch, if they all pass the checks. Takes
    /// what comes along then.
    pub(super) async fn append_run(
        &mut self,
        events: &[Incoming],
        transactions: Vec<Option<Transaction>>,
        along: &mut Option<Along>,
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        let mut batch = self.plan_run(events).await?;
        if batch.planned.len() < events.len() {
            return Ok(None);
        }
        for (planned, transaction) in batch.planned.iter_mut().zip(transactions) {
            planned.transaction = transaction;
        }
        self.commit_run(batch, along.take()).await.map(Some)
    }

    /// Plans those of the events, which follow the room's end, that pass all checks, up to the first that does not.
    async fn plan_run(&mut self, events: &[Incoming]) -> Result<Batch, StoreError> {
        let (shared, room) = (self.shared.clone(), self.room);
        let head = self.load().await?;
        head.make_room();
        let pdus: Vec<Arc<Pdu>> = events.iter().map(|event| event.pdu.clone()).collect();
        let (keys, site) = (run::needed(head, &pdus), shared.site.clone());
        let few = pdus.len() <= FEW;
        let look = move |read: &Snapshot<'_>| Facts::read(read, room, &pdus, keys, &site.pdus);
        let facts = if few { shared.store.read_short(look).await? } else { shared.store.read(look).await? };
        let mut batch = Batch::default();
        facts.plan(head, &mut batch, events);
        Ok(batch)
    }

    async fn commit_run(&mut self, batch: Batch, along: Option<Along>) -> Result<Vec<Appended>, StoreError> {
        let shared = self.shared.clone();
        let head = self.load().await?;
        let states = state_events(&batch);
        let now_ms = shared.clock.now_ms();
        let committed = commit_batch(&shared, head, batch, along, false, now_ms).await;
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
        Ok(appended)
    }

    /// Judges one event wherever it stands, and writes it.
    pub(super) async fn receive_one(
        &mut self,
        incoming: Incoming,
        transaction: Option<Transaction>,
        beside: Option<&Beside>,
    ) -> Result<Received, StoreError> {
        let verdict = match self.judge_live(&incoming).await? {
            Ok(verdict) => verdict,
            Err(reason) => return not_judged(reason),
        };
        let judgement = verdict.judgement.clone();
        let along = along(beside, matches!(judgement, Judgement::Accepted));
        let appended = self.write_judged(incoming, verdict, transaction, along).await?;
        Ok(judged(judgement, appended))
    }

    /// What the checks say of one event that is news.
    pub(super) async fn judge_live(&mut self, incoming: &Incoming) -> Result<Result<Judged, NotJudged>, StoreError> {
        let head = self.load().await?;
        let (room, rules) = (head.room.clone(), head.rules);
        let mut resolver = std::mem::take(&mut self.resolver);
        let (judging, site) = (incoming.clone(), self.shared.site.clone());
        let (resolver, verdict) = self
            .shared
            .store
            .read::<_, StoreError, _>(move |read| {
                let verdict = judge(read, &room, rules, &judging, Way::Live, &mut resolver, &site);
                Ok((resolver, verdict))
            })
            .await?;
        self.resolver = resolver;
        Ok(verdict)
    }

    /// Writes an event that was judged just now.
    pub(super) async fn write_judged(
        &mut self,
        incoming: Incoming,
        verdict: Judged,
        transaction: Option<Transaction>,
        along: Option<Along>,
    ) -> Result<Appended, StoreError> {
        let head = self.load().await?;
        let (room, rules, members) = (head.room.clone(), head.rules, head.members.clone());
        let (auth, is_state) = (verdict.auth.clone(), incoming.pdu.is_state());
        let now_ms = self.shared.clock.now_ms();
        let (site, nid) = (self.shared.site.clone(), room.nid);
        let commit = fork_commit(site, incoming, verdict, transaction, (room, rules, members), now_ms);
        // Whatever happens now, what is in memory is older than the room.
        let old = self.head.take();
        let write = self.shared.store.write::<_, StoreError, _>(move |tx| {
            let appended = commit.run(tx, None)?;
            if let Some(along) = along {
                along(tx, nid, std::slice::from_ref(&appended))?;
            }
            Ok(appended)
        });
        let appended = write.await?;
        if is_state {
            self.resolver.written(appended.nid, &auth);
        }
        if let Some(head) = old {
            self.head = Some(self.shared.store.read(move |read| head.reload(read)).await?);
        }
        Ok(appended)
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
