//! A server's key document: which keys it signs with, until when, and which it used to sign with.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>. All times are milliseconds since 1970.

mod known;
mod notary;
mod publish;
mod query;

use std::collections::BTreeMap;

use ruma::serde::Base64;
use ruma::signatures::{PublicKeyMap, PublicKeySet};
use ruma::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::canonical::CanonicalError;
use crate::value::{Numbers, Object, Value, get, into_text, parse_object, write_members, write_object, write_value};
use crate::verify::{VerifyError, verify_signatures};

pub use known::{KnownKey, KnownKeys, MAX_KNOWN_KEYS, Validity};
pub use notary::{
    MAX_NOTARY_DOCUMENTS, MAX_NOTARY_RESPONSE_LENGTH, NotaryError, countersign, notary_response, parse_notary_response,
};
pub use publish::build_key_document;
pub use query::{KeyQuery, KeyQueryError, MAX_QUERY_LENGTH, MAX_QUERY_SERVERS};

/// The longest key document that is read, in bytes.
pub const MAX_KEY_DOCUMENT_LENGTH: usize = 65_536;

/// How many keys a document may have, old ones included.
pub const MAX_DOCUMENT_KEYS: usize = 256;

/// The longest identifier of a key, in bytes.
pub const MAX_KEY_ID_LENGTH: usize = 255;

/// How long after it was received a document may make a key valid for: seven days. Without the cap, who gets hold of a
/// key could publish it as valid for ever.
pub const MAX_VALIDITY_MS: u64 = 7 * 24 * 3600 * 1000;

/// How long a document is used at least before it is fetched again, so that one that has expired already is not fetched
/// at every request.
const MIN_REFRESH_MS: u64 = 60_000;

/// Why a key document is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyDocumentError {
    /// It is longer than [`MAX_KEY_DOCUMENT_LENGTH`].
    #[error("the key document has more than {MAX_KEY_DOCUMENT_LENGTH} bytes")]
    TooLong,
    /// It has more than [`MAX_DOCUMENT_KEYS`] keys.
    #[error("the key document has more than {MAX_DOCUMENT_KEYS} keys")]
    TooManyKeys,
    /// It is not a JSON object.
    #[error("the key document is not a JSON object: {0}")]
    Json(#[from] CanonicalError),
    /// A field is missing, or of another type than it must be.
    #[error("`{0}` is missing or malformed")]
    Field(&'static str),
    /// It is the document of a server that was not asked for.
    #[error("the key document is that of another server")]
    OtherServer,
    /// An ed25519 key is not 32 bytes in base64.
    #[error("the key {0} is not 32 bytes in base64")]
    Key(String),
    /// None of its own keys has signed it.
    #[error("the key document is not signed by its own keys: {0}")]
    NotSelfSigned(#[source] VerifyError),
    /// The notary has not signed it.
    #[error("the key document is not signed by the notary: {0}")]
    NotCountersigned(#[source] VerifyError),
}

/// A key that a server no longer signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldVerifyKey {
    /// The public key.
    pub key: Base64,
    /// When the server stopped using it. Only events from before are valid under it.
    pub expired_ts: u64,
}

/// A key document whose own signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDocument {
    server_name: OwnedServerName,
    verify_keys: PublicKeySet,
    old_verify_keys: BTreeMap<String, OldVerifyKey>,
    valid_until_ts: u64,
    json: Box<str>,
}

impl KeyDocument {
    /// Reads and verifies the document of the server that was asked for.
    ///
    /// Its own signature does not prove whose it is, for anyone can make keys and sign with them: that is for the TLS
    /// certificate to prove, or for a notary.
    ///
    /// It must be signed by one of its `verify_keys` at least. (That each of them signs is what the specification's words
    /// suggest, and what [`build_key_document`] does; servers that sign with the first of two keys exist, and a key
    /// without its own signature can harm only the server that lists it.) Keys of other algorithms than ed25519, and keys
    /// under identifiers that are none, are left out. A document that has expired is read like any other: its keys
    /// verify old events.
    ///
    /// # Errors
    /// [`KeyDocumentError`], for the first thing that is wrong.
    pub fn parse(json: &[u8], server: &ServerName) -> Result<Self, KeyDocumentError> {
        if json.len() > MAX_KEY_DOCUMENT_LENGTH {
            return Err(KeyDocumentError::TooLong);
        }
        let object = parse_object(json, Numbers::Loose)?;
        let document = Self::read(&object)?;
        if document.server_name != server {
            return Err(KeyDocumentError::OtherServer);
        }
        let keys = PublicKeyMap::from([(server.to_string(), document.verify_keys.clone())]);
        verify_object(&object, server, &keys).map_err(KeyDocumentError::NotSelfSigned)?;
        Ok(document)
    }

    fn read(object: &Object<'_>) -> Result<Self, KeyDocumentError> {
        let server_name = get(object, "server_name").and_then(Value::as_str);
        let server_name = server_name.and_then(|name| <&ServerName>::try_from(name).ok());
        let server_name = server_name.ok_or(KeyDocumentError::Field("server_name"))?;
        let listed = get(object, "verify_keys").and_then(Value::as_object);
        let listed = listed.ok_or(KeyDocumentError::Field("verify_keys"))?;
        let no_old_keys = Value::Object(Vec::new());
        let old = get(object, "old_verify_keys").unwrap_or(&no_old_keys).as_object();
        let old = old.ok_or(KeyDocumentError::Field("old_verify_keys"))?;
        if listed.len() + old.len() > MAX_DOCUMENT_KEYS {
            return Err(KeyDocumentError::TooManyKeys);
        }
        let mut verify_keys = PublicKeySet::new();
        for (key_id, value) in listed {
            let key = key_of(key_id, value, "verify_keys")?;
            verify_keys.extend(key.map(|key| (key_id.clone().into_owned(), key)));
        }
        let mut old_verify_keys = BTreeMap::new();
        for (key_id, value) in old {
            let key = key_of(key_id, value, "old_verify_keys")?;
            let expired_ts = value.as_object().and_then(|value| timestamp(value, "expired_ts"));
            let expired_ts = expired_ts.ok_or(KeyDocumentError::Field("old_verify_keys"))?;
            old_verify_keys.extend(key.map(|key| (key_id.clone().into_owned(), OldVerifyKey { key, expired_ts })));
        }
        let mut json = Vec::with_capacity(1024);
        write_object(&mut json, object);
        Ok(Self {
            server_name: server_name.to_owned(),
            verify_keys,
            old_verify_keys,
            valid_until_ts: timestamp(object, "valid_until_ts").ok_or(KeyDocumentError::Field("valid_until_ts"))?,
            json: into_text(json).into(),
        })
    }

    /// The server whose keys these are.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The ed25519 keys that the server signs with, by their identifiers.
    pub fn verify_keys(&self) -> &PublicKeySet {
        &self.verify_keys
    }

    /// The ed25519 keys that it used to sign with, by their identifiers.
    pub fn old_verify_keys(&self) -> &BTreeMap<String, OldVerifyKey> {
        &self.old_verify_keys
    }

    /// Until when the document is valid, as it says itself. To be trusted no further than
    /// [`valid_until_when_received`](Self::valid_until_when_received).
    pub fn valid_until_ts(&self) -> u64 {
        self.valid_until_ts
    }

    /// Until when the keys are valid for who received the document at `received_ts`: what it says, but seven days at most.
    pub fn valid_until_when_received(&self, received_ts: u64) -> u64 {
        self.valid_until_ts.min(received_ts.saturating_add(MAX_VALIDITY_MS))
    }

    /// When to fetch the document again: after half of its lifetime.
    pub fn refresh_ts(&self, received_ts: u64) -> u64 {
        refresh_ts(self.valid_until_ts, received_ts)
    }

    /// The whole document with its signatures, as canonical JSON: what a notary passes on.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// When to fetch a document again that was received at `received_ts` and says that it is valid until `valid_until_ts`: after
/// half of its lifetime.
pub fn refresh_ts(valid_until_ts: u64, received_ts: u64) -> u64 {
    let lifetime = valid_until_ts.saturating_sub(received_ts).min(MAX_VALIDITY_MS);
    received_ts.saturating_add((lifetime / 2).max(MIN_REFRESH_MS))
}

/// Whether a text is the identifier of a signing key: an algorithm, a colon and a version of letters, digits and `_`.
pub fn is_key_id(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    text.len() <= MAX_KEY_ID_LENGTH
        && text.split_once(':').is_some_and(|(algorithm, version)| word(algorithm) && word(version))
}

/// The key of a member of `field`; `None` if it is of no use to us.
fn key_of(key_id: &str, value: &Value<'_>, field: &'static str) -> Result<Option<Base64>, KeyDocumentError> {
    let key = value.as_object().and_then(|value| get(value, "key")).and_then(Value::as_str);
    let key = key.ok_or(KeyDocumentError::Field(field))?;
    if !is_key_id(key_id) || !key_id.starts_with("ed25519:") {
        return Ok(None);
    }
    match Base64::parse(key) {
        Ok(key) if key.as_bytes().len() == 32 => Ok(Some(key)),
        _ => Err(KeyDocumentError::Key(key_id.to_owned())),
    }
}

fn timestamp(object: &Object<'_>, field: &str) -> Option<u64> {
    match get(object, field)? {
        Value::Integer(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// The text of an object that is signed.
fn signed_text(object: &Object<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let members = object.iter().map(|(key, value)| (key.as_ref(), value));
    write_members(&mut out, members.filter(|(key, _)| !matches!(*key, "signatures" | "unsigned")), write_value);
    out
}

/// Checks that `entity` has signed the object.
fn verify_object(object: &Object<'_>, entity: &ServerName, keys: &PublicKeyMap) -> Result<(), VerifyError> {
    let signatures = get(object, "signatures").and_then(Value::as_object);
    let of_entity = signatures.and_then(|all| get(all, entity.as_str())).and_then(Value::as_object);
    let of_entity = of_entity.ok_or_else(|| VerifyError::Unsigned(entity.to_string()))?;
    let pairs = of_entity.iter().filter_map(|(key_id, value)| Some((key_id.as_ref(), value.as_str()?)));
    verify_signatures(entity.as_str(), pairs, keys, &signed_text(object))
}
