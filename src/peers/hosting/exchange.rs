//! Invitations by third-party id that the invited user's server turns into ones by user id.
//!
//! Source: Server-Server API, "Third-party invites", `PUT /exchange_third_party_invite`.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;

use super::{Hosting, HostingError, open};
use crate::{
    rooms::{
        append::LocalEvent,
        content::{object, string},
        elsewhere::InvitesElsewhere as _,
        membership::MembershipError,
        state,
    },
    store::{Read, ids::RoomKey},
};

/// What the invited user's server sends: a part of a member event.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the spec describes each under the same name")]
pub struct PartialInvitation {
    #[serde(rename = "type")]
    pub kind: String,
    pub room_id: String,
    pub sender: String,
    pub state_key: String,
    pub content: CanonicalJsonObject,
}

impl Hosting {
    /// Issues the invitation, if the room has the third-party one that it refers to: whether it is the right user's the
    /// authorisation rules check, by the identity server's signature.
    ///
    /// # Errors
    /// [`HostingError`].
    pub async fn exchange(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        partial: PartialInvitation,
    ) -> Result<(), HostingError> {
        let invalid = |what: &str| HostingError::Invalid(what.to_owned());
        if partial.kind != "m.room.member" || partial.room_id != room_id.as_str() {
            return Err(invalid("it is no m.room.member of this room"));
        }
        if string(&partial.content, "membership") != Some("invite") {
            return Err(invalid("it is no invitation"));
        }
        let user: OwnedUserId =
            partial.state_key.as_str().try_into().map_err(|_| invalid("the state_key is no user id"))?;
        if user.server_name() != origin {
            return Err(invalid("the state_key is not a user of your server"));
        }
        let sender: OwnedUserId =
            partial.sender.as_str().try_into().map_err(|_| invalid("the sender is no user id"))?;
        if sender.server_name() != self.own() {
            return Err(invalid("the sender is not a user of this server"));
        }
        let (acls, own, origin) = (self.acls.clone(), self.own().clone(), origin.to_owned());
        let id = room_id.to_owned();
        let (room, event) = self
            .store
            .read(move |read| {
                let (room, _) = open(read, &acls, &own, &id, &origin)?;
                let content = content(read, &room, &sender, &partial.content)?;
                let event = LocalEvent::state(sender, "m.room.member", user.as_str(), content);
                Ok::<_, HostingError>((room, event))
            })
            .await?;
        match self.inviting.invite(room, event).await {
            Ok(_) => Ok(()),
            Err(MembershipError::Forbidden(reason)) => Err(HostingError::Forbidden(reason)),
            Err(other) => Err(HostingError::Membership(other)),
        }
    }
}

/// The content of the invitation: what the identity server signed, with the name that the room has for the invited.
fn content(
    read: &dyn Read,
    room: &RoomKey,
    sender: &UserId,
    given: &CanonicalJsonObject,
) -> Result<CanonicalJsonObject, HostingError> {
    let forbidden = |what: &str| HostingError::Forbidden(what.to_owned());
    let Some(CanonicalJsonValue::Object(given)) = given.get("third_party_invite") else {
        return Err(HostingError::Invalid("third_party_invite is missing".into()));
    };
    let Some(CanonicalJsonValue::Object(signed)) = given.get("signed") else {
        return Err(HostingError::Invalid("third_party_invite.signed is missing".into()));
    };
    let token = string(signed, "token")
        .ok_or_else(|| HostingError::Invalid("third_party_invite.signed has no token".into()))?;
    let original = state::current(read, room.nid, "m.room.third_party_invite", token)?
        .ok_or_else(|| forbidden("the room has no such third-party invitation"))?;
    if original.sender() != sender {
        return Err(forbidden("the third-party invitation is of another sender"));
    }
    let original: CanonicalJsonObject = serde_json::from_str(original.content().get()).unwrap_or_default();
    let mut third_party = object([("signed", signed.clone().into())]);
    if let Some(name) = string(&original, "display_name") {
        third_party.insert("display_name".into(), name.into());
    }
    Ok(object([("membership", "invite".into()), ("third_party_invite", third_party.into())]))
}
