//! Which names an account of this server can have, and whom a login names.
//!
//! Source: Matrix appendices, "User Identifiers"; Client-Server API, `POST /register`.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use crate::random::Random;

/// How the localparts of the server's own users begin.
pub const SERVICE_PREFIX: &str = "_linkim";

/// Longest user id, in bytes.
const MAX_USER_ID: usize = 255;

/// A name that an account cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefused {
    /// It has characters that a user id must not have, or none.
    #[error("A user name can only contain the characters a-z, 0-9 and ._=-/+")]
    Grammar,
    /// The user id would be longer than 255 bytes.
    #[error("The user id would be longer than {MAX_USER_ID} bytes")]
    TooLong,
    /// The configuration keeps it back.
    #[error("This user name is reserved")]
    Reserved,
}

/// The names of this server.
pub struct UserNames {
    server_name: OwnedServerName,
    reserved: Vec<String>,
}

impl UserNames {
    /// The names of `server_name`; `reserved` localparts cannot be registered by people themselves.
    pub fn new(server_name: OwnedServerName, reserved: Vec<String>) -> Self {
        Self { server_name, reserved }
    }

    /// The server that ends every name.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The user id that a wished `username` gives. Upper-case ASCII letters become lower-case ones.
    pub fn user_id(&self, username: &str) -> Result<OwnedUserId, NameRefused> {
        let localpart = username.to_ascii_lowercase();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._=-/+".contains(&byte);
        if localpart.is_empty() || !localpart.bytes().all(fits) {
            return Err(NameRefused::Grammar);
        }
        let user_id = format!("@{localpart}:{}", self.server_name);
        if user_id.len() > MAX_USER_ID {
            return Err(NameRefused::TooLong);
        }
        OwnedUserId::try_from(user_id).map_err(|_| NameRefused::Grammar)
    }

    /// As [`Self::user_id`], for somebody who registers without the operator's help: reserved names are refused.
    pub fn self_chosen(&self, username: &str) -> Result<OwnedUserId, NameRefused> {
        let user_id = self.user_id(username)?;
        let own = user_id.localpart().starts_with(SERVICE_PREFIX);
        if own || self.reserved.iter().any(|name| name == user_id.localpart()) {
            return Err(NameRefused::Reserved);
        }
        Ok(user_id)
    }

    /// A user id that nobody has wished, with 12 random letters after `prefix`.
    pub fn generated(&self, prefix: &str, random: &dyn Random) -> Result<OwnedUserId, NameRefused> {
        let letters = random.letters(12).to_ascii_lowercase();
        self.user_id(&format!("{prefix}{letters}"))
    }

    /// The user of this server that `name` means: a localpart or a whole user id. None for another server's, and for what
    /// cannot be a user id.
    pub fn named(&self, name: &str) -> Option<OwnedUserId> {
        if !name.starts_with('@') {
            return self.user_id(name).ok();
        }
        let user_id = <&UserId>::try_from(name).ok()?;
        if user_id.server_name() != self.server_name {
            return None;
        }
        self.user_id(user_id.localpart()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::{FakeRandom, server};

    #[test]
    fn whom_a_name_means() {
        let names = UserNames::new(server(), Vec::new());
        let named = |name: &str| names.named(name).map(|user| user.to_string());
        assert_eq!(named("alice").as_deref(), Some("@alice:a.example"));
        assert_eq!(named("ALICE").as_deref(), Some("@alice:a.example"));
        assert_eq!(named("@alice:a.example").as_deref(), Some("@alice:a.example"));
        for other in ["@alice:b.example", "@alice", "@:a.example", "", "al ice", "a:b"] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn names_that_are_made_up_can_be_had_and_differ() {
        let names = UserNames::new(server(), Vec::new());
        let random = FakeRandom::default();
        let first = names.generated("guest-", &random).unwrap();
        let second = names.generated("guest-", &random).unwrap();
        assert_ne!(first, second);
        assert!(first.localpart().starts_with("guest-"));
    }
}
