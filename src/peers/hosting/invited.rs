//! Invitations of our users by users of other servers.
//!
//! Source: Server-Server API, `PUT /_matrix/federation/v2/invite`, `v1`.

use std::sync::Arc;

use linkim_federation::{Pdu, rules};
use ruma::{EventId, RoomId, RoomVersionId, ServerName, UserId};
use serde_json::value::RawValue;

use super::{Hosting, HostingError};
use crate::{
    peers::told::{self, Told},
    rooms::{append::OutsideMembership, direct::is_direct, invite_permission, send_rules::Refused},
    store::{Read, StoreError, accounts, ids, room_servers, rooms},
};

/// An invitation as its server sends it.
#[derive(Debug)]
pub struct SentInvitation {
    /// The version of the room. Version 1 of the endpoint does not say it: it is for room versions 1 and 2.
    pub room_version: Option<String>,
    /// The member event.
    pub event: Box<RawValue>,
    /// What the user is to know of the room.
    pub invite_room_state: Vec<Box<RawValue>>,
}

impl Hosting {
    /// Takes an invitation of a user of ours: checks it, lets the user know and answers it with our signature.
    ///
    /// # Errors
    /// [`HostingError`].
    pub async fn invited(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        sent: SentInvitation,
    ) -> Result<Arc<Pdu>, HostingError> {
        let version = self.version(room_id, sent.room_version).await?;
        let rules = rules(&version).ok_or_else(|| HostingError::UnknownVersion(version.to_string()))?;
        let pdu = self.read_member_event((room_id, event_id), "invite", origin, &sent.event, rules)?;
        let target = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok());
        if target.is_none_or(|user| user.server_name() != self.own()) {
            return Err(HostingError::Invalid("the state_key is no user of this server".into()));
        }
        let in_room = self.may_be_invited(origin, &pdu).await?;
        let checked = self.verified(pdu, rules).await?;
        let told = told::read(sent.invite_room_state, room_id, rules, &self.checker).await;
        let Told { mut events, problem } = told.map_err(|problem| HostingError::Invalid(problem.to_string()))?;
        // "Servers SHOULD warn about invites which fail the validation rather than error in room versions 1 through 11."
        match problem {
            Some(problem) if rules.authorization.room_create_event_id_as_room_id => {
                let missing = problem == told::NO_CREATE;
                let problem = format!("invite_room_state: {problem}");
                return Err(if missing { HostingError::Missing(problem) } else { HostingError::Invalid(problem) });
            }
            Some(problem) => {
                tracing::debug!(%room_id, %origin, problem, "an invitation tells of its room what it must not")
            }
            None => {}
        }
        let signed = Arc::new(self.signatory.countersign(&checked, rules)?);
        // If we are in the room it will come as any event of the room does, signed by us.
        if !in_room {
            events.extend(told::strip(&signed));
            let change = OutsideMembership {
                room_id: room_id.to_owned(),
                version,
                event: signed.clone(),
                stripped: Some(events),
            };
            self.appenders.outside(change).await?;
        }
        Ok(signed)
    }

    /// The version of the room: as it is known here, else as the other server says.
    async fn version(&self, room_id: &RoomId, said: Option<String>) -> Result<RoomVersionId, HostingError> {
        let id = room_id.to_owned();
        let known = self
            .store
            .read_short::<_, StoreError, _>(move |read| Ok(ids::room(read, &id)?.map(|room| room.version.clone())))
            .await?;
        let said = match said {
            Some(said) => Some(RoomVersionId::try_from(said.as_str()).map_err(|_| HostingError::UnknownVersion(said))?),
            None => None,
        };
        match (known, said) {
            (Some(known), Some(said)) if known != said => {
                Err(HostingError::Invalid("the room has another version".into()))
            }
            (Some(version), _) | (None, Some(version)) => Ok(version),
            (None, None) => Ok(RoomVersionId::V1),
        }
    }

    /// Whether the user may be invited; answers whether we are in the room.
    async fn may_be_invited(&self, origin: &ServerName, pdu: &Pdu) -> Result<bool, HostingError> {
        let invalid = || HostingError::Invalid("the state_key is no user id".into());
        let user: ruma::OwnedUserId = pdu.state_key().ok_or_else(invalid)?.try_into().map_err(|_| invalid())?;
        let (acls, own, rule) = (self.acls.clone(), self.own().clone(), self.invite_rule.clone());
        let (sender, is_direct) = (pdu.sender().to_owned(), is_direct(pdu));
        let (room_id, origin) = (pdu.room_id().to_owned(), origin.to_owned());
        self.store
            .read(move |read| {
                check_user(read, &user)?;
                // Who is blocked is not told so: the invitation is taken, and not shown.
                if let Some(rule) = &rule
                    && rule.check(read, &sender, &user, is_direct)? == Some(Refused::RefusesStrangers)
                {
                    return Err(HostingError::InviteBlocked);
                }
                let Some(room) = ids::room(read, &room_id)? else { return Ok(false) };
                if rooms::is_blocked(read, room.nid)? {
                    return Err(HostingError::Forbidden("this server does not take part in the room".into()));
                }
                let in_room = room_servers::server_in_room(read, room.nid, &own)?;
                if in_room && !acls.permits(read, room.nid, &origin)? {
                    let why = "the room's access control list shuts your server out";
                    return Err(HostingError::Forbidden(why.into()));
                }
                Ok(in_room)
            })
            .await
    }
}

fn check_user(read: &dyn Read, user: &UserId) -> Result<(), HostingError> {
    let nid = ids::user_nid(read, user)?.ok_or(HostingError::UnknownUser)?;
    if !accounts::is_active(read, nid)? {
        return Err(HostingError::UnknownUser);
    }
    if invite_permission::is_blocked(read, user)? {
        return Err(HostingError::InviteBlocked);
    }
    Ok(())
}
