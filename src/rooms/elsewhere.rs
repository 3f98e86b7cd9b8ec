//! What room services need of other servers: the seam that `peers` fills.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use ruma::{CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};

use super::{
    append::{Appended, LocalEvent},
    content::object,
    membership::{Membership, MembershipError, with_reason},
    predecessor,
    profile::MemberProfile,
};
use crate::{
    accounts::Session,
    store::{
        Read, StoreError, WriteTx, ids,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        knocks, room_servers, rooms,
    },
};

/// How long the maker of a room waits for the invitations of other servers' users; what is left is done without them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Users of other servers that are invited at once. Such invitations stand side by side, and the room's next event joins them:
/// it can name 20.
const AT_ONCE: usize = 10;

/// Why another server did not do what it was asked, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The status of its answer; None: it was not reached, or can't be believed.
    pub status: Option<u16>,
    /// The `errcode` of its answer, or empty.
    pub errcode: String,
    /// What to tell the user.
    pub text: String,
    /// The room's version, where that is what is wrong.
    pub room_version: Option<String>,
}

/// Whether what is stored of a room is its state: this server is in it, or nobody else is.
///
/// # Errors
/// [`StoreError`].
pub fn is_here(read: &dyn Read, room: RoomNid, own: &ServerName) -> Result<bool, StoreError> {
    if rooms::create_event(read, room)?.is_none() {
        return Ok(false);
    }
    Ok(room_servers::server_in_room(read, room, own)? || room_servers::servers(read, room)?.is_empty())
}

/// The answer of [`InvitesElsewhere::invite`].
pub type Inviting<'a> = Pin<Box<dyn Future<Output = Result<Appended, MembershipError>> + Send + 'a>>;

/// Invites users of other servers.
pub trait InvitesElsewhere: Send + Sync + 'static {
    /// Has an invitation of another server's user signed there, and appends it. `event` is the member event as it would be
    /// appended for a user of ours.
    fn invite(&self, room: Arc<RoomKey>, event: LocalEvent) -> Inviting<'_>;
}

/// The answer of [`RejectsElsewhere::reject`].
pub type Rejecting<'a> = Pin<Box<dyn Future<Output = Result<bool, MembershipError>> + Send + 'a>>;

/// Ends what users have in rooms that this server is not in.
pub trait RejectsElsewhere: Send + Sync + 'static {
    /// Rejects a user's invitation to such a room, or takes back their knock at it, whether or not another server takes that.
    /// `false`, and nothing is done, if there is neither, or this server is in the room.
    fn reject<'a>(&'a self, user: UserNid, user_id: &'a UserId, room: &'a RoomId) -> Rejecting<'a>;
}

/// Sees to it that servers hear of what concerns their users although none of them is in the room.
pub trait TellsElsewhere: Send + Sync + 'static {
    /// Owes this member event, which is written in this transaction, to a server that is not in its room: a kick, a ban, an
    /// invitation taken back.
    ///
    /// # Errors
    /// [`StoreError`]; the event is not written then.
    fn owe(&self, tx: &WriteTx<'_>, destination: &ServerName, event: EventNid) -> Result<(), StoreError>;
}

impl Membership {
    /// Invites users of other servers to a room that was just made, ten at once: they don't all wait for a server that does
    /// not answer. Failures are logged: the room is there all the same.
    pub async fn invite_elsewhere(
        self: &Arc<Self>,
        by: &Session,
        room: &OwnedRoomId,
        users: Vec<OwnedUserId>,
        is_direct: bool,
    ) {
        let (this, by, room) = (self.clone(), by.clone(), room.clone());
        let inviting = tokio::spawn(async move {
            let mut content = object([("membership", "invite".into())]);
            if is_direct {
                content.insert("is_direct".into(), true.into());
            }
            let (this, by, room, content) = (&this, &by, &room, &content);
            let inviting = async |user: OwnedUserId| {
                if let Err(error) = this.put(by, room, user.as_str(), content.clone()).await {
                    tracing::info!(%room, %user, %error, "a user of another server was not invited");
                }
            };
            stream::iter(users).for_each_concurrent(AT_ONCE, inviting).await;
        });
        if tokio::time::timeout(PATIENCE, inviting).await.is_err() {
            tracing::info!("inviting users of other servers goes on");
        }
    }

    /// What a member event that a local user sends into a room elsewhere says of them, beside the membership.
    ///
    /// # Errors
    /// The store's.
    pub async fn own_content(
        &self,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<CanonicalJsonObject, MembershipError> {
        let user = user.to_owned();
        self.store
            .read_short(move |read| {
                let mut content = with_reason(reason);
                MemberProfile::of(read, &user)?.fill(&mut content);
                Ok(content)
            })
            .await
    }

    /// After a join through another server: takes along what the user has in the room that this one replaces.
    ///
    /// # Errors
    /// The store's.
    pub async fn joined_elsewhere(&self, by: &Session, room: &RoomId) -> Result<(), MembershipError> {
        let (user, room) = (by.user, room.to_owned());
        self.store
            .write(move |tx| {
                let Some(new) = ids::room(tx, &room)? else { return Ok(()) };
                knocks::delete(tx, user, new.nid)?;
                match predecessor::of_member(tx, user, new.nid)? {
                    Some(old) => Ok(predecessor::carry_over(tx, user, &old, &room)?),
                    None => Ok(()),
                }
            })
            .await
    }
}
