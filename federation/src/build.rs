//! Building our own events: content hash, signature, identifier.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events>

use base64::Engine as _;
use ruma::room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules};
use ruma::{CanonicalJsonObject, EventId, RoomId, ServerName, UserId};
use thiserror::Error;

use crate::canonical::{write_ruma_object, write_ruma_value};
use crate::pdu::{MAX_AUTH_EVENTS, MAX_PDU_BYTES, MAX_PREV_EVENTS, Pdu};
use crate::redact::{empties_content, keeps_top_level, redacted_content, redacted_text};
use crate::signing::{BASE64, SigningKey};
use crate::value::{
    MAX_INTEGER, Numbers, Value, get, insert, into_text, parse_object, write_integer, write_members, write_object,
    write_string,
};
use crate::verify::{event_id_of_hash, sha256};

/// What goes into an event, before it is hashed and signed.
#[derive(Debug, Clone)]
pub struct EventTemplate<'a> {
    /// The room; `None` only for the create event of a room of version 12 or later, which names its room itself.
    pub room_id: Option<&'a RoomId>,
    /// Who sends it.
    pub sender: &'a UserId,
    /// The `type`.
    pub event_type: &'a str,
    /// The `state_key` of a state event.
    pub state_key: Option<&'a str>,
    /// The `content`.
    pub content: CanonicalJsonObject,
    /// The events before it, at most 20.
    pub prev_events: &'a [EventReference<'a>],
    /// The events that authorise it, at most 10.
    pub auth_events: &'a [EventReference<'a>],
    /// One more than the greatest depth of `prev_events`; above 2^53 - 1 it is held there.
    pub depth: u64,
    /// Milliseconds of the Unix epoch.
    pub origin_server_ts: u64,
    /// What a redaction redacts. It is written where the version wants it: at the top level up to 10, in the content from
    /// 11 on.
    pub redacts: Option<&'a EventId>,
    /// The event's identifier, `$random:server`; rooms of versions 1 and 2 only, and needed there.
    pub event_id_v1: Option<&'a EventId>,
}

/// An event that another one refers to.
#[derive(Debug, Clone, Copy)]
pub struct EventReference<'a> {
    /// Its identifier.
    pub event_id: &'a EventId,
    /// Its [reference hash](Pdu::reference_hash); needed in versions 1 and 2, ignored in others.
    pub reference_hash: Option<[u8; 32]>,
}

/// Why an event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// It would be larger than 65,536 bytes.
    #[error("the event is larger than 65536 bytes")]
    TooLarge,
    /// The type is longer than 255 bytes.
    #[error("the event type is longer than 255 bytes")]
    TypeTooLong,
    /// The state key is longer than 255 bytes.
    #[error("the state key is longer than 255 bytes")]
    StateKeyTooLong,
    /// The content nests deeper than an event may.
    #[error("the content is nested too deeply")]
    TooDeep,
    /// The template does not fit the room version: a programming error.
    #[error("the template does not fit the room version: {0}")]
    Template(&'static str),
}

/// Builds an event of this server.
///
/// The hashed, signed and final texts differ in a few members only, so each member's text is made once and put together
/// three times. What is signed is also what the reference hash is taken of.
///
/// # Errors
/// [`BuildError`]; the first four tell a client that what it sent is too large.
pub fn build_event(
    template: EventTemplate<'_>,
    rules: &RoomVersionRules,
    origin: &ServerName,
    key: &SigningKey,
) -> Result<Pdu, BuildError> {
    check(&template, rules)?;
    let mut template = template;
    if let Some(redacts) = template.redacts
        && rules.redaction.content_field_redacts
    {
        template.content.insert("redacts".to_owned(), redacts.as_str().into());
    }
    let members = Members::of(&template, rules)?;

    let hash = sha256(&members.text(Form::Hashed));
    let hashes = format!(r#"{{"sha256":"{}"}}"#, BASE64.encode(hash));
    let signed = members.text(Form::Signed { hashes: &hashes, rules });
    let event_id = match template.event_id_v1 {
        Some(event_id) => event_id.to_owned(),
        None => event_id_of_hash(&sha256(&signed), rules).map_err(|_| BuildError::Template("no event identifier"))?,
    };
    let mut signatures = Vec::with_capacity(160);
    write_signatures(&mut signatures, origin, key, &signed);

    let text = members.text(Form::Whole { hashes: &hashes, signatures: &signatures });
    if text.len() > MAX_PDU_BYTES {
        return Err(BuildError::TooLarge);
    }
    Pdu::read(event_id, into_text(text).into(), false, rules).map_err(|_| BuildError::Template("unreadable"))
}

/// Adds this server's signature to an event of another, which stays the same event: an invitation of our user, a
/// restricted join that our user authorises, an event that we approve as the room's policy server.
///
/// # Errors
/// [`BuildError::TooLarge`] if the signature does not fit into the event.
pub fn add_signature(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    origin: &ServerName,
    key: &SigningKey,
) -> Result<Pdu, BuildError> {
    let object = parse_object(pdu.json().as_bytes(), Numbers::Loose).map_err(|_| UNREADABLE)?;
    let signed = redacted_text(&object, &rules.redaction, &["signatures", "unsigned"]);
    with_signature(pdu, rules, origin, key.key_id(), &key.sign_bytes(&signed))
}

/// Adds a signature that somebody else made of an event, which stays the same event: a policy server's. Other signatures of
/// that server stay. Whether it is right, [`verify_event_signature`](crate::verify_event_signature) says afterwards.
///
/// # Errors
/// [`BuildError::TooLarge`] if the signature does not fit into the event.
pub fn with_signature(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    server: &ServerName,
    key_id: &str,
    signature: &str,
) -> Result<Pdu, BuildError> {
    let mut object = parse_object(pdu.json().as_bytes(), Numbers::Loose).map_err(|_| UNREADABLE)?;
    let mut signatures = get(&object, "signatures").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut of_server = get(&signatures, server.as_str()).and_then(Value::as_object).cloned().unwrap_or_default();
    insert(&mut of_server, key_id.into(), Value::String(signature.into()));
    insert(&mut signatures, server.as_str().into(), Value::Object(of_server));
    insert(&mut object, "signatures".into(), Value::Object(signatures));
    let mut text = Vec::with_capacity(pdu.json().len() + 160);
    write_object(&mut text, &object);
    if text.len() > MAX_PDU_BYTES {
        return Err(BuildError::TooLarge);
    }
    pdu.with_text(into_text(text), rules).map_err(|_| UNREADABLE)
}

/// Not reached: every constructor has read the text as an object.
const UNREADABLE: BuildError = BuildError::Template("unreadable");

fn check(template: &EventTemplate<'_>, rules: &RoomVersionRules) -> Result<(), BuildError> {
    if template.event_type.len() > 255 {
        return Err(BuildError::TypeTooLong);
    }
    if template.state_key.is_some_and(|key| key.len() > 255) {
        return Err(BuildError::StateKeyTooLong);
    }
    if template.prev_events.len() > MAX_PREV_EVENTS {
        return Err(BuildError::Template("more than 20 prev_events"));
    }
    if template.auth_events.len() > MAX_AUTH_EVENTS {
        return Err(BuildError::Template("more than 10 auth_events"));
    }
    let names_room = !rules.event_format.require_room_create_room_id && template.event_type == "m.room.create";
    if template.room_id.is_none() != names_room {
        return Err(BuildError::Template("room_id"));
    }
    if template.event_id_v1.is_some() != (rules.event_id_format == EventIdFormatVersion::V1) {
        return Err(BuildError::Template("event_id_v1"));
    }
    if nesting(&template.content) >= crate::value::MAX_NESTING {
        return Err(BuildError::TooDeep);
    }
    Ok(())
}

/// How many levels of objects and arrays a content has, itself included.
fn nesting(content: &CanonicalJsonObject) -> usize {
    use ruma::CanonicalJsonValue as V;
    let mut deepest = 1;
    let mut waiting: Vec<(&V, usize)> = content.values().map(|value| (value, 1)).collect();
    while let Some((value, around)) = waiting.pop() {
        match value {
            V::Array(items) => waiting.extend(items.iter().map(|item| (item, around + 1))),
            V::Object(object) => waiting.extend(object.values().map(|item| (item, around + 1))),
            _ => continue,
        }
        deepest = deepest.max(around + 1);
    }
    deepest
}

fn write_signatures(out: &mut Vec<u8>, origin: &ServerName, key: &SigningKey, signed: &[u8]) {
    let signature = key.sign_bytes(signed);
    write_members(out, std::iter::once((origin.as_str(), ())), |out, ()| {
        write_members(out, std::iter::once((key.key_id(), ())), |out, ()| write_string(out, &signature));
    });
}

/// Which of an event's texts.
enum Form<'f> {
    /// What the content hash is taken of.
    Hashed,
    /// What is signed, and what the reference hash is taken of: redacted, without signatures.
    Signed { hashes: &'f str, rules: &'f RoomVersionRules },
    /// The event.
    Whole { hashes: &'f str, signatures: &'f [u8] },
}

/// The texts of an event's members.
struct Members {
    /// In the order of their keys, `hashes` and `signatures` left out; the text of each stands in `texts`.
    ranges: Vec<(&'static str, std::ops::Range<usize>)>,
    texts: Vec<u8>,
    /// The content after redaction.
    redacted_content: Vec<u8>,
}

impl Members {
    fn of(template: &EventTemplate<'_>, rules: &RoomVersionRules) -> Result<Self, BuildError> {
        let mut members = Self {
            ranges: Vec::with_capacity(12),
            texts: Vec::with_capacity(1024),
            redacted_content: redacted(template, rules),
        };
        let auth_events = references(template.auth_events, rules)?;
        let prev_events = references(template.prev_events, rules)?;
        members.add("auth_events", |out| out.extend_from_slice(&auth_events));
        members.add("content", |out| write_ruma_object(out, &template.content));
        members.add("depth", |out| write_integer(out, held(template.depth)));
        if let Some(event_id) = template.event_id_v1 {
            members.add("event_id", |out| write_string(out, event_id.as_str()));
        }
        members.add("origin_server_ts", |out| write_integer(out, held(template.origin_server_ts)));
        members.add("prev_events", |out| out.extend_from_slice(&prev_events));
        if let Some(redacts) = template.redacts
            && !rules.redaction.content_field_redacts
        {
            members.add("redacts", |out| write_string(out, redacts.as_str()));
        }
        if let Some(room_id) = template.room_id {
            members.add("room_id", |out| write_string(out, room_id.as_str()));
        }
        members.add("sender", |out| write_string(out, template.sender.as_str()));
        if let Some(state_key) = template.state_key {
            members.add("state_key", |out| write_string(out, state_key));
        }
        members.add("type", |out| write_string(out, template.event_type));
        Ok(members)
    }

    fn add(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.texts.len();
        write(&mut self.texts);
        self.ranges.push((key, start..self.texts.len()));
    }

    fn text(&self, form: Form<'_>) -> Vec<u8> {
        let (hashes, signatures) = match form {
            Form::Hashed => (None, None),
            Form::Signed { hashes, .. } => (Some(hashes), None),
            Form::Whole { hashes, signatures } => (Some(hashes), Some(signatures)),
        };
        let mut out = Vec::with_capacity(self.texts.len() + 512);
        let mut hashes = hashes;
        let mut signatures = signatures;
        for (key, range) in &self.ranges {
            if *key > "hashes"
                && let Some(hashes) = hashes.take()
            {
                member(&mut out, "hashes", hashes.as_bytes());
            }
            if *key > "signatures"
                && let Some(signatures) = signatures.take()
            {
                member(&mut out, "signatures", signatures);
            }
            let mut text = &self.texts[range.clone()];
            if let Form::Signed { rules, .. } = form {
                if !keeps_top_level(key, &rules.redaction) {
                    continue;
                }
                if *key == "content" {
                    text = &self.redacted_content;
                }
            }
            member(&mut out, key, text);
        }
        out.push(b'}');
        out
    }
}

fn member(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(text);
}

fn held(value: u64) -> i64 {
    i64::try_from(value).map_or(MAX_INTEGER, |value| value.min(MAX_INTEGER))
}

fn redacted(template: &EventTemplate<'_>, rules: &RoomVersionRules) -> Vec<u8> {
    if empties_content(template.event_type) {
        return b"{}".to_vec();
    }
    let kept = redacted_content(template.event_type, &template.content, &rules.redaction);
    let mut out = Vec::with_capacity(128);
    write_members(&mut out, kept.iter().map(|(key, value)| (*key, value.as_ref())), write_ruma_value);
    out
}

/// The list of references in the version's form: identifiers, or in versions 1 and 2 pairs of identifier and hashes.
fn references(list: &[EventReference<'_>], rules: &RoomVersionRules) -> Result<Vec<u8>, BuildError> {
    let mut out = Vec::with_capacity(2 + list.len() * 48);
    out.push(b'[');
    for (at, reference) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if rules.events_reference_format == EventsReferenceFormatVersion::V1 {
            let hash = reference.reference_hash.ok_or(BuildError::Template("reference_hash"))?;
            out.push(b'[');
            write_string(&mut out, reference.event_id.as_str());
            out.extend_from_slice(br#",{"sha256":""#);
            out.extend_from_slice(BASE64.encode(hash).as_bytes());
            out.extend_from_slice(br#""}]"#);
        } else {
            write_string(&mut out, reference.event_id.as_str());
        }
    }
    out.push(b']');
    Ok(out)
}
