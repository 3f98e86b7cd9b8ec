//! Knocking at rooms, also at those that this server is not in.
//!
//! Source: Client-Server API, `POST /knock/{roomIdOrAlias}`; Server-Server API, "Knocking upon a room".

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    events::EventChecker,
    handshake::{Handshake, HandshakeError, Kind},
    told::{self, Told},
    whereabouts::{ChangeError, Whereabouts},
};
use crate::{
    accounts::Session,
    rooms::{
        append::{Appenders, OutsideMembership},
        membership::{Membership, MembershipError},
    },
    store::{Store, StoreError, ids, knocks},
};

/// Knocks at rooms.
pub struct Knocking {
    store: Store,
    membership: Arc<Membership>,
    appenders: Arc<Appenders>,
    handshake: Arc<Handshake>,
    whereabouts: Arc<Whereabouts>,
    checker: Arc<EventChecker>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    knock_room_state: Vec<Box<RawValue>>,
}

impl Knocking {
    /// With these.
    pub fn new(
        store: Store,
        membership: Arc<Membership>,
        appenders: Arc<Appenders>,
        handshake: Arc<Handshake>,
        whereabouts: Arc<Whereabouts>,
        checker: Arc<EventChecker>,
    ) -> Self {
        Self { store, membership, appenders, handshake, whereabouts, checker }
    }

    /// Asks to be invited, through other servers if need be.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn knock(
        self: &Arc<Self>,
        by: &Session,
        target: &RoomOrAliasId,
        via: Vec<OwnedServerName>,
        reason: Option<String>,
    ) -> Result<OwnedRoomId, ChangeError> {
        let (room_id, of_alias) = self.whereabouts.resolve(target).await?;
        let here = self.whereabouts.of(&room_id, by.user).await?;
        if here.in_room {
            return Ok(self.membership.knock(by, &room_id, reason).await.map(|()| room_id)?);
        }
        let named = via.into_iter().chain(here.inviter).chain(of_alias).chain(here.servers);
        let servers = self.handshake.candidates(&room_id, named);
        if servers.is_empty() {
            return Err(MembershipError::UnknownRoom.into());
        }
        let (this, by) = (self.clone(), by.clone());
        // The client may go away, but a knock that was sent must be noted here.
        let knocking = tokio::spawn(async move {
            let mut failure = HandshakeError::NoServers;
            for via in servers {
                match this.through(&via, &by, &room_id, reason.clone()).await {
                    Ok(()) => return Ok(room_id),
                    Err(ChangeError::Handshake(error)) => {
                        let last = error.is_final();
                        failure = failure.or(error);
                        if last {
                            break;
                        }
                    }
                    Err(other) => return Err(other),
                }
            }
            Err(failure.into())
        });
        knocking.await.unwrap_or_else(|error| Err(ChangeError::Task(error.to_string())))
    }

    async fn through(
        &self,
        via: &ServerName,
        by: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        let template = self.handshake.make(via, Kind::Knock, room_id, &by.user_id).await?;
        if !template.rules.authorization.knocking {
            return Err(HandshakeError::Version(template.version.to_string()).into());
        }
        let content = self.membership.own_content(&by.user_id, reason).await?;
        let knock = self.handshake.complete(&template, Kind::Knock, room_id, &by.user_id, content)?;
        let answer = self.handshake.send(via, Kind::Knock, &knock).await?;
        let answer: Answer = serde_json::from_str(answer.get())
            .map_err(|error| HandshakeError::Lied(via.to_owned(), error.to_string()))?;
        let told = told::read(answer.knock_room_state, room_id, template.rules, &self.checker).await;
        let Told { mut events, .. } =
            told.map_err(|problem| HandshakeError::Lied(via.to_owned(), problem.to_string()))?;
        events.extend(told::strip(&knock));
        let change = OutsideMembership {
            room_id: room_id.to_owned(),
            version: template.version,
            event: Arc::new(knock),
            stripped: Some(events),
        };
        self.appenders.outside(change).await?;
        let (user, room_id, via) = (by.user, room_id.to_owned(), via.to_owned());
        self.store
            .write::<_, StoreError, _>(move |tx| match ids::room(tx, &room_id)? {
                Some(room) => knocks::put(tx, user, room.nid, &via),
                None => Ok(()),
            })
            .await?;
        Ok(())
    }
}
