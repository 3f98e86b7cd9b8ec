//! The list of friends, and removing one.

use ruma::{CanonicalJsonObject, OwnedUserId};

use super::{ContactError, Contacts, Person, friends, labels, people::person, remarks};
use crate::{
    accounts::Session,
    numbers::User,
    rooms::{append::LocalEvent, ignored_users},
    store::{
        Read, accounts, direct_rooms, friend_requests, ids,
        ids::{RoomKey, UserNid},
        members::Membership,
    },
};

/// The event by which a user's server tells the other one's that the user has removed them.
const REMOVED: &str = "org.linkim.friend.removed";

/// A friend as they are listed.
#[derive(Clone, Debug)]
pub struct FriendEntry {
    /// Who.
    pub person: Person,
    /// What the user calls them; empty if nothing else.
    pub remark: String,
    /// Since when they are friends, in milliseconds.
    pub since: i64,
    /// The labels that the user has given them.
    pub labels: Vec<String>,
    /// Their direct room.
    pub room: Option<std::sync::Arc<RoomKey>>,
}

impl Contacts {
    /// The user's friends by their ids, those whom the user has blocked left out; `after`: those that follow this one. `label`:
    /// only those with this label. Whether there are more.
    ///
    /// # Errors
    /// `NoLabel`, or the store's.
    pub async fn friends(
        &self,
        user: UserNid,
        label: Option<String>,
        after: Option<OwnedUserId>,
        limit: usize,
    ) -> Result<(Vec<FriendEntry>, bool), ContactError> {
        self.store.read(move |read| list(read, user, label.as_deref(), after, limit)).await
    }

    /// Removes a friend: on both sides where both are of this server; a server elsewhere is told. Labels and remarks go, too;
    /// the room stays.
    ///
    /// # Errors
    /// `NoFriend`, or the store's.
    pub async fn remove_friend(&self, by: &Session, peer: &User) -> Result<(), ContactError> {
        let _held = self.gates.pass(by.user, peer.nid).await;
        let (own, other) = (User { nid: by.user, user_id: by.user_id.clone() }, peer.clone());
        let (data, tags) = (self.data.clone(), self.tags.clone());
        let room = self
            .store
            .write(move |tx| {
                if !friends::remove(tx, &data, own.nid, &other.user_id)? {
                    return Err(ContactError::NoFriend);
                }
                labels::forget(tx, &data, &tags, own.nid, &other)?;
                remarks::forget(tx, &data, own.nid, &other.user_id)?;
                friend_requests::delete(tx, own.nid, other.nid)?;
                friend_requests::delete(tx, other.nid, own.nid)?;
                if accounts::exists(tx, other.nid)? {
                    friends::remove(tx, &data, other.nid, &own.user_id)?;
                    labels::forget(tx, &data, &tags, other.nid, &own)?;
                    remarks::forget(tx, &data, other.nid, &own.user_id)?;
                    return Ok(None);
                }
                let direct = direct_rooms::canonical(tx, own.nid, other.nid)?;
                Ok(direct.filter(|direct| direct.own == Some(Membership::Join)).map(|direct| direct.room))
            })
            .await?;
        if let Some(room) = room {
            let event = LocalEvent::message(by.user_id.clone(), REMOVED, CanonicalJsonObject::new());
            if let Err(error) = self.appenders.append(room, vec![event], None).await {
                tracing::warn!(%error, "another server was not told that a friend was removed");
            }
        }
        Ok(())
    }
}

fn list(
    read: &dyn Read,
    user: UserNid,
    label: Option<&str>,
    after: Option<OwnedUserId>,
    limit: usize,
) -> Result<(Vec<FriendEntry>, bool), ContactError> {
    let friends = friends::of(read, user)?;
    let labels = labels::of(read, user)?;
    let remarks = remarks::of(read, user)?;
    let wanted = match label {
        Some(name) => Some(&labels.get(name).ok_or(ContactError::NoLabel)?.friends),
        None => None,
    };
    let hidden = ignored_users::of(read, user)?;
    let mut out = Vec::new();
    for (friend, noted) in &friends.friends {
        if after.as_ref().is_some_and(|after| friend <= after) || wanted.is_some_and(|wanted| !wanted.contains(friend))
        {
            continue;
        }
        // Whoever became a friend was met.
        let Some(nid) = ids::user_nid(read, friend)? else { continue };
        if hidden.contains(&nid) {
            continue;
        }
        if out.len() == limit {
            return Ok((out, true));
        }
        let room = match direct_rooms::between(read, user, nid)? {
            Some(room) => Some(ids::room_by_nid(read, room)?),
            None => None,
        };
        let of_friend = labels.labels.iter().filter(|label| label.friends.contains(friend));
        out.push(FriendEntry {
            person: person(read, user, nid)?,
            remark: remarks.remarks.get(friend).cloned().unwrap_or_default(),
            since: noted.since,
            labels: of_friend.map(|label| label.name.clone()).collect(),
            room,
        });
    }
    Ok((out, false))
}
