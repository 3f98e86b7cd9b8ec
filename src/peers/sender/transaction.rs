//! One transaction: what goes into it, and its body.
//!
//! Source: Server-Server API, "Transactions".

use bytes::Bytes;
use ruma::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Edu, OwedEdus, Peer, board::Owing, plan::Plan, receipts::pack};
use crate::store::{Read, StoreError, destinations::TransactionRow, events, ids::EventNid, outbox};

/// PDUs of a transaction at most.
pub(super) const MAX_PDUS: usize = 50;

/// EDUs of a transaction at most.
pub(super) const MAX_EDUS: usize = 100;

/// PDUs for a server outside their rooms in one transaction at most: the rest belongs to what is derived.
const MAX_EXPLICIT: usize = 20;

/// EDUs that are owed by position in one transaction at most.
const MAX_OWED_EDUS: usize = 40;

/// To-device messages in one transaction at most.
const MAX_TO_DEVICE: usize = 40;

/// A transaction, made.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) body: Bytes,
    /// The watermark once it is acknowledged.
    pub(super) cut: i64,
    pub(super) to_device: i64,
    pub(super) events: i64,
    /// When the oldest event in it came to be owed.
    pub(super) owed_since_ms: i64,
    /// Whether there is more in it than droppable EDUs.
    pub(super) durable: bool,
    /// PDUs in it; None where it comes from the store.
    pub(super) pdus: Option<usize>,
}

impl Transaction {
    pub(super) fn row(&self) -> TransactionRow {
        TransactionRow {
            txn_id: self.id.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            cut: self.cut,
            to_device: self.to_device,
            events: self.events,
            owed_since_ts: self.owed_since_ms,
        }
    }
}

impl From<TransactionRow> for Transaction {
    fn from(row: TransactionRow) -> Self {
        Self {
            id: row.txn_id,
            body: row.body.into(),
            cut: row.cut,
            to_device: row.to_device,
            events: row.events,
            owed_since_ms: row.owed_since_ts,
            durable: true,
            pdus: None,
        }
    }
}

#[derive(Serialize)]
struct Body<'a, E> {
    origin: &'a ServerName,
    origin_server_ts: i64,
    pdus: &'a [Box<RawValue>],
    edus: &'a [E],
}

/// The body of a transaction.
pub(super) fn body<E: Serialize>(origin: &ServerName, now_ms: i64, pdus: &[Box<RawValue>], edus: &[E]) -> Bytes {
    // Nothing in it can fail: strings, numbers, and JSON that was read before.
    serde_json::to_vec(&Body { origin, origin_server_ts: now_ms, pdus, edus }).unwrap_or_default().into()
}

/// What a body holds.
#[derive(Default, Deserialize)]
pub(super) struct Parts {
    #[serde(default)]
    pub(super) pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) edus: Vec<Box<RawValue>>,
}

/// What is put into a transaction.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) pdus: Vec<Box<RawValue>>,
    pub(super) edus: Vec<Edu>,
    pub(super) cut: i64,
    pub(super) to_device: i64,
    pub(super) events: i64,
    pub(super) owed_since_ms: Option<i64>,
    /// Whether there is more than droppable EDUs.
    pub(super) durable: bool,
    /// Whether something stays in the outbox.
    pub(super) more_outbox: bool,
}

impl Contents {
    pub(super) fn is_empty(&self) -> bool {
        self.pdus.is_empty() && self.edus.is_empty()
    }

    fn add(&mut self, read: &dyn Read, event: EventNid, received_ts: i64) -> Result<(), StoreError> {
        let json = events::json(read, event)?;
        let raw = RawValue::from_string(json).map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.pdus.push(raw);
        self.owed_since_ms = Some(self.owed_since_ms.map_or(received_ts, |old| old.min(received_ts)));
        Ok(())
    }
}

/// Takes from a plan what the next transaction carries: all that is owed in (watermark, cut], where the cut is where the first
/// limit is met. What stays in the plan is owed beyond it.
pub(super) fn carve(
    read: &dyn Read,
    peer: &Peer,
    plan: &mut Plan,
    owing: &Owing,
    edus: &dyn OwedEdus,
) -> Result<Contents, StoreError> {
    let mut out =
        Contents { cut: owing.watermark, to_device: owing.to_device, events: owing.events, ..Contents::default() };
    let mut sent = Vec::new();
    if owing.outbox {
        let explicit = outbox::events(read, peer.nid, owing.events, MAX_EXPLICIT + 1)?;
        out.more_outbox |= explicit.len() > MAX_EXPLICIT;
        for (position, event, received_ts) in explicit.into_iter().take(MAX_EXPLICIT) {
            out.events = position;
            if !sent.contains(&event) {
                out.add(read, event, received_ts)?;
                sent.push(event);
            }
        }
    }
    while let Some(heads) = plan.heads.front() {
        if out.pdus.len() + heads.len() > MAX_PDUS {
            break;
        }
        for owed in plan.heads.pop_front().unwrap_or_default() {
            if !sent.contains(&owed.event) {
                out.add(read, owed.event, owed.received_ts)?;
                sent.push(owed.event);
            }
        }
    }
    // As long as heads wait, the watermark must not pass what they stand for.
    if plan.heads.is_empty() {
        let owed = carve_to_cut(read, peer, plan, owing, edus, &mut out, &sent)?;
        out.edus.extend(owed);
    }
    if owing.outbox {
        let messages = outbox::to_device(read, peer.nid, owing.to_device, MAX_TO_DEVICE + 1)?;
        out.more_outbox |= messages.len() > MAX_TO_DEVICE;
        for (position, content) in messages.into_iter().take(MAX_TO_DEVICE) {
            out.to_device = position;
            let content = RawValue::from_string(content).map_err(|error| StoreError::Damaged(error.to_string()))?;
            out.edus.push(Edu { edu_type: "m.direct_to_device".into(), content });
        }
    }
    out.durable = !out.is_empty();
    let place = MAX_EDUS.saturating_sub(out.edus.len());
    out.edus.extend(owing.droppable.iter().take(place).cloned());
    Ok(out)
}

/// The part of [`carve`] that goes by position: PDUs, receipts, owed EDUs. Answers the EDUs, device lists first: what is
/// encrypted for a device may only then be understood.
fn carve_to_cut(
    read: &dyn Read,
    peer: &Peer,
    plan: &mut Plan,
    owing: &Owing,
    edus: &dyn OwedEdus,
    out: &mut Contents,
    sent: &[EventNid],
) -> Result<Vec<Edu>, StoreError> {
    let place = MAX_PDUS.saturating_sub(out.pdus.len());
    let mut cut = plan.up_to;
    if let Some(beyond) = plan.events.get(place) {
        cut = cut.min(beyond.position - 1);
    }
    let (_, full_at) = pack(plan.receipts.iter().take_while(|receipt| receipt.position <= cut));
    if let Some(position) = full_at {
        cut = cut.min(position - 1);
    }
    let mut owed = edus.owed(read, peer, owing.watermark, cut, MAX_OWED_EDUS + 1)?;
    if owed.len() > MAX_OWED_EDUS
        && let Some((last, _)) = owed.last()
    {
        // Those of one position stay together; if all are of one, they go out together.
        let first = owed.first().map_or(*last, |(position, _)| *position);
        cut = (last - 1).max(first);
        owed.retain(|(position, _)| *position <= cut);
    }
    while let Some(event) = plan.events.front().filter(|event| event.position <= cut).copied() {
        plan.events.pop_front();
        if !sent.contains(&event.event) {
            out.add(read, event.event, event.received_ts)?;
        }
    }
    let count = plan.receipts.iter().take_while(|receipt| receipt.position <= cut).count();
    let receipts: Vec<_> = plan.receipts.drain(..count).collect();
    out.cut = cut;
    let mut out_edus: Vec<Edu> = owed.into_iter().map(|(_, edu)| edu).collect();
    for receipts in pack(receipts.iter()).0 {
        out_edus.push(receipts.edu(read)?);
    }
    Ok(out_edus)
}
