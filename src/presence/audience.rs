//! Whom changes concern: looked up in the memberships, once a round.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::board::{Facts, Taken};
use crate::store::{
    Read, StoreError, accounts,
    ids::{RoomNid, UserNid},
    members, presence,
};

/// What a round looked up.
pub(super) struct Found {
    pub(super) facts: Vec<Facts>,
    /// Users here to be woken.
    pub(super) watchers: HashSet<UserNid>,
    /// Other servers, by their numbers, with those whom they are to hear of.
    pub(super) servers: HashMap<i64, Vec<UserNid>>,
}

/// Whom these changes concern. Rooms that several of them are in are looked at once.
pub(super) fn look_up(read: &dyn Read, taken: &[Taken], with_servers: bool) -> Result<Found, StoreError> {
    let mut facts = Vec::with_capacity(taken.len());
    let mut changed = BTreeSet::new();
    let mut told: HashMap<RoomNid, Vec<UserNid>> = HashMap::new();
    let mut watchers = HashSet::new();
    for taken in taken {
        let user = taken.user;
        let rooms: Arc<[RoomNid]> = presence::rooms(read, user)?.into();
        let (mut status, mut barred) = (None, false);
        if taken.local {
            let account = accounts::get(read, user)?;
            barred = account.is_none_or(|account| account.locked || account.deactivated_ts.is_some());
            if taken.wants_status {
                status = Some(presence::status(read, user)?.map(Arc::from));
            }
            if with_servers {
                rooms.iter().for_each(|room| told.entry(*room).or_default().push(user));
            }
        }
        if taken.change {
            changed.extend(rooms.iter().copied());
        }
        facts.push(Facts { user, change: taken.change, rooms, status, barred });
    }
    for room in changed {
        watchers.extend(members::local_joined(read, room)?);
    }
    let mut servers: HashMap<i64, Vec<UserNid>> = HashMap::new();
    for (room, users) in told {
        for server in presence::servers(read, room)? {
            servers.entry(server).or_default().extend(&users);
        }
    }
    Ok(Found { facts, watchers, servers })
}
