//! Takes an answer to `send_join`: parses it as it arrives, verifies its events in parallel, and judges whether it is the
//! room that was asked for and lacks nothing.
//!
//! Source: Server-Server API, "Joining Rooms", "Checks performed on receipt of a PDU".

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use linkim_federation::{Pdu, RoomVersionRules, check_against_state};
use ruma::{OwnedEventId, RoomId, RoomVersionId, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::response::{self, Batch, Part, Rest};
use crate::peers::{
    body_pieces,
    events::{EventChecker, EventProblem},
};

/// How long an answer may take, from its first byte to the last verified event.
pub(super) const TIMEOUT: Duration = Duration::from_secs(600);

/// How long nothing may come.
const STALLED: Duration = Duration::from_secs(60);

/// Batches that are verified at the same time; more wait, and with them the connection.
const BATCHES: usize = 4;

/// An answer whose events were verified one by one.
#[derive(Default)]
pub(super) struct Collected {
    /// The state before the join.
    pub(super) state: Vec<Arc<Pdu>>,
    /// The auth chains.
    pub(super) auth_chain: Vec<Arc<Pdu>>,
    /// Events that were there and whose signature can't be verified.
    pub(super) unverified: HashSet<OwnedEventId>,
    /// What else the answer says.
    pub(super) rest: Rest,
}

/// Reads and verifies a body.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) async fn collect(
    body: Body,
    rules: &'static RoomVersionRules,
    checker: &EventChecker,
) -> Result<Collected, String> {
    let (pieces, to_parse) = mpsc::channel(body_pieces::PIECES);
    let (parsed, batches) = mpsc::channel::<Batch>(1);
    let parsing = tokio::task::spawn_blocking(move || response::parse(to_parse, parsed));
    let checking = async {
        let mut collected = Collected::default();
        let mut known: HashMap<OwnedEventId, Arc<Pdu>> = HashMap::new();
        let batches = stream::unfold(batches, async |mut batches| Some((batches.recv().await?, batches)));
        let mut checked = std::pin::pin!(batches.map(|batch| check(batch, rules, checker)).buffered(BATCHES));
        while let Some((part, events, unverified)) = checked.next().await {
            collected.unverified.extend(unverified);
            for event in events {
                // Most events are in both lists: one copy is kept.
                let event = known.entry(event.event_id().to_owned()).or_insert(event).clone();
                match part {
                    Part::State => collected.state.push(event),
                    Part::AuthChain => collected.auth_chain.push(event),
                }
            }
        }
        collected
    };
    let whole = async {
        // The parser says what the body broke off with.
        let (_, mut collected) = tokio::join!(body_pieces::feed(body, STALLED, pieces), checking);
        collected.rest = parsing.await.map_err(|error| error.to_string())??;
        Ok(collected)
    };
    tokio::time::timeout(TIMEOUT, whole).await.map_err(|_| "the answer took too long".to_owned())?
}

/// Verifies a batch. Events that are not verified are left out; those with an id that can be told are named.
async fn check(
    batch: Batch,
    rules: &'static RoomVersionRules,
    checker: &EventChecker,
) -> (Part, Vec<Arc<Pdu>>, Vec<OwnedEventId>) {
    let texts = batch.events.clone();
    let mut unverified = Vec::new();
    let mut events = Vec::with_capacity(texts.len());
    for (answer, text) in checker.check(rules, batch.events).await.into_iter().zip(texts) {
        match answer {
            Ok(pdu) => events.push(pdu),
            Err(problem) => {
                if let Some(id) = id_of(&text, &problem, rules) {
                    unverified.push(id);
                }
                tracing::debug!(%problem, "an event of an answer to send_join is left out");
            }
        }
    }
    (batch.part, events, unverified)
}

/// The id of an event that is well-formed, but not verified.
fn id_of(text: &RawValue, problem: &EventProblem, rules: &RoomVersionRules) -> Option<OwnedEventId> {
    match problem {
        EventProblem::Malformed(_) => None,
        _ => Pdu::from_peer(text.get().as_bytes(), rules).ok().map(|pdu| pdu.event_id().to_owned()),
    }
}

/// A verified answer, and what it still lacks.
pub(super) struct Judged {
    /// The state before the join: one event a key.
    pub(super) state: Vec<Arc<Pdu>>,
    /// All other events of the auth chains.
    pub(super) auth_chain: Vec<Arc<Pdu>>,
    /// Auth events that the answer leaves out.
    pub(super) missing: Vec<OwnedEventId>,
}

#[derive(Deserialize)]
struct CreateContent {
    room_version: Option<String>,
}

/// Judges whether the answer is about this room, and what it lacks. Events that hang on unverified ones are left out.
///
/// # Errors
/// What is wrong with it, in words: it can't be believed.
pub(super) fn judge(
    state: Vec<Arc<Pdu>>,
    auth_chain: Vec<Arc<Pdu>>,
    unverified: &HashSet<OwnedEventId>,
    room_id: &RoomId,
    version: &RoomVersionId,
    join: &Pdu,
) -> Result<Judged, String> {
    let mut known: HashMap<OwnedEventId, Arc<Pdu>> = HashMap::with_capacity(state.len() + auth_chain.len());
    for event in state.iter().chain(&auth_chain) {
        if event.room_id() != room_id {
            return Err("it has an event of another room".into());
        }
        if !event.is_state() {
            return Err("it has an event that is no state event where only those can be".into());
        }
        known.insert(event.event_id().to_owned(), event.clone());
    }
    known.remove(join.event_id());
    let dropped = hanging_on(&known, unverified);
    let mut missing: Vec<OwnedEventId> = known
        .values()
        .filter(|event| !dropped.contains(event.event_id()))
        .flat_map(|event| event.auth_events())
        .chain(join.auth_events())
        .filter(|id| !known.contains_key(*id))
        .cloned()
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if join.auth_events().iter().any(|id| unverified.contains(id) || dropped.contains(id)) {
        return Err("what authorises the join can't be verified".into());
    }
    let mut keys = HashSet::new();
    let mut kept = Vec::with_capacity(state.len());
    for event in state {
        if event.event_id() == join.event_id() {
            return Err("the state before the join has the join".into());
        }
        if dropped.contains(event.event_id()) {
            continue;
        }
        if !keys.insert((event.event_type().to_string(), event.state_key().unwrap_or_default().to_owned())) {
            return Err("its state has two events for one key".into());
        }
        kept.push(event);
    }
    check_create(&kept, version)?;
    let of_state: HashSet<&OwnedEventId> = kept.iter().map(|event| event.owned_event_id()).collect();
    let auth_chain = known
        .iter()
        .filter(|(id, _)| !dropped.contains(*id) && !of_state.contains(id))
        .map(|(_, event)| event.clone())
        .collect();
    Ok(Judged { state: kept, auth_chain, missing })
}

/// The events whose auth chain has one that is not verified.
fn hanging_on(known: &HashMap<OwnedEventId, Arc<Pdu>>, unverified: &HashSet<OwnedEventId>) -> HashSet<OwnedEventId> {
    let mut dropped: HashSet<OwnedEventId> = HashSet::new();
    let mut next: Vec<&OwnedEventId> = unverified.iter().filter(|id| !known.contains_key(*id)).collect();
    if next.is_empty() {
        return dropped;
    }
    let mut authorises: HashMap<&OwnedEventId, Vec<&OwnedEventId>> = HashMap::new();
    for event in known.values() {
        for auth in event.auth_events() {
            authorises.entry(auth).or_default().push(event.owned_event_id());
        }
    }
    while let Some(id) = next.pop() {
        for event in authorises.get(id).into_iter().flatten() {
            if dropped.insert((*event).clone()) {
                next.push(event);
            }
        }
    }
    dropped
}

fn check_create(state: &[Arc<Pdu>], version: &RoomVersionId) -> Result<(), String> {
    let create = state
        .iter()
        .find(|event| event.event_type().to_string() == "m.room.create" && event.state_key() == Some(""))
        .ok_or("its state has no create event")?;
    let content: CreateContent =
        serde_json::from_str(create.content().get()).map_err(|_| "its create event has no room version")?;
    let named = content.room_version.as_deref().unwrap_or("1");
    if named == version.as_str() {
        Ok(())
    } else {
        Err(format!("its create event says room version {named:?}, its template said {:?}", version.as_str()))
    }
}

/// Whether the state that was given allows the join, and has what authorises it: the resident server took the join's auth
/// events from this state, or one that came shortly before, and a key that is set stays set. Members whom a `partial` state
/// leaves out are what the join's auth events say.
///
/// # Errors
/// Why not, in words.
pub(super) fn allows(judged: &Judged, rules: &RoomVersionRules, join: &Pdu, partial: bool) -> Result<(), String> {
    let state = &judged.state;
    let mut members: HashMap<&str, &Arc<Pdu>> = HashMap::new();
    let by_key: HashMap<(String, &str), &Arc<Pdu>> =
        state.iter().filter_map(|event| Some(((event.event_type().to_string(), event.state_key()?), event))).collect();
    for id in join.auth_events() {
        let authority = state.iter().chain(&judged.auth_chain).find(|event| event.event_id() == id);
        let authority = authority.ok_or_else(|| format!("it leaves out {id}"))?;
        let key = (authority.event_type().to_string(), authority.state_key().unwrap_or_default());
        if partial && key.0 == "m.room.member" {
            members.insert(key.1, authority);
        } else if !by_key.contains_key(&key) {
            return Err(format!("its state has no {} although one authorises the join", key.0));
        }
    }
    check_against_state(rules, join, |kind: &StateEventType, key: &str| {
        let lacking = || if *kind == StateEventType::RoomMember { members.get(key) } else { None };
        by_key.get(&(kind.to_string(), key)).or_else(lacking).map(|event| (*event).clone())
    })
    .map_err(|denied| format!("the state that it gives does not allow the join: {denied}"))
}

/// The join as the resident server signed it, if it is our event.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) async fn countersigned(
    event: Box<RawValue>,
    rules: &'static RoomVersionRules,
    checker: &EventChecker,
    join: &Pdu,
) -> Result<Arc<Pdu>, String> {
    let answer = checker.check(rules, vec![event]).await.pop();
    let signed = match answer {
        Some(Ok(signed)) => signed,
        Some(Err(problem)) => return Err(format!("the join that it signed: {problem}")),
        None => return Err("the join that it signed was not checked".into()),
    };
    if signed.event_id() != join.event_id() || !linkim_federation::content_hash_holds(&signed) {
        return Err("it signed another event than the join".into());
    }
    Ok(signed)
}
