//! Builds local events, each upon the one before it, against the room's current state.

use std::sync::Arc;

use linkim_federation::{BuildError, EventReference, EventTemplate, Pdu, auth_types, build_event, check_against_state};
use ruma::{CanonicalJsonValue, EventId, OwnedEventId};
use serde_json::value::RawValue;

use super::{
    AppendError, Appended, Incoming, LocalEvent, Transaction,
    classify::{Class, classify},
    head::{Entry, Head, Known, Tip, names_hashes},
};
use crate::{
    rooms::{append::Signer, power::Power},
    store::ids::{DeviceNid, EventNid},
};

/// prev_events of a local event at most (design: 10 newest, 10 random).
pub(super) const MAX_PREV_EVENTS: usize = 20;

/// An auth event: stored, or of this batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum AuthRef {
    Stored(EventNid),
    Batch(usize),
}

/// An event that is ready to be written.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) pdu: Arc<Pdu>,
    pub(super) transaction: Option<Transaction>,
    pub(super) class: Class,
    pub(super) auth: Vec<AuthRef>,
    /// Whether its sender may redact what users of other servers sent.
    pub(super) redacts_others: bool,
    /// Whether its only previous event is the room's newest one.
    pub(super) linear: bool,
    /// Whether we relay it to other servers.
    pub(super) relay: bool,
    /// Whether it came from another server: events that refer to it may have been here before it.
    pub(super) came: bool,
}

/// An event that a local event is built on: its id and, where the room version names it, its reference hash.
type Previous = (OwnedEventId, Option<[u8; 32]>);

/// What became of one event of a call.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It is this one of the batch.
    New(usize),
    /// It was there before.
    Repeated(Appended),
}

/// Events of several calls that will be written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) planned: Vec<Planned>,
    /// State that the batch sets: (type, key, index of the event).
    overlay: Vec<(String, String, usize)>,
    /// Where the events of the present call begin.
    call: usize,
}

/// How far a batch had come, to go back to when a call fails.
pub(super) struct Mark {
    planned: usize,
    overlay: usize,
}

/// Requests that were answered before: (device, key) and the event.
pub(super) type Repeats = Vec<(DeviceNid, [u8; 16], Appended)>;

impl Batch {
    /// The present end of the batch, where a call begins.
    pub(super) fn mark(&mut self) -> Mark {
        self.call = self.planned.len();
        Mark { planned: self.planned.len(), overlay: self.overlay.len() }
    }

    /// Drops what was planned since.
    pub(super) fn go_back(&mut self, mark: &Mark) {
        self.planned.truncate(mark.planned);
        self.overlay.truncate(mark.overlay);
    }

    /// The state as the next event finds it.
    pub(super) fn state(&self, head: &Head, kind: &str, key: &str) -> Option<(AuthRef, Arc<Pdu>)> {
        let own = self.overlay.iter().rev().find(|(k, s, _)| k == kind && s == key);
        match own {
            Some((_, _, index)) => Some((AuthRef::Batch(*index), self.planned[*index].pdu.clone())),
            None => {
                let entry = head.get(kind, key)?;
                Some((AuthRef::Stored(entry.nid?), entry.pdu.clone()))
            }
        }
    }

    /// The power levels as the next event finds them.
    fn power(&self, head: &Head) -> Arc<Power> {
        let create = self.state(head, "m.room.create", "").map(|(_, pdu)| pdu);
        let levels = self.state(head, "m.room.power_levels", "").map(|(_, pdu)| pdu);
        head.power.of(head.rules, create, levels)
    }

    /// The place of an event in the batch.
    pub(super) fn index_of(&self, id: &EventId) -> Option<usize> {
        self.planned.iter().rposition(|planned| planned.pdu.event_id() == id)
    }

    /// Takes an event of another server that follows what is planned, and that passed all checks.
    pub(super) fn push_received(&mut self, head: &Head, event: &Incoming, auth: Vec<AuthRef>) {
        let power = self.power(head);
        let (index, pdu) = (self.planned.len(), &event.pdu);
        let newest = head.tips.len() == 1 && head.newest == head.tips.first().map(|tip| tip.nid);
        self.planned.push(Planned {
            class: classify(pdu, |sender| power.of(sender) >= power.to_notify_room()),
            transaction: None,
            auth,
            redacts_others: power.of(pdu.sender()) >= power.to_redact(),
            linear: pdu.prev_events().len() == 1 && (index > 0 || newest),
            relay: event.relay,
            came: true,
            pdu: pdu.clone(),
        });
        if let Some(key) = pdu.state_key() {
            self.overlay.push((pdu.event_type().to_string(), key.to_owned(), index));
        }
    }

    /// Plans one event.
    pub(super) fn plan(
        &mut self,
        head: &Head,
        mut event: LocalEvent,
        repeats: &Repeats,
        signer: &Signer,
        now_ms: i64,
    ) -> Result<Outcome, AppendError> {
        if let Some(found) = self.sent_before(&event, repeats) {
            return Ok(found);
        }
        if let Some(names) = event.names_first {
            let first = self.planned.get(self.call);
            let first = first.ok_or_else(|| AppendError::Malformed("there is no first event to name".into()))?;
            names(&mut event.content, first.pdu.event_id());
        }
        let auth: Vec<(AuthRef, Arc<Pdu>)> =
            auth_keys(head, &event)?.iter().filter_map(|(kind, key)| self.state(head, kind, key)).collect();
        let pdu = Arc::new(self.build(head, &event, &auth, signer, now_ms)?);
        check_against_state(head.rules, &pdu, |kind, key| self.state(head, &kind.to_string(), key).map(|(_, pdu)| pdu))
            .map_err(|denied| AppendError::Denied(denied.reason().to_owned()))?;
        if let Some(found) = self.says_the_same(head, &event) {
            return Ok(found);
        }
        let power = self.power(head);
        let index = self.planned.len();
        self.planned.push(Planned {
            class: classify(&pdu, |sender| power.of(sender) >= power.to_notify_room()),
            transaction: event.transaction,
            auth: auth.into_iter().map(|(auth, _)| auth).collect(),
            redacts_others: power.of(pdu.sender()) >= power.to_redact(),
            linear: index > 0 || (head.tips.len() == 1 && head.newest == head.tips.first().map(|tip| tip.nid)),
            relay: true,
            came: false,
            pdu,
        });
        if let Some(key) = event.state_key {
            self.overlay.push((event.kind, key, index));
        }
        Ok(Outcome::New(index))
    }

    /// The event that an earlier request with the same transaction made.
    fn sent_before(&self, event: &LocalEvent, repeats: &Repeats) -> Option<Outcome> {
        let t = event.transaction.as_ref()?;
        let same = |other: &Transaction| other.device == t.device && other.key == t.key;
        if let Some(index) = self.planned.iter().position(|p| p.transaction.as_ref().is_some_and(same)) {
            return Some(Outcome::New(index));
        }
        let (_, _, found) = repeats.iter().find(|(d, k, _)| *d == t.device && *k == t.key)?;
        Some(Outcome::Repeated(found.clone()))
    }

    /// The state event that says the same already, for a sender who may send it.
    fn says_the_same(&self, head: &Head, event: &LocalEvent) -> Option<Outcome> {
        let key = event.state_key.as_deref()?;
        let (at, pdu) = self.state(head, &event.kind, key)?;
        let same = pdu.sender() == event.sender
            && serde_json::from_str::<ruma::CanonicalJsonObject>(pdu.content().get())
                .is_ok_and(|content| content == event.content);
        match at {
            _ if !same => None,
            AuthRef::Batch(index) => Some(Outcome::New(index)),
            AuthRef::Stored(nid) => Some(Outcome::Repeated(Appended {
                nid,
                event_id: pdu.event_id().to_owned(),
                position: head.row.last_position,
                repeated: true,
            })),
        }
    }

    fn build(
        &self,
        head: &Head,
        event: &LocalEvent,
        auth: &[(AuthRef, Arc<Pdu>)],
        signer: &Signer,
        now_ms: i64,
    ) -> Result<Pdu, AppendError> {
        let hashes = names_hashes(head.rules);
        let (prev, depth): (Vec<Previous>, i64) = match self.planned.last() {
            Some(last) => {
                let hash = hashes.then(|| last.pdu.reference_hash(head.rules));
                let depth = i64::try_from(last.pdu.depth()).unwrap_or(i64::MAX);
                (vec![(last.pdu.event_id().to_owned(), hash)], depth)
            }
            None => {
                let tips = chosen(&head.tips, signer);
                let depth = tips.iter().map(|tip| tip.depth).max().unwrap_or(0);
                (tips.iter().map(|tip| (tip.event_id.clone(), tip.reference_hash)).collect(), depth)
            }
        };
        let prev: Vec<EventReference<'_>> =
            prev.iter().map(|(id, hash)| EventReference { event_id: id, reference_hash: *hash }).collect();
        let auth: Vec<EventReference<'_>> = auth
            .iter()
            .map(|(_, pdu)| EventReference {
                event_id: pdu.event_id(),
                reference_hash: hashes.then(|| pdu.reference_hash(head.rules)),
            })
            .collect();
        let event_id_v1 = hashes.then(|| signer.event_id_v1()).transpose()?;
        build_event(
            EventTemplate {
                room_id: Some(&head.room.room_id),
                sender: &event.sender,
                event_type: &event.kind,
                state_key: event.state_key.as_deref(),
                content: event.content.clone(),
                prev_events: &prev,
                auth_events: &auth,
                depth: u64::try_from(depth).unwrap_or(0) + 1,
                origin_server_ts: u64::try_from(event.origin_server_ts.unwrap_or(now_ms)).unwrap_or(0),
                redacts: event.redacts.as_deref(),
                event_id_v1: event_id_v1.as_deref(),
            },
            head.rules,
            &signer.server_name,
            &signer.key,
        )
        .map_err(build_error)
    }

    /// Takes an event that was built elsewhere: the create event of a new room.
    pub(super) fn push_create(&mut self, pdu: Arc<Pdu>) {
        self.planned.push(Planned {
            class: Class::default(),
            transaction: None,
            auth: Vec::new(),
            redacts_others: false,
            linear: false,
            relay: true,
            came: false,
            pdu,
        });
        self.overlay.push(("m.room.create".into(), String::new(), 0));
    }

    /// Moves what is now committed into the head.
    pub(super) fn settle(&self, head: &mut Head, appended: &[Appended]) {
        for (kind, key, index) in &self.overlay {
            let pdu = self.planned[*index].pdu.clone();
            head.put(kind, key, Some(Entry { nid: Some(appended[*index].nid), pdu }));
        }
    }
}

/// The extremities that a local event names: all, or the newest half of what it may name and others by chance, so that in
/// the end each is named.
fn chosen<'h>(tips: &'h [Tip], signer: &Signer) -> Vec<&'h Tip> {
    let mut rest: Vec<&Tip> = tips.iter().collect();
    if rest.len() <= MAX_PREV_EVENTS {
        return rest;
    }
    rest.sort_unstable_by_key(|tip| std::cmp::Reverse(tip.nid));
    let mut others = rest.split_off(MAX_PREV_EVENTS / 2);
    while rest.len() < MAX_PREV_EVENTS {
        let mut random = [0; 8];
        signer.random.fill(&mut random);
        let at = u64::from_le_bytes(random) % others.len() as u64;
        rest.push(others.swap_remove(at as usize));
    }
    rest
}

/// What a build error is to the caller.
pub(super) fn build_error(error: BuildError) -> AppendError {
    match error {
        BuildError::TooLarge => AppendError::TooLarge,
        other => AppendError::Malformed(other.to_string()),
    }
}

/// State keys whose events authorise this one.
fn auth_keys(head: &Head, event: &LocalEvent) -> Result<Vec<(String, String)>, AppendError> {
    let content = raw_content(event)?;
    let keys = auth_types(&event.kind, &event.sender, event.state_key.as_deref(), &content, head.rules)
        .map_err(|denied| AppendError::Malformed(denied.reason().to_owned()))?;
    Ok(keys.into_iter().map(|(kind, key)| (kind.to_string(), key)).collect())
}

/// State keys that must be at hand before an event can be planned.
pub(super) fn needed_keys(head: &Head, event: &LocalEvent) -> Result<Vec<(String, String)>, AppendError> {
    let mut keys = auth_keys(head, event)?;
    keys.push(("m.room.create".into(), String::new()));
    if let Some(key) = &event.state_key {
        keys.push((event.kind.clone(), key.clone()));
    }
    keys.retain(|(kind, key)| matches!(head.known(kind, key), Known::No));
    Ok(keys)
}

/// The content, as far as the selection of auth events looks at it.
fn raw_content(event: &LocalEvent) -> Result<Box<RawValue>, AppendError> {
    let text = match event.kind.as_str() {
        "m.room.member" => CanonicalJsonValue::Object(event.content.clone()).to_string(),
        _ => "{}".to_owned(),
    };
    RawValue::from_string(text).map_err(|error| AppendError::Malformed(error.to_string()))
}

/// The numbers of auth events.
pub(super) fn stored_auth(auth: &[AuthRef], appended: &[Appended]) -> Vec<EventNid> {
    let nid = |auth: &AuthRef| match *auth {
        AuthRef::Stored(nid) => nid,
        AuthRef::Batch(index) => appended[index].nid,
    };
    auth.iter().map(nid).collect()
}

/// The id of what a planned redaction redacts.
pub(super) fn redacted_id(planned: &Planned, rules: &linkim_federation::RoomVersionRules) -> Option<OwnedEventId> {
    let redaction = *planned.pdu.event_type() == ruma::events::TimelineEventType::RoomRedaction;
    redaction.then(|| planned.pdu.redacts_by(rules)).flatten()
}
