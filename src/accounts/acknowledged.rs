//! How far each device has certainly received: noted in memory as clients say so, written in batches.
//!
//! Two things say it: a token of /sync, which the client could not have without the answer that gave it, and an `ack` on
//! LinkIM's /ws. Both come with nearly every message, so neither is a write of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::store::{Store, StoreError, devices, ids::DeviceNid};

/// How often what was noted is written. A crash loses at most this much of it; devices say it again with what they ask next.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Devices noted between two writes at most; those beyond are noted with what they say next.
const MAX_NOTED: usize = 50_000;

/// The places noted since the last write. Bound: `MAX_NOTED`.
#[derive(Default)]
pub struct Acknowledged {
    noted: Mutex<HashMap<DeviceNid, i64>>,
}

impl Acknowledged {
    fn noted(&self) -> MutexGuard<'_, HashMap<DeviceNid, i64>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a device has everything up to `position`. Never goes back.
    pub fn note(&self, device: DeviceNid, position: i64) {
        let mut noted = self.noted();
        if let Some(known) = noted.get_mut(&device) {
            *known = position.max(*known);
        } else if noted.len() < MAX_NOTED {
            noted.insert(device, position);
        }
    }

    /// What is noted of a device and not written yet.
    pub fn of(&self, device: DeviceNid) -> Option<i64> {
        self.noted().get(&device).copied()
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
                for (device, position) in writing.iter() {
                    devices::acknowledge(tx, *device, *position)?;
                }
                Ok(())
            })
            .await?;
        self.noted().retain(|device, position| taken.get(device) != Some(position));
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
        acknowledged.note(device, 5);
        acknowledged.note(device, 3);
        assert_eq!(acknowledged.of(device), Some(5));
        acknowledged.flush(&store).await.unwrap();
        assert_eq!(acknowledged.of(device), None);
        acknowledged.note(device, 6);
        store.close();
        assert!(acknowledged.flush(&store).await.is_err());
        assert_eq!(acknowledged.of(device), Some(6));
    }

    #[test]
    fn notes_are_bounded() {
        let acknowledged = Acknowledged::default();
        for device in 0..60_000 {
            acknowledged.note(DeviceNid(device), 1);
        }
        assert_eq!(acknowledged.noted().len(), MAX_NOTED);
    }
}
