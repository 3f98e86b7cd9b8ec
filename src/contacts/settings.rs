//! What users have set of who may approach them: the global account data `org.linkim.settings`.

use serde::Deserialize;

use crate::store::{Read, StoreError, account_data, ids::UserNid};

/// The account data's type.
pub const KIND: &str = "org.linkim.settings";

#[derive(Deserialize)]
struct Settings {
    /// Whether people who are no friends may ask to be.
    #[serde(default = "yes")]
    strangers_may_add: bool,
}

fn yes() -> bool {
    true
}

/// Whether a local user wants no friend requests.
///
/// # Errors
/// [`StoreError`].
pub fn refuses_strangers(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    let Some(content) = account_data::get(read, user, None, KIND)? else { return Ok(false) };
    Ok(serde_json::from_str::<Settings>(&content).is_ok_and(|settings| !settings.strangers_may_add))
}
