//! Signing keys and signed JSON.
//!
//! <https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors>

use std::collections::BTreeMap;

use linkim_federation::canonical::canonical_text;
use linkim_federation::{KeyFileError, PublicKeyMap, SigningKey, VerifyError, canonical_object, verify_json};
use proptest::prelude::*;
use ruma::serde::Base64;

const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

fn spec_key() -> SigningKey {
    SigningKey::parse_file(&format!("ed25519 1 {SEED}\n")).unwrap().remove(0)
}

fn keys_of(entity: &str, key: &SigningKey) -> PublicKeyMap {
    let public = Base64::parse(key.public_key()).unwrap();
    PublicKeyMap::from([(entity.to_owned(), BTreeMap::from([(key.key_id().to_owned(), public)]))])
}

#[test]
fn json_is_signed_as_in_the_specification() {
    for (given, signed) in [
        (
            "{}",
            r#"{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}"#,
        ),
        (
            r#"{"one":1,"two":"Two"}"#,
            r#"{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}"#,
        ),
    ] {
        let mut object = canonical_object(given, true).unwrap();
        spec_key().sign_json(&mut object, "domain");
        assert_eq!(canonical_text(&object), signed);
        verify_json(&object, "domain", &keys_of("domain", &spec_key())).unwrap();
    }
}

#[test]
fn unsigned_and_other_signatures_are_not_covered_and_stay() {
    let mut plain = canonical_object(r#"{"one":1,"two":"Two"}"#, true).unwrap();
    spec_key().sign_json(&mut plain, "domain");
    let mut more = canonical_object(
        r#"{"one":1,"two":"Two","unsigned":{"age":3},"signatures":{"other":{"ed25519:2":"x"}}}"#,
        true,
    )
    .unwrap();
    spec_key().sign_json(&mut more, "domain");
    let text = canonical_text(&more);
    assert!(text.contains(r#""other":{"ed25519:2":"x"}"#) && text.contains(r#""unsigned":{"age":3}"#), "{text}");
    let signature = |object: &ruma::CanonicalJsonObject| {
        let domain = object["signatures"].as_object().unwrap()["domain"].clone();
        domain.as_object().unwrap()["ed25519:1"].clone()
    };
    assert_eq!(signature(&plain), signature(&more));
}

#[test]
fn a_signature_fails_for_each_of_its_reasons() {
    let mut object = canonical_object(r#"{"one":1}"#, true).unwrap();
    let keys = keys_of("domain", &spec_key());
    let unsigned = Err(VerifyError::Unsigned("domain".into()));
    assert_eq!(verify_json(&object, "domain", &keys), unsigned);
    spec_key().sign_json(&mut object, "other");
    assert_eq!(verify_json(&object, "domain", &keys), unsigned);
    spec_key().sign_json(&mut object, "domain");
    assert_eq!(verify_json(&object, "domain", &keys), Ok(()));
    assert_eq!(verify_json(&object, "domain", &PublicKeyMap::new()), Err(VerifyError::UnknownKey("domain".into())));
    object.insert("one".to_owned(), true.into());
    assert_eq!(verify_json(&object, "domain", &keys), Err(VerifyError::WrongSignature("domain".into())));
}

#[test]
fn a_key_file_round_trips_and_holds_several_keys() {
    // The specification's seed ends in bits beyond its 32 bytes; written back they are 0.
    let canonical = SEED.replace("XA1", "XA0");
    let text = format!("ed25519 a_AbCd {SEED}\n\ned25519 old {SEED}=\n");
    let keys = SigningKey::parse_file(&text).unwrap();
    assert_eq!(keys.iter().map(SigningKey::key_id).collect::<Vec<_>>(), ["ed25519:a_AbCd", "ed25519:old"]);
    assert_eq!(keys[0].to_file_line(), format!("ed25519 a_AbCd {canonical}\n"));
    assert_eq!(keys[0].version(), "a_AbCd");
    assert_eq!(keys[0].public_key(), keys[1].public_key());
}

#[test]
fn a_bad_key_file_is_refused_at_its_line() {
    for (text, error) in [
        ("", KeyFileError::Empty),
        ("\n  \n", KeyFileError::Empty),
        ("ed25519 a_1", KeyFileError::Syntax { line: 1 }),
        ("\ned25519 a_1 AAAA more", KeyFileError::Syntax { line: 2 }),
        ("curve25519 a_1 AAAA", KeyFileError::Algorithm { line: 1 }),
        ("ed25519 a_1 AAAA", KeyFileError::Seed { line: 1 }),
        ("ed25519 a_1 ****", KeyFileError::Seed { line: 1 }),
    ] {
        assert_eq!(SigningKey::parse_file(text).unwrap_err(), error, "{text}");
    }
    let text = format!("ed25519 a:1 {SEED}");
    assert_eq!(SigningKey::parse_file(&text).unwrap_err(), KeyFileError::Version { line: 1 });
}

#[test]
fn debug_output_and_errors_keep_the_secret() {
    assert!(!format!("{:?}", spec_key()).contains(&SEED[..8]));
    let error = SigningKey::parse_file(&format!("ed25519 1 {SEED}A")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&SEED[..8]));
}

proptest! {
    #[test]
    fn any_seed_survives_its_file(seed in any::<[u8; 32]>(), version in "[A-Za-z0-9_]{1,20}") {
        let key = SigningKey::generate(seed, &version).unwrap();
        let again = SigningKey::parse_file(&key.to_file_line()).unwrap().remove(0);
        prop_assert_eq!(again.key_id(), key.key_id());
        prop_assert_eq!(again.public_key(), key.public_key());
        prop_assert_eq!(again.sign_bytes(b"x"), key.sign_bytes(b"x"));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), nearly in "(ed25519|x)? ?[a-z:]{0,4} ?[A-Za-z0-9+/=]{0,50}\n?") {
        let _ = SigningKey::parse_file(&text);
        let _ = SigningKey::parse_file(&nearly);
    }
}
