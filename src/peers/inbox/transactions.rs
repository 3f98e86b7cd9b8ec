//! Transactions: once each, in turn, appended or staged before they are answered.
//!
//! Source: Server-Server API, "Transactions".

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use linkim_federation::Pdu;
use ruma::{OwnedRoomId, OwnedServerName, ServerName};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Inbox, Shared,
    desk::{Full, Item},
    reading::{Answers, Sorted},
    wire::Transaction,
};
use crate::store::{
    StoreError,
    inbox::{self, NewStaged},
};

/// Transactions of one origin that are in hand or wait for the one that is. A server sends one at a time, so these are
/// repetitions after time-outs.
const WAITING: usize = 4;

impl Transaction {
    /// A hash by which it is known again.
    fn hash(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for (kind, items) in [(b'p', &self.pdus), (b'e', &self.edus)] {
            for item in items {
                hasher.update(&[kind]);
                hasher.update(&(item.get().len() as u64).to_le_bytes());
                hasher.update(item.get().as_bytes());
            }
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        hash
    }
}

/// Why a transaction was not taken. The sender keeps it, and sends it again.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Too much waits already.
    #[error("too much waits to be worked off")]
    Full {
        /// When to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Full> for TransactionError {
    fn from(full: Full) -> Self {
        Self::Full { retry_after_ms: full.retry_after_ms }
    }
}

/// Lets one transaction of each origin in. Bound: an entry for each origin with one in hand.
#[derive(Default)]
pub(super) struct Gates(Arc<Mutex<HashMap<OwnedServerName, Gate>>>);

struct Gate {
    semaphore: Arc<Semaphore>,
    inside: usize,
}

struct Inside {
    gates: Arc<Mutex<HashMap<OwnedServerName, Gate>>>,
    origin: OwnedServerName,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Gates {
    /// Waits for the origin's turn; None if too many wait.
    async fn enter(&self, origin: &ServerName) -> Option<Inside> {
        let (semaphore, mut inside) = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = gates
                .entry(origin.to_owned())
                .or_insert_with(|| Gate { semaphore: Arc::new(Semaphore::new(1)), inside: 0 });
            if gate.inside >= WAITING {
                return None;
            }
            gate.inside += 1;
            (gate.semaphore.clone(), Inside { gates: self.0.clone(), origin: origin.to_owned(), _turn: None })
        };
        inside._turn = semaphore.acquire_owned().await.ok();
        Some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get_mut(&self.origin) {
            gate.inside -= 1;
            if gate.inside == 0 {
                gates.remove(&self.origin);
            }
        }
    }
}

/// When a server whose transactions pile up is to try again.
const BUSY_RETRY_MS: u64 = 1_000;

impl Inbox {
    /// Takes a transaction: applies what is no event, stages the events, and answers with the body for the sender. The same
    /// transaction, repeated, gets the same answer; another one under its id is another one. Where much waits, the answer
    /// takes its time.
    ///
    /// # Errors
    /// [`TransactionError`]; nothing was staged then.
    pub async fn transaction(
        &self,
        origin: &ServerName,
        txn_id: &str,
        transaction: Transaction,
    ) -> Result<String, TransactionError> {
        let Some(_inside) = self.gates.enter(origin).await else {
            return Err(TransactionError::Full { retry_after_ms: BUSY_RETRY_MS });
        };
        let hash = transaction.hash();
        if let Some(answer) = self.answered(origin, txn_id, hash).await? {
            return Ok(answer);
        }
        let Transaction { pdus, edus } = transaction;
        let Sorted { new, answers } = self.shared.sort(origin, pdus).await?;
        let answer = body(&answers);
        let reserved = self.reserve(origin, new)?;
        let durable = self.shared.parts.edus.apply(origin, &edus).await?;
        let refused = answers.values().any(Option::is_some);
        let answered = Answered { txn_id: txn_id.to_owned(), hash, answer: answer.clone(), lasts: durable || refused };
        let delay = self.stage(origin, reserved, Some(answered)).await?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(answer)
    }

    /// Stages events that came otherwise than by a transaction; answers what each would have been answered, by id.
    ///
    /// # Errors
    /// [`TransactionError`]; nothing was staged then.
    pub async fn offer(&self, origin: &ServerName, pdus: Vec<Box<RawValue>>) -> Result<Answers, TransactionError> {
        let Sorted { new, answers } = self.shared.sort(origin, pdus).await?;
        let reserved = self.reserve(origin, new)?;
        self.stage(origin, reserved, None).await?;
        Ok(answers)
    }

    async fn answered(&self, origin: &ServerName, txn_id: &str, hash: [u8; 16]) -> Result<Option<String>, StoreError> {
        let (origin, txn_id) = (origin.to_owned(), txn_id.to_owned());
        self.shared.parts.store.read_short(move |read| inbox::answered(read, &origin, &txn_id, &hash)).await
    }

    /// Takes space for events.
    fn reserve(&self, origin: &ServerName, events: Vec<Pdu>) -> Result<Reserved, Full> {
        let items: Vec<Item> = events
            .iter()
            .map(|pdu| Item { room_id: pdu.room_id().to_owned(), bytes: pdu.json().len() as i64 })
            .collect();
        let now_ms = self.shared.parts.clock.now_ms();
        self.shared.desk().reserve(origin, &items, now_ms).inspect_err(|_| {
            metrics::counter!("linkim_inbox_refused_total").increment(1);
        })?;
        Ok(Reserved { shared: self.shared.clone(), origin: origin.to_owned(), events, items, now_ms })
    }

    /// Appends events that can be at once, and stages the others, with the answer; wakes their rooms. Answers how long to hold
    /// back the answer.
    async fn stage(
        &self,
        origin: &ServerName,
        reserved: Reserved,
        answered: Option<Answered>,
    ) -> Result<Duration, StoreError> {
        let lasts = answered.as_ref().is_some_and(|answered| answered.lasts);
        if reserved.events.is_empty() && !lasts {
            return Ok(Duration::ZERO);
        }
        let (shared, origin) = (self.shared.clone(), origin.to_owned());
        // In a task of its own: if the sender hangs up, what is staged is accounted for all the same, and its rooms wake.
        let staging = tokio::spawn(async move { shared.keep(&origin, reserved, answered).await });
        staging.await.unwrap_or_else(|_| Err(StoreError::Engine("staging failed".into())))
    }
}

impl Shared {
    async fn keep(
        self: Arc<Self>,
        origin: &ServerName,
        mut reserved: Reserved,
        answered: Option<Answered>,
    ) -> Result<Duration, StoreError> {
        let appended = self.append_live(&reserved.events).await?;
        let (events, items) = (std::mem::take(&mut reserved.events), std::mem::take(&mut reserved.items));
        let (staged, done): (Vec<_>, Vec<_>) =
            events.into_iter().zip(items).partition(|(pdu, _)| !appended.contains(pdu.event_id()));
        reserved.items = done.into_iter().map(|(_, item)| item).collect();
        // The events are known to whoever repeats the transaction, which is all that it would be answered.
        let answered = answered.filter(|answered| answered.lasts || !staged.is_empty());
        if staged.is_empty() && answered.is_none() {
            return Ok(Duration::ZERO);
        }
        let (staged, items): (Vec<_>, Vec<Item>) = staged.into_iter().unzip();
        let rooms: BTreeSet<OwnedRoomId> = items.iter().map(|item| item.room_id.clone()).collect();
        let (sender, now_ms) = (origin.to_owned(), reserved.now_ms);
        reserved.items.splice(0..0, items);
        let written = self.parts.store.write::<_, StoreError, _>(move |tx| {
            let mut new = Vec::with_capacity(staged.len());
            for pdu in &staged {
                new.push(inbox::stage(tx, &sender, &to_stage(pdu), now_ms)?);
            }
            if let Some(Answered { txn_id, hash, answer, .. }) = &answered {
                inbox::put_answer(tx, &sender, txn_id, hash, answer, now_ms)?;
            }
            Ok(new)
        });
        // What is appended, or waits already, takes no place.
        let mut new = written.await?.into_iter();
        reserved.items.retain(|_| new.next() != Some(true));
        drop(reserved);
        let delay = self.desk().delay(origin, rooms.iter().map(|room| &**room));
        for room in &rooms {
            self.wake(room);
        }
        Ok(delay)
    }
}

fn to_stage(pdu: &Pdu) -> NewStaged {
    NewStaged { room_id: pdu.room_id().to_owned(), event_id: pdu.owned_event_id().clone(), json: pdu.json().into() }
}

/// What a transaction is answered.
struct Answered {
    txn_id: String,
    hash: [u8; 16],
    answer: String,
    /// Whether it says more than that all of its events are here, so that it is remembered in any case.
    lasts: bool,
}

/// Events for which space was taken; given back if they are not staged, also where the sender hangs up before.
struct Reserved {
    shared: Arc<Shared>,
    origin: OwnedServerName,
    events: Vec<Pdu>,
    items: Vec<Item>,
    now_ms: i64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut desk = self.shared.desk();
        for item in &self.items {
            desk.release(&self.origin, item, self.now_ms);
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    pdus: std::collections::BTreeMap<&'a str, PduAnswer<'a>>,
}

#[derive(Serialize)]
struct PduAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The body of the answer.
fn body(answers: &Answers) -> String {
    let pdus = answers.iter().map(|(id, error)| (id.as_str(), PduAnswer { error: error.as_deref() })).collect();
    serde_json::to_string(&Body { pdus }).unwrap_or_else(|_| r#"{"pdus":{}}"#.to_owned())
}
