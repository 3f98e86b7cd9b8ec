//! Statements on access and refresh tokens.

use super::{
    Read, Row, StoreError, WriteTx,
    accounts::AccountKind,
    ids::{DeviceNid, UserNid},
};
use crate::params;

/// What a token is for (`tokens.kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// It authenticates requests.
    Access,
    /// It is exchanged for a new pair.
    Refresh,
    /// It proves to a third party whose it is (Client-Server API, "OpenID"), and nothing to us.
    OpenId,
}

impl TokenKind {
    /// The number that stands for it, in the database and in a token.
    pub fn number(self) -> i64 {
        match self {
            Self::Access => 1,
            Self::Refresh => 2,
            Self::OpenId => 3,
        }
    }
}

/// A row of `tokens`.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its number.
    pub nid: i64,
    /// Whose it is.
    pub user: UserNid,
    /// Of which device.
    pub device: DeviceNid,
    /// When it was made, in milliseconds.
    pub created_ts: i64,
    /// When it stops being valid, in milliseconds; none: never.
    pub expires_ts: Option<i64>,
    /// The token issued with it.
    pub pair: Option<i64>,
    /// The access token of the pair that took its place.
    pub replaced_by: Option<i64>,
    /// Whether it, or the token issued with it, was used; the pair before it is then gone.
    pub used: bool,
}

fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        nid: row.get(0)?,
        user: row.get(1)?,
        device: row.get(2)?,
        created_ts: row.get(3)?,
        expires_ts: row.get(4)?,
        pair: row.get(5)?,
        replaced_by: row.get(6)?,
        used: row.get(7)?,
    })
}

/// The token of this number and kind.
pub fn get(read: &dyn Read, nid: i64, kind: TokenKind) -> Result<Option<Token>, StoreError> {
    read.one(
        "SELECT nid, user, device, created_ts, expires_ts, pair, replaced_by, used FROM tokens \
         WHERE nid = ?1 AND kind = ?2",
        params![nid, kind.number()],
        token,
    )
}

/// An access token with what authentication must know, in one look-up.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: Token,
    /// The id of its user.
    pub user_id: String,
    /// The id of its device.
    pub device_id: String,
    /// Whether the account is a guest.
    pub guest: bool,
    /// Whether the account is an administrator.
    pub admin: bool,
    /// Whether the account is locked.
    pub locked: bool,
    /// Whether the account is suspended.
    pub suspended: bool,
}

/// The access token of this number.
pub fn access(read: &dyn Read, nid: i64) -> Result<Option<AccessToken>, StoreError> {
    read.one(
        "SELECT t.nid, t.user, t.device, t.created_ts, t.expires_ts, t.pair, t.replaced_by, t.used, \
         u.user_id, d.device_id, a.kind, a.admin, a.locked, a.suspended \
         FROM tokens t JOIN users u ON u.nid = t.user JOIN devices d ON d.nid = t.device \
         JOIN accounts a ON a.user = t.user WHERE t.nid = ?1 AND t.kind = 1",
        params![nid],
        |row| {
            Ok(AccessToken {
                token: token(row)?,
                user_id: row.get(8)?,
                device_id: row.get(9)?,
                guest: row.get::<i64>(10)? == AccountKind::Guest.number(),
                admin: row.get(11)?,
                locked: row.get(12)?,
                suspended: row.get(13)?,
            })
        },
    )
}

/// Makes a token and answers its number.
pub fn insert(
    tx: &WriteTx<'_>,
    user: UserNid,
    device: DeviceNid,
    kind: TokenKind,
    created_ts: i64,
    expires_ts: Option<i64>,
    used: bool,
) -> Result<i64, StoreError> {
    tx.insert(
        "INSERT INTO tokens (user, device, kind, created_ts, expires_ts, used) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING nid",
        params![user, device, kind.number(), created_ts, expires_ts, used],
    )
}

/// Says that two tokens were issued together.
pub fn pair(tx: &WriteTx<'_>, access: i64, refresh: i64) -> Result<(), StoreError> {
    let sql = "UPDATE tokens SET pair = ?2 WHERE nid = ?1";
    tx.execute(sql, params![access, refresh])?;
    tx.execute(sql, params![refresh, access])?;
    Ok(())
}

/// Says that the pair of `refresh` gives way to the pair of `access` at the latter's first use.
pub fn replace(tx: &WriteTx<'_>, device: DeviceNid, refresh: i64, access: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET replaced_by = ?3 WHERE device = ?1 AND (nid = ?2 OR pair = ?2)",
        params![device, refresh, access],
    )?;
    Ok(())
}

/// Moves the end of a token's validity.
pub fn set_expiry(tx: &WriteTx<'_>, nid: i64, expires_ts: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE tokens SET expires_ts = ?2 WHERE nid = ?1", params![nid, expires_ts])?;
    Ok(())
}

/// Marks a pair as used and deletes the pair that it replaced. Answers the numbers of the deleted.
pub fn first_use(tx: &WriteTx<'_>, device: DeviceNid, access: i64) -> Result<Vec<i64>, StoreError> {
    tx.execute("UPDATE tokens SET used = 1 WHERE device = ?1 AND (nid = ?2 OR pair = ?2)", params![device, access])?;
    let read: &dyn Read = tx;
    read.all(
        "DELETE FROM tokens WHERE device = ?1 AND replaced_by = ?2 RETURNING nid",
        params![device, access],
        |row| row.get(0),
    )
}

/// Deletes all tokens of a device. Answers their numbers.
pub fn delete_of_device(tx: &WriteTx<'_>, device: DeviceNid) -> Result<Vec<i64>, StoreError> {
    let read: &dyn Read = tx;
    read.all("DELETE FROM tokens WHERE device = ?1 RETURNING nid", params![device], |row| row.get(0))
}

/// Makes room for one more OpenID token of a device: those expired go, and the oldest beyond `keep`.
pub fn trim_openid(tx: &WriteTx<'_>, device: DeviceNid, now: i64, keep: i64) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM tokens WHERE device = ?1 AND kind = 3 AND (expires_ts <= ?2 OR nid <= \
         (SELECT nid FROM tokens WHERE device = ?1 AND kind = 3 ORDER BY nid DESC LIMIT 1 OFFSET ?3))",
        params![device, now, keep],
    )?;
    Ok(())
}

/// The numbers of a user's tokens.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<i64>, StoreError> {
    read.all("SELECT t.nid FROM devices d JOIN tokens t ON t.device = d.nid WHERE d.user = ?1", params![user], |row| {
        row.get(0)
    })
}

/// Remembers why the session of a device ends, by its access tokens; to be called before they are deleted.
pub fn note_ended(tx: &WriteTx<'_>, device: DeviceNid, reason: i64, now: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO ended_tokens (token, created_ts, reason, ended_ts) \
         SELECT nid, created_ts, ?2, ?3 FROM tokens WHERE device = ?1 AND kind = 1",
        params![device, reason, now],
    )?;
    Ok(())
}

/// Why the session of an access token, made at `created_ts` if that is known, ended; none if nobody noted it.
pub fn ended(read: &dyn Read, nid: i64, created_ts: Option<i64>) -> Result<Option<i64>, StoreError> {
    read.one(
        "SELECT reason FROM ended_tokens WHERE token = ?1 AND created_ts = COALESCE(?2, created_ts)",
        params![nid, created_ts],
        |row| row.get(0),
    )
}

/// Forgets up to `chunk` ended tokens: those from before `before`, and the oldest beyond `keep`. Answers how many.
pub fn sweep_ended(tx: &WriteTx<'_>, before: i64, keep: i64, chunk: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM ended_tokens WHERE token IN (SELECT token FROM ended_tokens WHERE ended_ts < ?1 OR ended_ts <= \
         COALESCE((SELECT ended_ts FROM ended_tokens ORDER BY ended_ts DESC LIMIT 1 OFFSET ?2), 0) LIMIT ?3)",
        params![before, keep, chunk],
    )
}
