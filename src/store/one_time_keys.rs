//! Statements on one-time and fallback keys.

use super::{Read, StoreError, WriteTx, ids::DeviceNid};
use crate::params;

/// One-time keys of a device, at most, that are to be claimed; as many that were are remembered.
pub const MAX_KEYS: i64 = 1_000;

/// A key to be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimKey {
    /// What follows the algorithm in its id.
    pub key_id: String,
    /// JSON: a string or an object.
    pub key: String,
}

/// A device's one-time key of this id, as JSON, and whether it was handed out.
pub fn get(
    read: &dyn Read,
    device: DeviceNid,
    algorithm: &str,
    key_id: &str,
) -> Result<Option<(String, bool)>, StoreError> {
    read.one(
        "SELECT key, claimed FROM one_time_keys WHERE device = ?1 AND algorithm = ?2 AND key_id = ?3",
        params![device, algorithm, key_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Writes a one-time key that is to be claimed, as the newest; in place of one of the same id that was claimed.
pub fn put(tx: &WriteTx<'_>, device: DeviceNid, algorithm: &str, key: &ClaimKey) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM one_time_keys WHERE device = ?1 AND algorithm = ?2 AND key_id = ?3",
        params![device, algorithm, &key.key_id],
    )?;
    tx.execute(
        "INSERT INTO one_time_keys (device, algorithm, key_id, key) VALUES (?1, ?2, ?3, ?4)",
        params![device, algorithm, &key.key_id, &key.key],
    )?;
    Ok(())
}

/// Deletes what a device has beyond [`MAX_KEYS`], the oldest first.
pub fn trim(tx: &WriteTx<'_>, device: DeviceNid) -> Result<(), StoreError> {
    for claimed in [0, 1] {
        tx.execute(
            "DELETE FROM one_time_keys WHERE device = ?1 AND claimed = ?2 AND nid <= (SELECT nid FROM one_time_keys \
             WHERE device = ?1 AND claimed = ?2 ORDER BY nid DESC LIMIT 1 OFFSET ?3)",
            params![device, claimed, MAX_KEYS],
        )?;
    }
    Ok(())
}

/// Takes the oldest one-time key of a device; nobody gets it again.
pub fn claim(tx: &WriteTx<'_>, device: DeviceNid, algorithm: &str) -> Result<Option<ClaimKey>, StoreError> {
    let read: &dyn Read = tx;
    let found = read.one(
        "SELECT nid, key_id, key FROM one_time_keys WHERE device = ?1 AND claimed = 0 AND algorithm = ?2 \
         ORDER BY nid LIMIT 1",
        params![device, algorithm],
        |row| Ok((row.get::<i64>(0)?, ClaimKey { key_id: row.get(1)?, key: row.get(2)? })),
    )?;
    let Some((nid, key)) = found else { return Ok(None) };
    tx.execute("UPDATE one_time_keys SET claimed = 1 WHERE nid = ?1", params![nid])?;
    Ok(Some(key))
}

/// How many one-time keys of each algorithm a device has left; none is left of those that are not named.
pub fn counts(read: &dyn Read, device: DeviceNid) -> Result<Vec<(String, i64)>, StoreError> {
    read.all(
        "SELECT algorithm, COUNT(*) FROM one_time_keys WHERE device = ?1 AND claimed = 0 GROUP BY algorithm",
        params![device],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Writes a device's fallback key of one algorithm, unused unless it is the one that is there.
pub fn put_fallback(tx: &WriteTx<'_>, device: DeviceNid, algorithm: &str, key: &ClaimKey) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO fallback_keys (device, algorithm, key_id, key) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (device, algorithm) DO UPDATE SET key_id = excluded.key_id, key = excluded.key, used = 0 \
         WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.key <> excluded.key",
        params![device, algorithm, &key.key_id, &key.key],
    )?;
    Ok(())
}

/// How many algorithms a device has fallback keys of.
pub fn count_fallback(read: &dyn Read, device: DeviceNid) -> Result<i64, StoreError> {
    read.one("SELECT COUNT(*) FROM fallback_keys WHERE device = ?1", params![device], |row| row.get(0))
        .map(|count| count.unwrap_or(0))
}

/// A device's fallback key, which is used from now on, and whether it was unused until now.
pub fn use_fallback(
    tx: &WriteTx<'_>,
    device: DeviceNid,
    algorithm: &str,
) -> Result<Option<(ClaimKey, bool)>, StoreError> {
    let read: &dyn Read = tx;
    let found = read.one(
        "SELECT key_id, key FROM fallback_keys WHERE device = ?1 AND algorithm = ?2",
        params![device, algorithm],
        |row| Ok(ClaimKey { key_id: row.get(0)?, key: row.get(1)? }),
    )?;
    let Some(key) = found else { return Ok(None) };
    let changed = tx.execute(
        "UPDATE fallback_keys SET used = 1 WHERE device = ?1 AND algorithm = ?2 AND used = 0",
        params![device, algorithm],
    )?;
    Ok(Some((key, changed > 0)))
}

/// The algorithms of which a device has a fallback key that was not handed out.
pub fn unused_fallbacks(read: &dyn Read, device: DeviceNid) -> Result<Vec<String>, StoreError> {
    read.all(
        "SELECT algorithm FROM fallback_keys WHERE device = ?1 AND used = 0 ORDER BY algorithm",
        params![device],
        |row| row.get(0),
    )
}

/// Deletes all of a device's.
pub fn delete_of_device(tx: &WriteTx<'_>, device: DeviceNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM one_time_keys WHERE device = ?1", params![device])?;
    tx.execute("DELETE FROM fallback_keys WHERE device = ?1", params![device])?;
    Ok(())
}
