//! Encryption keys as clients make them, without the encryption: the server never sees more of it.

use linkim_federation::{SigningKey, canonical::canonical_text};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::{Value, json};

use crate::Client;

/// An ed25519 key of a device or a person.
pub struct Ed25519(SigningKey);

impl Ed25519 {
    /// A key of this seed.
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::generate([seed; 32], "test").expect("a key"))
    }

    /// The public half in unpadded base64.
    pub fn public(&self) -> String {
        self.0.public_key()
    }

    /// Signs an object as `user`'s key `ed25519:<name>`.
    pub fn sign(&self, object: &mut Value, user: &str, name: &str) {
        let mut signed: CanonicalJsonObject = serde_json::from_value(object.clone()).expect("canonical JSON");
        signed.retain(|field, _: &mut CanonicalJsonValue| field != "signatures" && field != "unsigned");
        let signature = self.0.sign_bytes(canonical_text(&signed).as_bytes());
        object["signatures"][user][format!("ed25519:{name}")] = signature.into();
    }
}

/// The identity keys of a client's device, signed by itself.
pub fn device_keys(client: &Client, key: &Ed25519) -> Value {
    let device = &client.device_id;
    let mut keys = json!({
        "user_id": client.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            format!("curve25519:{device}"): "wjLpTLRqbqBzLs63aYaEv2Boi6cFEbbM/sSRQ2oAKk4",
            format!("ed25519:{device}"): key.public(),
        },
    });
    key.sign(&mut keys, &client.user_id, device);
    keys
}

/// A one-time or fallback key, signed by the device.
pub fn one_time_key(client: &Client, key: &Ed25519, public: &str) -> Value {
    let mut signed = json!({ "key": public });
    key.sign(&mut signed, &client.user_id, &client.device_id);
    signed
}

/// A cross-signing key, signed by `master` unless it is the master key itself.
pub fn cross_signing_key(user: &str, usage: &str, key: &Ed25519, master: Option<&Ed25519>) -> Value {
    let public = key.public();
    let mut object = json!({ "user_id": user, "usage": [usage], "keys": { format!("ed25519:{public}"): public } });
    if let Some(master) = master {
        master.sign(&mut object, user, &master.public());
    }
    object
}
