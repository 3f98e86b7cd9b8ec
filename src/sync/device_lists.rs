//! The stream of changed keys: of those who share a room with the viewer, and who does so newly, or no more.
//!
//! The spec speaks of encrypted rooms. Here all rooms count, so that a room that becomes encrypted later changes nothing; but of
//! the members of a room that the viewer joins or leaves, those of large rooms are only told if it is encrypted.
//!
//! Source: Client-Server API, "Extensions to /sync" of "End-to-End Encryption"; `GET /keys/changes`.

use std::collections::{BTreeSet, HashSet};

use ruma::OwnedUserId;

use super::body::{Object, push_string};
use crate::{
    rooms::{state as room_state, visibility::membership_of},
    store::{
        Read, StoreError, device_lists, events,
        events::StateRef,
        ids::{self, RoomKey, UserNid, member_key},
        members::{self, MemberRow, Membership},
        partial_joins, rooms, state,
    },
};

/// Members of a room that is large.
const LARGE_ROOM: i64 = 1_000;

/// Users whose keys changed that are looked at one by one, at most; above it everybody who shares a room with the viewer is
/// gone through.
const FEW: usize = 1_000;

/// Whose keys a client must ask for again, and whose it need not follow any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceListChanges {
    /// Their keys changed, or the viewer shares a room with them newly.
    pub changed: BTreeSet<OwnedUserId>,
    /// The viewer shares no room with them any more.
    pub left: BTreeSet<OwnedUserId>,
}

impl DeviceListChanges {
    /// Reads what changed after `since`; `rooms`: the viewer's memberships of the rooms in which something may have changed.
    pub(super) fn read(read: &dyn Read, viewer: UserNid, since: i64, rooms: &[MemberRow]) -> Result<Self, StoreError> {
        let mut found = Found { read, viewer, since, changed: HashSet::new(), gone: HashSet::new() };
        found.keys()?;
        for member in rooms {
            found.room(member)?;
        }
        found.finish()
    }

    /// For a client whose place was lost: everybody may have changed.
    pub(super) fn everybody(read: &dyn Read, viewer: UserNid) -> Result<Self, StoreError> {
        let sharing = device_lists::sharing(read, viewer)?;
        let changed = sharing.into_iter().chain([viewer]).map(|user| ids::user_id(read, user));
        Ok(Self { changed: changed.collect::<Result<_, _>>()?, left: BTreeSet::new() })
    }

    /// Whether nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }

    /// The `device_lists` of an answer.
    pub(super) fn object(&self) -> Object {
        let mut out = Object::default();
        for (name, users) in [("changed", &self.changed), ("left", &self.left)] {
            if users.is_empty() {
                continue;
            }
            let list = out.member(name);
            for (at, user) in users.iter().enumerate() {
                list.push(if at == 0 { '[' } else { ',' });
                push_string(list, user.as_str());
            }
            list.push(']');
        }
        out
    }
}

struct Found<'r> {
    read: &'r dyn Read,
    viewer: UserNid,
    since: i64,
    changed: HashSet<UserNid>,
    /// They left a room that the viewer is in, or the viewer one that they are in; they may still share another.
    gone: HashSet<UserNid>,
}

impl Found<'_> {
    /// Those whose keys changed.
    fn keys(&mut self) -> Result<(), StoreError> {
        let changed = device_lists::changed_after(self.read, self.since)?;
        if changed.len() > FEW {
            let sharing: HashSet<UserNid> = device_lists::sharing(self.read, self.viewer)?.into_iter().collect();
            let seen = |user: &UserNid| *user == self.viewer || sharing.contains(user);
            self.changed.extend(changed.into_iter().filter(seen));
        } else {
            for user in changed {
                if device_lists::share_room(self.read, user, self.viewer)? {
                    self.changed.insert(user);
                }
            }
        }
        self.changed.extend(device_lists::own_changed_after(self.read, self.viewer, self.since)?);
        Ok(())
    }

    /// Those who share the room newly, or no more.
    fn room(&mut self, member: &MemberRow) -> Result<(), StoreError> {
        match member.membership {
            Membership::Join if member.since > self.since => {
                let room = ids::room_by_nid(self.read, member.room)?;
                if self.tells_members(&room)? {
                    self.changed.extend(device_lists::members(self.read, room.nid)?);
                }
                Ok(())
            }
            Membership::Join if partial_joins::standing(self.read, member.room)?.filled > self.since => {
                self.filled_in(member)
            }
            Membership::Join => self.moved_members(member),
            Membership::Leave | Membership::Ban if member.position > self.since => {
                let room = ids::room_by_nid(self.read, member.room)?;
                if self.was_joined(&room, self.viewer)? && self.tells_members(&room)? {
                    self.gone.extend(device_lists::members(self.read, room.nid)?);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Members were fetched whom the answer to our join had left out. When each of them came does not tell whether the client
    /// knew of them, and nor does what the room's state is now said to have been.
    fn filled_in(&mut self, member: &MemberRow) -> Result<(), StoreError> {
        let room = ids::room_by_nid(self.read, member.room)?;
        if !self.tells_members(&room)? {
            return self.moved_members(member);
        }
        let rows = members::all_of_room(self.read, room.nid)?;
        for row in rows.into_iter().filter(|row| row.user != self.viewer) {
            match row.membership {
                Membership::Join => self.changed.insert(row.user),
                _ => self.gone.insert(row.user),
            };
        }
        Ok(())
    }

    /// Members who joined or left a room that the viewer was in all the time.
    fn moved_members(&mut self, member: &MemberRow) -> Result<(), StoreError> {
        if rooms::head(self.read, member.room)?.state_position <= self.since {
            return Ok(());
        }
        let room = ids::room_by_nid(self.read, member.room)?;
        let up_to = self.read.position();
        let keys: BTreeSet<i64> = state::changes(self.read, room.main_line, self.since, up_to)?
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| *key < 0 && *key != member_key(self.viewer))
            .collect();
        for key in keys {
            let user = UserNid(-key);
            let row = members::of(self.read, user, room.nid)?;
            let joined = row.filter(|row| row.membership == Membership::Join);
            match joined {
                Some(row) if row.since > self.since => {
                    self.changed.insert(user);
                }
                None if self.was_joined(&room, user)? => {
                    self.gone.insert(user);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tells_members(&self, room: &RoomKey) -> Result<bool, StoreError> {
        Ok(rooms::head(self.read, room.nid)?.joined <= LARGE_ROOM
            || room_state::current_nid(self.read, room.nid, "m.room.encryption", "")?.is_some())
    }

    /// Whether a user was joined to a room where the client stands.
    fn was_joined(&self, room: &RoomKey, user: UserNid) -> Result<bool, StoreError> {
        let at = StateRef { line: room.main_line, epoch: self.since };
        match state::value(self.read, at, member_key(user))? {
            Some(event) => Ok(membership_of(&events::json(self.read, event)?) == Membership::Join),
            None => Ok(false),
        }
    }

    fn finish(mut self) -> Result<DeviceListChanges, StoreError> {
        let mut out = DeviceListChanges::default();
        for user in std::mem::take(&mut self.gone) {
            if !device_lists::share_room(self.read, user, self.viewer)? {
                self.changed.remove(&user);
                out.left.insert(ids::user_id(self.read, user)?);
            }
        }
        for user in self.changed {
            out.changed.insert(ids::user_id(self.read, user)?);
        }
        Ok(out)
    }
}
