//! Receipts as EDUs. One EDU holds one receipt of a user in a room, so the threads of a user are spread over several.
//!
//! Source: Server-Server API, "Receipts".

use std::collections::BTreeMap;

use serde_json::json;

use super::Edu;
use crate::store::{
    Read, StoreError,
    debts::OwedReceipt,
    ids::{self, RoomNid, UserNid},
};

/// EDUs of receipts in one transaction at most.
pub(super) const MAX_RECEIPT_EDUS: usize = 20;

/// Receipts in one EDU at most.
const MAX_IN_EDU: usize = 100;

/// Receipts that go into one EDU.
#[derive(Debug, Default)]
pub(super) struct Packed<'r>(BTreeMap<(RoomNid, UserNid), &'r OwedReceipt>);

/// Packs receipts, in order of position, into as few EDUs as they fit in; answers the position of the first that fits in none.
pub(super) fn pack<'r>(receipts: impl Iterator<Item = &'r OwedReceipt>) -> (Vec<Packed<'r>>, Option<i64>) {
    let mut packed: Vec<Packed<'_>> = Vec::new();
    for receipt in receipts {
        let key = (receipt.room, receipt.user);
        match packed.iter().position(|edu| edu.0.len() < MAX_IN_EDU && !edu.0.contains_key(&key)) {
            Some(index) => {
                packed[index].0.insert(key, receipt);
            }
            None if packed.len() == MAX_RECEIPT_EDUS => return (packed, Some(receipt.position)),
            None => packed.push(Packed(BTreeMap::from([(key, receipt)]))),
        }
    }
    (packed, None)
}

impl Packed<'_> {
    /// The EDU.
    pub(super) fn edu(&self, read: &dyn Read) -> Result<Edu, StoreError> {
        let mut content = serde_json::Map::new();
        for ((room, user), receipt) in &self.0 {
            let mut data = json!({ "ts": receipt.ts });
            if !receipt.thread.is_empty() {
                data["thread_id"] = json!(receipt.thread);
            }
            let room_id = ids::room_by_nid(read, *room)?.room_id.to_string();
            let user_id = ids::user_id(read, *user)?;
            let users = content.entry(room_id).or_insert_with(|| json!({ "m.read": {} }));
            users["m.read"][user_id.as_str()] = json!({ "data": data, "event_ids": [receipt.event_id] });
        }
        Edu::new("m.receipt", &content).map_err(|error| StoreError::Damaged(error.to_string()))
    }
}
