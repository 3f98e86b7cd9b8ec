//! Statements on the phone numbers and e-mail addresses of local accounts.

use super::{Read, Row, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// A row of `third_party_ids`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThirdPartyIdRow {
    /// `email` or `msisdn`.
    pub medium: String,
    /// The e-mail address in lower case, or the phone number's E.164 digits.
    pub address: String,
    /// When it was proved, in milliseconds.
    pub validated_ts: i64,
    /// When the account got it, in milliseconds.
    pub added_ts: i64,
}

fn third_party_id(row: &Row<'_>) -> Result<ThirdPartyIdRow, StoreError> {
    Ok(ThirdPartyIdRow { medium: row.get(0)?, address: row.get(1)?, validated_ts: row.get(2)?, added_ts: row.get(3)? })
}

/// Whose address this is. The account is not deactivated: that frees its addresses.
pub fn user_of(read: &dyn Read, medium: &str, address: &str) -> Result<Option<UserNid>, StoreError> {
    read.one("SELECT user FROM third_party_ids WHERE medium = ?1 AND address = ?2", params![medium, address], |row| {
        row.get(0)
    })
}

/// A user's addresses, oldest first.
pub fn of_user(read: &dyn Read, user: UserNid) -> Result<Vec<ThirdPartyIdRow>, StoreError> {
    read.all(
        "SELECT medium, address, validated_ts, added_ts FROM third_party_ids WHERE user = ?1 ORDER BY added_ts, address",
        params![user],
        third_party_id,
    )
}

/// Gives a user an address that nobody has.
pub fn insert(
    tx: &WriteTx<'_>,
    user: UserNid,
    medium: &str,
    address: &str,
    validated_ts: i64,
    added_ts: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO third_party_ids (medium, address, user, validated_ts, added_ts) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![medium, address, user, validated_ts, added_ts],
    )?;
    Ok(())
}

/// Takes an address from a user. Answers whether they had it.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, medium: &str, address: &str) -> Result<bool, StoreError> {
    let deleted = tx.execute(
        "DELETE FROM third_party_ids WHERE medium = ?2 AND address = ?3 AND user = ?1",
        params![user, medium, address],
    )?;
    Ok(deleted > 0)
}

/// Takes all addresses of a medium from a user.
pub fn delete_of_medium(tx: &WriteTx<'_>, user: UserNid, medium: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM third_party_ids WHERE user = ?1 AND medium = ?2", params![user, medium])?;
    Ok(())
}

/// Takes all addresses from a user.
pub fn delete_of_user(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM third_party_ids WHERE user = ?1", params![user])?;
    Ok(())
}
