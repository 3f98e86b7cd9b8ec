//! What must hold for any bytes at all: nothing panics, and what is accepted keeps its promises.
//!
//! The fuzz targets call the same functions; here they are driven by random bytes, and by texts that are nearly right.

use std::collections::BTreeMap;

use linkim_federation::canonical::canonical_text;
use linkim_federation::{
    AuthDag, Pdu, PublicKeyMap, RoomVersionRules, STABLE_VERSIONS, SigningKey, auth_types,
    canonical_object, redact, required_servers, rules, verify_event, verify_json,
};
use ruma::RoomVersionId;
use ruma::serde::Base64;

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
    let again =
        Pdu::from_peer(pdu.json().as_bytes(), rules).expect("what was accepted is accepted again");
    assert_eq!(again.json(), pdu.json());
    assert_eq!(again.event_id(), pdu.event_id());
    let stored =
        Pdu::from_trusted(pdu.event_id().to_owned(), pdu.json(), false).expect("and can be stored");
    assert_eq!(stored.json(), pdu.json());
    let redacted = redact(&pdu, rules);
    assert_eq!(
        redacted.reference_hash(rules),
        pdu.reference_hash(rules),
        "redaction keeps the identifier"
    );
    assert_eq!(redact(&redacted, rules).json(), redacted.json());
    let event_type = pdu.event_type().to_string();
    let _ = auth_types(
        &event_type,
        pdu.sender(),
        pdu.state_key(),
        pdu.content(),
        rules,
    );
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
    let own = BTreeMap::from([
        ("ed25519:1".to_owned(), public),
        ("ed25519:2".to_owned(), Base64::new(vec![1, 2])),
    ]);
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

/// The stored chunks of an auth DAG.
pub(crate) fn auth_dag(data: &[u8]) {
    let mut dag = AuthDag::new();
    for chunk in data.chunks(2048) {
        let before = dag.clone();
        if dag.push_chunk(chunk).is_err() {
            assert_eq!(dag, before);
            break;
        }
    }
    let all: Vec<u32> = (0..dag.len() as u32).collect();
    let _ = dag.auth_chain(&all);
    let _ = dag.conflicted_subgraph(&all);
    let _ = dag.auth_difference(&[all.clone(), all.into_iter().step_by(3).collect()]);
    let chunks: Vec<Vec<u8>> = (0..dag.chunk_count())
        .map(|chunk| dag.encode_chunk(chunk))
        .collect();
    assert_eq!(AuthDag::decode(chunks.iter().map(Vec::as_slice)), Ok(dag));
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
        super::auth_dag(data);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            all(&data);
        }

        /// Pieces of events, put together at random.
        #[test]
        fn anything_like_an_event_is_survived(
            version in any::<u8>(),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..30_usize, "[\"\\[\\]{}:,0-9a-z$@!.\\\\]{0,6}"), 0..4),
        ) {
            let mut text = EVENT.to_owned();
            for (at, length, instead) in cuts {
                let at = at.index(text.len());
                text.replace_range(at..(at + length).min(text.len()), &instead);
            }
            let mut data = vec![version];
            data.extend_from_slice(text.as_bytes());
            all(&data);
            all(text.as_bytes());
        }
    }
}
