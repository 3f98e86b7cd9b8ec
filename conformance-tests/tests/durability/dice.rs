//! Chance that can be repeated: every test prints its seed.

use std::hash::{BuildHasher as _, RandomState};

/// A small generator.
pub(crate) struct Dice(u64);

impl Dice {
    /// From `LINKIM_TEST_SEED`, else a new one; the seed is printed, which a failed test shows.
    pub(crate) fn new(what: &str) -> Self {
        let seed = number("LINKIM_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(what));
        println!("{what}: LINKIM_TEST_SEED={seed}");
        Self::of(seed)
    }

    /// From a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `below`.
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
