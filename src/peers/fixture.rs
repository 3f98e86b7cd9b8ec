//! The server `a.example` without HTTP, with other servers that are a value each.

mod other_server;

use std::{collections::HashSet, sync::Arc, time::Duration};

use linkim_federation::{
    EventReference, EventTemplate, Pdu, RoomVersionRules, SigningKey, auth_types, build_event, rules,
};
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, OwnedUserId, RoomVersionId, ServerName, UserId, server_name};
use serde_json::{Value, json, value::RawValue};

pub(crate) use self::other_server::{Network, Peer, json_of};
use super::{
    client::PeerClient,
    events::EventChecker,
    inbox::{
        Bounds, Inbox, Parts, Transaction, TransactionError,
        acl::RoomPolicy,
        edus::{Edus, receipts::ReceiptEdus, typing::TypingEdus},
    },
    keys::{OwnKeys, RemoteKeys},
    missing::Missing,
    policy::PolicyServers,
    reachability::Reachability,
};
use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    params,
    random::OsRandom,
    rooms::{
        append::{Appenders, LocalEvent, NewRoom, NoWake, Signer},
        remote_receipts::RemoteReceipts,
        server_acl::ServerAcls,
        state::{current_nid, load_pdu},
        state_hash::StateHashKey,
        typing::Typing,
        wake::WakeMembers,
    },
    store::{
        Read, Store, StoreError, events,
        events::EventRow,
        ids::{self, EventNid, RoomKey, RoomNid, UserNid},
        rooms,
    },
};

impl WakeMembers for NoWake {
    fn will_change(&self, _: RoomNid, _: i64) {}
    fn receipt_written(&self, _: RoomNid, _: i64) {}
    fn wake_user(&self, _: UserNid) {}
    fn wake_users(&self, _: &HashSet<UserNid>) {}
}

/// `a.example`, with `b.example` and `c.example`.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) appenders: Arc<Appenders>,
    pub(crate) typing: Arc<Typing>,
    pub(crate) missing: Arc<Missing>,
    pub(crate) reachability: Arc<Reachability>,
    pub(crate) inbox: Inbox,
    pub(crate) policy: Arc<PolicyServers>,
    pub(crate) b: Arc<Peer>,
    pub(crate) c: Arc<Peer>,
    bounds: Bounds,
    network: Arc<Network>,
    folder: Arc<tempfile::TempDir>,
}

fn alice() -> OwnedUserId {
    OwnedUserId::try_from("@alice:a.example").unwrap()
}

pub(crate) fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default()).await
    }

    /// With other bounds of what may wait.
    pub(crate) async fn with(bounds: Bounds) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let network = Arc::<Network>::default();
        let (b, c) = (Peer::new(server_name!("b.example"), 3), Peer::new(server_name!("c.example"), 4));
        let (b, c) = (Arc::new(b), Arc::new(c));
        for peer in [&b, &c] {
            network.0.lock().unwrap().insert(peer.name.clone(), peer.clone());
        }
        Self::open(folder, network, bounds, b, c).await
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        network: Arc<Network>,
        bounds: Bounds,
        b: Arc<Peer>,
        c: Arc<Peer>,
    ) -> Self {
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let server_name = server_name!("a.example").to_owned();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let key = SigningKey::generate([1; 32], "1").unwrap();
        let signer = Signer { server_name: server_name.clone(), key: key.clone(), random: Arc::new(OsRandom) };
        let hash_key = StateHashKey::new([2; 32]);
        let appenders = Arc::new(Appenders::new(store.clone(), clock.clone(), signer, hash_key, Arc::new(NoWake)));
        let config = Arc::new(Config::new(server_name.clone(), folder.path().to_owned()));
        let own = Arc::new(OwnKeys::load(&store, server_name.clone(), vec![key.clone()], clock.clone()).await.unwrap());
        let reachability = Arc::new(Reachability::new(Duration::from_secs(60), Arc::new(OsRandom)));
        let client = PeerClient::new(config.clone(), key, network.clone());
        let client = Arc::new(client.telling(reachability.clone(), clock.clone()));
        let keys = RemoteKeys::new(config, own, store.clone(), client.clone(), clock.clone());
        let checker = Arc::new(EventChecker::new(Arc::new(keys)));
        let missing = Arc::new(Missing::new(store.clone(), appenders.clone(), checker.clone(), client.clone()));
        let policy_servers = PolicyServers::new(store.clone(), client, reachability.clone(), clock.clone());
        let policy_servers = Arc::new(policy_servers);
        appenders.countersign_with(policy_servers.clone());
        let wake = Arc::new(NoWake);
        let typing = Typing::new(store.clone(), appenders.clone(), wake.clone(), Arc::default());
        let typing = Arc::new(typing);
        let acls = Arc::<ServerAcls>::default();
        let policy = Arc::new(RoomPolicy::new(store.clone(), acls.clone()));
        let receipts = Arc::new(RemoteReceipts::new(store.clone(), appenders.clone(), wake));
        let edus = Edus::default()
            .with("m.typing", Arc::new(TypingEdus::new(typing.clone(), policy.clone())))
            .with("m.receipt", Arc::new(ReceiptEdus::new(receipts.clone(), policy)));
        let parts = Parts {
            server_name,
            store: store.clone(),
            appenders: appenders.clone(),
            checker,
            missing: missing.clone(),
            reachability: reachability.clone(),
            receipts,
            acls,
            policy: policy_servers.clone(),
            edus,
            bounds,
            clock,
        };
        let inbox = Inbox::start(parts).await.unwrap();
        Self {
            store,
            appenders,
            typing,
            missing,
            reachability,
            inbox,
            policy: policy_servers,
            b,
            c,
            bounds,
            network,
            folder,
        }
    }

    /// Stops, and starts again on the same database.
    pub(crate) async fn restart(self) -> Self {
        self.inbox.stop();
        self.store.close();
        let Self { b, c, bounds, network, folder, .. } = self;
        Self::open(folder, network, bounds, b, c).await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Read) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.read::<_, StoreError, _>(move |snapshot| read(snapshot)).await.unwrap()
    }

    /// A public room of this version with alice, in which everybody may set the topic. The other servers know its events.
    pub(crate) async fn room(&self, version: RoomVersionId) -> Arc<RoomKey> {
        let rules = rules(&version).unwrap();
        let mut create = json!({ "room_version": version.as_str() });
        if !rules.authorization.use_room_create_sender {
            create["creator"] = json!(alice());
        }
        let v12 = rules.authorization.explicitly_privilege_room_creators;
        let users = if v12 { json!({}) } else { json!({ alice().as_str(): 100 }) };
        let levels = json!({ "users": users, "events": { "m.room.topic": 0 }, "state_default": 50 });
        let state = |kind: &str, key: &str, content| LocalEvent::state(alice(), kind, key, object(content));
        let events = vec![
            state("m.room.member", alice().as_str(), json!({ "membership": "join" })),
            state("m.room.power_levels", "", levels),
            state("m.room.join_rules", "", json!({ "join_rule": "public" })),
        ];
        let new = NewRoom { version, creator: alice(), create_content: object(create) };
        self.store
            .write::<_, StoreError, _>(|tx| {
                let user = ids::intern_user(tx, &alice())?;
                tx.execute(
                    "INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
                    params![user],
                )
            })
            .await
            .unwrap();
        let (room, _) = self.appenders.create(new, events, None).await.unwrap();
        self.teach(&room).await;
        room
    }

    /// Has alice send a state event.
    pub(crate) async fn alice_sets(&self, room: &RoomKey, kind: &str, key: &str, content: Value) {
        let event = LocalEvent::state(alice(), kind, key, object(content));
        self.appenders.append(room.nid, vec![event], None).await.unwrap();
        self.teach(room).await;
    }

    /// The other servers know all that is here of a room.
    pub(crate) async fn teach(&self, room: &RoomKey) {
        let nid = room.nid;
        let all = self
            .read(move |read| {
                let nids =
                    read.all("SELECT nid FROM events WHERE room = ?1", params![nid], |row| row.get::<EventNid>(0))?;
                nids.into_iter().map(|nid| load_pdu(read, nid)).collect::<Result<Vec<_>, _>>()
            })
            .await;
        for pdu in &all {
            self.b.learn(pdu);
            self.c.learn(pdu);
        }
    }

    /// The newest events of a room that nothing refers to.
    pub(crate) async fn tips(&self, room: &RoomKey) -> Vec<Arc<Pdu>> {
        let nid = room.nid;
        self.read(move |read| rooms::extremities(read, nid)?.into_iter().map(|tip| load_pdu(read, tip)).collect()).await
    }

    /// The ids of a room's current state.
    pub(crate) async fn state(&self, room: &RoomKey) -> Vec<OwnedEventId> {
        let nid = room.nid;
        self.read(move |read| {
            let state = crate::store::state::current(read, nid)?;
            state.into_iter().map(|(_, event)| events::id(read, event)).collect()
        })
        .await
    }

    /// An event of another server's user, authorised by the room's current state.
    pub(crate) async fn event(&self, room: &RoomKey, new: NewEvent<'_>) -> Arc<Pdu> {
        let rules = rules(&room.version).unwrap();
        let content = RawValue::from_string(new.content.to_string()).unwrap();
        let wanted = auth_types(new.kind, new.sender, new.state_key, &content, rules).unwrap();
        let nid = room.nid;
        let auth: Vec<Arc<Pdu>> = self
            .read(move |read| {
                let found = wanted.iter().map(|(kind, key)| current_nid(read, nid, &kind.to_string(), key));
                let found: Vec<_> = found.collect::<Result<_, _>>()?;
                found.into_iter().flatten().map(|nid| load_pdu(read, nid)).collect::<Result<_, _>>()
            })
            .await;
        self.build(room, rules, new, &auth)
    }

    /// An event of another server's user, authorised by the room's current state and these.
    pub(crate) async fn event_with_auth(&self, room: &RoomKey, new: NewEvent<'_>, also: &[Arc<Pdu>]) -> Arc<Pdu> {
        let rules = rules(&room.version).unwrap();
        let plain = NewEvent { content: new.content.clone(), prev: new.prev.clone(), ..new };
        let named: Vec<OwnedEventId> = self.event(room, plain).await.auth_events().to_vec();
        let mut auth: Vec<Arc<Pdu>> = self
            .read(move |read| {
                let found = named.iter().map(|id| events::nid(read, id)).collect::<Result<Vec<_>, _>>()?;
                found.into_iter().flatten().map(|nid| load_pdu(read, nid)).collect::<Result<_, _>>()
            })
            .await;
        auth.extend(also.iter().cloned());
        self.build(room, rules, new, &auth)
    }

    fn build(&self, room: &RoomKey, rules: &RoomVersionRules, new: NewEvent<'_>, auth: &[Arc<Pdu>]) -> Arc<Pdu> {
        let peer = if new.sender.server_name() == self.c.name { &self.c } else { &self.b };
        let auth: Vec<EventReference<'_>> = auth
            .iter()
            .map(|pdu| EventReference { event_id: pdu.event_id(), reference_hash: Some(pdu.reference_hash(rules)) })
            .collect();
        let prev: Vec<EventReference<'_>> =
            new.prev.iter().map(|id| EventReference { event_id: id, reference_hash: Some([0; 32]) }).collect();
        let template = EventTemplate {
            room_id: Some(&room.room_id),
            sender: new.sender,
            event_type: new.kind,
            state_key: new.state_key,
            content: object(new.content),
            prev_events: &prev,
            auth_events: &auth,
            depth: new.depth,
            origin_server_ts: u64::try_from(SystemClock.now_ms()).unwrap(),
            redacts: None,
            event_id_v1: new.event_id_v1,
        };
        Arc::new(build_event(template, rules, new.sender.server_name(), &peer.key).unwrap())
    }

    /// A message of a user on what is newest here.
    pub(crate) async fn message(&self, room: &RoomKey, sender: &UserId, text: &str) -> Arc<Pdu> {
        let tips = self.tips(room).await;
        let depth = tips.iter().map(|pdu| pdu.depth()).max().unwrap() + 1;
        let prev = tips.iter().map(|pdu| pdu.owned_event_id().clone()).collect();
        self.event(room, NewEvent::message(sender, prev, depth, text)).await
    }

    /// A chain of messages, oldest first, on an event that need not be known.
    pub(crate) async fn chain(
        &self,
        room: &RoomKey,
        sender: &UserId,
        on: &EventId,
        depth: u64,
        length: u64,
    ) -> Vec<Arc<Pdu>> {
        let rules = rules(&room.version).unwrap();
        let first = self.event(room, NewEvent::message(sender, vec![on.to_owned()], depth, "0")).await;
        let auth: Vec<OwnedEventId> = first.auth_events().to_vec();
        let auth: Vec<Arc<Pdu>> = self
            .read(move |read| {
                let found = auth.iter().map(|id| events::nid(read, id)).collect::<Result<Vec<_>, _>>()?;
                found.into_iter().flatten().map(|nid| load_pdu(read, nid)).collect::<Result<_, _>>()
            })
            .await;
        let mut out = vec![first];
        for number in 1..length {
            let prev = vec![out.last().unwrap().owned_event_id().clone()];
            let new = NewEvent::message(sender, prev, depth + number, &number.to_string());
            out.push(self.build(room, rules, new, &auth));
        }
        out
    }

    /// Has a user of another server join.
    pub(crate) async fn join(&self, room: &RoomKey, user: &UserId) -> Arc<Pdu> {
        let tips = self.tips(room).await;
        let new = NewEvent {
            sender: user,
            kind: "m.room.member",
            state_key: Some(user.as_str()),
            content: json!({ "membership": "join" }),
            prev: tips.iter().map(|pdu| pdu.owned_event_id().clone()).collect(),
            depth: tips.iter().map(|pdu| pdu.depth()).max().unwrap() + 1,
            event_id_v1: None,
        };
        let id = format!("$join{}:{}", letters(), user.server_name());
        let id = OwnedEventId::try_from(id).unwrap();
        let v1 = matches!(room.version, RoomVersionId::V1 | RoomVersionId::V2);
        let pdu = self.event(room, NewEvent { event_id_v1: v1.then_some(&id), ..new }).await;
        let answers = self.send(user.server_name(), &[json_of(&pdu)]).await;
        assert_eq!(answers["pdus"][pdu.event_id().as_str()], json!({}));
        self.arrived(&pdu).await;
        self.teach(room).await;
        pdu
    }

    /// Sends a transaction with a new id; answers the body of the answer.
    pub(crate) async fn send(&self, origin: &ServerName, pdus: &[Value]) -> Value {
        self.try_send(origin, &letters(), pdus, &[]).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        origin: &ServerName,
        txn_id: &str,
        pdus: &[Value],
        edus: &[Value],
    ) -> Result<Value, TransactionError> {
        let raw = |items: &[Value]| items.iter().map(|item| RawValue::from_string(item.to_string()).unwrap()).collect();
        let transaction = Transaction { pdus: raw(pdus), edus: raw(edus) };
        let answer = self.inbox.transaction(origin, txn_id, transaction).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    /// An event as it is here.
    pub(crate) async fn row(&self, id: &EventId) -> Option<EventRow> {
        let id = id.to_owned();
        self.read(move |read| events::by_id(read, &id)).await
    }

    /// Waits until an event has a place here.
    pub(crate) async fn arrived(&self, pdu: &Pdu) -> EventRow {
        let mut found = None;
        eventually("the event arrives", async || {
            found = self.row(pdu.event_id()).await.filter(|row| row.position.is_some());
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// How many events are staged.
    pub(crate) async fn staged(&self) -> i64 {
        self.read(|read| Ok(read.one("SELECT COUNT(*) FROM inbox_events", &[], |row| row.get(0))?.unwrap())).await
    }

    /// Waits until nothing is staged.
    pub(crate) async fn drained(&self) {
        eventually("nothing is staged", async || self.staged().await == 0).await;
    }
}

fn letters() -> String {
    (&OsRandom as &dyn crate::random::Random).letters(12)
}

/// What an event of another server says.
pub(crate) struct NewEvent<'a> {
    pub(crate) sender: &'a UserId,
    pub(crate) kind: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: Value,
    pub(crate) prev: Vec<OwnedEventId>,
    pub(crate) depth: u64,
    pub(crate) event_id_v1: Option<&'a EventId>,
}

impl<'a> NewEvent<'a> {
    pub(crate) fn message(sender: &'a UserId, prev: Vec<OwnedEventId>, depth: u64, text: &str) -> Self {
        let content = json!({ "body": text, "msgtype": "m.text" });
        Self { sender, kind: "m.room.message", state_key: None, content, prev, depth, event_id_v1: None }
    }
}

/// Waits for a condition, for a minute at most: the machine may be busy.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}
