//! One room's appender: takes what waits, plans it as one batch, has it written, answers.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Instant,
};

use ruma::OwnedUserId;
use tokio::sync::{mpsc, oneshot};

use super::{
    Along, AppendError, Appended, Awake, IDLE, Incoming, LocalEvent, Received, Shared, Work,
    commit::{Committed, MainCommit, Target},
    countersign::Unsigned,
    head::{Head, Tip, names_hashes, read_state},
    plan::{AuthRef, Batch, MAX_PREV_EVENTS, Outcome, Repeats, needed_keys, stored_auth},
    resolution::Resolver,
};
use crate::store::{StoreError, events, ids::RoomNid};

/// Events of a call go into one batch; calls are added to a batch until it has this many.
const MAX_BATCH: usize = 200;

/// Extremities above which they are joined before a local event.
const MERGE_ABOVE: usize = 10;

/// Joining events before one local event at most.
const MAX_MERGES: usize = 5;

/// Type of the hidden event that joins extremities (spec/events).
const MERGE_TYPE: &str = "org.linkim.merge";

/// One call of [`super::Appenders::append`].
pub(super) struct Call {
    pub(super) events: Vec<LocalEvent>,
    pub(super) along: Option<Along>,
    /// Whether who calls can have events signed by a policy server.
    pub(super) sign: bool,
    pub(super) reply: oneshot::Sender<Result<Done, AppendError>>,
}

/// The answer to a call.
pub(super) enum Done {
    /// Its events are durable.
    Appended(Vec<Appended>),
    /// They are to be signed first; nothing was written.
    Unsigned(Box<Unsigned>),
}

/// The appender of a room.
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) room: RoomNid,
    queue: mpsc::Receiver<Work>,
    /// None before the first work, and after a write whose outcome is unknown.
    pub(super) head: Option<Head>,
    pub(super) resolver: Resolver,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>, room: RoomNid, queue: mpsc::Receiver<Work>) -> Self {
        Self { shared, room, queue, head: None, resolver: Resolver::default() }
    }

    /// Works until nothing came for [`IDLE`].
    pub(super) async fn run(mut self, awake: Weak<Mutex<Awake>>) {
        loop {
            let mut works = Vec::new();
            match tokio::time::timeout(IDLE, self.queue.recv_many(&mut works, MAX_BATCH)).await {
                Ok(0) => return,
                Ok(_) => self.work(works).await,
                Err(_) => {
                    let Some(awake) = awake.upgrade() else { return };
                    let mut awake = awake.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    // Work is sent under the same lock.
                    if self.queue.is_empty() {
                        awake.remove(&self.room);
                        return;
                    }
                }
            }
        }
    }

    async fn work(&mut self, works: Vec<Work>) {
        let mut calls = Vec::new();
        for work in works {
            match work {
                // What comes along may fail for reasons of its own, so such a call is a batch of its own.
                Work::Append(call) if call.along.is_some() => {
                    self.append(std::mem::take(&mut calls)).await;
                    self.append(vec![call]).await;
                }
                Work::Append(call) => calls.push(call),
                other => {
                    self.append(std::mem::take(&mut calls)).await;
                    self.answer(other).await;
                }
            }
        }
        self.append(calls).await;
    }

    /// Does what can't be merged with other work. Whoever asked may have gone.
    async fn answer(&mut self, work: Work) {
        match work {
            Work::Append(call) => self.append(vec![call]).await,
            Work::Signed(signed, reply) => {
                let _ = reply.send(self.append_signed(*signed).await);
            }
            Work::Receive(events, beside, reply) => {
                let _ = reply.send(self.receive(events, beside.as_ref()).await.map_err(AppendError::from));
            }
            Work::Outliers(events, reply) => {
                let _ = reply.send(self.add_outliers(events).await.map_err(AppendError::from));
            }
            Work::Backfill(events, reply) => {
                let _ = reply.send(self.backfill(events).await.map_err(AppendError::from));
            }
            Work::Import(join, reply) => {
                let _ = reply.send(self.import(*join).await);
            }
            Work::Complete(join, state, reply) => {
                let _ = reply.send(self.complete(join, state).await);
            }
            Work::GiveUp(reply) => {
                let _ = reply.send(self.give_up().await.map_err(AppendError::from));
            }
            Work::Outside(change, reply) => {
                let _ = reply.send(self.outside(*change).await);
            }
            Work::Members(reply) => {
                let members = self.load().await.map(|head| head.members.clone());
                let _ = reply.send(members.map_err(AppendError::from));
            }
        }
    }

    pub(super) async fn load(&mut self) -> Result<&mut Head, StoreError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => {
                let room = self.room;
                self.shared.store.read(move |read| Head::load(read, room)).await?
            }
        };
        Ok(self.head.insert(head))
    }

    /// The calls whose events need no signature of a policy server; the others are answered what is to be signed.
    async fn drafted(&mut self, calls: Vec<Call>) -> Vec<Call> {
        if !calls.iter().any(|call| call.sign) {
            return calls;
        }
        let policy = match self.policy().await {
            Ok(Some(policy)) => policy,
            Ok(None) => return calls,
            Err(error) => {
                for call in calls {
                    let _ = call.reply.send(Err(AppendError::Store(error.again())));
                }
                return Vec::new();
            }
        };
        let mut rest = Vec::new();
        for call in calls {
            match self.draft(call, &policy).await {
                Ok(call) => rest.extend(call),
                // Who called hears that the appender failed.
                Err(error) => tracing::warn!(%error, "an event for a policy server was not built"),
            }
        }
        rest
    }

    /// Appends the events of these calls; each call all of its events or none.
    async fn append(&mut self, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let started = Instant::now();
        let calls = self.drafted(calls).await;
        if calls.is_empty() {
            return;
        }
        let (events, rest): (Vec<_>, Vec<_>) =
            calls.into_iter().map(|call| (call.events, (call.along, call.reply))).unzip();
        let (mut alongs, replies): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
        let along = alongs.pop().flatten();
        match self.append_batch(events, along).await {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    let _ = reply.send(answer.map(Done::Appended));
                }
            }
            Err(error) => {
                // Whether the write happened may be unknown; what is in memory no longer counts.
                self.head = None;
                for reply in replies {
                    let _ = reply.send(Err(AppendError::Store(error.again())));
                }
            }
        }
        metrics::histogram!("linkim_append_seconds").record(started.elapsed().as_secs_f64());
    }

    async fn append_batch(
        &mut self,
        calls: Vec<Vec<LocalEvent>>,
        along: Option<Along>,
    ) -> Result<Vec<Result<Vec<Appended>, AppendError>>, StoreError> {
        let sender = calls.first().and_then(|events| events.first()).map(|event| event.sender.clone());
        if let Some(sender) = sender
            && self.load().await?.tips.len() > MERGE_ABOVE
        {
            self.merge_extremities(sender).await?;
        }
        let now_ms = self.shared.clock.now_ms();
        let shared = self.shared.clone();
        let room = self.room;
        let head = self.load().await?;
        if head.tips.len() > MAX_PREV_EVENTS {
            if along.is_some() {
                return Ok(calls.iter().map(|_| Err(AppendError::Busy)).collect());
            }
            return self.append_beside(calls).await;
        }
        let repeats = prepare(&shared, room, head, &calls).await?;
        let mut batch = Batch::default();
        let plans: Vec<_> = calls
            .into_iter()
            .map(|events| {
                let mark = batch.mark();
                let plan: Result<Vec<Outcome>, AppendError> =
                    events.into_iter().map(|event| batch.plan(head, event, &repeats, &shared.signer, now_ms)).collect();
                if plan.is_err() {
                    batch.go_back(&mark);
                }
                plan
            })
            .collect();
        let states = state_events(&batch);
        let appended = commit_batch(&shared, head, batch, along, plans.iter().all(Result::is_err), now_ms).await?;
        for (index, auth) in states {
            self.resolver.written(appended[index].nid, &stored_auth(&auth, &appended));
        }
        Ok(plans.into_iter().map(|plan| plan.map(|outcomes| answers(outcomes, &appended))).collect())
    }
}

/// The state events of a batch, with their auth events.
pub(super) fn state_events(batch: &Batch) -> Vec<(usize, Vec<AuthRef>)> {
    let states = batch.planned.iter().enumerate().filter(|(_, planned)| planned.pdu.is_state());
    states.map(|(index, planned)| (index, planned.auth.clone())).collect()
}

impl Appender {
    /// Joins extremities by hidden events of a local sender, as far as the room's power levels let them.
    async fn merge_extremities(&mut self, sender: OwnedUserId) -> Result<(), StoreError> {
        for _ in 0..MAX_MERGES {
            let merge = LocalEvent::message(sender.clone(), MERGE_TYPE, ruma::CanonicalJsonObject::new());
            let merged = self.append_one_beside(merge).await?;
            if merged.is_err() || self.load().await?.tips.len() <= MERGE_ABOVE {
                break;
            }
        }
        Ok(())
    }

    /// Appends events that can't name all extremities, one by one. A call of several events is refused: it could not be
    /// all or nothing.
    async fn append_beside(
        &mut self,
        calls: Vec<Vec<LocalEvent>>,
    ) -> Result<Vec<Result<Vec<Appended>, AppendError>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for mut events in calls {
            answers.push(match (events.pop(), events.is_empty()) {
                (Some(event), true) => self.append_one_beside(event).await?.map(|appended| vec![appended]),
                _ => Err(AppendError::Busy),
            });
        }
        Ok(answers)
    }

    /// Appends one event that names at most [`MAX_PREV_EVENTS`] extremities, as if it had come from outside.
    async fn append_one_beside(&mut self, event: LocalEvent) -> Result<Result<Appended, AppendError>, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let (shared, room) = (self.shared.clone(), self.room);
        let head = self.load().await?;
        let events = [vec![event]];
        let repeats = prepare(&shared, room, head, &events).await?;
        let mut batch = Batch::default();
        let [events] = events;
        let mut outcome = Err(AppendError::Busy);
        for event in events {
            outcome = batch.plan(head, event, &repeats, &shared.signer, now_ms);
        }
        match outcome {
            Err(error) => return Ok(Err(error)),
            Ok(Outcome::Repeated(appended)) => return Ok(Ok(appended)),
            Ok(Outcome::New(_)) => {}
        }
        let Some(planned) = batch.planned.pop() else { return Ok(Err(AppendError::Busy)) };
        let incoming = Incoming { relay: true, ..Incoming::new(planned.pdu) };
        Ok(match self.receive_one(incoming, planned.transaction, None).await? {
            Received::Accepted(appended) => Ok(appended),
            Received::SoftFailed(_, reason) | Received::Rejected(_, reason) => Err(AppendError::Denied(reason)),
            other => Err(AppendError::Malformed(format!("{other:?}"))),
        })
    }
}

/// Reads what planning needs: state that is not at hand, and what repeated requests made.
pub(super) async fn prepare(
    shared: &Shared,
    room: RoomNid,
    head: &mut Head,
    calls: &[Vec<LocalEvent>],
) -> Result<Repeats, StoreError> {
    head.make_room();
    let mut keys = Vec::new();
    let mut transactions = Vec::new();
    for event in calls.iter().flatten() {
        // A malformed event fails when it is planned.
        keys.extend(needed_keys(head, event).unwrap_or_default());
        transactions.extend(event.transaction.as_ref().map(|t| (t.device, t.key)));
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() && transactions.is_empty() {
        return Ok(Repeats::new());
    }
    let (entries, repeats) = shared
        .store
        .read_short::<_, StoreError, _>(move |read| {
            let mut repeats = Repeats::new();
            for (device, key) in transactions {
                if let Some(event_id) = events::of_transaction(read, device, &key)?
                    && let Some(row) = events::by_id(read, &event_id)?
                {
                    let position = row.position.unwrap_or_default();
                    repeats.push((device, key, Appended { nid: row.nid, event_id, position, repeated: true }));
                }
            }
            Ok((read_state(read, room, keys)?, repeats))
        })
        .await?;
    for (kind, key, entry) in entries {
        head.put(&kind, &key, entry);
    }
    Ok(repeats)
}

/// Has a batch written and brings the head up to date.
pub(super) async fn commit_batch(
    shared: &Arc<Shared>,
    head: &mut Head,
    batch: Batch,
    along: Option<Along>,
    nothing_accepted: bool,
    now_ms: i64,
) -> Result<Vec<Appended>, StoreError> {
    if batch.planned.is_empty() && (along.is_none() || nothing_accepted) {
        return Ok(Vec::new());
    }
    let mut batch = batch;
    let planned = Arc::new(std::mem::take(&mut batch.planned));
    metrics::histogram!("linkim_append_events").record(planned.len() as f64);
    let commit = MainCommit {
        site: shared.site.clone(),
        room: Target::Room(head.room.clone()),
        rules: head.rules,
        row: head.row.clone(),
        running: head.running,
        old_tips: head.tips.iter().map(|tip| tip.nid).collect(),
        planned: planned.clone(),
        members: head.members.clone(),
        now_ms,
        partial: head.partial,
    };
    let room = head.room.nid;
    let committed = shared
        .store
        .write::<_, StoreError, _>(move |tx| {
            let committed = if commit.planned.is_empty() { None } else { Some(commit.run(tx)?) };
            if let Some(along) = along {
                along(tx, room, committed.as_ref().map_or(&[], |c| &c.appended))?;
            }
            Ok(committed)
        })
        .await?;
    let Some(committed) = committed else { return Ok(Vec::new()) };
    batch.planned =
        Arc::try_unwrap(planned).map_err(|_| StoreError::Engine("a batch is still in use after its commit".into()))?;
    Ok(settle(head, &batch, committed))
}

/// Moves a committed batch into the head.
pub(super) fn settle(head: &mut Head, batch: &Batch, committed: Committed) -> Vec<Appended> {
    head.room = committed.room;
    head.row = committed.row;
    head.running = committed.running;
    if let (Some(last), Some(appended)) = (batch.planned.last(), committed.appended.last()) {
        head.newest = Some(appended.nid);
        head.tips = vec![Tip {
            nid: appended.nid,
            event_id: appended.event_id.clone(),
            depth: i64::try_from(last.pdu.depth()).unwrap_or(i64::MAX),
            reference_hash: names_hashes(head.rules).then(|| last.pdu.reference_hash(head.rules)),
        }];
    }
    batch.settle(head, &committed.appended);
    if committed.state_redacted {
        head.forget_state();
    }
    committed.appended
}

/// The answer to one call.
pub(super) fn answers(outcomes: Vec<Outcome>, appended: &[Appended]) -> Vec<Appended> {
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::New(index) => appended[index].clone(),
            Outcome::Repeated(appended) => appended,
        })
        .collect()
}
