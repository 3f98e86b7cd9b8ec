//! Joins, leaves and knocks of other servers' users, signed by their servers.
//!
//! Source: Server-Server API, `PUT /send_join`, `/send_leave`, `/send_knock`: what must be checked stands there.

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules};
use ruma::{EventId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use super::{Hosting, HostingError, make, member_event::content, open};
use crate::{
    peers::{handshake::Kind, told},
    rooms::append::{Incoming, Received},
    store::{
        StoreError, events,
        events::{StateRef, flag},
        ids::{EventNid, RoomKey},
    },
};

/// An event that is part of the room now.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The room.
    pub(super) room: Arc<RoomKey>,
    /// The event.
    pub(super) nid: EventNid,
    /// As it was stored: with our signature, where we vouched for it.
    pub(super) pdu: Arc<Pdu>,
    /// The state before it.
    pub(super) before: StateRef,
}

impl Hosting {
    /// Takes the event of a user of `origin` into the room and relays it.
    ///
    /// # Errors
    /// [`HostingError`].
    pub async fn accept(
        &self,
        origin: &ServerName,
        kind: Kind,
        room_id: &RoomId,
        event_id: &EventId,
        event: Box<RawValue>,
    ) -> Result<Accepted, HostingError> {
        let (id, from) = (room_id.to_owned(), origin.to_owned());
        let (acls, own) = (self.acls.clone(), self.own().clone());
        let (room, rules) = self.store.read(move |read| open(read, &acls, &own, &id, &from)).await?;
        if kind == Kind::Knock && !make::knows_knocks(rules) {
            return Err(HostingError::Incompatible(room.version.clone()));
        }
        let pdu = self.read_member_event((room_id, event_id), kind.membership(), origin, &event, rules)?;
        if pdu.state_key() != Some(pdu.sender().as_str()) {
            return Err(HostingError::Invalid("the state_key is not the sender".into()));
        }
        let pdu = match kind {
            Kind::Join => self.vouch(&room, pdu, rules).await?,
            Kind::Leave | Kind::Knock => pdu,
        };
        let pdu = self.verified(pdu, rules).await?;
        let judged = self.policy.judge(&room, std::slice::from_ref(&pdu)).await?.pop();
        let judged = judged.unwrap_or_else(|| Incoming::new(pdu));
        // With the policy server's signature, if it was needed.
        let pdu = judged.pdu.clone();
        let incoming = Incoming { relay: true, ..judged };
        let nid = match self.appenders.receive(room.nid, vec![incoming]).await?.pop() {
            Some(Received::Accepted(appended)) => appended.nid,
            Some(Received::Known(nid)) => nid,
            Some(Received::SoftFailed(_, reason) | Received::Rejected(_, reason)) => {
                return Err(HostingError::Forbidden(reason));
            }
            Some(Received::MissingPrev(_) | Received::MissingAuth(_) | Received::MissingState(_)) => {
                return Err(HostingError::Invalid("the event names others that are not here".into()));
            }
            Some(Received::Malformed(what)) => return Err(HostingError::Invalid(what.into())),
            None => return Err(StoreError::Engine("no answer of the appender".into()).into()),
        };
        let row = self.store.read::<_, StoreError, _>(move |read| events::by_nid(read, nid)).await?;
        match row.before {
            Some(before) if !row.is(flag::HIDDEN) => Ok(Accepted { room, nid, pdu, before }),
            _ => Err(HostingError::Forbidden("the event was refused before".into())),
        }
    }

    /// What a server is told of the room at which its user knocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn knock_room_state(&self, knock: &Accepted) -> Result<Vec<Box<RawValue>>, StoreError> {
        let room = knock.room.nid;
        self.store.read(move |read| told::of_room(read, room, None)).await
    }

    /// Signs a join for which a user of ours vouches, if they still may.
    async fn vouch(&self, room: &Arc<RoomKey>, pdu: Pdu, rules: &RoomVersionRules) -> Result<Pdu, HostingError> {
        if !rules.authorization.restricted_join_rule {
            return Ok(pdu);
        }
        let named = content(&pdu)?.join_authorised_via_users_server;
        let (of_room, own, user) = (room.clone(), self.own().clone(), pdu.sender().to_owned());
        // They may have left the other room since the template was made.
        let voucher = self.store.read(move |read| make::voucher(read, &of_room, &own, &user)).await?;
        match (named, voucher) {
            (None, None) => Ok(pdu),
            (None, Some(_)) => Err(HostingError::Forbidden("the join says nobody who vouches for it".into())),
            (Some(named), _) => {
                let user = <&UserId>::try_from(named.as_str()).ok();
                if user.is_none_or(|user| user.server_name() != self.own()) {
                    return Err(HostingError::Invalid(
                        "join_authorised_via_users_server is no user of this server".into(),
                    ));
                }
                Ok(self.signatory.countersign(&pdu, rules)?)
            }
        }
    }
}
