//! Who becomes friends by what happens in direct rooms, whichever client and server does it.
//!
//! All of it is written in the transaction of the member event, so there is nothing to catch up with after a crash: an
//! invitation is a request, joining accepts it, leaving rejects it, and who takes an invitation back takes back the request.

use std::sync::Arc;

use linkim_federation::Pdu;
use serde_json::Value;

use super::{
    MAX_REQUEST_TEXT,
    crossing::Crossings,
    direct::{AUTO_JOINED, FRIEND_REQUEST},
    friends,
    rules::ContactRules,
};
use crate::{
    accounts::{AccountData, AccountDataError},
    rooms::direct::{MemberChange, MemberWatcher, is_direct},
    store::{
        Read, StoreError, WriteTx, account_data, accounts, friend_requests,
        friend_requests::{Answer, FriendRequest},
        ids,
        ids::{RoomNid, UserNid},
        members,
        members::Membership,
    },
};

/// Follows memberships of direct rooms.
pub struct Following {
    data: Arc<AccountData>,
    rules: Arc<ContactRules>,
    crossings: Arc<Crossings>,
}

impl Following {
    /// `data` is written, `rules` and `crossings` are told.
    pub fn new(data: Arc<AccountData>, rules: Arc<ContactRules>, crossings: Arc<Crossings>) -> Self {
        Self { data, rules, crossings }
    }
}

impl MemberWatcher for Following {
    fn member_changed(&self, tx: &WriteTx<'_>, change: &MemberChange<'_>) -> Result<(), StoreError> {
        let (rules, room, position) = (self.rules.clone(), change.room, tx.position());
        tx.after_commit(move || rules.room_changed(room, position));
        let other = match change.pair {
            (one, other) if one == change.user => other,
            (other, one) if one == change.user => other,
            _ => return Ok(()),
        };
        let before = change.before;
        match change.after {
            Membership::Invite if change.sender == other && is_direct(change.event) => self.invited(tx, change, other),
            Membership::Join if before != Some(Membership::Join) => self.joined(tx, change, other),
            Membership::Leave | Membership::Ban if before == Some(Membership::Join) => {
                // Nobody is there any more to be met.
                withdraw(tx, change.room, change.user, other)
            }
            Membership::Leave | Membership::Ban if change.sender == change.user => {
                answer_in(tx, change.room, other, change.user, Answer::Rejected)
            }
            Membership::Leave | Membership::Ban => withdraw(tx, change.room, other, change.user),
            _ => Ok(()),
        }
    }
}

impl Following {
    fn invited(&self, tx: &WriteTx<'_>, change: &MemberChange<'_>, requester: UserNid) -> Result<(), StoreError> {
        let addressee = change.user;
        let (ours, theirs) = (accounts::exists(tx, requester)?, accounts::exists(tx, addressee)?);
        if !ours && !theirs {
            return Ok(());
        }
        // Friends who meet in another room ask for nothing.
        let requester_id = ids::user_id(tx, requester)?;
        let addressee_id = ids::user_id(tx, addressee)?;
        let own_side = !ours || friends::has(tx, requester, &addressee_id)?;
        if own_side && (!theirs || friends::has(tx, addressee, &requester_id)?) {
            return Ok(());
        }
        let request = FriendRequest {
            requester,
            addressee,
            room: change.room,
            answer: Answer::Pending,
            text: request_text(change.event),
            created_ts: timestamp(change.event),
            position: tx.next_position(),
        };
        friend_requests::put(tx, &request)?;
        if pending(tx, addressee, requester)?.is_some() {
            let crossings = self.crossings.clone();
            tx.after_commit(move || crossings.crossed(requester, addressee));
        }
        Ok(())
    }

    fn joined(&self, tx: &WriteTx<'_>, change: &MemberChange<'_>, other: UserNid) -> Result<(), StoreError> {
        let user = change.user;
        if is_auto_joined(change.event) && accounts::exists(tx, user)? {
            friend_requests::delete(tx, other, user)?;
        } else if let Some(asked) = accepted_by(tx, change, other)? {
            // The other one's server may have heard first, and have rejected what was made needless here.
            let crossing = friend_requests::get(tx, user, other)?.filter(|request| request.answer != Answer::Accepted);
            for request in [Some(asked), crossing].into_iter().flatten() {
                let (requester, addressee, room) = (request.requester, request.addressee, request.room);
                friend_requests::answer(tx, requester, addressee, Answer::Accepted, tx.next_position())?;
                if room != change.room {
                    let crossings = self.crossings.clone();
                    tx.after_commit(move || crossings.left_over(room, requester, addressee));
                }
            }
            befriend(tx, &self.data, user, other, timestamp(change.event))?;
        }
        let there = members::of(tx, other, change.room)?.map(|member| member.membership);
        if there == Some(Membership::Join) {
            self.set_direct(tx, user, other, change.room)?;
            self.set_direct(tx, other, user, change.room)?;
        }
        Ok(())
    }

    /// Puts the room into the user's `m.direct`, if the user is of this server.
    ///
    /// Source: Client-Server API, "Direct Messaging".
    fn set_direct(&self, tx: &WriteTx<'_>, user: UserNid, other: UserNid, room: RoomNid) -> Result<(), StoreError> {
        if !accounts::exists(tx, user)? {
            return Ok(());
        }
        let (other, room) = (ids::user_id(tx, other)?, ids::room_by_nid(tx, room)?);
        let stored = account_data::get(tx, user, None, "m.direct")?;
        let Some(content) = with_direct(stored.as_deref(), other.as_str(), room.room_id.as_str()) else {
            return Ok(());
        };
        match self.data.put(tx, user, None, "m.direct", &content) {
            Ok(()) => Ok(()),
            Err(AccountDataError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, user = user.0, "m.direct has no room for more");
                Ok(())
            }
        }
    }
}

/// Makes friends of two users, on each side that is of this server.
pub(super) fn befriend(
    tx: &WriteTx<'_>,
    data: &AccountData,
    one: UserNid,
    other: UserNid,
    since: i64,
) -> Result<(), StoreError> {
    for (user, friend) in [(one, other), (other, one)] {
        if accounts::exists(tx, user)? && !friends::add(tx, data, user, &ids::user_id(tx, friend)?, since)? {
            tracing::warn!(user = user.0, "a user has as many friends as there can be");
        }
    }
    Ok(())
}

/// The request, if it is pending.
fn pending(read: &dyn Read, requester: UserNid, addressee: UserNid) -> Result<Option<FriendRequest>, StoreError> {
    Ok(friend_requests::get(read, requester, addressee)?.filter(|request| request.answer == Answer::Pending))
}

/// The other one's request that a join accepts. Who was not invited accepts nothing: that one made the room, and we hear of it
/// with the room's state when our user joins it.
fn accepted_by(
    read: &dyn Read,
    change: &MemberChange<'_>,
    other: UserNid,
) -> Result<Option<FriendRequest>, StoreError> {
    let invited = change.before == Some(Membership::Invite);
    Ok(pending(read, other, change.user)?.filter(|request| invited || request.room == change.room))
}

/// The request that this room is for, if it is pending.
fn pending_in(
    read: &dyn Read,
    room: RoomNid,
    requester: UserNid,
    addressee: UserNid,
) -> Result<Option<FriendRequest>, StoreError> {
    Ok(pending(read, requester, addressee)?.filter(|request| request.room == room))
}

fn answer_in(
    tx: &WriteTx<'_>,
    room: RoomNid,
    requester: UserNid,
    addressee: UserNid,
    answer: Answer,
) -> Result<(), StoreError> {
    if pending_in(tx, room, requester, addressee)?.is_some() {
        friend_requests::answer(tx, requester, addressee, answer, tx.next_position())?;
    }
    Ok(())
}

fn withdraw(tx: &WriteTx<'_>, room: RoomNid, requester: UserNid, addressee: UserNid) -> Result<(), StoreError> {
    match pending_in(tx, room, requester, addressee)? {
        Some(_) => friend_requests::delete(tx, requester, addressee),
        None => Ok(()),
    }
}

fn timestamp(event: &Pdu) -> i64 {
    i64::try_from(event.origin_server_ts()).unwrap_or(i64::MAX)
}

/// What who asks says: LinkIM's text, or the reason of a plain invitation.
fn request_text(event: &Pdu) -> String {
    let content: Value = serde_json::from_str(event.content().get()).unwrap_or_default();
    let text = content[FRIEND_REQUEST]["text"].as_str().or(content["reason"].as_str()).unwrap_or_default();
    text.chars().take(MAX_REQUEST_TEXT).collect()
}

fn is_auto_joined(event: &Pdu) -> bool {
    serde_json::from_str::<Value>(event.content().get()).is_ok_and(|content| content[AUTO_JOINED] == true)
}

/// `m.direct` with the room among those with this user; None: it is there, or the content is not what it must be.
fn with_direct(stored: Option<&str>, user: &str, room: &str) -> Option<String> {
    let mut content: Value = match stored {
        Some(stored) => serde_json::from_str(stored).ok()?,
        None => Value::Object(serde_json::Map::new()),
    };
    let rooms = content.as_object_mut()?.entry(user).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
    if rooms.iter().any(|other| other == room) {
        return None;
    }
    rooms.push(room.into());
    Some(content.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_direct_room_is_added_once_and_nothing_else_is_touched() {
        let added = |stored: Option<Value>| {
            let stored = stored.map(|value| value.to_string());
            with_direct(stored.as_deref(), "@bob:x", "!new").map(|text| serde_json::from_str::<Value>(&text).unwrap())
        };
        assert_eq!(added(None), Some(json!({ "@bob:x": ["!new"] })));
        let more = json!({ "@bob:x": ["!old"], "@carol:x": ["!c"] });
        assert_eq!(added(Some(more)), Some(json!({ "@bob:x": ["!old", "!new"], "@carol:x": ["!c"] })));
        assert_eq!(added(Some(json!({ "@bob:x": ["!new"] }))), None);
        for odd in [json!([]), json!("x"), json!({ "@bob:x": 7 })] {
            assert_eq!(added(Some(odd.clone())), None, "{odd}");
        }
    }
}
