//! What admins on other servers ask of a group, and what its server answers: noted with the event.
//!
//! What is asked is executed by the service user, once: so the note is written in the transaction of the
//! request's event and deleted in that of its result.

use linkim_federation::Pdu;
use ruma::ServerName;

use crate::store::{
    StoreError, WriteTx, group_calls, ids,
    ids::{EventNid, RoomNid},
};

/// Type of the event by which an admin asks.
pub const REQUEST: &str = "org.linkim.group.request";

/// Type of the event by which the group's server answers.
pub const RESULT: &str = "org.linkim.group.result";

/// Type of the event by which a member confirms an announcement.
pub const CONFIRM: &str = "org.linkim.group.confirm";

/// Whether an event of this type leaves its sender's reading position where it is: whoever confirms an announcement, or acts
/// as an admin, need not have read what others wrote.
pub(super) fn reads_nothing(kind: &str) -> bool {
    matches!(kind, REQUEST | RESULT | CONFIRM)
}

/// An event became part of the room, live. A request to a group of ours is noted. Answers whether somebody waits for it.
///
/// # Errors
/// [`StoreError`].
pub(super) fn came(
    tx: &WriteTx<'_>,
    own: &ServerName,
    room: RoomNid,
    (pdu, kind): (&Pdu, &str),
    nid: EventNid,
) -> Result<bool, StoreError> {
    if pdu.state_key().is_some() {
        return Ok(false);
    }
    match kind {
        RESULT => Ok(true),
        REQUEST => {
            let Some(service) = ids::room_by_nid(tx, room)?.service else { return Ok(false) };
            if ids::user_id(tx, service)?.server_name() != own {
                return Ok(false);
            }
            group_calls::insert(tx, room, nid)
        }
        _ => Ok(false),
    }
}
