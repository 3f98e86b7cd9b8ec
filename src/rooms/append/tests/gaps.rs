//! Events that come before what they name: with the state before them as a peer says it.

use super::*;
use crate::{
    clock::Clock as _,
    rooms::group_calls::{MAX_AGE_MS, REQUEST, RESULT},
    store::group_calls,
};

/// Sees that all of a state is here, as far as it is not yet.
pub(super) async fn add_state(f: &Fixture, room: RoomNid, oracle: &Oracle, state: &State) {
    let events = oracle.with_chain(state.values());
    for answer in f.appenders.add_outliers(room, events).await.unwrap() {
        assert!(matches!(answer, Received::Accepted(_) | Received::Known(_)), "{answer:?}");
    }
}

/// An event with the state before it as its own server knows it.
pub(super) fn told(oracle: &Oracle, pdu: &Arc<Pdu>) -> Incoming {
    let state = oracle.before[pdu.event_id()].values().cloned().collect();
    Incoming { state_before: Some(state), ..Incoming::new(pdu.clone()) }
}

#[tokio::test]
async fn in_whatever_order_events_come_their_states_are_what_a_full_recomputation_gives() {
    let mut upgraded = 0;
    let seeds = std::env::var("GAP_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4u64);
    // In the last one an event fills a gap behind which, by its soft-failed previous events, an extremity stands that is out of
    // its reach until those between have come.
    for seed in (1..=seeds).chain([58]) {
        let version = match seed % 3 {
            0 => room_version_id!("10"),
            1 => room_version_id!("11"),
            _ => room_version_id!("12"),
        };
        let f = fixture();
        let (room, first) = room(&f, version).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let dag = random_dag(&mut far, &room, &start, seed * 7919, 40);
        let copy = fixture();
        let other = copy_room(&f, &copy, &room, &first).await;
        let mut here = far.elsewhere();
        for appended in &first {
            here.add(here.pdus[&appended.event_id].clone());
        }
        let mut dice = Dice(seed + 17);
        let mut left = dag.clone();
        while !left.is_empty() {
            // Mostly the oldest that is left, sometimes one from far ahead.
            let at = if dice.roll(3) == 0 { dice.roll(left.len()) } else { 0 };
            let pdu = left.remove(at);
            let id = pdu.event_id();
            let before = far.before[id].clone();
            add_state(&copy, other.nid, &far, &before).await;
            let known = id.to_owned();
            let outlier = copy.store.read::<_, StoreError, _>(move |read| events::nid(read, &known)).await.unwrap();
            upgraded += usize::from(outlier.is_some());
            let received = copy.appenders.receive(other.nid, vec![told(&far, &pdu)]).await.unwrap().remove(0);
            let allowed = here.add_told(id, &before);
            match &received {
                Received::Accepted(_) | Received::SoftFailed(..) => assert!(allowed, "seed {seed}: {id} {received:?}"),
                Received::Rejected(..) => assert!(!allowed, "seed {seed}: {id} {received:?}"),
                other => panic!("seed {seed}: {other:?}"),
            }
            if let (Some(nid), Received::Accepted(appended)) = (outlier, &received) {
                assert_eq!(nid, appended.nid, "an outlier keeps its number");
            }
            let (before, after) = states_of(&copy, id).await;
            assert_eq!(before, here.before[id], "seed {seed}: state before {id}");
            assert_eq!(after, here.after[id], "seed {seed}: state after {id}");
            let (tips, current) = current_of(&copy, &other).await;
            let expected = here.resolve(tips.iter().map(|tip| here.after[tip].clone()).collect());
            assert_eq!(current, expected, "seed {seed}: current state after {id}");
        }
        agrees(&copy, seed).await;
    }
    assert!(upgraded > 0, "no outlier came later as an event: the test shows too little");
}

#[tokio::test]
async fn what_is_missing_is_named_and_nothing_is_done() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("12")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let bob = user_id!("@b:b.example");
    let join = json!({ "membership": "join" });
    let join = far.build(&room, bob, ("m.room.member", Some(bob.as_str()), join), &[start], 1);
    far.add(join.clone());
    let again = far.build(
        &room,
        bob,
        ("m.room.member", Some(bob.as_str()), json!({ "membership": "join", "n": 2 })),
        &[join.event_id().to_owned()],
        2,
    );
    far.add(again.clone());
    let missing = vec![join.event_id().to_owned()];
    assert_eq!(f.receive(room.nid, &again).await, Received::MissingPrev(missing.clone()));
    let answer = f.appenders.receive(room.nid, vec![told(&far, &again)]).await.unwrap().remove(0);
    assert_eq!(answer, Received::MissingAuth(missing.clone()));
    let answer = f.appenders.add_outliers(room.nid, vec![again.clone()]).await.unwrap().remove(0);
    assert_eq!(answer, Received::MissingAuth(missing));
    let stored = f.appenders.add_outliers(room.nid, vec![join.clone()]).await.unwrap().remove(0);
    let Received::Accepted(outlier) = stored else { panic!("{stored:?}") };
    let answer = f.appenders.receive(room.nid, vec![told(&far, &again)]).await.unwrap().remove(0);
    assert!(matches!(answer, Received::Accepted(_)), "{answer:?}");
    let nid = room.nid;
    let waiting = || f.store.read::<_, StoreError, _>(move |read| rooms::backward_extremities(read, nid, 10));
    assert_eq!(waiting().await.unwrap().len(), 1);
    // What was missing comes: it is no extremity, and nothing is missing any more.
    let answer = f.receive(room.nid, &join).await;
    assert!(matches!(&answer, Received::Accepted(appended) if appended.nid == outlier.nid), "{answer:?}");
    assert_eq!(waiting().await.unwrap(), []);
    assert_eq!(f.receive(room.nid, &join).await, Received::Known(outlier.nid));
    agrees(&f, 0).await;
}

/// What an admin asked while the group's server was away too long to get it live: done if it is young and nobody answered it.
#[tokio::test]
async fn a_request_that_comes_as_history_waits_if_it_is_young_and_unanswered() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("12")).await;
    let (nid, now) = (room.nid, u64::try_from(SystemClock.now_ms()).unwrap());
    f.store
        .write::<_, StoreError, _>(move |tx| rooms::set_service(tx, nid, ids::user_nid(tx, &alice())?.unwrap()))
        .await
        .unwrap();
    let mut far = Oracle::new(&f, &room, &first).await;
    let bob = user_id!("@b:b.example");
    let mut last = first.last().unwrap().event_id.clone();
    let mut next = |far: &mut Oracle, kind: (&str, Option<&str>, serde_json::Value), ts: u64| {
        let pdu = far.build(&room, bob, kind, std::slice::from_ref(&last), ts);
        far.add(pdu.clone());
        last = pdu.event_id().to_owned();
        pdu
    };
    let join = next(&mut far, ("m.room.member", Some(bob.as_str()), json!({ "membership": "join" })), now);
    assert!(matches!(f.receive(nid, &join).await, Received::Accepted(_)));
    let old = now - u64::try_from(MAX_AGE_MS).unwrap() - 60_000;
    let asked: Vec<Arc<Pdu>> = [(old, 1), (now, 2), (now, 3)]
        .map(|(ts, n)| next(&mut far, (REQUEST, None, json!({ "action": "mute_all", "n": n })), ts))
        .into();
    let said = next(&mut far, ("m.room.message", None, json!({ "body": "back", "msgtype": "m.text" })), now);
    let answer = f.appenders.receive(nid, vec![told(&far, &said)]).await.unwrap().remove(0);
    assert!(matches!(answer, Received::Accepted(_)), "{answer:?}");
    // The service user answered the third one before it was lost here.
    let relation =
        json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": asked[2].event_id() }, "ok": true });
    let result = LocalEvent::message(alice(), RESULT, object(relation));
    f.appenders.append(nid, vec![result], None).await.unwrap();

    let incoming = asked.iter().map(|pdu| told(&far, pdu)).collect();
    let answers = f.appenders.backfill(nid, incoming).await.unwrap();
    let numbers: Vec<EventNid> = answers
        .iter()
        .map(|answer| match answer {
            Received::Accepted(Appended { nid, position: ..0, .. }) => *nid,
            other => panic!("it is history: {other:?}"),
        })
        .collect();
    let waiting =
        f.store.read::<_, StoreError, _>(|read| group_calls::waiting(read, EventNid(i64::MIN), 10)).await.unwrap();
    assert_eq!(waiting, [(numbers[1], nid)]);
}
