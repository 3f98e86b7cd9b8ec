//! A device's own keys: identity, one-time and fallback keys.
//!
//! Source: Client-Server API, `POST /keys/upload`, "Uploading keys".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, CanonicalJsonValue};

use super::{
    device_lists::DeviceLists,
    key_counts::KeyCounts,
    key_shapes::{MAX_KEY, MAX_NAME, are_signatures, canonical, check_device_keys, keep_own_signatures, text},
};
use crate::{
    accounts::Session,
    store::{
        Store, StoreError, WriteTx, device_keys, devices,
        one_time_keys::{self, ClaimKey, MAX_KEYS},
    },
};

/// Algorithms that a device has fallback keys of, at most.
const MAX_FALLBACKS: i64 = 20;

/// What a client uploads. Keys by `<algorithm>:<key id>`.
#[derive(Clone, Debug, Default)]
pub struct KeyUpload {
    /// Identity keys.
    pub device_keys: Option<CanonicalJsonObject>,
    /// One-time keys.
    pub one_time_keys: BTreeMap<String, CanonicalJsonValue>,
    /// Fallback keys.
    pub fallback_keys: BTreeMap<String, CanonicalJsonValue>,
}

/// Why keys are not taken; then none of the request is.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// They do not look like keys, or are another device's.
    #[error("{0}")]
    Malformed(String),
    /// There is another key of this id.
    #[error("One time key {0} already exists")]
    Exists(String),
    /// More than can be kept.
    #[error("too many keys")]
    TooMany,
    /// The session ended meanwhile.
    #[error("Unrecognised access token")]
    Ended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes devices' keys.
pub struct KeyUploads {
    store: Store,
    lists: Arc<DeviceLists>,
    counts: Arc<KeyCounts>,
}

/// A key whose shape was checked.
struct Checked {
    algorithm: String,
    key: ClaimKey,
}

impl KeyUploads {
    /// `lists` tells of changed identity keys; `counts` forgets what it knew.
    pub fn new(store: Store, lists: Arc<DeviceLists>, counts: Arc<KeyCounts>) -> Self {
        Self { store, lists, counts }
    }

    /// Takes keys of the session's device; answers how many one-time keys of each algorithm it has now.
    pub async fn upload(&self, session: &Session, upload: KeyUpload) -> Result<BTreeMap<String, i64>, UploadError> {
        let identity = upload.device_keys.map(|keys| keep_own_signatures(keys, &session.user_id));
        if let Some(keys) = &identity {
            check_device_keys(keys, &session.user_id, session.device_id.as_str()).map_err(UploadError::Malformed)?;
        }
        let one_time = check_all(upload.one_time_keys)?;
        let fallback = check_all(upload.fallback_keys)?;
        if i64::try_from(one_time.len()).is_ok_and(|count| count > MAX_KEYS) {
            return Err(UploadError::TooMany);
        }
        let (session, lists, counts) = (session.clone(), self.lists.clone(), self.counts.clone());
        self.store
            .write(move |tx| {
                if devices::locked(tx, session.device)?.is_none() {
                    return Err(UploadError::Ended);
                }
                if let Some(keys) = &identity {
                    put_identity(tx, &lists, &session, &canonical(keys))?;
                }
                put_one_time(tx, &session, one_time)?;
                for Checked { algorithm, key } in fallback {
                    one_time_keys::put_fallback(tx, session.device, &algorithm, &key)?;
                }
                if one_time_keys::count_fallback(tx, session.device)? > MAX_FALLBACKS {
                    return Err(UploadError::TooMany);
                }
                tx.after_commit(move || counts.forget(session.device));
                Ok(one_time_keys::counts(tx, session.device)?.into_iter().collect())
            })
            .await
    }
}

fn put_identity(tx: &WriteTx<'_>, lists: &DeviceLists, session: &Session, keys: &str) -> Result<(), StoreError> {
    let device_id = session.device_id.as_str();
    let known = device_keys::get(tx, session.user, device_id)?;
    if let Some(known) = known {
        if known.keys == keys {
            return Ok(());
        }
        // They are of the keys that were there before.
        device_keys::delete_signatures(tx, session.user, device_id)?;
    }
    device_keys::put(tx, session.user, device_id, keys, None)?;
    lists.changed(tx, session.user, device_id)
}

fn put_one_time(tx: &WriteTx<'_>, session: &Session, keys: Vec<Checked>) -> Result<(), UploadError> {
    let device = session.device;
    for Checked { algorithm, key } in keys {
        match one_time_keys::get(tx, device, &algorithm, &key.key_id)? {
            // Uploaded again, because the answer was lost; it may even have been handed out since.
            Some((known, _)) if known == key.key => {}
            Some((_, false)) => return Err(UploadError::Exists(format!("{algorithm}:{}", key.key_id))),
            _ => one_time_keys::put(tx, device, &algorithm, &key)?,
        }
    }
    Ok(one_time_keys::trim(tx, device)?)
}

fn check_all(keys: BTreeMap<String, CanonicalJsonValue>) -> Result<Vec<Checked>, UploadError> {
    keys.into_iter().map(|(id, key)| check(&id, &key)).collect()
}

/// A one-time or fallback key: a public key, or an object with one and its signatures, which an algorithm named `signed_…` must
/// have.
fn check(id: &str, key: &CanonicalJsonValue) -> Result<Checked, UploadError> {
    let malformed = |what: &str| UploadError::Malformed(format!("key {id:?}: {what}"));
    let (algorithm, key_id) = id.split_once(':').ok_or_else(|| malformed("its name is not <algorithm>:<key id>"))?;
    if algorithm.is_empty() || key_id.is_empty() || algorithm.len() > MAX_NAME || key_id.len() > MAX_NAME {
        return Err(malformed("a part of its name is empty or too long"));
    }
    let json = match key {
        CanonicalJsonValue::String(_) if !algorithm.starts_with("signed_") => {
            serde_json::to_string(key).map_err(|error| malformed(&error.to_string()))?
        }
        CanonicalJsonValue::Object(fields) => {
            if text(fields, "key").is_none() {
                return Err(malformed("it has no key"));
            }
            let signatures = fields.get("signatures").map(are_signatures);
            if signatures == Some(false) || (signatures.is_none() && algorithm.starts_with("signed_")) {
                return Err(malformed("it has no signatures by user and key"));
            }
            canonical(fields)
        }
        _ => return Err(malformed("it is not a key")),
    };
    if json.len() > MAX_KEY {
        return Err(malformed("it is too large"));
    }
    Ok(Checked { algorithm: algorithm.to_owned(), key: ClaimKey { key_id: key_id.to_owned(), key: json } })
}
