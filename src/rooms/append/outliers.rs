//! Outliers: state events that are known for auth chains and states only. They have no place and no state of their own; each
//! is judged by its auth events alone and stored behind them, rejected or not.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU", check 4; "Rejection".

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use linkim_federation::{Pdu, RoomVersionRules, check_auth_events};
use ruma::{EventId, OwnedEventId};

use super::{
    Appended, PduCache, Received,
    actor::Appender,
    classify::classify,
    commit::{News, Site, announce, apply_waiting},
    effects::Concerned,
    plan::AuthRef,
    resolution::load,
};
use crate::store::{
    Read, StoreError, WriteTx, events,
    events::{NewEvent, Running, Standing, flag},
    ids::{self, EventNid, RoomKey},
    rooms,
};

/// Outliers of one transaction: so that other rooms' writes wait for some 50 ms at most.
const CHUNK: usize = 500;

/// What became of an event that is to be an outlier.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// It is here.
    Here {
        nid: EventNid,
        /// Why it is rejected, if it is.
        rejected: Option<String>,
        /// Whether it was here before.
        known: bool,
    },
    /// These auth events are not here.
    Missing(Vec<OwnedEventId>),
    /// It is no state event of this room.
    Malformed(&'static str),
}

impl Stored {
    fn received(self, id: &EventId) -> Received {
        match self {
            Self::Here { nid, known: true, .. } => Received::Known(nid),
            Self::Here { nid, rejected, known: false } => {
                let appended = Appended { nid, event_id: id.to_owned(), position: 0, repeated: false };
                match rejected {
                    Some(reason) => Received::Rejected(appended, reason),
                    None => Received::Accepted(appended),
                }
            }
            Self::Missing(ids) => Received::MissingAuth(ids),
            Self::Malformed(reason) => Received::Malformed(reason),
        }
    }
}

impl Appender {
    /// Stores outliers; one answer each.
    pub(super) async fn add_outliers(&mut self, events: Vec<Arc<Pdu>>) -> Result<Vec<Received>, StoreError> {
        let stored = self.store_outliers(&events).await?;
        Ok(events.iter().zip(stored).map(|(pdu, stored)| stored.received(pdu.event_id())).collect())
    }

    /// Stores outliers in chunks, whatever their order; one answer each.
    pub(super) async fn store_outliers(&mut self, events: &[Arc<Pdu>]) -> Result<Vec<Stored>, StoreError> {
        let head = self.load().await?;
        let (room, rules) = (head.room.clone(), head.rules);
        let mut known = Known::default();
        let mut answers: HashMap<OwnedEventId, Stored> = HashMap::with_capacity(events.len());
        let order = in_auth_order(events);
        for chunk in order.chunks(CHUNK) {
            let chunk: Vec<Arc<Pdu>> = chunk.iter().map(|at| events[*at].clone()).collect();
            let (site, judging) = (self.shared.site.clone(), room.clone());
            let (moved, verdicts) = self
                .shared
                .store
                .read::<_, StoreError, _>(move |read| {
                    let verdicts = judge_chunk(read, &judging, rules, &chunk, &known, &site.pdus)?;
                    Ok((known, verdicts))
                })
                .await?;
            known = moved;
            let verdicts = Arc::new(verdicts);
            let (site, writing, to_write) = (self.shared.site.clone(), room.clone(), verdicts.clone());
            let now_ms = self.shared.clock.now_ms();
            let nids = self
                .shared
                .store
                .write::<_, StoreError, _>(move |tx| write_chunk(tx, &writing, rules, &to_write, &site, now_ms))
                .await?;
            for (verdict, nid) in verdicts.iter().zip(nids) {
                let stored = known.settle(verdict, nid);
                answers.insert(verdict.pdu.owned_event_id().clone(), stored);
            }
        }
        // The auth DAG in memory is without them.
        self.resolver = super::resolution::Resolver::default();
        let circle = || Stored::Malformed("it is among its own auth events");
        Ok(events.iter().map(|pdu| answers.get(pdu.event_id()).cloned().unwrap_or_else(circle)).collect())
    }
}

/// Events of this call that are stored by now, rejected ones marked.
#[derive(Default)]
struct Known(HashMap<OwnedEventId, (EventNid, Arc<Pdu>)>);

impl Known {
    fn settle(&mut self, verdict: &Verdict, nid: Option<EventNid>) -> Stored {
        let (nid, rejected, known) = match (&verdict.what, nid) {
            (What::New { rejected, .. }, Some(nid)) => (nid, rejected.clone(), false),
            (What::Known { nid, rejected }, _) => (*nid, rejected.clone(), true),
            (What::Missing(ids), _) => return Stored::Missing(ids.clone()),
            (What::Malformed(reason), _) => return Stored::Malformed(reason),
            (What::New { .. }, None) => return Stored::Malformed("it was not written"),
        };
        self.0.insert(verdict.pdu.owned_event_id().clone(), (nid, marked(&verdict.pdu, rejected.is_some())));
        Stored::Here { nid, rejected, known }
    }
}

/// The event, with its verdict in it.
fn marked(pdu: &Arc<Pdu>, rejected: bool) -> Arc<Pdu> {
    match rejected {
        true => Arc::new(Pdu::clone(pdu).with_rejected(true)),
        false => pdu.clone(),
    }
}

/// An event and what is to become of it.
struct Verdict {
    pdu: Arc<Pdu>,
    what: What,
}

enum What {
    New {
        auth: Vec<AuthRef>,
        rejected: Option<String>,
        /// The row that it has as long as its auth events are not here.
        loose: Option<Standing>,
    },
    Known {
        nid: EventNid,
        rejected: Option<String>,
    },
    Missing(Vec<OwnedEventId>),
    Malformed(&'static str),
}

/// Judges events, each after its auth events.
fn judge_chunk(
    read: &dyn Read,
    room: &RoomKey,
    rules: &RoomVersionRules,
    chunk: &[Arc<Pdu>],
    known: &Known,
    pdus: &PduCache,
) -> Result<Vec<Verdict>, StoreError> {
    // Of this chunk: index, and the event with its verdict.
    let mut here: HashMap<&EventId, (AuthRef, Arc<Pdu>)> = HashMap::with_capacity(chunk.len());
    let mut out = Vec::with_capacity(chunk.len());
    for (index, pdu) in chunk.iter().enumerate() {
        let find = |id: &EventId| -> Result<Option<(AuthRef, Arc<Pdu>)>, StoreError> {
            if let Some(found) = here.get(id) {
                return Ok(Some(found.clone()));
            }
            if let Some((nid, pdu)) = known.0.get(id) {
                return Ok(Some((AuthRef::Stored(*nid), pdu.clone())));
            }
            match events::standing(read, id)?.filter(|known| !known.loose) {
                Some(known) => Ok(Some((AuthRef::Stored(known.nid), load(read, known.nid, pdus)?))),
                None => Ok(None),
            }
        };
        let what = judge(read, room, rules, pdu, find)?;
        match &what {
            What::New { rejected, .. } => {
                here.insert(pdu.event_id(), (AuthRef::Batch(index), marked(pdu, rejected.is_some())));
            }
            What::Known { nid, rejected } => {
                here.insert(pdu.event_id(), (AuthRef::Stored(*nid), marked(pdu, rejected.is_some())));
            }
            What::Missing(_) | What::Malformed(_) => {}
        }
        out.push(Verdict { pdu: pdu.clone(), what });
    }
    Ok(out)
}

fn judge(
    read: &dyn Read,
    room: &RoomKey,
    rules: &RoomVersionRules,
    pdu: &Pdu,
    find: impl Fn(&EventId) -> Result<Option<(AuthRef, Arc<Pdu>)>, StoreError>,
) -> Result<What, StoreError> {
    if pdu.room_id() != room.room_id {
        return Ok(What::Malformed("it is of another room"));
    }
    if !pdu.is_state() {
        return Ok(What::Malformed("it is no state event"));
    }
    let stored = events::standing(read, pdu.event_id())?;
    if let Some(known) = stored.filter(|known| !known.loose) {
        if known.room != room.nid {
            return Ok(What::Malformed("its id is taken in another room"));
        }
        let rejected = match known.flags & flag::REJECTED {
            0 => None,
            _ => Some(events::reason(read, known.nid)?.unwrap_or_default()),
        };
        return Ok(What::Known { nid: known.nid, rejected });
    }
    let mut auth: Vec<AuthRef> = Vec::new();
    let mut events: HashMap<&EventId, Arc<Pdu>> = HashMap::new();
    let mut missing = Vec::new();
    for id in pdu.auth_events() {
        match find(id)? {
            Some((at, event)) => {
                auth.push(at);
                events.insert(id, event);
            }
            None => missing.push(id.clone()),
        }
    }
    // From version 12 on the create event is one without being named.
    let create = create_id(rules, pdu);
    let mut named_by_room = None;
    if let Some(id) = create {
        match find(&id)? {
            Some((_, event)) => named_by_room = Some(event),
            None => missing.push(id),
        }
    }
    if !missing.is_empty() {
        return Ok(What::Missing(missing));
    }
    let fetch = |id: &EventId| {
        let create = named_by_room.as_ref().filter(|create| create.event_id() == id);
        events.get(id).or(create).cloned()
    };
    let denied = check_auth_events(rules, pdu, fetch).err();
    let rejected = denied.map(|denied| format!("by its auth events: {}", denied.reason()));
    Ok(What::New { auth, rejected, loose: stored })
}

/// The create event that the room's id names, of another event than that itself.
fn create_id(rules: &RoomVersionRules, pdu: &Pdu) -> Option<OwnedEventId> {
    if !rules.authorization.room_create_event_id_as_room_id {
        return None;
    }
    let id = format!("${}", pdu.room_id().as_str().trim_start_matches('!'));
    OwnedEventId::try_from(id).ok().filter(|id| id != pdu.event_id())
}

/// Writes what is new; answers the numbers, where there is one.
fn write_chunk(
    tx: &WriteTx<'_>,
    room: &RoomKey,
    rules: &RoomVersionRules,
    verdicts: &[Verdict],
    site: &Arc<Site>,
    now_ms: i64,
) -> Result<Vec<Option<EventNid>>, StoreError> {
    let mut nids: Vec<Option<EventNid>> = Vec::with_capacity(verdicts.len());
    let mut concerned = Concerned::default();
    for verdict in verdicts {
        let What::New { auth, rejected, loose } = &verdict.what else {
            nids.push(None);
            continue;
        };
        let auth: Option<Vec<EventNid>> = auth
            .iter()
            .map(|auth| match *auth {
                AuthRef::Stored(nid) => Some(nid),
                AuthRef::Batch(index) => nids[index],
            })
            .collect();
        let Some(auth) = auth else { return Err(StoreError::Engine("an auth event was not written".into())) };
        let nid = EventNid(tx.next_position());
        if let Some(loose) = loose {
            events::replace_loose(tx, loose, nid)?;
        }
        write_outlier(tx, room, &verdict.pdu, nid, rejected.is_some(), now_ms)?;
        apply_waiting(tx, room.nid, rules, verdict.pdu.event_id(), &mut concerned)?;
        rooms::put_auth_edges(tx, room.nid, nid, &auth)?;
        if let Some(reason) = rejected {
            events::put_reason(tx, nid, Some(reason))?;
        }
        nids.push(Some(nid));
    }
    let head = rooms::head(tx, room.nid)?;
    announce(tx, site, room.nid, &head, (None, News::Everywhere), concerned);
    Ok(nids)
}

/// Writes the row of an outlier.
pub(super) fn write_outlier(
    tx: &WriteTx<'_>,
    room: &RoomKey,
    pdu: &Pdu,
    nid: EventNid,
    rejected: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let kind = pdu.event_type().to_string();
    let relation = classify(pdu, |_| false).relation;
    let relation = match &relation {
        Some((kind, target)) => Some((ids::intern_type(tx, kind)?, &**target)),
        None => None,
    };
    events::insert(
        tx,
        &NewEvent {
            nid,
            event_id: pdu.event_id(),
            room: room.nid,
            position: None,
            depth: i64::try_from(pdu.depth()).unwrap_or(i64::MAX),
            kind: ids::intern_type(tx, &kind)?,
            state_key: match pdu.state_key() {
                Some(key) => Some(ids::intern_state_key(tx, &kind, key)?),
                None => None,
            },
            sender: ids::intern_user(tx, pdu.sender())?,
            origin_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
            received_ts: now_ms,
            flags: flag::OUTLIER | if rejected { flag::REJECTED } else { 0 },
            before: None,
            after: None,
            relation,
            thread: None,
            running: Running::default(),
            transaction: None,
            json: pdu.json(),
        },
    )
}

/// The order in which each event comes after those of its auth events that are among them: indices, each id once. Events in a
/// circle, which only room versions 1 and 2 can express, are left out.
pub(super) fn in_auth_order(events: &[Arc<Pdu>]) -> Vec<usize> {
    let index: HashMap<&EventId, usize> = events.iter().enumerate().map(|(at, pdu)| (pdu.event_id(), at)).collect();
    let create = events.iter().find(|pdu| pdu.auth_events().is_empty() && pdu.state_key() == Some(""));
    let create = create.and_then(|pdu| index.get(pdu.event_id()).copied());
    let mut order = Vec::with_capacity(index.len());
    let mut done: HashSet<usize> = HashSet::with_capacity(index.len());
    let mut left: HashMap<usize, usize> = HashMap::new();
    let mut following: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut ready = std::collections::VecDeque::new();
    for (at, pdu) in events.iter().enumerate().filter(|(at, pdu)| index.get(pdu.event_id()) == Some(at)) {
        let mut auth: HashSet<usize> = pdu.auth_events().iter().filter_map(|id| index.get(&**id).copied()).collect();
        // From version 12 on nothing names the create event, and all need it.
        auth.extend(create.filter(|create| *create != at));
        if auth.is_empty() {
            ready.push_back(at);
        }
        left.insert(at, auth.len());
        for auth in auth {
            following.entry(auth).or_default().push(at);
        }
    }
    while let Some(at) = ready.pop_front() {
        if !done.insert(at) {
            continue;
        }
        order.push(at);
        for next in following.remove(&at).unwrap_or_default() {
            let left = left.entry(next).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.push_back(next);
            }
        }
    }
    order
}
