//! Events that come before what they name: with the state before them as a peer says it.

use super::*;

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
