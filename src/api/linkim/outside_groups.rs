//! Coming into a group of another server's, whose join mode is not known here before one is in it.

use std::sync::Arc;

use axum::extract::FromRef;
use ruma::{OwnedServerName, RoomId};

use super::state::LinkImState;
use crate::{
    accounts::Session,
    numbers::Numbers,
    peers::{joining::Joining, knocking::Knocking, whereabouts::ChangeError},
    store::{Store, StoreError, ids::RoomKey, members, members::Membership, room_servers},
};

/// Comes into groups of other servers.
pub(super) struct OutsideGroups {
    joining: Arc<Joining>,
    knocking: Arc<Knocking>,
    store: Store,
    own: OwnedServerName,
}

impl FromRef<LinkImState> for OutsideGroups {
    fn from_ref(state: &LinkImState) -> Self {
        let numbers: Arc<Numbers> = FromRef::from_ref(state);
        Self {
            joining: FromRef::from_ref(state),
            knocking: FromRef::from_ref(state),
            store: FromRef::from_ref(state),
            own: numbers.server_name().clone(),
        }
    }
}

impl OutsideGroups {
    /// Whether what is known here of a room, if anything is, is not what the room is now: this server is not in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn is_outside(&self, here: Option<&Arc<RoomKey>>) -> Result<bool, StoreError> {
        let Some(room) = here.filter(|room| room.service.is_some()).map(|room| room.nid) else { return Ok(true) };
        let own = self.own.clone();
        self.store.read(move |read| Ok(!room_servers::server_in_room(read, room, &own)?)).await
    }

    /// Joins who was invited; others ask, and join where that is refused because the group is open. True: joined.
    ///
    /// # Errors
    /// [`ChangeError`]; of who was not invited, why they could not ask.
    pub(super) async fn come_in(
        &self,
        session: &Session,
        group: &RoomId,
        here: Option<Arc<RoomKey>>,
        via: Vec<OwnedServerName>,
        text: String,
    ) -> Result<bool, ChangeError> {
        let user = session.user;
        let invited = self.store.read::<_, StoreError, _>(move |read| {
            let member = here.map(|room| members::of(read, user, room.nid)).transpose()?.flatten();
            Ok(member.is_some_and(|member| member.membership == Membership::Invite))
        });
        if invited.await? {
            return self.joining.join(session, group.into(), via, None).await.map(|_| true);
        }
        let reason = Some(text).filter(|text| !text.is_empty());
        match self.knocking.knock(session, group.into(), via.clone(), reason).await {
            Ok(_) => Ok(false),
            Err(refused) => match self.joining.join(session, group.into(), via, None).await {
                Ok(_) => Ok(true),
                Err(_) => Err(refused),
            },
        }
    }
}
