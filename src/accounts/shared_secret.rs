//! Registration by whoever knows the shared secret: a nonce, and a MAC over it and the new account.
//!
//! It is the interface that Synapse documents as "Shared-Secret Registration", which synadm and test suites speak.

use std::sync::Arc;

use hmac::{Hmac, Mac};
use moka::{policy::EvictionPolicy, sync::Cache};
use sha1::Sha1;

use crate::{clock::Clock, config::Secret, random::Random};

/// How long a nonce is good, in milliseconds.
const NONCE_MS: i64 = 60_000;

/// Nonces at once at most; the oldest go. About 100 bytes each.
const MAX_NONCES: u64 = 10_000;

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedSecretError {
    /// No shared secret is configured.
    #[error("Shared secret registration is not enabled")]
    Disabled,
    /// The nonce was not given out in the last minute, or was used.
    #[error("Unrecognised nonce")]
    UnknownNonce,
    /// The MAC is not the one of this request.
    #[error("HMAC incorrect")]
    WrongMac,
}

/// What the MAC covers.
#[derive(Clone, Copy, Debug)]
pub struct SharedSecretRequest<'a> {
    /// The nonce.
    pub nonce: &'a str,
    /// The user name as sent.
    pub username: &'a str,
    /// The password.
    pub password: &'a str,
    /// Whether the account is to be an administrator.
    pub admin: bool,
    /// The user type, if any was sent.
    pub user_type: Option<&'a str>,
    /// The MAC, 40 hexadecimal digits.
    pub mac: &'a str,
}

/// Gives out nonces and checks MACs.
pub struct SharedSecret {
    secret: Option<Secret>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    nonces: Cache<String, i64>,
}

impl SharedSecret {
    /// Without a secret every request is refused.
    pub fn new(secret: Option<Secret>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            secret,
            clock,
            random,
            nonces: Cache::builder().max_capacity(MAX_NONCES).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// A new nonce, good for one request within a minute.
    pub fn nonce(&self) -> Result<String, SharedSecretError> {
        if self.secret.is_none() {
            return Err(SharedSecretError::Disabled);
        }
        let nonce = self.random.letters(43);
        self.nonces.insert(nonce.clone(), self.clock.now_ms());
        Ok(nonce)
    }

    /// Uses up the nonce and checks the MAC, in constant time.
    pub fn check(&self, request: SharedSecretRequest<'_>) -> Result<(), SharedSecretError> {
        let secret = self.secret.as_ref().ok_or(SharedSecretError::Disabled)?;
        let given = self.nonces.remove(request.nonce);
        if given.is_none_or(|ts| ts + NONCE_MS <= self.clock.now_ms()) {
            return Err(SharedSecretError::UnknownNonce);
        }
        let mac = decode_hex(request.mac).ok_or(SharedSecretError::WrongMac)?;
        mac_of(secret, request)
            .ok_or(SharedSecretError::WrongMac)?
            .verify_slice(&mac)
            .map_err(|_| SharedSecretError::WrongMac)
    }
}

fn mac_of(secret: &Secret, request: SharedSecretRequest<'_>) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(request.nonce.as_bytes());
    mac.update(b"\0");
    mac.update(request.username.as_bytes());
    mac.update(b"\0");
    mac.update(request.password.as_bytes());
    mac.update(b"\0");
    mac.update(if request.admin { b"admin" } else { b"notadmin" });
    if let Some(user_type) = request.user_type {
        mac.update(b"\0");
        mac.update(user_type.as_bytes());
    }
    Some(mac)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
