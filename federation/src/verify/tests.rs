//! The specification's vectors for events, and the crate's answers to what it calls wrong.
//!
//! <https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors>. Its events lack fields that every room version
//! requires, so they are put to the parts that hash and sign, below [`Pdu`].

use ruma::room_version_rules::RoomVersionRules;

use super::*;
use crate::signing::SigningKey;

fn spec_key() -> SigningKey {
    SigningKey::parse_file("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap().remove(0)
}

/// Adds the content hash to an event, in the place of its empty `hashes`.
fn with_hash(event: &str) -> (String, String) {
    let object = parse_object(event.as_bytes(), Numbers::Strict).unwrap();
    let hash = BASE64.encode(content_hash(&object));
    let hashes = format!(r#""hashes":{{"sha256":"{hash}"}},"#);
    (event.replacen('{', &format!("{{{hashes}"), 1), hash)
}

fn signature(event: &str) -> String {
    let object = parse_object(event.as_bytes(), Numbers::Strict).unwrap();
    let signed = redacted_text(&object, &RoomVersionRules::V1.redaction, &["signatures", "unsigned"]);
    spec_key().sign_bytes(&signed)
}

#[test]
fn the_minimal_event_is_hashed_and_signed_as_in_the_specification() {
    let (event, hash) = with_hash(
        r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},
        "type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#,
    );
    assert_eq!(hash, "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
    let expected = "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg";
    assert_eq!(signature(&event), expected);
}

#[test]
fn the_event_with_redactable_content_is_hashed_and_signed_as_in_the_specification() {
    let (event, hash) = with_hash(
        r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain",
        "origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},
        "unsigned":{"age_ts":1000000}}"#,
    );
    assert_eq!(hash, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g");
    let expected = "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA";
    assert_eq!(signature(&event), expected);
}
