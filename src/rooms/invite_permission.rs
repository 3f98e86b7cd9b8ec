//! Users who want no invitations.
//!
//! Source: Client-Server API, "Invite permission".

use ruma::UserId;
use serde_json::Value;

use crate::store::{Read, StoreError, account_data, ids};

/// Whether a local user has all invitations rejected.
pub(crate) fn is_blocked(read: &dyn Read, user: &UserId) -> Result<bool, StoreError> {
    let Some(user) = ids::user_nid(read, user)? else { return Ok(false) };
    let Some(config) = account_data::get(read, user, None, "m.invite_permission_config")? else { return Ok(false) };
    Ok(serde_json::from_str::<Value>(&config).is_ok_and(|config| config["default_action"] == "block"))
}
