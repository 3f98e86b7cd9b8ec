//! Memberships of local users in rooms that we are not in: all that is here of such a room is the member event.

use linkim_federation::Pdu;
use ruma::UserId;

use super::{
    AppendError, Appended, Incoming, OutsideMembership, Received, actor::Appender, commit::Site, effects::membership,
    outliers::write_outlier,
};
use crate::rooms::direct;
use crate::store::{
    StoreError, WriteTx, events,
    ids::{self, EventNid, RoomKey},
    members,
    members::{MemberRow, Membership},
    stripped_state,
};

impl Appender {
    /// Notes the membership.
    pub(super) async fn outside(&mut self, change: OutsideMembership) -> Result<Appended, AppendError> {
        self.take_version(&change.version).await?;
        let server_name = self.shared.site.server_name.clone();
        let head = self.load().await?;
        let room = head.room.clone();
        check(&change.event, &room, &server_name)?;
        if head.row.local_joined > 0
            && let Some(appended) = self.inside(&change).await?
        {
            return Ok(appended);
        }
        let inside = self.load().await?.row.local_joined > 0;
        let now_ms = self.shared.clock.now_ms();
        let site = self.shared.site.clone();
        self.shared
            .store
            .write::<_, StoreError, _>(move |tx| {
                let (appended, user) = note(tx, &site, &room, &change, (inside, now_ms))?;
                let position = appended.position;
                tx.after_commit(move || site.wake.room_changed(room.nid, position, &Default::default(), &[user]));
                Ok(appended)
            })
            .await
            .map_err(AppendError::from)
    }

    /// We are in the room: then the event has its place in the DAG. None if that is not known yet; it comes with what follows.
    async fn inside(&mut self, change: &OutsideMembership) -> Result<Option<Appended>, AppendError> {
        let received = self.receive_one(Incoming::new(change.event.clone()), None, None).await?;
        Ok(match received {
            Received::Accepted(appended) => Some(appended),
            Received::SoftFailed(_, reason) | Received::Rejected(_, reason) => return Err(AppendError::Denied(reason)),
            Received::Malformed(reason) => return Err(AppendError::Malformed(reason.into())),
            Received::Known(nid) => {
                let row =
                    self.shared.store.read_short::<_, StoreError, _>(move |read| events::by_nid(read, nid)).await?;
                let position = row.position.unwrap_or(0);
                Some(Appended { nid, event_id: row.event_id, position, repeated: true })
            }
            Received::MissingPrev(_) | Received::MissingAuth(_) | Received::MissingState(_) => None,
        })
    }
}

/// Whether the event is a membership of a local user in this room.
fn check(pdu: &Pdu, room: &RoomKey, server_name: &ruma::ServerName) -> Result<(), AppendError> {
    let user = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok());
    let ours = user.is_some_and(|user| user.server_name() == server_name);
    if pdu.room_id() != room.room_id || pdu.event_type().to_string() != "m.room.member" || !ours {
        return Err(AppendError::Malformed("not a membership of a local user in this room".into()));
    }
    if membership(pdu) == Membership::Join {
        return Err(AppendError::Malformed("who joins is in the room".into()));
    }
    Ok(())
}

/// Writes the event, if it is new, and the membership; that not where we are `inside`, since there it follows from the state.
fn note(
    tx: &WriteTx<'_>,
    site: &Site,
    room: &RoomKey,
    change: &OutsideMembership,
    (inside, now_ms): (bool, i64),
) -> Result<(Appended, ids::UserNid), StoreError> {
    let pdu = &change.event;
    let position = tx.next_position();
    let nid = match events::nid(tx, pdu.event_id())? {
        Some(nid) => nid,
        None => {
            // Its auth events are not here: it stays loose until they come.
            write_outlier(tx, room, pdu, EventNid(position), false, now_ms)?;
            EventNid(position)
        }
    };
    let key = pdu.state_key().unwrap_or_default();
    let user = <&UserId>::try_from(key).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let user = ids::intern_user(tx, user)?;
    let appended = Appended { nid, event_id: pdu.event_id().to_owned(), position, repeated: false };
    if inside {
        return Ok((appended, user));
    }
    let membership = membership(pdu);
    let old = members::of(tx, user, room.nid)?;
    let out = |membership| matches!(membership, Membership::Leave | Membership::Ban);
    members::put(
        tx,
        &MemberRow {
            user,
            room: room.nid,
            membership,
            event: nid,
            position,
            since: old.filter(|old| old.membership == membership).map_or(position, |old| old.since),
            forgotten: old.is_some_and(|old| old.forgotten && out(old.membership)) && out(membership),
        },
    )?;
    match &change.stripped {
        Some(stripped) if !out(membership) => {
            let array = serde_json::to_string(stripped).map_err(|error| StoreError::Damaged(error.to_string()))?;
            stripped_state::put(tx, user, room.nid, &array)?;
        }
        _ => stripped_state::delete(tx, user, room.nid)?,
    }
    let before = old.map(|old| old.membership);
    direct::member_changed(tx, site.watcher.get(), room.nid, (user, before, membership), pdu)?;
    Ok((appended, user))
}
