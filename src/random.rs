//! Randomness as an argument.

use rand::TryRngCore;

/// Where random bytes come from. What it gives is fit for secrets.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rngs::OsRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
    }
}

impl dyn Random {
    /// 32 random bytes.
    pub fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// `length` random characters of `alphabet` (at most 256 characters), without bias.
    pub fn text(&self, alphabet: &[u8], length: usize) -> String {
        let mut text = String::with_capacity(length);
        let limit = 256 - 256 % alphabet.len();
        let mut bytes = [0; 64];
        while text.len() < length {
            self.fill(&mut bytes);
            for byte in bytes {
                if usize::from(byte) < limit && text.len() < length {
                    text.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
                }
            }
        }
        text
    }

    /// `length` random ASCII letters.
    pub fn letters(&self, length: usize) -> String {
        self.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", length)
    }
}
