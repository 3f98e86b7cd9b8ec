//! Finds the servers that are owed what was noted.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use moka::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use serde_json::json;

use super::{
    Core, Edu, HearsArrivals, Peer,
    board::Mark,
    notes::{Noted, Passing, To, TypingTold},
};
use crate::store::{
    Read, StoreError, debts, destinations, ids,
    ids::{RoomNid, UserNid},
    members,
    members::Membership,
    outbox, rooms,
};

/// Servers of rooms that are remembered, each in each of its rooms.
const CACHED_SERVERS: u64 = 500_000;

/// Names of servers that are remembered.
const CACHED_NAMES: u64 = 20_000;

/// Rooms looked up on the caller's thread at most.
const FEW: usize = 4;

/// Finds who is owed. What it remembers of a room holds as long as the room's state: servers come and go with member events.
pub(super) struct Dispatcher {
    of_rooms: Cache<RoomNid, Arc<Servers>>,
    peers: Cache<i64, Option<OwnedServerName>>,
    arrivals: Option<Arc<dyn HearsArrivals>>,
}

struct Servers {
    state_position: i64,
    there: Vec<i64>,
}

/// What is owed, by the numbers of the servers.
type Marks = Vec<(i64, Mark)>;

impl Dispatcher {
    pub(super) fn new(arrivals: Option<Arc<dyn HearsArrivals>>) -> Self {
        let of_rooms = Cache::builder()
            .max_capacity(CACHED_SERVERS)
            .weigher(|_, servers: &Arc<Servers>| u32::try_from(servers.there.len() + 8).unwrap_or(u32::MAX))
            .build();
        Self { of_rooms, peers: Cache::new(CACHED_NAMES), arrivals }
    }

    /// Dispatches notes until dropped.
    pub(super) async fn run(self: Arc<Self>, core: Arc<Core>) {
        let mut typing = TypingTold::default();
        loop {
            let noted = core.notes.take().await;
            let now_ms = core.clock.now_ms();
            let mut noted = Arc::new(noted);
            if let Some(noted) = Arc::get_mut(&mut noted) {
                noted.passing.retain(|passing| match passing {
                    Passing::Typing { room, user, typing: types } => typing.news(*room, *user, *types, now_ms),
                    Passing::Edu { .. } => true,
                });
            }
            // Nothing may be lost: the head must not pass it.
            loop {
                match self.clone().dispatch(&core, noted.clone()).await {
                    Ok(start) => {
                        start.into_iter().for_each(|peer| core.start(peer, None));
                        break;
                    }
                    Err(StoreError::Stopping) => return,
                    Err(error) => {
                        tracing::warn!(%error, "can't look up which servers are owed something; trying again");
                        tokio::time::sleep(super::STORE_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Marks what was noted; answers those whose delivery must be started.
    pub(super) async fn dispatch(
        self: Arc<Self>,
        core: &Arc<Core>,
        noted: Arc<Noted>,
    ) -> Result<Vec<Peer>, StoreError> {
        let before = core.board.noted();
        let few = noted.rooms.len() <= FEW && noted.users.is_empty() && !noted.more_rooms && !noted.more_servers;
        let newest = noted.newest;
        let shared = core.clone();
        let look = move |read: &crate::store::Snapshot<'_>| self.look(read, &shared, &noted, before);
        let marks = if few { core.store.read_short(look).await? } else { core.store.read(look).await? };
        Ok(core.board.mark(marks, newest, core.clock.now_ms()))
    }

    fn look(&self, read: &dyn Read, core: &Core, noted: &Noted, before: i64) -> Result<Vec<(Peer, Mark)>, StoreError> {
        let mut marks: Marks = Vec::new();
        for room in &noted.rooms {
            self.mark_room(read, *room, before, &mut marks)?;
        }
        for user in &noted.users {
            self.mark_servers_of(read, *user, before, &mut marks)?;
        }
        if noted.more_rooms {
            let mut rooms = debts::changed_rooms(read, before)?;
            rooms.extend(core.edus.rooms_after(read, before)?);
            for room in rooms.into_iter().filter(|room| !noted.rooms.contains(room)) {
                self.mark_room(read, room, before, &mut marks)?;
            }
        }
        let servers = if noted.more_servers { outbox::servers(read)? } else { noted.servers.iter().copied().collect() };
        marks.extend(servers.into_iter().map(|server| (server, Mark::Outbox)));
        for passing in &noted.passing {
            self.mark_passing(read, core, passing, &mut marks)?;
        }
        let mut peers: HashMap<i64, Option<Peer>> = HashMap::new();
        let mut out = Vec::with_capacity(marks.len());
        for (server, mark) in marks {
            let peer = match peers.get(&server) {
                Some(peer) => peer.clone(),
                None => {
                    let peer = self.peer(read, core, server)?;
                    peers.insert(server, peer.clone());
                    peer
                }
            };
            let Some(peer) = peer else { continue };
            if matches!(mark, Mark::Passing(..)) && !core.is_up(&peer.name) {
                metrics::counter!("linkim_federation_edus_dropped_total").increment(1);
                continue;
            }
            out.push((peer, mark));
        }
        Ok(out)
    }

    fn mark_room(&self, read: &dyn Read, room: RoomNid, before: i64, marks: &mut Marks) -> Result<(), StoreError> {
        let state_position = match rooms::head(read, room) {
            Ok(head) => head.state_position,
            // A room that we know by an invitation alone has none.
            Err(StoreError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(cached) = self.of_rooms.get(&room)
            && cached.state_position == state_position
        {
            marks.extend(cached.there.iter().map(|server| (*server, Mark::Room(room))));
            return Ok(());
        }
        let mut there = Vec::new();
        // Also those that left since: what took them out is theirs to know.
        for (server, to) in debts::servers(read, room, before)? {
            marks.push((server, Mark::Room(room)));
            if to.is_none() {
                there.push(server);
            }
        }
        self.of_rooms.insert(room, Arc::new(Servers { state_position, there }));
        if let Some(arrivals) = &self.arrivals {
            debts::arrived(read, room, before)?.into_iter().for_each(|server| arrivals.server_arrived(room, server));
        }
        Ok(())
    }

    /// Marks the servers that share a room with a user, each by one of those rooms.
    fn mark_servers_of(
        &self,
        read: &dyn Read,
        user: UserNid,
        before: i64,
        marks: &mut Marks,
    ) -> Result<(), StoreError> {
        let mut servers = HashSet::new();
        for member in members::of_user(read, user)?.into_iter().filter(|m| m.membership == Membership::Join) {
            let mut of_room = Vec::new();
            self.mark_room(read, member.room, before, &mut of_room)?;
            marks.extend(of_room.into_iter().filter(|(server, _)| servers.insert(*server)));
        }
        Ok(())
    }

    fn mark_passing(
        &self,
        read: &dyn Read,
        core: &Core,
        passing: &Passing,
        marks: &mut Marks,
    ) -> Result<(), StoreError> {
        let (to, key, edu) = match passing {
            Passing::Typing { room, user, typing } => {
                let Some(edu) = typing_edu(read, &core.own, *room, *user, *typing)? else { return Ok(()) };
                (To::Room(*room), format!("typing {} {}", room.0, user.0).into(), edu)
            }
            Passing::Edu { to, key, edu } => (to.clone(), key.clone(), edu.clone()),
        };
        match to {
            To::Room(room) => {
                for (server, _) in debts::servers(read, room, i64::MAX)? {
                    marks.push((server, Mark::Passing(key.clone(), edu.clone())));
                }
            }
            To::Server(name) => {
                if let Some(server) = destinations::server_nid(read, name.as_str())? {
                    marks.push((server, Mark::Passing(key, edu)));
                }
            }
        }
        Ok(())
    }

    /// The server of a number; None for this one, and for those that the configuration does not permit.
    fn peer(&self, read: &dyn Read, core: &Core, server: i64) -> Result<Option<Peer>, StoreError> {
        let name = match self.peers.get(&server) {
            Some(name) => name,
            None => {
                let name = core.permitted(&destinations::server_name(read, server)?);
                self.peers.insert(server, name.clone());
                name
            }
        };
        Ok(name.map(|name| Peer { nid: server, name }))
    }
}

/// The `m.typing` EDU of a local user; None for others.
fn typing_edu(
    read: &dyn Read,
    own: &ServerName,
    room: RoomNid,
    user: UserNid,
    typing: bool,
) -> Result<Option<Edu>, StoreError> {
    let user_id = ids::user_id(read, user)?;
    if user_id.server_name() != own {
        return Ok(None);
    }
    let room_id = &ids::room_by_nid(read, room)?.room_id;
    Ok(Edu::new("m.typing", &json!({ "room_id": room_id, "typing": typing, "user_id": user_id })).ok())
}
