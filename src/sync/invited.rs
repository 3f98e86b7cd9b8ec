//! A room that the viewer is invited to or knocks at: `rooms.invite`, `rooms.knock`.
//!
//! Source: Client-Server API, "Syncing"; "Stripped state"; "Ignoring Users" («Servers must not send room invites from
//! ignored users to clients»).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    body::{Events, Object},
    view::View,
};
use crate::{
    rooms::{client_event, state, stripped},
    store::{
        StoreError, events,
        ids::{self, RoomKey},
        members::{MemberRow, Membership},
        stripped_state,
    },
};

/// The part of stripped state that says which it is.
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
}

/// What a client has to hear of an open invitation or knock; None: nothing, as an ignored user invited.
pub(super) fn invited(view: &View<'_>, room: &Arc<RoomKey>, member: &MemberRow) -> Result<Option<Object>, StoreError> {
    let own = events::by_nid(view.read, member.event)?;
    if member.membership == Membership::Invite && view.ignored()?.contains(&own.sender) {
        return Ok(None);
    }
    let mut told = Events::default();
    let mut has_own = false;
    let mut tell = |event: &RawValue| {
        told.push(None, |out| {
            out.push_str(event.get());
            Ok(())
        })
    };
    match stripped_state::get(view.read, member.user, room.nid)? {
        Some(array) => {
            let stored: Vec<Box<RawValue>> =
                serde_json::from_str(&array).map_err(|e| StoreError::Damaged(format!("stripped state: {e}")))?;
            for event in stored {
                has_own |= serde_json::from_str::<Key>(event.get())
                    .is_ok_and(|key| key.kind == "m.room.member" && key.state_key == view.viewer.user_id);
                tell(&event)?;
            }
        }
        None => {
            let inviter = ids::user_id(view.read, own.sender)?;
            let inviter = (own.sender != member.user).then_some(("m.room.member", inviter.as_str()));
            for (kind, key) in stripped::KINDS.into_iter().map(|kind| (kind, "")).chain(inviter) {
                if let Some(nid) = state::current_nid(view.read, room.nid, kind, key)? {
                    tell(&client_event::stripped(view.read, &events::by_nid(view.read, nid)?)?)?;
                }
            }
        }
    }
    if !has_own {
        tell(&client_event::stripped(view.read, &own)?)?;
    }
    let mut out = Object::default();
    let name = if member.membership == Membership::Invite { "invite_state" } else { "knock_state" };
    out.put_events(name, &told);
    Ok(Some(out))
}
