//! Works off what is staged of one room: takes a batch, checks it, hands it to the appender in order, has fetched what is
//! lacking, and clears away what is done.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    GRACE, Shared,
    hand::{Hand, Lacks, Staged},
    pauses::Pauses,
};
use crate::{
    peers::{events::EventProblem, slots::Slot},
    rooms::append::{AppendError, Beside, Incoming, Received},
    store::{
        Snapshot, StoreError, ids,
        ids::RoomKey,
        inbox::{self, StagedRow},
    },
};

/// Events that are taken, and handed to the appender, at once.
const BATCH: usize = 200;

/// Bytes that are taken at once.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Events and bytes in hand above which nothing more is taken before what is lacking is fetched.
const HAND: usize = 2 * BATCH;
const HAND_BYTES: usize = 2 * BATCH_BYTES;

/// So few waiting events are looked up on the worker's own thread.
const SHORT: i64 = 4;

/// How long an event is kept whose ancestors or keys nobody could be asked for.
const MAX_AGE_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// How long a worker waits after a failure of the store, or where the appender has too much to do.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
const AFTER_BUSY: Duration = Duration::from_millis(50);

/// What became of a staged event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The appender has it: the label says how.
    Taken(&'static str),
    /// It is not an event of this room.
    Malformed(String),
    /// A server that must have signed it has not.
    BadSignature(String),
    /// Nobody could be asked for the key that it is signed with.
    NoKey,
    /// Who sent it can't say what comes before it.
    Unbacked(String),
}

impl Outcome {
    /// Whether the appender has written it just now, and [`Worker::beside`] with it.
    fn is_written(&self) -> bool {
        matches!(self, Self::Taken("accepted" | "soft_failed" | "rejected"))
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Taken(how) => how,
            Self::Malformed(_) => "malformed",
            Self::BadSignature(_) => "bad_signature",
            Self::NoKey => "no_key",
            Self::Unbacked(_) => "unbacked",
        }
    }
}

/// How the appender has an event, if it has.
pub(super) fn taken(room: &RoomId, event: &EventId, answer: &Received) -> Option<&'static str> {
    match answer {
        Received::Accepted(_) => Some("accepted"),
        Received::SoftFailed(_, reason) => {
            tracing::debug!(%room, %event, reason, "soft-failed");
            Some("soft_failed")
        }
        Received::Rejected(_, reason) => {
            tracing::debug!(%room, %event, reason, "rejected");
            Some("rejected")
        }
        Received::Known(_) => Some("known"),
        Received::MissingPrev(_) | Received::MissingAuth(_) | Received::MissingState(_) | Received::Malformed(_) => {
            None
        }
    }
}

/// An event that is done.
pub(super) struct Done {
    pub(super) event_id: OwnedEventId,
    pub(super) staged: Vec<Staged>,
    pub(super) outcome: Outcome,
}

/// What a worker does next.
enum Next {
    /// The same again.
    Again,
    /// Nothing, until something is staged or a server can be reached.
    Idle,
    /// All from the start, after a while.
    Later(Duration),
}

/// The worker of a room. It ends when nothing waits.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    room_id: OwnedRoomId,
    wake: Arc<Notify>,
    /// Up to where staged events were taken.
    cursor: i64,
    pub(super) hand: Hand,
    pub(super) pauses: Pauses,
    /// Whether something is kept for a join.
    kept: bool,
    /// The right to fetch, where it had to be waited for.
    pub(super) slot: Option<Slot>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, room_id: OwnedRoomId, wake: Arc<Notify>) -> Self {
        let (hand, pauses) = (Hand::default(), Pauses::default());
        Self { shared, room_id, wake, cursor: 0, hand, pauses, kept: false, slot: None }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = match self.round().await {
                Ok(next) => next,
                Err(StoreError::Stopping) => return,
                Err(error) => {
                    tracing::warn!(room = %self.room_id, %error, "what other servers sent waits");
                    Next::Later(AFTER_FAILURE)
                }
            };
            match next {
                Next::Again => {}
                Next::Idle if self.pauses.any() => {
                    let (reachability, clock) = (&self.shared.parts.reachability, &self.shared.parts.clock);
                    tokio::select! {
                        () = self.pauses.over(reachability, &**clock) => self.start_over(),
                        () = self.wake.notified() => {}
                    }
                }
                Next::Idle => {
                    if self.shared.may_end(&self.room_id) {
                        return;
                    }
                }
                Next::Later(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.wake.notified() => {}
                    }
                    self.start_over();
                }
            }
        }
    }

    /// Forgets what is in hand: it is staged, and taken again from the start.
    pub(super) fn start_over(&mut self) {
        self.hand.clear();
        self.cursor = 0;
    }

    async fn round(&mut self) -> Result<Next, StoreError> {
        let room_id = self.room_id.clone();
        let found = self.shared.parts.store.read_short::<_, StoreError, _>(move |read| {
            let Some(room) = ids::room(read, &room_id)? else { return Ok(None) };
            let joined = inbox::local_joined(read, room.nid)?.unwrap_or(0);
            Ok(Some((room, joined > 0)))
        });
        let found = found.await?;
        if self.shared.expected(&self.room_id).is_some() {
            return Ok(Next::Later(Duration::from_secs(600)));
        }
        let Some((room, inside)) = found else { return self.without_room().await };
        let shared = self.shared.clone();
        let working = shared.working.acquire().await;
        let took = self.take(&room).await?;
        if !inside && self.take_outside(&room).await? {
            self.kept = true;
        }
        drop(working);
        if inside {
            self.append(&room).await?;
        }
        if took && self.hand.is_empty() && !self.kept && self.waiting() == 0 {
            return Ok(Next::Idle);
        }
        if took && self.hand.len() < HAND && self.hand.bytes() < HAND_BYTES {
            return Ok(Next::Again);
        }
        if !took && std::mem::take(&mut self.kept) {
            return Ok(Next::Later(GRACE.saturating_sub(self.shared.started.elapsed())));
        }
        if self.hand.is_empty() {
            return Ok(if took { Next::Again } else { Next::Idle });
        }
        self.fetch(&room).await?;
        Ok(Next::Again)
    }

    /// The room is not here: a join that went on when we stopped may yet bring it.
    async fn without_room(&mut self) -> Result<Next, StoreError> {
        let age = self.shared.started.elapsed();
        if age < GRACE {
            return Ok(Next::Later(GRACE - age));
        }
        let room_id = self.room_id.clone();
        let rows = self.shared.parts.store.read(move |read| inbox::next(read, &room_id, 0, BATCH, BATCH_BYTES)).await?;
        if rows.is_empty() {
            return Ok(Next::Idle);
        }
        let done = rows.into_iter().map(|row| Done {
            event_id: row.event_id.clone(),
            staged: vec![staged(&row)],
            outcome: Outcome::Unbacked("the room was not joined".into()),
        });
        self.finish(None, done.collect()).await?;
        Ok(Next::Again)
    }

    /// Events that wait in the room, those in hand included.
    fn waiting(&self) -> i64 {
        self.shared.desk().of_room(&self.room_id).events
    }

    /// Takes a batch in hand. Answers whether there was one.
    async fn take(&mut self, room: &RoomKey) -> Result<bool, StoreError> {
        let (room_id, cursor) = (self.room_id.clone(), self.cursor);
        let look = move |read: &Snapshot<'_>| inbox::next(read, &room_id, cursor, BATCH, BATCH_BYTES);
        let store = &self.shared.parts.store;
        let rows = if self.waiting() <= SHORT { store.read_short(look).await? } else { store.read(look).await? };
        let Some(last) = rows.last() else { return Ok(false) };
        self.cursor = last.seq;
        self.check(room, rows).await?;
        Ok(true)
    }

    /// Checks staged events; those that pass are in hand then.
    pub(super) async fn check(&mut self, room: &RoomKey, rows: Vec<StagedRow>) -> Result<(), StoreError> {
        let Some(rules) = linkim_federation::rules(&room.version) else {
            return Err(StoreError::Damaged(format!("room version {}", room.version)));
        };
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let json = RawValue::from_string(row.json.clone());
            events.push(json.map_err(|error| StoreError::Damaged(format!("staged event {}: {error}", row.seq)))?);
        }
        let now_ms = self.shared.parts.clock.now_ms();
        let mut done = Vec::new();
        let mut without_key: BTreeSet<OwnedServerName> = BTreeSet::new();
        let checked = self.shared.parts.checker.check(rules, events).await;
        for (row, checked) in rows.into_iter().zip(checked) {
            let outcome = match checked {
                Ok(pdu) if pdu.room_id() == room.room_id && pdu.event_id() == row.event_id => {
                    self.hand.stage(pdu, staged(&row));
                    continue;
                }
                Ok(_) => Outcome::Malformed("it is another event".into()),
                Err(EventProblem::Malformed(reason)) => Outcome::Malformed(reason),
                Err(EventProblem::BadSignature(reason)) => Outcome::BadSignature(reason),
                Err(EventProblem::NoKey(server)) if now_ms - row.received_ts < MAX_AGE_MS => {
                    without_key.insert(server);
                    continue;
                }
                Err(EventProblem::NoKey(_)) => Outcome::NoKey,
            };
            done.push(Done { event_id: row.event_id.clone(), staged: vec![staged(&row)], outcome });
        }
        for server in without_key {
            tracing::debug!(room = %self.room_id, %server, "events wait for a key");
            self.pauses.failed(&server);
        }
        self.finish(Some(room), done).await
    }

    /// Hands all that is in hand to the appender. What stays in hand lacks something.
    pub(super) async fn append(&mut self, room: &RoomKey) -> Result<(), StoreError> {
        let (shared, events) = (self.shared.clone(), self.hand.in_order());
        let mut rest = &events[..];
        while !rest.is_empty() {
            // A policy server may be slow: other rooms don't wait for it.
            let judged = shared.parts.policy.judge(room, &rest[..rest.len().min(BATCH)]).await?;
            let (chunk, others) = rest.split_at(judged.len());
            let working = shared.working.acquire().await;
            let answers = self.receive(room, judged).await?;
            let answers = chunk.iter().map(|pdu| pdu.owned_event_id().clone()).zip(answers).collect();
            self.answered(room, answers).await?;
            drop(working);
            rest = others;
        }
        Ok(())
    }

    /// The appender's answers; if it has too much to do, waits for it.
    pub(super) async fn receive(&self, room: &RoomKey, events: Vec<Incoming>) -> Result<Vec<Received>, StoreError> {
        let beside = self.beside(&events);
        loop {
            let count = events.len();
            match self.shared.parts.appenders.receive_with(room.nid, events.clone(), beside.clone()).await {
                Ok(answers) => return Ok(answers),
                Err(AppendError::Busy) => tokio::time::sleep(AFTER_BUSY).await,
                Err(AppendError::Store(error)) => return Err(error),
                // Blocked: an administrator wants nothing of the room.
                Err(error) => {
                    tracing::debug!(room = %self.room_id, %error, "events are refused");
                    return Ok(vec![Received::Malformed("the room takes nothing"); count]);
                }
            }
        }
    }

    /// What the appender's transactions take along: with an event goes what is staged of it, and receipts that waited for it
    /// take effect. Whoever sees the event sees those.
    fn beside(&self, events: &[Incoming]) -> Beside {
        let (shared, room_id) = (self.shared.clone(), self.room_id.clone());
        let staged: HashMap<OwnedEventId, Vec<Staged>> = events
            .iter()
            .filter_map(|event| self.hand.get(event.pdu.event_id()))
            .map(|held| (held.pdu.owned_event_id().clone(), held.staged.clone()))
            .collect();
        Arc::new(move |tx, room, stored| {
            let mut gone = Vec::with_capacity(stored.events.len());
            for event in stored.events {
                if stored.accepted {
                    shared.parts.receipts.arrived(tx, room, &event.event_id)?;
                }
                for row in staged.get(&event.event_id).into_iter().flatten() {
                    if inbox::unstage(tx, row.seq)? {
                        gone.push(row.clone());
                    }
                }
            }
            let (shared, room_id) = (shared.clone(), room_id.clone());
            tx.after_commit(move || shared.release(&room_id, &gone));
            Ok(())
        })
    }

    /// Takes the appender's answers: what is done leaves the hand, the rest is noted to lack something.
    pub(super) async fn answered(
        &mut self,
        room: &RoomKey,
        answers: Vec<(OwnedEventId, Received)>,
    ) -> Result<(), StoreError> {
        let mut outcomes: BTreeMap<OwnedEventId, Outcome> = BTreeMap::new();
        for (id, answer) in answers {
            if let Some(how) = taken(&self.room_id, &id, &answer) {
                outcomes.insert(id, Outcome::Taken(how));
                continue;
            }
            let outcome = match answer {
                Received::Malformed(reason) => Outcome::Malformed(reason.to_owned()),
                Received::MissingPrev(lacking) => {
                    self.hand.lacks(&id, Lacks::Prev(lacking));
                    continue;
                }
                Received::MissingAuth(lacking) => {
                    self.hand.lacks(&id, Lacks::Auth(lacking));
                    continue;
                }
                // The state that a peer named changed since: as if it had not been asked. The others are taken.
                _ => continue,
            };
            outcomes.insert(id, outcome);
        }
        let ids: BTreeSet<OwnedEventId> = outcomes.keys().cloned().collect();
        let mut done = Vec::with_capacity(ids.len());
        for held in self.hand.remove_all(&ids) {
            let event_id = held.pdu.owned_event_id().clone();
            let Some(outcome) = outcomes.remove(&event_id) else { continue };
            let staged = if outcome.is_written() { Vec::new() } else { held.staged };
            done.push(Done { event_id, staged, outcome });
        }
        self.finish(Some(room), done).await
    }

    /// Clears away what is done and was not cleared away with its append. Receipts that waited for these events take effect.
    pub(super) async fn finish(&self, room: Option<&RoomKey>, done: Vec<Done>) -> Result<(), StoreError> {
        if done.is_empty() {
            return Ok(());
        }
        for one in &done {
            metrics::counter!("linkim_inbox_events_total", "result" => one.outcome.label()).increment(1);
            match &one.outcome {
                Outcome::Unbacked(reason) => {
                    tracing::info!(room = %self.room_id, event = %one.event_id, reason, "an event is dropped");
                }
                Outcome::Malformed(_) | Outcome::BadSignature(_) | Outcome::NoKey => {
                    tracing::debug!(room = %self.room_id, event = %one.event_id, outcome = ?one.outcome, "an event is dropped");
                }
                Outcome::Taken(_) => {}
            }
        }
        let arrived: Vec<OwnedEventId> = done
            .iter()
            .filter(|one| matches!(one.outcome, Outcome::Taken("known")))
            .map(|one| one.event_id.clone())
            .collect();
        let rows: Vec<Staged> = done.into_iter().flat_map(|one| one.staged).collect();
        if rows.is_empty() && arrived.is_empty() {
            return Ok(());
        }
        let (receipts, nid) = (self.shared.parts.receipts.clone(), room.map(|room| room.nid));
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let write = self.shared.parts.store.write::<_, StoreError, _>(move |tx| {
            let mut gone = Vec::with_capacity(seqs.len());
            for seq in seqs {
                gone.push(inbox::unstage(tx, seq)?);
            }
            let mut read = false;
            if let Some(room) = nid {
                for event in &arrived {
                    read |= receipts.arrived(tx, room, event)?;
                }
            }
            Ok((gone, read))
        });
        let (gone, read) = write.await?;
        let gone: Vec<Staged> = rows.into_iter().zip(gone).filter(|(_, gone)| *gone).map(|(row, _)| row).collect();
        self.shared.release(&self.room_id, &gone);
        if let Some(room) = room.filter(|_| read) {
            self.shared.parts.receipts.tell(room.nid).await;
        }
        Ok(())
    }

    /// Whether a staged event has waited for so long that nobody will back it.
    pub(super) fn is_old(&self, staged: &Staged) -> bool {
        self.shared.parts.clock.now_ms() - staged.received_ts >= MAX_AGE_MS
    }
}

fn staged(row: &StagedRow) -> Staged {
    Staged { seq: row.seq, origin: row.origin.clone(), received_ts: row.received_ts, bytes: row.json.len() as i64 }
}
