//! Statements on the devices of local accounts.

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{DeviceNid, UserNid},
    one_time_keys, to_device,
};
use crate::params;

/// A row of `devices`.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its number.
    pub nid: DeviceNid,
    /// Its id, unique among the user's.
    pub device_id: String,
    /// What kind of device LinkIM's client says that it is (`accounts::Platform`); 0: a Matrix client did not say.
    pub platform: i64,
    /// The name that people see.
    pub display_name: Option<String>,
    /// When it was last used, in milliseconds.
    pub last_seen_ts: i64,
    /// From where it was last used.
    pub last_seen_ip: Option<String>,
    /// With what it was last used.
    pub user_agent: Option<String>,
}

fn device(row: &Row<'_>) -> Result<Device, StoreError> {
    Ok(Device {
        nid: row.get(0)?,
        device_id: row.get(1)?,
        display_name: row.get(2)?,
        last_seen_ts: row.get(3)?,
        last_seen_ip: row.get(4)?,
        user_agent: row.get(5)?,
        platform: row.get(6)?,
    })
}

/// A user's devices, oldest first.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<Device>, StoreError> {
    read.all(
        "SELECT nid, device_id, display_name, last_seen_ts, last_seen_ip, user_agent, platform FROM devices \
         WHERE user = ?1 ORDER BY nid",
        params![user],
        device,
    )
}

/// A user's device of this id.
pub fn get(read: &dyn Read, user: UserNid, device_id: &str) -> Result<Option<Device>, StoreError> {
    read.one(
        "SELECT nid, device_id, display_name, last_seen_ts, last_seen_ip, user_agent, platform FROM devices \
         WHERE user = ?1 AND device_id = ?2",
        params![user, device_id],
        device,
    )
}

/// The number of a user's device of this id.
pub fn nid(read: &dyn Read, user: UserNid, device_id: &str) -> Result<Option<DeviceNid>, StoreError> {
    read.one("SELECT nid FROM devices WHERE user = ?1 AND device_id = ?2", params![user, device_id], |row| row.get(0))
}

/// Whose device it is; none if it is gone.
pub fn user(read: &dyn Read, device: DeviceNid) -> Result<Option<UserNid>, StoreError> {
    read.one("SELECT user FROM devices WHERE nid = ?1", params![device], |row| row.get(0))
}

/// Whether the account of a device is locked; None if there is no such device any more.
pub fn locked(read: &dyn Read, device: DeviceNid) -> Result<Option<bool>, StoreError> {
    read.one(
        "SELECT a.locked FROM devices d JOIN accounts a ON a.user = d.user WHERE d.nid = ?1",
        params![device],
        |row| row.get(0),
    )
}

/// Makes a device; the user has none of this id.
pub fn insert(
    tx: &WriteTx<'_>,
    user: UserNid,
    device_id: &str,
    display_name: Option<&str>,
    platform: i64,
    now: i64,
) -> Result<DeviceNid, StoreError> {
    tx.insert(
        "INSERT INTO devices (user, device_id, display_name, created_ts, last_seen_ts, platform) \
         VALUES (?1, ?2, ?3, ?4, ?4, ?5) RETURNING nid",
        params![user, device_id, display_name, now, platform],
    )
    .map(DeviceNid)
}

/// Says what kind of device it is now: another client may log in under its id.
pub fn set_platform(tx: &WriteTx<'_>, device: DeviceNid, platform: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE devices SET platform = ?2 WHERE nid = ?1", params![device, platform])?;
    Ok(())
}

/// Renames a device. Answers whether the user has it.
pub fn rename(tx: &WriteTx<'_>, user: UserNid, device_id: &str, display_name: &str) -> Result<bool, StoreError> {
    let renamed = tx.execute(
        "UPDATE devices SET display_name = ?3 WHERE user = ?1 AND device_id = ?2",
        params![user, device_id, display_name],
    )?;
    Ok(renamed > 0)
}

/// Deletes a device with its one-time keys and the messages for it; its tokens and identity keys are deleted apart.
pub fn delete(tx: &WriteTx<'_>, device: DeviceNid) -> Result<(), StoreError> {
    one_time_keys::delete_of_device(tx, device)?;
    to_device::delete_of_device(tx, device)?;
    tx.execute("DELETE FROM devices WHERE nid = ?1", params![device])?;
    Ok(())
}

/// Notes when, from where and with what a device was last used; an absent value leaves the stored one.
pub fn seen(
    tx: &WriteTx<'_>,
    device: DeviceNid,
    ts: i64,
    ip: Option<&str>,
    user_agent: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE devices SET last_seen_ts = CASE WHEN last_seen_ts < ?2 THEN ?2 ELSE last_seen_ts END, \
         last_seen_ip = COALESCE(?3, last_seen_ip), \
         user_agent = COALESCE(?4, user_agent) WHERE nid = ?1",
        params![device, ts, ip, user_agent],
    )?;
    Ok(())
}
