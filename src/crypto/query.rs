//! The keys of users as this server has them.
//!
//! Source: Client-Server API, `POST /keys/query`, "Key and signature security".

use std::collections::{BTreeMap, HashMap};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, UserId};

use crate::store::{
    Read, Store, StoreError, accounts,
    device_keys::{self, DeviceKeys, Signature, Usage},
    device_lists,
    ids::{self, UserNid},
};

/// Who looks at keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewed {
    /// A user of this server.
    By(UserNid),
    /// Another server.
    ByServer,
}

/// What somebody sees of a user's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserKeys {
    /// By device id.
    pub devices: BTreeMap<String, CanonicalJsonObject>,
    /// The master key.
    pub master: Option<CanonicalJsonObject>,
    /// The self-signing key.
    pub self_signing: Option<CanonicalJsonObject>,
    /// The user-signing key: shown to its owner alone.
    pub user_signing: Option<CanonicalJsonObject>,
}

/// Answers for the users of this server.
pub struct KeyQueries {
    store: Store,
}

impl KeyQueries {
    /// Of this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The keys of accounts of this server; of a user, those of the devices named, or of all if none is. Users without an
    /// account here are left out.
    pub async fn local(
        &self,
        viewed: Viewed,
        asked: BTreeMap<OwnedUserId, Vec<String>>,
    ) -> Result<BTreeMap<OwnedUserId, UserKeys>, StoreError> {
        self.store
            .read(move |read| {
                let mut out = BTreeMap::new();
                for (user_id, device_ids) in asked {
                    let Some(user) = ids::user_nid(read, &user_id)? else { continue };
                    if accounts::exists(read, user)? {
                        let keys = user_keys(read, viewed, (user, &user_id), &device_ids)?;
                        out.insert(user_id, keys);
                    }
                }
                Ok(out)
            })
            .await
    }

    /// All keys of an account of this server as other servers see them, with the version of the list of its devices; None if
    /// there is no such account.
    pub async fn whole_list(&self, user_id: OwnedUserId) -> Result<Option<(i64, UserKeys)>, StoreError> {
        self.store
            .read(move |read| {
                let Some(user) = ids::user_nid(read, &user_id)? else { return Ok(None) };
                if !accounts::exists(read, user)? {
                    return Ok(None);
                }
                let stream_id = device_lists::stream_id(read, user)?.unwrap_or(0);
                Ok(Some((stream_id, user_keys(read, Viewed::ByServer, (user, &user_id), &[])?)))
            })
            .await
    }
}

fn parse(json: &str) -> Result<CanonicalJsonObject, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("a key: {error}")))
}

/// What is stored of a user's keys, as `viewed` may see them; of the devices named, or of all if none is.
pub(super) fn user_keys(
    read: &dyn Read,
    viewed: Viewed,
    (user, user_id): (UserNid, &UserId),
    device_ids: &[String],
) -> Result<UserKeys, StoreError> {
    let viewer = match viewed {
        Viewed::By(viewer) => viewer,
        Viewed::ByServer => user,
    };
    let mut signatures: HashMap<String, Vec<Signature>> = HashMap::new();
    for signature in device_keys::signatures(read, user, viewer)? {
        signatures.entry(signature.key.clone()).or_default().push(signature);
    }
    let signed = |mut key: CanonicalJsonObject, name: &str| -> Result<CanonicalJsonObject, StoreError> {
        for signature in signatures.get(name).into_iter().flatten() {
            let signer =
                if signature.signer == user { user_id.to_owned() } else { ids::user_id(read, signature.signer)? };
            add_signature(&mut key, &signer, signature);
        }
        Ok(key)
    };
    let mut out = UserKeys::default();
    let devices = match device_ids {
        [] => device_keys::of_user(read, user)?,
        some => {
            let found = some.iter().map(|id| device_keys::get(read, user, id));
            found.filter_map(Result::transpose).collect::<Result<Vec<DeviceKeys>, _>>()?
        }
    };
    for device in devices {
        let mut key = signed(parse(&device.keys)?, &device.device_id)?;
        let name = device.display_name.map(|name| ("device_display_name".to_owned(), name.into()));
        key.insert("unsigned".into(), CanonicalJsonValue::Object(name.into_iter().collect()));
        out.devices.insert(device.device_id, key);
    }
    let cross_signing = |usage| -> Result<Option<CanonicalJsonObject>, StoreError> {
        let Some(key) = device_keys::cross_signing(read, user, usage)? else { return Ok(None) };
        signed(parse(&key.keys)?, &key.public_key).map(Some)
    };
    out.master = cross_signing(Usage::Master)?;
    out.self_signing = cross_signing(Usage::SelfSigning)?;
    if viewed == Viewed::By(user) {
        out.user_signing = cross_signing(Usage::UserSigning)?;
    }
    Ok(out)
}

fn add_signature(key: &mut CanonicalJsonObject, signer: &UserId, signature: &Signature) {
    let empty = || CanonicalJsonValue::Object(CanonicalJsonObject::new());
    let CanonicalJsonValue::Object(all) = key.entry("signatures".into()).or_insert_with(empty) else { return };
    let CanonicalJsonValue::Object(of_signer) = all.entry(signer.to_string()).or_insert_with(empty) else { return };
    of_signer.insert(signature.key_id.clone(), signature.signature.clone().into());
}
