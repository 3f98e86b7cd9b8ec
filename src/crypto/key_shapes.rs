//! What keys look like, and whose signature they carry.
//!
//! Source: Client-Server API, `definitions/device_keys.yaml`, `cross_signing_key.yaml`, "Key algorithms".

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use linkim_federation::{PublicKeyMap, verify_json};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId, serde::Base64};

use crate::store::device_keys::Usage;

/// Longest key object, in bytes of its canonical JSON.
pub(super) const MAX_KEY: usize = 32 * 1024;

/// Longest algorithm and key id, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// Unpadded base64; padding is tolerated (Appendices, "Unpadded Base64").
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn text<'o>(object: &'o CanonicalJsonObject, field: &str) -> Option<&'o str> {
    object.get(field).and_then(CanonicalJsonValue::as_str)
}

pub(super) fn object<'o>(of: &'o CanonicalJsonObject, field: &str) -> Option<&'o CanonicalJsonObject> {
    of.get(field).and_then(CanonicalJsonValue::as_object)
}

/// An object's canonical JSON.
pub(super) fn canonical(object: &CanonicalJsonObject) -> String {
    linkim_federation::canonical::canonical_text(object)
}

/// Whether `signatures` is what the spec says: by user, by key, texts.
pub(super) fn are_signatures(value: &CanonicalJsonValue) -> bool {
    let texts = |of_user: &CanonicalJsonValue| {
        of_user.as_object().is_some_and(|keys| keys.values().all(|signature| signature.as_str().is_some()))
    };
    value.as_object().is_some_and(|users| users.values().all(texts))
}

/// What is wrong with a device's identity keys, if something is; `unsigned` is left out of account.
pub(super) fn check_device_keys(keys: &CanonicalJsonObject, user: &UserId, device_id: &str) -> Result<(), String> {
    if text(keys, "user_id") != Some(user.as_str()) {
        return Err("device_keys.user_id is not the user's".into());
    }
    if text(keys, "device_id") != Some(device_id) {
        return Err("device_keys.device_id is not the device's".into());
    }
    let texts = |values: &[CanonicalJsonValue]| values.iter().all(|value| value.as_str().is_some());
    if !keys.get("algorithms").and_then(CanonicalJsonValue::as_array).is_some_and(texts) {
        return Err("device_keys.algorithms is not a list of strings".into());
    }
    let public = object(keys, "keys").ok_or("device_keys.keys is not an object")?;
    if !public.values().all(|value| value.as_str().is_some()) {
        return Err("device_keys.keys has something that is not a string".into());
    }
    if !keys.get("signatures").is_some_and(are_signatures) {
        return Err("device_keys.signatures are not signatures by user and key".into());
    }
    if canonical(keys).len() > MAX_KEY {
        return Err(format!("device_keys has more than {MAX_KEY} bytes"));
    }
    Ok(())
}

/// The public half of a cross-signing key for one usage, or what is wrong with it.
pub(super) fn cross_signing_public_key(
    key: &CanonicalJsonObject,
    user: &UserId,
    usage: Usage,
) -> Result<String, String> {
    let name = usage.as_str();
    if text(key, "user_id") != Some(user.as_str()) {
        return Err(format!("the {name} key's user_id is not the user's"));
    }
    let usages = key.get("usage").and_then(CanonicalJsonValue::as_array);
    if !usages.is_some_and(|usages| usages.iter().any(|usage| usage.as_str() == Some(name))) {
        return Err(format!("the {name} key's usage is another"));
    }
    let keys = object(key, "keys").ok_or_else(|| format!("the {name} key has no keys"))?;
    let mut pairs = keys.iter();
    let (Some((id, public)), None) = (pairs.next(), pairs.next()) else {
        return Err(format!("the {name} key does not have exactly one key"));
    };
    let public = public.as_str().filter(|public| id.strip_prefix("ed25519:") == Some(public));
    let public = public.ok_or_else(|| format!("the {name} key is not named by its public half"))?;
    if !is_ed25519(public) {
        return Err(format!("the {name} key is not 32 bytes in base64"));
    }
    if !key.get("signatures").is_none_or(are_signatures) {
        return Err(format!("the {name} key's signatures are not signatures by user and key"));
    }
    if canonical(key).len() > MAX_KEY {
        return Err(format!("the {name} key has more than {MAX_KEY} bytes"));
    }
    Ok(public.to_owned())
}

/// Whether this is an ed25519 public key: 32 bytes in base64.
pub(super) fn is_ed25519(public_key: &str) -> bool {
    BASE64.decode(public_key).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a user's key `ed25519:<name>` of this public half signed an object.
pub(super) fn is_signed(object: &CanonicalJsonObject, by: &UserId, name: &str, public_key: &str) -> bool {
    let Ok(public_key) = Base64::parse(public_key) else { return false };
    let keys = [(format!("ed25519:{name}"), public_key)].into_iter().collect();
    verify_json(object, by.as_str(), &PublicKeyMap::from([(by.to_string(), keys)])).is_ok()
}

/// Leaves of an object's signatures those of one user, and nothing that is not signed.
pub(super) fn keep_own_signatures(mut key: CanonicalJsonObject, user: &UserId) -> CanonicalJsonObject {
    key.remove("unsigned");
    if let Some(CanonicalJsonValue::Object(signatures)) = key.get_mut("signatures") {
        signatures.retain(|signer, _| signer == user.as_str());
    }
    key
}

/// An object without what is not signed.
pub(super) fn signed_part(key: &CanonicalJsonObject) -> CanonicalJsonObject {
    key.iter()
        .filter(|(field, _)| !matches!(field.as_str(), "signatures" | "unsigned"))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}
