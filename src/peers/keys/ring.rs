//! The keys that one batch of events is verified with.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use linkim_federation::{
    PublicKeySet, RoomVersionRules,
    server_keys::{KnownKeys, MAX_VALIDITY_MS, Validity},
};
use ruma::{OwnedServerName, ServerName};

use super::known::Known;

/// A signature that is to be verified: one of these keys of this server must have been valid then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who signed.
    pub server: OwnedServerName,
    /// The keys under whose identifiers there are signatures.
    pub key_ids: Vec<String>,
    /// The event's `origin_server_ts`.
    pub origin_server_ts: u64,
}

/// What is known of the servers of a batch of events, our own keys included.
pub struct Keyring {
    own_name: OwnedServerName,
    own: KnownKeys,
    known: HashMap<OwnedServerName, Arc<Known>>,
}

impl Keyring {
    pub(super) fn new(own_name: &ServerName, own: KnownKeys) -> Self {
        Self { own_name: own_name.to_owned(), own, known: HashMap::new() }
    }

    pub(super) fn extend(&mut self, known: HashMap<OwnedServerName, Arc<Known>>) {
        self.known.extend(known);
    }

    fn of(&self, server: &ServerName) -> Option<&KnownKeys> {
        if server == self.own_name {
            return Some(&self.own);
        }
        self.known.get(server).map(|known| &known.keys)
    }

    /// The keys that an event of this time may be signed with.
    pub fn keys_at(&self, server: &ServerName, origin_server_ts: u64, rules: &RoomVersionRules) -> PublicKeySet {
        self.of(server).map(|keys| keys.for_event(origin_server_ts, rules)).unwrap_or_default()
    }

    /// Whether none of the keys is valid, and a newer document could bring one: not where the server has said that it had
    /// stopped using the key before, nor for a time further ahead than any document counts.
    pub(super) fn lacks(&self, wanted: &Wanted, now: u64, rules: &RoomVersionRules) -> bool {
        let keys = self.of(&wanted.server);
        let at = wanted.origin_server_ts;
        let key = |key_id: &String| keys.and_then(|keys| keys.get(key_id));
        let valid = |key_id: &String| key(key_id).is_some_and(|key| key.valid_for_event(at, rules));
        let may_come = |key_id: &String| match key(key_id).map(|key| key.validity) {
            None => key_id.starts_with("ed25519:"),
            Some(Validity::Until(_)) => at <= now.saturating_add(MAX_VALIDITY_MS),
            Some(Validity::Expired(_)) => false,
        };
        !wanted.key_ids.iter().any(valid) && wanted.key_ids.iter().any(may_come)
    }

    /// Whether one of the keys is known, and the server had stopped using it by then: nothing that is still to come changes
    /// that.
    pub fn had_expired(&self, server: &ServerName, key_ids: &[String], origin_server_ts: u64) -> bool {
        let Some(keys) = self.of(server) else { return false };
        let expired = |key_id: &String| matches!(keys.get(key_id).map(|key| key.validity), Some(Validity::Expired(end)) if end < origin_server_ts);
        key_ids.iter().any(expired)
    }

    /// The servers whose keys are to be asked for again by now, because events are signed with them that are newer than that.
    pub(super) fn to_refresh(&self, wanted: &[Wanted], now: u64) -> BTreeSet<OwnedServerName> {
        let due = wanted.iter().filter(|wanted| {
            let known = self.known.get(&wanted.server);
            known.is_some_and(|known| now >= known.refresh_ts && wanted.origin_server_ts >= known.refresh_ts)
        });
        due.map(|wanted| wanted.server.clone()).collect()
    }
}
