//! Signatures that users make of keys: of their own devices, of their master key, of other users' master keys.
//!
//! Source: Client-Server API, `POST /keys/signatures/upload`, "Cross-signing".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, UserId};

use super::{
    device_lists::DeviceLists,
    key_shapes::{is_signed, object, signed_part, text},
};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, WriteTx,
        device_keys::{self, Signature, Usage},
        ids::{self, UserNid},
    },
};

/// Why a signature is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// We have no such key.
    #[error("there is no such key")]
    NotFound,
    /// The object is not the key that we have, its signatures apart.
    #[error("the object is not the key that is known")]
    Differs,
    /// None of its signatures is one that is taken of this key, or one is wrong.
    #[error("Invalid signature")]
    Signature,
}

/// The signed keys: by their owner and name.
type Uploaded = BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonValue>>;

/// The failures, by owner and name of a key.
type Failures = BTreeMap<OwnedUserId, BTreeMap<String, Refusal>>;

/// Takes signatures.
pub struct Signatures {
    store: Store,
    lists: Arc<DeviceLists>,
}

/// A signature that is right.
struct Right {
    user: UserNid,
    /// Whose key it is: a device's (then it is seen by all), the master key, or another user's.
    of: Signed,
    signature: Signature,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    Device,
    OwnMaster,
    OtherMaster,
}

impl Signatures {
    /// `lists` tells of changes.
    pub fn new(store: Store, lists: Arc<DeviceLists>) -> Self {
        Self { store, lists }
    }

    /// Takes the signatures that are right; answers why the others are not taken.
    pub async fn upload(&self, session: &Session, uploaded: Uploaded) -> Result<Failures, StoreError> {
        let by = session.clone();
        // Off the writer's thread: each costs as much as a small write.
        let (right, failures) = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let (mut right, mut failures) = (Vec::new(), Failures::new());
                for (owner, keys) in uploaded {
                    for (name, key) in keys {
                        match check(read, &by, &owner, &name, &key)? {
                            Ok(signatures) => right.extend(signatures),
                            Err(refusal) => {
                                failures.entry(owner.clone()).or_default().insert(name, refusal);
                            }
                        }
                    }
                }
                Ok((right, failures))
            })
            .await?;
        let (lists, signer) = (self.lists.clone(), session.user);
        if !right.is_empty() {
            self.store.write(move |tx| put(tx, &lists, signer, right)).await?;
        }
        Ok(failures)
    }
}

/// A key that can sign: what follows `ed25519:` in its id, and its public half.
type Signer = (String, String);

fn parse(json: &str) -> Result<CanonicalJsonObject, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("a key: {error}")))
}

/// The signatures of one uploaded key that the session's user made, all of them right.
fn check(
    read: &dyn Read,
    by: &Session,
    owner: &UserId,
    name: &str,
    uploaded: &CanonicalJsonValue,
) -> Result<Result<Vec<Right>, Refusal>, StoreError> {
    let Some(uploaded) = uploaded.as_object() else { return Ok(Err(Refusal::Differs)) };
    let Some(user) = ids::user_nid(read, owner)? else { return Ok(Err(Refusal::NotFound)) };
    let Some((of, known)) = signed_key(read, by, user, name)? else { return Ok(Err(Refusal::NotFound)) };
    if signed_part(&parse(&known)?) != signed_part(uploaded) {
        return Ok(Err(Refusal::Differs));
    }
    let signers = signers(read, by, of)?;
    let made = object(uploaded, "signatures").and_then(|all| object(all, by.user_id.as_str()));
    let mut right = Vec::new();
    for (signer, public_key) in signers {
        let key_id = format!("ed25519:{signer}");
        let Some(signature) = made.and_then(|made| text(made, &key_id)) else { continue };
        if !is_signed(uploaded, &by.user_id, &signer, &public_key) {
            return Ok(Err(Refusal::Signature));
        }
        let signature = Signature { key: name.to_owned(), signer: by.user, key_id, signature: signature.to_owned() };
        right.push(Right { user, of, signature });
    }
    Ok(if right.is_empty() { Err(Refusal::Signature) } else { Ok(right) })
}

/// The key of this name that the session's user may sign, as it is stored: a device or the master key of theirs, the master key
/// of others.
fn signed_key(
    read: &dyn Read,
    by: &Session,
    user: UserNid,
    name: &str,
) -> Result<Option<(Signed, String)>, StoreError> {
    if let Some(master) = device_keys::cross_signing(read, user, Usage::Master)?.filter(|key| key.public_key == name) {
        let of = if user == by.user { Signed::OwnMaster } else { Signed::OtherMaster };
        return Ok(Some((of, master.keys)));
    }
    if user != by.user {
        return Ok(None);
    }
    Ok(device_keys::get(read, user, name)?.map(|device| (Signed::Device, device.keys)))
}

/// The keys whose signatures are taken: the self-signing key's of devices, devices' of the master key, the user-signing key's of
/// other users' master keys.
fn signers(read: &dyn Read, by: &Session, of: Signed) -> Result<Vec<Signer>, StoreError> {
    let cross = |usage| -> Result<Vec<Signer>, StoreError> {
        let key = device_keys::cross_signing(read, by.user, usage)?;
        Ok(key.map(|key| (key.public_key.clone(), key.public_key)).into_iter().collect())
    };
    match of {
        Signed::Device => cross(Usage::SelfSigning),
        Signed::OtherMaster => cross(Usage::UserSigning),
        Signed::OwnMaster => {
            let mut signers = Vec::new();
            for device in device_keys::of_user(read, by.user)? {
                let keys = parse(&device.keys)?;
                let public =
                    object(&keys, "keys").and_then(|keys| text(keys, &format!("ed25519:{}", device.device_id)));
                signers.extend(public.map(|public| (device.device_id.clone(), public.to_owned())));
            }
            Ok(signers)
        }
    }
}

fn put(tx: &WriteTx<'_>, lists: &DeviceLists, signer: UserNid, right: Vec<Right>) -> Result<(), StoreError> {
    for Right { user, of, signature } in right {
        // The key may have gone since it was looked at.
        let there = match of {
            Signed::Device => device_keys::get(tx, user, &signature.key)?.is_some(),
            Signed::OwnMaster | Signed::OtherMaster => device_keys::is_cross_signing_key(tx, user, &signature.key)?,
        };
        if !there || !device_keys::put_signature(tx, user, &signature)? {
            continue;
        }
        match of {
            Signed::Device => lists.changed(tx, user, &signature.key)?,
            Signed::OwnMaster => lists.changed(tx, user, "")?,
            Signed::OtherMaster => lists.changed_for(tx, signer, user)?,
        }
    }
    Ok(())
}
