//! When, from where and with what each device was last used: noted in memory, written at most once a minute.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::store::{Store, StoreError, devices, ids::DeviceNid};

/// How often what was noted is written. A crash loses at most this much of it.
const FLUSH_EVERY: Duration = Duration::from_secs(60);

/// Devices noted between two writes at most; those beyond keep their older note until there is room.
const MAX_NOTED: usize = 50_000;

/// Bytes of a `User-Agent` that are kept.
const MAX_USER_AGENT: usize = 256;

/// A device's newest access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) ts: i64,
    pub(super) ip: Option<IpAddr>,
    pub(super) user_agent: Option<String>,
}

/// The accesses noted since the last write. Bound: `MAX_NOTED`.
#[derive(Default)]
pub struct LastSeen {
    noted: Mutex<HashMap<DeviceNid, Access>>,
}

impl LastSeen {
    /// Notes an access at `ts` milliseconds.
    pub fn note(&self, device: DeviceNid, ts: i64, ip: Option<IpAddr>, user_agent: Option<&str>) {
        let user_agent = user_agent.map(|agent| shortened(agent, MAX_USER_AGENT));
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = noted.get_mut(&device) {
            access.ts = ts;
            access.ip = ip.or(access.ip);
            if user_agent.is_some() && access.user_agent.as_deref() != user_agent {
                access.user_agent = user_agent.map(str::to_owned);
            }
        } else if noted.len() < MAX_NOTED {
            let user_agent = user_agent.map(str::to_owned);
            noted.insert(device, Access { ts, ip, user_agent });
        }
    }

    /// What is noted of a device and not written yet.
    pub(super) fn noted(&self, device: DeviceNid) -> Option<Access> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).get(&device).cloned()
    }

    /// Writes what was noted, in one transaction. On an error it stays noted.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let taken = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *noted)
        };
        if taken.is_empty() {
            return Ok(());
        }
        let taken = Arc::new(taken);
        let writing = taken.clone();
        let written = store
            .write::<_, StoreError, _>(move |tx| {
                for (device, access) in writing.iter() {
                    let ip = access.ip.map(|ip| ip.to_string());
                    devices::seen(tx, *device, access.ts, ip.as_deref(), access.user_agent.as_deref())?;
                }
                Ok(())
            })
            .await;
        if written.is_err() {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            for (device, access) in taken.iter() {
                noted.entry(*device).or_insert_with(|| access.clone());
            }
        }
        written
    }
}

/// Writes what was noted once a minute, for ever. Call [`LastSeen::flush`] once more at the end.
pub async fn keep_last_seen(last_seen: Arc<LastSeen>, store: Store) {
    let mut minutes = tokio::time::interval(FLUSH_EVERY);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        if let Err(error) = last_seen.flush(&store).await {
            tracing::warn!(%error, "the devices' newest accesses could not be written");
        }
    }
}

/// At most `limit` bytes of a text, cut between two characters.
fn shortened(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_written_stays_noted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let last_seen = LastSeen::default();
        let device = DeviceNid(1);
        last_seen.note(device, 5, Some([192, 0, 2, 1].into()), Some("A"));
        last_seen.note(device, 6, None, None);
        let noted = last_seen.noted(device).unwrap();
        assert_eq!((noted.ts, noted.ip, noted.user_agent.as_deref()), (6, Some([192, 0, 2, 1].into()), Some("A")));
        store.close();
        assert!(last_seen.flush(&store).await.is_err());
        assert_eq!(last_seen.noted(device), Some(noted));
    }

    #[test]
    fn notes_are_bounded() {
        let last_seen = LastSeen::default();
        for device in 0..60_000 {
            last_seen.note(DeviceNid(device), 1, None, Some(&"é".repeat(200)));
        }
        let noted = last_seen.noted.lock().unwrap();
        assert_eq!(noted.len(), MAX_NOTED);
        let agent = noted[&DeviceNid(0)].user_agent.as_ref().unwrap();
        assert_eq!(agent.len(), MAX_USER_AGENT);
    }
}
