//! A room's policy server: which it is, and what needs its signature.
//!
//! Source: Server-Server API, "Policy Servers"; Client-Server API, `m.room.policy`.

use std::{future::Future, pin::Pin, sync::Arc};

use linkim_federation::{Pdu, PublicKeyMap, PublicKeySet, RoomVersionRules, VerifyError, verify_event_signature};
use ruma::{OwnedServerName, ServerName, events::TimelineEventType, serde::Base64};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::state;
use crate::store::{Read, StoreError, ids::RoomNid, room_servers};

/// Type of the state event that names the policy server. With an empty state key it is the one event that needs no signature.
pub const POLICY_TYPE: &str = "m.room.policy";

/// "`ed25519:policy_server` is *always* used for Ed25519 signatures."
pub const KEY_ID: &str = "ed25519:policy_server";

/// Bytes of a key in base64 at most: one has 43. What is longer can't be a key, and nothing has a signature by it.
const MAX_KEY: usize = 100;

/// The policy server that a room names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyServer {
    /// Which server.
    pub server: OwnedServerName,
    /// The key in unpadded base64 with which it signs events, as the room has it. It need not be one.
    pub key: String,
}

#[derive(Deserialize)]
struct Content {
    via: String,
    public_keys: Keys,
}

#[derive(Deserialize)]
struct Keys {
    ed25519: String,
}

impl PolicyServer {
    /// The policy server that the content of an `m.room.policy` event names; None if it is not valid, or names what is no
    /// server: one without users.
    pub fn named_by(content: &RawValue) -> Option<Self> {
        let Content { via, public_keys } = serde_json::from_str(content.get()).ok()?;
        let key = Some(public_keys.ed25519).filter(|key| key.len() <= MAX_KEY).unwrap_or_default();
        Some(Self { server: ServerName::parse(via).ok()?, key })
    }

    /// The policy server that a room's current state names, in use or not.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn named_in(read: &dyn Read, room: RoomNid) -> Result<Option<Self>, StoreError> {
        let policy = state::current(read, room, POLICY_TYPE, "")?;
        Ok(policy.and_then(|policy| Self::named_by(policy.content())))
    }

    /// Whether the room uses it: one of its users is in the room.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn is_in_use(&self, read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
        room_servers::server_in_room(read, room, &self.server)
    }

    /// Checks its signature on an event.
    ///
    /// # Errors
    /// [`VerifyError`] if it has not signed, or not with the key that the room has.
    pub fn check(&self, pdu: &Pdu, rules: &RoomVersionRules) -> Result<(), VerifyError> {
        let key = Base64::parse(&self.key).unwrap_or_else(|_| Base64::new(Vec::new()));
        let keys = PublicKeySet::from([(KEY_ID.to_owned(), key)]);
        let keys = PublicKeyMap::from([(self.server.to_string(), keys)]);
        verify_event_signature(pdu, &self.server, &keys, rules)
    }

    /// Whether an event that becomes part of the room may change whether the room uses this policy server.
    pub fn is_changed_by(named: Option<&Self>, pdu: &Pdu) -> bool {
        match pdu.state_key() {
            Some("") => is_policy(pdu),
            Some(key) if *pdu.event_type() == TimelineEventType::RoomMember => {
                named.is_some_and(|named| key.split_once(':').is_some_and(|(_, server)| server == named.server))
            }
            _ => false,
        }
    }
}

/// Whether an event is the room's `m.room.policy` itself, about which nobody is asked.
pub fn is_policy(pdu: &Pdu) -> bool {
    pdu.state_key() == Some("") && pdu.event_type().to_string() == POLICY_TYPE
}

/// Why there is no signature of the policy server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// It answered with an error.
    #[error("the policy server {server} refuses the event: {errcode} {error}")]
    Refused {
        /// Which.
        server: OwnedServerName,
        /// The status of its answer: one that the endpoint may have.
        status: u16,
        /// The `errcode` of its answer: one that the endpoint may have.
        errcode: String,
        /// Its words.
        error: String,
        /// The whole answer, a JSON object.
        body: String,
    },
    /// It can't be reached, answered what it must not, or its signature is not by the key that the room has.
    #[error("no signature of the policy server {server}: {reason}")]
    None {
        /// Which.
        server: OwnedServerName,
        /// Why.
        reason: String,
    },
}

/// The answer of [`Countersigns::countersign`].
pub type Countersigning<'a> = Pin<Box<dyn Future<Output = Result<Arc<Pdu>, PolicyRefusal>> + Send + 'a>>;

/// Gets policy servers' signatures for events of ours: the seam that `peers` fills.
pub trait Countersigns: Send + Sync + 'static {
    /// The event with the policy server's signature, which is right.
    fn countersign<'a>(
        &'a self,
        policy: &'a PolicyServer,
        rules: &'static RoomVersionRules,
        pdu: Arc<Pdu>,
    ) -> Countersigning<'a>;
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;

    #[test]
    fn a_policy_server_needs_a_name_and_an_ed25519_key() {
        let named = |content| PolicyServer::named_by(&to_raw_value(&content).unwrap());
        let whole = json!({ "via": "p.example", "public_keys": { "ed25519": "abc", "other": "x" } });
        let policy = named(whole).unwrap();
        assert_eq!((policy.server.as_str(), &*policy.key), ("p.example", "abc"));
        for lacking in [
            json!({}),
            json!({ "via": "p.example" }),
            json!({ "via": "p.example", "public_keys": {} }),
            json!({ "via": "p.example", "public_keys": { "ed25519": 1 } }),
            json!({ "via": 1, "public_keys": { "ed25519": "abc" } }),
            json!({ "via": "no server", "public_keys": { "ed25519": "abc" } }),
            json!({ "via": "p.example", "public_keys": "ed25519" }),
        ] {
            assert_eq!(named(lacking.clone()), None, "{lacking}");
        }
    }
}
