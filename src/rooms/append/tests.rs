//! Forks through the write path, against a full recomputation with ruma's state resolution.

mod gaps;
mod history;
mod large;
mod news;
mod oracle;
mod outside;
mod partial;
mod remote;
mod runs;

use std::collections::{BTreeMap, HashMap, HashSet};

use linkim_federation::{
    EventReference, EventTemplate, RoomVersionRules, auth_types, build_event, check_against_state, rules,
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedUserId, events::StateEventType,
    room_version_id, server_name, user_id,
};
use serde_json::{json, value::RawValue};

use self::oracle::{Dice, Oracle, State, random_dag};
use super::*;
use crate::{
    clock::SystemClock,
    random::OsRandom,
    rooms::state_hash::StateHashKey,
    store::{Read, events, events::StateRef, ids, rooms, state},
};

struct Fixture {
    store: Store,
    appenders: Appenders,
    folder: tempfile::TempDir,
    server_name: OwnedServerName,
}

impl Fixture {
    /// Receives one event alone.
    async fn receive(&self, room: RoomNid, pdu: &Arc<Pdu>) -> Received {
        self.appenders.receive(room, vec![Incoming::new(pdu.clone())]).await.unwrap().remove(0)
    }
}

fn fixture() -> Fixture {
    fixture_of(server_name!("a.example"))
}

fn fixture_of(server_name: &ruma::ServerName) -> Fixture {
    fixture_telling(server_name, Arc::new(NoWake))
}

fn fixture_telling(server_name: &ruma::ServerName, wake: Arc<dyn Wake>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), server_name.as_str()).unwrap();
    let signer = Signer {
        server_name: server_name.to_owned(),
        key: SigningKey::generate([1; 32], "1").unwrap(),
        random: Arc::new(OsRandom),
    };
    let appenders = Appenders::new(store.clone(), Arc::new(SystemClock), signer, StateHashKey::new([2; 32]), wake);
    Fixture { store, appenders, folder, server_name: server_name.to_owned() }
}

fn object(value: serde_json::Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => panic!("not an object"),
    }
}

fn alice() -> OwnedUserId {
    user_id!("@alice:a.example").to_owned()
}

/// A public room of this version with alice at 100 and everybody else free to set the topic.
async fn room(f: &Fixture, version: RoomVersionId) -> (Arc<RoomKey>, Vec<Appended>) {
    let v12 = rules(&version).unwrap().authorization.explicitly_privilege_room_creators;
    let mut create = json!({ "room_version": version.as_str() });
    if !rules(&version).unwrap().authorization.use_room_create_sender {
        create["creator"] = json!(alice());
    }
    let users = if v12 { json!({}) } else { json!({ alice().as_str(): 100 }) };
    let events = vec![
        LocalEvent::state(alice(), "m.room.member", alice(), object(json!({ "membership": "join" }))),
        LocalEvent::state(
            alice(),
            "m.room.power_levels",
            "",
            object(json!({ "users": users, "events": { "m.room.topic": 0 }, "state_default": 50 })),
        ),
        LocalEvent::state(alice(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
    ];
    let new = NewRoom { version, creator: alice(), create_content: object(create) };
    f.appenders.create(new, events, None).await.unwrap()
}

/// A state of the store with strings.
fn named(read: &dyn Read, at: StateRef) -> Result<State, StoreError> {
    state::full(read, at)?
        .into_iter()
        .map(|(key, event)| {
            let (kind, key) = ids::state_key(read, key)?;
            Ok(((StateEventType::from(&*kind), key.to_string()), events::id(read, event)?))
        })
        .collect()
}

async fn states_of(f: &Fixture, id: &EventId) -> (State, State) {
    let id = id.to_owned();
    f.store
        .read::<_, StoreError, _>(move |read| {
            let row = events::by_id(read, &id)?.unwrap();
            Ok((named(read, row.before.unwrap())?, named(read, row.after.unwrap())?))
        })
        .await
        .unwrap()
}

/// (extremities, current state by current_state, current state by the main line, hash in the head, hash recomputed).
async fn current_of(f: &Fixture, room: &Arc<RoomKey>) -> (Vec<OwnedEventId>, State) {
    let room = room.clone();
    f.store
        .read::<_, StoreError, _>(move |read| {
            let head = rooms::head(read, room.nid)?;
            let on_line = state::full(read, StateRef { line: room.main_line, epoch: i64::MAX })?;
            assert_eq!(state::current(read, room.nid)?, on_line, "current_state and the main line differ");
            assert_eq!(head.state_hash, StateHashKey::new([2; 32]).of(&on_line), "the state's hash");
            let tips = rooms::extremities(read, room.nid)?;
            let tips = tips.into_iter().map(|tip| events::id(read, tip)).collect::<Result<_, _>>()?;
            Ok((tips, named(read, StateRef { line: room.main_line, epoch: head.state_position })?))
        })
        .await
        .unwrap()
}

async fn check_room(version: RoomVersionId, seed: u64) {
    let f = fixture();
    let (room, first) = room(&f, version).await;
    let mut oracle = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let dag = random_dag(&mut oracle, &room, &start, seed, 40);
    let mut soft_failed = HashSet::new();
    for pdu in &dag {
        match f.receive(room.nid, pdu).await {
            Received::Accepted(_) => {}
            Received::SoftFailed(..) => {
                soft_failed.insert(pdu.event_id().to_owned());
            }
            Received::Rejected(_, reason) => {
                let (before, after) = (&oracle.before[pdu.event_id()], &oracle.after[pdu.event_id()]);
                assert!(before == after || !pdu.is_state(), "seed {seed}: rejected, {reason}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        let (before, after) = states_of(&f, pdu.event_id()).await;
        assert_eq!(before, oracle.before[pdu.event_id()], "seed {seed}: state before {}", pdu.event_id());
        assert_eq!(after, oracle.after[pdu.event_id()], "seed {seed}: state after {}", pdu.event_id());
        let (tips, current) = current_of(&f, &room).await;
        assert!(tips.iter().all(|tip| !soft_failed.contains(tip)), "a soft-failed event is an extremity");
        let expected = oracle.resolve(tips.iter().map(|tip| oracle.after[tip].clone()).collect());
        assert_eq!(current, expected, "seed {seed}: current state after {}", pdu.event_id());
    }
    agrees(&f, seed).await;
}

/// Holds all that was derived from a fixture's events against `check-data`.
async fn agrees(f: &Fixture, seed: u64) {
    let key = f.store.write::<_, StoreError, _>(|tx| crate::store::secret(tx, "state_hash_key", [2; 32]));
    key.await.unwrap();
    f.store.close();
    let config = crate::config::Config::new(f.server_name.clone(), f.folder.path().to_owned());
    let report = crate::ops::check_data::check_data(&config).unwrap();
    let mut text = Vec::new();
    report.write(&mut text).unwrap();
    assert!(report.agrees(), "seed {seed}: {}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn every_state_is_what_a_full_recomputation_gives() {
    for seed in 1..12 {
        check_room(room_version_id!("11"), seed * 7919).await;
        check_room(room_version_id!("12"), seed * 104_729).await;
    }
    check_room(room_version_id!("3"), 31).await;
    check_room(room_version_id!("6"), 37).await;
}

/// The same events in another order of arrival, parents first.
fn shuffled(dag: &[Arc<Pdu>], seed: u64) -> Vec<Arc<Pdu>> {
    let mut dice = Dice(seed);
    let ids: HashSet<&EventId> = dag.iter().map(|pdu| pdu.event_id()).collect();
    let mut left: Vec<&Arc<Pdu>> = dag.iter().collect();
    let mut there: HashSet<&EventId> = HashSet::new();
    let mut out = Vec::new();
    while !left.is_empty() {
        let ready: Vec<usize> = (0..left.len())
            .filter(|i| left[*i].prev_events().iter().all(|p| !ids.contains(&**p) || there.contains(&**p)))
            .collect();
        let pdu = left.remove(ready[dice.roll(ready.len())]);
        there.insert(pdu.event_id());
        out.push(pdu.clone());
    }
    out
}

#[tokio::test]
async fn the_order_of_arrival_does_not_matter() {
    for version in [room_version_id!("10"), room_version_id!("12")] {
        let f = fixture();
        let (room, first) = room(&f, version.clone()).await;
        let mut oracle = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let dag = random_dag(&mut oracle, &room, &start, 4242, 60);
        let merge = merge_of(&mut oracle, &room, &dag);
        let mut soft_failed = 0;
        for order in 1..6 {
            // A copy of the room as it was: its first events come from outside, as they would on a third server.
            let copy = fixture();
            let other = copy_room(&f, &copy, &room, &first).await;
            for pdu in shuffled(&dag, order) {
                let received = copy.receive(other.nid, &pdu).await;
                let (before, after) = states_of(&copy, pdu.event_id()).await;
                assert_eq!(before, oracle.before[pdu.event_id()], "order {order}");
                assert_eq!(after, oracle.after[pdu.event_id()], "order {order}: {received:?}");
                soft_failed += usize::from(matches!(received, Received::SoftFailed(..)));
            }
            // What was soft-failed differs from order to order, and so may the current state, until an event names all tips.
            let received = copy.receive(other.nid, &merge).await;
            assert!(matches!(received, Received::Accepted(_)), "order {order}: {received:?}");
            let (tips, current) = current_of(&copy, &other).await;
            assert_eq!(tips, [merge.event_id().to_owned()], "order {order}");
            assert_eq!(current, oracle.after[merge.event_id()], "order {order}");
        }
        assert!(soft_failed > 0, "no order soft-failed anything: the DAG shows too little");
    }
}

/// An event, allowed in every order of arrival, whose previous events are all tips of the DAG: alice, whom nobody can ban,
/// joins once more.
fn merge_of(oracle: &mut Oracle, room: &RoomKey, dag: &[Arc<Pdu>]) -> Arc<Pdu> {
    let named: HashSet<&EventId> = dag.iter().flat_map(|pdu| pdu.prev_events()).map(|id| &**id).collect();
    let tips: Vec<OwnedEventId> =
        dag.iter().map(|pdu| pdu.event_id()).filter(|id| !named.contains(id)).map(EventId::to_owned).collect();
    assert!(tips.len() > 1 && tips.len() <= 20, "{} tips", tips.len());
    let content = json!({ "membership": "join", "again": true });
    let merge = oracle.build(room, &alice(), ("m.room.member", Some(alice().as_str()), content), &tips, 5_000);
    assert!(oracle.add(merge.clone()));
    merge
}

/// Brings a room's first events into another store as they are.
async fn copy_room(from: &Fixture, to: &Fixture, room: &RoomKey, first: &[Appended]) -> Arc<RoomKey> {
    let mut pdus = Vec::new();
    for appended in first {
        let nid = appended.nid;
        let load = from.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid));
        pdus.push(load.await.unwrap());
    }
    let planned: Vec<plan::Planned> = pdus
        .iter()
        .map(|pdu| plan::Planned {
            pdu: pdu.clone(),
            transaction: None,
            class: classify::Class::default(),
            auth: pdu
                .auth_events()
                .iter()
                .map(|id| plan::AuthRef::Batch(pdus.iter().position(|p| p.event_id() == id).unwrap()))
                .collect(),
            redacts_others: false,
            linear: !pdu.prev_events().is_empty(),
            relay: false,
            came: true,
        })
        .collect();
    let unborn = head::Head::unborn(
        Arc::new(RoomKey {
            nid: RoomNid(0),
            room_id: room.room_id.clone(),
            version: room.version.clone(),
            main_line: 0,
            service: None,
        }),
        rules(&room.version).unwrap(),
    );
    let commit = commit::MainCommit {
        site: to.appenders.shared.site.clone(),
        room: commit::Target::New { room_id: room.room_id.clone(), version: room.version.clone() },
        rules: unborn.rules,
        row: unborn.row,
        running: unborn.running,
        old_tips: Vec::new(),
        planned: Arc::new(planned),
        members: unborn.members,
        now_ms: 1,
        partial: false,
    };
    to.store.write::<_, StoreError, _>(move |tx| commit.run(tx)).await.unwrap().room
}

#[tokio::test]
async fn a_deep_fork_costs_a_row_a_change() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("11")).await;
    let mut oracle = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let bob = user_id!("@b:b.example");
    let join =
        oracle.build(&room, bob, ("m.room.member", Some(bob.as_str()), json!({"membership": "join"})), &[start], 1);
    oracle.add(join.clone());
    f.receive(room.nid, &join).await;
    // Ours goes on, theirs forks off and sets the topic again and again.
    let topic = LocalEvent::state(alice(), "m.room.topic", "", object(json!({ "topic": "ours" })));
    let ours = f.appenders.append(room.nid, vec![topic], None).await.unwrap();
    let rows = |f: &Fixture| {
        let store = f.store.clone();
        async move {
            store
                .read::<_, StoreError, _>(|read| {
                    (read as &dyn Read)
                        .one("SELECT COUNT(*) FROM room_state", crate::params![], |row| row.get::<i64>(0))
                })
                .await
                .unwrap()
                .unwrap()
        }
    };
    let before = rows(&f).await;
    let mut prev = join.event_id().to_owned();
    let changes = 300;
    for n in 0..changes {
        let pdu =
            oracle.build(&room, bob, ("m.room.topic", Some(""), json!({ "topic": n })), &[prev], 10_000 + n as u64);
        oracle.add(pdu.clone());
        let received = f.receive(room.nid, &pdu).await;
        assert!(matches!(received, Received::Accepted(_)), "{received:?}");
        prev = pdu.event_id().to_owned();
    }
    let written = rows(&f).await - before;
    assert!(written <= 2 * changes, "{changes} changes of a fork and of the current state wrote {written} rows");
    let (tips, current) = current_of(&f, &room).await;
    assert_eq!(tips.len(), 2);
    let nid = ours[0].nid;
    let ours = f.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap();
    oracle.add(ours);
    assert_eq!(current, oracle.resolve(tips.iter().map(|t| oracle.after[t].clone()).collect()));
}

/// A message of bob's on these previous events, received; answers the line of the state before it.
async fn line_before(f: &Fixture, oracle: &mut Oracle, room: &RoomKey, prev: &[OwnedEventId]) -> i64 {
    let bob = user_id!("@b:b.example");
    let content = json!({ "body": prev.len(), "msgtype": "m.text" });
    let pdu = oracle.build(room, bob, ("m.room.message", None, content), prev, 99_999);
    oracle.add(pdu.clone());
    f.receive(room.nid, &pdu).await;
    let id = pdu.event_id().to_owned();
    assert_eq!(states_of(f, &id).await.0, oracle.before[&id]);
    let row = f.store.read::<_, StoreError, _>(move |read| events::by_id(read, &id)).await.unwrap().unwrap();
    row.before.unwrap().line
}

#[tokio::test]
async fn forks_that_come_to_the_same_state_share_its_rows() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("11")).await;
    let mut oracle = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let (bob, alice) = (user_id!("@b:b.example"), alice());
    let add = async |oracle: &mut Oracle, sender: &ruma::UserId, kind: &str, key: &str, content, prev, ts| {
        let pdu = oracle.build(&room, sender, (kind, Some(key), content), &[prev], ts);
        assert!(oracle.add(pdu.clone()));
        f.receive(room.nid, &pdu).await;
        pdu.event_id().to_owned()
    };
    let join = json!({ "membership": "join" });
    let join = add(&mut oracle, bob, "m.room.member", bob.as_str(), join, start, 1).await;
    // Two forks; in one of them another topic, which loses to the first one's.
    let topic = add(&mut oracle, bob, "m.room.topic", "", json!({ "topic": "wins" }), join.clone(), 50).await;
    let name = add(&mut oracle, &alice, "m.room.name", "", json!({ "name": "n" }), join, 20).await;
    let loser = add(&mut oracle, bob, "m.room.topic", "", json!({ "topic": "loses" }), name.clone(), 10).await;
    // The newest extremities are others than the ones joined here, so the joined states are not the current one.
    let third = add(&mut oracle, &alice, "m.room.avatar", "", json!({ "url": "mxc://a/b" }), loser.clone(), 30).await;
    let _ = third;
    let one = line_before(&f, &mut oracle, &room, &[topic.clone(), name]).await;
    let other = line_before(&f, &mut oracle, &room, &[topic, loser]).await;
    assert_eq!(one, other, "two lines hold one state");
}
