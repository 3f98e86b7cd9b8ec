//! Verification: whose signatures an event needs, whether they hold, and whether its content is still what was hashed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use ruma::room_version_rules::{EventIdFormatVersion, RoomVersionRules};
use ruma::signatures::{PublicKeyMap, verify_canonical_json_bytes};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, IdParseError, OwnedEventId, OwnedServerName, ServerName,
    SigningKeyAlgorithm, UserId,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::pdu::Pdu;
use crate::redact::redacted_text;
use crate::signing::{BASE64, signed_text};
use crate::value::{Numbers, Object, Value, get, parse_object, write_members, write_value};

const URL_SAFE_BASE64: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_encode_padding(false));

/// What of a verified event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Signatures and content hash.
    All,
    /// The signatures alone: the content was changed, or redacted before it came here. The event must be
    /// [redacted](crate::redact()) before it is processed further.
    SignaturesOnly,
}

/// Why an event, or another object, is not verified. It must be discarded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// A field that says who must sign, or the signatures themselves, are malformed.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A server that must sign has not.
    #[error("no signature of {0}")]
    Unsigned(String),
    /// A server has signed, but with none of the keys that were given.
    #[error("no known key for a signature of {0}")]
    UnknownKey(String),
    /// No signature of a server, by a key that was given, is right.
    #[error("the signature of {0} is wrong")]
    WrongSignature(String),
}

/// Checks the signatures of every server that must have signed, and the content hash.
///
/// `keys` are the public keys that were valid when the event was made, by server name and key identifier. A server has
/// signed when at least one signature by a given key is right: a relaying server can add signatures under other keys.
///
/// # Errors
/// [`VerifyError`], for the first server whose signature is missing or wrong.
pub fn verify_event(pdu: &Pdu, keys: &PublicKeyMap, rules: &RoomVersionRules) -> Result<Verified, VerifyError> {
    let object = parse_event(pdu)?;
    let signed = redacted_text(&object, &rules.redaction, &["signatures", "unsigned"]);
    for server in required_servers(pdu, rules)? {
        verify_signature_of(&object, &signed, server.as_str(), keys)?;
    }
    Ok(if holds_its_hash(&object) { Verified::All } else { Verified::SignaturesOnly })
}

/// Checks the signature of one server on an event, whether it must have signed or not: an invited user's server, a policy
/// server.
///
/// # Errors
/// [`VerifyError`] if it has not signed, or not with a key in `keys`.
pub fn verify_event_signature(
    pdu: &Pdu,
    server: &ServerName,
    keys: &PublicKeyMap,
    rules: &RoomVersionRules,
) -> Result<(), VerifyError> {
    let object = parse_event(pdu)?;
    let signed = redacted_text(&object, &rules.redaction, &["signatures", "unsigned"]);
    verify_signature_of(&object, &signed, server.as_str(), keys)
}

fn parse_event(pdu: &Pdu) -> Result<Object<'_>, VerifyError> {
    parse_object(pdu.json().as_bytes(), Numbers::Loose)
        .map_err(|_| VerifyError::Malformed("the event is not an object"))
}

fn verify_signature_of(
    event: &Object<'_>,
    signed: &[u8],
    server: &str,
    keys: &PublicKeyMap,
) -> Result<(), VerifyError> {
    let signatures = get(event, "signatures").and_then(Value::as_object);
    let signatures = signatures.ok_or(VerifyError::Malformed("`signatures` is not an object"))?;
    let of_server = get(signatures, server).and_then(Value::as_object);
    let of_server = of_server.ok_or_else(|| VerifyError::Unsigned(server.to_owned()))?;
    let pairs = of_server.iter().filter_map(|(key_id, value)| Some((key_id.as_ref(), value.as_str()?)));
    verify_signatures(server, pairs, keys, signed)
}

/// Whether an event's content is what its server hashed: false once it was changed, or redacted.
pub fn content_hash_holds(pdu: &Pdu) -> bool {
    parse_object(pdu.json().as_bytes(), Numbers::Loose).is_ok_and(|object| holds_its_hash(&object))
}

fn holds_its_hash(event: &Object<'_>) -> bool {
    let hashes = get(event, "hashes").and_then(Value::as_object);
    let hash = hashes.and_then(|hashes| get(hashes, "sha256")).and_then(Value::as_str);
    let hash = hash.and_then(|text| BASE64.decode(text).ok());
    hash.is_some_and(|hash| hash == content_hash(event))
}

/// Checks that `entity` has signed an object that is no event (a key document, a request).
///
/// # Errors
/// [`VerifyError`] if it has not, by any key in `keys`.
pub fn verify_json(object: &CanonicalJsonObject, entity: &str, keys: &PublicKeyMap) -> Result<(), VerifyError> {
    let signatures = match object.get("signatures") {
        Some(CanonicalJsonValue::Object(signatures)) => signatures,
        _ => return Err(VerifyError::Unsigned(entity.to_owned())),
    };
    let Some(CanonicalJsonValue::Object(of_entity)) = signatures.get(entity) else {
        return Err(VerifyError::Unsigned(entity.to_owned()));
    };
    let pairs = of_entity.iter().filter_map(|(key_id, value)| Some((key_id.as_str(), value.as_str()?)));
    verify_signatures(entity, pairs, keys, &signed_text(object))
}

/// The servers that must have signed an event: the sender's (except of an invitation by third-party identifier, which
/// the invited user's server completes), in versions 1 and 2 that of the event identifier, and from version 8 on that of
/// the user who authorises a restricted join.
///
/// # Errors
/// [`VerifyError::Malformed`] if a field that names one of them has no user or event identifier in it.
pub fn required_servers(pdu: &Pdu, rules: &RoomVersionRules) -> Result<BTreeSet<OwnedServerName>, VerifyError> {
    let content = parse_object(pdu.content().get().as_bytes(), Numbers::Loose)
        .map_err(|_| VerifyError::Malformed("`content` is not an object"))?;
    let mut servers = BTreeSet::new();
    let member = pdu.event_type() == &ruma::events::TimelineEventType::RoomMember;
    let membership = get(&content, "membership").and_then(Value::as_str);
    let by_third_party = member
        && membership == Some("invite")
        && get(&content, "third_party_invite").and_then(Value::as_object).is_some();
    if !by_third_party {
        servers.insert(pdu.sender().server_name().to_owned());
    }
    if rules.signatures.check_event_id_server {
        let server = pdu.event_id().server_name();
        servers.insert(server.ok_or(VerifyError::Malformed("`event_id` has no server name"))?.to_owned());
    }
    if rules.signatures.check_join_authorised_via_users_server
        && member
        && let Some(user) = get(&content, "join_authorised_via_users_server")
    {
        let user = user.as_str().and_then(|user| <&UserId>::try_from(user).ok());
        let user = user.ok_or(VerifyError::Malformed("`join_authorised_via_users_server` is not a user identifier"))?;
        servers.insert(user.server_name().to_owned());
    }
    Ok(servers)
}

/// Checks that one of `entity`'s signatures of the message is by a given key, and right.
pub(crate) fn verify_signatures<'s>(
    entity: &str,
    signatures: impl Iterator<Item = (&'s str, &'s str)>,
    keys: &PublicKeyMap,
    message: &[u8],
) -> Result<(), VerifyError> {
    let known = keys.get(entity);
    let mut failure = VerifyError::UnknownKey(entity.to_owned());
    for (key_id, signature) in signatures {
        let Some(key) = known.and_then(|known| known.get(key_id)) else {
            continue;
        };
        if !key_id.starts_with("ed25519:") {
            continue;
        }
        let right = BASE64.decode(signature).is_ok_and(|signature| {
            verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, key.as_bytes(), &signature, message).is_ok()
        });
        if right {
            return Ok(());
        }
        failure = VerifyError::WrongSignature(entity.to_owned());
    }
    Err(failure)
}

/// SHA-256 of the canonical event without `hashes`, `signatures` and `unsigned`.
pub(crate) fn content_hash(event: &Object<'_>) -> [u8; 32] {
    let members = event.iter().map(|(key, value)| (key.as_ref(), value));
    let hashed = members.filter(|(key, _)| !matches!(*key, "hashes" | "signatures" | "unsigned"));
    let mut out = Vec::with_capacity(1024);
    write_members(&mut out, hashed, write_value);
    sha256(&out)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The event identifier that a reference hash makes, in versions 3 and later: `$` and the hash in unpadded base64, from
/// version 4 on the URL-safe kind.
pub(crate) fn event_id_of_hash(hash: &[u8; 32], rules: &RoomVersionRules) -> Result<OwnedEventId, IdParseError> {
    let mut text = String::with_capacity(44);
    text.push('$');
    match rules.event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => BASE64.encode_string(hash, &mut text),
        _ => URL_SAFE_BASE64.encode_string(hash, &mut text),
    }
    EventId::parse(text)
}
