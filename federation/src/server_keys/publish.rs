//! Our own key document.

use std::collections::BTreeMap;

use js_int::Int;
use ruma::serde::Base64;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, ServerName};

use super::{KeyDocument, OldVerifyKey};
use crate::canonical::canonical_text;
use crate::signing::SigningKey;

/// Makes the document that a server publishes, signed by each of its keys.
///
/// `keys` are the keys that it signs with, one at least; `old_keys` those it used to, by their identifiers. One that is
/// in both is published as one that is used. `valid_until_ts` should be an hour ahead at least, so that nobody fetches a
/// document that is about to expire, and more than seven days is of no use.
pub fn build_key_document(
    server: &ServerName,
    keys: &[SigningKey],
    old_keys: &BTreeMap<String, OldVerifyKey>,
    valid_until_ts: u64,
) -> KeyDocument {
    let mut document = KeyDocument {
        server_name: server.to_owned(),
        verify_keys: keys.iter().map(|key| (key.key_id().to_owned(), key.public_key_base64())).collect(),
        old_verify_keys: old_keys.clone(),
        valid_until_ts,
        json: Box::default(),
    };
    document.old_verify_keys.retain(|key_id, _| !document.verify_keys.contains_key(key_id));
    let verify_keys = document.verify_keys.iter().map(|(key_id, key)| (key_id.clone(), object([("key", text(key))])));
    let old_verify_keys = document.old_verify_keys.iter().map(|(key_id, old)| {
        let old = object([("key", text(&old.key)), ("expired_ts", integer(old.expired_ts))]);
        (key_id.clone(), old)
    });
    let mut json: CanonicalJsonObject = [
        ("server_name", CanonicalJsonValue::String(server.to_string())),
        ("verify_keys", CanonicalJsonValue::Object(verify_keys.collect())),
        ("old_verify_keys", CanonicalJsonValue::Object(old_verify_keys.collect())),
        ("valid_until_ts", integer(valid_until_ts)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    for key in keys {
        key.sign_json(&mut json, server.as_str());
    }
    document.json = canonical_text(&json).into();
    document
}

fn object<const N: usize>(members: [(&str, CanonicalJsonValue); N]) -> CanonicalJsonValue {
    CanonicalJsonValue::Object(members.map(|(key, value)| (key.to_owned(), value)).into())
}

fn text(key: &Base64) -> CanonicalJsonValue {
    CanonicalJsonValue::String(key.encode())
}

/// A time beyond what canonical JSON can say is the last one that it can.
fn integer(value: u64) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(i64::try_from(value).ok().and_then(Int::new).unwrap_or(Int::MAX))
}
