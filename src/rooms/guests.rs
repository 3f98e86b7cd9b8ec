//! Guests where they are no longer let in.
//!
//! Source: Client-Server API, "Guest access", server behaviour.

use super::{
    append::{AppendError, Appenders, LocalEvent},
    content::object,
};
use crate::store::{Store, StoreError, ids, ids::RoomNid, members};

/// Events of one batch.
const AT_ONCE: usize = 100;

/// Lets all joined guests of this server leave a room whose `m.room.guest_access` no longer says `can_join`. A failure is
/// logged: the state itself is changed already, and no new guest gets in.
pub(super) async fn evict(store: &Store, appenders: &Appenders, room: RoomNid) {
    let guests = store
        .read(move |read| -> Result<Vec<_>, StoreError> {
            let guests = members::local_guests(read, room)?;
            guests.into_iter().map(|guest| ids::user_id(read, guest)).collect()
        })
        .await;
    let guests = match guests {
        Ok(guests) => guests,
        Err(error) => return tracing::warn!(%error, "could not let the guests of a room leave"),
    };
    for guests in guests.chunks(AT_ONCE) {
        let events = guests
            .iter()
            .map(|guest| {
                let content = object([("membership", "leave".into()), ("reason", "guests are not allowed".into())]);
                LocalEvent::state(guest.clone(), "m.room.member", guest.as_str(), content)
            })
            .collect();
        match appenders.append(room, events, None).await {
            // Somebody left meanwhile: those who are still there leave one by one.
            Err(AppendError::Denied(_)) => one_by_one(appenders, room, guests).await,
            Err(error) => tracing::warn!(%error, "could not let the guests of a room leave"),
            Ok(_) => {}
        }
    }
}

async fn one_by_one(appenders: &Appenders, room: RoomNid, guests: &[ruma::OwnedUserId]) {
    for guest in guests {
        let content = object([("membership", "leave".into())]);
        let event = LocalEvent::state(guest.clone(), "m.room.member", guest.as_str(), content);
        match appenders.append(room, vec![event], None).await {
            Ok(_) | Err(AppendError::Denied(_)) => {}
            Err(error) => tracing::warn!(%error, %guest, "could not let a guest leave"),
        }
    }
}
