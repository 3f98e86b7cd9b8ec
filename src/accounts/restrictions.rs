//! Locks and suspensions: what administrators do to accounts for a time.
//!
//! Source: Client-Server API, "Account locking", "Account suspension", "Server Administration".

use std::sync::Arc;

use ruma::{OwnedServerName, UserId};

use super::{session::Session, sessions::Sessions};
use crate::store::{
    Read, Store, StoreError,
    accounts::{self, Account, AccountKind},
    ids::{self, UserNid},
};

/// What an account can be under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// Its sessions prove nothing until it is unlocked.
    Lock,
    /// It reads, but does not speak.
    Suspension,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RestrictionError {
    /// Whoever asks is no administrator.
    #[error("Only an administrator of this server may do this")]
    NotAdministrator,
    /// The account is the asker's own.
    #[error("Administrators may not do this to themselves")]
    Own,
    /// The account is an administrator's, or the server's own.
    #[error("This account is an administrator's")]
    OtherAdministrator,
    /// The user is another server's.
    #[error("The user does not belong to this server")]
    NotLocal,
    /// There is no such account, or it was deactivated.
    #[error("User not found")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Locks and suspends accounts.
pub struct Restrictions {
    store: Store,
    sessions: Arc<Sessions>,
    server_name: OwnedServerName,
}

impl Restrictions {
    /// Of the accounts of `server_name`.
    pub fn new(store: Store, sessions: Arc<Sessions>, server_name: OwnedServerName) -> Self {
        Self { store, sessions, server_name }
    }

    /// Whether an account is under a restriction.
    pub async fn get(&self, by: &Session, user: &UserId, what: Restriction) -> Result<bool, RestrictionError> {
        self.check(by, user)?;
        let (by, user) = (by.user, user.to_owned());
        self.store
            .read(move |read| {
                let (_, account) = found(read, by, &user)?;
                Ok(match what {
                    Restriction::Lock => account.locked,
                    Restriction::Suspension => account.suspended,
                })
            })
            .await
    }

    /// Puts an account under a restriction, or lifts it; every session of the account feels it from its next request on.
    pub async fn set(&self, by: &Session, user: &UserId, what: Restriction, on: bool) -> Result<(), RestrictionError> {
        self.check(by, user)?;
        if by.user_id == user {
            return Err(RestrictionError::Own);
        }
        let (by, user, sessions) = (by.user, user.to_owned(), self.sessions.clone());
        self.store
            .write(move |tx| {
                let (nid, _) = found(tx, by, &user)?;
                match what {
                    Restriction::Lock => accounts::set_locked(tx, nid, on)?,
                    Restriction::Suspension => accounts::set_suspended(tx, nid, on)?,
                }
                Ok(sessions.account_changed(tx, nid)?)
            })
            .await
    }

    /// What must be right before the account is looked up, so that nobody learns from the answer who has one.
    fn check(&self, by: &Session, user: &UserId) -> Result<(), RestrictionError> {
        if !by.admin {
            return Err(RestrictionError::NotAdministrator);
        }
        if user.server_name() != self.server_name {
            return Err(RestrictionError::NotLocal);
        }
        Ok(())
    }
}

fn found(read: &dyn Read, by: UserNid, user: &UserId) -> Result<(UserNid, Account), RestrictionError> {
    let nid = ids::user_nid(read, user)?.ok_or(RestrictionError::Unknown)?;
    let account = accounts::get(read, nid)?.filter(|account| account.deactivated_ts.is_none());
    let account = account.ok_or(RestrictionError::Unknown)?;
    if nid != by && (account.admin || account.kind == AccountKind::Service) {
        return Err(RestrictionError::OtherAdministrator);
    }
    Ok((nid, account))
}
