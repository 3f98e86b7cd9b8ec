//! Statements on identity keys, cross-signing keys and the signatures made of them.

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{DeviceNid, UserNid},
};
use crate::params;

/// What a cross-signing key is for, as the `cross_signing_keys` table numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// `master`.
    Master = 1,
    /// `self_signing`.
    SelfSigning = 2,
    /// `user_signing`.
    UserSigning = 3,
}

impl Usage {
    /// All three, the master key first.
    pub const ALL: [Self; 3] = [Self::Master, Self::SelfSigning, Self::UserSigning];

    /// As keys spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }
}

/// A device with its identity keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Its id.
    pub device_id: String,
    /// Canonical JSON.
    pub keys: String,
    /// Its name.
    pub display_name: Option<String>,
}

/// A cross-signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossSigningKey {
    /// Its public half in base64, as the key spells it.
    pub public_key: String,
    /// Canonical JSON.
    pub keys: String,
}

/// A signature of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The device id or public key of what is signed.
    pub key: String,
    /// Who signed.
    pub signer: UserNid,
    /// With which key, `ed25519:…`.
    pub key_id: String,
    /// In base64.
    pub signature: String,
}

fn device_keys(row: &Row<'_>) -> Result<DeviceKeys, StoreError> {
    Ok(DeviceKeys { device_id: row.get(0)?, keys: row.get(1)?, display_name: row.get(2)? })
}

/// A user's devices that have identity keys; of an account here with the name that the device has now.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<DeviceKeys>, StoreError> {
    read.all(
        "SELECT k.device_id, k.keys, COALESCE(d.display_name, k.display_name) FROM device_keys k \
         LEFT JOIN devices d ON d.user = k.user AND d.device_id = k.device_id WHERE k.user = ?1",
        params![user],
        device_keys,
    )
}

/// One of a user's devices, if it has identity keys.
pub fn get(read: &dyn Read, user: UserNid, device_id: &str) -> Result<Option<DeviceKeys>, StoreError> {
    read.one(
        "SELECT k.device_id, k.keys, COALESCE(d.display_name, k.display_name) FROM device_keys k \
         LEFT JOIN devices d ON d.user = k.user AND d.device_id = k.device_id WHERE k.user = ?1 AND k.device_id = ?2",
        params![user, device_id],
        device_keys,
    )
}

/// Whether a user has a device with identity keys.
pub fn any(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    read.one("SELECT 1 FROM device_keys WHERE user = ?1 LIMIT 1", params![user], |_| Ok(()))
        .map(|found| found.is_some())
}

/// Writes a device's identity keys; `display_name` where no row of `devices` has it.
pub fn put(
    tx: &WriteTx<'_>,
    user: UserNid,
    device_id: &str,
    keys: &str,
    display_name: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO device_keys (user, device_id, keys, display_name) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, device_id) DO UPDATE SET keys = excluded.keys, display_name = excluded.display_name",
        params![user, device_id, keys, display_name],
    )?;
    Ok(())
}

/// Deletes a device's identity keys, the signatures of them and those that they made. Answers whether there were any.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<bool, StoreError> {
    let deleted = tx.execute("DELETE FROM device_keys WHERE user = ?1 AND device_id = ?2", params![user, device_id])?;
    if deleted > 0 {
        delete_signatures(tx, user, device_id)?;
    }
    Ok(deleted > 0)
}

/// Deletes the signatures of a key, and those that it made.
pub fn delete_signatures(tx: &WriteTx<'_>, user: UserNid, key: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM key_signatures WHERE user = ?1 AND key = ?2", params![user, key])?;
    let key_id = format!("ed25519:{key}");
    tx.execute("DELETE FROM key_signatures WHERE signer = ?1 AND key_id = ?2", params![user, &key_id])?;
    Ok(())
}

/// The device of this number: whose it is, and its id.
pub fn owner(read: &dyn Read, device: DeviceNid) -> Result<Option<(UserNid, String)>, StoreError> {
    read.one("SELECT user, device_id FROM devices WHERE nid = ?1", params![device], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// A user's cross-signing key of one usage.
pub fn cross_signing(read: &dyn Read, user: UserNid, usage: Usage) -> Result<Option<CrossSigningKey>, StoreError> {
    read.one(
        "SELECT public_key, keys FROM cross_signing_keys WHERE user = ?1 AND usage = ?2",
        params![user, usage as i64],
        |row| Ok(CrossSigningKey { public_key: row.get(0)?, keys: row.get(1)? }),
    )
}

/// Writes a cross-signing key. The signatures of the one that it replaces, and those that that made, go.
pub fn put_cross_signing(
    tx: &WriteTx<'_>,
    user: UserNid,
    usage: Usage,
    key: &CrossSigningKey,
) -> Result<(), StoreError> {
    if let Some(old) = cross_signing(tx, user, usage)?.filter(|old| old.public_key != key.public_key) {
        delete_signatures(tx, user, &old.public_key)?;
    }
    tx.execute(
        "INSERT INTO cross_signing_keys (user, usage, public_key, keys) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, usage) DO UPDATE SET public_key = excluded.public_key, keys = excluded.keys",
        params![user, usage as i64, &key.public_key, &key.keys],
    )?;
    Ok(())
}

/// Deletes a user's cross-signing key of one usage, its signatures, and those that it made.
pub fn delete_cross_signing(tx: &WriteTx<'_>, user: UserNid, usage: Usage) -> Result<(), StoreError> {
    let Some(old) = cross_signing(tx, user, usage)? else { return Ok(()) };
    delete_signatures(tx, user, &old.public_key)?;
    tx.execute("DELETE FROM cross_signing_keys WHERE user = ?1 AND usage = ?2", params![user, usage as i64])?;
    Ok(())
}

/// Whether one of a user's cross-signing keys has this public half.
pub fn is_cross_signing_key(read: &dyn Read, user: UserNid, public_key: &str) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM cross_signing_keys WHERE user = ?1 AND public_key = ?2 LIMIT 1",
        params![user, public_key],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// The signatures of a user's keys that one of these two made: the owner, and who asks (or the owner again).
pub fn signatures(read: &dyn Read, user: UserNid, viewer: UserNid) -> Result<Vec<Signature>, StoreError> {
    read.all(
        "SELECT key, signer, key_id, signature FROM key_signatures WHERE user = ?1 AND signer IN (?1, ?2)",
        params![user, viewer],
        |row| Ok(Signature { key: row.get(0)?, signer: row.get(1)?, key_id: row.get(2)?, signature: row.get(3)? }),
    )
}

/// Writes a signature of a key of `user`. Answers whether it is new.
pub fn put_signature(tx: &WriteTx<'_>, user: UserNid, signature: &Signature) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO key_signatures (user, key, signer, key_id, signature) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (user, key, signer, key_id) DO UPDATE SET signature = excluded.signature \
         WHERE key_signatures.signature <> excluded.signature",
        params![user, &signature.key, signature.signer, &signature.key_id, &signature.signature],
    )?;
    Ok(written > 0)
}
