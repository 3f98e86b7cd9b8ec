//! Reads each event of a transaction on its own: which room, which id, and whether it is staged.

use std::{collections::BTreeMap, sync::Arc};

use linkim_federation::Pdu;
use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use super::{
    Shared,
    wire::{Outline, guessed_id, named_id},
};
use crate::{
    peers::events::FEW,
    store::{Read, Snapshot, StoreError, ids, ids::RoomKey, inbox, members, members::Membership},
};

/// Bytes of an event up to which a few are read where they come in: it takes as long as handing them to another thread.
const SHORT: usize = 16 * 1024;

/// What each event is answered: by id, None or why it is refused.
pub(super) type Answers = BTreeMap<String, Option<String>>;

/// What a transaction's events come to.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Not here yet.
    pub(super) new: Vec<Pdu>,
    /// The answer for each event that has an id.
    pub(super) answers: Answers,
}

impl Shared {
    /// Sorts the events of a transaction. Reads, parses and hashes; nothing is written.
    pub(super) async fn sort(
        self: &Arc<Self>,
        origin: &ServerName,
        pdus: Vec<Box<RawValue>>,
    ) -> Result<Sorted, StoreError> {
        if pdus.is_empty() {
            return Ok(Sorted::default());
        }
        let (shared, origin) = (self.clone(), origin.to_owned());
        let few = pdus.len() <= FEW && pdus.iter().all(|pdu| pdu.get().len() <= SHORT);
        let sort = move |read: &Snapshot<'_>| {
            let mut sorted = Sorted::default();
            for pdu in &pdus {
                shared.sort_one(read, &origin, pdu, &mut sorted)?;
            }
            Ok(sorted)
        };
        if few { self.parts.store.read_short(sort).await } else { self.parts.store.read(sort).await }
    }

    fn sort_one(
        &self,
        read: &dyn Read,
        origin: &OwnedServerName,
        json: &RawValue,
        sorted: &mut Sorted,
    ) -> Result<(), StoreError> {
        let refuse = |sorted: &mut Sorted, id: Option<String>, why: String| {
            metrics::counter!("linkim_inbox_events_total", "result" => "refused").increment(1);
            tracing::debug!(%origin, id, why, "an event is refused");
            if let Some(id) = id {
                sorted.answers.entry(id).or_insert(Some(why));
            }
        };
        let Some(outline) = Outline::read(json) else {
            refuse(sorted, named_id(json), "the event is malformed".into());
            return Ok(());
        };
        let Some(room_id) = outline.room_id else {
            refuse(sorted, guessed_id(json, None, outline.event_id), "the event names no room".into());
            return Ok(());
        };
        let room = ids::room(read, &room_id)?;
        let version = room.as_ref().map(|room| room.version.clone()).or_else(|| self.expected(&room_id));
        let Some(version) = version else {
            refuse(sorted, guessed_id(json, Some(&room_id), outline.event_id), "the room is not known here".into());
            return Ok(());
        };
        let Some(rules) = linkim_federation::rules(&version) else {
            refuse(sorted, outline.event_id, format!("room version {version} is not known here"));
            return Ok(());
        };
        let pdu = match Pdu::from_peer(json.get().as_bytes(), rules) {
            Ok(pdu) => pdu,
            Err(error) => {
                refuse(sorted, guessed_id(json, Some(&room_id), outline.event_id), error.to_string());
                return Ok(());
            }
        };
        if let Some(why) = self.objection(read, origin, &room_id, room.as_deref(), &pdu)? {
            refuse(sorted, Some(pdu.event_id().to_string()), why);
            return Ok(());
        }
        sorted.answers.insert(pdu.event_id().to_string(), None);
        let here = inbox::known(read, pdu.event_id())?;
        if !here.is_some_and(|known| known.is_placed()) {
            sorted.new.push(pdu);
        }
        Ok(())
    }

    /// Why a well-formed event is not taken from this origin.
    fn objection(
        &self,
        read: &dyn Read,
        origin: &ServerName,
        room_id: &RoomId,
        room: Option<&RoomKey>,
        pdu: &Pdu,
    ) -> Result<Option<String>, StoreError> {
        let Some(room) = room else { return Ok(None) };
        // «If the sending server is denied access to the room identified by room_id, the PDU MUST be ignored with an
        // appropriate error».
        if !self.parts.acls.permits(read, room.nid, origin)? {
            return Ok(Some(format!("{origin} is denied access to the room by its server ACL")));
        }
        let inside = inbox::local_joined(read, room.nid)?.is_some_and(|joined| joined > 0);
        if inside || self.expected(room_id).is_some() || self.concerns_outsider(read, room, pdu)? {
            return Ok(None);
        }
        Ok(Some("this server is not in the room".into()))
    }

    /// Whether an event ends the invitation or the knock of a local user in a room that we are not in: the one thing that
    /// we are told of such a room.
    pub(super) fn concerns_outsider(&self, read: &dyn Read, room: &RoomKey, pdu: &Pdu) -> Result<bool, StoreError> {
        if pdu.event_type().to_string() != "m.room.member" {
            return Ok(false);
        }
        let Some(user) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok()) else { return Ok(false) };
        if user.server_name() != self.parts.server_name {
            return Ok(false);
        }
        let Some(user) = ids::user_nid(read, user)? else { return Ok(false) };
        let member = members::of(read, user, room.nid)?;
        Ok(member.is_some_and(|member| matches!(member.membership, Membership::Invite | Membership::Knock)))
    }
}
