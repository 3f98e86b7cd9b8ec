//! Friend requests: made, answered, listed.

use super::{
    ContactError, Contacts, MAX_REQUEST_TEXT, OpenError, Person, are_friends, direct::Standing, following::befriend,
    friends, friends::MAX_FRIENDS, people::person,
};
use crate::{
    accounts::Session,
    numbers::User,
    rooms::{ignored_users, membership::MembershipError},
    store::{
        Read, StoreError, friend_requests,
        friend_requests::{Answer, FriendRequest},
        ids,
        ids::{RoomKey, UserNid},
        members,
        members::Membership,
    },
};

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It waits for its answer.
    Pending,
    /// The two are friends: the other one had asked, too, or counts the user as a friend still.
    Accepted,
}

/// Whose requests are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those to the user.
    In,
    /// Those by the user.
    Out,
}

/// A request as it is listed.
#[derive(Clone, Debug)]
pub struct ShownRequest {
    /// The other one.
    pub person: Person,
    /// The direct room.
    pub room: std::sync::Arc<RoomKey>,
    /// The request.
    pub request: FriendRequest,
}

impl Contacts {
    /// Asks a user to be a friend. A repeated request renews the one that is pending.
    ///
    /// # Errors
    /// [`ContactError`].
    pub async fn request(&self, by: &Session, peer: &User, text: &str) -> Result<Requested, ContactError> {
        if text.chars().count() > MAX_REQUEST_TEXT {
            return Err(ContactError::TextTooLong);
        }
        let _held = self.gates.pass(by.user, peer.nid).await;
        let standing = self.standing(by, peer).await?;
        let (own, other) = (User { nid: by.user, user_id: by.user_id.clone() }, peer.clone());
        let (friends, has_asked, has_room) = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let asked = friend_requests::get(read, other.nid, own.nid)?;
                let asked = asked.is_some_and(|request| request.answer == Answer::Pending);
                let count = friends::of(read, own.nid)?.friends.len();
                Ok((are_friends(read, &own, &other)?, asked, count < MAX_FRIENDS))
            })
            .await?;
        if friends {
            return Err(ContactError::FriendsAlready);
        }
        if !has_room {
            return Err(ContactError::TooMany);
        }
        if has_asked {
            self.accept_held(by, peer).await?;
            return Ok(Requested::Accepted);
        }
        if standing.blocked && self.policy.reveal_block {
            return Err(OpenError::Blocked.into());
        }
        if standing.refuses_strangers && !standing.friend {
            return Err(OpenError::RefusesStrangers.into());
        }
        self.ask(by, peer, standing, text).await
    }

    async fn ask(&self, by: &Session, peer: &User, standing: Standing, text: &str) -> Result<Requested, ContactError> {
        let known = standing.room.as_ref().map(|(direct, room)| (direct.own, direct.other, room.clone()));
        match known {
            Some((Some(Membership::Join), Some(Membership::Join), room)) => {
                // They talk already, so nobody can be invited. Who counts the user as a friend still, or is of another server
                // and has come, need not be asked.
                if !standing.local || standing.friend {
                    self.make_friends(by.user, peer.nid).await?;
                    return Ok(Requested::Accepted);
                }
                let (requester, addressee, text) = (by.user, peer.nid, text.to_owned());
                let now_ms = self.clock.now_ms();
                self.store
                    .write::<_, StoreError, _>(move |tx| {
                        let position = tx.next_position();
                        let (room, answer, created_ts) = (room.nid, Answer::Pending, now_ms);
                        let request = FriendRequest { requester, addressee, room, answer, text, created_ts, position };
                        friend_requests::put(tx, &request)
                    })
                    .await?;
            }
            Some((Some(Membership::Join), Some(Membership::Invite), room)) => {
                match self.invite(by, peer, &room.room_id, Some(text)).await {
                    // Who lacks the power to invite again has asked already.
                    Ok(()) | Err(MembershipError::Forbidden(_)) => {}
                    Err(error) => return Err(OpenError::from(error).into()),
                }
            }
            _ => drop(self.reach(by, peer, standing, Some(text)).await?),
        }
        Ok(Requested::Pending)
    }

    /// Accepts the request of a user.
    ///
    /// # Errors
    /// [`ContactError`].
    pub async fn accept(&self, by: &Session, peer: &User) -> Result<(), ContactError> {
        let _held = self.gates.pass(by.user, peer.nid).await;
        self.accept_held(by, peer).await
    }

    async fn accept_held(&self, by: &Session, peer: &User) -> Result<(), ContactError> {
        let (room, membership, count) = self.pending(by.user, peer.nid).await?;
        if count >= MAX_FRIENDS {
            return Err(ContactError::TooMany);
        }
        if membership == Some(Membership::Invite) {
            let joined = self.joining.join(by, (&*room.room_id).into(), Vec::new(), None).await;
            joined.map_err(OpenError::from)?;
        }
        // Joining has done it; where both were in the room already nobody joined.
        self.make_friends(by.user, peer.nid).await
    }

    /// Rejects the request of a user, who may be told why.
    ///
    /// # Errors
    /// [`ContactError`].
    pub async fn reject(&self, by: &Session, peer: &User, reason: Option<String>) -> Result<(), ContactError> {
        let _held = self.gates.pass(by.user, peer.nid).await;
        let (room, membership, _) = self.pending(by.user, peer.nid).await?;
        if membership == Some(Membership::Invite) {
            self.leaving.leave(by, &room.room_id, reason).await.map_err(OpenError::from)?;
        }
        let (requester, addressee) = (peer.nid, by.user);
        self.store
            .write(move |tx| {
                friend_requests::answer(tx, requester, addressee, Answer::Rejected, tx.next_position())?;
                Ok(())
            })
            .await
    }

    /// The room of a pending request, the addressee's membership there, and how many friends they have.
    async fn pending(
        &self,
        addressee: UserNid,
        requester: UserNid,
    ) -> Result<(std::sync::Arc<RoomKey>, Option<Membership>, usize), ContactError> {
        self.store
            .read(move |read| {
                let request = friend_requests::get(read, requester, addressee)?.ok_or(ContactError::NoRequest)?;
                if request.answer != Answer::Pending {
                    return Err(ContactError::Handled);
                }
                let member = members::of(read, addressee, request.room)?.map(|member| member.membership);
                let count = friends::of(read, addressee)?.friends.len();
                Ok((ids::room_by_nid(read, request.room)?, member, count))
            })
            .await
    }

    async fn make_friends(&self, one: UserNid, other: UserNid) -> Result<(), ContactError> {
        let (data, now_ms) = (self.data.clone(), self.clock.now_ms());
        self.store
            .write(move |tx| {
                for (requester, addressee) in [(one, other), (other, one)] {
                    friend_requests::answer(tx, requester, addressee, Answer::Accepted, tx.next_position())?;
                }
                Ok(befriend(tx, &data, one, other, now_ms)?)
            })
            .await
    }

    /// Pending requests, newest first; `after`: those that follow the one with this user. Whether there are more. Requests of
    /// those whom the user has blocked are not shown. None: there is no request with the user that `after` names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn requests(
        &self,
        user: UserNid,
        direction: Direction,
        after: Option<UserNid>,
        limit: usize,
    ) -> Result<Option<(Vec<ShownRequest>, bool)>, StoreError> {
        self.store.read(move |read| list(read, user, direction, after, limit)).await
    }
}

fn list(
    read: &dyn Read,
    user: UserNid,
    direction: Direction,
    after: Option<UserNid>,
    limit: usize,
) -> Result<Option<(Vec<ShownRequest>, bool)>, StoreError> {
    let of = |other| match direction {
        Direction::In => friend_requests::get(read, other, user),
        Direction::Out => friend_requests::get(read, user, other),
    };
    let mut below = match after {
        None => i64::MAX,
        Some(other) => match of(other)? {
            Some(request) => request.position,
            None => return Ok(None),
        },
    };
    let hidden = match direction {
        Direction::In => ignored_users::of(read, user)?,
        Direction::Out => Default::default(),
    };
    let batch = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut shown = Vec::new();
    loop {
        let rows = match direction {
            Direction::In => friend_requests::incoming(read, user, below, batch)?,
            Direction::Out => friend_requests::outgoing(read, user, below, batch)?,
        };
        let Some(last) = rows.last() else { return Ok(Some((shown, false))) };
        below = last.position;
        for request in rows {
            let other = if direction == Direction::In { request.requester } else { request.addressee };
            if hidden.contains(&other) {
                continue;
            }
            if shown.len() == limit {
                return Ok(Some((shown, true)));
            }
            let room = ids::room_by_nid(read, request.room)?;
            shown.push(ShownRequest { person: person(read, user, other)?, room, request });
        }
    }
}
