//! Statements on verification codes, when they were sent, and the sessions that Matrix clients ask tokens for.

use super::{Read, Row, StoreError, WriteTx};
use crate::params;

/// A row of `verification_codes`.
#[derive(Clone, Debug)]
pub struct CodeRow {
    /// The keyed hash of the code.
    pub hash: Vec<u8>,
    /// When it was made, in milliseconds.
    pub created_ts: i64,
    /// Wrong tries.
    pub tries: i64,
    /// 0 fresh, 1 checked once, 2 used.
    pub state: i64,
}

/// The newest code of a purpose and address.
pub fn code(read: &dyn Read, purpose: i64, medium: &str, address: &str) -> Result<Option<CodeRow>, StoreError> {
    read.one(
        "SELECT hash, created_ts, tries, state FROM verification_codes \
         WHERE purpose = ?1 AND medium = ?2 AND address = ?3",
        params![purpose, medium, address],
        |row| Ok(CodeRow { hash: row.get(0)?, created_ts: row.get(1)?, tries: row.get(2)?, state: row.get(3)? }),
    )
}

/// Stores a code in the place of an older one.
pub fn put_code(
    tx: &WriteTx<'_>,
    purpose: i64,
    medium: &str,
    address: &str,
    hash: &[u8],
    now: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO verification_codes (purpose, medium, address, hash, created_ts) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (purpose, medium, address) DO UPDATE SET hash = excluded.hash, created_ts = excluded.created_ts, \
         tries = 0, state = 0",
        params![purpose, medium, address, hash, now],
    )?;
    Ok(())
}

/// Sets the tries and the state of a code.
pub fn set_code(
    tx: &WriteTx<'_>,
    purpose: i64,
    medium: &str,
    address: &str,
    tries: i64,
    state: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE verification_codes SET tries = ?4, state = ?5 WHERE purpose = ?1 AND medium = ?2 AND address = ?3",
        params![purpose, medium, address, tries, state],
    )?;
    Ok(())
}

/// Deletes the code of a purpose and address, if it still is the one made at `created_ts`, and the note that it was sent.
pub fn undo_send(
    tx: &WriteTx<'_>,
    purpose: i64,
    medium: &str,
    address: &str,
    created_ts: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM verification_codes WHERE purpose = ?1 AND medium = ?2 AND address = ?3 AND created_ts = ?4",
        params![purpose, medium, address, created_ts],
    )?;
    tx.execute(
        "DELETE FROM verification_sends WHERE medium = ?1 AND address = ?2 AND sent_ts = ?3",
        params![medium, address, created_ts],
    )?;
    Ok(())
}

/// When codes were sent to an address since `since`, oldest first.
pub fn sends(read: &dyn Read, medium: &str, address: &str, since: i64) -> Result<Vec<i64>, StoreError> {
    read.all(
        "SELECT sent_ts FROM verification_sends WHERE medium = ?1 AND address = ?2 AND sent_ts > ?3 ORDER BY sent_ts",
        params![medium, address, since],
        |row| row.get(0),
    )
}

/// Notes that a code is sent now.
pub fn note_send(tx: &WriteTx<'_>, medium: &str, address: &str, now: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO verification_sends (medium, address, sent_ts) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![medium, address, now],
    )?;
    Ok(())
}

/// A row of `verification_sessions`.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub sid: String,
    /// What its client made up, and must repeat.
    pub client_secret: String,
    /// What it is for (`accounts::Purpose`).
    pub purpose: i64,
    /// `email` or `msisdn`.
    pub medium: String,
    /// The address.
    pub address: String,
    /// The client's number of the newest attempt that was answered with a new code.
    pub send_attempt: i64,
    /// When it was made, or sent again, in milliseconds.
    pub created_ts: i64,
    /// When the address was proved, in milliseconds.
    pub validated_ts: Option<i64>,
}

fn session_row(row: &Row<'_>) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        sid: row.get(0)?,
        client_secret: row.get(1)?,
        purpose: row.get(2)?,
        medium: row.get(3)?,
        address: row.get(4)?,
        send_attempt: row.get(5)?,
        created_ts: row.get(6)?,
        validated_ts: row.get(7)?,
    })
}

/// The session of this id.
pub fn session(read: &dyn Read, sid: &str) -> Result<Option<SessionRow>, StoreError> {
    read.one(
        "SELECT sid, client_secret, purpose, medium, address, send_attempt, created_ts, validated_ts \
         FROM verification_sessions WHERE sid = ?1",
        params![sid],
        session_row,
    )
}

/// The session that a client has for an address and purpose.
pub fn session_for(
    read: &dyn Read,
    purpose: i64,
    medium: &str,
    address: &str,
    client_secret: &str,
) -> Result<Option<SessionRow>, StoreError> {
    read.one(
        "SELECT sid, client_secret, purpose, medium, address, send_attempt, created_ts, validated_ts \
         FROM verification_sessions WHERE medium = ?2 AND address = ?3 AND client_secret = ?4 AND purpose = ?1",
        params![purpose, medium, address, client_secret],
        session_row,
    )
}

/// Stores a session in the place of an older one for the same client secret, address and purpose.
pub fn put_session(tx: &WriteTx<'_>, row: &SessionRow) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM verification_sessions WHERE medium = ?2 AND address = ?3 AND client_secret = ?4 AND purpose = ?1",
        params![row.purpose, row.medium.as_str(), row.address.as_str(), row.client_secret.as_str()],
    )?;
    tx.execute(
        "INSERT INTO verification_sessions \
         (sid, client_secret, purpose, medium, address, send_attempt, created_ts, validated_ts) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            row.sid.as_str(),
            row.client_secret.as_str(),
            row.purpose,
            row.medium.as_str(),
            row.address.as_str(),
            row.send_attempt,
            row.created_ts,
            row.validated_ts
        ],
    )?;
    Ok(())
}

/// Notes that the address of a session was proved.
pub fn validate_session(tx: &WriteTx<'_>, sid: &str, now: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE verification_sessions SET validated_ts = ?2 WHERE sid = ?1", params![sid, now])?;
    Ok(())
}

/// Deletes a session: what it proved was used.
pub fn delete_session(tx: &WriteTx<'_>, sid: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM verification_sessions WHERE sid = ?1", params![sid])?;
    Ok(())
}

/// Forgets up to `chunk` rows of each table from before `before`. Answers the most that one of them lost.
pub fn sweep(tx: &WriteTx<'_>, before: i64, chunk: i64) -> Result<usize, StoreError> {
    let codes = tx.execute(
        "DELETE FROM verification_codes WHERE (purpose, medium, address) IN \
         (SELECT purpose, medium, address FROM verification_codes WHERE created_ts < ?1 LIMIT ?2)",
        params![before, chunk],
    )?;
    let sends = tx.execute(
        "DELETE FROM verification_sends WHERE (medium, address, sent_ts) IN \
         (SELECT medium, address, sent_ts FROM verification_sends WHERE sent_ts < ?1 LIMIT ?2)",
        params![before, chunk],
    )?;
    let sessions = tx.execute(
        "DELETE FROM verification_sessions WHERE sid IN \
         (SELECT sid FROM verification_sessions WHERE created_ts < ?1 LIMIT ?2)",
        params![before, chunk],
    )?;
    Ok(codes.max(sends).max(sessions))
}
