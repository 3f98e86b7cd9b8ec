//! The server's signing key.
//!
//! <https://spec.matrix.org/v1.19/appendices/#signing-json>

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::Signer as _;
use ruma::serde::Base64;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use thiserror::Error;

use crate::canonical::write_ruma_value;
use crate::value::write_members;

/// Unpadded base64; padding is tolerated on the way in, as the appendices ask.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a signing-key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// The file holds no key.
    #[error("the file holds no signing key")]
    Empty,
    /// A line is not `ed25519 <version> <seed>`.
    #[error("line {line}: expected `ed25519 <version> <base64 seed>`")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line names an algorithm other than ed25519.
    #[error("line {line}: the algorithm is not ed25519")]
    Algorithm {
        /// The line, counted from 1.
        line: usize,
    },
    /// A version has characters other than letters, digits and `_`, or is empty.
    #[error("line {line}: a key version may have letters, digits and `_` only")]
    Version {
        /// The line, counted from 1.
        line: usize,
    },
    /// A seed is not 32 bytes in base64.
    #[error("line {line}: the seed is not 32 bytes in base64")]
    Seed {
        /// The line, counted from 1.
        line: usize,
    },
}

/// An ed25519 key with which this server signs events, requests and its other JSON.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    /// `ed25519:<version>`.
    key_id: Box<str>,
}

impl SigningKey {
    /// Makes a key of 32 secret random bytes, named `ed25519:<version>`; `version` may have that prefix or not.
    ///
    /// # Errors
    /// [`KeyFileError::Version`] (of line 1) if the version has characters other than letters, digits and `_`.
    pub fn generate(seed: [u8; 32], version: &str) -> Result<Self, KeyFileError> {
        let version = version.strip_prefix("ed25519:").unwrap_or(version);
        if !valid_version(version) {
            return Err(KeyFileError::Version { line: 1 });
        }
        Ok(Self { key: ed25519_dalek::SigningKey::from_bytes(&seed), key_id: format!("ed25519:{version}").into() })
    }

    /// Reads a file in Synapse's format: a line `ed25519 <version> <unpadded base64 seed>` for each key. The first is the
    /// one to sign with. Empty lines are skipped.
    ///
    /// # Errors
    /// [`KeyFileError`], with the line; its text never contains the seed.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, KeyFileError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let keys = lines.map(|(at, line)| Self::parse_line(line, at + 1)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyFileError::Empty) } else { Ok(keys) }
    }

    fn parse_line(text: &str, line: usize) -> Result<Self, KeyFileError> {
        let mut words = text.split_whitespace();
        let (Some(algorithm), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyFileError::Syntax { line });
        };
        if algorithm != "ed25519" {
            return Err(KeyFileError::Algorithm { line });
        }
        let seed = BASE64.decode(seed).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let seed = seed.ok_or(KeyFileError::Seed { line })?;
        Self::generate(seed, version).map_err(|_| KeyFileError::Version { line })
    }

    /// The line of the key in Synapse's format, with its line end. It holds the secret.
    pub fn to_file_line(&self) -> String {
        format!("ed25519 {} {}\n", self.version(), BASE64.encode(self.key.as_bytes()))
    }

    /// The key's identifier, `ed25519:<version>`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The part of the identifier after the colon.
    pub fn version(&self) -> &str {
        self.key_id.split_once(':').map_or("", |(_, version)| version)
    }

    /// The public half, in unpadded base64.
    pub fn public_key(&self) -> String {
        BASE64.encode(self.key.verifying_key().as_bytes())
    }

    /// The public half, as what verifies takes it.
    pub fn public_key_base64(&self) -> Base64 {
        Base64::new(self.key.verifying_key().as_bytes().to_vec())
    }

    /// The signature of the bytes, in unpadded base64.
    pub fn sign_bytes(&self, message: &[u8]) -> String {
        BASE64.encode(self.key.sign(message).to_bytes())
    }

    /// Signs an object as `entity`: the signature is of its canonical text without `signatures` and `unsigned`, and is
    /// added to `signatures`, beside those that are there. A `signatures` of another type is replaced.
    pub fn sign_json(&self, object: &mut CanonicalJsonObject, entity: &str) {
        let signature = self.sign_bytes(&signed_text(object));
        let signatures = as_object(object.entry("signatures".to_owned()).or_default());
        let of_entity = as_object(signatures.entry(entity.to_owned()).or_default());
        of_entity.insert(self.key_id.clone().into(), CanonicalJsonValue::String(signature));
    }
}

impl fmt::Debug for SigningKey {
    /// Names the key and keeps its secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The text of an object that is signed.
pub(crate) fn signed_text(object: &CanonicalJsonObject) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let members = object.iter().map(|(key, value)| (key.as_str(), value));
    write_members(&mut out, members.filter(|(key, _)| *key != "signatures" && *key != "unsigned"), write_ruma_value);
    out
}

fn as_object(value: &mut CanonicalJsonValue) -> &mut CanonicalJsonObject {
    if !matches!(value, CanonicalJsonValue::Object(_)) {
        *value = CanonicalJsonValue::Object(CanonicalJsonObject::new());
    }
    match value {
        CanonicalJsonValue::Object(object) => object,
        _ => unreachable!("just made an object"),
    }
}

fn valid_version(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
