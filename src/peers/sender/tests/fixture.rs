//! A sender over a real store, with a wire on which other servers are what a test makes of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use linkim_federation::SigningKey;
use ruma::{OwnedEventId, ServerName, UserId, server_name};
use serde_json::Value;

use super::super::{Edu, Notes, OwedEdus, Parts, Sender};
use crate::{
    clock::SystemClock,
    config::Config,
    params,
    peers::{
        client::PeerClient,
        reachability::Reachability,
        transport::{Sending, Transport, TransportError},
    },
    random::OsRandom,
    store::{
        Read, Store, StoreError, WriteTx, events,
        events::{NewEvent, Running},
        ids,
        ids::{EventNid, RoomNid, UserNid},
        receipts, rooms,
    },
};

/// The flag of events that are relayed.
pub(super) const RELAY: i64 = 1 << 10;

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Does {
    Answer(u16),
    /// Takes the transaction, but not this event.
    Refuse(OwnedEventId),
    Fail,
    /// Takes it and never answers.
    Hang,
}

/// A transaction that a server was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) to: String,
    pub(super) id: String,
    pub(super) text: Bytes,
    pub(super) body: Value,
    pub(super) status: Option<u16>,
}

impl Sent {
    /// The numbers of the events in it.
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.body["pdus"].as_array().unwrap().iter().map(|pdu| pdu["n"].as_i64().unwrap()).collect()
    }

    pub(super) fn edus(&self, kind: &str) -> Vec<Value> {
        let edus = self.body["edus"].as_array().unwrap().iter();
        edus.filter(|edu| edu["edu_type"] == kind).map(|edu| edu["content"].clone()).collect()
    }
}

type Behaviour = Box<dyn Fn(&str, &Value) -> Does + Send>;

/// The wire.
pub(super) struct Wire {
    behaviour: Mutex<Behaviour>,
    sent: Mutex<Vec<Sent>>,
}

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self { behaviour: Mutex::new(Box::new(|_, _| Does::Answer(200))), sent: Mutex::default() })
    }

    pub(super) fn behave(&self, behaviour: impl Fn(&str, &Value) -> Does + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// What a server has taken: the numbers of the events, in the order in which they came.
    pub(super) fn taken(&self, server: &str) -> Vec<i64> {
        let sent = self.sent();
        sent.iter().filter(|sent| sent.to == server && sent.status == Some(200)).flat_map(Sent::numbers).collect()
    }
}

impl Transport for Wire {
    fn send<'a>(&'a self, destination: &'a ServerName, request: http::Request<Bytes>) -> Sending<'a> {
        let (head, text) = request.into_parts();
        assert_eq!(head.method, http::Method::PUT);
        let id = head.uri.path().strip_prefix("/_matrix/federation/v1/send/").expect("a transaction").to_owned();
        let body: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(body["origin"], "a.example");
        assert!(body["origin_server_ts"].is_i64());
        let does = (self.behaviour.lock().unwrap())(destination.as_str(), &body);
        let status = match does {
            Does::Answer(status) => Some(status),
            Does::Refuse(_) => Some(200),
            Does::Fail | Does::Hang => None,
        };
        self.sent.lock().unwrap().push(Sent { to: destination.to_string(), id, text, body, status });
        Box::pin(async move {
            match does {
                Does::Answer(status) => {
                    let body = if status == 200 { r#"{"pdus":{}}"# } else { r#"{"errcode":"M_UNKNOWN","error":"no"}"# };
                    Ok(http::Response::builder().status(status).body(Body::from(body)).unwrap())
                }
                Does::Refuse(event_id) => {
                    let body = serde_json::json!({ "pdus": { event_id.as_str(): { "error": "no" } } });
                    Ok(http::Response::builder().status(200).body(Body::from(body.to_string())).unwrap())
                }
                Does::Fail => Err(TransportError::Connect("refused".into())),
                Does::Hang => std::future::pending().await,
            }
        })
    }
}

/// The server `a.example`, as far as its sender goes.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) notes: Arc<Notes>,
    pub(super) wire: Arc<Wire>,
    pub(super) reachability: Arc<Reachability>,
    pub(super) sender: Sender,
    folder: Arc<tempfile::TempDir>,
    edus: Arc<dyn OwedEdus>,
}

impl World {
    /// A new one, with its sender running.
    pub(super) async fn new() -> Self {
        Self::with(Arc::<Lists>::default()).await
    }

    pub(super) async fn with(edus: Arc<dyn OwedEdus>) -> Self {
        let world = Self::open(Arc::new(tempfile::tempdir().unwrap()), edus, Wire::new()).await;
        world.sender.start().await.unwrap();
        world
    }

    async fn open(folder: Arc<tempfile::TempDir>, edus: Arc<dyn OwedEdus>, wire: Arc<Wire>) -> Self {
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let mut config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
        config.federation.backoff_max = Duration::from_millis(20);
        let config = Arc::new(config);
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let reachability = Arc::new(Reachability::new(config.federation.backoff_max, random.clone()));
        let key = SigningKey::generate([1; 32], "1").unwrap();
        let client = PeerClient::new(config.clone(), key, wire.clone()).telling(reachability.clone(), clock.clone());
        let notes = Arc::<Notes>::default();
        let parts = Parts {
            config,
            store: store.clone(),
            clock,
            random,
            client: Arc::new(client),
            reachability: reachability.clone(),
            notes: notes.clone(),
            edus: edus.clone(),
        };
        let sender = Sender::load(parts).await.unwrap();
        Self { store, notes, wire, reachability, sender, folder, edus }
    }

    /// The same after a stop that stored what was under way, or after a kill that did not. The sender does not run yet.
    pub(super) async fn reopened(self, graceful: bool) -> Self {
        if graceful {
            self.sender.stop().await;
        } else {
            self.sender.core.stop.send_replace(true);
        }
        let (store, folder, edus, wire) =
            (self.store.clone(), self.folder.clone(), self.edus.clone(), self.wire.clone());
        drop(self);
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
        Self::open(folder, edus, wire).await
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write::<_, StoreError, _>(write).await.unwrap()
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        let read = self
            .store
            .read::<_, StoreError, _>(move |read| (read as &dyn Read).one(sql, params![], |row| row.get::<i64>(0)));
        read.await.unwrap().unwrap()
    }

    /// A room in which these servers are.
    pub(super) async fn room(&self, number: i64, servers: &'static [&'static str]) -> RoomNid {
        self.write(move |tx| room(tx, number, servers)).await
    }

    /// An event of a local user that is relayed.
    pub(super) async fn say(&self, room: RoomNid, number: i64) -> i64 {
        self.say_all(room, number..=number).await
    }

    /// Many of them, in one transaction; answers the position of the last.
    pub(super) async fn say_all(&self, room: RoomNid, numbers: std::ops::RangeInclusive<i64>) -> i64 {
        let notes = self.notes.clone();
        self.write(move |tx| {
            let mut last = 0;
            for number in numbers {
                last = event(tx, &notes, room, number, "@alice:a.example", RELAY)?.1;
            }
            Ok(last)
        })
        .await
    }

    /// Takes a server out of a room with an event.
    pub(super) async fn take_out(&self, room: RoomNid, server: &'static str, number: i64) {
        let notes = self.notes.clone();
        self.write(move |tx| {
            let (_, position) = event(tx, &notes, room, number, "@alice:a.example", RELAY)?;
            let server = ids::intern_server(tx, server)?;
            tx.execute(
                "UPDATE room_servers SET to_position = ?3 WHERE room = ?1 AND server = ?2 AND to_position IS NULL",
                params![room, server, position],
            )?;
            tx.execute("UPDATE room_heads SET state_position = ?2 WHERE room = ?1", params![room, position])?;
            Ok(())
        })
        .await;
    }

    /// A receipt of a local user for the event of this number.
    pub(super) async fn read_to(&self, room: RoomNid, user: &'static str, thread: &'static str, number: i64) {
        let notes = self.notes.clone();
        self.write(move |tx| {
            let user = user_of(tx, user)?;
            tx.execute(
                "INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
                params![user],
            )?;
            let event = events::nid(tx, &event_id(room, number))?.unwrap();
            let (position, ts) = (tx.next_position(), 1000 + number);
            let receipt = receipts::NewReceipt { room, user, thread, event, ordering: number, ts, position };
            assert!(receipts::put(tx, &receipt)?);
            tx.after_commit(move || notes.room_at(room, position));
            Ok(())
        })
        .await;
    }
}

fn user_of(tx: &WriteTx<'_>, user: &str) -> Result<UserNid, StoreError> {
    ids::intern_user(tx, &UserId::parse(user).unwrap())
}

/// A room in which these servers are from its beginning.
pub(super) fn room(tx: &WriteTx<'_>, number: i64, servers: &[&str]) -> Result<RoomNid, StoreError> {
    let room_id = ruma::RoomId::parse(format!("!room{number}:a.example")).unwrap();
    let (room, _) = rooms::create(tx, &room_id, "11")?;
    let position = tx.next_position();
    for server in servers.iter().copied().chain(["a.example"]) {
        let server = ids::intern_server(tx, server)?;
        tx.execute(
            "INSERT INTO room_servers (room, server, from_position) VALUES (?1, ?2, ?3)",
            params![room, server, position],
        )?;
    }
    tx.execute(
        "INSERT INTO room_heads (room, last_position, state_position, state_hash, joined, invited, local_joined) \
         VALUES (?1, ?2, ?2, X'00000000000000000000000000000000', 1, 0, 1)",
        params![room, position],
    )?;
    Ok(room)
}

pub(super) fn event_id(room: RoomNid, number: i64) -> OwnedEventId {
    OwnedEventId::try_from(format!("$event{number}-{}:a.example", room.0)).unwrap()
}

/// An event that becomes the only extremity; answers its number and position.
pub(super) fn event(
    tx: &WriteTx<'_>,
    notes: &Arc<Notes>,
    room: RoomNid,
    number: i64,
    sender: &str,
    flags: i64,
) -> Result<(EventNid, i64), StoreError> {
    let position = tx.next_position();
    let nid = EventNid(position);
    events::insert(
        tx,
        &NewEvent {
            nid,
            event_id: &event_id(room, number),
            room,
            position: Some(position),
            depth: position,
            kind: ids::intern_type(tx, "m.room.message")?,
            state_key: None,
            sender: user_of(tx, sender)?,
            origin_ts: 1,
            received_ts: 1,
            flags,
            before: None,
            after: None,
            relation: None,
            thread: None,
            running: Running::default(),
            transaction: None,
            json: &format!(r#"{{"n":{number}}}"#),
        },
    )?;
    tx.execute("UPDATE room_heads SET last_position = ?2 WHERE room = ?1", params![room, position])?;
    tx.execute("DELETE FROM forward_extremities WHERE room = ?1", params![room])?;
    rooms::add_extremity(tx, room, nid)?;
    let notes = notes.clone();
    tx.after_commit(move || notes.room_at(room, position));
    Ok((nid, position))
}

/// Waits until something holds; it fails after a while.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// EDUs owed by position, as many as a test says.
#[derive(Default)]
pub(super) struct Lists(pub(super) Mutex<Vec<(i64, RoomNid)>>);

impl OwedEdus for Lists {
    fn owed(
        &self,
        _: &dyn Read,
        _: &super::super::Peer,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Edu)>, StoreError> {
        let all = self.0.lock().unwrap();
        let within = all.iter().filter(|(position, _)| *position > after && *position <= up_to).take(limit);
        let edu = |position| Edu::new("m.device_list_update", &HashMap::from([("position", position)])).unwrap();
        Ok(within.map(|(position, _)| (*position, edu(*position))).collect())
    }

    fn rooms_after(&self, _: &dyn Read, after: i64) -> Result<Vec<RoomNid>, StoreError> {
        Ok(self.0.lock().unwrap().iter().filter(|(position, _)| *position > after).map(|(_, room)| *room).collect())
    }
}
