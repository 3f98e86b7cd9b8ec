//! Who somebody is, by a password; and the session that starts with it.
//!
//! Source: Client-Server API, `POST /login`, `POST /account/password`.

use std::sync::Arc;

use ruma::{OwnedUserId, UserId};

use super::{
    endings::EndReason,
    login_tokens::Grant,
    passwords::{PasswordRefused, Passwords},
    rate_limits::{Limited, Rate, RateLimits},
    session::Session,
    sessions::{DeviceRefused, Holder, IssuedTokens, NewDevice, Sessions},
};
use crate::store::{
    Store, StoreError, WriteTx,
    accounts::{self, Account, AccountKind},
    devices,
    ids::{self, UserNid},
};

/// Why a login fails.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such user, or the password is another.
    #[error("Invalid username or password")]
    WrongCredentials,
    /// There is no such token, or it was used, or is too old.
    #[error("Invalid login token")]
    WrongToken,
    /// The account was deactivated.
    #[error("This account has been deactivated")]
    Deactivated,
    /// The password is right, the account is locked.
    #[error("This account has been locked")]
    Locked,
    /// The account cannot have the device.
    #[error(transparent)]
    Device(#[from] DeviceRefused),
    /// Too many wrong passwords for this account.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The new password cannot be had.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks passwords.
pub struct Login {
    store: Store,
    passwords: Arc<Passwords>,
    sessions: Arc<Sessions>,
    limits: Arc<RateLimits>,
}

impl Login {
    /// Wrong passwords are counted in `limits`.
    pub fn new(store: Store, passwords: Arc<Passwords>, sessions: Arc<Sessions>, limits: Arc<RateLimits>) -> Self {
        Self { store, passwords, sessions, limits }
    }

    /// Starts a session. `user_id` none stands for a name that no user of this server can have; it fails as slowly as any other.
    pub async fn with_password(
        &self,
        user_id: Option<OwnedUserId>,
        password: String,
        device: NewDevice,
    ) -> Result<(OwnedUserId, IssuedTokens), LoginError> {
        let verified = self.verify(user_id.as_deref(), password).await?;
        let Some(user_id) = user_id else { return Err(LoginError::WrongCredentials) };
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                let account = accounts::get(tx, verified.user)?.ok_or(LoginError::WrongCredentials)?;
                // The password may have been changed, or the account deactivated, while it was being hashed.
                if account.password_hash != verified.account.password_hash {
                    return Err(LoginError::WrongCredentials);
                }
                let tokens = open_session(tx, &sessions, verified.user, &user_id, &account, &device)?;
                Ok((user_id, tokens))
            })
            .await
    }

    /// Starts a session with what a token granted, if the session that asked for the token is still there.
    pub async fn with_grant(
        &self,
        grant: Option<Grant>,
        device: NewDevice,
    ) -> Result<(OwnedUserId, IssuedTokens), LoginError> {
        let grant = grant.ok_or(LoginError::WrongToken)?;
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                let user = ids::user_nid(tx, &grant.user_id)?.ok_or(LoginError::WrongToken)?;
                let account = accounts::get(tx, user)?.ok_or(LoginError::WrongToken)?;
                if account.locked {
                    return Err(LoginError::Locked);
                }
                if !devices::of_user(tx, user)?.iter().any(|found| found.nid == grant.device) {
                    return Err(LoginError::WrongToken);
                }
                let tokens = open_session(tx, &sessions, user, &grant.user_id, &account, &device)?;
                Ok((grant.user_id, tokens))
            })
            .await
    }

    /// Whether this is the user's password. A wrong one counts.
    pub(super) async fn verify(&self, user_id: Option<&UserId>, password: String) -> Result<Verified, LoginError> {
        let found = match user_id {
            Some(user_id) => self.account(user_id.to_owned()).await?,
            None => None,
        };
        if let Some((user, _)) = &found {
            // Taken before the hash, so that attempts at once count like attempts in turn; a right password gives it back.
            self.limits.check(Rate::FailedLogin, *user)?;
        }
        let hash = found.as_ref().and_then(|(_, account)| account.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        let Some((user, account)) = found else { return Err(LoginError::WrongCredentials) };
        if account.deactivated_ts.is_some() {
            return Err(LoginError::Deactivated);
        }
        if !right {
            return Err(LoginError::WrongCredentials);
        }
        self.limits.give_back(Rate::FailedLogin, user);
        Ok(Verified { user, account })
    }

    async fn account(&self, user_id: OwnedUserId) -> Result<Option<(UserNid, Account)>, StoreError> {
        self.store
            .read(move |read| {
                let Some(user) = ids::user_nid(read, &user_id)? else { return Ok(None) };
                Ok(accounts::get(read, user)?.map(|account| (user, account)))
            })
            .await
    }

    /// Sets the password of an account in its owner's or an operator's name, and ends all its sessions.
    pub async fn reset_password(&self, user: UserNid, password: String) -> Result<(), LoginError> {
        Passwords::check(&password)?;
        let hash = self.passwords.hash(password).await?;
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                let account = accounts::get(tx, user)?.ok_or(LoginError::WrongCredentials)?;
                if account.deactivated_ts.is_some() {
                    return Err(LoginError::Deactivated);
                }
                accounts::set_password(tx, user, &hash)?;
                sessions.end_all(tx, user, None, EndReason::ByServer)?;
                Ok(())
            })
            .await
    }

    /// Replaces the password of the session's user, who knows the old one; all other sessions end.
    ///
    /// # Errors
    /// [`LoginError`]
    pub async fn replace_password(&self, session: &Session, old: String, new: String) -> Result<(), LoginError> {
        Passwords::check(&new)?;
        self.verify(Some(&session.user_id), old).await?;
        self.change_password(session, new, true).await
    }

    /// Sets the password of a user who proved an address; all sessions end with `logout_devices`.
    ///
    /// # Errors
    /// [`LoginError`]
    pub async fn set_password(&self, user: UserNid, password: String, logout_devices: bool) -> Result<(), LoginError> {
        Passwords::check(&password)?;
        let hash = self.passwords.hash(password).await?;
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                accounts::set_password(tx, user, &hash)?;
                if logout_devices {
                    sessions.end_all(tx, user, None, EndReason::PasswordChanged)?;
                }
                Ok(())
            })
            .await
    }

    /// Replaces the password of the session's user; with `logout_devices` all other sessions end.
    pub async fn change_password(
        &self,
        session: &Session,
        password: String,
        logout_devices: bool,
    ) -> Result<(), LoginError> {
        Passwords::check(&password)?;
        let hash = self.passwords.hash(password).await?;
        let (sessions, user, device) = (self.sessions.clone(), session.user, session.device);
        self.store
            .write(move |tx| {
                accounts::set_password(tx, user, &hash)?;
                if logout_devices {
                    sessions.end_all(tx, user, Some(device), EndReason::PasswordChanged)?;
                }
                Ok(())
            })
            .await
    }
}

/// Starts a session of an account whose owner it is.
pub(super) fn open_session(
    tx: &WriteTx<'_>,
    sessions: &Sessions,
    user: UserNid,
    user_id: &UserId,
    account: &Account,
    device: &NewDevice,
) -> Result<IssuedTokens, LoginError> {
    if account.deactivated_ts.is_some() {
        return Err(LoginError::Deactivated);
    }
    if account.locked {
        return Err(LoginError::Locked);
    }
    let holder = Holder {
        user,
        user_id,
        guest: account.kind == AccountKind::Guest,
        admin: account.admin,
        suspended: account.suspended,
    };
    sessions.check_device(tx, user, device)?.map_or(Ok(()), Err)?;
    Ok(sessions.start(tx, holder, device)?)
}

/// A user whose password was right.
pub(super) struct Verified {
    pub(super) user: UserNid,
    pub(super) account: Account,
}
