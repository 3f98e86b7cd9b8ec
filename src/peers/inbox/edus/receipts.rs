//! `m.receipt` of other servers' users.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EduError, EduHandler};
use crate::{
    peers::inbox::acl::RoomPolicy,
    rooms::{
        receipts::ReceiptThread,
        remote_receipts::{RemoteReceipt, RemoteReceipts},
    },
    store::StoreError,
};

/// Receipts in one transaction that are looked at.
const MAX_RECEIPTS: usize = 2_000;

/// Hands `m.receipt` to the rooms.
pub struct ReceiptEdus {
    receipts: Arc<RemoteReceipts>,
    policy: Arc<RoomPolicy>,
}

#[derive(Deserialize)]
struct Receipt {
    event_ids: Vec<OwnedEventId>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    ts: i64,
    thread_id: Option<String>,
}

impl ReceiptEdus {
    /// Receipts go to `receipts`, where `policy` lets the origin speak.
    pub fn new(receipts: Arc<RemoteReceipts>, policy: Arc<RoomPolicy>) -> Self {
        Self { receipts, policy }
    }
}

/// The public receipts in an EDU's content (room → receipt type → user → receipt) that its origin may speak of. What is not of
/// that shape is passed over, entry by entry.
fn read(origin: &ServerName, content: &RawValue) -> Result<Vec<RemoteReceipt>, EduError> {
    let rooms: BTreeMap<String, &RawValue> =
        serde_json::from_str(content.get()).map_err(|error| EduError::Ignored(error.to_string()))?;
    let mut out = Vec::new();
    for (room_id, kinds) in rooms {
        let Ok(room_id) = OwnedRoomId::try_from(room_id) else { continue };
        let Ok(kinds) = serde_json::from_str::<BTreeMap<String, &RawValue>>(kinds.get()) else { continue };
        // «Currently the only kind of receipt supported is a read receipt.»
        let Some(users) = kinds.get("m.read") else { continue };
        let Ok(users) = serde_json::from_str::<BTreeMap<String, &RawValue>>(users.get()) else { continue };
        for (user_id, receipt) in users {
            let Ok(user_id) = OwnedUserId::try_from(user_id) else { continue };
            let Ok(receipt) = serde_json::from_str::<Receipt>(receipt.get()) else { continue };
            if user_id.server_name() != origin {
                tracing::debug!(%origin, %user_id, "a receipt of another server's user is passed over");
                continue;
            }
            let thread = match receipt.data.thread_id.as_deref() {
                None => ReceiptThread::Unthreaded,
                Some("main") => ReceiptThread::Main,
                Some(root) => match OwnedEventId::try_from(root) {
                    Ok(root) => ReceiptThread::Root(root),
                    Err(_) => continue,
                },
            };
            let Some(event_id) = receipt.event_ids.into_iter().next() else { continue };
            let ts = receipt.data.ts.max(0);
            out.push(RemoteReceipt { room_id: room_id.clone(), user_id, event_id, thread, ts });
        }
    }
    Ok(out)
}

impl ReceiptEdus {
    async fn take(&self, origin: &ServerName, mut receipts: Vec<RemoteReceipt>) -> Result<(), StoreError> {
        receipts.truncate(MAX_RECEIPTS);
        let mut permitted: HashMap<OwnedRoomId, bool> = HashMap::new();
        for receipt in &receipts {
            if !permitted.contains_key(&receipt.room_id) {
                let permits = self.policy.permits(&receipt.room_id, origin).await?;
                permitted.insert(receipt.room_id.clone(), permits);
            }
        }
        receipts.retain(|receipt| permitted.get(&receipt.room_id).copied().unwrap_or(false));
        if receipts.is_empty() { Ok(()) } else { self.receipts.receive(receipts).await }
    }
}

impl EduHandler for ReceiptEdus {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move { Ok(self.take(origin, read(origin, content)?).await?) })
    }

    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut receipts = Vec::new();
            for content in contents {
                match read(origin, content) {
                    Ok(read) => receipts.extend(read),
                    Err(error) => tracing::debug!(%origin, %error, "an EDU is passed over"),
                }
            }
            self.take(origin, receipts).await
        })
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::{json, value::to_raw_value};

    use super::*;

    #[test]
    fn one_odd_receipt_costs_no_other() {
        let good = json!({ "event_ids": ["$e"], "data": { "ts": 5, "thread_id": "$root" } });
        let content = json!({
            "!a:x.example": {
                "m.read": {
                    "@good:b.example": good,
                    "@main:b.example": { "event_ids": ["$e"], "data": { "ts": -5, "thread_id": "main" } },
                    "@none:b.example": { "event_ids": [], "data": { "ts": 5 } },
                    "@data:b.example": { "event_ids": ["$e"] },
                    "@thread:b.example": { "event_ids": ["$e"], "data": { "ts": 5, "thread_id": "nonsense" } },
                    "@other:c.example": good,
                    "nobody": good,
                },
                "m.read.private": { "@good:b.example": good },
            },
            "!b:x.example": { "m.read": [] },
            "!c:x.example": 7,
            "nowhere": {},
        });
        let read = read(server_name!("b.example"), &to_raw_value(&content).unwrap()).unwrap();
        let users: Vec<_> = read.iter().map(|receipt| (receipt.user_id.localpart(), receipt.ts)).collect();
        assert_eq!(users, [("good", 5), ("main", 0)]);
        assert_eq!(read[0].thread, ReceiptThread::Root(OwnedEventId::try_from("$root").unwrap()));
        assert_eq!(read[1].thread, ReceiptThread::Main);
    }

    #[test]
    fn a_content_that_is_no_object_is_passed_over() {
        let content = to_raw_value(&json!([])).unwrap();
        assert!(matches!(super::read(server_name!("b.example"), &content), Err(EduError::Ignored(_))));
    }
}
