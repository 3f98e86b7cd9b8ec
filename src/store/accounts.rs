//! Statements on local accounts.

use super::{Read, Row, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// What kind of being an account belongs to (`accounts.kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A person.
    Person,
    /// A guest (Client-Server API, "Guest Access").
    Guest,
    /// A user of an application service.
    ApplicationService,
    /// A user of the server itself.
    Service,
}

impl AccountKind {
    /// The number that stands for it in the database.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Person => 0,
            Self::Guest => 1,
            Self::ApplicationService => 2,
            Self::Service => 3,
        }
    }

    fn from_number(number: i64) -> Result<Self, StoreError> {
        Ok(match number {
            0 => Self::Person,
            1 => Self::Guest,
            2 => Self::ApplicationService,
            3 => Self::Service,
            other => return Err(StoreError::Damaged(format!("account kind {other}"))),
        })
    }
}

/// A row of `accounts`.
#[derive(Clone, Debug)]
pub struct Account {
    /// What kind of account it is.
    pub kind: AccountKind,
    /// The Argon2id hash as a PHC string; none: nobody can log in with a password.
    pub password_hash: Option<String>,
    /// Whether the account is an administrator.
    pub admin: bool,
    /// Whether the account is locked (Client-Server API, "Account locking").
    pub locked: bool,
    /// Whether the account is suspended (Client-Server API, "Account suspension").
    pub suspended: bool,
    /// When the account was deactivated, in milliseconds.
    pub deactivated_ts: Option<i64>,
}

fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    Ok(Account {
        kind: AccountKind::from_number(row.get(0)?)?,
        password_hash: row.get(1)?,
        admin: row.get(2)?,
        locked: row.get(3)?,
        suspended: row.get(4)?,
        deactivated_ts: row.get(5)?,
    })
}

/// The account of a user, if it is one of ours.
pub fn get(read: &dyn Read, user: UserNid) -> Result<Option<Account>, StoreError> {
    read.one(
        "SELECT kind, password_hash, admin, locked, suspended, deactivated_ts FROM accounts WHERE user = ?1",
        params![user],
        account,
    )
}

/// Whether a user has, or ever had, an account here.
pub fn exists(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    Ok(read.one("SELECT 1 FROM accounts WHERE user = ?1", params![user], |_| Ok(()))?.is_some())
}

/// Whether a user has an account here that was not deactivated.
pub fn is_active(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    Ok(get(read, user)?.is_some_and(|account| account.deactivated_ts.is_none()))
}

/// Makes an account; `user` has none yet.
pub fn insert(
    tx: &WriteTx<'_>,
    user: UserNid,
    kind: AccountKind,
    password_hash: Option<&str>,
    admin: bool,
    created_ts: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO accounts (user, kind, password_hash, admin, created_ts) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![user, kind.number(), password_hash, admin, created_ts],
    )?;
    Ok(())
}

/// Replaces the password, unless the account was deactivated.
pub fn set_password(tx: &WriteTx<'_>, user: UserNid, hash: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE accounts SET password_hash = ?2 WHERE user = ?1 AND deactivated_ts IS NULL",
        params![user, hash],
    )?;
    Ok(())
}

/// Makes a person of a guest. Answers whether it was one, neither locked nor deactivated.
pub fn upgrade_guest(tx: &WriteTx<'_>, user: UserNid, hash: &str) -> Result<bool, StoreError> {
    let upgraded = tx.execute(
        "UPDATE accounts SET kind = 0, password_hash = ?2 \
         WHERE user = ?1 AND kind = 1 AND locked = 0 AND deactivated_ts IS NULL",
        params![user, hash],
    )?;
    Ok(upgraded > 0)
}

/// Locks or unlocks an account.
pub fn set_locked(tx: &WriteTx<'_>, user: UserNid, locked: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE accounts SET locked = ?2 WHERE user = ?1", params![user, locked])?;
    Ok(())
}

/// Suspends an account, or lifts that.
pub fn set_suspended(tx: &WriteTx<'_>, user: UserNid, suspended: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE accounts SET suspended = ?2 WHERE user = ?1", params![user, suspended])?;
    Ok(())
}

/// Deactivates an account for good; its password is forgotten.
pub fn deactivate(tx: &WriteTx<'_>, user: UserNid, now: i64, erase: bool) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE accounts SET deactivated_ts = COALESCE(deactivated_ts, ?2), password_hash = NULL, \
         erased = CASE WHEN ?3 = 1 THEN 1 ELSE erased END WHERE user = ?1",
        params![user, now, erase],
    )?;
    Ok(())
}
