//! Which events another server may see, and how.
//!
//! The rules for users ("Room History Visibility") hold for a server through its users: what one of them may see, it may
//! see. To a server that is in the room every event of the room's DAG is shown in some form, as the graph would not hold
//! otherwise: events that none of its users may see are redacted, which keeps ids, signatures and edges. To any other
//! server they are not shown.
//!
//! Whatever the visibility, a server in the room is shown in full
//! - state that the room had while the server was in it, as that is the state its users see;
//! - the types that authorise others and say nothing of their own: a redaction would change what they allow.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events"; Client-Server API, "Room History Visibility".

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedServerName, ServerName};

use super::visibility::{HistoryVisibility, KeyHistory, Values, membership_of};
use crate::store::{
    Read, StoreError, events,
    events::{EventRow, StateRef, flag},
    ids,
    ids::{EventNid, RoomKey},
    members::Membership,
    server_standing::{self, Stretch},
    state,
};

/// Users of a server whose membership at an event is looked up at most. With more than that none of whom was there, the
/// event counts as one that the server may not see.
const MAX_MEMBERS: i64 = 500;

/// State events that are shown in full to every server in the room.
const AUTHORISING: [&str; 4] =
    ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite"];

/// How a server stands to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a joined member.
    In,
    /// It had one, until the event at this position.
    Left(i64),
    /// It never had one.
    Outside,
}

/// How an event is shown to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As it is.
    Whole,
    /// In its redacted form.
    Redacted,
    /// Not at all.
    Not,
}

/// Judges events of one room for one server, within one snapshot.
pub struct ServerVisibility {
    main_line: i64,
    server: OwnedServerName,
    room: Arc<RoomKey>,
    standing: Standing,
    stretches: Vec<Stretch>,
    history: Values,
    /// Its users' member events; None: not read yet.
    members: Option<Vec<KeyHistory>>,
    memberships: HashMap<EventNid, Membership>,
}

impl ServerVisibility {
    /// A judge for `server` in `room`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new(read: &dyn Read, room: &Arc<RoomKey>, server: &ServerName) -> Result<Self, StoreError> {
        let stretches = server_standing::stretches(read, room.nid, server)?;
        let standing = match stretches.last() {
            Some(Stretch { to: None, .. }) => Standing::In,
            Some(Stretch { to: Some(at), .. }) => Standing::Left(*at),
            None => Standing::Outside,
        };
        Ok(Self {
            main_line: room.main_line,
            server: server.to_owned(),
            room: room.clone(),
            standing,
            stretches,
            history: Values::new(read)?,
            members: None,
            memberships: HashMap::new(),
        })
    }

    /// How the server stands to the room.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How an event of the room is shown to the server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn shows(&mut self, read: &dyn Read, event: &EventRow) -> Result<Shown, StoreError> {
        if event.room != self.room.nid || event.is(flag::REJECTED) {
            return Ok(Shown::Not);
        }
        let whole = match self.standing {
            Standing::In => self.is_open(read, event)? || self.is_shared_state(read, event)?,
            Standing::Left(at) if event.position.is_some_and(|position| position < at) => self.is_open(read, event)?,
            Standing::Left(_) | Standing::Outside => self.history.is_public(read, event)?,
        };
        Ok(match (whole, self.standing) {
            (true, _) => Shown::Whole,
            (false, Standing::In) => Shown::Redacted,
            (false, _) => Shown::Not,
        })
    }

    /// Whether a user of the server may see the event.
    fn is_open(&mut self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        let Some(before) = event.before else { return Ok(false) };
        let visibility = self.history.at(read, before)?;
        if self.passes(read, visibility, before)? {
            return Ok(true);
        }
        if self.history.is_set_by(event) {
            let after = self.history.value_of(read, event.nid)?;
            return self.passes(read, after, before);
        }
        // What it sent it knows; its users' member events, whoever sent them, are their own.
        let own = |user| Ok::<_, StoreError>(ids::user_id(read, user)?.server_name() == self.server);
        if own(event.sender)? {
            return Ok(true);
        }
        match event.state_key {
            Some(key) if key < 0 && own(ids::UserNid(-key))? => {
                let after = self.membership_in(read, event.nid)?;
                Ok(after == Membership::Join
                    || (after == Membership::Invite && visibility == HistoryVisibility::Invited))
            }
            _ => Ok(false),
        }
    }

    fn passes(&mut self, read: &dyn Read, visibility: HistoryVisibility, before: StateRef) -> Result<bool, StoreError> {
        match visibility {
            // Whoever asks is or was a member: that of a room's later history is decided by position, before.
            HistoryVisibility::WorldReadable | HistoryVisibility::Shared => Ok(true),
            HistoryVisibility::Invited => Ok(self.was_in(read, before, true)?),
            HistoryVisibility::Joined => Ok(self.was_in(read, before, false)?),
        }
    }

    /// Whether the server had a member in a state: a joined one, or also an invited one.
    fn was_in(&mut self, read: &dyn Read, at: StateRef, invited: bool) -> Result<bool, StoreError> {
        if at.line == self.main_line && self.stretches.iter().any(|stretch| stretch.covers(at.epoch)) {
            return Ok(true);
        }
        // Also on the main line: a state that came with our join is older than the stretches that we know of.
        let mut members = match self.members.take() {
            Some(members) => members,
            None => server_standing::members(read, self.room.nid, &self.server, MAX_MEMBERS)?
                .into_iter()
                .map(|user| KeyHistory::new(Some(ids::member_key(user))))
                .collect(),
        };
        let mut found = false;
        for member in &mut members {
            let Some(event) = member.at(read, at)? else { continue };
            let membership = self.membership_in(read, event)?;
            if membership == Membership::Join || (invited && membership == Membership::Invite) {
                found = true;
                break;
            }
        }
        self.members = Some(members);
        Ok(found)
    }

    /// Whether an event is state that a server in the room is shown in full.
    fn is_shared_state(&self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        let Some(key) = event.state_key else { return Ok(false) };
        if AUTHORISING.contains(&&*event.kind) {
            return Ok(true);
        }
        let rows = state::history(read, self.main_line, key)?;
        for (at, (from, value)) in rows.iter().enumerate() {
            if *value != Some(event.nid) {
                continue;
            }
            let to = rows.get(at + 1).map_or(i64::MAX, |(next, _)| *next);
            let overlaps = |stretch: &Stretch| stretch.from < to && stretch.to.is_none_or(|end| *from < end);
            if self.stretches.iter().any(overlaps) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn membership_in(&mut self, read: &dyn Read, event: EventNid) -> Result<Membership, StoreError> {
        if let Some(known) = self.memberships.get(&event) {
            return Ok(*known);
        }
        let membership = membership_of(&events::json(read, event)?);
        self.memberships.insert(event, membership);
        Ok(membership)
    }
}
