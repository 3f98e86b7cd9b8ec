//! How a user is shown where no room says otherwise.

use serde::Deserialize;

use super::{profile::MemberProfile, state};
use crate::store::{
    Read, StoreError,
    ids::UserNid,
    members::{self, Membership},
    profiles,
};

/// The profile field of an avatar that is no Matrix media: it comes first.
const OTHER_AVATAR: &str = "org.linkim.avatar_url";

/// A name and an avatar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ShownProfile {
    /// The name; none: there is none, the user id is shown.
    pub displayname: Option<String>,
    /// The avatar's address.
    pub avatar_url: Option<String>,
}

/// The profile of a local user; of another server's user what their newest member event here says.
///
/// # Errors
/// [`StoreError`].
pub fn shown_profile(read: &dyn Read, user: UserNid, local: bool) -> Result<ShownProfile, StoreError> {
    if local {
        let (displayname, media) = MemberProfile::load(read, user)?.into_parts();
        let other = profiles::get(read, user, OTHER_AVATAR)?.and_then(|json| serde_json::from_str(&json).ok());
        return Ok(ShownProfile { displayname, avatar_url: other.or(media) });
    }
    let rows = members::of_user(read, user)?.into_iter();
    let newest = rows.filter(|row| row.membership == Membership::Join).max_by_key(|row| row.since);
    match newest {
        Some(row) => {
            let pdu = state::load_pdu(read, row.event)?;
            // What is no string is none that can be shown.
            Ok(serde_json::from_str(pdu.content().get()).unwrap_or_default())
        }
        None => Ok(ShownProfile::default()),
    }
}
