//! From where on a user sees a room's history, after they cleared what was before.
//!
//! It is room account data (`org.linkim.history_floor`) that the server alone writes. Only the user's own view changes: their
//! timelines, pages and counts leave out what came up to there; state, which clients build the room from, stays.

use serde::{Deserialize, Serialize};

use crate::store::{
    Read, StoreError, account_data,
    ids::{RoomNid, UserNid},
};

/// The type of the account data.
pub const TYPE: &str = "org.linkim.history_floor";

/// Its content.
#[derive(Debug, Serialize, Deserialize)]
pub struct Content {
    /// Place in this server's order of arrival: what came up to and with it is cleared, and so is history from before ours.
    pub until_seq: i64,
}

/// The place up to which a user cleared a room; before everything, if they never did.
///
/// # Errors
/// [`StoreError`].
pub fn of(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<i64, StoreError> {
    let content = account_data::get(read, user, Some(room), TYPE)?;
    let content = content.and_then(|content| serde_json::from_str::<Content>(&content).ok());
    Ok(content.map_or(i64::MIN, |content| content.until_seq))
}
