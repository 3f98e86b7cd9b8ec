//! What we are told of rooms that none of our users is in: that an invitation was taken back, or a knock refused.
//!
//! There is no state to judge it by. The end of an invitation is believed of the server that gave it; the answer to a knock
//! of whoever signs it, because which server answers a knock is not known: at worst the user knocks again.

use std::collections::BTreeSet;

use linkim_federation::Pdu;
use ruma::UserId;

use super::{
    GRACE,
    worker::{Done, Outcome, Worker},
};
use crate::{
    rooms::{
        append::{AppendError, OutsideMembership, membership},
        state::load_pdu,
    },
    store::{
        StoreError, ids,
        ids::RoomKey,
        members,
        members::{MemberRow, Membership},
    },
};

impl Worker {
    /// Takes what is in hand of a room that we are not in. Answers whether something is kept: shortly after a start, for a join
    /// that goes on.
    pub(super) async fn take_outside(&mut self, room: &RoomKey) -> Result<bool, StoreError> {
        let may_join = self.shared.started.elapsed() < GRACE;
        let mut kept = false;
        let ids: BTreeSet<_> = self.hand.all().map(|held| held.pdu.owned_event_id().clone()).collect();
        let mut done = Vec::new();
        for held in self.hand.remove_all(&ids) {
            let outcome = match self.ends_membership(room, &held.pdu).await? {
                false if may_join => {
                    kept = true;
                    continue;
                }
                false => Outcome::Malformed("this server is not in the room".into()),
                true => {
                    let change = OutsideMembership {
                        room_id: room.room_id.clone(),
                        version: room.version.clone(),
                        event: held.pdu.clone(),
                        stripped: None,
                    };
                    match self.shared.parts.appenders.outside(change).await {
                        Ok(_) => Outcome::Taken("outside"),
                        Err(AppendError::Store(error)) => return Err(error),
                        Err(error) => Outcome::Malformed(error.to_string()),
                    }
                }
            };
            let event_id = held.pdu.owned_event_id().clone();
            done.push(Done { event_id, staged: held.staged, outcome });
        }
        self.finish(Some(room), done).await?;
        Ok(kept)
    }

    /// Whether an event ends the invitation or the knock of a local user, as far as that can be said.
    async fn ends_membership(&self, room: &RoomKey, pdu: &Pdu) -> Result<bool, StoreError> {
        let ends = pdu.event_type().to_string() == "m.room.member"
            && matches!(membership(pdu), Membership::Leave | Membership::Ban);
        let Some(user) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok()) else { return Ok(false) };
        // The end that a local user makes goes out from here, it does not come in.
        if !ends || user.server_name() != self.shared.parts.server_name || pdu.sender() == user {
            return Ok(false);
        }
        let (user, room) = (user.to_owned(), room.nid);
        let found = self.shared.parts.store.read::<_, StoreError, _>(move |read| {
            let Some(user) = ids::user_nid(read, &user)? else { return Ok(None) };
            let Some(member) = members::of(read, user, room)? else { return Ok(None) };
            let event = load_pdu(read, member.event)?;
            Ok(Some((member, event)))
        });
        let Some((MemberRow { membership, .. }, event)) = found.await? else { return Ok(false) };
        Ok(match membership {
            Membership::Invite => event.sender().server_name() == pdu.sender().server_name(),
            Membership::Knock => true,
            _ => false,
        })
    }
}
