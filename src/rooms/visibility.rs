//! Which events a user may see.
//!
//! Source: Client-Server API, "Room History Visibility". The rules ask for the room's history visibility and the user's
//! membership *at the event*: here the state before it. For `m.room.history_visibility` events and the user's own member
//! events the value after the event counts too, whichever is better for the user.

use std::collections::HashMap;

use serde::Deserialize;

use super::history_floor;
use crate::store::{
    Read, StoreError, events,
    events::{EventRow, StateRef, flag},
    ids,
    ids::{EventNid, RoomKey, UserNid},
    members,
    members::Membership,
    state,
};

/// The values of `m.room.history_visibility`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryVisibility {
    /// Anybody may read, a member or not.
    WorldReadable,
    /// Members may read everything from before their joining. Also the default, and what an unknown value means.
    Shared,
    /// Members may read from their invitation on.
    Invited,
    /// Members may read from their joining on.
    Joined,
}

impl HistoryVisibility {
    fn of_content(json: &str) -> Self {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            content: Content<'a>,
        }
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow, default)]
            history_visibility: std::borrow::Cow<'a, str>,
        }
        match serde_json::from_str::<Event<'_>>(json).map(|event| event.content.history_visibility).as_deref() {
            Ok("world_readable") => Self::WorldReadable,
            Ok("invited") => Self::Invited,
            Ok("joined") => Self::Joined,
            _ => Self::Shared,
        }
    }
}

/// The membership that a member event gives.
pub fn membership_of(json: &str) -> Membership {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        membership: ruma::events::room::member::MembershipState,
    }
    match serde_json::from_str::<Event>(json) {
        Ok(event) => Membership::from_content(&event.content.membership),
        Err(_) => Membership::Leave,
    }
}

/// Judges events of one room for one user, within one snapshot.
///
/// What (type, state key) was is read once for each line of state, whole: a page of events then costs a search in
/// memory for each event, and one body for each value that ever held in its stretch.
#[derive(Debug)]
pub struct Visibility {
    main_line: i64,
    history: Values,
    member: KeyHistory,
    /// The user's membership now; None if they never had any.
    now: Option<Membership>,
    /// Since which position they have it; on the main line from there on it needs no look-up.
    since: i64,
    /// Position at which the user was last seen to stop being joined; the outer None: not looked up yet.
    left: Option<Option<i64>>,
    /// Their member event there.
    leaving: Option<EventNid>,
    memberships: HashMap<EventNid, Membership>,
    /// The user has cleared what came up to here.
    floor: i64,
}

impl Visibility {
    /// A judge for `user` in `room`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new(read: &dyn Read, room: &RoomKey, user: UserNid) -> Result<Self, StoreError> {
        let member = members::of(read, user, room.nid)?;
        Ok(Self {
            main_line: room.main_line,
            history: Values::new(read)?,
            member: KeyHistory::new(Some(ids::member_key(user))),
            now: member.map(|member| member.membership),
            since: member.map_or(i64::MAX, |member| member.since),
            left: None,
            leaving: None,
            memberships: HashMap::new(),
            floor: history_floor::of(read, user, room.nid)?,
        })
    }

    /// Whether the user may see the event. Never, if it is an outlier, rejected or soft-failed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn allows(&mut self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        let Some(before) = event.before else { return Ok(false) };
        if event.is(flag::HIDDEN) || (event.state_key.is_none() && event.position <= Some(self.floor)) {
            return Ok(false);
        }
        // To who is joined at the event everything is visible, whatever the history visibility says.
        if self.settled(before) == Some(Membership::Join) {
            return Ok(true);
        }
        let visibility = self.history.at(read, before)?;
        if self.passes(read, event, visibility, before)? {
            return Ok(true);
        }
        if self.history.is_set_by(event) {
            let after = self.history.value_of(read, event.nid)?;
            return self.passes(read, event, after, before);
        }
        if event.state_key.is_some() && event.state_key == self.member.key {
            let after = self.membership_in(read, event.nid)?;
            return Ok(
                after == Membership::Join || (after == Membership::Invite && visibility == HistoryVisibility::Invited)
            );
        }
        Ok(false)
    }

    /// Whether anybody may see the event, whoever they are: the room was world readable before it, or by it. Never, if it is
    /// an outlier, rejected or soft-failed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_public(&mut self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        if event.is(flag::HIDDEN) {
            return Ok(false);
        }
        self.history.is_public(read, event)
    }

    /// Whether the user may see what came right before the event, their own member events apart: whether history before it
    /// is worth fetching for them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reaches_before(&mut self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        let Some(before) = event.before else { return Ok(false) };
        let visibility = self.history.at(read, before)?;
        self.passes(read, event, visibility, before)
    }

    /// The five rules, in their order.
    fn passes(
        &mut self,
        read: &dyn Read,
        event: &EventRow,
        visibility: HistoryVisibility,
        before: StateRef,
    ) -> Result<bool, StoreError> {
        if visibility == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        // A member now has joined «at any point after the event was sent», or was joined at it.
        if visibility == HistoryVisibility::Shared && self.now == Some(Membership::Join) {
            return Ok(true);
        }
        let membership = self.membership_at(read, before)?;
        Ok(match (membership, visibility) {
            (Membership::Join, _) => true,
            (_, HistoryVisibility::Shared) => match (event.position, self.left_at(read)?) {
                (Some(position), Some(left)) if position > 0 => position < left,
                (Some(_), Some(_)) => self.precedes_leaving(read, before)?,
                _ => false,
            },
            (Membership::Invite, HistoryVisibility::Invited) => true,
            _ => false,
        })
    }

    /// The place up to which the user has cleared the room; before everything, if they never did.
    pub fn floor(&self) -> i64 {
        self.floor
    }

    /// The user's membership now; None if they never had any.
    pub fn now(&self) -> Option<Membership> {
        self.now
    }

    /// The user's membership at the event, the change that it makes included; `leave` if they had none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn membership(&mut self, read: &dyn Read, event: &EventRow) -> Result<Membership, StoreError> {
        match event.after {
            Some(after) => self.membership_at(read, after),
            None => Ok(Membership::Leave),
        }
    }

    /// The position at which the user last stopped being joined: that of their leave, kick or ban. None if they are
    /// joined or never were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn left_at(&mut self, read: &dyn Read) -> Result<Option<i64>, StoreError> {
        if self.now == Some(Membership::Join) {
            return Ok(None);
        }
        if let Some(known) = self.left {
            return Ok(known);
        }
        let rows = self.member.line(read, self.main_line)?.rows.clone();
        let mut left = None;
        let mut next = None;
        let mut leaving = None;
        for (epoch, event) in rows.into_iter().rev() {
            let membership = match event {
                Some(event) => self.membership_in(read, event)?,
                None => Membership::Leave,
            };
            if membership == Membership::Join {
                left = next;
                self.leaving = leaving;
                break;
            }
            next = Some(epoch);
            leaving = event;
        }
        self.left = Some(left);
        Ok(left)
    }

    /// Whether history that was fetched lies before the user's last leaving, by the state before it: its place says nothing
    /// of that, since it was given out when it was fetched.
    fn precedes_leaving(&mut self, read: &dyn Read, before: StateRef) -> Result<bool, StoreError> {
        let Some(leaving) = self.leaving else { return Ok(false) };
        match self.member.at(read, before)? {
            Some(event) => Ok(events::by_nid(read, event)?.depth < events::by_nid(read, leaving)?.depth),
            // They had no part in it yet.
            None => Ok(true),
        }
    }

    /// The room's history visibility now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn current(&mut self, read: &dyn Read) -> Result<HistoryVisibility, StoreError> {
        self.history.at(read, StateRef { line: self.main_line, epoch: i64::MAX })
    }

    /// The user's membership in a state, where it is known to be the present one.
    fn settled(&self, at: StateRef) -> Option<Membership> {
        self.now.filter(|_| at.line == self.main_line && at.epoch >= self.since)
    }

    fn membership_at(&mut self, read: &dyn Read, at: StateRef) -> Result<Membership, StoreError> {
        if let Some(membership) = self.settled(at) {
            return Ok(membership);
        }
        match self.member.at(read, at)? {
            Some(event) => self.membership_in(read, event),
            None => Ok(Membership::Leave),
        }
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

/// The values that a room's history visibility had.
#[derive(Debug)]
pub(super) struct Values {
    history: KeyHistory,
    values: HashMap<EventNid, HistoryVisibility>,
}

impl Values {
    /// Of a room that is told apart by the states that are asked for.
    pub(super) fn new(read: &dyn Read) -> Result<Self, StoreError> {
        let key = ids::state_key_nid(read, "m.room.history_visibility", "")?;
        Ok(Self { history: KeyHistory::new(key), values: HashMap::new() })
    }

    /// The value in a state.
    pub(super) fn at(&mut self, read: &dyn Read, at: StateRef) -> Result<HistoryVisibility, StoreError> {
        match self.history.at(read, at)? {
            Some(event) => self.value_of(read, event),
            None => Ok(HistoryVisibility::Shared),
        }
    }

    /// Whether an event is one that sets it.
    pub(super) fn is_set_by(&self, event: &EventRow) -> bool {
        event.state_key.is_some() && event.state_key == self.history.key
    }

    /// The value that an event sets.
    pub(super) fn value_of(&mut self, read: &dyn Read, event: EventNid) -> Result<HistoryVisibility, StoreError> {
        if let Some(known) = self.values.get(&event) {
            return Ok(*known);
        }
        let value = HistoryVisibility::of_content(&events::json(read, event)?);
        self.values.insert(event, value);
        Ok(value)
    }

    /// Whether the room was world readable before the event, or by it. Never of an outlier.
    pub(super) fn is_public(&mut self, read: &dyn Read, event: &EventRow) -> Result<bool, StoreError> {
        let Some(before) = event.before else { return Ok(false) };
        if self.at(read, before)? == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        Ok(self.is_set_by(event) && self.value_of(read, event.nid)? == HistoryVisibility::WorldReadable)
    }
}

/// What one state key was, on each line that was asked for.
#[derive(Debug)]
pub(super) struct KeyHistory {
    /// None: no event ever had it.
    key: Option<i64>,
    lines: HashMap<i64, LineHistory>,
}

#[derive(Debug)]
struct LineHistory {
    /// (from epoch, event or removed), oldest first.
    rows: Vec<(i64, Option<EventNid>)>,
    base: Option<StateRef>,
}

impl KeyHistory {
    pub(super) fn new(key: Option<i64>) -> Self {
        Self { key, lines: HashMap::new() }
    }

    fn line(&mut self, read: &dyn Read, line: i64) -> Result<&LineHistory, StoreError> {
        use std::collections::hash_map::Entry;
        Ok(match self.lines.entry(line) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let rows = match self.key {
                    Some(key) => state::history(read, line, key)?,
                    None => Vec::new(),
                };
                place.insert(LineHistory { rows, base: state::line(read, line)?.base })
            }
        })
    }

    /// The event that the key had in a state.
    pub(super) fn at(&mut self, read: &dyn Read, mut at: StateRef) -> Result<Option<EventNid>, StoreError> {
        if self.key.is_none() {
            return Ok(None);
        }
        loop {
            let line = self.line(read, at.line)?;
            let newer = line.rows.partition_point(|(from, _)| *from <= at.epoch);
            if let Some((_, event)) = newer.checked_sub(1).and_then(|newest| line.rows.get(newest)) {
                return Ok(*event);
            }
            match line.base {
                Some(base) => at = base,
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
#[path = "visibility_tests.rs"]
mod tests;
