//! Chance that can be repeated: every test prints its seed.

/// A small generator.
pub struct Dice(u64);

impl Dice {
    /// From `LINKIM_TEST_SEED`, else from the clock; the seed is printed, which a failed test shows.
    pub fn new(what: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = number("LINKIM_TEST_SEED").unwrap_or_else(|| now.map_or(1, |now| now.subsec_nanos().into()));
        println!("{what}: LINKIM_TEST_SEED={seed}");
        Self::of(seed)
    }

    /// From a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `below`.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
