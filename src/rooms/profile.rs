//! What a member event says of its user.

use ruma::{CanonicalJsonObject, UserId};

use crate::store::{Read, StoreError, ids, ids::UserNid, profiles};

/// The part of a local user's profile that stands in member events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberProfile {
    displayname: Option<String>,
    avatar_url: Option<String>,
}

impl MemberProfile {
    /// The profile of a local user; empty for a user that we do not know.
    pub(crate) fn of(read: &dyn Read, user: &UserId) -> Result<Self, StoreError> {
        match ids::user_nid(read, user)? {
            Some(nid) => Self::load(read, nid),
            None => Ok(Self::default()),
        }
    }

    /// The profile of a local user.
    pub(crate) fn load(read: &dyn Read, user: UserNid) -> Result<Self, StoreError> {
        let field = |name| -> Result<Option<String>, StoreError> {
            let json = profiles::get(read, user, name)?;
            // A field that is no string is none that a member event can carry.
            Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
        };
        Ok(Self { displayname: field("displayname")?, avatar_url: field("avatar_url")? })
    }

    /// Adds to a member event's content what it does not say itself.
    pub(crate) fn fill(&self, content: &mut CanonicalJsonObject) {
        for (name, value) in self.fields() {
            if let Some(value) = value
                && !content.contains_key(name)
            {
                content.insert(name.to_owned(), value.as_str().into());
            }
        }
    }

    /// Makes a member event's content say this profile and no other.
    pub(crate) fn replace(&self, content: &mut CanonicalJsonObject) {
        for (name, value) in self.fields() {
            match value {
                Some(value) => content.insert(name.to_owned(), value.as_str().into()),
                None => content.remove(name),
            };
        }
    }

    fn fields(&self) -> [(&'static str, Option<&String>); 2] {
        [("displayname", self.displayname.as_ref()), ("avatar_url", self.avatar_url.as_ref())]
    }
}
