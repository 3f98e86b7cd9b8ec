//! Verification codes: six digits that prove that somebody reads what is sent to an address.
//!
//! A code is kept as a keyed hash, bound to what it is for and to the address; it is good for 300 seconds, for five tries and for
//! one use. Every address can be asked for, also where no account has it: what is kept, limited and answered is the same, so that
//! nobody learns from here who has an account (spec/decisions/0015-accounts.md).

use std::sync::Arc;

use super::{
    delivery::{Delivery, DeliveryError},
    rate_limits::Limited,
    third_party_ids::{Medium, ThirdPartyId, user_of},
};
use crate::{
    clock::Clock,
    random::Random,
    store::{self, Store, StoreError, WriteTx, accounts, verification},
};

/// How long a code is good, in milliseconds.
const CODE_MS: i64 = 300_000;

/// Wrong tries of a code.
const MAX_TRIES: i64 = 5;

/// Digits of a code.
const DIGITS: usize = 6;

/// Time between two codes to an address, in milliseconds.
const BETWEEN_MS: i64 = 60_000;

/// Codes to an address in a day.
const A_DAY: usize = 10;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What a code is for. A code is good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// 1: to register.
    Register,
    /// 2: to set a password, the old one forgotten.
    ResetPassword,
    /// 3: to log in.
    Login,
    /// 4: to make the address one's own.
    Change,
}

impl Purpose {
    /// Its number: `usedFor` of LinkIM's API, the first three as OpenIM has them.
    pub fn number(self) -> i64 {
        match self {
            Self::Register => 1,
            Self::ResetPassword => 2,
            Self::Login => 3,
            Self::Change => 4,
        }
    }

    /// Reads a number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Register, Self::ResetPassword, Self::Login, Self::Change].into_iter().find(|of| of.number() == number)
    }

    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::ResetPassword => "reset_password",
            Self::Login => "login",
            Self::Change => "change",
        }
    }

    /// Whether only those who have an account get one, and nobody else may learn who that is.
    fn is_discreet(self) -> bool {
        matches!(self, Self::ResetPassword | Self::Login)
    }
}

/// Why no code was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The configuration has no way to such addresses.
    #[error("This server cannot send {}", if *.0 == Medium::Email { "e-mail: email.smtp_url is not set" } else { "text messages: verification.sms_webhook is not set" })]
    NoWay(Medium),
    /// Codes were sent to this address a short time ago, or often today.
    #[error("A code was sent to this address already; wait")]
    TooOften(Limited),
    /// The mail server or the webhook does not take it now.
    #[error("The code could not be sent; try again later")]
    Unreachable,
    /// The address does not exist, or takes no such messages.
    #[error("The code could not be sent to this address")]
    Refused,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a code is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefused {
    /// It is another, or none was sent.
    #[error("The verification code is wrong")]
    Mismatch,
    /// It is older than five minutes.
    #[error("The verification code is too old")]
    Expired,
    /// There were five wrong ones.
    #[error("Too many wrong verification codes; ask for a new one")]
    TooManyTries,
    /// It was used.
    #[error("The verification code was used already")]
    Used,
}

/// Why a code could not be looked at, or is not right.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is not right.
    #[error(transparent)]
    Refused(#[from] CodeRefused),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a code is used up (`verification_codes.state`).
const FRESH: i64 = 0;
const CHECKED: i64 = 1;
const USED: i64 = 2;

/// Makes, sends and checks codes.
pub struct Codes {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    delivery: Arc<Delivery>,
    key: [u8; 32],
    limited: bool,
}

impl Codes {
    /// Loads the key of this database, or makes it. Without `limited` codes may be sent as often as anybody likes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load(
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        delivery: Arc<Delivery>,
        limited: bool,
    ) -> Result<Self, StoreError> {
        let seed = random.bytes32();
        let key = store.write::<_, StoreError, _>(move |tx| store::secret(tx, "verification_key", seed)).await?;
        Ok(Self { store, clock, random, delivery, key, limited })
    }

    /// Whether codes can be sent to such addresses.
    pub fn reaches(&self, medium: Medium) -> bool {
        self.delivery.reaches(medium)
    }

    /// Sends a code in the place of an older one.
    ///
    /// To those who register or change their address it is sent before this returns, and what goes wrong is told. To log in or
    /// reset a password it is sent afterwards, and only if an account has the address: neither the answer nor its time says so.
    /// That the mail server is away is then known from a send before.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn send(&self, purpose: Purpose, to: &ThirdPartyId) -> Result<(), SendError> {
        let medium = to.medium();
        if !self.reaches(medium) {
            return Err(SendError::NoWay(medium));
        }
        let permit = self.delivery.permit(medium).ok_or(SendError::Unreachable)?;
        let code = self.random.text(b"0123456789", DIGITS);
        let (hash, limited) = (self.hash(purpose, to, &code), self.limited);
        let (now, at) = (self.clock.now_ms(), to.clone());
        let known = self
            .store
            .write::<_, SendError, _>(move |tx| {
                if limited {
                    check_sends(tx, &at, now)?;
                }
                verification::note_send(tx, medium.name(), at.address(), now)?;
                verification::put_code(tx, purpose.number(), medium.name(), at.address(), &hash, now)?;
                Ok(match user_of(tx, &at)? {
                    Some(user) => accounts::is_active(tx, user)?,
                    None => false,
                })
            })
            .await?;
        if purpose.is_discreet() {
            if known {
                let (delivery, to) = (self.delivery.clone(), to.clone());
                tokio::spawn(async move {
                    // Told in the log, and to whoever asks next.
                    let _ = delivery.deliver(&to, &code, purpose).await;
                    drop(permit);
                });
            }
            return Ok(());
        }
        let sent = self.delivery.deliver(to, &code, purpose).await;
        if sent.is_err() {
            // It does not count: who asked may ask again at once.
            let at = to.clone();
            let undo =
                move |tx: &WriteTx<'_>| verification::undo_send(tx, purpose.number(), medium.name(), at.address(), now);
            self.store.write::<_, StoreError, _>(undo).await?;
        }
        sent.map_err(|error| match error {
            DeliveryError::Unreachable => SendError::Unreachable,
            DeliveryError::Refused => SendError::Refused,
        })
    }

    /// Uses a code up in the transaction of what it is for. A wrong one is counted with that transaction's commit: so
    /// a refusal must be no error of the transaction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn take(
        &self,
        tx: &WriteTx<'_>,
        purpose: Purpose,
        of: &ThirdPartyId,
        code: &str,
    ) -> Result<Result<(), CodeRefused>, StoreError> {
        self.judge(tx, purpose, of, code, USED)
    }

    /// Whether a code is right. This is answered once; what the code is for may still be done with it after.
    ///
    /// # Errors
    /// [`CheckError`]
    pub async fn check(self: &Arc<Self>, purpose: Purpose, of: ThirdPartyId, code: String) -> Result<(), CheckError> {
        let this = self.clone();
        let judged =
            self.store.write::<_, StoreError, _>(move |tx| this.judge(tx, purpose, &of, &code, CHECKED)).await?;
        Ok(judged?)
    }

    fn judge(
        &self,
        tx: &WriteTx<'_>,
        purpose: Purpose,
        of: &ThirdPartyId,
        code: &str,
        next: i64,
    ) -> Result<Result<(), CodeRefused>, StoreError> {
        let (number, medium, address) = (purpose.number(), of.medium().name(), of.address());
        let Some(row) = verification::code(tx, number, medium, address)? else {
            return Ok(Err(CodeRefused::Mismatch));
        };
        if row.tries >= MAX_TRIES {
            return Ok(Err(CodeRefused::TooManyTries));
        }
        let stored = blake3::Hash::from_slice(&row.hash)
            .map_err(|error| StoreError::Damaged(format!("a verification code: {error}")))?;
        // blake3::Hash is compared in constant time.
        if stored != blake3::Hash::from_bytes(self.hash(purpose, of, code)) {
            verification::set_code(tx, number, medium, address, row.tries + 1, row.state)?;
            return Ok(Err(CodeRefused::Mismatch));
        }
        if row.created_ts + CODE_MS <= self.clock.now_ms() {
            return Ok(Err(CodeRefused::Expired));
        }
        if row.state >= next {
            return Ok(Err(CodeRefused::Used));
        }
        debug_assert!(row.state >= FRESH);
        verification::set_code(tx, number, medium, address, row.tries, next)?;
        Ok(Ok(()))
    }

    fn hash(&self, purpose: Purpose, of: &ThirdPartyId, code: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [purpose.name(), of.medium().name(), of.address(), code] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// Whether a code may be sent to an address now.
fn check_sends(tx: &WriteTx<'_>, to: &ThirdPartyId, now: i64) -> Result<(), SendError> {
    let sends = verification::sends(tx, to.medium().name(), to.address(), now - DAY_MS)?;
    let after_last = sends.last().map_or(0, |last| last + BETWEEN_MS - now);
    let after_day = match sends.len() {
        0..A_DAY => 0,
        many => sends[many - A_DAY] + DAY_MS - now,
    };
    match u64::try_from(after_last.max(after_day)) {
        Ok(0) | Err(_) => Ok(()),
        Ok(retry_after_ms) => Err(SendError::TooOften(Limited { retry_after_ms })),
    }
}

#[cfg(test)]
mod tests;
