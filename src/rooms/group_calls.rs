//! What admins on other servers ask of a group, and what its server answers: noted with the event.
//!
//! What is asked is executed by the service user, once: so the note is written in the transaction of the
//! request's event and deleted in that of its result.
//!
//! A group's server that was away for long does not get all that it missed live: what is older comes as history. A request among
//! it is noted as well, if it is young enough to be done and nobody answered it.

use linkim_federation::Pdu;
use ruma::ServerName;

use crate::store::{
    Read, StoreError, WriteTx, events, group_calls, ids,
    ids::{EventNid, RoomNid, UserNid},
    relations,
};

/// A request older than this when it comes to be executed is refused: who asked has long since gone on. In milliseconds.
pub const MAX_AGE_MS: i64 = 60 * 60 * 1_000;

/// Events that refer to a request and are looked at for the answer.
pub const LOOKED_AT: usize = 50;

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

/// An event became part of the room: live, or of its history where `backfilled_ms` says when. A request to a group of ours is
/// noted. Answers whether somebody waits for it.
///
/// # Errors
/// [`StoreError`].
pub(super) fn came(
    tx: &WriteTx<'_>,
    own: &ServerName,
    room: RoomNid,
    (pdu, kind): (&Pdu, &str),
    nid: EventNid,
    backfilled_ms: Option<i64>,
) -> Result<bool, StoreError> {
    if pdu.state_key().is_some() {
        return Ok(false);
    }
    match kind {
        RESULT => Ok(backfilled_ms.is_none()),
        REQUEST => {
            let Some(service) = ids::room_by_nid(tx, room)?.service else { return Ok(false) };
            if ids::user_id(tx, service)?.server_name() != own {
                return Ok(false);
            }
            if let Some(now_ms) = backfilled_ms
                && (is_old(pdu, now_ms) || is_answered(tx, service, nid)?)
            {
                return Ok(false);
            }
            group_calls::insert(tx, room, nid)
        }
        _ => Ok(false),
    }
}

fn is_old(pdu: &Pdu, now_ms: i64) -> bool {
    let asked_ms = i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(asked_ms) > MAX_AGE_MS
}

/// Whether the group's service user answered a request: its server lost what it did, say, and got the request again.
fn is_answered(read: &dyn Read, service: UserNid, request: EventNid) -> Result<bool, StoreError> {
    let answers = relations::references(read, &events::by_nid(read, request)?, LOOKED_AT)?;
    Ok(answers.iter().any(|answer| answer.sender == service && &*answer.kind == RESULT))
}
