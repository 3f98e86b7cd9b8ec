//! Who is muted until when: state events, from which power levels of -1 are made.

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, UserId};
use serde::Deserialize;

use super::settings::MUTE;
use crate::{
    rooms::{
        content::{number, object},
        state,
    },
    store::{Read, StoreError, ids, ids::RoomNid, state as stored_state},
};

/// A mute as its state event says it; a lifted one has an empty content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mute {
    /// Who is muted: Matrix lets nobody have state under another's id, so the key is not the id itself.
    pub user_id: String,
    /// When it ends, in milliseconds.
    pub until_ts: i64,
    /// The user's level before.
    #[serde(default)]
    pub former_level: i64,
}

impl Mute {
    /// Whether it still holds.
    pub fn holds(&self, now_ms: i64) -> bool {
        self.until_ts > now_ms
    }

    pub(super) fn content(&self, by: &UserId) -> CanonicalJsonObject {
        object([
            ("by", by.as_str().into()),
            ("former_level", number(self.former_level)),
            ("until_ts", number(self.until_ts)),
            ("user_id", self.user_id.as_str().into()),
        ])
    }
}

/// The state key of a user's mute.
pub(super) fn key(user: &UserId) -> String {
    format!("_{user}")
}

/// A user's mute, ended or not; None if it was lifted or never was.
pub(super) fn of_user(read: &dyn Read, room: RoomNid, user: &UserId) -> Result<Option<Mute>, StoreError> {
    let mute: Option<Mute> = state::current_content(read, room, MUTE, &key(user))?;
    Ok(mute.filter(|mute| mute.user_id == user.as_str()))
}

/// All mutes of a room that were not lifted.
pub(super) fn of_room(read: &dyn Read, room: RoomNid) -> Result<Vec<Mute>, StoreError> {
    let Some(kind) = ids::type_nid(read, MUTE)? else { return Ok(Vec::new()) };
    let mut mutes = Vec::new();
    for (key, event) in stored_state::current_of_type(read, room, kind)? {
        let pdu: std::sync::Arc<Pdu> = state::load_pdu(read, event)?;
        let mute = serde_json::from_str::<Mute>(pdu.content().get()).ok();
        mutes.extend(mute.filter(|mute| key.strip_prefix('_') == Some(mute.user_id.as_str())));
    }
    Ok(mutes)
}
