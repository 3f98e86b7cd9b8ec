//! What comes live: a few events that follow what is here. They are appended before their transaction is answered, and never
//! staged: appended is as durable, and one flush to the disk instead of three.
//!
//! Whatever would have them wait is left to the room's worker: something of the room that waits already, a key or an event that
//! is to be fetched, a policy server, too many rooms at work.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use linkim_federation::Pdu;
use ruma::{OwnedEventId, RoomId};

use super::{Shared, order::in_order, worker::taken};
use crate::{
    peers::events::FEW,
    rooms::{
        append::{AppendError, Beside},
        policy::{PolicyServer, is_policy},
    },
    store::{StoreError, ids, ids::RoomKey, inbox},
};

/// How long a transaction waits for the appender, which may be resolving a forked room's state; then its events are staged.
const PATIENCE: Duration = Duration::from_secs(2);

impl Shared {
    /// Appends those of a transaction's events that can be; answers which the appender has.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) async fn append_live(&self, events: &[Pdu]) -> Result<HashSet<OwnedEventId>, StoreError> {
        let mut has = HashSet::new();
        let Some(room_id) = events.first().map(Pdu::room_id) else { return Ok(has) };
        if !are_few_of(room_id, events) || !self.is_free(room_id, events.len()) {
            return Ok(has);
        }
        let Ok(_working) = self.working.try_acquire() else { return Ok(has) };
        let Some(room) = self.room_of_ours(room_id).await? else { return Ok(has) };
        let Some(rules) = linkim_federation::rules(&room.version) else { return Ok(has) };
        let Some(checked) = self.parts.checker.check_at_once(rules, events.to_vec()).await else { return Ok(has) };
        let checked = in_order(checked);
        let mut rest = &checked[..];
        while !rest.is_empty() {
            let incoming = self.parts.policy.judge_unasked(&room, rest).await?;
            let (these, others) = rest.split_at(incoming.len());
            rest = others;
            let receiving = self.parts.appenders.receive_with(room.nid, incoming, self.receipts_take_effect());
            let answers = match tokio::time::timeout(PATIENCE, receiving).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(AppendError::Store(error))) => return Err(error),
                // It may be appended yet: what is staged then is known to the appender.
                Ok(Err(_)) | Err(_) => return Ok(has),
            };
            for (pdu, answer) in these.iter().zip(answers) {
                if let Some(how) = taken(room_id, pdu.event_id(), &answer) {
                    metrics::counter!("linkim_inbox_events_total", "result" => how).increment(1);
                    has.insert(pdu.owned_event_id().clone());
                }
            }
        }
        Ok(has)
    }

    /// Whether nothing of a room waits but these events, for which space is reserved, and nobody works on it or waits to join.
    fn is_free(&self, room: &RoomId, events: usize) -> bool {
        let waits = self.desk().of_room(room).events;
        let rooms = self.rooms();
        waits <= i64::try_from(events).unwrap_or(i64::MAX)
            && !rooms.stopped
            && !rooms.workers.contains_key(room)
            && !rooms.expected.contains_key(room)
    }

    /// The room, if a local user is in it and it names no policy server.
    async fn room_of_ours(&self, room_id: &RoomId) -> Result<Option<Arc<RoomKey>>, StoreError> {
        let room_id = room_id.to_owned();
        let look = move |read: &crate::store::Snapshot<'_>| {
            let Some(room) = ids::room(read, &room_id)? else { return Ok(None) };
            let inside = inbox::local_joined(read, room.nid)?.is_some_and(|joined| joined > 0);
            Ok((inside && PolicyServer::named_in(read, room.nid)?.is_none()).then_some(room))
        };
        self.parts.store.read_short(look).await
    }

    /// Receipts that waited for events take effect with them. Whoever sees the event sees them, so nobody is woken for them.
    fn receipts_take_effect(&self) -> Beside {
        let receipts = self.parts.receipts.clone();
        Arc::new(move |tx, room, stored| {
            for event in stored.events.iter().filter(|_| stored.accepted) {
                receipts.arrived(tx, room, &event.event_id)?;
            }
            Ok(())
        })
    }
}

/// Whether events are few, each once, all of this room, and none changes which policy server it has.
fn are_few_of(room: &RoomId, events: &[Pdu]) -> bool {
    let ids: BTreeSet<_> = events.iter().map(Pdu::event_id).collect();
    events.len() <= FEW
        && ids.len() == events.len()
        && events.iter().all(|pdu| pdu.room_id() == room && !is_policy(pdu))
}
