//! Who has blocked whom: `m.ignored_user_list`, the one truth for both APIs.

use crate::{
    rooms::ignored_users,
    store::{Read, StoreError, ids::UserNid},
};

/// Whether `by` has blocked `whom`. Of users of other servers nobody here knows whom they block: false.
///
/// # Errors
/// [`StoreError`].
pub fn blocked(read: &dyn Read, by: UserNid, whom: UserNid) -> Result<bool, StoreError> {
    Ok(ignored_users::of(read, by)?.contains(&whom))
}
