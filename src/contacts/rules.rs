//! What the blacklist and `friend_verify` forbid local users, whichever API they use.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma::UserId;

use super::{Policy, blocking, friends};
use crate::{
    accounts::{IgnoreWatcher, Session, UserSettings},
    rooms::{
        ignored_users,
        send_rules::{InviteRule, Refused, SendRule, Wanted},
    },
    store::{
        Read, StoreError, accounts, direct_rooms, ids,
        ids::{RoomKey, RoomNid, UserNid},
    },
};

/// Rooms that are known to need no look at most; beyond it all are forgotten, and each costs one look again.
const MAX_CLEAN: usize = 100_000;

/// Which direct messages and invitations are refused.
///
/// Kept in memory are the rooms where nothing stands in the way, so a start knows of none and errs on the safe side. A room is
/// forgotten when somebody's membership of it changes and it is, or was, a direct room; all are when somebody changes whom they
/// ignore. Both come with the position from which it counts, so that a look into an older snapshot brings none of them back.
pub struct ContactRules {
    policy: Policy,
    clean: Mutex<Clean>,
}

#[derive(Default)]
struct Clean {
    rooms: HashSet<RoomNid>,
    /// What was seen before this position may have changed since.
    since: i64,
}

impl ContactRules {
    /// By this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy, clean: Mutex::default() }
    }

    fn clean(&self) -> MutexGuard<'_, Clean> {
        self.clean.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is in the room, or what kind of room it is, changed at this position.
    pub(super) fn room_changed(&self, room: RoomNid, position: i64) {
        let mut clean = self.clean();
        clean.rooms.remove(&room);
        clean.since = clean.since.max(position);
    }

    fn is_clean(&self, room: RoomNid, as_of: i64) {
        let mut clean = self.clean();
        if as_of < clean.since {
            return;
        }
        if clean.rooms.len() >= MAX_CLEAN {
            clean.rooms.clear();
        }
        clean.rooms.insert(room);
    }

    /// Whether the two may write to each other as friends may: as the other one sees it, where that is known here.
    fn are_friends(read: &dyn Read, by: &Session, peer: UserNid) -> Result<bool, StoreError> {
        match accounts::exists(read, peer)? {
            true => friends::has(read, peer, &by.user_id),
            false => friends::has(read, by.user, &ids::user_id(read, peer)?),
        }
    }
}

impl IgnoreWatcher for ContactRules {
    fn ignored_changed(&self, position: i64) {
        let mut clean = self.clean();
        clean.rooms.clear();
        clean.since = clean.since.max(position);
    }
}

impl SendRule for ContactRules {
    fn concerns(&self, room: &RoomKey) -> bool {
        (self.policy.reveal_block || self.policy.friend_verify) && !self.clean().rooms.contains(&room.nid)
    }

    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: Wanted<'_>,
    ) -> Result<Option<Refused>, StoreError> {
        // What was said can always be taken back.
        let takes_back = wanted.redacts.is_some();
        let Some(peer) = direct_rooms::peer(read, room.nid, by.user)? else {
            // A third one who is in the room is no reason to look again for the two.
            if direct_rooms::pair_of(read, room.nid)?.is_none() {
                self.is_clean(room.nid, read.position());
            }
            return Ok(None);
        };
        let blocked = self.policy.reveal_block && blocking::blocked(read, peer, by.user)?;
        if blocked {
            return Ok((!takes_back).then_some(Refused::Blocked));
        }
        if self.policy.friend_verify {
            // State is left alone: who makes a room for two sets it before they are friends.
            let speaks = wanted.state_key.is_none() && !takes_back;
            return Ok((speaks && !Self::are_friends(read, by, peer)?).then_some(Refused::NotFriends));
        }
        if !blocking::blocked(read, by.user, peer)? {
            self.is_clean(room.nid, read.position());
        }
        Ok(None)
    }
}

impl InviteRule for ContactRules {
    fn check(
        &self,
        read: &dyn Read,
        by: &UserId,
        target: &UserId,
        is_direct: bool,
    ) -> Result<Option<Refused>, StoreError> {
        let Some(target_nid) = ids::user_nid(read, target)? else { return Ok(None) };
        // A user of another server may never have been met.
        let ignored = match ids::user_nid(read, by)? {
            Some(by) => ignored_users::of(read, target_nid)?.contains(&by),
            None => false,
        };
        if ignored {
            return Ok(self.policy.reveal_block.then_some(Refused::Blocked));
        }
        if is_direct && !UserSettings::of(read, target_nid)?.strangers_may_add && !friends::has(read, target_nid, by)? {
            return Ok(Some(Refused::RefusesStrangers));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomNid = RoomNid(7);

    fn knows(rules: &ContactRules) -> bool {
        rules.clean().rooms.contains(&ROOM)
    }

    #[test]
    fn an_older_look_brings_no_room_back() {
        let rules = ContactRules::new(Policy { friend_verify: false, reveal_block: true });
        rules.is_clean(ROOM, 10);
        assert!(knows(&rules));
        rules.room_changed(ROOM, 12);
        assert!(!knows(&rules));
        rules.is_clean(ROOM, 11);
        assert!(!knows(&rules), "seen before the change");
        rules.is_clean(ROOM, 12);
        assert!(knows(&rules));
        rules.ignored_changed(15);
        rules.is_clean(ROOM, 14);
        assert!(!knows(&rules), "seen before the block");
    }
}
