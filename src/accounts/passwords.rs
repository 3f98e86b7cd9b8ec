//! Passwords: Argon2id, off the async threads, at most one hash per core at once.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use tokio::sync::Semaphore;

use crate::{random::Random, store::StoreError};

/// Longest password that is taken, in bytes: what is hashed is bounded, no person types more.
const MAX_PASSWORD: usize = 1024;

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
    argon2: Argon2<'static>,
    cores: Arc<Semaphore>,
    random: Arc<dyn Random>,
}

impl Passwords {
    /// With the OWASP Password Storage Cheat Sheet's minimum: 19 MiB, two passes, one lane.
    pub fn new(random: Arc<dyn Random>) -> Self {
        let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            cores: Arc::new(Semaphore::new(cores)),
            random,
        }
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
        let argon2 = self.argon2.clone();
        self.on_a_core(move || {
            let salt = SaltString::encode_b64(&salt).map_err(hash_error)?;
            let hash = argon2
                .hash_password(password.as_bytes(), &salt)
                .map_err(hash_error)?;
            Ok(hash.to_string())
        })
        .await?
    }

    /// Whether a password has this hash. Without a hash it takes as long, and answers no.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, StoreError> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let argon2 = self.argon2.clone();
        self.on_a_core(move || {
            let stored = hash.as_deref().unwrap_or(NOBODYS);
            let parsed = PasswordHash::new(stored).map_err(hash_error)?;
            let same = argon2.verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(same && hash.is_some())
        })
        .await?
    }

    /// Runs `work` on a blocking thread. The permit goes with it: a caller that went away does not free a core that still works.
    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(permit) = self.cores.clone().acquire_owned().await else {
            return Err(StoreError::Stopping);
        };
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        work.await.map_err(|error| StoreError::Engine(error.to_string()))
    }
}

fn hash_error(error: argon2::password_hash::Error) -> StoreError {
    StoreError::Damaged(format!("a password hash: {error}"))
}
