//! How far each device has certainly received: noted in memory as clients say so, written in batches.
//!
//! Two things say it: a token of /sync, which the client could not have without the answer that gave it, and an `ack` on
//! LinkIM's /ws. Both come with nearly every message, so neither is a write of its own.

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
    fn notes_are_bounded() {
        let acknowledged = Acknowledged::default();
        for device in 0..60_000 {
            acknowledged.note(UserNid(device), DeviceNid(device), 1);
        }
        assert_eq!(acknowledged.moved().len(), MAX_NOTED);
        assert_eq!(acknowledged.noted().len(), MAX_NOTED);
    }
}
