//! How changes of a room that are not events reach those who wait for news.

use std::collections::HashSet;

use crate::store::ids::{RoomNid, UserNid};

/// Told of receipts and typing. Events go through `append::Wake`.
pub trait WakeMembers: Send + Sync + 'static {
    /// The room will have something new at `position`. Called in the transaction that writes it, which may yet fail.
    fn will_change(&self, room: RoomNid, position: i64);

    /// A public receipt of a local user is visible in the room at `position`. Called on the writer's thread, after the commit.
    fn receipt_written(&self, room: RoomNid, position: i64);

    /// There is something new for one user.
    fn wake_user(&self, user: UserNid);

    /// There is something new for these users.
    fn wake_users(&self, users: &HashSet<UserNid>);
}
