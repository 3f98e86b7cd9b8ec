//! What an appender keeps of its room in memory: always what the database says, since nobody else writes the room.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use linkim_federation::{Pdu, RoomVersionRules, rules};
use ruma::OwnedEventId;

use super::LocalMembers;
use crate::{
    rooms::{power::Power, state},
    store::{
        Read, StoreError, events,
        events::Running,
        ids,
        ids::{EventNid, RoomKey, RoomNid},
        members, partial_joins, rooms,
        rooms::RoomHeadRow,
    },
};

/// State entries from which on all are dropped before the next batch, and read again as needed. Few in tests, so that they
/// see it.
const MAX_STATE_ENTRIES: usize = if cfg!(test) { 16 } else { 4096 };

/// A state event that the appender has at hand.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// None while its batch is not committed.
    pub(super) nid: Option<EventNid>,
    pub(super) pdu: Arc<Pdu>,
}

/// A newest event.
#[derive(Clone, Debug)]
pub(super) struct Tip {
    pub(super) nid: EventNid,
    pub(super) event_id: OwnedEventId,
    pub(super) depth: i64,
    /// In room versions 1 and 2, which put it into prev_events.
    pub(super) reference_hash: Option<[u8; 32]>,
}

/// The room as its appender sees it.
pub(super) struct Head {
    pub(super) room: Arc<RoomKey>,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) row: RoomHeadRow,
    pub(super) tips: Vec<Tip>,
    /// Newest event by position, and the running numbers up to it.
    pub(super) newest: Option<EventNid>,
    pub(super) running: Running,
    pub(super) members: LocalMembers,
    pub(super) power: KnownPower,
    /// Whether its members are still to be fetched.
    pub(super) partial: bool,
    state: HashMap<String, HashMap<String, Option<Entry>>>,
    entries: usize,
    /// Whether `state` is the whole state: what it lacks does not exist.
    complete: bool,
}

/// The power levels as they were last asked for: read once, not for each message.
#[derive(Default)]
pub(super) struct KnownPower(RefCell<Option<PowerOf>>);

struct PowerOf {
    create: Option<Arc<Pdu>>,
    levels: Option<Arc<Pdu>>,
    power: Arc<Power>,
}

impl KnownPower {
    /// Of a room with this create event and these power levels.
    pub(super) fn of(
        &self,
        rules: &RoomVersionRules,
        create: Option<Arc<Pdu>>,
        levels: Option<Arc<Pdu>>,
    ) -> Arc<Power> {
        let same = |a: &Option<Arc<Pdu>>, b: &Option<Arc<Pdu>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let mut known = self.0.borrow_mut();
        if let Some(known) = known.as_ref().filter(|known| same(&known.create, &create) && same(&known.levels, &levels))
        {
            return known.power.clone();
        }
        let power = Arc::new(Power::new(rules, create.as_deref(), levels.as_deref()));
        *known = Some(PowerOf { create, levels, power: power.clone() });
        power
    }
}

/// What is at hand about one state key.
pub(super) enum Known<'h> {
    /// It has this event, or none.
    Yes(Option<&'h Entry>),
    /// It must be read.
    No,
}

impl Head {
    /// A room that does not exist yet.
    pub(super) fn unborn(room: Arc<RoomKey>, rules: &'static RoomVersionRules) -> Self {
        Self {
            room,
            rules,
            row: rooms::UNBORN,
            tips: Vec::new(),
            newest: None,
            running: Running::default(),
            members: LocalMembers::default(),
            power: KnownPower::default(),
            partial: false,
            state: HashMap::new(),
            entries: 0,
            complete: true,
        }
    }

    /// Reads a room.
    pub(super) fn load(read: &dyn Read, room: RoomNid) -> Result<Self, StoreError> {
        let room = ids::room_by_nid(read, room)?;
        let rules =
            rules(&room.version).ok_or_else(|| StoreError::Damaged(format!("room version {}", room.version)))?;
        let tips = rooms::extremities(read, room.nid)?
            .into_iter()
            .map(|nid| tip(read, rules, nid))
            .collect::<Result<_, _>>()?;
        let (newest, running) = newest(read, room.nid)?;
        let members = members::local_joined(read, room.nid)?.into_iter().collect();
        Ok(Self {
            row: rooms::head(read, room.nid)?,
            rules,
            tips,
            newest,
            running,
            members: Arc::new(std::sync::RwLock::new(members)),
            power: KnownPower::default(),
            partial: partial_joins::is_partial(read, room.nid)?,
            state: HashMap::new(),
            entries: 0,
            complete: false,
            room,
        })
    }

    /// Reads again all that another write changed; the members are kept up to date elsewhere.
    pub(super) fn reload(mut self, read: &dyn Read) -> Result<Self, StoreError> {
        self.row = rooms::head(read, self.room.nid)?;
        self.partial = partial_joins::is_partial(read, self.room.nid)?;
        self.tips = rooms::extremities(read, self.room.nid)?
            .into_iter()
            .map(|nid| tip(read, self.rules, nid))
            .collect::<Result<_, _>>()?;
        (self.newest, self.running) = newest(read, self.room.nid)?;
        self.forget_state();
        Ok(self)
    }

    /// What is at hand about a state key.
    pub(super) fn known(&self, kind: &str, key: &str) -> Known<'_> {
        match self.state.get(kind).and_then(|keys| keys.get(key)) {
            Some(entry) => Known::Yes(entry.as_ref()),
            None if self.complete => Known::Yes(None),
            None => Known::No,
        }
    }

    /// The event of a state key that was read before.
    pub(super) fn get(&self, kind: &str, key: &str) -> Option<&Entry> {
        match self.known(kind, key) {
            Known::Yes(entry) => entry,
            Known::No => None,
        }
    }

    /// Before a batch: keeps the entries bounded. Never within one, which relies on all that was found at hand or read for it.
    pub(super) fn make_room(&mut self) {
        if self.entries >= MAX_STATE_ENTRIES {
            self.forget_state();
        }
    }

    /// Remembers what a state key has.
    pub(super) fn put(&mut self, kind: &str, key: &str, entry: Option<Entry>) {
        let keys = self.state.entry(kind.to_owned()).or_default();
        if keys.insert(key.to_owned(), entry).is_none() {
            self.entries += 1;
        }
    }

    /// Drops all state entries: they are read again as needed.
    pub(super) fn forget_state(&mut self) {
        self.state.clear();
        self.entries = 0;
        self.complete = false;
    }
}

fn newest(read: &dyn Read, room: RoomNid) -> Result<(Option<EventNid>, Running), StoreError> {
    Ok(match rooms::newest_event(read, room)? {
        Some((nid, running)) => (Some(nid), running),
        None => (None, Running::default()),
    })
}

/// Reads what the current state has under each of these keys.
pub(super) fn read_state(
    read: &dyn Read,
    room: RoomNid,
    keys: Vec<(String, String)>,
) -> Result<Vec<(String, String, Option<Entry>)>, StoreError> {
    keys.into_iter()
        .map(|(kind, key)| {
            let entry = match state::current_nid(read, room, &kind, &key)? {
                Some(nid) => Some(Entry { nid: Some(nid), pdu: state::load_pdu(read, nid)? }),
                None => None,
            };
            Ok((kind, key, entry))
        })
        .collect()
}

/// Reads a newest event.
pub(super) fn tip(read: &dyn Read, rules: &RoomVersionRules, nid: EventNid) -> Result<Tip, StoreError> {
    let row = events::by_nid(read, nid)?;
    let reference_hash = match names_hashes(rules) {
        true => Some(state::load_pdu(read, nid)?.reference_hash(rules)),
        false => None,
    };
    Ok(Tip { nid, event_id: row.event_id, depth: row.depth, reference_hash })
}

/// Whether events of this version name others with their reference hashes (versions 1 and 2).
pub(super) fn names_hashes(rules: &RoomVersionRules) -> bool {
    matches!(rules.events_reference_format, ruma::room_version_rules::EventsReferenceFormatVersion::V1)
}
