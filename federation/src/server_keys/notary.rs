//! Key documents by way of a notary, which vouches for them with its own signature.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>

use std::borrow::Cow;

use ruma::ServerName;
use ruma::signatures::PublicKeyMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{KeyDocument, KeyDocumentError, MAX_KEY_DOCUMENT_LENGTH, signed_text, verify_object};
use crate::canonical::CanonicalError;
use crate::signing::SigningKey;
use crate::value::{Numbers, Object, Value, insert, into_text, parse_object, write_object};

/// The longest response that is read, in bytes. Ask for a hundred servers at once at most.
pub const MAX_NOTARY_RESPONSE_LENGTH: usize = 2 << 20;

/// How many documents a response may have.
pub const MAX_NOTARY_DOCUMENTS: usize = 1000;

/// Why a notary's whole response is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotaryError {
    /// It is longer than [`MAX_NOTARY_RESPONSE_LENGTH`].
    #[error("the response has more than {MAX_NOTARY_RESPONSE_LENGTH} bytes")]
    TooLong,
    /// It has more than [`MAX_NOTARY_DOCUMENTS`] documents.
    #[error("the response has more than {MAX_NOTARY_DOCUMENTS} key documents")]
    TooMany,
    /// It is not an object with an array `server_keys`.
    #[error("not a response with `server_keys`: {0}")]
    Json(String),
}

/// Adds the notary's signature to a document: its JSON text with that signature beside those that are there.
pub fn countersign(document: &KeyDocument, notary: &ServerName, key: &SigningKey) -> String {
    // What was read, or built, can be read again; were it not, the document is passed on as it is.
    let Ok(mut object) = parse_object(document.json().as_bytes(), Numbers::Loose) else {
        return document.json().to_owned();
    };
    let signature = Value::String(Cow::Owned(key.sign_bytes(&signed_text(&object))));
    let of_notary = member(member(&mut object, "signatures"), notary.as_str());
    insert(of_notary, Cow::Owned(key.key_id().to_owned()), signature);
    let mut out = Vec::with_capacity(document.json().len() + 256);
    write_object(&mut out, &object);
    into_text(out)
}

/// The object under a key, made if there is none.
fn member<'o, 'a>(object: &'o mut Object<'a>, key: &str) -> &'o mut Object<'a> {
    let at = match object.binary_search_by(|(name, _)| name.as_ref().cmp(key)) {
        Ok(at) => at,
        Err(at) => {
            object.insert(at, (Cow::Owned(key.to_owned()), Value::Null));
            at
        }
    };
    let value = &mut object[at].1;
    if !matches!(value, Value::Object(_)) {
        *value = Value::Object(Object::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("just made an object"),
    }
}

/// The body of our answer to a key query: each document with our signature.
pub fn notary_response<'d>(
    documents: impl IntoIterator<Item = &'d KeyDocument>,
    notary: &ServerName,
    key: &SigningKey,
) -> String {
    let documents: Vec<String> = documents.into_iter().map(|document| countersign(document, notary, key)).collect();
    format!("{{\"server_keys\":[{}]}}", documents.join(","))
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    server_keys: Vec<&'a RawValue>,
}

/// Reads a notary's response.
///
/// `notary_keys` are the keys that the notary signs with, by server name and key identifier. Each document is verified by
/// itself, against its server's keys and the notary's; one that fails is an error in its place and leaves the others.
/// `asked_for` tells whether a server was in the query; documents of others are refused, for they cost a signature each.
/// A notary may give several documents of one server.
///
/// # Errors
/// [`NotaryError`] if there is nothing in it to read.
pub fn parse_notary_response(
    json: &[u8],
    notary: &ServerName,
    notary_keys: &PublicKeyMap,
    asked_for: impl Fn(&ServerName) -> bool,
) -> Result<Vec<Result<KeyDocument, KeyDocumentError>>, NotaryError> {
    if json.len() > MAX_NOTARY_RESPONSE_LENGTH {
        return Err(NotaryError::TooLong);
    }
    let response: Response<'_> = serde_json::from_slice(json).map_err(|error| NotaryError::Json(error.to_string()))?;
    if response.server_keys.len() > MAX_NOTARY_DOCUMENTS {
        return Err(NotaryError::TooMany);
    }
    let documents = response.server_keys.into_iter();
    Ok(documents.map(|json| parse_document(json.get().as_bytes(), notary, notary_keys, &asked_for)).collect())
}

fn parse_document(
    json: &[u8],
    notary: &ServerName,
    notary_keys: &PublicKeyMap,
    asked_for: impl Fn(&ServerName) -> bool,
) -> Result<KeyDocument, KeyDocumentError> {
    if json.len() > MAX_KEY_DOCUMENT_LENGTH {
        return Err(KeyDocumentError::TooLong);
    }
    let object = parse_object(json, Numbers::Loose).map_err(|error: CanonicalError| KeyDocumentError::Json(error))?;
    let document = KeyDocument::read(&object)?;
    let server = document.server_name();
    if !asked_for(server) {
        return Err(KeyDocumentError::OtherServer);
    }
    verify_object(&object, notary, notary_keys).map_err(KeyDocumentError::NotCountersigned)?;
    let own_keys = PublicKeyMap::from([(server.to_string(), document.verify_keys().clone())]);
    verify_object(&object, server, &own_keys).map_err(KeyDocumentError::NotSelfSigned)?;
    Ok(document)
}
