//! What must hold for any bytes at all: nothing panics, and what is accepted keeps its promises.
//!
//! The fuzz targets call the same functions; here they are driven by random bytes, and by texts that are nearly right.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use linkim_federation::canonical::canonical_text;
use linkim_federation::server_keys::{KeyDocument, KeyQuery, KnownKeys, parse_notary_response};
use linkim_federation::server_name::ParsedServerName;
use linkim_federation::well_known::{MAX_LIFETIME, MIN_LIFETIME, WellKnownResponse, read_well_known, well_known_body};
use linkim_federation::x_matrix::{RequestAuthentication, SignedRequest, XMatrix};
use linkim_federation::{
    Pdu, PublicKeyMap, RoomVersionRules, STABLE_VERSIONS, SigningKey, auth_types, canonical_object, redact,
    required_servers, rules, verify_event, verify_json,
};
use ruma::serde::Base64;
use ruma::{RoomVersionId, ServerName, server_name};

/// Takes the room version off the first byte.
fn version_of(data: &[u8]) -> Option<(&'static RoomVersionRules, &[u8])> {
    let (first, rest) = data.split_first()?;
    let name = STABLE_VERSIONS[usize::from(*first) % STABLE_VERSIONS.len()];
    Some((rules(&RoomVersionId::try_from(name).ok()?)?, rest))
}

/// An event, of the version that the first byte names.
pub(crate) fn pdu(data: &[u8]) {
    let Some((rules, json)) = version_of(data) else {
        return;
    };
    let Ok(pdu) = Pdu::from_peer(json, rules) else {
        return;
    };
    assert!(pdu.json().len() <= 65_536);
    let again = Pdu::from_peer(pdu.json().as_bytes(), rules).expect("what was accepted is accepted again");
    assert_eq!(again.json(), pdu.json());
    assert_eq!(again.event_id(), pdu.event_id());
    let stored = Pdu::from_trusted(pdu.event_id().to_owned(), pdu.json(), false).expect("and can be stored");
    assert_eq!(stored.json(), pdu.json());
    let redacted = redact(&pdu, rules);
    assert_eq!(redacted.reference_hash(rules), pdu.reference_hash(rules), "redaction keeps the identifier");
    assert_eq!(redact(&redacted, rules).json(), redacted.json());
    let event_type = pdu.event_type().to_string();
    let _ = auth_types(&event_type, pdu.sender(), pdu.state_key(), pdu.content(), rules);
    let _ = linkim_federation::check_auth_events(rules, &pdu, |_| None);
    let _ = linkim_federation::check_against_state(rules, &pdu, |_, _| None);
    let _ = required_servers(&pdu, rules);
}

/// Canonical JSON.
pub(crate) fn canonical_json(data: &[u8]) {
    for strict in [true, false] {
        let Ok(object) = canonical_object(data, strict) else {
            continue;
        };
        let text = canonical_text(&object);
        let again = canonical_object(text.as_str(), true).expect("canonical text is strict JSON");
        assert_eq!(again, object);
        assert_eq!(canonical_text(&again), text);
    }
}

/// Signatures of an event and of another object, none of which can be right: nobody has the keys' secrets.
pub(crate) fn signatures(data: &[u8]) {
    let Some((rules, json)) = version_of(data) else {
        return;
    };
    let Ok(key) = SigningKey::generate([1; 32], "1") else {
        return;
    };
    let Ok(public) = Base64::parse(key.public_key()) else {
        return;
    };
    let own = BTreeMap::from([("ed25519:1".to_owned(), public), ("ed25519:2".to_owned(), Base64::new(vec![1, 2]))]);
    let keys = PublicKeyMap::from([("a.example".to_owned(), own.clone()), ("b".to_owned(), own)]);
    if let Ok(pdu) = Pdu::from_peer(json, rules) {
        let nobody = required_servers(&pdu, rules).is_ok_and(|servers| servers.is_empty());
        assert!(nobody || verify_event(&pdu, &keys, rules).is_err());
    }
    if let Ok(object) = canonical_object(json, false) {
        assert!(verify_json(&object, "a.example", &keys).is_err());
    }
}

/// A file of signing keys.
pub(crate) fn signing_key_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(keys) = SigningKey::parse_file(&text) else {
        return;
    };
    for key in keys {
        let again = SigningKey::parse_file(&key.to_file_line()).expect("its own line can be read");
        assert_eq!(again[0].public_key(), key.public_key());
        assert_eq!(again[0].key_id(), key.key_id());
    }
}

/// A server name.
pub(crate) fn server_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(parsed) = ParsedServerName::parse(text) else {
        return;
    };
    assert_eq!(parsed.name().as_str(), text);
    assert!(text.starts_with(parsed.hostname()));
    assert_eq!(text.len() > parsed.hostname().len(), parsed.port().is_some());
}

/// The value of an `Authorization` header, a zero byte, and the body of the request.
pub(crate) fn authorization(data: &[u8]) {
    let (value, body) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    if let Ok(header) = XMatrix::parse(value) {
        let again = header.to_header_value();
        assert_eq!(XMatrix::parse(again.as_bytes()).as_ref(), Ok(&header));
        let authentication = RequestAuthentication::from_headers([value]).expect("one header is enough");
        assert_eq!(authentication.origin(), header.origin);
    }
    let content = body.get(1..);
    let request = SignedRequest { method: "PUT", uri: "/_matrix/x?%00", content };
    let (origin, destination) = (server_name!("a.example"), server_name!("b.example"));
    let Ok(text) = request.signed_text(origin, destination) else {
        return;
    };
    if let Some(read) = content.and_then(|content| canonical_object(content, true).ok()) {
        let object = canonical_object(text.as_slice(), false).expect("what is signed is canonical JSON");
        assert_eq!(canonical_text(&object).as_bytes(), text);
        assert_eq!(object["content"], ruma::CanonicalJsonValue::Object(read));
    }
}

/// The headers of a well-known document, one a line, an empty line, and its body.
pub(crate) fn well_known(data: &[u8]) {
    let mut lines = data.splitn(6, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (first, second, expires, date, age, body) = (next(), next(), next(), next(), next(), next());
    let cache_control = [first, second];
    let response = WellKnownResponse {
        status: 200,
        cache_control: &cache_control,
        expires: Some(expires),
        date: Some(date),
        age: Some(age),
        body,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let read = read_well_known(Some(&response), now, 3);
    assert!((MIN_LIFETIME..=MAX_LIFETIME).contains(&read.lifetime));
    if let Ok(name) = read.delegated {
        let body = well_known_body(&name);
        let again = WellKnownResponse { body: body.as_bytes(), ..response };
        assert_eq!(read_well_known(Some(&again), now, 3).delegated, Ok(name));
    }
}

/// A key document, a notary's response, and a query.
pub(crate) fn key_document(data: &[u8]) {
    if let Ok(query) = KeyQuery::parse(data) {
        assert_eq!(KeyQuery::parse(query.to_json().as_bytes()), Ok(query));
    }
    let server = server_name!("a.example");
    // What is nearly right is signed, so that it gets further.
    let mut texts = vec![data.to_vec()];
    if let (Ok(mut object), Ok(key)) = (canonical_object(data, true), SigningKey::generate([1; 32], "1")) {
        key.sign_json(&mut object, "a.example");
        texts.push(canonical_text(&object).into_bytes());
    }
    let notary = PublicKeyMap::new();
    for text in texts {
        let _ = parse_notary_response(&text, server, &notary, |_: &ServerName| true);
        let Ok(document) = KeyDocument::parse(&text, server) else {
            continue;
        };
        assert_eq!(KeyDocument::parse(document.json().as_bytes(), server).as_ref(), Ok(&document));
        let mut known = KnownKeys::default();
        known.merge(&document, 1_000_000);
        let once = known.clone();
        assert!(!known.merge(&document, 1_000_000), "merging is idempotent");
        assert_eq!(known, once);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const EVENT: &str = r#"{"auth_events":["$auth"],"content":{"membership":"invite","third_party_invite":{"signed":{"mxid":"@b:b","token":"t","signatures":{}}}},"depth":12,"event_id":"$e:b","hashes":{"sha256":"x"},"origin_server_ts":5,"prev_events":["$prev"],"room_id":"!r:a.example","sender":"@a:a.example","signatures":{"a.example":{"ed25519:1":"x"}},"state_key":"@b:b","type":"m.room.member"}"#;

    fn all(data: &[u8]) {
        super::pdu(data);
        super::canonical_json(data);
        super::signatures(data);
        super::signing_key_file(data);
        super::server_name(data);
        super::authorization(data);
        super::well_known(data);
        super::key_document(data);
    }

    /// A text with some pieces of it replaced.
    fn cut(text: &str, cuts: &[(prop::sample::Index, usize, String)]) -> String {
        let mut text = text.to_owned();
        for (at, length, instead) in cuts {
            let at = at.index(text.len());
            text.replace_range(at..(at + length).min(text.len()), instead);
        }
        text
    }

    const HEADER: &str = "X-Matrix origin=\"a.example:80\",destination=\"[::1]\",key=\"ed25519:1\",sig=\"ABCDEF\"\0{\"b\":[1,{\"c\":2.5}],\"a\":\"x\"}";
    const WELL_KNOWN: &str = "max-age=100\npublic, no-store\nSun, 06 Nov 1994 08:49:37 GMT\nSun, 06 Nov 1994 08:49:37 GMT\n12\n{\"m.server\":\"b.example:443\"}";
    const QUERY: &str = r#"{"server_keys":{"a.example":{"ed25519:1":{"minimum_valid_until_ts":5},"x":{}}}}"#;
    const KEYS: &str = r#"{"server_name":"a.example","verify_keys":{"ed25519:1":{"key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"}},"old_verify_keys":{"ed25519:2":{"key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w","expired_ts":1}},"valid_until_ts":1652262000000}"#;

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            all(&data);
        }

        /// What another server says before it sends an event, with pieces replaced at random.
        #[test]
        fn anything_like_what_a_server_says_is_survived(
            text in prop::sample::select(vec![HEADER, WELL_KNOWN, KEYS, QUERY, "[1234:5678::abcd]:5678", "1.2.3.4:1234"]),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_usize, "[\"\\[\\]{}:,=a-z0-9 .\\\\\n]{0,4}"), 0..3),
        ) {
            all(cut(text, &cuts).as_bytes());
        }

        /// Pieces of events, put together at random.
        #[test]
        fn anything_like_an_event_is_survived(
            version in any::<u8>(),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..30_usize, "[\"\\[\\]{}:,0-9a-z$@!.\\\\]{0,6}"), 0..4),
        ) {
            let text = cut(EVENT, &cuts);
            let mut data = vec![version];
            data.extend_from_slice(text.as_bytes());
            all(&data);
            all(text.as_bytes());
        }
    }
}
