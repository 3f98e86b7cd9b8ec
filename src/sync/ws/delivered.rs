//! Tells senders, as frames of the moment, that devices of others have received what they sent: up to which message.
//!
//! Devices say how far they have received with nearly every message, so it is told twice a second at most, for each recipient,
//! room and sender the newest message alone. In larger rooms, and to who was not connected, it is told on request.

use std::collections::HashSet;

use super::{
    super::{account_data::AccountData, filter::Filter, rooms, view::View},
    frames,
    look::{RECEIPTS_TOLD, Sources},
};
use crate::{
    rooms::client_event::Viewer,
    store::{
        Read, StoreError, events, feed,
        ids::{self, UserNid},
        members::Membership,
        rooms as room_heads,
    },
};

/// Events of one room that are looked at, the newest.
const LOOKED_AT: usize = 200;

/// What a recipient has received: behind `from`, up to `to`.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) user: UserNid,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The frames that tell of it, with those who are to get them: of the users in `listening`.
pub(super) fn frames_of(
    read: &dyn Read,
    received: &Received,
    listening: &HashSet<UserNid>,
    sources: &Sources,
) -> Result<Vec<(UserNid, String)>, StoreError> {
    let user = received.user;
    let viewer = Viewer { user, user_id: ids::user_id(read, user)?, device: None, now_ms: 0 };
    let filter = Filter::default();
    let mut view = View::new(read, &viewer, &filter, &sources.typing);
    view.since = Some(received.from);
    view.typing_since = sources.typing.serial();
    let mut out = Vec::new();
    for row in rooms::candidates(&view, &sources.notifier, &AccountData::default())? {
        if row.membership != Membership::Join || room_heads::head(read, row.room)?.joined > RECEIPTS_TOLD {
            continue;
        }
        let mut told = HashSet::new();
        for event in feed::newest(read, row.room, received.from.max(row.since), received.to, LOOKED_AT)? {
            let event = events::by_nid(read, event)?;
            let tells = event.sender != user
                && listening.contains(&event.sender)
                && frames::is_message(&event)
                && event.redacted_by.is_none()
                && !view.ignored()?.contains(&event.sender);
            if tells && told.insert(event.sender) {
                let room = ids::room_by_nid(read, row.room)?;
                out.push((event.sender, frames::delivered(read, &sources.numbers, &room, user, &event)?));
            }
        }
    }
    Ok(out)
}
