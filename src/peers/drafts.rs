//! Member events that are built outside the appender, upon the room's committed extremities: templates that other servers
//! complete, and invitations that the invited user's server must sign before they are sent.
//!
//! Source: Server-Server API, "Joining Rooms", "Inviting to a room".

use std::{collections::HashMap, sync::Arc};

use linkim_federation::{
    BuildError, EventReference, EventTemplate, Pdu, RoomVersionRules, SigningKey, add_signature, auth_types,
    build_event, check_against_state,
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedServerName, UserId, events::StateEventType,
    room_version_rules::EventsReferenceFormatVersion,
};
use serde_json::value::RawValue;

use crate::{
    clock::Clock,
    random::Random,
    rooms::state,
    store::{
        Read, StoreError, events,
        ids::{EventNid, RoomKey},
        rooms,
    },
};

/// prev_events of an event that is built here at most.
const MAX_PREV_EVENTS: usize = 20;

/// What signs events that are built outside the appender.
#[derive(Clone)]
pub struct Signatory {
    /// Our name.
    pub server_name: OwnedServerName,
    /// Our key.
    pub key: SigningKey,
    /// For `origin_server_ts`.
    pub clock: Arc<dyn Clock>,
    /// For ids of events in room versions 1 and 2.
    pub random: Arc<dyn Random>,
}

/// A member event that is to be built.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Who sends it.
    pub sender: &'a UserId,
    /// Whose membership it is.
    pub target: &'a UserId,
    /// Its content, `membership` included.
    pub content: CanonicalJsonObject,
}

/// Where an event stands in the DAG, as the resident server says or the store.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The events before it, with their reference hashes in room versions 1 and 2.
    pub prev_events: Vec<Reference>,
    /// The events that authorise it.
    pub auth_events: Vec<Reference>,
    /// Its depth.
    pub depth: u64,
}

/// An event that is referred to.
pub type Reference = (OwnedEventId, Option<[u8; 32]>);

/// Why a member event was not built.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The authorisation rules refuse it, by the room's current state.
    #[error("{0}")]
    Denied(String),
    /// It would be no event.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether events of this version name others with their reference hashes (versions 1 and 2).
pub(crate) fn names_hashes(rules: &RoomVersionRules) -> bool {
    rules.events_reference_format == EventsReferenceFormatVersion::V1
}

impl Signatory {
    /// Builds a member event at this place in the DAG and signs it. Nothing is checked against a state.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(
        &self,
        room_id: &ruma::RoomId,
        rules: &RoomVersionRules,
        draft: Draft<'_>,
        standing: &Standing,
    ) -> Result<Pdu, BuildError> {
        let (prev, auth) = (references(&standing.prev_events), references(&standing.auth_events));
        let event_id_v1 = names_hashes(rules).then(|| self.event_id_v1()).transpose()?;
        build_event(
            EventTemplate {
                room_id: Some(room_id),
                sender: draft.sender,
                event_type: "m.room.member",
                state_key: Some(draft.target.as_str()),
                content: draft.content,
                prev_events: &prev,
                auth_events: &auth,
                depth: standing.depth,
                origin_server_ts: u64::try_from(self.clock.now_ms()).unwrap_or(0),
                redacts: None,
                event_id_v1: event_id_v1.as_deref(),
            },
            rules,
            &self.server_name,
            &self.key,
        )
    }

    /// Builds a member event upon the room's committed extremities, and checks it against the current state.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn draft(
        &self,
        read: &dyn Read,
        room: &RoomKey,
        rules: &RoomVersionRules,
        draft: Draft<'_>,
    ) -> Result<Pdu, DraftError> {
        let content = RawValue::from_string(CanonicalJsonValue::Object(draft.content.clone()).to_string())
            .map_err(|error| StoreError::Damaged(error.to_string()))?;
        let named = auth_types("m.room.member", draft.sender, Some(draft.target.as_str()), &content, rules)
            .map_err(|denied| DraftError::Denied(denied.reason().to_owned()))?;
        let mut found: HashMap<(StateEventType, String), Arc<Pdu>> = HashMap::new();
        let mut auth_events = Vec::with_capacity(named.len());
        for (kind, key) in named {
            if let Some(pdu) = state::current(read, room.nid, &kind.to_string(), &key)? {
                auth_events.push(reference(&pdu, rules));
                found.insert((kind, key), pdu);
            }
        }
        let create = (StateEventType::RoomCreate, String::new());
        if !found.contains_key(&create)
            && let Some(pdu) = state::current(read, room.nid, "m.room.create", "")?
        {
            found.insert(create, pdu);
        }
        let (prev_events, depth) = tips(read, room, rules)?;
        let standing = Standing { prev_events, auth_events, depth: depth.saturating_add(1) };
        let pdu = self.build(&room.room_id, rules, draft, &standing)?;
        check_against_state(rules, &pdu, |kind, key| found.get(&(kind.clone(), key.to_owned())).cloned())
            .map_err(|denied| DraftError::Denied(denied.reason().to_owned()))?;
        Ok(pdu)
    }

    /// Adds our signature to an event of another server.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`].
    pub fn countersign(&self, pdu: &Pdu, rules: &RoomVersionRules) -> Result<Pdu, BuildError> {
        add_signature(pdu, rules, &self.server_name, &self.key)
    }

    /// A new id for an event of a room of version 1 or 2.
    fn event_id_v1(&self) -> Result<OwnedEventId, BuildError> {
        EventId::parse(format!("${}:{}", self.random.letters(18), self.server_name))
            .map_err(|_| BuildError::Template("event_id_v1"))
    }
}

fn references(list: &[Reference]) -> Vec<EventReference<'_>> {
    list.iter().map(|(id, hash)| EventReference { event_id: id, reference_hash: *hash }).collect()
}

/// How an event is referred to.
pub(crate) fn reference(pdu: &Pdu, rules: &RoomVersionRules) -> Reference {
    (pdu.event_id().to_owned(), names_hashes(rules).then(|| pdu.reference_hash(rules)))
}

/// The newest extremities, and the greatest of their depths.
fn tips(read: &dyn Read, room: &RoomKey, rules: &RoomVersionRules) -> Result<(Vec<Reference>, u64), StoreError> {
    let mut nids: Vec<EventNid> = rooms::extremities(read, room.nid)?;
    nids.sort_unstable_by_key(|nid| std::cmp::Reverse(*nid));
    nids.truncate(MAX_PREV_EVENTS);
    let mut depth = 0;
    let mut references = Vec::with_capacity(nids.len());
    for nid in nids {
        if names_hashes(rules) {
            let pdu = state::load_pdu(read, nid)?;
            depth = depth.max(pdu.depth());
            references.push(reference(&pdu, rules));
        } else {
            let row = events::by_nid(read, nid)?;
            depth = depth.max(u64::try_from(row.depth).unwrap_or(0));
            references.push((row.event_id, None));
        }
    }
    Ok((references, depth))
}

/// The event as JSON without what its server adds at the end: a template.
///
/// # Errors
/// `Damaged` if the event is no JSON object: not reached.
pub(crate) fn template(pdu: &Pdu) -> Result<serde_json::Value, StoreError> {
    let mut event: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(pdu.json()).map_err(|error| StoreError::Damaged(error.to_string()))?;
    for field in ["hashes", "signatures", "event_id"] {
        event.remove(field);
    }
    Ok(event.into())
}
