//! What a member event says of its user, and how it follows the profile.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, OwnedUserId, UserId};

use super::{
    append::{AppendError, Appenders, LocalEvent},
    content::string,
    membership::{Membership, MembershipState},
    state,
};
use crate::store::{
    Read, Store, StoreError, account_data, ids,
    ids::{RoomNid, UserNid},
    members, profiles,
};

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

    /// The name and the avatar's address.
    pub(super) fn into_parts(self) -> (Option<String>, Option<String>) {
        (self.displayname, self.avatar_url)
    }

    fn fields(&self) -> [(&'static str, Option<&String>); 2] {
        [("displayname", self.displayname.as_ref()), ("avatar_url", self.avatar_url.as_ref())]
    }
}

impl Membership {
    /// Makes the user's member events say the present profile, in every room that they are in: after a change of
    /// `displayname` or `avatar_url`. One room's refusal does not hold up the others.
    ///
    /// # Errors
    /// The store's, of the look-up of the rooms alone.
    pub async fn profile_changed(&self, user: &UserId) -> Result<(), StoreError> {
        let user_id = user.to_owned();
        let rooms: Vec<RoomNid> = self
            .store
            .read(move |read| -> Result<_, StoreError> {
                let Some(user) = ids::user_nid(read, &user_id)? else { return Ok(Vec::new()) };
                let joined = members::of_user(read, user)?.into_iter();
                let joined = joined.filter(|member| member.membership == MembershipState::Join);
                Ok(joined.map(|member| member.room).collect())
            })
            .await?;
        let mut running = tokio::task::JoinSet::new();
        for room in rooms {
            if running.len() >= PROFILE_ROOMS_AT_ONCE {
                running.join_next().await;
            }
            running.spawn(update_profile(self.store.clone(), self.appenders.clone(), user.to_owned(), room));
        }
        while running.join_next().await.is_some() {}
        Ok(())
    }
}

/// Rooms whose member events are renewed at the same time.
const PROFILE_ROOMS_AT_ONCE: usize = 8;

/// Type of the room account data in which a user's own name for this room stands.
pub(crate) const NICKNAME_OVERRIDE: &str = "org.linkim.nickname_override";

/// The name that a user set for this room alone; it stands as long as their member event says it.
fn own_nickname(read: &dyn Read, user: &UserId, room: RoomNid) -> Result<Option<String>, StoreError> {
    let Some(user) = ids::user_nid(read, user)? else { return Ok(None) };
    let own = account_data::get(read, user, Some(room), NICKNAME_OVERRIDE)?;
    let own: Option<CanonicalJsonObject> = own.and_then(|own| serde_json::from_str(&own).ok());
    Ok(own.as_ref().and_then(|own| string(own, "nickname")).map(str::to_owned))
}

/// Renews one member event. A failure is logged: the profile itself is changed already.
async fn update_profile(store: Store, appenders: Arc<Appenders>, user: OwnedUserId, room: RoomNid) {
    let of = user.clone();
    let content = store
        .read(move |read| -> Result<_, StoreError> {
            let profile = MemberProfile::of(read, &of)?;
            let own = own_nickname(read, &of, room)?;
            let now: Option<CanonicalJsonObject> = state::current_content(read, room, "m.room.member", of.as_str())?;
            Ok(now.map(|mut content| {
                // These speak of the transition, not of the member.
                for name in ["reason", "join_authorised_via_users_server", "third_party_invite", "is_direct"] {
                    content.remove(name);
                }
                let own = own.filter(|own| string(&content, "displayname") == Some(own));
                profile.replace(&mut content);
                if let Some(own) = own {
                    content.insert("displayname".into(), own.into());
                }
                content
            }))
        })
        .await;
    let content = match content {
        // They left since.
        Ok(Some(content)) if string(&content, "membership") != Some("join") => return,
        Ok(Some(content)) => content,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%error, %user, "could not renew a member event"),
    };
    let event = LocalEvent::state(user.clone(), "m.room.member", user.as_str(), content);
    match appenders.append(room, vec![event], None).await {
        Ok(_) => {}
        Err(AppendError::Denied(reason)) => tracing::debug!(%user, reason, "a new profile was refused by a room"),
        Err(error) => tracing::warn!(%error, %user, "could not renew a member event"),
    }
}
