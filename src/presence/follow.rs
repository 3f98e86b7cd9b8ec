//! What presence hears of rooms and accounts.

use std::{collections::HashSet, sync::Arc};

use super::Presence;
use crate::{
    accounts::DeactivationWatcher,
    rooms::append::Wake,
    store::ids::{RoomNid, UserNid},
};

/// Has those told anew who come into a room, and their rooms looked up of those who leave one; then wakes as before.
pub struct PresenceFollows {
    /// Who is told next.
    pub next: Arc<dyn Wake>,
    /// Who is online.
    pub presence: Arc<Presence>,
}

impl Wake for PresenceFollows {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        self.next.room_changed(room, position, members, also);
        self.presence.moved(also);
    }

    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>) {
        self.next.room_changed_here(room, position, members);
    }

    fn state_changed(&self, room: RoomNid) {
        self.next.state_changed(room);
    }
}

/// Has those offline whose account ends, then goes on as before.
pub struct EndsPresence {
    /// Who is told next.
    pub next: Arc<dyn DeactivationWatcher>,
    /// Who is online.
    pub presence: Arc<Presence>,
}

impl DeactivationWatcher for EndsPresence {
    fn deactivated(&self, user: UserNid) {
        self.presence.end(user);
        self.next.deactivated(user);
    }
}
