//! Fetches what a room's events lack: first the events before them, as far as that goes; where it goes too far, the state
//! before the oldest of them; where that can't be had, the state before the events that were sent.
//!
//! Who sent an event is to back it. If they can't be reached, the sender's server and others in the room are asked. If they
//! answer and can't back it, it is dropped; if nobody can be reached, it stays staged and is tried again.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use linkim_federation::Pdu;
use ruma::{OwnedEventId, OwnedServerName, ServerName};
use tokio::time::Instant;

use super::{
    hand::{Held, Lacks},
    worker::{Done, Outcome, Worker},
};
use crate::{
    peers::missing::{Before, MissingError},
    rooms::append::{AppendError, Incoming, Received},
    store::{Read, StoreError, events, ids::RoomKey, inbox, room_servers, rooms},
};

/// Other servers that are asked if the origin can't be reached.
const OTHERS: usize = 3;

/// Events that a request names as those whose ancestors are wanted, and as those whose are not.
const NAMED: usize = 20;

/// What one attempt to have a room's events may cost.
#[derive(Debug)]
struct Budget {
    /// Requests for missing events.
    rounds: usize,
    /// Events fetched, and their bytes.
    events: usize,
    bytes: usize,
    /// States asked for.
    states: usize,
    /// Events whose auth events are asked for.
    auths: usize,
    /// Until when gaps are filled, and until when anything is asked for.
    gaps_until: Instant,
    deadline: Instant,
    /// Events before which the state, and those whose auth events, were asked for.
    tried_state: HashSet<OwnedEventId>,
    tried_auth: HashSet<OwnedEventId>,
}

impl Budget {
    fn new() -> Self {
        Self {
            rounds: 60,
            events: 1_000,
            bytes: 16 * 1024 * 1024,
            states: 10,
            auths: 40,
            gaps_until: Instant::now() + Duration::from_secs(120),
            deadline: Instant::now() + Duration::from_secs(240),
            tried_state: HashSet::new(),
            tried_auth: HashSet::new(),
        }
    }

    fn is_spent(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether all that could be asked about an event was.
    fn was_tried(&self, held: &Held) -> bool {
        match held.lacks {
            Lacks::Auth(_) => self.tried_auth.contains(held.pdu.event_id()),
            Lacks::Prev(_) | Lacks::Unknown => self.tried_state.contains(held.pdu.event_id()),
        }
    }
}

/// Counts down; answers whether there was something left.
fn spend(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

impl Worker {
    /// Has what the events of one origin lack. Afterwards none of them is in hand: they are appended, dropped, or wait staged
    /// until the origin can be reached.
    pub(super) async fn fetch(&mut self, room: &RoomKey) -> Result<(), StoreError> {
        let origins = self.hand.all().flat_map(|held| &held.staged).map(|staged| &staged.origin);
        let Some(origin) = origins.into_iter().find(|origin| !self.pauses.holds(origin)).cloned() else {
            // Those whose origins are all paused stay staged.
            self.hand.clear();
            return Ok(());
        };
        let slot = match self.slot.take().or_else(|| self.shared.fetching.try_take(&origin)) {
            Some(slot) => slot,
            None => {
                // The bodies are not kept while others are served.
                self.start_over();
                self.slot = self.shared.clone().fetching.take(&origin).await;
                return Ok(());
            }
        };
        let mut budget = Budget::new();
        let unbacked = self.fetch_of(room, &origin, &mut budget).await?;
        drop(slot);
        self.leave(room, &origin, unbacked, &budget).await
    }

    /// Answers why the origin can't back its events; None if it could not be reached.
    async fn fetch_of(
        &mut self,
        room: &RoomKey,
        origin: &ServerName,
        budget: &mut Budget,
    ) -> Result<Option<String>, StoreError> {
        let (reachability, clock) = (self.shared.parts.reachability.clone(), self.shared.parts.clock.clone());
        if reachability.may_try(origin, clock.now_ms()).is_ok() {
            match self.ask(room, origin, origin, budget).await {
                Ok(()) => return Ok(Some("its origin does not know what comes before it".into())),
                Err(MissingError::Append(AppendError::Store(error))) => return Err(error),
                Err(MissingError::Unreachable(error)) => {
                    tracing::debug!(room = %room.room_id, %error, "others are asked");
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        for via in self.others(room, origin).await? {
            if !self.hand.all().any(|held| held.is_of(origin)) || budget.is_spent() {
                break;
            }
            if reachability.may_try(&via, clock.now_ms()).is_err() {
                continue;
            }
            match self.ask(room, origin, &via, budget).await {
                Err(MissingError::Append(AppendError::Store(error))) => return Err(error),
                Err(error) => tracing::debug!(room = %room.room_id, %via, %error, "nothing was fetched"),
                Ok(()) => {}
            }
        }
        Ok(None)
    }

    /// Lets go of what is still in hand of an origin, and of what was fetched for it.
    /// What the budget did not reach to is taken again.
    async fn leave(
        &mut self,
        room: &RoomKey,
        origin: &ServerName,
        unbacked: Option<String>,
        budget: &Budget,
    ) -> Result<(), StoreError> {
        let of_origin: BTreeSet<OwnedEventId> = self
            .hand
            .all()
            .filter(|held| held.staged.is_empty() || held.is_of(origin))
            .map(|held| held.pdu.owned_event_id().clone())
            .collect();
        let mut done = Vec::new();
        let (mut wait, mut rest) = (false, false);
        for held in self.hand.remove_all(&of_origin) {
            let tried = budget.was_tried(&held);
            let (mine, others): (Vec<_>, Vec<_>) = held.staged.into_iter().partition(|staged| staged.origin == origin);
            // Another server sent it too and may back it.
            for staged in others {
                self.hand.stage(held.pdu.clone(), staged);
            }
            if mine.is_empty() {
                continue;
            }
            let reason = match &unbacked {
                Some(reason) if tried => reason.clone(),
                Some(_) => {
                    rest = true;
                    continue;
                }
                None if mine.iter().all(|staged| self.is_old(staged)) => "nobody could be asked about it".into(),
                None => {
                    wait = true;
                    continue;
                }
            };
            let event_id = held.pdu.owned_event_id().clone();
            done.push(Done { event_id, staged: mine, outcome: Outcome::Unbacked(reason) });
        }
        // An origin that takes all the time and lets nothing be asked is as good as one that can't be reached.
        let stalled = rest && budget.tried_state.is_empty() && budget.tried_auth.is_empty();
        if wait || stalled {
            self.pauses.failed(origin);
        } else {
            self.pauses.worked(origin);
        }
        self.finish(Some(room), done).await?;
        if rest && !stalled {
            self.start_over();
        }
        Ok(())
    }

    /// Servers that may have what an origin's events lack, if it can't be reached.
    async fn others(&self, room: &RoomKey, origin: &ServerName) -> Result<Vec<OwnedServerName>, StoreError> {
        let senders: Vec<OwnedServerName> = self
            .hand
            .all()
            .filter(|held| held.is_of(origin))
            .map(|held| held.pdu.sender().server_name().to_owned())
            .take(1)
            .collect();
        let nid = room.nid;
        let in_room =
            self.shared.parts.store.read::<_, StoreError, _>(move |read| room_servers::servers(read, nid)).await?;
        let mut out: Vec<OwnedServerName> = Vec::new();
        for server in senders.into_iter().chain(in_room) {
            if server != origin && server != self.shared.parts.server_name && !out.contains(&server) {
                out.push(server);
            }
            if out.len() >= OTHERS {
                break;
            }
        }
        Ok(out)
    }

    /// Asks one server for what the events of an origin lack.
    async fn ask(
        &mut self,
        room: &RoomKey,
        origin: &ServerName,
        via: &ServerName,
        budget: &mut Budget,
    ) -> Result<(), MissingError> {
        match self.fill_gaps(room, via, budget).await {
            Ok(()) => {}
            // It may still say the state.
            Err(error @ (MissingError::Refused(_) | MissingError::Unbacked(_))) => {
                tracing::debug!(room = %room.room_id, %via, %error, "missing events can't be had");
            }
            Err(error) => return Err(error),
        }
        self.append(room).await?;
        self.fetch_auth(room, via, budget).await?;
        self.place_by_state(room, origin, via, budget).await?;
        self.fetch_auth(room, via, budget).await
    }

    /// Fetches events before those in hand, until all that they name is here, or in hand, or the budget is spent.
    async fn fill_gaps(&mut self, room: &RoomKey, via: &ServerName, budget: &mut Budget) -> Result<(), MissingError> {
        let (earliest, min_depth) = self.edge(room).await?;
        while Instant::now() < budget.gaps_until && budget.events > 0 && budget.bytes > 0 {
            let wanted = self.wanted(room).await?;
            if wanted.is_empty() || !spend(&mut budget.rounds) {
                return Ok(());
            }
            let wants = |held: &&Held| held.pdu.prev_events().iter().any(|id| wanted.contains(id));
            let latest = self.hand.all().filter(wants).map(|held| held.pdu.owned_event_id().clone());
            // The newest of hand are the oldest of the room: they were fetched last.
            let mut latest: Vec<OwnedEventId> = latest.collect();
            latest.drain(..latest.len().saturating_sub(NAMED));
            let before = Before { latest, earliest: earliest.clone(), min_depth };
            let answered = self.shared.parts.missing.events_before(room, &before, via).await?;
            let mut new = false;
            for pdu in connected(&wanted, answered) {
                if budget.events == 0 || budget.bytes == 0 {
                    break;
                }
                budget.events -= 1;
                budget.bytes = budget.bytes.saturating_sub(pdu.json().len());
                new |= self.hand.fetched(pdu);
            }
            if !new {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Where our own part of the room's DAG ends, and the lowest depth that it has.
    async fn edge(&self, room: &RoomKey) -> Result<(Vec<OwnedEventId>, u64), StoreError> {
        let nid = room.nid;
        self.shared
            .parts
            .store
            .read(move |read| {
                let mut tips = rooms::extremities(read, nid)?;
                tips.reverse();
                tips.truncate(NAMED);
                let tips = tips.into_iter().map(|tip| events::id(read, tip)).collect::<Result<_, StoreError>>()?;
                let depth = inbox::lowest_depth(read, nid)?.unwrap_or(0);
                Ok((tips, u64::try_from(depth).unwrap_or(0)))
            })
            .await
    }

    /// Previous events that are neither in hand nor here. Those that are staged, perhaps since the last look, are taken in
    /// hand and not fetched.
    async fn wanted(&mut self, room: &RoomKey) -> Result<BTreeSet<OwnedEventId>, StoreError> {
        let mut looked: BTreeSet<OwnedEventId> = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        loop {
            let named: Vec<OwnedEventId> = self.hand.named().into_iter().filter(|id| !looked.contains(id)).collect();
            if named.is_empty() {
                break;
            }
            looked.extend(named.iter().cloned());
            let (nid, room_id) = (room.nid, room.room_id.clone());
            let found = self.shared.parts.store.read::<_, StoreError, _>(move |read| {
                let (mut rows, mut missing) = (Vec::new(), Vec::new());
                for id in named {
                    if is_here(read, nid, &id)? {
                        continue;
                    }
                    rows.extend(inbox::of_event(read, &room_id, &id)?);
                    missing.push(id);
                }
                Ok((rows, missing))
            });
            let (rows, missing) = found.await?;
            wanted.extend(missing);
            if !rows.is_empty() {
                self.check(room, rows).await?;
            }
        }
        // What was staged and is in hand now need not be fetched.
        wanted.retain(|id| !self.hand.contains(id));
        Ok(wanted)
    }

    /// Fetches the auth events of those that lack some, and appends them.
    async fn fetch_auth(&mut self, room: &RoomKey, via: &ServerName, budget: &mut Budget) -> Result<(), MissingError> {
        loop {
            let next = self.hand.all().find_map(|held| match &held.lacks {
                Lacks::Auth(lacking) if !budget.tried_auth.contains(held.pdu.event_id()) => {
                    Some((held.pdu.owned_event_id().clone(), lacking.clone()))
                }
                _ => None,
            });
            let Some((id, lacking)) = next else { return Ok(()) };
            if budget.is_spent() || !spend(&mut budget.auths) {
                return Ok(());
            }
            match self.shared.parts.missing.auth_events(room, &id, &lacking, via).await {
                Ok(()) => self.append(room).await?,
                Err(error @ (MissingError::Refused(_) | MissingError::Unbacked(_))) => {
                    tracing::debug!(room = %room.room_id, event = %id, %via, %error, "auth events can't be had");
                }
                Err(error) => return Err(error),
            }
            budget.tried_auth.insert(id);
        }
    }

    /// Places events whose previous events can't be had by the state before them: the oldest of what was fetched, so that the
    /// rest follows; if that can't be, those that were sent.
    async fn place_by_state(
        &mut self,
        room: &RoomKey,
        origin: &ServerName,
        via: &ServerName,
        budget: &mut Budget,
    ) -> Result<(), MissingError> {
        let mut sent_only = false;
        while !budget.is_spent() {
            let Some(pdu) = self.next_to_place(origin, &budget.tried_state, sent_only) else { return Ok(()) };
            if !spend(&mut budget.states) {
                return Ok(());
            }
            budget.tried_state.insert(pdu.owned_event_id().clone());
            match self.shared.parts.missing.state_before(room, pdu.event_id(), via).await {
                Ok(state) => self.place(room, &pdu, state, via).await?,
                Err(error @ (MissingError::Refused(_) | MissingError::Unbacked(_))) => {
                    tracing::debug!(room = %room.room_id, event = %pdu.event_id(), %via, %error, "no state before it");
                    sent_only = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next event to be placed by its state: the lowest one that names something not in hand; else, and if the states of
    /// what was fetched can't be had, the lowest that was sent.
    fn next_to_place(&self, origin: &ServerName, tried: &HashSet<OwnedEventId>, sent_only: bool) -> Option<Arc<Pdu>> {
        let lacks_prev = |held: &&Held| matches!(held.lacks, Lacks::Prev(_)) && !tried.contains(held.pdu.event_id());
        let is_root = |held: &&Held| match &held.lacks {
            Lacks::Prev(lacking) => lacking.iter().any(|id| !self.hand.contains(id)),
            _ => false,
        };
        let lowest = |held: &&Held| held.pdu.depth();
        let roots = self.hand.all().filter(lacks_prev).filter(is_root);
        let roots = roots.filter(|held| held.is_of(origin) || (held.staged.is_empty() && !sent_only));
        let sent = self.hand.all().filter(lacks_prev).filter(|held| held.is_of(origin));
        roots.min_by_key(lowest).or_else(|| sent.min_by_key(lowest)).map(|held| held.pdu.clone())
    }

    /// Hands an event to the appender with the state before it, and then what follows it.
    async fn place(
        &mut self,
        room: &RoomKey,
        pdu: &Arc<Pdu>,
        state: Vec<OwnedEventId>,
        via: &ServerName,
    ) -> Result<(), MissingError> {
        let judged = self.shared.parts.policy.judge(room, std::slice::from_ref(pdu)).await?.pop();
        let judged = judged.unwrap_or_else(|| Incoming::new(pdu.clone()));
        let incoming = Incoming { state_before: Some(state), ..judged };
        let mut answers = self.receive(room, vec![incoming.clone()]).await?;
        if let Some(Received::MissingAuth(lacking)) = answers.first() {
            self.shared.parts.missing.auth_events(room, pdu.event_id(), lacking, via).await?;
            answers = self.receive(room, vec![incoming]).await?;
        }
        let id = pdu.owned_event_id().clone();
        if let Some(answer) = answers.into_iter().next() {
            self.answered(room, vec![(id, answer)]).await?;
        }
        Ok(self.append(room).await?)
    }
}

/// Whether an event of the room is here with the state after it, so that others can follow it.
fn is_here(read: &dyn Read, room: crate::store::ids::RoomNid, id: &ruma::EventId) -> Result<bool, StoreError> {
    Ok(inbox::known(read, id)?.is_some_and(|known| known.room == room && known.is_placed() && known.has_state))
}

/// Those of the answered events that are ancestors of what is wanted, the nearest first: a server can't have us take up others.
fn connected(wanted: &BTreeSet<OwnedEventId>, answered: Vec<Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    let mut by_id: BTreeMap<OwnedEventId, Arc<Pdu>> =
        answered.into_iter().map(|pdu| (pdu.owned_event_id().clone(), pdu)).collect();
    let mut out: Vec<Arc<Pdu>> = wanted.iter().filter_map(|id| by_id.remove(id)).collect();
    let mut at = 0;
    while let Some(pdu) = out.get(at).cloned() {
        out.extend(pdu.prev_events().iter().filter_map(|id| by_id.remove(id)));
        at += 1;
    }
    out
}
