//! A user's cross-signing keys.
//!
//! Source: Client-Server API, `POST /keys/device_signing/upload`, "Cross-signing".

use std::sync::Arc;

use ruma::{CanonicalJsonObject, UserId};

use super::{
    device_lists::DeviceLists,
    key_shapes::{canonical, cross_signing_public_key, is_signed, keep_own_signatures},
};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, WriteTx,
        device_keys::{self, CrossSigningKey, Usage},
        devices,
        ids::UserNid,
    },
};

/// What a client uploads.
#[derive(Clone, Debug, Default)]
pub struct CrossSigningUpload {
    /// `master_key`
    pub master: Option<CanonicalJsonObject>,
    /// `self_signing_key`
    pub self_signing: Option<CanonicalJsonObject>,
    /// `user_signing_key`
    pub user_signing: Option<CanonicalJsonObject>,
}

/// Why keys are not taken; then none of the request is.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// They do not look like keys, or are another user's.
    #[error("{0}")]
    Malformed(String),
    /// The master key did not sign one of them.
    #[error("the {0} key is not signed by the master key")]
    Signature(&'static str),
    /// There is no master key, neither here nor in the request.
    #[error("there is no master key")]
    NoMaster,
    /// One of them is named as a device of the user is.
    #[error("Key ID in use")]
    InUse,
    /// There are other keys by now, which the user must first be asked to replace.
    #[error("the user's keys were changed meanwhile")]
    Unauthorised,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key whose shape was checked.
struct Checked {
    usage: Usage,
    object: CanonicalJsonObject,
    public_key: String,
}

/// Takes cross-signing keys.
pub struct CrossSigning {
    store: Store,
    lists: Arc<DeviceLists>,
}

impl CrossSigning {
    /// `lists` tells of changes.
    pub fn new(store: Store, lists: Arc<DeviceLists>) -> Self {
        Self { store, lists }
    }

    /// Whether the user must be asked before these keys are taken: where they would replace others.
    pub async fn needs_authentication(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
    ) -> Result<bool, CrossSigningError> {
        let (user, keys) = (session.user, check(upload, &session.user_id)?);
        self.store.read(move |read| Ok(replaces(read, user, &keys)?)).await
    }

    /// Takes the keys; `authorised`: the user was asked.
    pub async fn upload(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
        authorised: bool,
    ) -> Result<(), CrossSigningError> {
        let keys = check(upload, &session.user_id)?;
        let (session, lists) = (session.clone(), self.lists.clone());
        self.store.write(move |tx| put(tx, &lists, &session, keys, authorised)).await
    }
}

fn check(upload: &CrossSigningUpload, user: &UserId) -> Result<Vec<Checked>, CrossSigningError> {
    let keys = [
        (Usage::Master, &upload.master),
        (Usage::SelfSigning, &upload.self_signing),
        (Usage::UserSigning, &upload.user_signing),
    ];
    let mut out = Vec::new();
    for (usage, key) in keys {
        let Some(key) = key else { continue };
        let public_key = cross_signing_public_key(key, user, usage).map_err(CrossSigningError::Malformed)?;
        out.push(Checked { usage, object: keep_own_signatures(key.clone(), user), public_key });
    }
    Ok(out)
}

/// Whether there is a master key already, and the request does not just repeat what is there.
fn replaces(read: &dyn Read, user: UserNid, keys: &[Checked]) -> Result<bool, StoreError> {
    if device_keys::cross_signing(read, user, Usage::Master)?.is_none() {
        return Ok(false);
    }
    if !keys.iter().any(|key| key.usage == Usage::Master) {
        return Ok(true);
    }
    for key in keys {
        let known = device_keys::cross_signing(read, user, key.usage)?;
        if known.is_none_or(|known| known.public_key != key.public_key) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn put(
    tx: &WriteTx<'_>,
    lists: &DeviceLists,
    session: &Session,
    keys: Vec<Checked>,
    authorised: bool,
) -> Result<(), CrossSigningError> {
    let user = session.user;
    if !authorised && replaces(tx, user, &keys)? {
        return Err(CrossSigningError::Unauthorised);
    }
    let old_master = device_keys::cross_signing(tx, user, Usage::Master)?.map(|key| key.public_key);
    let new_master = keys.iter().find(|key| key.usage == Usage::Master).map(|key| key.public_key.clone());
    let master = new_master.or_else(|| old_master.clone()).ok_or(CrossSigningError::NoMaster)?;
    for key in &keys {
        if key.usage != Usage::Master && !is_signed(&key.object, &session.user_id, &master, &master) {
            return Err(CrossSigningError::Signature(key.usage.as_str()));
        }
        if devices::nid(tx, user, &key.public_key)?.is_some() {
            return Err(CrossSigningError::InUse);
        }
    }
    let (mut seen_by_all, mut seen_by_owner) = (false, false);
    if old_master.is_some_and(|old| old != master) {
        // What the old one signed means nothing any more.
        for usage in [Usage::SelfSigning, Usage::UserSigning] {
            device_keys::delete_cross_signing(tx, user, usage)?;
        }
    }
    for Checked { usage, object, public_key } in keys {
        let key = CrossSigningKey { public_key, keys: canonical(&object) };
        if device_keys::cross_signing(tx, user, usage)?.is_some_and(|known| known == key) {
            continue;
        }
        device_keys::put_cross_signing(tx, user, usage, &key)?;
        match usage {
            Usage::UserSigning => seen_by_owner = true,
            Usage::Master | Usage::SelfSigning => seen_by_all = true,
        }
    }
    if seen_by_all {
        lists.changed(tx, user, "")?;
    } else if seen_by_owner {
        lists.changed_for(tx, user, user)?;
    }
    Ok(())
}
