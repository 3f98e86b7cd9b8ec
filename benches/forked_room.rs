//! What a forked room costs: 10,000 members, twenty extremities that disagree, and the resolution of nineteen of them, cold
//! and remembered. Through the write path, each event flushed to the disk.

use std::{collections::HashSet, sync::Arc, time::Instant};

use linkim::{
    clock::SystemClock,
    params,
    random::OsRandom,
    rooms::{
        append::{Appenders, Incoming, LocalEvent, NewRoom, Received, Signer, Wake},
        state,
        state_hash::StateHashKey,
    },
    store::{
        Read, Store, StoreError,
        ids::{self, RoomKey, RoomNid, UserNid},
    },
};
use linkim_federation::{EventReference, EventTemplate, Pdu, SigningKey, build_event, rules};
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedUserId, RoomVersionId, UserId, server_name, user_id};
use serde_json::{Value, json};

const MEMBERS: usize = 10_000;
const FORKS: usize = 20;

struct NoWake;

impl Wake for NoWake {
    fn room_changed(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>, _: &[UserNid]) {}
    fn state_changed(&self, _: RoomNid) {}
    fn room_changed_here(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>) {}
}

fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn person(number: usize) -> OwnedUserId {
    UserId::parse(format!("@person-{number:05}:a.example")).unwrap()
}

fn member(user: OwnedUserId) -> LocalEvent {
    let key = user.to_string();
    LocalEvent::state(user, "m.room.member", key, object(json!({ "membership": "join" })))
}

/// The room, and the auth events that bob's events name.
struct Forked {
    store: Store,
    appenders: Appenders,
    room: Arc<RoomKey>,
    key: SigningKey,
    auth: Vec<OwnedEventId>,
    depth: u64,
}

impl Forked {
    /// An event of bob's on these previous events.
    fn event(&self, kind: &str, state_key: Option<&str>, content: Value, prev: &[OwnedEventId], ts: u64) -> Arc<Pdu> {
        fn references(ids: &[OwnedEventId]) -> Vec<EventReference<'_>> {
            ids.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect()
        }
        let template = EventTemplate {
            room_id: Some(&self.room.room_id),
            sender: user_id!("@bob:b.example"),
            event_type: kind,
            state_key,
            content: object(content),
            prev_events: &references(prev),
            auth_events: &references(&self.auth),
            depth: self.depth,
            origin_server_ts: ts,
            redacts: None,
            event_id_v1: None,
        };
        let rules = rules(&self.room.version).unwrap();
        Arc::new(build_event(template, rules, server_name!("b.example"), &self.key).unwrap())
    }

    async fn receive(&self, pdu: Arc<Pdu>) -> (OwnedEventId, f64) {
        let started = Instant::now();
        let received = self.appenders.receive(self.room.nid, vec![Incoming::new(pdu.clone())]).await.unwrap().remove(0);
        assert!(matches!(received, Received::Accepted(_)), "{received:?}");
        (pdu.event_id().to_owned(), started.elapsed().as_secs_f64() * 1_000.0)
    }

    async fn current(&self, kind: &'static str, key: String) -> OwnedEventId {
        let room = self.room.nid;
        let read = move |read: &linkim::store::Snapshot<'_>| state::current(read, room, kind, &key);
        self.store.read::<_, StoreError, _>(read).await.unwrap().unwrap().event_id().to_owned()
    }
}

async fn build(folder: &std::path::Path, version: RoomVersionId) -> Forked {
    let store = Store::open(&folder.join("linkim.db"), "a.example").unwrap();
    let signer = Signer {
        server_name: server_name!("a.example").to_owned(),
        key: SigningKey::generate([1; 32], "1").unwrap(),
        random: Arc::new(OsRandom),
    };
    let hashes = StateHashKey::new([2; 32]);
    let appenders = Appenders::new(store.clone(), Arc::new(SystemClock), signer, hashes, Arc::new(NoWake));
    let alice = person(0);
    let levels = json!({ "users": { alice.as_str(): 100 }, "events": { "m.room.topic": 0 } });
    let events = vec![
        member(alice.clone()),
        LocalEvent::state(alice.clone(), "m.room.power_levels", "", object(levels)),
        LocalEvent::state(alice.clone(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
    ];
    let create_content = object(json!({ "room_version": version.as_str() }));
    let new = NewRoom { version, creator: alice, create_content };
    let (room, _) = appenders.create(new, events, None).await.unwrap();
    for first in (1..MEMBERS).step_by(500) {
        let people: Vec<OwnedUserId> = (first..MEMBERS.min(first + 500)).map(person).collect();
        let accounts = people.clone();
        store
            .write::<_, StoreError, _>(move |tx| {
                for user in accounts {
                    let user = ids::intern_user(tx, &user)?;
                    tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![user])?;
                }
                Ok(())
            })
            .await
            .unwrap();
        appenders.append(room.nid, people.into_iter().map(member).collect(), None).await.unwrap();
    }
    let key = SigningKey::generate([3; 32], "1").unwrap();
    Forked { store, appenders, room, key, auth: Vec::new(), depth: MEMBERS as u64 + 10 }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut forked = build(folder.path(), RoomVersionId::V11).await;
    let create = forked.current("m.room.create", String::new()).await;
    let levels = forked.current("m.room.power_levels", String::new()).await;
    let rules = forked.current("m.room.join_rules", String::new()).await;
    let last = forked.current("m.room.member", person(MEMBERS - 1).to_string()).await;
    forked.auth = vec![create.clone(), levels.clone(), rules];
    let bob = "@bob:b.example";
    let join = forked.event("m.room.member", Some(bob), json!({ "membership": "join" }), &[last], 1);
    let (join, _) = forked.receive(join).await;
    forked.auth = vec![create, levels, join.clone()];
    let mut tips = Vec::new();
    for fork in 0..FORKS {
        let topic = forked.event(
            "m.room.topic",
            Some(""),
            json!({ "topic": fork }),
            std::slice::from_ref(&join),
            10 + fork as u64,
        );
        let (tip, ms) = forked.receive(topic).await;
        println!("fork {fork:2}: {ms:7.2} ms, {fork} extremities joined for the current state");
        tips.push(tip);
    }
    let entries = forked
        .store
        .read::<_, StoreError, _>(|read| {
            (read as &dyn Read).one("SELECT COUNT(*) FROM current_state", params![], |row| row.get::<i64>(0))
        })
        .await
        .unwrap();
    println!("{} state entries, {} extremities", entries.unwrap(), tips.len());
    for (what, number) in [("cold", 0), ("remembered", 1), ("remembered", 2)] {
        let content = json!({ "body": number, "msgtype": "m.text" });
        let message = forked.event("m.room.message", None, content, &tips[1..], 100 + number);
        let (_, ms) = forked.receive(message).await;
        println!("an event that names {} of them, {what}: {ms:7.2} ms, flush included", tips.len() - 1);
    }
}
