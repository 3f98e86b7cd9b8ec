//! Passwords: Argon2id, off the async threads, at most one hash per core at once.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, ParamsString, SaltString},
};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::{random::Random, store::StoreError};

/// Longest password that is taken, in bytes: what is hashed is bounded, no person types more.
const MAX_PASSWORD: usize = 1024;

/// Memory of a hash in blocks of 1 KiB, passes and lanes: the minimum of OWASP's Password Storage Cheat Sheet.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Blocks reserved for a hash, of which only those that it needs are touched. Above 32 MiB glibc always maps memory and gives it
/// back when it is freed; below, each thread's arena keeps it: 12 threads that hashed once held 850 MB.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// What is compared where there is no hash, so that an unknown user costs the time of a known one. No password has it.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that cannot be used for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// It is empty.
    #[error("The password is empty")]
    Empty,
    /// It is longer than 1024 bytes.
    #[error("The password is longer than {MAX_PASSWORD} bytes")]
    TooLong,
}

/// Hashes and compares passwords.
pub struct Passwords {
    cores: Arc<Semaphore>,
    memory: Arc<Memory>,
    random: Arc<dyn Random>,
}

impl Passwords {
    /// With salts from `random`.
    pub fn new(random: Arc<dyn Random>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cores: Arc::new(Semaphore::new(cores)), memory: Arc::default(), random }
    }

    /// Whether a password can be set.
    pub fn check(password: &str) -> Result<(), PasswordRefused> {
        match password.len() {
            0 => Err(PasswordRefused::Empty),
            1..=MAX_PASSWORD => Ok(()),
            _ => Err(PasswordRefused::TooLong),
        }
    }

    /// The hash of a password, as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, StoreError> {
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        self.on_a_core(move |memory| hash(&password, &salt, memory)).await
    }

    /// Whether a password has this hash. Without a hash it takes as long, and answers no.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, StoreError> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        self.on_a_core(move |memory| {
            let same = verify(&password, hash.as_deref().unwrap_or(NOBODYS), memory)?;
            Ok(same && hash.is_some())
        })
        .await
    }

    /// Runs `work` on a blocking thread. The permit goes with it: a caller that went away does not free a core that still works.
    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lease = Lease::new(self.memory.clone());
        let Ok(permit) = self.cores.clone().acquire_owned().await else {
            return Err(StoreError::Stopping);
        };
        let work = tokio::task::spawn_blocking(move || {
            let done = lease.with(work);
            drop(permit);
            done
        });
        let done = work.await.map_err(|error| StoreError::Engine(error.to_string()))?;
        done.map_err(|error| StoreError::Damaged(format!("a password hash: {error}")))
    }
}

fn hash(password: &str, salt: &[u8], memory: &mut Vec<Block>) -> Result<String, password_hash::Error> {
    let params = Params::new(COST.0, COST.1, COST.2, None)?;
    let salt_text = SaltString::encode_b64(salt)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    derive(params.clone(), password, salt, &mut output, memory)?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt_text.as_salt()),
        hash: Some(Output::new(&output)?),
    };
    Ok(hash.to_string())
}

fn verify(password: &str, stored: &str, memory: &mut Vec<Block>) -> Result<bool, password_hash::Error> {
    let stored = PasswordHash::new(stored)?;
    let version = Version::V0x13.into();
    if stored.algorithm != ARGON2ID_IDENT || stored.version != Some(version) {
        return Err(password_hash::Error::Algorithm);
    }
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return Err(password_hash::Error::PhcStringField);
    };
    let mut salt_bytes = [0; 64];
    let salt = salt.decode_b64(&mut salt_bytes)?;
    let mut output = vec![0; expected.len()];
    derive(Params::try_from(&stored)?, password, salt, &mut output, memory)?;
    Ok(output.ct_eq(expected.as_bytes()).into())
}

fn derive(
    params: Params,
    password: &str,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), password_hash::Error> {
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        password.as_bytes(),
        salt,
        output,
        memory,
    )?;
    Ok(())
}

/// The memory of hashes. While some wait, what one has touched goes to the next, which saves a third of its time (18 ms for 26);
/// when nobody is left it goes back to the system. Bound: one piece a core.
#[derive(Default)]
struct Memory {
    inner: Mutex<MemoryInner>,
}

#[derive(Default)]
struct MemoryInner {
    /// Hashes that wait or run.
    wanted: usize,
    free: Vec<Vec<Block>>,
}

/// A place in the queue for memory, given up on drop.
struct Lease {
    memory: Arc<Memory>,
}

impl Lease {
    fn new(memory: Arc<Memory>) -> Self {
        memory.inner.lock().unwrap_or_else(PoisonError::into_inner).wanted += 1;
        Self { memory }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Block>) -> T) -> T {
        let lock = || self.memory.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = lock().free.pop();
        let mut blocks = taken.unwrap_or_else(|| Vec::with_capacity(RESERVED_BLOCKS));
        let done = work(&mut blocks);
        lock().free.push(blocks);
        done
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.memory.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.wanted -= 1;
        let wanted = inner.wanted;
        if inner.free.len() > wanted {
            let spare = inner.free.split_off(wanted);
            drop(inner);
            drop(spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::FakeRandom;

    #[tokio::test]
    async fn a_hash_is_verified_and_memory_returns() {
        let passwords = Passwords::new(Arc::new(FakeRandom::default()));
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("secret".into()).await.unwrap());
        let verify = |password: &str, hash: &str| passwords.verify(password.into(), Some(hash.into()));
        let both = tokio::join!(verify("secret", &hash), verify("Secret", &hash));
        assert!(both.0.unwrap() && !both.1.unwrap());
        let none_left = || {
            let memory = passwords.memory.inner.lock().unwrap();
            assert_eq!((memory.wanted, memory.free.len()), (0, 0));
        };
        none_left();
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
        assert!(verify("secret", "nonsense").await.is_err());
        none_left();
    }

    /// Made by the crate's own interface to PHC strings, with other parameters.
    #[test]
    fn other_makers_hashes_are_understood() {
        use argon2::{PasswordHasher, password_hash::Salt};
        let params = Params::new(64, 3, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let salt = Salt::from_b64("c2FsdHNhbHRzYWx0").unwrap();
        let stored = argon2.hash_password(b"secret", salt).unwrap().to_string();
        let mut memory = Vec::new();
        assert!(verify("secret", &stored, &mut memory).unwrap());
        assert!(!verify("other", &stored, &mut memory).unwrap());
        let other = stored.replace("argon2id", "argon2i");
        assert!(verify("secret", &other, &mut memory).is_err());
    }
}
