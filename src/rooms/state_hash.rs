//! The hash of a room state: the sum of a keyed function of its entries, so that a change costs one subtraction and one
//! addition. It never leaves the server; equal hashes are confirmed entry by entry where it matters.

use crate::store::ids::EventNid;

/// Key of the hashes of one database: nobody outside can find two states with one sum.
#[derive(Clone)]
pub struct StateHashKey([u8; 32]);

impl StateHashKey {
    /// The key kept in the database (`meta`, `state_hash_key`).
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// What an entry adds to the sum (wrapping).
    pub fn entry(&self, key: i64, event: EventNid) -> u128 {
        let mut input = [0; 16];
        input[..8].copy_from_slice(&key.to_le_bytes());
        input[8..].copy_from_slice(&event.0.to_le_bytes());
        let hash = blake3::keyed_hash(&self.0, &input);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        u128::from_le_bytes(half)
    }

    /// The hash of a whole state.
    pub fn of(&self, state: &[(i64, EventNid)]) -> u128 {
        state.iter().fold(0, |sum: u128, (key, event)| sum.wrapping_add(self.entry(*key, *event)))
    }
}
