//! The delivery to one server: one transaction after the other, each repeated until it is acknowledged.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Core, Peer, STORE_PAUSE,
    board::{Look, Owing},
    plan::{CatchUp, Plan, plan},
    transaction::{self, Parts, Transaction, carve},
};
use crate::{
    peers::client::{Call, PeerError},
    store::{StoreError, WriteTx, destinations, events, message_status},
};

/// PDUs that a server did not take and that are noted, of one transaction: as many as it may have.
const MAX_REFUSED: usize = 50;

/// How long a server may take for a transaction: it may have to fetch what came before.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Times that a server may say that it does not take a transaction before it is searched for what it does not take.
const REFUSALS: u32 = 3;

/// Bytes of an answer at most: an error for each of the PDUs.
const MAX_ANSWER: usize = 256 * 1024;

/// Why a transaction was not acknowledged.
enum Failure {
    /// The server can't be reached, or has no time.
    Away { error: String, retry_after_ms: Option<u64>, outage: bool },
    /// It will not take it as it is.
    Refused(String),
    /// We do not talk to it.
    NotPermitted,
}

/// A delivery, while the server is owed something.
pub(super) struct Delivery {
    core: Arc<Core>,
    peer: Peer,
    plan: Plan,
    catch_up: CatchUp,
    /// How often in a row it refused the transaction.
    refusals: u32,
    /// How often in a row it did not take the transaction, for whatever reason.
    failures: u32,
}

#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: BTreeMap<String, Outcome>,
}

#[derive(Default, Deserialize)]
struct Outcome {
    error: Option<String>,
}

impl Delivery {
    pub(super) fn new(core: Arc<Core>, peer: Peer) -> Self {
        Self { core, peer, plan: Plan::default(), catch_up: CatchUp::default(), refusals: 0, failures: 0 }
    }

    /// Delivers until nothing is owed.
    pub(super) async fn run(mut self) {
        let core = self.core.clone();
        loop {
            while !core.is_up(&self.peer.name) {
                if !core.board.drop_passing(self.peer.nid) && self.done() {
                    break;
                }
                core.reachability.until_may_try(&self.peer.name, core.clock.now_ms()).await;
                if !core.has_failed(&self.peer.name) {
                    // It was heard from.
                    self.failures = 0;
                }
            }
            let next = match self.next().await {
                Ok(Some(next)) => next,
                Ok(None) => return,
                Err(StoreError::Stopping) => return,
                Err(error) => {
                    tracing::warn!(server = %self.peer.name, %error, "can't look up what a server is owed");
                    tokio::time::sleep(STORE_PAUSE).await;
                    continue;
                }
            };
            self.deliver(&next).await;
        }
    }

    fn done(&self) -> bool {
        let watermark = self.core.board.watermark(self.peer.nid).unwrap_or(i64::MAX);
        self.plan.is_done(watermark)
    }

    /// The next transaction; None if nothing is owed, and then this is no longer the server's delivery.
    async fn next(&mut self) -> Result<Option<Arc<Transaction>>, StoreError> {
        let server = self.peer.nid;
        loop {
            let planned = !self.done();
            let Some(look) = self.core.board.begin(server, planned) else { return Ok(None) };
            let made = match look {
                Look::Kept(kept) => return Ok(Some(kept)),
                Look::Saved => {
                    let stored = move |read: &crate::store::Snapshot<'_>| destinations::transaction(read, server);
                    match self.core.store.read_short::<_, StoreError, _>(stored).await? {
                        Some(row) => Arc::new(row.into()),
                        None => {
                            self.core.board.acknowledged(server, (0, 0, 0), 0, self.core.clock.now_ms());
                            continue;
                        }
                    }
                }
                Look::Owed(owing) => match self.make(owing, planned).await? {
                    Some(made) => made,
                    None => continue,
                },
            };
            self.core.board.sending(server, &made);
            return Ok(Some(made));
        }
    }

    /// Makes a transaction of what is owed; None if there is nothing in it, in which case the watermark has moved.
    async fn make(&mut self, owing: Owing, planned: bool) -> Result<Option<Arc<Transaction>>, StoreError> {
        let (peer, edus) = (self.peer.clone(), self.core.edus.clone());
        let (mut the_plan, mut catch_up) = (std::mem::take(&mut self.plan), std::mem::take(&mut self.catch_up));
        let (dirty, outbox, up_to) = (owing.dirty.clone(), owing.outbox, owing.up_to);
        let look = move |read: &crate::store::Snapshot<'_>| {
            if !planned {
                the_plan = plan(read, &peer, &owing, &mut catch_up)?;
            }
            let contents = carve(read, &peer, &mut the_plan, &owing, &*edus)?;
            Ok::<_, StoreError>((the_plan, catch_up, contents))
        };
        // A plan that reaches all rooms takes its time; one for a few is a few statements.
        let few = matches!(&dirty, Some(super::board::Dirty::Rooms(rooms)) if rooms.len() <= 2);
        let looked = if few { self.core.store.read_short(look).await } else { self.core.store.read(look).await };
        let (the_plan, catch_up, contents) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                // The plan went with it.
                self.core.board.put_back(self.peer.nid, Some(dirty.unwrap_or(super::board::Dirty::All)), outbox);
                return Err(error);
            }
        };
        let rest = dirty.filter(|_| the_plan.up_to < up_to);
        self.core.board.put_back(self.peer.nid, rest, contents.more_outbox);
        (self.plan, self.catch_up) = (the_plan, catch_up);
        let now_ms = self.core.clock.now_ms();
        if contents.is_empty() {
            self.core.board.acknowledged(self.peer.nid, (contents.cut, contents.to_device, contents.events), 0, now_ms);
            return Ok(None);
        }
        Ok(Some(Arc::new(Transaction {
            id: self.core.transaction_id(),
            body: transaction::body(&self.core.own, now_ms, &contents.pdus, &contents.edus),
            cut: contents.cut,
            to_device: contents.to_device,
            events: contents.events,
            owed_since_ms: contents.owed_since_ms.unwrap_or(now_ms),
            durable: contents.durable,
            pdus: Some(contents.pdus.len()),
        })))
    }

    /// Sends a transaction once, and does what follows from the answer.
    async fn deliver(&mut self, transaction: &Transaction) {
        let core = self.core.clone();
        let mut outcome = core.put(&self.peer, &transaction.id, &transaction.body).await;
        if matches!(outcome, Err(Failure::Refused(_))) {
            self.refusals += 1;
            if self.refusals >= REFUSALS {
                outcome = self.sift(transaction).await;
            }
        }
        let now_ms = core.clock.now_ms();
        match outcome {
            Ok(dropped) => {
                (self.refusals, self.failures) = (0, 0);
                core.reachability.succeeded(&self.peer.name);
                core.reached(self.peer.nid, now_ms);
                metrics::counter!("linkim_federation_transactions_total", "result" => "ok").increment(1);
                metrics::counter!("linkim_federation_pdus_sent_total").increment(transaction.pdus.unwrap_or(0) as u64);
                let places = (transaction.cut, transaction.to_device, transaction.events);
                let before = core.board.acknowledged(self.peer.nid, places, dropped, now_ms);
                if let Some(heard) = core.acknowledged.get() {
                    heard.note_server(self.peer.nid, before, transaction.cut);
                }
            }
            Err(Failure::NotPermitted) => {
                // Nothing is owed to whom the configuration shuts out.
                let places = (transaction.cut, transaction.to_device, transaction.events);
                core.board.acknowledged(self.peer.nid, places, 0, now_ms);
            }
            Err(Failure::Away { error, retry_after_ms, outage }) => {
                self.failed(transaction, &error, retry_after_ms, outage).await;
            }
            Err(Failure::Refused(error)) => self.failed(transaction, &error, None, false).await,
        }
    }

    async fn failed(&mut self, transaction: &Transaction, error: &str, retry_after_ms: Option<u64>, outage: bool) {
        let core = &self.core;
        tracing::debug!(server = %self.peer.name, error, "a transaction failed");
        metrics::counter!("linkim_federation_transactions_total", "result" => "failed").increment(1);
        self.failures += 1;
        // An answer that is none of an outage, such as 403, counts as a success to whoever else talks to the server, so that the
        // pause would not grow.
        let pause_ms = 1_000_u64 << (self.failures - 1).min(31);
        let pause_ms = retry_after_ms.unwrap_or(0).max(if outage { 0 } else { pause_ms });
        core.reachability.failed_for(&self.peer.name, error, core.clock.now_ms(), Some(pause_ms));
        if !transaction.durable {
            core.board.forget(self.peer.nid);
            return;
        }
        if let Err(error) = core.keep(&self.peer, transaction).await {
            // It stays in memory, and is repeated all the same.
            tracing::warn!(server = %self.peer.name, %error, "a failed transaction could not be stored");
        }
    }

    /// Finds what a server does not take: first whether it takes anything at all, then PDUs without EDUs, then halves. What it
    /// does not take alone is dropped, so that the rest is not held up for ever. Answers how many.
    async fn sift(&self, transaction: &Transaction) -> Result<i64, Failure> {
        let core = &self.core;
        let now_ms = core.clock.now_ms();
        let nothing: &[Box<RawValue>] = &[];
        let empty = transaction::body(&core.own, now_ms, &[], nothing);
        // A server that refuses even that is broken; it is not for what we send.
        core.put(&self.peer, &core.transaction_id(), &empty).await?;
        let parts: Parts = serde_json::from_slice(&transaction.body).unwrap_or_default();
        let mut waiting = halves(parts);
        let mut dropped = 0;
        while let Some(part) = waiting.pop() {
            let body = transaction::body(&core.own, core.clock.now_ms(), &part.pdus, &part.edus);
            match core.put(&self.peer, &core.transaction_id(), &body).await {
                Ok(_) => {}
                Err(Failure::Refused(error)) if part.pdus.len() + part.edus.len() <= 1 => {
                    dropped += 1;
                    let kind = if part.pdus.is_empty() { "EDU" } else { "PDU" };
                    metrics::counter!("linkim_federation_refused_total", "kind" => kind).increment(1);
                    let what = part.pdus.first().or(part.edus.first()).map(|raw| raw.get()).unwrap_or_default();
                    let what = &what[..what.floor_char_boundary(500)];
                    tracing::warn!(server = %self.peer.name, error, what, "a {kind} is dropped: the server does not take it");
                }
                Err(Failure::Refused(_)) => waiting.extend(halves(part)),
                Err(other) => return Err(other),
            }
        }
        Ok(dropped)
    }
}

/// Two parts of a transaction, the first one last.
fn halves(mut parts: Parts) -> Vec<Parts> {
    if !parts.pdus.is_empty() && !parts.edus.is_empty() {
        let edus = std::mem::take(&mut parts.edus);
        return vec![Parts { pdus: Vec::new(), edus }, parts];
    }
    if parts.pdus.len() + parts.edus.len() <= 1 {
        return vec![parts];
    }
    let pdus = parts.pdus.split_off(parts.pdus.len() / 2);
    let edus = parts.edus.split_off(parts.edus.len() / 2);
    vec![Parts { pdus, edus }, parts]
}

impl Core {
    /// Sends a transaction.
    async fn put(&self, peer: &Peer, id: &str, body: &bytes::Bytes) -> Result<i64, Failure> {
        // Those that failed wait for their own kind: they must not keep the others from a place.
        let places = if self.has_failed(&peer.name) { &self.doubtful } else { &self.healthy };
        let Ok(_place) = places.acquire().await else {
            return Err(Failure::Away { error: "stopping".into(), retry_after_ms: None, outage: true });
        };
        let path = format!("/_matrix/federation/v1/send/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        let call = Call::put(path, body.clone()).timeout(PATIENCE).limit(MAX_ANSWER);
        let started = Instant::now();
        let answer = self.client.bytes(&peer.name, call).await;
        metrics::histogram!("linkim_federation_transaction_seconds").record(started.elapsed().as_secs_f64());
        match answer {
            Ok(answer) => {
                self.note_errors(peer, &answer).await;
                Ok(0)
            }
            // It was answered with 200, at length.
            Err(PeerError::TooLarge(_)) => Ok(0),
            Err(error) => Err(failure(error)),
        }
    }

    /// What a server says of single PDUs. They are not sent again; but what it did not take is not delivered. Noted before the
    /// watermark moves over them.
    async fn note_errors(&self, peer: &Peer, answer: &[u8]) {
        let answer: Answer = serde_json::from_slice(answer).unwrap_or_default();
        let mut refused: Vec<OwnedEventId> = Vec::new();
        for (event_id, outcome) in answer.pdus {
            let Some(error) = outcome.error else { continue };
            metrics::counter!("linkim_federation_pdu_errors_total").increment(1);
            tracing::debug!(server = %peer.name, event_id, error, "a server did not take an event");
            if refused.len() < MAX_REFUSED
                && let Ok(event_id) = event_id.try_into()
            {
                refused.push(event_id);
            }
        }
        if refused.is_empty() {
            return;
        }
        let (server, ts) = (peer.nid, self.clock.now_ms());
        let note = move |tx: &WriteTx<'_>| {
            for event_id in &refused {
                if let Some(event) = events::nid(tx, event_id)? {
                    message_status::note_refused(tx, event, server, ts)?;
                }
            }
            Ok(())
        };
        if let Err(error) = self.store.write::<_, StoreError, _>(note).await {
            tracing::warn!(server = %peer.name, %error, "events that a server did not take count as delivered");
        }
    }
}

fn failure(error: PeerError) -> Failure {
    let (text, outage) = (error.to_string(), error.is_outage());
    match error {
        PeerError::Refused(_) => Failure::NotPermitted,
        PeerError::Unsignable(_) => Failure::Refused(text),
        PeerError::Status { status, .. } if is_of_content(status) => Failure::Refused(text),
        PeerError::Status { retry_after_ms, .. } => Failure::Away { error: text, retry_after_ms, outage },
        _ => Failure::Away { error: text, retry_after_ms: None, outage },
    }
}

/// Whether a status may be the fault of what was sent: a client error other than those that speak of who we are, of where the
/// server is, and of when.
fn is_of_content(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::MISDIRECTED_REQUEST
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        )
}
