//! A room's events: their rows as they are stored, and what their bodies say.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use linkim_federation::{Pdu, RoomVersionRules, content_hash_holds, redact, rules};
use ruma::{OwnedEventId, OwnedUserId, events::TimelineEventType};

use super::{Kind, Report, Site};
use crate::{
    params,
    rooms::append::{classify, membership},
    store::{
        Read, Row, StoreError, event_id,
        events::{Running, StateRef, flag},
        ids::{self, RoomKey, RoomNid},
        members::Membership,
    },
};

/// A room as far as its checks need it in memory: about 500 bytes an event.
pub(super) struct Room {
    pub(super) key: Arc<RoomKey>,
    pub(super) rules: &'static RoomVersionRules,
    /// A join whose state is still being fetched: what depends on the state is not judged.
    pub(super) partial: bool,
    /// Number of its create event, as `rooms` says.
    pub(super) create_event: Option<i64>,
    /// In the order of their numbers.
    pub(super) events: Vec<Event>,
    by_id: HashMap<Vec<u8>, usize>,
    by_nid: HashMap<i64, usize>,
    /// Events with a row in auth_edges.
    with_auth: HashSet<i64>,
}

/// A stored event.
pub(super) struct Event {
    pub(super) nid: i64,
    /// As the store keeps it.
    pub(super) id: Vec<u8>,
    pub(super) event_id: OwnedEventId,
    pub(super) position: Option<i64>,
    pub(super) depth: i64,
    pub(super) kind: i64,
    pub(super) state_key: Option<i64>,
    pub(super) sender: i64,
    pub(super) origin_ts: i64,
    pub(super) flags: i64,
    pub(super) before: Option<StateRef>,
    pub(super) after: Option<StateRef>,
    pub(super) relation: Option<(i64, Vec<u8>)>,
    pub(super) thread: i64,
    pub(super) redacted_by: Option<i64>,
    pub(super) running: Running,
    /// An outlier that came before its auth events: it was not judged.
    pub(super) loose: bool,
    /// None: there is no body, or none that can be read.
    pub(super) body: Option<Body>,
}

/// What an event's body says.
pub(super) struct Body {
    pub(super) kind: String,
    pub(super) state_key: Option<String>,
    pub(super) sender: OwnedUserId,
    pub(super) depth: i64,
    pub(super) origin_ts: i64,
    pub(super) in_room: bool,
    /// Ids as the store keeps them.
    pub(super) prev: Vec<Vec<u8>>,
    pub(super) auth: Vec<Vec<u8>>,
    pub(super) redacts: Option<OwnedEventId>,
    pub(super) membership: Option<Membership>,
    /// Class bits: for a sender who may not mention the room, and for one who may.
    pub(super) class: (i64, i64),
    pub(super) mentions: Vec<OwnedUserId>,
    pub(super) relation: Option<(String, OwnedEventId)>,
    pub(super) named: Named,
    /// Whether the content is what its server hashed.
    pub(super) hash_holds: bool,
    /// Whether the body is what a redaction leaves.
    pub(super) redacted: bool,
}

/// Whether a body and its id belong together.
pub(super) enum Named {
    /// They do.
    Rightly,
    /// The body has this id.
    Otherwise(OwnedEventId),
    /// The body is not in canonical form, or no event of this version.
    Malformed(String),
}

impl Event {
    /// Whether any of these bits is set.
    pub(super) fn is(&self, flags: i64) -> bool {
        self.flags & flags != 0
    }

    /// Whether it takes part in the DAG: it has a place and a state.
    pub(super) fn in_dag(&self) -> bool {
        !self.is(flag::OUTLIER)
    }

    /// When it took its place in the DAG, in the order of positions. One that was an outlier before is a state event, whose own
    /// change of the state tells.
    pub(super) fn arrival(&self) -> Option<i64> {
        let change = self.after.map_or(self.nid, |after| after.epoch);
        self.live().or(Some(if self.state_key.is_some() { self.nid.max(change) } else { self.nid }))
    }

    /// Its place among live events.
    pub(super) fn live(&self) -> Option<i64> {
        self.position.filter(|position| *position > 0)
    }
}

impl Room {
    /// Reads a room. None, with a difference, if it can't be looked into at all.
    pub(super) fn load(
        site: &Site<'_>,
        nid: RoomNid,
        events: &[i64],
        report: &mut Report,
    ) -> Result<Option<Self>, StoreError> {
        let read = site.read;
        let key = match ids::room_by_nid(read, nid) {
            Ok(key) => key,
            Err(error) => {
                report.add(Kind::Head, format_args!("room {}", nid.0), error);
                return Ok(None);
            }
        };
        let Some(rules) = rules(&key.version) else {
            report.add(Kind::Head, &key.room_id, format_args!("version {} is not known", key.version));
            return Ok(None);
        };
        let (partial, create_event) = read
            .one("SELECT partial, create_event FROM rooms WHERE nid = ?1", params![nid], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .unwrap_or((false, None));
        let mut room = Self {
            key,
            rules,
            partial,
            create_event,
            events: Vec::with_capacity(events.len()),
            by_id: HashMap::with_capacity(events.len()),
            by_nid: HashMap::with_capacity(events.len()),
            with_auth: read
                .all("SELECT event FROM auth_edges WHERE room = ?1", params![nid], |row| row.get(0))?
                .into_iter()
                .collect(),
        };
        for nid in events {
            match room.event(read, *nid) {
                Ok(Some(event)) => room.add(event, report),
                Ok(None) => {}
                Err(error) => report.add(Kind::Column, format_args!("{} event {nid}", room.key.room_id), error),
            }
        }
        Ok(Some(room))
    }

    fn add(&mut self, event: Event, report: &mut Report) {
        if event.body.is_none() {
            report.add(Kind::Body, &event.event_id, "there is no body that can be read");
        }
        self.by_id.insert(event.id.clone(), self.events.len());
        self.by_nid.insert(event.nid, self.events.len());
        self.events.push(event);
    }

    fn event(&self, read: &dyn Read, nid: i64) -> Result<Option<Event>, StoreError> {
        read.one(
            "SELECT e.nid, e.event_id, e.position, e.depth, e.type, e.state_key, e.sender, e.origin_ts, e.flags, \
             e.before_line, e.before_epoch, e.after_line, e.after_epoch, e.relation_type, e.relation_target, e.thread, \
             e.redacted_by, e.countable, e.notify, e.highlight, j.json \
             FROM events e LEFT JOIN event_json j ON j.event = e.nid WHERE e.nid = ?1",
            params![nid],
            |row| self.read_event(row),
        )
    }

    fn read_event(&self, row: &Row<'_>) -> Result<Event, StoreError> {
        let state = |line: usize| -> Result<Option<StateRef>, StoreError> {
            let at: Option<i64> = row.get(line)?;
            at.map(|at| Ok(StateRef { line: at, epoch: row.get(line + 1)? })).transpose()
        };
        let relation: Option<i64> = row.get(13)?;
        let id: Vec<u8> = row.get(1)?;
        let event_id = event_id::decode(&id)?;
        let json: Option<String> = row.get(20)?;
        let (nid, flags): (i64, i64) = (row.get(0)?, row.get(8)?);
        Ok(Event {
            nid,
            loose: flags & flag::OUTLIER != 0 && !self.with_auth.contains(&nid),
            position: row.get(2)?,
            depth: row.get(3)?,
            kind: row.get(4)?,
            state_key: row.get(5)?,
            sender: row.get(6)?,
            origin_ts: row.get(7)?,
            flags,
            before: state(9)?,
            after: state(11)?,
            relation: relation.map(|kind| Ok::<_, StoreError>((kind, row.get(14)?))).transpose()?,
            thread: row.get(15)?,
            redacted_by: row.get(16)?,
            running: Running { countable: row.get(17)?, notify: row.get(18)?, highlight: row.get(19)? },
            body: json.and_then(|json| self.body(&event_id, json)),
            id,
            event_id,
        })
    }

    /// What a body says; None if it is no event at all.
    fn body(&self, id: &OwnedEventId, json: String) -> Option<Body> {
        let named = match Pdu::from_peer(json.as_bytes(), self.rules) {
            Ok(pdu) if pdu.json() != json => Named::Malformed("it is not in canonical form".into()),
            Ok(pdu) if pdu.event_id() != id => Named::Otherwise(pdu.event_id().to_owned()),
            Ok(_) => Named::Rightly,
            Err(error) => Named::Malformed(error.to_string()),
        };
        let pdu = Pdu::from_trusted(id.clone(), json, false).ok()?;
        let encode = |ids: &[OwnedEventId]| ids.iter().map(|id| event_id::encode(id)).collect();
        let class = classify(&pdu, |_| false);
        Some(Body {
            kind: pdu.event_type().to_string(),
            state_key: pdu.state_key().map(str::to_owned),
            sender: pdu.sender().to_owned(),
            depth: i64::try_from(pdu.depth()).unwrap_or(i64::MAX),
            origin_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
            in_room: pdu.room_id() == self.key.room_id,
            prev: encode(pdu.prev_events()),
            auth: encode(pdu.auth_events()),
            redacts: pdu.redacts_by(self.rules),
            membership: (*pdu.event_type() == TimelineEventType::RoomMember && pdu.is_state())
                .then(|| membership(&pdu)),
            class: (class.flags, classify(&pdu, |_| true).flags),
            mentions: class.mentions,
            relation: class.relation,
            named,
            hash_holds: content_hash_holds(&pdu),
            redacted: redact(&pdu, self.rules).json() == pdu.json(),
        })
    }

    /// The event with this id, as the store keeps ids.
    pub(super) fn by_id(&self, id: &[u8]) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The event with this number.
    pub(super) fn by_nid(&self, nid: i64) -> Option<usize> {
        self.by_nid.get(&nid).copied()
    }

    /// Events of the DAG whose states make the state before an event: those that it names as previous ones. None if some are
    /// not here, or were not when it came: then its state is what a peer said.
    pub(super) fn prev(&self, event: &Event) -> Option<Vec<usize>> {
        let body = event.body.as_ref().filter(|_| !event.is(flag::TOLD))?;
        let known = |id: &Vec<u8>| self.by_id(id).filter(|at| self.events[*at].in_dag());
        let all: Option<BTreeSet<usize>> = body.prev.iter().map(known).collect();
        all.map(|all| all.into_iter().collect())
    }

    /// Events of the DAG that an event names as previous ones, as far as they are here now.
    pub(super) fn named(&self, event: &Event) -> Vec<usize> {
        let ids = event.body.iter().flat_map(|body| &body.prev);
        let known: BTreeSet<usize> =
            ids.filter_map(|id| self.by_id(id)).filter(|at| self.events[*at].in_dag()).collect();
        known.into_iter().collect()
    }

    /// Events of the DAG that an event names as previous ones and that were here when it came.
    pub(super) fn parents(&self, event: &Event) -> Vec<usize> {
        self.prev(event).unwrap_or_else(|| {
            let mut named = self.named(event);
            named.retain(|at| self.events[*at].live().is_some_and(|position| Some(position) < event.live()));
            named
        })
    }

    /// Live events in the order of their positions.
    pub(super) fn live(&self) -> Vec<&Event> {
        let mut live: Vec<&Event> = self.events.iter().filter(|event| event.live().is_some()).collect();
        live.sort_unstable_by_key(|event| event.position);
        live
    }
}
