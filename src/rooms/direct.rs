//! Rooms of two: how the write path finds them, and whom it tells of who comes and goes there.
//!
//! Source: Client-Server API, "Direct Messaging": `is_direct` of an invitation says what kind of room it is for.

use std::sync::Arc;

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, UserId};
use serde::Deserialize;

use super::{
    append::{AppendError, Appenders, LocalEvent},
    profile::MemberProfile,
};
use crate::store::{
    Store, StoreError, WriteTx, direct_rooms, ids,
    ids::{RoomNid, UserNid},
    members::Membership,
};

/// Somebody's membership of a direct room became another one, or was said again.
#[derive(Clone, Copy, Debug)]
pub struct MemberChange<'a> {
    /// The room.
    pub room: RoomNid,
    /// The two whose room it is; a third may be in it.
    pub pair: (UserNid, UserNid),
    /// Whose membership it is.
    pub user: UserNid,
    /// Who changed it.
    pub sender: UserNid,
    /// What it was.
    pub before: Option<Membership>,
    /// What it is.
    pub after: Membership,
    /// The member event.
    pub event: &'a Pdu,
}

/// Draws the conclusions from who comes and goes in direct rooms.
pub trait MemberWatcher: Send + Sync + 'static {
    /// Called in the transaction that writes the membership, which fails with it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn member_changed(&self, tx: &WriteTx<'_>, change: &MemberChange<'_>) -> Result<(), StoreError>;
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    is_direct: bool,
}

/// Whether a member event says that the room is for two.
pub fn is_direct(event: &Pdu) -> bool {
    serde_json::from_str::<Content>(event.content().get()).is_ok_and(|content| content.is_direct)
}

/// A membership was written: of whom, what it was and what it is.
pub(super) fn member_changed(
    tx: &WriteTx<'_>,
    watcher: Option<&Arc<dyn MemberWatcher>>,
    room: RoomNid,
    (user, before, after): (UserNid, Option<Membership>, Membership),
    event: &Pdu,
) -> Result<(), StoreError> {
    let mut sender = None;
    if after == Membership::Invite && is_direct(event) {
        let inviter = ids::intern_user(tx, event.sender())?;
        direct_rooms::note(tx, room, inviter, user)?;
        sender = Some(inviter);
    }
    let Some(watcher) = watcher else { return Ok(()) };
    let Some(pair) = direct_rooms::pair_of(tx, room)? else { return Ok(()) };
    let sender = match sender {
        Some(sender) => sender,
        None => ids::intern_user(tx, event.sender())?,
    };
    watcher.member_changed(tx, &MemberChange { room, pair, user, sender, before, after, event })
}

/// Has a local user who is invited join; `content` is what the member event says beside the membership and the profile.
///
/// # Errors
/// `Denied` if the user is not invited any more; else as the append's.
pub async fn join_invited(
    store: &Store,
    appenders: &Appenders,
    room: RoomNid,
    user: &UserId,
    mut content: CanonicalJsonObject,
) -> Result<(), AppendError> {
    let user_id = user.to_owned();
    let profile = store.read_short::<_, StoreError, _>(move |read| MemberProfile::of(read, &user_id)).await?;
    content.insert("membership".into(), "join".into());
    profile.fill(&mut content);
    let event = LocalEvent::state(user.to_owned(), "m.room.member", user.as_str(), content);
    appenders.append(room, vec![event], None).await.map(drop)
}
