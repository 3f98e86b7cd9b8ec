//! Rooms for the tests of reading, made through the write path.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use linkim_federation::{SigningKey, rules};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId, RoomVersionId, UserId, server_name};
use serde_json::{Value, json};

use super::{
    access::{OpenRoom, ReadError},
    append::{Appended, Appenders, LocalEvent, NewRoom, NoWake, Signer, Transaction},
    client_event::{Shape, Viewer},
    state_hash::StateHashKey,
};
use crate::{
    clock::Clock,
    random::OsRandom,
    store::{
        Store, StoreError,
        ids::{self, DeviceNid, RoomKey},
    },
};

/// A clock that goes on by a second at each look.
pub(super) struct Steps(AtomicI64);

/// The first time that [`Steps`] shows.
pub(super) const EPOCH: i64 = 1_700_000_000_000;

impl Clock for Steps {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// A server with nothing but rooms.
pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) appenders: Appenders,
    _folder: tempfile::TempDir,
}

/// A fresh server.
pub(super) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    let signer = Signer {
        server_name: server_name!("a.example").to_owned(),
        key: SigningKey::generate([1; 32], "1").unwrap(),
        random: Arc::new(OsRandom),
    };
    let clock = Arc::new(Steps(AtomicI64::new(EPOCH)));
    let appenders = Appenders::new(store.clone(), clock, signer, StateHashKey::new([2; 32]), Arc::new(NoWake));
    Fixture { store, appenders, _folder: folder }
}

/// A user of the server.
pub(super) fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:a.example")).unwrap()
}

/// Content.
pub(super) fn object(value: Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => panic!("not an object"),
    }
}

/// A room of alice's, in which everybody may join and speak.
pub(super) struct Room<'f> {
    fixture: &'f Fixture,
    pub(super) key: Arc<RoomKey>,
    pub(super) first: Vec<Appended>,
}

impl Fixture {
    /// A room of this version with this history visibility.
    pub(super) async fn room(&self, version: &str, history_visibility: Option<&str>) -> Room<'_> {
        let alice = user("alice");
        let version = RoomVersionId::try_from(version).unwrap();
        let rules = rules(&version).unwrap();
        let mut create = json!({ "room_version": version.as_str() });
        if !rules.authorization.use_room_create_sender {
            create["creator"] = json!(alice);
        }
        let users = match rules.authorization.explicitly_privilege_room_creators {
            true => json!({}),
            false => json!({ alice.as_str(): 100 }),
        };
        let mut events = vec![
            LocalEvent::state(alice.clone(), "m.room.member", alice.clone(), object(json!({ "membership": "join" }))),
            LocalEvent::state(
                alice.clone(),
                "m.room.power_levels",
                "",
                object(json!({ "users": users, "state_default": 50, "events": { "m.room.topic": 0 } })),
            ),
            LocalEvent::state(alice.clone(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
        ];
        if let Some(value) = history_visibility {
            events.push(LocalEvent::state(
                alice.clone(),
                "m.room.history_visibility",
                "",
                object(json!({ "history_visibility": value })),
            ));
        }
        let new = NewRoom { version, creator: alice, create_content: object(create) };
        let (key, first) = self.appenders.create(new, events, None).await.unwrap();
        Room { fixture: self, key, first }
    }

    /// Who looks at a room.
    pub(super) async fn viewer(&self, name: &str) -> Viewer {
        let user_id = user(name);
        let wanted = user_id.clone();
        let user = self.store.write::<_, StoreError, _>(move |tx| ids::intern_user(tx, &wanted)).await.unwrap();
        Viewer { user, user_id, device: None, now_ms: EPOCH }
    }
}

impl Room<'_> {
    async fn append(&self, event: LocalEvent) -> Appended {
        let mut appended = self.fixture.appenders.append(self.key.nid, vec![event], None).await.unwrap();
        appended.remove(0)
    }

    /// A text message.
    pub(super) async fn say(&self, name: &str, body: &str) -> Appended {
        self.send(name, "m.room.message", json!({ "msgtype": "m.text", "body": body })).await
    }

    /// A message-like event.
    pub(super) async fn send(&self, name: &str, kind: &str, content: Value) -> Appended {
        self.append(LocalEvent::message(user(name), kind, object(content))).await
    }

    /// A message sent by a device's transaction.
    pub(super) async fn send_from(&self, name: &str, device: DeviceNid, txn_id: &str) -> Appended {
        let mut event = LocalEvent::message(user(name), "m.room.message", object(json!({ "body": txn_id })));
        event.transaction = Some(Transaction { device, key: [9; 16], txn_id: txn_id.to_owned() });
        self.append(event).await
    }

    /// A state event.
    pub(super) async fn set(&self, name: &str, kind: &str, key: &str, content: Value) -> Appended {
        self.append(LocalEvent::state(user(name), kind, key, object(content))).await
    }

    /// A change of `name`'s membership by `by`.
    pub(super) async fn member(&self, by: &str, name: &str, membership: &str) -> Appended {
        self.set(by, "m.room.member", user(name).as_str(), json!({ "membership": membership })).await
    }

    /// An event related to another one.
    pub(super) async fn relate(&self, name: &str, kind: &str, to: &OwnedEventId, body: &str) -> Appended {
        let mut content = json!({
            "msgtype": "m.text", "body": body, "m.relates_to": { "rel_type": kind, "event_id": to },
        });
        if kind == "m.replace" {
            content["m.new_content"] = json!({ "msgtype": "m.text", "body": body });
        }
        self.send(name, "m.room.message", content).await
    }

    /// A redaction.
    pub(super) async fn redact(&self, name: &str, target: &OwnedEventId) -> Appended {
        let mut event = LocalEvent::message(user(name), "m.room.redaction", object(json!({ "reason": "spam" })));
        event.redacts = Some(target.clone());
        self.append(event).await
    }

    /// Looks at the room as a viewer.
    pub(super) async fn look<T, F>(&self, viewer: &Viewer, shape: Shape, look: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&mut OpenRoom<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        let (viewer, room_id) = (viewer.clone(), self.key.room_id.clone());
        self.fixture.store.read(move |snapshot| look(&mut OpenRoom::open(snapshot, &room_id, shape, &viewer)?)).await
    }
}
