//! Invitation codes: who has one may register although registration is not open to all. Some stand in the configuration
//! (`registration.tokens`), good for any number of uses; others are made by `linkim admin invite-code`, good for a few.

use std::sync::Arc;

use crate::{
    clock::Clock,
    random::Random,
    store::{Read, Store, StoreError, WriteTx, invitation_codes},
};

/// Letters and digits of a code: none that look alike.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Characters of a code: 31^16 is above 2^79.
const LENGTH: usize = 16;

/// The codes that are in the database.
pub struct InvitationCodes {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl InvitationCodes {
    /// In this database.
    pub fn new(store: Store, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { store, clock, random }
    }

    /// Makes a code that is good for so many registrations.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn make(&self, uses: u32) -> Result<String, StoreError> {
        let code = self.random.text(ALPHABET, LENGTH);
        let (hash, now) = (hash(&code), self.clock.now_ms());
        self.store.write::<_, StoreError, _>(move |tx| invitation_codes::insert(tx, &hash, uses.into(), now)).await?;
        Ok(code)
    }

    /// Whether anybody could register with a code.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn any(&self) -> Result<bool, StoreError> {
        self.store.read_short(|read| invitation_codes::any_left(read)).await
    }

    /// How often a code may still be used; none if there is no such code.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn uses_left(&self, code: &str) -> Result<Option<i64>, StoreError> {
        let hash = hash(code);
        self.store.read_short(move |read| uses_left(read, &hash)).await
    }

    /// Uses a code once, on its own. Answers whether a use was left.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn spend(&self, code: &str) -> Result<bool, StoreError> {
        let (hash, now) = (hash(code), self.clock.now_ms());
        self.store.write::<_, StoreError, _>(move |tx| invitation_codes::take(tx, &hash, now)).await
    }
}

fn uses_left(read: &dyn Read, hash: &[u8; 32]) -> Result<Option<i64>, StoreError> {
    invitation_codes::uses_left(read, hash)
}

/// Uses a code once in the transaction of the registration. Answers whether a use was left; none if there is no such code.
pub(super) fn take(tx: &WriteTx<'_>, code: &str, now: i64) -> Result<Option<bool>, StoreError> {
    let hash = hash(code);
    if invitation_codes::take(tx, &hash, now)? {
        return Ok(Some(true));
    }
    Ok(uses_left(tx, &hash)?.map(|_| false))
}

/// A code has enough chance in it that a plain hash hides it.
fn hash(code: &str) -> [u8; 32] {
    *blake3::hash(code.as_bytes()).as_bytes()
}
