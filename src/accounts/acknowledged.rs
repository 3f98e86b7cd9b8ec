//! How far each device has certainly received: noted in memory as clients say so, written in batches.
//!
//! Two things say it: a token of /sync, which the client could not have without the answer that gave it, and an `ack` on
//! LinkIM's /ws. Both come with nearly every message, so neither is a write of its own. What other servers acknowledge of what
//! they are sent is noted beside it; their places are written by who sends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::store::{
    Store, StoreError, devices,
    ids::{DeviceNid, UserNid},
};

/// How often what was noted is written. A crash loses at most this much of it; devices say it again with what they ask next.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Devices noted between two writes at most; those beyond are noted with what they say next.
const MAX_NOTED: usize = 50_000;

/// The places noted since the last write. Bound: `MAX_NOTED`.
#[derive(Default)]
pub struct Acknowledged {
    noted: Mutex<HashMap<DeviceNid, (UserNid, i64)>>,
    /// Who has more than was last taken by [`Acknowledged::moved`], and up to where. Bound: `MAX_NOTED`.
    moved: Mutex<HashMap<UserNid, i64>>,
    /// How far other servers have received since this start, by their numbers. Bound: `MAX_NOTED`.
    servers: Mutex<HashMap<i64, ServerPlace>>,
}

#[derive(Clone, Copy)]
struct ServerPlace {
    to: i64,
    /// From where on it was not taken by [`Acknowledged::servers_moved`].
    untold: Option<i64>,
}

/// What another server has received lately: behind `from`, up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMoved {
    /// Its number.
    pub server: i64,
    /// It had everything up to here before.
    pub from: i64,
    /// It has everything up to here now.
    pub to: i64,
}

impl Acknowledged {
    fn noted(&self) -> MutexGuard<'_, HashMap<DeviceNid, (UserNid, i64)>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a user's device has everything up to `position`. Never goes back.
    pub fn note(&self, user: UserNid, device: DeviceNid, position: i64) {
        {
            let mut noted = self.noted();
            if let Some((_, known)) = noted.get_mut(&device) {
                if position <= *known {
                    return;
                }
                *known = position;
            } else if noted.len() < MAX_NOTED {
                noted.insert(device, (user, position));
            }
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = moved.get_mut(&user) {
            *known = position.max(*known);
        } else if moved.len() < MAX_NOTED {
            moved.insert(user, position);
        }
    }

    /// How far the users have received whose devices are noted and not written yet.
    pub fn by_user(&self) -> HashMap<UserNid, i64> {
        let mut furthest = HashMap::new();
        for (user, position) in self.noted().values() {
            let known = furthest.entry(*user).or_insert(*position);
            *known = (*known).max(*position);
        }
        furthest
    }

    /// Who has received more since the last call, and up to where.
    pub fn moved(&self) -> HashMap<UserNid, i64> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a server which had everything up to `from` has it up to `to` now, but for events that it does not take.
    pub fn note_server(&self, server: i64, from: i64, to: i64) {
        let mut servers = self.servers();
        let room = servers.len() < MAX_NOTED;
        match servers.get_mut(&server) {
            Some(place) if to > place.to => {
                place.untold.get_or_insert(from);
                place.to = to;
            }
            None if room && to > from => {
                servers.insert(server, ServerPlace { to, untold: Some(from) });
            }
            _ => {}
        }
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<i64, ServerPlace>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far servers are that have received something since this start.
    pub fn by_server(&self) -> HashMap<i64, i64> {
        self.servers().iter().map(|(server, place)| (*server, place.to)).collect()
    }

    /// Which servers have received more since the last call.
    pub fn servers_moved(&self) -> Vec<ServerMoved> {
        let mut servers = self.servers();
        let moved = servers.iter_mut().filter_map(|(server, place)| {
            Some(ServerMoved { server: *server, from: place.untold.take()?, to: place.to })
        });
        moved.collect()
    }

    /// Writes what was noted, in one transaction. On an error it stays noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        // It stays noted until it is written, so that whoever asks in between finds it in one place or the other.
        let taken = Arc::new(self.noted().clone());
        if taken.is_empty() {
            return Ok(());
        }
        let writing = taken.clone();
        store
            .write::<_, StoreError, _>(move |tx| {
                for (device, (_, position)) in writing.iter() {
                    devices::acknowledge(tx, *device, *position)?;
                }
                Ok(())
            })
            .await?;
        self.noted().retain(|device, noted| taken.get(device) != Some(noted));
        Ok(())
    }
}

/// Writes what was noted every few seconds, for ever. Call [`Acknowledged::flush`] once more at the end.
pub async fn keep_acknowledged(acknowledged: Arc<Acknowledged>, store: Store) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = acknowledged.flush(&store).await {
            tracing::warn!(%error, "how far devices have received could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_go_forwards_and_what_cannot_be_written_stays_noted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let acknowledged = Acknowledged::default();
        let device = DeviceNid(1);
        let alice = UserNid(9);
        acknowledged.note(alice, device, 5);
        acknowledged.note(alice, device, 3);
        acknowledged.note(alice, DeviceNid(2), 4);
        assert_eq!(acknowledged.by_user(), HashMap::from([(alice, 5)]));
        assert_eq!(acknowledged.moved(), HashMap::from([(alice, 5)]));
        acknowledged.note(alice, device, 5);
        assert_eq!(acknowledged.moved(), HashMap::new());
        acknowledged.flush(&store).await.unwrap();
        assert_eq!(acknowledged.by_user(), HashMap::new());
        acknowledged.note(alice, device, 6);
        store.close();
        assert!(acknowledged.flush(&store).await.is_err());
        assert_eq!(acknowledged.by_user(), HashMap::from([(alice, 6)]));
    }

    #[test]
    fn what_a_server_received_is_told_once_and_known_on() {
        let acknowledged = Acknowledged::default();
        acknowledged.note_server(7, 10, 20);
        acknowledged.note_server(7, 20, 30);
        acknowledged.note_server(7, 20, 25);
        acknowledged.note_server(8, 5, 5);
        assert_eq!(acknowledged.servers_moved(), [ServerMoved { server: 7, from: 10, to: 30 }]);
        assert_eq!(acknowledged.servers_moved(), []);
        acknowledged.note_server(7, 30, 31);
        assert_eq!(acknowledged.servers_moved(), [ServerMoved { server: 7, from: 30, to: 31 }]);
        assert_eq!(acknowledged.by_server(), HashMap::from([(7, 31)]));
    }

    #[test]
    fn notes_are_bounded() {
        let acknowledged = Acknowledged::default();
        for device in 0..60_000 {
            acknowledged.note(UserNid(device), DeviceNid(device), 1);
        }
        assert_eq!(acknowledged.moved().len(), MAX_NOTED);
        assert_eq!(acknowledged.noted().len(), MAX_NOTED);
    }
}
