//! The keys that we know of a server: what its documents have said so far, and what each key is good for.

use std::collections::BTreeMap;

use ruma::room_version_rules::RoomVersionRules;
use ruma::serde::Base64;
use ruma::signatures::PublicKeySet;

use super::KeyDocument;

/// How many keys of one server are remembered. Of more, those that were valid the least long ago stay.
pub const MAX_KNOWN_KEYS: usize = 512;

/// For how long a key is, or was, valid. In milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Its server signs with it; the document that says so is valid until then.
    Until(u64),
    /// Its server stopped signing with it then.
    Expired(u64),
}

impl Validity {
    /// The last moment that the key is known to be valid at.
    pub fn end_ts(self) -> u64 {
        match self {
            Validity::Until(end) | Validity::Expired(end) => end,
        }
    }
}

/// A public key of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub key: Base64,
    /// For how long it is valid.
    pub validity: Validity,
}

impl KnownKey {
    /// Whether an event of a room with these rules, made at `origin_server_ts`, may be signed with the key.
    ///
    /// From room version 5 on the key must have been valid then; before, the times are not looked at
    /// (<https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period>). An event from after
    /// [`Validity::Until`] may become valid once the keys are fetched again.
    pub fn valid_for_event(&self, origin_server_ts: u64, rules: &RoomVersionRules) -> bool {
        !rules.enforce_key_validity || origin_server_ts <= self.validity.end_ts()
    }

    /// Whether a request that arrives now may be signed with the key: old keys sign events only.
    pub fn valid_for_request(&self, now: u64) -> bool {
        matches!(self.validity, Validity::Until(end) if now <= end)
    }
}

/// The known keys of one server, by their identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownKeys {
    keys: BTreeMap<String, KnownKey>,
}

impl KnownKeys {
    /// Takes keys as they were remembered.
    pub fn from_stored(keys: impl IntoIterator<Item = (String, KnownKey)>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// Takes in a document of the server that was received at `received_ts`, and tells whether anything changed.
    ///
    /// A key that the document does not mention stays as it is: it was vouched for, and old events need it. As documents
    /// may come by way of notaries in any order, a key is valid until the latest time that one of them has said, but once
    /// expired it stays expired, at the earliest time that one has said. A key that has another value than before under
    /// its identifier takes the place of the former if the server signs with it.
    pub fn merge(&mut self, document: &KeyDocument, received_ts: u64) -> bool {
        let before = self.keys.clone();
        let until = Validity::Until(document.valid_until_when_received(received_ts));
        for (key_id, old) in document.old_verify_keys() {
            let expired = KnownKey { key: old.key.clone(), validity: Validity::Expired(old.expired_ts) };
            self.merge_key(key_id, expired);
        }
        for (key_id, key) in document.verify_keys() {
            // One that is listed as old too is old.
            let old = document.old_verify_keys().get(key_id);
            if old.is_none_or(|old| old.key != *key) {
                self.merge_key(key_id, KnownKey { key: key.clone(), validity: until });
            }
        }
        while self.keys.len() > MAX_KNOWN_KEYS {
            let first = self.keys.iter().min_by_key(|(_, known)| known.validity.end_ts());
            let Some(key_id) = first.map(|(key_id, _)| key_id.clone()) else { break };
            self.keys.remove(&key_id);
        }
        self.keys != before
    }

    fn merge_key(&mut self, key_id: &str, new: KnownKey) {
        let Some(known) = self.keys.get_mut(key_id) else {
            self.keys.insert(key_id.to_owned(), new);
            return;
        };
        if known.key != new.key {
            if matches!(new.validity, Validity::Until(_)) {
                *known = new;
            }
            return;
        }
        known.validity = match (known.validity, new.validity) {
            (Validity::Expired(a), Validity::Expired(b)) => Validity::Expired(a.min(b)),
            (Validity::Expired(at), Validity::Until(_)) | (Validity::Until(_), Validity::Expired(at)) => {
                Validity::Expired(at)
            }
            (Validity::Until(a), Validity::Until(b)) => Validity::Until(a.max(b)),
        };
    }

    /// A key, by its identifier.
    pub fn get(&self, key_id: &str) -> Option<&KnownKey> {
        self.keys.get(key_id)
    }

    /// All keys, by their identifiers: what to remember.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KnownKey)> {
        self.keys.iter().map(|(key_id, known)| (key_id.as_str(), known))
    }

    /// The keys that an event of a room with these rules, made at `origin_server_ts`, may be signed with.
    pub fn for_event(&self, origin_server_ts: u64, rules: &RoomVersionRules) -> PublicKeySet {
        self.those(|known| known.valid_for_event(origin_server_ts, rules))
    }

    /// The keys that a request that arrives now may be signed with.
    pub fn for_request(&self, now: u64) -> PublicKeySet {
        self.those(|known| known.valid_for_request(now))
    }

    fn those(&self, valid: impl Fn(&KnownKey) -> bool) -> PublicKeySet {
        let valid = self.keys.iter().filter(|(_, known)| valid(known));
        valid.map(|(key_id, known)| (key_id.clone(), known.key.clone())).collect()
    }
}
