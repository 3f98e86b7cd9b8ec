//! Public receipts of members with an account on another server.
//!
//! Source: Server-Server API, "Receipts". One whose event is not here yet waits for it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, PoisonError},
};

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId};

use super::{
    append::{AppendError, Appenders},
    receipts::ReceiptThread,
    wake::WakeMembers,
};
use crate::store::{
    Read, Store, StoreError, WriteTx, events,
    events::{EventRow, flag},
    ids::{self, RoomNid, UserNid},
    members,
    members::Membership,
    receipts,
    receipts::{NewReceipt, PendingReceipt},
};

/// A public receipt as the user's server tells it.
#[derive(Clone, Debug)]
pub struct RemoteReceipt {
    /// Where.
    pub room_id: OwnedRoomId,
    /// Who has read. That the server speaks for this user was checked.
    pub user_id: OwnedUserId,
    /// Up to where.
    pub event_id: OwnedEventId,
    /// In which thread.
    pub thread: ReceiptThread,
    /// When, in milliseconds.
    pub ts: i64,
}

/// How far members of other servers have read.
pub struct RemoteReceipts {
    store: Store,
    appenders: Arc<Appenders>,
    wake: Arc<dyn WakeMembers>,
}

impl RemoteReceipts {
    /// Receipts in `store`; `appenders` know the rooms' members, `wake` those who wait.
    pub fn new(store: Store, appenders: Arc<Appenders>, wake: Arc<dyn WakeMembers>) -> Self {
        Self { store, appenders, wake }
    }

    /// Takes receipts. Passed over are those of rooms that we do not know and of users who are not joined, those that do not
    /// go beyond what is known, and those of threads that their event is not in.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was taken then.
    pub async fn receive(&self, receipts: Vec<RemoteReceipt>) -> Result<(), StoreError> {
        let wake = self.wake.clone();
        let changed = self
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut changed = BTreeSet::new();
                for receipt in &receipts {
                    if let Some(room) = receive_one(tx, &*wake, receipt)? {
                        changed.insert(room);
                    }
                }
                Ok(changed)
            })
            .await?;
        for room in changed {
            self.tell(room).await;
        }
        Ok(())
    }

    /// An event of a room is here: the receipts that waited for it take effect, in the caller's transaction. Answers whether
    /// there were any; then the caller calls [`Self::tell`] after the commit.
    pub fn arrived(&self, tx: &WriteTx<'_>, room: RoomNid, event: &EventId) -> Result<bool, StoreError> {
        let waiting = receipts::take_pending(tx, room, event)?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let Some(event) = visible(tx, room, event)? else { return Ok(false) };
        let mut written = false;
        for receipt in waiting {
            written |= put(tx, &*self.wake, &event, &receipt)?;
        }
        Ok(written)
    }

    /// Wakes the members who see a changed receipt. It is durable already, so a failure here only delays.
    pub async fn tell(&self, room: RoomNid) {
        match self.appenders.local_members(room).await {
            Ok(members) => {
                let members: &HashSet<UserNid> = &members.read().unwrap_or_else(PoisonError::into_inner);
                self.wake.tell(room, members);
            }
            Err(AppendError::Store(StoreError::Stopping)) => {}
            Err(error) => tracing::warn!(%error, "a receipt will be seen late"),
        }
    }
}

/// Answers the room if members see a change.
fn receive_one(
    tx: &WriteTx<'_>,
    wake: &dyn WakeMembers,
    receipt: &RemoteReceipt,
) -> Result<Option<RoomNid>, StoreError> {
    let Some(room) = ids::room(tx, &receipt.room_id)? else { return Ok(None) };
    let Some(user) = ids::user_nid(tx, &receipt.user_id)? else { return Ok(None) };
    let joined = members::of(tx, user, room.nid)?.is_some_and(|member| member.membership == Membership::Join);
    if !joined {
        return Ok(None);
    }
    let thread = match &receipt.thread {
        ReceiptThread::Unthreaded => String::new(),
        ReceiptThread::Main => "main".to_owned(),
        ReceiptThread::Root(root) => root.to_string(),
    };
    let pending = PendingReceipt { user, thread, ts: receipt.ts };
    if events::by_id(tx, &receipt.event_id)?.is_none_or(|event| event.is(flag::OUTLIER)) {
        receipts::put_pending(tx, room.nid, &receipt.event_id, &pending)?;
        return Ok(None);
    }
    let Some(event) = visible(tx, room.nid, &receipt.event_id)? else { return Ok(None) };
    receipts::drop_pending(tx, room.nid, user, &pending.thread)?;
    Ok(put(tx, wake, &event, &pending)?.then_some(room.nid))
}

/// The event, if it is one of the room that clients may see.
fn visible(read: &dyn Read, room: RoomNid, event: &EventId) -> Result<Option<EventRow>, StoreError> {
    let event = events::by_id(read, event)?;
    Ok(event.filter(|event| event.room == room && event.position.is_some() && !event.is(flag::HIDDEN)))
}

fn put(
    tx: &WriteTx<'_>,
    wake: &dyn WakeMembers,
    event: &EventRow,
    receipt: &PendingReceipt,
) -> Result<bool, StoreError> {
    if !in_thread(tx, event, &receipt.thread)? {
        return Ok(false);
    }
    let position = tx.next_position();
    let written = receipts::put(
        tx,
        &NewReceipt {
            room: event.room,
            user: receipt.user,
            thread: &receipt.thread,
            event: event.nid,
            ordering: event.position.unwrap_or(i64::MIN),
            ts: receipt.ts,
            position,
        },
    )?;
    if written {
        wake.will_change(event.room, position);
        wake.will_tell(event.room, position);
    }
    Ok(written)
}

/// Whether an event is in the thread of a receipt; so the threads of a user's receipts are no more than there are. What is
/// in the main timeline is for the user's server to say: it may know relations that we don't.
fn in_thread(read: &dyn Read, event: &EventRow, thread: &str) -> Result<bool, StoreError> {
    if thread.is_empty() || thread == "main" {
        return Ok(true);
    }
    let Ok(root) = <&EventId>::try_from(thread) else { return Ok(false) };
    let nid = events::nid(read, root)?;
    if nid.is_some() && (event.thread == nid || nid == Some(event.nid)) {
        return Ok(true);
    }
    // The root may be older than what is here.
    events::relates_to(read, event.nid, root)
}
