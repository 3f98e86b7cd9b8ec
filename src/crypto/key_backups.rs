//! Backups of room keys, encrypted by their clients.
//!
//! Source: Client-Server API, "Server-side key backups".

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::store::{
    Read, Store, StoreError, WriteTx,
    ids::UserNid,
    key_backups::{self, Backup, RoomKey, Scope},
};

/// Largest `auth_data` and `session_data`, in bytes of JSON.
const MAX_DATA: usize = 64 * 1024;

/// Longest algorithm, room id and session id, in bytes.
const MAX_NAME: usize = 255;

/// Keys of a backup at most.
const MAX_KEYS: i64 = 1_000_000;

/// Why a backup is not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The user has no backup.
    #[error("No current backup version")]
    None,
    /// The user has no backup of this version.
    #[error("Unknown backup version")]
    UnknownVersion,
    /// There is no key of this session in the backup.
    #[error("No such key in the backup")]
    UnknownKey,
    /// Keys are only taken into the newest version, which this is.
    #[error("Wrong backup version.")]
    WrongVersion(i64),
    /// A version keeps its algorithm.
    #[error("Algorithm does not match")]
    Algorithm,
    /// A name or a value is too long.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// The backup is full.
    #[error("The backup has {MAX_KEYS} keys already")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that a client puts into a backup.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Of which room.
    pub room_id: String,
    /// Of which session.
    pub session_id: String,
    /// The key.
    pub key: RoomKey,
}

/// Which keys of a backup are meant.
#[derive(Clone, Debug, Default)]
pub struct KeysOf {
    /// Those of this room alone.
    pub room: Option<String>,
    /// The one of this session alone.
    pub session: Option<String>,
}

impl KeysOf {
    fn scope(&self) -> Scope<'_> {
        Scope { room: self.room.as_deref(), session: self.session.as_deref() }
    }
}

/// What became of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// Its etag.
    pub etag: i64,
    /// How many keys it has.
    pub count: i64,
}

/// The keys of a backup: by room and session.
pub type BackupKeys = BTreeMap<String, BTreeMap<String, RoomKey>>;

/// Keeps backups.
pub struct KeyBackups {
    store: Store,
}

impl KeyBackups {
    /// Of this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Makes a new version; answers its number.
    pub async fn create(
        &self,
        user: UserNid,
        algorithm: String,
        auth_data: Map<String, Value>,
    ) -> Result<i64, BackupError> {
        if algorithm.len() > MAX_NAME {
            return Err(BackupError::TooLarge("algorithm"));
        }
        let auth_data = checked_auth_data(auth_data)?;
        self.store.write(move |tx| Ok(key_backups::create(tx, user, &algorithm, &auth_data)?)).await
    }

    /// A version, or the newest.
    pub async fn get(&self, user: UserNid, version: Option<String>) -> Result<Backup, BackupError> {
        self.store
            .read(move |read| match version {
                None => key_backups::current(read, user)?.ok_or(BackupError::None),
                Some(version) => named(read, user, &version),
            })
            .await
    }

    /// Replaces the `auth_data` of a version.
    pub async fn update(
        &self,
        user: UserNid,
        version: String,
        algorithm: String,
        auth_data: Map<String, Value>,
    ) -> Result<(), BackupError> {
        let auth_data = checked_auth_data(auth_data)?;
        self.store
            .write(move |tx| {
                let backup = named(tx, user, &version)?;
                if backup.algorithm != algorithm {
                    return Err(BackupError::Algorithm);
                }
                Ok(key_backups::set_auth_data(tx, user, backup.version, &auth_data)?)
            })
            .await
    }

    /// Deletes a version with its keys. One that was deleted before is no error, one that never was is.
    pub async fn delete(&self, user: UserNid, version: String) -> Result<(), BackupError> {
        let version = number(&version).ok_or(BackupError::UnknownVersion)?;
        self.store
            .write(move |tx| {
                let known = key_backups::delete(tx, user, version)?;
                if known { Ok(()) } else { Err(BackupError::UnknownVersion) }
            })
            .await
    }

    /// Puts keys into the newest version; of a key that is there already the better one stays.
    pub async fn put_keys(&self, user: UserNid, version: String, keys: Vec<NewKey>) -> Result<Updated, BackupError> {
        for key in &keys {
            if key.key.session_data.len() > MAX_DATA {
                return Err(BackupError::TooLarge("session_data"));
            }
            if key.room_id.len() > MAX_NAME || key.session_id.len() > MAX_NAME {
                return Err(BackupError::TooLarge("an id"));
            }
        }
        self.store.write(move |tx| put_keys(tx, user, &version, &keys)).await
    }

    /// Keys of a version.
    ///
    /// # Errors
    /// `UnknownVersion`; `UnknownKey` if one session is asked for and is not there.
    pub async fn keys(&self, user: UserNid, version: String, of: KeysOf) -> Result<BackupKeys, BackupError> {
        self.store
            .read(move |read| {
                let backup = named(read, user, &version)?;
                let mut keys = BackupKeys::new();
                key_backups::each_key(read, user, backup.version, of.scope(), &mut |room, session, key| {
                    keys.entry(room.to_owned()).or_default().insert(session.to_owned(), key);
                    Ok(())
                })?;
                if of.session.is_some() && keys.is_empty() {
                    return Err(BackupError::UnknownKey);
                }
                Ok(keys)
            })
            .await
    }

    /// Deletes keys of a version; those that are not there are passed over.
    pub async fn delete_keys(&self, user: UserNid, version: String, of: KeysOf) -> Result<Updated, BackupError> {
        self.store
            .write(move |tx| {
                let mut backup = named(tx, user, &version)?;
                let deleted = key_backups::delete_keys(tx, user, backup.version, of.scope())?;
                if deleted > 0 {
                    backup.count -= i64::try_from(deleted).unwrap_or(i64::MAX);
                    key_backups::set_count(tx, user, &mut backup)?;
                }
                Ok(Updated { etag: backup.etag, count: backup.count })
            })
            .await
    }
}

fn checked_auth_data(auth_data: Map<String, Value>) -> Result<String, BackupError> {
    let json = Value::Object(auth_data).to_string();
    if json.len() > MAX_DATA { Err(BackupError::TooLarge("auth_data")) } else { Ok(json) }
}

/// The number that a version is spelled by.
fn number(version: &str) -> Option<i64> {
    version.parse().ok().filter(|number: &i64| number.to_string() == version)
}

fn named(read: &dyn Read, user: UserNid, version: &str) -> Result<Backup, BackupError> {
    let version = number(version).ok_or(BackupError::UnknownVersion)?;
    key_backups::get(read, user, version)?.ok_or(BackupError::UnknownVersion)
}

fn put_keys(tx: &WriteTx<'_>, user: UserNid, version: &str, keys: &[NewKey]) -> Result<Updated, BackupError> {
    let mut backup = named(tx, user, version)?;
    let current = key_backups::current(tx, user)?.ok_or(BackupError::None)?;
    if current.version != backup.version {
        return Err(BackupError::WrongVersion(current.version));
    }
    let mut changed = false;
    for NewKey { room_id, session_id, key } in keys {
        match key_backups::key(tx, user, backup.version, room_id, session_id)? {
            Some(known) if !is_better(key, &known) => continue,
            Some(_) => {}
            None => backup.count += 1,
        }
        key_backups::put_key(tx, user, backup.version, (room_id, session_id), key)?;
        changed = true;
    }
    if backup.count > MAX_KEYS {
        return Err(BackupError::Full);
    }
    if changed {
        key_backups::set_count(tx, user, &mut backup)?;
    }
    Ok(Updated { etag: backup.etag, count: backup.count })
}

/// Whether a key takes the place of the one that is there: verified before unverified, then from an earlier message on, then
/// forwarded less often.
fn is_better(new: &RoomKey, known: &RoomKey) -> bool {
    let rank = |key: &RoomKey| (!key.is_verified, key.first_message_index, key.forwarded_count);
    rank(new) < rank(known)
}
