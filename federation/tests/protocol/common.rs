//! What several test files use: rules by version number, keys, and events of any shape.

use std::collections::BTreeMap;

use linkim_federation::{EventTemplate, PublicKeyMap, RoomVersionRules, SigningKey, rules};
use ruma::serde::Base64;
use ruma::{CanonicalJsonObject, RoomVersionId, UserId};

/// The rules of a version, by its number.
pub(crate) fn version(number: usize) -> &'static RoomVersionRules {
    rules(&RoomVersionId::try_from(number.to_string()).unwrap()).unwrap()
}

/// The key of the server `a.example`.
pub(crate) fn key() -> SigningKey {
    SigningKey::generate([7; 32], "a_test").unwrap()
}

/// The public keys of one server.
pub(crate) fn keys_of(server: &str, key: &SigningKey) -> PublicKeyMap {
    let public = Base64::parse(key.public_key()).unwrap();
    PublicKeyMap::from([(server.to_owned(), BTreeMap::from([(key.key_id().to_owned(), public)]))])
}

/// A content from JSON text.
pub(crate) fn content(json: &str) -> CanonicalJsonObject {
    linkim_federation::canonical_object(json, true).unwrap()
}

/// A message of `@alice:a.example` with nothing before it; versions 1 and 2 still need an `event_id_v1`.
pub(crate) fn template<'a>(content: CanonicalJsonObject) -> EventTemplate<'a> {
    EventTemplate {
        room_id: Some(ruma::room_id!("!room:a.example")),
        sender: <&UserId>::try_from("@alice:a.example").unwrap(),
        event_type: "m.room.message",
        state_key: None,
        content,
        prev_events: &[],
        auth_events: &[],
        depth: 5,
        origin_server_ts: 1_700_000_000_000,
        redacts: None,
        event_id_v1: None,
    }
}
