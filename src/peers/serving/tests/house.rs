//! A server with one room, to which users of other servers come.

use std::sync::Arc;

use linkim_federation::{EventReference, EventTemplate, Pdu, SigningKey, auth_types, build_event, rules};
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, OwnedUserId, RoomVersionId, UserId, server_name, user_id};
use serde_json::{Value, json, value::RawValue};

use super::super::Serving;
use crate::{
    clock::SystemClock,
    random::OsRandom,
    rooms::{
        append::{Appenders, Incoming, LocalEvent, NewRoom, NoWake, Received, Signer},
        server_acl::ServerAcls,
        state,
        state_hash::StateHashKey,
    },
    store::{Store, StoreError, events, ids::RoomKey, rooms},
};

/// The server `a.example`, and a room of alice's that everybody may join.
pub(super) struct House {
    pub(super) serving: Serving,
    pub(super) room: Arc<RoomKey>,
    store: Store,
    appenders: Appenders,
    ts: u64,
    _folder: tempfile::TempDir,
}

fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn alice() -> OwnedUserId {
    user_id!("@alice:a.example").to_owned()
}

/// A room of this version with this history visibility.
pub(super) async fn house(version: &str, visibility: Option<&str>) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    let signer = Signer {
        server_name: server_name!("a.example").to_owned(),
        key: SigningKey::generate([1; 32], "1").unwrap(),
        random: Arc::new(OsRandom),
    };
    let clock = Arc::new(SystemClock);
    let appenders = Appenders::new(store.clone(), clock.clone(), signer, StateHashKey::new([2; 32]), Arc::new(NoWake));
    let room = make(&appenders, version, visibility).await;
    let own = server_name!("a.example").to_owned();
    let serving = Serving::new(own, clock, store.clone(), Arc::new(ServerAcls::default()));
    House { serving, room, store, appenders, ts: 1, _folder: folder }
}

async fn make(appenders: &Appenders, version: &str, visibility: Option<&str>) -> Arc<RoomKey> {
    let version = RoomVersionId::try_from(version).unwrap();
    let rules = rules(&version).unwrap();
    let mut create = json!({ "room_version": version.as_str() });
    if !rules.authorization.use_room_create_sender {
        create["creator"] = json!(alice());
    }
    let users = match rules.authorization.explicitly_privilege_room_creators {
        true => json!({}),
        false => json!({ alice().as_str(): 100 }),
    };
    let mut events = vec![
        LocalEvent::state(alice(), "m.room.member", alice(), object(json!({ "membership": "join" }))),
        LocalEvent::state(alice(), "m.room.power_levels", "", object(json!({ "users": users, "invite": 0 }))),
        LocalEvent::state(alice(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
    ];
    if let Some(value) = visibility {
        let content = object(json!({ "history_visibility": value }));
        events.push(LocalEvent::state(alice(), "m.room.history_visibility", "", content));
    }
    let new = NewRoom { version, creator: alice(), create_content: object(create) };
    appenders.create(new, events, None).await.unwrap().0
}

impl House {
    async fn append(&self, event: LocalEvent) -> OwnedEventId {
        self.appenders.append(self.room.nid, vec![event], None).await.unwrap().remove(0).event_id
    }

    /// A text of alice's.
    pub(super) async fn say(&self, body: &str) -> OwnedEventId {
        let content = object(json!({ "msgtype": "m.text", "body": body }));
        self.append(LocalEvent::message(alice(), "m.room.message", content)).await
    }

    /// A state event of alice's.
    pub(super) async fn set(&self, kind: &str, key: &str, content: Value) -> OwnedEventId {
        self.append(LocalEvent::state(alice(), kind, key, object(content))).await
    }

    /// Alice invites.
    pub(super) async fn invite(&self, user: &str) -> OwnedEventId {
        self.set("m.room.member", user, json!({ "membership": "invite" })).await
    }

    /// A user of another server joins.
    pub(super) async fn join(&mut self, user: &str) -> OwnedEventId {
        self.remote(user, "m.room.member", Some(user), json!({ "membership": "join" })).await
    }

    /// A user of another server leaves.
    pub(super) async fn leave(&mut self, user: &str) -> OwnedEventId {
        self.remote(user, "m.room.member", Some(user), json!({ "membership": "leave" })).await
    }

    async fn remote(&mut self, sender: &str, kind: &str, key: Option<&str>, content: Value) -> OwnedEventId {
        match self.receive(sender, kind, key, content).await {
            Received::Accepted(appended) => appended.event_id,
            other => panic!("{other:?}"),
        }
    }

    /// An event of another server's user that the room does not allow.
    pub(super) async fn remote_refused(&mut self, sender: &str, kind: &str, content: Value) -> OwnedEventId {
        match self.receive(sender, kind, None, content).await {
            Received::Rejected(appended, _) => appended.event_id,
            other => panic!("{other:?}"),
        }
    }

    async fn receive(&mut self, sender: &str, kind: &str, key: Option<&str>, content: Value) -> Received {
        let pdu = self.build(&UserId::parse(sender).unwrap(), kind, key, content).await;
        self.appenders.receive(self.room.nid, vec![Incoming::new(Arc::new(pdu))]).await.unwrap().remove(0)
    }

    /// An event on the room's newest ones, authorised by its current state.
    async fn build(&mut self, sender: &UserId, kind: &str, key: Option<&str>, content: Value) -> Pdu {
        let rules = rules(&self.room.version).unwrap();
        let raw = RawValue::from_string(content.to_string()).unwrap();
        let types = auth_types(kind, sender, key, &raw, rules).unwrap();
        let nid = self.room.nid;
        let found = self.store.read::<_, StoreError, _>(move |read| {
            let mut auth = Vec::new();
            for (kind, key) in types {
                if let Some(event) = state::current_nid(read, nid, &kind.to_string(), &key)? {
                    auth.push(events::id(read, event)?);
                }
            }
            let mut prev = Vec::new();
            let mut depth = 0;
            for tip in rooms::extremities(read, nid)? {
                let row = events::by_nid(read, tip)?;
                depth = depth.max(row.depth + 1);
                prev.push(row.event_id);
            }
            Ok((auth, prev, depth))
        });
        let (auth, prev, depth) = found.await.unwrap();
        fn references(ids: &[OwnedEventId]) -> Vec<EventReference<'_>> {
            ids.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect()
        }
        self.ts += 1_000;
        let template = EventTemplate {
            room_id: Some(&self.room.room_id),
            sender,
            event_type: kind,
            state_key: key,
            content: object(content),
            prev_events: &references(&prev),
            auth_events: &references(&auth),
            depth: u64::try_from(depth).unwrap(),
            origin_server_ts: self.ts,
            redacts: None,
            event_id_v1: None,
        };
        build_event(template, rules, sender.server_name(), &SigningKey::generate([3; 32], "1").unwrap()).unwrap()
    }

    /// A text in another room, where only alice is.
    pub(super) async fn another_room(&self) -> OwnedEventId {
        let room = make(&self.appenders, "12", Some("shared")).await;
        let content = object(json!({ "msgtype": "m.text", "body": "elsewhere" }));
        let text = LocalEvent::message(alice(), "m.room.message", content);
        self.appenders.append(room.nid, vec![text], None).await.unwrap().remove(0).event_id
    }

    /// The event that (type, state key) has now.
    pub(super) async fn current(&self, kind: &'static str, key: &'static str) -> OwnedEventId {
        let nid = self.room.nid;
        let found = self.store.read::<_, StoreError, _>(move |read| {
            let event = state::current_nid(read, nid, kind, key)?.unwrap();
            events::id(read, event)
        });
        found.await.unwrap()
    }

    /// An event's depth.
    pub(super) async fn depth_of(&self, id: &EventId) -> i64 {
        let id = id.to_owned();
        let found = self.store.read::<_, StoreError, _>(move |read| Ok(events::by_id(read, &id)?.unwrap().depth));
        found.await.unwrap()
    }

    /// An event's `origin_server_ts`.
    pub(super) async fn ts_of(&self, id: &EventId) -> i64 {
        let id = id.to_owned();
        let found = self.store.read::<_, StoreError, _>(move |read| Ok(events::by_id(read, &id)?.unwrap().origin_ts));
        found.await.unwrap()
    }

    /// The id of an event as peers compute it.
    pub(super) fn id_of(&self, event: &Value) -> OwnedEventId {
        let rules = rules(&self.room.version).unwrap();
        Pdu::from_peer(event.to_string().as_bytes(), rules).unwrap().event_id().to_owned()
    }
}
