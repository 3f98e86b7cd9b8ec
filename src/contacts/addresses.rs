//! Phone numbers and e-mail addresses between users: who is found by them, and who sees them. Both are their owner's to say
//! ([`UserSettings`]).

use super::friends;
use crate::{
    accounts::{Medium, ThirdPartyId, UserSettings, split_phone},
    store::{Read, StoreError, accounts, ids, ids::UserNid, third_party_ids},
};

/// A user's addresses as another user sees them: each empty if there is none, or it is not for the other one to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The e-mail address.
    pub email: String,
    /// The country code of the phone number, such as `+86`.
    pub area: String,
    /// The phone number without the country code.
    pub phone: String,
}

impl Addresses {
    /// What `viewer` sees of a user of this server: the user themselves all, their friends where the user lets them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seen_by(read: &dyn Read, viewer: UserNid, owner: UserNid) -> Result<Self, StoreError> {
        let mut seen = Self::default();
        if !may_see(read, viewer, owner)? {
            return Ok(seen);
        }
        // Those that the user got first: they are the ones that they registered with.
        for row in third_party_ids::of_user(read, owner)?.into_iter().rev() {
            match Medium::parse(&row.medium) {
                Some(Medium::Email) => seen.email = row.address,
                Some(Medium::Msisdn) => (seen.area, seen.phone) = split_phone(&row.address),
                None => {}
            }
        }
        Ok(seen)
    }
}

fn may_see(read: &dyn Read, viewer: UserNid, owner: UserNid) -> Result<bool, StoreError> {
    if viewer == owner {
        return Ok(true);
    }
    Ok(UserSettings::of(read, owner)?.friends_see_addresses && friends::has(read, owner, &ids::user_id(read, viewer)?)?)
}

/// Whom a phone number with its country code, or an e-mail address, belongs to, if its owner may be found by it.
pub(super) fn owner(read: &dyn Read, text: &str) -> Result<Option<UserNid>, StoreError> {
    for medium in [Medium::Email, Medium::Msisdn] {
        let Some(id) = ThirdPartyId::parse(medium, text) else { continue };
        let Some(owner) = third_party_ids::user_of(read, medium.name(), id.address())? else { continue };
        let settings = UserSettings::of(read, owner)?;
        let findable = match medium {
            Medium::Email => settings.find_by_email,
            Medium::Msisdn => settings.find_by_phone,
        };
        if findable && accounts::is_active(read, owner)? {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}
