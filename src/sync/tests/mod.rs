//! What /sync answers, on a server without HTTP: a real store, real appenders, the real engine.

mod long_poll;
mod presence;
mod reading_marks;
mod sections;
mod state;
mod timeline;
mod tokens;

use std::{sync::Arc, time::Duration};

use linkim_federation::SigningKey;
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedUserId, RoomVersionId, UserId, server_name};
use serde_json::{Value, json};

use super::{
    notifier::Notifier,
    v3::{SyncError, SyncRequest, V3},
};
use crate::{
    accounts::Session,
    clock::SystemClock,
    params,
    random::OsRandom,
    rooms::{
        append::{Appended, Appenders, LocalEvent, NewRoom, Signer},
        receipts::{Mark, ReceiptError, ReceiptKind, ReceiptThread, Receipts},
        state_hash::StateHashKey,
        typing::{LeaversDontType, Typing, TypingNotes},
        wake::WakeMembers,
    },
    store::{
        Store, StoreError, WriteTx, account_data,
        ids::{self, DeviceNid, RoomKey},
        members,
    },
};

/// The server `a.example`.
struct Server {
    folder: Arc<tempfile::TempDir>,
    store: Store,
    notifier: Arc<Notifier>,
    appenders: Arc<Appenders>,
    typing: Arc<Typing>,
    receipts: Receipts,
    v3: V3,
}

fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:a.example")).unwrap()
}

/// A request that does not wait.
fn now(since: Option<&str>) -> SyncRequest {
    SyncRequest { since: since.map(str::to_owned), ..SyncRequest::default() }
}

/// A request with this filter.
fn filtered(since: Option<&str>, filter: &Value) -> SyncRequest {
    SyncRequest { filter: Some(filter.to_string()), ..now(since) }
}

fn token(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

/// Bodies of the messages in a room's timeline.
fn said<'a>(answer: &'a Value, room: &RoomKey) -> Vec<&'a str> {
    let events = answer["rooms"]["join"][room.room_id.as_str()]["timeline"]["events"].as_array();
    events.into_iter().flatten().filter_map(|event| event["content"]["body"].as_str()).collect()
}

fn joined<'a>(answer: &'a Value, room: &RoomKey) -> &'a Value {
    &answer["rooms"]["join"][room.room_id.as_str()]
}

/// (type, state key) of events, in order of both.
fn keys(events: &Value) -> Vec<(&str, &str)> {
    let mut keys: Vec<_> = events
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| (event["type"].as_str().unwrap(), event["state_key"].as_str().unwrap_or("no state")))
        .collect();
    keys.sort_unstable();
    keys
}

impl Server {
    fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn on(folder: Arc<tempfile::TempDir>) -> Self {
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let notifier = Notifier::new(store.visible());
        let signer = Signer {
            server_name: server_name!("a.example").to_owned(),
            key: SigningKey::generate([1; 32], "1").unwrap(),
            random: Arc::new(OsRandom),
        };
        let clock = Arc::new(SystemClock);
        let key = StateHashKey::new([2; 32]);
        let notes = Arc::<TypingNotes>::default();
        let wake = Arc::new(LeaversDontType { next: notifier.clone(), wake: notifier.clone(), notes: notes.clone() });
        let appenders = Arc::new(Appenders::new(store.clone(), clock.clone(), signer, key, wake));
        let typing = Arc::new(Typing::new(store.clone(), appenders.clone(), notifier.clone(), notes));
        Self {
            receipts: Receipts::new(store.clone(), appenders.clone(), notifier.clone(), clock.clone()),
            v3: V3::new(store.clone(), notifier.clone(), typing.clone(), Arc::default(), clock),
            folder,
            store,
            notifier,
            appenders,
            typing,
        }
    }

    /// The server after a stop and a start.
    fn restarted(self) -> Self {
        self.store.close();
        Self::on(self.folder)
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write::<_, StoreError, _>(write).await.unwrap()
    }

    /// An account with a device.
    async fn account(&self, name: &str) -> Session {
        let user_id = user(name);
        let id = user_id.clone();
        let user = self
            .write(move |tx| {
                let user = ids::intern_user(tx, &id)?;
                tx.execute(
                    "INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
                    params![user],
                )?;
                Ok(user)
            })
            .await;
        Session {
            user,
            user_id,
            device: DeviceNid(user.0),
            device_id: "DEVICE".into(),
            token: 1,
            guest: false,
            admin: false,
            suspended: false,
        }
    }

    /// A room of version 11 of `by`'s, in which everybody may join and do anything.
    async fn room(&self, by: &Session, history_visibility: &str) -> Arc<RoomKey> {
        let state = |kind: &str, key: &str, content| LocalEvent::state(by.user_id.clone(), kind, key, object(content));
        let events = vec![
            state("m.room.member", by.user_id.as_str(), json!({ "membership": "join" })),
            state(
                "m.room.power_levels",
                "",
                json!({ "users": { by.user_id.as_str(): 100 }, "state_default": 0, "events_default": 0 }),
            ),
            state("m.room.join_rules", "", json!({ "join_rule": "public" })),
            state("m.room.history_visibility", "", json!({ "history_visibility": history_visibility })),
        ];
        let new = NewRoom {
            version: RoomVersionId::V11,
            creator: by.user_id.clone(),
            create_content: object(json!({ "room_version": "11" })),
        };
        self.appenders.create(new, events, None).await.unwrap().0
    }

    async fn append(&self, room: &RoomKey, event: LocalEvent) -> Appended {
        self.appenders.append(room.nid, vec![event], None).await.unwrap().remove(0)
    }

    async fn say(&self, room: &RoomKey, by: &Session, body: &str) -> Appended {
        let content = object(json!({ "msgtype": "m.text", "body": body }));
        self.append(room, LocalEvent::message(by.user_id.clone(), "m.room.message", content)).await
    }

    /// A message in a thread.
    async fn reply(&self, room: &RoomKey, by: &Session, root: &OwnedEventId, body: &str) -> Appended {
        let content = object(json!({
            "msgtype": "m.text", "body": body, "m.relates_to": { "rel_type": "m.thread", "event_id": root },
        }));
        self.append(room, LocalEvent::message(by.user_id.clone(), "m.room.message", content)).await
    }

    async fn set(&self, room: &RoomKey, by: &Session, kind: &str, key: &str, content: Value) -> Appended {
        self.append(room, LocalEvent::state(by.user_id.clone(), kind, key, object(content))).await
    }

    async fn redact(&self, room: &RoomKey, by: &Session, target: &OwnedEventId) {
        let mut event = LocalEvent::message(by.user_id.clone(), "m.room.redaction", object(json!({})));
        event.redacts = Some(target.clone());
        self.append(room, event).await;
    }

    /// `by` makes the membership of `whom` this.
    async fn member(&self, room: &RoomKey, by: &Session, whom: &Session, membership: &str) -> Appended {
        self.set(room, by, "m.room.member", whom.user_id.as_str(), json!({ "membership": membership })).await
    }

    async fn join(&self, room: &RoomKey, whom: &Session) -> Appended {
        self.member(room, whom, whom, "join").await
    }

    /// Account data, as its service writes it.
    async fn account_data(&self, of: &Session, room: Option<&RoomKey>, kind: &'static str, content: Value) {
        let (user, room) = (of.user, room.map(|room| room.nid));
        self.write(move |tx| {
            let (content, position) = (content.to_string(), tx.next_position());
            if !account_data::update(tx, user, room, kind, &content, position)? {
                account_data::insert(tx, user, room, kind, &content, position)?;
            }
            Ok(())
        })
        .await;
        WakeMembers::wake_user(&*self.notifier, user);
    }

    async fn try_sync(&self, of: &Session, request: SyncRequest) -> Result<Value, SyncError> {
        Ok(serde_json::from_str(&self.v3.sync(of, request).await?).unwrap())
    }

    async fn sync(&self, of: &Session, request: SyncRequest) -> Value {
        self.try_sync(of, request).await.unwrap()
    }

    /// A long poll; fails the test if nothing comes.
    async fn poll(&self, of: &Session, mut request: SyncRequest) -> Value {
        request.timeout = Duration::from_secs(60);
        tokio::time::timeout(Duration::from_secs(20), self.sync(of, request)).await.expect("the poll did not return")
    }

    async fn mark(
        &self,
        of: &Session,
        room: &RoomKey,
        kind: ReceiptKind,
        event: &Appended,
        thread: ReceiptThread,
    ) -> Result<(), ReceiptError> {
        let mark = Mark { kind, event_id: event.event_id.clone(), thread };
        self.receipts.set(of.user, room.room_id.clone(), vec![mark]).await
    }

    async fn read(&self, of: &Session, room: &RoomKey, event: &Appended) {
        self.mark(of, room, ReceiptKind::Read, event, ReceiptThread::Unthreaded).await.unwrap();
    }
}
