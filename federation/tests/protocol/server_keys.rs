//! Key documents: ours, those of others, and what is known of a server's keys.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>. The expected signature was made by the
//! appendices' Python code, with the key of their test vectors and another implementation of ed25519.

use std::collections::BTreeMap;

use linkim_federation::server_keys::{
    KeyDocument, KeyDocumentError, KeyQuery, KeyQueryError, KnownKey, KnownKeys, MAX_KEY_DOCUMENT_LENGTH,
    MAX_KNOWN_KEYS, MAX_NOTARY_DOCUMENTS, MAX_NOTARY_RESPONSE_LENGTH, MAX_QUERY_LENGTH, MAX_QUERY_SERVERS, NotaryError,
    OldVerifyKey, Validity, build_key_document, countersign, notary_response, parse_notary_response,
};
use linkim_federation::server_name::ServerNameError;
use linkim_federation::{PublicKeyMap, SigningKey, VerifyError, canonical_object, verify_json};
use proptest::prelude::*;
use ruma::serde::Base64;
use ruma::{ServerName, server_name};
use serde_json::{Value, json};

use crate::common::{keys_of, version};

const DAY: u64 = 24 * 3600 * 1000;
const EXPIRED: u64 = 1_532_645_052_628;
const VALID_UNTIL: u64 = 1_652_262_000_000;
const SIGNATURE: &str = "Ucwv4HIgp+kivD1nKMpdkSQIlDfc4y6dF17FXkD/61pcQfe6RHHS+uBVdJ/4TPXpbV3Rv3eaRcolbxjMXemyCg";

fn domain() -> &'static ServerName {
    server_name!("domain")
}

fn spec_key() -> SigningKey {
    SigningKey::parse_file("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap().remove(0)
}

fn key(number: u8) -> SigningKey {
    SigningKey::generate([number; 32], &format!("k{number}")).unwrap()
}

fn old(number: u8, expired_ts: u64) -> OldVerifyKey {
    OldVerifyKey { key: Base64::new(vec![number; 32]), expired_ts }
}

fn ours() -> KeyDocument {
    let old_keys = BTreeMap::from([("ed25519:0ldk3y".to_owned(), old(9, EXPIRED))]);
    build_key_document(domain(), &[spec_key()], &old_keys, VALID_UNTIL)
}

/// Our document as JSON, changed, without its signatures.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut json: Value = serde_json::from_str(ours().json()).unwrap();
    json.as_object_mut().unwrap().remove("signatures");
    change(&mut json);
    json
}

/// The text of a document that these keys have signed for `domain`.
fn signed(json: &Value, keys: &[&SigningKey]) -> String {
    let mut object = canonical_object(json.to_string().as_str(), true).unwrap();
    for key in keys {
        key.sign_json(&mut object, "domain");
    }
    linkim_federation::canonical::canonical_text(&object)
}

fn parse(text: &str) -> Result<KeyDocument, KeyDocumentError> {
    KeyDocument::parse(text.as_bytes(), domain())
}

#[test]
fn our_document_is_signed_as_by_the_code_of_the_specification() {
    let json: Value = serde_json::from_str(ours().json()).unwrap();
    let expected = json!({
        "server_name": "domain",
        "verify_keys": {"ed25519:1": {"key": "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"}},
        "old_verify_keys": {
            "ed25519:0ldk3y": {"expired_ts": EXPIRED, "key": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk"}
        },
        "valid_until_ts": VALID_UNTIL,
        "signatures": {"domain": {"ed25519:1": SIGNATURE}},
    });
    assert_eq!(json, expected);
    assert_eq!(parse(ours().json()), Ok(ours()));
}

#[test]
fn each_key_signs_and_a_key_that_is_used_is_not_old() {
    let old_keys = BTreeMap::from([("ed25519:k1".to_owned(), old(9, EXPIRED)), ("ed25519:k3".to_owned(), old(8, 1))]);
    let document = build_key_document(domain(), &[key(1), key(2)], &old_keys, VALID_UNTIL);
    let object = canonical_object(document.json(), true).unwrap();
    for key in [key(1), key(2)] {
        assert_eq!(verify_json(&object, "domain", &keys_of("domain", &key)), Ok(()));
    }
    assert_eq!(document.old_verify_keys().keys().collect::<Vec<_>>(), ["ed25519:k3"]);
    assert_eq!(parse(document.json()), Ok(document));
    // A time that JSON cannot say is the last that it can.
    let for_ever = build_key_document(domain(), &[key(1)], &BTreeMap::new(), u64::MAX);
    assert_eq!(parse(for_ever.json()).unwrap().valid_until_ts(), (1 << 53) - 1);
}

#[test]
fn a_document_must_be_signed_by_one_of_its_keys() {
    let two_keys = changed(|json| json["verify_keys"]["ed25519:k2"] = json!({"key": key(2).public_key()}));
    for keys in [vec![&spec_key()], vec![&key(2)], vec![&key(2), &key(3)]] {
        assert_eq!(parse(&signed(&two_keys, &keys)).unwrap().verify_keys().len(), 2);
    }
    let not_signed = |error| Err(KeyDocumentError::NotSelfSigned(error));
    let unknown = VerifyError::UnknownKey("domain".to_owned());
    assert_eq!(parse(&signed(&two_keys, &[])), not_signed(VerifyError::Unsigned("domain".to_owned())));
    assert_eq!(parse(&signed(&two_keys, &[&key(3)])), not_signed(unknown.clone()));
    // An old key is for events only.
    let retired = changed(|json| {
        json["old_verify_keys"]["ed25519:k2"] = json!({"key": key(2).public_key(), "expired_ts": 1});
    });
    assert_eq!(parse(&signed(&retired, &[&key(2)])), not_signed(unknown.clone()));
    let without_keys = changed(|json| json["verify_keys"] = json!({}));
    assert_eq!(parse(&signed(&without_keys, &[&spec_key()])), not_signed(unknown));
    let longer = ours().json().replace(&VALID_UNTIL.to_string(), "1752262000000");
    assert_eq!(parse(&longer), not_signed(VerifyError::WrongSignature("domain".to_owned())));
}

#[test]
fn keys_that_are_of_no_use_to_us_are_left_out() {
    let document = changed(|json| {
        json["verify_keys"]["curve25519:a"] = json!({"key": "AAAA"});
        json["verify_keys"]["ed25519:a-b"] = json!({"key": "AAAA"});
        json["old_verify_keys"]["rsa:1"] = json!({"key": "AAAA", "expired_ts": 5});
        json["unknown"] = json!({"a": [1, null]});
    });
    let document = parse(&signed(&document, &[&spec_key()])).unwrap();
    assert_eq!(document.verify_keys().keys().collect::<Vec<_>>(), ["ed25519:1"]);
    assert_eq!(document.old_verify_keys().keys().collect::<Vec<_>>(), ["ed25519:0ldk3y"]);
    assert!(document.json().contains("\"unknown\":{\"a\":[1,null]}"));
    let no_old = changed(|json| drop(json.as_object_mut().unwrap().remove("old_verify_keys")));
    assert!(parse(&signed(&no_old, &[&spec_key()])).unwrap().old_verify_keys().is_empty());
}

#[test]
fn a_malformed_document_is_refused_with_its_reason() {
    type Change = fn(&mut Value);
    let field = KeyDocumentError::Field;
    let bad_key = |key_id: &str| KeyDocumentError::Key(key_id.to_owned());
    let changes: [(Change, KeyDocumentError); 16] = [
        (|json| json["server_name"] = json!("other"), KeyDocumentError::OtherServer),
        (|json| json["server_name"] = json!(1), field("server_name")),
        (|json| json["server_name"] = json!("a b"), field("server_name")),
        (|json| json["verify_keys"] = json!([]), field("verify_keys")),
        (|json| json["verify_keys"]["ed25519:1"] = json!("key"), field("verify_keys")),
        (|json| json["verify_keys"]["ed25519:1"] = json!({}), field("verify_keys")),
        (|json| json["verify_keys"]["ed25519:1"]["key"] = json!(1), field("verify_keys")),
        (|json| json["verify_keys"]["ed25519:1"]["key"] = json!("AAAA"), bad_key("ed25519:1")),
        (|json| json["verify_keys"]["ed25519:1"]["key"] = json!("?"), bad_key("ed25519:1")),
        (|json| json["old_verify_keys"] = json!(null), field("old_verify_keys")),
        (|json| json["old_verify_keys"]["ed25519:0ldk3y"]["expired_ts"] = json!("1"), field("old_verify_keys")),
        (|json| json["old_verify_keys"]["ed25519:0ldk3y"]["key"] = json!("AAAA"), bad_key("ed25519:0ldk3y")),
        (|json| json["valid_until_ts"] = json!(null), field("valid_until_ts")),
        (|json| json["valid_until_ts"] = json!(-1), field("valid_until_ts")),
        (|json| json["valid_until_ts"] = json!("1"), field("valid_until_ts")),
        (
            |json| {
                for at in 0..255 {
                    json["verify_keys"][format!("x:{at}")] = json!({"key": ""});
                }
            },
            KeyDocumentError::TooManyKeys,
        ),
    ];
    for (change, error) in changes {
        assert_eq!(parse(&signed(&changed(change), &[&spec_key()])), Err(error));
    }
    for text in ["", "[]", "{", "{}{}"] {
        assert!(matches!(parse(text), Err(KeyDocumentError::Json(_))), "{text}");
    }
    assert_eq!(parse("{}"), Err(field("server_name")));
    let padded = |length: usize| format!("{}{}", ours().json(), " ".repeat(length - ours().json().len()));
    assert!(parse(&padded(MAX_KEY_DOCUMENT_LENGTH)).is_ok());
    assert_eq!(parse(&padded(MAX_KEY_DOCUMENT_LENGTH + 1)), Err(KeyDocumentError::TooLong));
}

#[test]
fn validity_ends_seven_days_on_at_most_and_half_of_it_is_when_to_ask_again() {
    let received = VALID_UNTIL - 2 * DAY;
    assert_eq!(ours().valid_until_when_received(received), VALID_UNTIL);
    assert_eq!(ours().refresh_ts(received), VALID_UNTIL - DAY);
    let received = VALID_UNTIL - 8 * DAY;
    assert_eq!(ours().valid_until_when_received(received), VALID_UNTIL - DAY);
    assert_eq!(ours().refresh_ts(received), received + 7 * DAY / 2);
    // One that has expired is not asked for again at once.
    assert_eq!(ours().valid_until_when_received(VALID_UNTIL + 5), VALID_UNTIL);
    assert_eq!(ours().refresh_ts(VALID_UNTIL + 5), VALID_UNTIL + 5 + 60_000);
    assert_eq!(ours().valid_until_when_received(u64::MAX), VALID_UNTIL);
}

#[test]
fn keys_are_good_for_what_the_room_version_says() {
    let mut known = KnownKeys::default();
    assert!(known.merge(&ours(), VALID_UNTIL - DAY));
    let ids = |keys: ruma::signatures::PublicKeySet| keys.into_keys().collect::<Vec<_>>();
    let (both, current) = (["ed25519:0ldk3y", "ed25519:1"], ["ed25519:1"]);
    for number in 1..=4 {
        assert_eq!(ids(known.for_event(u64::MAX, version(number))), both, "version {number}");
    }
    for number in 5..=12 {
        assert_eq!(ids(known.for_event(EXPIRED, version(number))), both, "version {number}");
        assert_eq!(ids(known.for_event(EXPIRED + 1, version(number))), current, "version {number}");
        assert_eq!(ids(known.for_event(VALID_UNTIL, version(number))), current, "version {number}");
        assert!(known.for_event(VALID_UNTIL + 1, version(number)).is_empty(), "version {number}");
    }
    assert_eq!(ids(known.for_request(VALID_UNTIL)), current);
    assert!(known.for_request(VALID_UNTIL + 1).is_empty());
    assert_eq!(ids(known.for_request(0)), current, "an old key signs no requests, at no time");
}

fn document(keys: &[u8], old_keys: &[(u8, u64)], valid_until: u64) -> KeyDocument {
    let keys: Vec<SigningKey> = keys.iter().copied().map(key).collect();
    let old_keys = old_keys.iter().map(|(number, expired_ts)| {
        let retired = OldVerifyKey { key: key(*number).public_key_base64(), expired_ts: *expired_ts };
        (key(*number).key_id().to_owned(), retired)
    });
    build_key_document(domain(), &keys, &old_keys.collect(), valid_until)
}

#[test]
fn a_new_document_joins_what_is_known() {
    let mut known = KnownKeys::default();
    known.merge(&document(&[1, 2], &[], 1_000), 0);
    // 1 is retired, 2 is not mentioned, 3 is new.
    assert!(known.merge(&document(&[3], &[(1, 900)], 2_000), 500));
    let validity = |known: &KnownKeys, number: u8| known.get(key(number).key_id()).unwrap().validity;
    assert_eq!(validity(&known, 1), Validity::Expired(900));
    assert_eq!(validity(&known, 2), Validity::Until(1_000));
    assert_eq!(validity(&known, 3), Validity::Until(2_000));
    // An older document, by way of a notary, brings nothing back and shortens nothing.
    assert!(!known.merge(&document(&[1, 3], &[], 1_500), 600));
    assert!(known.merge(&document(&[3], &[(1, 800)], 3_000), 700));
    assert_eq!((validity(&known, 1), validity(&known, 3)), (Validity::Expired(800), Validity::Until(3_000)));
    // The cap holds at each receipt, and moves on with the next.
    known.merge(&document(&[3], &[], u64::MAX), 1_000);
    assert_eq!(validity(&known, 3), Validity::Until(1_000 + 7 * DAY));
    let stored: Vec<(String, KnownKey)> = known.iter().map(|(id, known)| (id.to_owned(), known.clone())).collect();
    assert_eq!(KnownKeys::from_stored(stored), known);
}

#[test]
fn another_key_under_a_known_identifier_counts_only_if_it_is_signed_with() {
    let mut known = KnownKeys::default();
    let first = build_key_document(domain(), &[key(1)], &BTreeMap::new(), 1_000);
    known.merge(&first, 0);
    let replaced = SigningKey::generate([99; 32], "k1").unwrap();
    let second = build_key_document(domain(), std::slice::from_ref(&replaced), &BTreeMap::new(), 2_000);
    let retired =
        BTreeMap::from([("ed25519:k1".to_owned(), OldVerifyKey { key: replaced.public_key_base64(), expired_ts: 5 })]);
    assert!(!known.merge(&build_key_document(domain(), &[], &retired, 2_000), 0));
    assert!(known.merge(&second, 0));
    let expected = KnownKey { key: replaced.public_key_base64(), validity: Validity::Until(2_000) };
    assert_eq!(known.get("ed25519:k1"), Some(&expected));
}

#[test]
fn memory_of_one_server_is_bounded() {
    let stored = (0..MAX_KNOWN_KEYS as u64).map(|at| {
        let known = KnownKey { key: Base64::new(vec![0; 32]), validity: Validity::Expired(at) };
        (format!("ed25519:s{at}"), known)
    });
    let mut known = KnownKeys::from_stored(stored);
    known.merge(&document(&[1, 2], &[], 10_000), 0);
    assert_eq!(known.iter().count(), MAX_KNOWN_KEYS);
    assert_eq!((known.get("ed25519:s0"), known.get("ed25519:s1")), (None, None));
    assert!(known.get("ed25519:s2").is_some() && known.get("ed25519:k1").is_some());
}

proptest! {
    /// Whatever the order in which documents come, by notaries or from the server, the same is known in the end.
    #[test]
    fn the_order_of_documents_does_not_matter(
        documents in proptest::collection::vec(
            (prop::sample::subsequence(vec![1_u8, 2, 3], 1..=3), proptest::collection::vec((4..6_u8, 0..9_u64), 0..2), 0..9_u64),
            1..4,
        ),
        retired in prop::sample::subsequence(vec![(1_u8, 3_u64), (2, 4)], 0..=2),
    ) {
        let mut documents: Vec<KeyDocument> =
            documents.iter().map(|(keys, old_keys, until)| document(keys, old_keys, *until)).collect();
        documents.push(document(&[3], &retired, 10));
        let merged = |documents: &mut dyn Iterator<Item = &KeyDocument>| {
            let mut known = KnownKeys::default();
            for document in documents {
                known.merge(document, 0);
            }
            known
        };
        prop_assert_eq!(merged(&mut documents.iter()), merged(&mut documents.iter().rev()));
    }
}

fn notary() -> &'static ServerName {
    server_name!("notary.server.com")
}

#[test]
fn a_notary_adds_its_signature_and_both_are_checked() {
    let text = notary_response([&ours(), &document(&[1], &[], 5)], notary(), &key(7));
    let notary_keys = keys_of("notary.server.com", &key(7));
    let read = |text: &str, keys: &PublicKeyMap| {
        parse_notary_response(text.as_bytes(), notary(), keys, |server| server == domain()).unwrap()
    };
    let documents = read(&text, &notary_keys);
    assert_eq!(documents.len(), 2);
    let first = documents[0].as_ref().unwrap();
    assert_eq!((first.verify_keys(), first.old_verify_keys()), (ours().verify_keys(), ours().old_verify_keys()));
    let signatures: Value = serde_json::from_str(first.json()).unwrap();
    assert_eq!(signatures["signatures"]["domain"]["ed25519:1"], SIGNATURE);
    assert!(signatures["signatures"]["notary.server.com"]["ed25519:k7"].is_string());
    // A second notary, and the same one with a second key, add to that.
    let more = countersign(first, notary(), &key(8));
    let more: Value = serde_json::from_str(&more).unwrap();
    assert_eq!(more["signatures"]["notary.server.com"].as_object().unwrap().len(), 2);
    // A notary may be asked for its own keys.
    let own: Value = serde_json::from_str(&countersign(&ours(), domain(), &key(8))).unwrap();
    assert_eq!(own["signatures"]["domain"].as_object().unwrap().len(), 2);

    let unknown = VerifyError::UnknownKey("notary.server.com".to_owned());
    let strangers = keys_of("notary.server.com", &key(9));
    assert_eq!(read(&text, &strangers)[0], Err(KeyDocumentError::NotCountersigned(unknown)));
    let direct = format!("{{\"server_keys\":[{}]}}", ours().json());
    let unsigned = VerifyError::Unsigned("notary.server.com".to_owned());
    assert_eq!(read(&direct, &notary_keys), [Err(KeyDocumentError::NotCountersigned(unsigned))]);
}

#[test]
fn a_bad_document_in_a_response_leaves_the_others() {
    let mut forged = canonical_object(changed(|_| {}).to_string().as_str(), true).unwrap();
    key(7).sign_json(&mut forged, "notary.server.com");
    let forged = linkim_federation::canonical::canonical_text(&forged);
    let other = build_key_document(server_name!("other"), &[key(1)], &BTreeMap::new(), 5);
    let good = countersign(&ours(), notary(), &key(7));
    let text = format!("{{\"server_keys\":[1,{forged},{},{good}],\"x\":1}}", countersign(&other, notary(), &key(7)));
    let keys = keys_of("notary.server.com", &key(7));
    let read = parse_notary_response(text.as_bytes(), notary(), &keys, |server| server == domain()).unwrap();
    assert!(matches!(read[0], Err(KeyDocumentError::Json(_))));
    assert!(matches!(read[1], Err(KeyDocumentError::NotSelfSigned(_))));
    assert_eq!(read[2], Err(KeyDocumentError::OtherServer));
    assert_eq!(read[3].as_ref().unwrap().verify_keys(), ours().verify_keys());
    assert_eq!(read.len(), 4);
}

#[test]
fn a_response_that_is_none_is_refused_whole() {
    let read = |text: &str| parse_notary_response(text.as_bytes(), notary(), &PublicKeyMap::new(), |_| true);
    assert_eq!(read("{\"server_keys\":[]}"), Ok(vec![]));
    for text in ["", "[]", "{}", "{\"server_keys\":{}}", "{\"server_keys\":[}", "{\"server_keys\":[]}x"] {
        assert!(matches!(read(text), Err(NotaryError::Json(_))), "{text}");
    }
    let many = format!("{{\"server_keys\":[0{}]}}", ",0".repeat(MAX_NOTARY_DOCUMENTS));
    assert_eq!(read(&many), Err(NotaryError::TooMany));
    assert_eq!(read(&" ".repeat(MAX_NOTARY_RESPONSE_LENGTH + 1)), Err(NotaryError::TooLong));
}

#[test]
fn the_query_of_the_specification_is_read_and_written() {
    let text = r#"{"server_keys":{"example.org":{"ed25519:abc123":{"minimum_valid_until_ts":1234567890}}}}"#;
    let query = KeyQuery::parse(text.as_bytes()).unwrap();
    let (asked, other) = (server_name!("example.org"), server_name!("other"));
    assert_eq!(query.server_keys[asked]["ed25519:abc123"], Some(1_234_567_890));
    assert_eq!(query.to_json(), text);
    assert_eq!(query.minimum_valid_until_ts(asked, 5), 1_234_567_890);
    assert_eq!(query.minimum_valid_until_ts(other, 5), 5);
    let text = r#"{"server_keys":{"a":{},"b":{"ed25519:1":{},"ed25519:2":{"minimum_valid_until_ts":3}}}}"#;
    let query = KeyQuery::parse(text.as_bytes()).unwrap();
    assert_eq!(query.to_json(), text);
    let minimum = |server: &str, now| query.minimum_valid_until_ts(<&ServerName>::try_from(server).unwrap(), now);
    assert_eq!((minimum("a", 7), minimum("b", 7), minimum("b", 2)), (7, 7, 3));
}

#[test]
fn a_malformed_query_is_refused_with_its_reason() {
    let read = |text: &str| KeyQuery::parse(text.as_bytes());
    let (field, minimum) = (KeyQueryError::Field("server_keys"), KeyQueryError::Field("minimum_valid_until_ts"));
    for (text, error) in [
        ("{}", &field),
        (r#"{"server_keys":[]}"#, &field),
        (r#"{"server_keys":{"a":[]}}"#, &field),
        (r#"{"server_keys":{"a":{"ed25519:1":5}}}"#, &field),
        (r#"{"server_keys":{"a":{"ed25519:1":{"minimum_valid_until_ts":"5"}}}}"#, &minimum),
        (r#"{"server_keys":{"a":{"ed25519:1":{"minimum_valid_until_ts":-5}}}}"#, &minimum),
        (r#"{"server_keys":{"a":{"ed25519:1":{"minimum_valid_until_ts":null}}}}"#, &minimum),
        (r#"{"server_keys":{"a/b":{}}}"#, &KeyQueryError::ServerName("a/b".to_owned(), ServerNameError::Character)),
    ] {
        assert_eq!(read(text).as_ref(), Err(error), "{text}");
    }
    assert!(matches!(read("[]"), Err(KeyQueryError::Json(_))));
    let servers = |count| {
        let servers: Vec<String> = (0..count).map(|at| format!("\"s{at}\":{{}}")).collect();
        format!("{{\"server_keys\":{{{}}}}}", servers.join(","))
    };
    assert_eq!(read(&servers(MAX_QUERY_SERVERS)).unwrap().server_keys.len(), MAX_QUERY_SERVERS);
    assert_eq!(read(&servers(MAX_QUERY_SERVERS + 1)), Err(KeyQueryError::TooManyServers));
    assert_eq!(read(&" ".repeat(MAX_QUERY_LENGTH + 1)), Err(KeyQueryError::TooLong));
}
