//! Templates of joins, leaves and knocks for users of other servers.
//!
//! Source: Server-Server API, `GET /make_join`, `/make_leave`, `/make_knock`; "Restricted rooms".

use linkim_federation::RoomVersionRules;
use ruma::{CanonicalJsonObject, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId};
use serde_json::Value;

use super::{Hosting, HostingError, open};
use crate::{
    peers::{
        drafts::{Draft, template},
        handshake::Kind,
    },
    rooms::{
        membership::MembershipState,
        restricted::{self, Restriction},
    },
    store::{Read, ids, ids::RoomKey, members},
};

/// A template.
#[derive(Clone, Debug)]
pub struct Made {
    /// The room's version.
    pub version: RoomVersionId,
    /// The event without hashes and signatures.
    pub event: Value,
}

impl Hosting {
    /// Makes a template for a user of `origin`. `versions` are the room versions that it knows, where it must say so: for
    /// joins and knocks.
    ///
    /// # Errors
    /// [`HostingError`].
    pub async fn make(
        &self,
        origin: &ServerName,
        kind: Kind,
        room_id: &RoomId,
        user: &UserId,
        versions: &[String],
    ) -> Result<Made, HostingError> {
        if user.server_name() != origin {
            return Err(HostingError::Forbidden("the user is not one of your server".into()));
        }
        let (origin, room_id, user) = (origin.to_owned(), room_id.to_owned(), user.to_owned());
        let (acls, signatory, versions) = (self.acls.clone(), self.signatory.clone(), versions.to_vec());
        self.store
            .read(move |read| {
                let (room, rules) = open(read, &acls, &signatory.server_name, &room_id, &origin)?;
                let known = versions.iter().any(|version| *version == room.version.as_str());
                if (kind != Kind::Leave && !known) || (kind == Kind::Knock && !rules.authorization.knocking) {
                    return Err(HostingError::Incompatible(room.version.clone()));
                }
                let mut content = CanonicalJsonObject::new();
                content.insert("membership".into(), kind.membership().into());
                if kind == Kind::Join
                    && let Some(voucher) = voucher(read, &room, &signatory.server_name, &user)?
                {
                    content.insert("join_authorised_via_users_server".into(), voucher.as_str().into());
                }
                if kind == Kind::Leave {
                    check_leave(read, &room, &user)?;
                }
                let draft = Draft { sender: &user, target: &user, content };
                let pdu = signatory.draft(read, &room, rules, draft)?;
                Ok(Made { version: room.version.clone(), event: template(&pdu)? })
            })
            .await
    }
}

/// Who of ours vouches for a join: nobody, where the room is not a restricted one or the user is invited to it.
pub(super) fn voucher(
    read: &dyn Read,
    room: &RoomKey,
    own: &ServerName,
    user: &UserId,
) -> Result<Option<OwnedUserId>, HostingError> {
    let nid = ids::user_nid(read, user)?;
    let member = match nid {
        Some(nid) => members::of(read, nid, room.nid)?,
        None => None,
    };
    match member.map(|member| member.membership) {
        Some(MembershipState::Join | MembershipState::Invite) => return Ok(None),
        // The authorisation rules say so as well; but first of all it is no matter of conditions.
        Some(MembershipState::Ban) => return Err(HostingError::Forbidden("the user is banned".into())),
        _ => {}
    }
    match restricted::decide(read, room, nid, own)? {
        Restriction::None => Ok(None),
        Restriction::Via(member) => Ok(Some(member)),
        Restriction::Unmet if restricted::can_judge(read, room, own)? => {
            Err(HostingError::Forbidden("the user is in none of the rooms whose members may join".into()))
        }
        Restriction::Unmet => Err(HostingError::UnableToAuthorise),
        Restriction::NobodyVouches => Err(HostingError::UnableToGrant),
    }
}

/// "The request is not authorised. This could mean that the user is not in the room."
fn check_leave(read: &dyn Read, room: &RoomKey, user: &UserId) -> Result<(), HostingError> {
    let member = match ids::user_nid(read, user)? {
        Some(nid) => members::of(read, nid, room.nid)?,
        None => None,
    };
    match member.map(|member| member.membership) {
        Some(MembershipState::Join | MembershipState::Invite | MembershipState::Knock) => Ok(()),
        _ => Err(HostingError::Forbidden("the user is not in the room".into())),
    }
}

/// Whether knocking is known to a room's version.
pub(super) fn knows_knocks(rules: &RoomVersionRules) -> bool {
    rules.authorization.knocking
}
