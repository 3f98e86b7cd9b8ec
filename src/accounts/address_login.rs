//! Who somebody is, by a phone number or e-mail address: with a password, or with a code that was sent to it.

use std::sync::Arc;

use ruma::OwnedUserId;

use super::{
    codes::{CodeRefused, Codes, Purpose},
    endings::EndReason,
    login::{Login, LoginError, open_session},
    passwords::Passwords,
    rate_limits::{LimitKey, Rate, RateLimits},
    session::Session,
    sessions::{IssuedTokens, NewDevice, Sessions},
    third_party_ids::{ThirdPartyId, ThirdPartyIds, user_of},
};
use crate::store::{
    Store, StoreError, accounts,
    ids::{self, UserNid},
};

/// Why a code does not let somebody in.
#[derive(Debug, thiserror::Error)]
pub enum ByCodeError {
    /// The code is not right; or no account has the address, which is not told apart.
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// The address is not that of the account whose token or number the request has.
    #[error("The address is not this account's")]
    NotYours,
    /// The code is right, and yet.
    #[error(transparent)]
    Login(#[from] LoginError),
}

impl From<StoreError> for ByCodeError {
    fn from(error: StoreError) -> Self {
        Self::Login(error.into())
    }
}

/// Lets in by address.
pub struct AddressLogin {
    store: Store,
    addresses: Arc<ThirdPartyIds>,
    codes: Arc<Codes>,
    passwords: Arc<Passwords>,
    login: Arc<Login>,
    sessions: Arc<Sessions>,
    limits: Arc<RateLimits>,
}

impl AddressLogin {
    /// Wrong passwords are counted in `limits`, wrong codes by `codes`.
    pub fn new(
        store: Store,
        addresses: Arc<ThirdPartyIds>,
        codes: Arc<Codes>,
        passwords: Arc<Passwords>,
        login: Arc<Login>,
        sessions: Arc<Sessions>,
        limits: Arc<RateLimits>,
    ) -> Self {
        Self { store, addresses, codes, passwords, login, sessions, limits }
    }

    /// Starts a session by a password. An address that no account has costs the same time, and the same tries.
    ///
    /// # Errors
    /// [`LoginError`]
    pub async fn with_password(
        &self,
        address: &ThirdPartyId,
        password: String,
        device: NewDevice,
    ) -> Result<(OwnedUserId, IssuedTokens), LoginError> {
        let key = LimitKey::text(address.address());
        self.limits.check(Rate::FailedLogin, key)?;
        let user_id = self.addresses.user_id(address).await?;
        let started = self.login.with_password(user_id, password, device).await?;
        self.limits.give_back(Rate::FailedLogin, key);
        Ok(started)
    }

    /// Starts a session by a code ([`Purpose::Login`]).
    ///
    /// # Errors
    /// [`ByCodeError`]
    pub async fn with_code(
        &self,
        address: ThirdPartyId,
        code: String,
        device: NewDevice,
    ) -> Result<(OwnedUserId, IssuedTokens), ByCodeError> {
        let (codes, sessions) = (self.codes.clone(), self.sessions.clone());
        self.store
            .write::<_, ByCodeError, _>(move |tx| {
                // A wrong code must be counted: so it is no error of the transaction.
                if let Err(refused) = codes.take(tx, Purpose::Login, &address, &code)? {
                    return Ok(Err(refused));
                }
                let Some(user) = user_of(tx, &address)? else { return Ok(Err(CodeRefused::Mismatch)) };
                let account = accounts::get(tx, user)?.ok_or(LoginError::WrongCredentials)?;
                let user_id = ids::user_id(tx, user)?;
                let tokens = open_session(tx, &sessions, user, &user_id, &account, &device)?;
                Ok(Ok((user_id, tokens)))
            })
            .await?
            .map_err(ByCodeError::Code)
    }

    /// Sets the password of the account that has the address, by a code ([`Purpose::ResetPassword`]); all its sessions end but
    /// `session`, which, if there is one, must be of that account. So must `user`, if the request names one.
    ///
    /// # Errors
    /// [`ByCodeError`]
    pub async fn reset_password(
        &self,
        address: ThirdPartyId,
        code: String,
        password: String,
        session: Option<&Session>,
        user: Option<UserNid>,
    ) -> Result<(), ByCodeError> {
        Passwords::check(&password).map_err(LoginError::from)?;
        let hash = self.passwords.hash(password).await?;
        let (codes, sessions) = (self.codes.clone(), self.sessions.clone());
        let (device, expected) = (session.map(|session| session.device), session.map(|session| session.user));
        self.store
            .write::<_, ByCodeError, _>(move |tx| {
                if let Err(refused) = codes.take(tx, Purpose::ResetPassword, &address, &code)? {
                    return Ok(Err(refused));
                }
                let Some(owner) = user_of(tx, &address)? else { return Ok(Err(CodeRefused::Mismatch)) };
                if [expected, user].into_iter().flatten().any(|named| named != owner) {
                    return Err(ByCodeError::NotYours);
                }
                accounts::set_password(tx, owner, &hash)?;
                sessions.end_all(tx, owner, device, EndReason::PasswordChanged)?;
                Ok(Ok(()))
            })
            .await?
            .map_err(ByCodeError::Code)
    }
}
