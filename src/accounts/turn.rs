//! What lets a client through the TURN server.
//!
//! Source: Client-Server API, "Voice over IP", `GET /voip/turnServer`; the passwords are those of the draft "A REST API For
//! Access To TURN Services", section 2.2, which TURN servers check without asking us.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use ruma::UserId;
use sha1::Sha1;

use crate::{
    clock::Clock,
    config::{Turn, TurnCredentials},
};

/// An account of the TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnAccess {
    /// Its name; empty where the server asks for none.
    pub username: String,
    /// Its password; empty where the server asks for none.
    pub password: String,
    /// Addresses of the server.
    pub uris: Vec<String>,
    /// How long it is good, in seconds.
    pub ttl_s: u64,
}

/// Hands out accounts of the TURN server.
pub struct TurnServer {
    config: Turn,
    clock: Arc<dyn Clock>,
}

impl TurnServer {
    /// Of this configuration.
    pub fn new(config: Turn, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock }
    }

    /// An account for a user; none if no server is configured.
    pub fn access(&self, user_id: &UserId) -> Option<TurnAccess> {
        if self.config.uris.is_empty() {
            return None;
        }
        let ttl_s = self.config.ttl.as_secs();
        let (username, password) = match &self.config.credentials {
            None => (String::new(), String::new()),
            Some(TurnCredentials::Account { username, password }) => (username.clone(), password.expose().to_owned()),
            Some(TurnCredentials::SharedSecret(secret)) => {
                let expires = self.clock.now_ms() / 1_000 + i64::try_from(ttl_s).unwrap_or(i64::MAX / 2);
                let username = format!("{expires}:{user_id}");
                let password = password(secret.expose(), &username)?;
                (username, password)
            }
        };
        Some(TurnAccess { username, password, uris: self.config.uris.clone(), ttl_s })
    }
}

fn password(secret: &str, username: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, section 3, test case 2.
    #[test]
    fn a_password_is_hmac_sha1_in_base64() {
        let expected = STANDARD.encode([
            0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25, 0x9a,
            0x7c, 0x79,
        ]);
        assert_eq!(password("Jefe", "what do ya want for nothing?"), Some(expected));
    }
}
