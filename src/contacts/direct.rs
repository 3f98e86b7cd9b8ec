//! The direct room of two users: found, or made.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use ruma::{CanonicalJsonObject, OwnedRoomId};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Contacts, MAX_REQUEST_TEXT, blocking, friends};
use crate::{
    accounts::{Session, UserSettings},
    numbers::User,
    peers::whereabouts::ChangeError,
    rooms::{
        append::AppendError,
        content::object,
        create::{CreateError, CreateRequest},
        direct,
        membership::MembershipError,
        presets::Preset,
    },
    store::{
        Read, StoreError, accounts,
        accounts::AccountKind,
        direct_rooms,
        direct_rooms::DirectRoom,
        ids::{self, RoomKey, UserNid},
        members::Membership,
    },
};

/// The key of a direct invitation's content with LinkIM's part of it: an object with `text`.
pub(super) const FRIEND_REQUEST: &str = "org.linkim.friend_request";

/// The key of a join's content that says that the server joined the user, who has accepted nothing yet.
pub(super) const AUTO_JOINED: &str = "org.linkim.auto_joined";

/// A room where the two can talk.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The room. The one who asked is in it.
    pub room: Arc<RoomKey>,
    /// Whether the other one is in it, too; else they are invited.
    pub joined: bool,
}

/// Why there is no room.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The two are one.
    #[error("that is you")]
    Oneself,
    /// There is no such user any more.
    #[error("no such user")]
    NoUser,
    /// The other one has blocked the user.
    #[error("you are blocked by this user")]
    Blocked,
    /// The two are not friends, and this server wants friends.
    #[error("you are not this user's friend")]
    NotFriends,
    /// The other one wants nothing of strangers.
    #[error("this user accepts no friend requests")]
    RefusesStrangers,
    /// The room was not made.
    #[error(transparent)]
    Create(CreateError),
    /// The invitation was not sent, or not accepted.
    #[error(transparent)]
    Change(ChangeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreateError> for OpenError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Store(error) => Self::Store(error),
            other => Self::Create(other),
        }
    }
}

impl From<ChangeError> for OpenError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Membership(MembershipError::Store(error)) => Self::Store(error),
            other => Self::Change(other),
        }
    }
}

impl From<MembershipError> for OpenError {
    fn from(error: MembershipError) -> Self {
        ChangeError::Membership(error).into()
    }
}

impl From<AppendError> for OpenError {
    fn from(error: AppendError) -> Self {
        MembershipError::from(error).into()
    }
}

/// Lets one request at a time look for the direct room of a pair, so that two don't make two. Bound: one entry a pair that
/// somebody looks after.
#[derive(Default)]
pub(super) struct Gates(std::sync::Mutex<HashMap<Pair, Arc<Mutex<()>>>>);

/// Two users, in the order of their numbers.
type Pair = (UserNid, UserNid);

/// Entries at which those that nobody holds are taken out.
const MANY_GATES: usize = 64;

impl Gates {
    /// Waits until nobody else looks after this pair.
    pub(super) async fn pass(&self, one: UserNid, other: UserNid) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if gates.len() >= MANY_GATES {
                gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            }
            gates.entry((one.min(other), one.max(other))).or_default().clone()
        };
        gate.lock_owned().await
    }
}

/// What is known of two users before one approaches the other.
pub(super) struct Standing {
    /// Their direct room that counts.
    pub(super) room: Option<(DirectRoom, Arc<RoomKey>)>,
    /// Whether the other one counts the user among their friends.
    pub(super) friend: bool,
    /// Whether the other one has blocked the user.
    pub(super) blocked: bool,
    /// Whether the other one wants no requests.
    pub(super) refuses_strangers: bool,
    /// Whether the other one is of this server.
    pub(super) local: bool,
}

impl Contacts {
    /// Finds the room where the user can talk to `peer`, or makes it. A peer who is not in it is invited; one of this server
    /// joins at once if they were never asked, or are a friend; of others the invitation says `text`, which the message waits with.
    /// Where the peer has invited the user, that is accepted.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_direct(&self, by: &Session, peer: &User, text: &str) -> Result<Direct, OpenError> {
        let _held = self.gates.pass(by.user, peer.nid).await;
        let standing = self.standing(by, peer).await?;
        if standing.blocked && self.policy.reveal_block {
            return Err(OpenError::Blocked);
        }
        if self.policy.friend_verify && !standing.friend {
            return Err(OpenError::NotFriends);
        }
        let together = standing
            .room
            .as_ref()
            .filter(|(room, _)| (room.own, room.other) == (Some(Membership::Join), Some(Membership::Join)));
        if let Some((_, room)) = together {
            return Ok(Direct { room: room.clone(), joined: true });
        }
        if standing.refuses_strangers && !standing.friend {
            return Err(OpenError::RefusesStrangers);
        }
        // Who has been asked, or has left, is not brought in by a message: it waits for them.
        let joins = standing.local && !standing.blocked && (standing.room.is_none() || standing.friend);
        let waits = Some(text).filter(|text| !joins && !text.is_empty());
        let direct = self.reach(by, peer, standing, waits).await?;
        if direct.joined || !joins {
            return Ok(direct);
        }
        let mark = object([(AUTO_JOINED, true.into())]);
        direct::join_invited(&self.store, &self.appenders, direct.room.nid, &peer.user_id, mark).await?;
        Ok(Direct { joined: true, ..direct })
    }

    /// What is known of the two.
    pub(super) async fn standing(&self, by: &Session, peer: &User) -> Result<Standing, OpenError> {
        if by.user == peer.nid {
            return Err(OpenError::Oneself);
        }
        let (by, peer) = (by.clone(), peer.clone());
        self.store
            .read(move |read| {
                let local = peer.user_id.server_name() == by.user_id.server_name();
                if local && !is_person(read, peer.nid)? {
                    return Err(OpenError::NoUser);
                }
                let room = match direct_rooms::canonical(read, by.user, peer.nid)? {
                    Some(direct) => Some((direct, ids::room_by_nid(read, direct.room)?)),
                    None => None,
                };
                let friend = match local {
                    true => friends::has(read, peer.nid, &by.user_id)?,
                    // What another server's user says of it is not known here.
                    false => friends::has(read, by.user, &peer.user_id)?,
                };
                Ok(Standing {
                    room,
                    friend,
                    blocked: local && blocking::blocked(read, peer.nid, by.user)?,
                    refuses_strangers: local && !UserSettings::of(read, peer.nid)?.strangers_may_add,
                    local,
                })
            })
            .await
    }

    /// Sees to it that the user is in a direct room with the peer, who is at least invited; `text` is what the invitation says.
    pub(super) async fn reach(
        &self,
        by: &Session,
        peer: &User,
        standing: Standing,
        text: Option<&str>,
    ) -> Result<Direct, OpenError> {
        if let Some((direct, room)) = standing.room {
            match (direct.own, direct.other) {
                (Some(Membership::Join), Some(Membership::Join)) => return Ok(Direct { room, joined: true }),
                (Some(Membership::Join), Some(Membership::Invite)) => return Ok(Direct { room, joined: false }),
                (Some(Membership::Invite), Some(Membership::Join) | None) => {
                    self.joining.join(by, (&*room.room_id).into(), Vec::new(), None).await?;
                    return Ok(Direct { room, joined: true });
                }
                (Some(Membership::Join), other) if other != Some(Membership::Ban) => {
                    match self.invite(by, peer, &room.room_id, text).await {
                        Ok(()) => return Ok(Direct { room, joined: false }),
                        // Who lacks the power to call the other one back makes another room.
                        Err(MembershipError::Forbidden(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                _ => {}
            }
        }
        let room = self.make(by, peer, standing.local, text).await?;
        Ok(Direct { room, joined: false })
    }

    pub(super) async fn invite(
        &self,
        by: &Session,
        peer: &User,
        room: &OwnedRoomId,
        text: Option<&str>,
    ) -> Result<(), MembershipError> {
        let mut content = request_content(text);
        content.insert("membership".into(), "invite".into());
        content.insert("is_direct".into(), true.into());
        self.membership.put(by, room, peer.user_id.as_str(), content).await.map(drop)
    }

    async fn make(
        &self,
        by: &Session,
        peer: &User,
        local: bool,
        text: Option<&str>,
    ) -> Result<Arc<RoomKey>, OpenError> {
        let request = CreateRequest {
            preset: Some(Preset::TrustedPrivateChat),
            invite: vec![peer.user_id.clone()],
            is_direct: true,
            invite_content: request_content(text),
            ..CreateRequest::default()
        };
        let room_id = self.creation.create(&by.user_id, request).await?;
        if !local && let Err(error) = self.invite(by, peer, &room_id, text).await {
            // The room is of no use to anybody.
            if let Err(error) = self.leaving.leave(by, &room_id, None).await {
                tracing::warn!(%error, %room_id, "a direct room without its other user stays behind");
            }
            return Err(error.into());
        }
        let room = room_id.clone();
        let found = self.store.read_short::<_, StoreError, _>(move |read| ids::room(read, &room)).await?;
        found.ok_or_else(|| StoreError::Damaged(format!("the room {room_id} was just made")).into())
    }
}

/// What a request's invitation says beside its membership: the text also where plain clients show it.
pub(super) fn request_content(text: Option<&str>) -> CanonicalJsonObject {
    let Some(text) = text else { return CanonicalJsonObject::new() };
    let text: String = text.chars().take(MAX_REQUEST_TEXT).collect();
    let mut content = object([(FRIEND_REQUEST, object([("text", text.clone().into())]).into())]);
    if !text.is_empty() {
        content.insert("reason".into(), text.into());
    }
    content
}

/// Whether a user of this server is somebody to talk to.
fn is_person(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    let account = accounts::get(read, user)?;
    Ok(account.is_some_and(|account| account.deactivated_ts.is_none() && account.kind != AccountKind::Service))
}

/// Whether two users are friends on each side that is of this server.
///
/// # Errors
/// [`StoreError`].
pub fn are_friends(read: &dyn Read, one: &User, other: &User) -> Result<bool, StoreError> {
    let has = |owner: &User, whom: &User| -> Result<bool, StoreError> {
        Ok(!accounts::exists(read, owner.nid)? || friends::has(read, owner.nid, &whom.user_id)?)
    };
    Ok(has(one, other)? && has(other, one)?)
}
