//! What is kept of other servers' users, on a server without HTTP: a real store, a peer that answers what the test says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::body::Body;
use bytes::Bytes;
use linkim_federation::SigningKey;
use ruma::{OwnedUserId, ServerName, server_name, user_id};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    DeviceListUpdates, DeviceLists, DirectToDevice, Outbox, OwedKeys, RemoteLists, RemoteQueries, SigningKeyUpdates,
    ToDevice,
};
use crate::{
    accounts::{
        Session,
        tests::{FakeClock, FakeRandom, server},
    },
    config::Config,
    params,
    peers::{
        client::PeerClient,
        inbox::edus::EduHandler,
        reachability::Reachability,
        sender::{OwedEdus, Peer},
        transport::{Sending, Transport},
    },
    store::{
        Read, Store, StoreError, WriteTx, device_keys, device_lists,
        ids::{self, DeviceNid, UserNid},
        to_device,
    },
    sync::notifier::Notifier,
};

/// What happens between a question and its answer.
type Meanwhile = Box<dyn Fn() -> tokio::task::JoinHandle<()> + Send>;

/// The other server: answers by path, and what is done while it does.
#[derive(Default)]
struct Peers {
    answers: Mutex<HashMap<String, Value>>,
    asked: Mutex<Vec<String>>,
    during: Mutex<Option<Meanwhile>>,
}

impl Transport for Peers {
    fn send<'a>(&'a self, _: &'a ServerName, request: http::Request<Bytes>) -> Sending<'a> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            self.asked.lock().unwrap().push(path.clone());
            let during = self.during.lock().unwrap().take();
            if let Some(during) = during {
                during().await.unwrap();
            }
            let answer = self.answers.lock().unwrap().get(&path).cloned();
            let (status, body) = match answer {
                Some(answer) => (200, answer),
                None => (404, json!({ "errcode": "M_NOT_FOUND", "error": "no" })),
            };
            Ok(http::Response::builder().status(status).body(Body::from(body.to_string())).unwrap())
        })
    }
}

const DEVICES: &str = "/_matrix/federation/v1/user/devices/%40bob%3Ab%2Eexample";

struct Fixture {
    store: Store,
    peers: Arc<Peers>,
    lists: Arc<DeviceLists>,
    remote: Arc<RemoteLists>,
    queries: RemoteQueries,
    updates: Arc<DeviceListUpdates>,
    alice: UserNid,
    bob: OwnedUserId,
    _folder: tempfile::TempDir,
}

/// A user's device's keys, the signature left out of account.
fn keys(user: &str, device: &str, key: &str) -> Value {
    json!({
        "user_id": user,
        "device_id": device,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": { format!("ed25519:{device}"): key },
        "signatures": { user: { format!("ed25519:{device}"): "signature" } },
    })
}

fn list(stream_id: i64, devices: &[(&str, &str)]) -> Value {
    let bob = "@bob:b.example";
    let devices = devices.iter().map(|(device, key)| json!({ "device_id": device, "keys": keys(bob, device, key) }));
    json!({ "user_id": bob, "stream_id": stream_id, "devices": devices.collect::<Vec<_>>() })
}

fn update(device: &str, key: &str, stream_id: i64, previous: &[i64]) -> Value {
    let bob = "@bob:b.example";
    json!({
        "user_id": bob, "device_id": device, "stream_id": stream_id, "prev_id": previous, "keys": keys(bob, device, key),
    })
}

impl Fixture {
    /// Alice of a.example; Bob of b.example is in no room with her yet.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let mut config = Config::new(server(), folder.path().to_owned());
        config.federation.enabled = true;
        let (clock, random) = (Arc::new(FakeClock::default()), Arc::new(FakeRandom::default()));
        let key = SigningKey::generate([1; 32], "1").unwrap();
        let peers = Arc::<Peers>::default();
        let client = Arc::new(PeerClient::new(Arc::new(config), key, peers.clone()));
        let reachability = Arc::new(Reachability::new(std::time::Duration::from_secs(3_600), random));
        let lists = Arc::new(DeviceLists::new(Notifier::new(store.visible())));
        let remote = Arc::new(RemoteLists::new(
            store.clone(),
            client.clone(),
            reachability.clone(),
            clock.clone(),
            lists.clone(),
        ));
        let queries = RemoteQueries::new(store.clone(), client, reachability, clock, remote.clone());
        let updates = Arc::new(DeviceListUpdates::new(store.clone(), lists.clone(), remote.clone()));
        let write = |tx: &WriteTx<'_>| {
            let alice = ids::intern_user(tx, user_id!("@alice:a.example"))?;
            ids::intern_user(tx, user_id!("@bob:b.example"))?;
            tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![alice])?;
            tx.execute(
                "INSERT INTO devices (nid, user, device_id, created_ts, last_seen_ts) VALUES (7, ?1, 'PHONE', 0, 0)",
                params![alice],
            )?;
            Ok(alice)
        };
        let alice = store.write::<_, StoreError, _>(write).await.unwrap();
        let bob = user_id!("@bob:b.example").to_owned();
        Self { store, peers, lists, remote, queries, updates, alice, bob, _folder: folder }
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write::<_, StoreError, _>(write).await.unwrap()
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Read) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.read::<_, StoreError, _>(move |snapshot| read(snapshot)).await.unwrap()
    }

    /// Both are in a room from now on.
    async fn share(&self, room: i64) {
        self.write(move |tx| {
            for name in [user_id!("@alice:a.example"), user_id!("@bob:b.example")] {
                let (user, position) = (ids::intern_user(tx, name)?, tx.next_position());
                tx.execute(
                    "INSERT INTO memberships (user, room, membership, event, position, since) VALUES (?1, ?2, 1, 0, ?3, ?3)",
                    params![user, room, position],
                )?;
                tx.execute(
                    "INSERT INTO room_servers (room, server, from_position, joined) \
                     SELECT ?1, server, ?2, 1 FROM users WHERE nid = ?3",
                    params![room, position, user],
                )?;
            }
            Ok(())
        })
        .await;
    }

    /// Bob is in the room no more.
    async fn part(&self, room: i64) {
        self.write(move |tx| {
            tx.execute("DELETE FROM memberships WHERE room = ?1 AND user <> 1", params![room])?;
            Ok(())
        })
        .await;
    }

    fn answers(&self, path: &str, answer: Value) {
        self.peers.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn asked(&self) -> usize {
        self.peers.asked.lock().unwrap().len()
    }

    /// Bob's devices with their keys, as Alice gets them.
    async fn seen(&self) -> Vec<(String, String)> {
        let asked = [(self.bob.clone(), Vec::new())].into();
        let (mut found, failures) = self.queries.query(self.alice, asked, None).await.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        let devices = found.remove(&self.bob).unwrap_or_default().devices;
        let key = |device: &str, keys: Value| keys["keys"][format!("ed25519:{device}")].as_str().unwrap().to_owned();
        devices
            .into_iter()
            .map(|(device, keys)| {
                let key = key(&device, serde_json::to_value(keys).unwrap());
                (device, key)
            })
            .collect()
    }

    async fn tell(&self, handler: &dyn EduHandler, origin: &str, content: Value) {
        let content = to_raw_value(&content).unwrap();
        handler.handle_all(<&ServerName>::try_from(origin).unwrap(), &[&content]).await.unwrap();
    }

    async fn told(&self, content: Value) {
        self.tell(&*self.updates, "b.example", content).await;
    }

    async fn is_stale(&self) -> bool {
        let bob = self.bob.clone();
        self.read(move |read| {
            let user = ids::user_nid(read, &bob)?.unwrap();
            Ok(device_lists::remote_list(read, user)?.unwrap().stale)
        })
        .await
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

#[tokio::test]
async fn a_list_is_fetched_once_and_updates_that_follow_are_applied() {
    let f = Fixture::new().await;
    f.share(1).await;
    f.answers(DEVICES, list(10, &[("A", "a1")]));
    assert_eq!(f.seen().await, pairs(&[("A", "a1")]));
    assert_eq!(f.seen().await, pairs(&[("A", "a1")]));
    assert_eq!(f.asked(), 1);
    f.told(update("B", "b1", 11, &[10])).await;
    f.told(update("A", "a2", 12, &[11])).await;
    // A transaction that came twice.
    f.told(update("A", "a2", 12, &[11])).await;
    assert_eq!(f.seen().await, pairs(&[("A", "a2"), ("B", "b1")]));
    let mut deleted = update("A", "a2", 13, &[12]);
    deleted["deleted"] = json!(true);
    f.told(deleted).await;
    assert_eq!(f.seen().await, pairs(&[("B", "b1")]));
    assert_eq!(f.asked(), 1);
}

#[tokio::test]
async fn a_missed_update_makes_the_list_stale_until_it_is_fetched_again() {
    let f = Fixture::new().await;
    f.share(1).await;
    f.answers(DEVICES, list(10, &[("A", "a1")]));
    f.seen().await;
    for (missed, previous) in [(12, vec![11]), (20, vec![]), (9, vec![8])] {
        f.told(update("A", "x", missed, &previous)).await;
        assert!(f.is_stale().await);
        // What follows on what was missed can't be applied either.
        f.told(update("A", "y", missed + 1, &[missed])).await;
        f.answers(DEVICES, list(missed + 1, &[("A", "a3")]));
        assert_eq!(f.seen().await, pairs(&[("A", "a3")]));
        assert!(!f.is_stale().await);
        f.told(update("A", "a4", missed + 2, &[missed + 1])).await;
        assert_eq!(f.seen().await, pairs(&[("A", "a4")]));
    }
    assert_eq!(f.asked(), 4);
}

#[tokio::test]
async fn what_is_told_while_a_list_is_fetched_is_not_lost() {
    let f = Fixture::new().await;
    f.share(1).await;
    f.answers(DEVICES, list(10, &[("A", "a1")]));
    // The answer was made before the update, and comes after it.
    let updates = f.updates.clone();
    *f.peers.during.lock().unwrap() = Some(Box::new(move || {
        let updates = updates.clone();
        tokio::spawn(async move {
            let content = to_raw_value(&update("A", "a2", 11, &[10])).unwrap();
            updates.handle_all(server_name!("b.example"), &[&content]).await.unwrap();
        })
    }));
    f.remote.resync(&f.bob).await.unwrap();
    assert!(f.is_stale().await);
    f.answers(DEVICES, list(11, &[("A", "a2")]));
    assert_eq!(f.seen().await, pairs(&[("A", "a2")]));
    assert!(!f.is_stale().await);
}

#[tokio::test]
async fn a_list_is_good_only_as_long_as_a_room_is_shared() {
    let f = Fixture::new().await;
    f.share(1).await;
    f.answers(DEVICES, list(10, &[("A", "a1")]));
    f.seen().await;
    f.part(1).await;
    let answer = json!({ "device_keys": { "@bob:b.example": { "A": keys("@bob:b.example", "A", "a2") } } });
    f.answers("/_matrix/federation/v1/user/keys/query", answer);
    assert_eq!(f.seen().await, pairs(&[("A", "a2")]));
    // Between the rooms nobody told of changes.
    f.share(2).await;
    f.answers(DEVICES, list(14, &[("A", "a3")]));
    assert_eq!(f.seen().await, pairs(&[("A", "a3")]));
    f.part(2).await;
    f.write(|tx| device_lists::sweep_remote_lists(tx, 10)).await;
    let bob = f.bob.clone();
    let kept = f.read(move |read| device_keys::any(read, ids::user_nid(read, &bob)?.unwrap())).await;
    assert!(!kept);
}

#[tokio::test]
async fn a_server_speaks_for_its_own_users_alone() {
    let f = Fixture::new().await;
    f.share(1).await;
    f.answers(DEVICES, list(10, &[("A", "a1")]));
    f.seen().await;
    f.tell(&*f.updates, "c.example", update("A", "evil", 11, &[10])).await;
    let signing = SigningKeyUpdates::new(f.store.clone(), f.lists.clone());
    let key = "//////////////////////////////////////////8";
    let master = json!({ "user_id": f.bob, "usage": ["master"], "keys": { format!("ed25519:{key}"): key } });
    let content = json!({ "user_id": f.bob, "master_key": master });
    f.tell(&signing, "c.example", content.clone()).await;
    let master = async || {
        let (mut found, _) = f.queries.query(f.alice, [(f.bob.clone(), Vec::new())].into(), None).await.unwrap();
        found.remove(&f.bob).unwrap().master
    };
    assert_eq!(f.seen().await, pairs(&[("A", "a1")]));
    assert_eq!(master().await, None);
    f.tell(&signing, "b.example", content).await;
    assert!(master().await.is_some());
    // Devices in an answer that are another's, or of another name, are none.
    let mut answer = list(11, &[("A", "a1")]);
    answer["devices"].as_array_mut().unwrap().extend([
        json!({ "device_id": "B", "keys": keys("@eve:b.example", "B", "b") }),
        json!({ "device_id": "C", "keys": keys("@bob:b.example", "D", "d") }),
        json!("nonsense"),
    ]);
    f.answers(DEVICES, answer);
    f.remote.resync(&f.bob).await.unwrap();
    assert_eq!(f.seen().await, pairs(&[("A", "a1")]));
}

#[tokio::test]
async fn a_message_that_comes_twice_is_delivered_once() {
    let f = Fixture::new().await;
    let clock = Arc::new(FakeClock::default());
    let handler = DirectToDevice::new(f.store.clone(), clock, Notifier::new(f.store.visible()), server());
    let message = |id: &str, sender: &str| {
        json!({
            "sender": sender, "type": "t", "message_id": id,
            "messages": {
                "@alice:a.example": { "PHONE": { "id": id }, "OTHER": {} },
                "@eve:c.example": { "*": {} },
                "nonsense": {},
            },
        })
    };
    for _ in 0..2 {
        f.tell(&handler, "b.example", message("1", "@bob:b.example")).await;
    }
    f.tell(&handler, "b.example", message("2", "@bob:b.example")).await;
    f.tell(&handler, "c.example", message("1", "@eve:c.example")).await;
    f.tell(&handler, "c.example", message("3", "@bob:b.example")).await;
    f.tell(&handler, "b.example", json!({ "sender": "@bob:b.example" })).await;
    let waiting = f.read(|read| to_device::after(read, DeviceNid(7), 0, 100)).await;
    let seen: Vec<_> = waiting.iter().map(|message| (message.sender.as_str(), message.content.as_str())).collect();
    let (bob, eve) = ("@bob:b.example", "@eve:c.example");
    assert_eq!(seen, [(bob, r#"{"id":"1"}"#), (bob, r#"{"id":"2"}"#), (eve, r#"{"id":"1"}"#)]);
}

/// What would be sent to other servers.
#[derive(Default)]
struct Sent(Mutex<Vec<(String, Value)>>);

impl Outbox for Sent {
    fn to_device(&self, _: &WriteTx<'_>, to: &ServerName, id: &str, content: &str) -> Result<(), StoreError> {
        let content: Value = serde_json::from_str(content).unwrap();
        assert_eq!(content["message_id"], id);
        self.0.lock().unwrap().push((to.to_string(), content));
        Ok(())
    }
}

#[tokio::test]
async fn messages_are_sorted_by_their_servers_and_sent_once() {
    let f = Fixture::new().await;
    let (clock, random) = (Arc::new(FakeClock::default()), Arc::new(FakeRandom::default()));
    let (sent, wake) = (Arc::<Sent>::default(), Notifier::new(f.store.visible()));
    let to_device = ToDevice::new(f.store.clone(), clock, random, wake, sent.clone(), server());
    let session = Session {
        user: f.alice,
        user_id: user_id!("@alice:a.example").to_owned(),
        device: DeviceNid(7),
        device_id: "PHONE".into(),
        token: 1,
        guest: false,
        admin: false,
        suspended: false,
    };
    let messages = json!({
        "@alice:a.example": { "PHONE": { "to": 1 } },
        "@bob:b.example": { "A": { "to": 2 }, "*": { "to": 3 } },
        "@carol:b.example": { "C": { "to": 4 } },
        "@eve:c.example": { "E": { "to": 5 } },
    });
    for _ in 0..2 {
        let messages = serde_json::from_value(messages.clone()).unwrap();
        to_device.send(&session, "t".into(), "txn", messages).await.unwrap();
    }
    let waiting = f.read(|read| to_device::after(read, DeviceNid(7), 0, 100)).await;
    assert_eq!(waiting.len(), 1);
    let sent = sent.0.lock().unwrap().clone();
    let [(b, to_b), (c, to_c)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((b.as_str(), c.as_str()), ("b.example", "c.example"));
    assert_eq!(to_b["messages"]["@bob:b.example"], messages["@bob:b.example"]);
    assert_eq!(to_b["messages"]["@carol:b.example"], messages["@carol:b.example"]);
    assert_eq!(to_c["messages"], json!({ "@eve:c.example": { "E": { "to": 5 } } }));
    assert_eq!((&to_c["sender"], &to_c["type"]), (&json!("@alice:a.example"), &json!("t")));
    assert_ne!(to_b["message_id"], to_c["message_id"]);
}

#[tokio::test]
async fn what_is_owed_names_the_change_before_it() {
    let f = Fixture::new().await;
    let change = async |device: &'static str, key: &'static str| {
        let (lists, alice) = (f.lists.clone(), f.alice);
        f.write(move |tx| {
            let keys = keys("@alice:a.example", device, key).to_string();
            device_keys::put(tx, alice, device, &keys, None)?;
            lists.changed(tx, alice, device)
        })
        .await;
    };
    let owed = async |after: i64, limit: usize| {
        let owed = f.read(move |read| {
            let nid = read.one("SELECT nid FROM servers WHERE name = 'b.example'", params![], |row| row.get(0))?;
            let peer = Peer { nid: nid.unwrap(), name: server_name!("b.example").to_owned() };
            OwedKeys.owed(read, &peer, after, read.position(), limit)
        });
        let parse = |(position, edu): (i64, crate::peers::sender::Edu)| {
            (position, edu.edu_type.to_string(), serde_json::from_str::<Value>(edu.content.get()).unwrap())
        };
        owed.await.into_iter().map(parse).collect::<Vec<_>>()
    };
    change("PHONE", "p1").await;
    assert!(owed(0, 100).await.is_empty(), "nobody of theirs shares a room with her");
    f.share(1).await;
    let shared = f.store.position();
    change("PHONE", "p2").await;
    change("LAPTOP", "l1").await;
    let alice = f.alice;
    let lists = f.lists.clone();
    f.write(move |tx| lists.changed(tx, alice, "")).await;
    let lists = f.lists.clone();
    f.write(move |tx| {
        device_keys::delete(tx, alice, "LAPTOP")?;
        lists.changed(tx, alice, "LAPTOP")
    })
    .await;
    let all = owed(shared, 100).await;
    let kinds: Vec<&str> = all.iter().map(|(_, kind, _)| kind.as_str()).collect();
    let (device, signing) = ("m.device_list_update", "m.signing_key_update");
    assert_eq!(kinds, [device, device, signing, device]);
    // Each device's update names the one before it; that of the cross-signing keys stands outside.
    let devices: Vec<&Value> = all.iter().filter(|(_, kind, _)| kind == device).map(|(.., content)| content).collect();
    for pair in devices.windows(2) {
        assert_eq!(pair[1]["prev_id"], json!([pair[0]["stream_id"]]), "{all:?}");
    }
    let before = owed(0, 1).await.remove(0).2;
    assert_eq!(devices[0]["prev_id"], json!([before["stream_id"]]));
    assert_eq!(before["prev_id"], json!([]), "the first in its sequence");
    assert_eq!(devices[0]["keys"]["keys"]["ed25519:PHONE"], "p2");
    assert_eq!(devices[2]["deleted"], true);
    // From wherever one goes on, the same follows.
    assert_eq!(owed(shared, 2).await, all[..2]);
    assert_eq!(owed(all[1].0, 100).await, all[2..]);
}
