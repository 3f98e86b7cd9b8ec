//! Leaving rooms: also rejecting invitations to rooms that this server is not in, and taking back knocks at them.
//!
//! Source: Server-Server API, "Leaving Rooms (Rejecting Invites)".

use std::{sync::Arc, time::Duration};

use linkim_federation::{Pdu, rules};
use ruma::{CanonicalJsonObject, OwnedUserId, RoomId, RoomVersionId, UserId};

use super::{
    drafts::{Draft, Standing, reference},
    handshake::{Handshake, HandshakeError, Kind},
    whereabouts::{ChangeError, Here, Whereabouts},
};
use crate::{
    accounts::Session,
    rooms::{
        append::{Appenders, OutsideMembership},
        elsewhere::{Refusal, Rejecting, RejectsElsewhere},
        membership::{Membership, MembershipError, MembershipState},
        state,
    },
    store::{
        Store, StoreError,
        ids::{EventNid, UserNid},
        knocks,
    },
};

/// How long other servers have to take a rejection: then it is noted here alone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Leaves rooms.
pub struct Leaving {
    store: Store,
    membership: Arc<Membership>,
    appenders: Arc<Appenders>,
    handshake: Arc<Handshake>,
    whereabouts: Arc<Whereabouts>,
}

/// Who leaves.
struct Leaver {
    user: UserNid,
    user_id: OwnedUserId,
}

impl RejectsElsewhere for Leaving {
    fn reject<'a>(&'a self, user: UserNid, user_id: &'a UserId, room: &'a RoomId) -> Rejecting<'a> {
        Box::pin(async move {
            let here = self.whereabouts.of(room, user).await?;
            let (Some(version), false) = (here.version.clone(), here.in_room) else { return Ok(false) };
            let (Some(MembershipState::Invite | MembershipState::Knock), Some(event)) = (here.membership, here.event)
            else {
                return Ok(false);
            };
            let by = Leaver { user, user_id: user_id.to_owned() };
            match self.reject_outside(&by, room, version, &here, event, None).await {
                Ok(()) => Ok(true),
                Err(ChangeError::Membership(error)) => Err(error),
                Err(ChangeError::Handshake(error)) => Err(MembershipError::Elsewhere(Refusal::from(&error))),
                Err(ChangeError::Task(error)) => Err(StoreError::Engine(error).into()),
            }
        })
    }
}

impl Leaving {
    /// With these.
    pub fn new(
        store: Store,
        membership: Arc<Membership>,
        appenders: Arc<Appenders>,
        handshake: Arc<Handshake>,
        whereabouts: Arc<Whereabouts>,
    ) -> Self {
        Self { store, membership, appenders, handshake, whereabouts }
    }

    /// Leaves a room, rejects an invitation or takes back a knock. Whatever other servers say, the user is rid of an
    /// invitation or knock afterwards (`spec/decisions/0009`).
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn leave(
        self: &Arc<Self>,
        by: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        let here = self.whereabouts.of(room_id, by.user).await?;
        let (Some(version), false) = (here.version.clone(), here.in_room) else {
            return Ok(self.membership.leave(by, room_id, reason).await?);
        };
        match (here.membership, here.event) {
            (Some(MembershipState::Invite | MembershipState::Knock), Some(event)) => {
                let (this, room_id) = (self.clone(), room_id.to_owned());
                let by = Leaver { user: by.user, user_id: by.user_id.clone() };
                // The client may go away, but a rejection that was sent must be noted here.
                let leaving =
                    tokio::spawn(
                        async move { this.reject_outside(&by, &room_id, version, &here, event, reason).await },
                    );
                leaving.await.unwrap_or_else(|error| Err(ChangeError::Task(error.to_string())))
            }
            (Some(MembershipState::Leave), _) => Ok(()),
            (Some(MembershipState::Ban), _) => Err(MembershipError::Forbidden("you are banned".into()).into()),
            _ => Err(MembershipError::Forbidden("you are not in this room".into()).into()),
        }
    }

    async fn reject_outside(
        &self,
        by: &Leaver,
        room_id: &RoomId,
        version: RoomVersionId,
        here: &Here,
        event: EventNid,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        let mut content = CanonicalJsonObject::new();
        if let Some(reason) = reason {
            content.insert("reason".into(), reason.into());
        }
        let elsewhere = self.reject_elsewhere(by, room_id, &version, here, content.clone());
        let leave = match tokio::time::timeout(PATIENCE, elsewhere).await {
            Ok(Ok(leave)) => leave,
            Ok(Err(HandshakeError::Build(error))) => return Err(HandshakeError::Build(error).into()),
            Ok(Err(error)) => {
                tracing::info!(%room_id, %error, "no server took a rejection; it is noted here alone");
                self.reject_here(by, room_id, &version, event, content).await?
            }
            Err(_) => {
                tracing::info!(%room_id, "no server took a rejection in time; it is noted here alone");
                self.reject_here(by, room_id, &version, event, content).await?
            }
        };
        let change = OutsideMembership { room_id: room_id.to_owned(), version, event: Arc::new(leave), stripped: None };
        self.appenders.outside(change).await?;
        if let Some(room) = here.nid {
            let user = by.user;
            self.store.write::<_, StoreError, _>(move |tx| knocks::delete(tx, user, room)).await?;
        }
        Ok(())
    }

    /// Has the rejection taken by a server that is in the room; answers the event.
    async fn reject_elsewhere(
        &self,
        by: &Leaver,
        room_id: &RoomId,
        version: &RoomVersionId,
        here: &Here,
        content: CanonicalJsonObject,
    ) -> Result<Pdu, HandshakeError> {
        let named = here.inviter.iter().chain(&here.servers).cloned();
        let mut failure = HandshakeError::NoServers;
        for via in self.handshake.candidates(room_id, named) {
            let leaving = async {
                let template = self.handshake.make(&via, Kind::Leave, room_id, &by.user_id).await?;
                if template.version != *version {
                    return Err(HandshakeError::Lied(via.clone(), "the room has another version".into()));
                }
                let leave = self.handshake.complete(&template, Kind::Leave, room_id, &by.user_id, content.clone())?;
                self.handshake.send(&via, Kind::Leave, &leave).await?;
                Ok(leave)
            };
            match leaving.await {
                Ok(leave) => return Ok(leave),
                Err(error) => failure = failure.or(error),
            }
        }
        Err(failure)
    }

    /// A leave event that no other server will see: it stands behind the invitation or knock that it ends.
    async fn reject_here(
        &self,
        by: &Leaver,
        room_id: &RoomId,
        version: &RoomVersionId,
        event: EventNid,
        mut content: CanonicalJsonObject,
    ) -> Result<Pdu, ChangeError> {
        let before = self.store.read::<_, StoreError, _>(move |read| state::load_pdu(read, event)).await?;
        let rules = rules(version).ok_or_else(|| StoreError::Damaged(format!("room version {version}")))?;
        content.insert("membership".into(), "leave".into());
        let standing = Standing {
            prev_events: vec![reference(&before, rules)],
            auth_events: vec![reference(&before, rules)],
            depth: before.depth().saturating_add(1),
        };
        let draft = Draft { sender: &by.user_id, target: &by.user_id, content };
        let leave = self.handshake.signatory().build(room_id, rules, draft, &standing);
        Ok(leave.map_err(HandshakeError::from)?)
    }
}
