//! Joins whose answer leaves out members: in the end all is as if it had not.

use super::{
    gaps::{add_state, told},
    remote::{answer, member, near, nora, tips},
    *,
};
use crate::store::{members, partial_joins};

/// The answer without members other than these.
fn without_members(whole: &RemoteJoin, but: &[&str]) -> RemoteJoin {
    let mut answer = whole.clone();
    answer
        .state
        .retain(|pdu| pdu.event_type().to_string() != "m.room.member" || but.contains(&pdu.state_key().unwrap_or("")));
    let servers = ["a.example", "b.example", "c.example", "n.example"];
    answer.partial = Some(PartialJoin {
        servers_in_room: servers.into_iter().map(|name| name.try_into().unwrap()).collect(),
        via: server_name!("a.example").to_owned(),
    });
    answer
}

/// All that is known of a room: per event what became of it with its states, the current state, members, servers by name.
#[derive(Debug, PartialEq)]
struct Whole {
    events: Vec<(OwnedEventId, i64, i64, State, State, i64)>,
    tips: HashSet<OwnedEventId>,
    current: State,
    members: BTreeMap<String, members::Membership>,
    counts: (i64, i64, i64),
    servers: HashSet<String>,
}

async fn whole(f: &Fixture, room: &Arc<RoomKey>) -> Whole {
    let (tips, current) = current_of(f, room).await;
    let (room, tips) = (room.clone(), tips.into_iter().collect());
    f.store
        .read::<_, StoreError, _>(move |read| {
            let mut found = Vec::new();
            for nid in events::since(read, room.nid, 0)? {
                let row = events::by_nid(read, nid)?;
                let (before, after) = (named(read, row.before.unwrap())?, named(read, row.after.unwrap())?);
                found.push((row.event_id, row.flags, row.running.countable, before, after, row.depth));
            }
            let mut joined = BTreeMap::new();
            for row in members::all_of_room(read, room.nid)? {
                joined.insert(ids::user_id(read, row.user)?.to_string(), row.membership);
            }
            let head = rooms::head(read, room.nid)?;
            let servers = rooms::servers(read, room.nid)?;
            Ok(Whole {
                events: found,
                tips,
                current,
                members: joined,
                counts: (head.joined, head.invited, head.local_joined),
                servers: servers.into_iter().map(|name| name.to_string()).collect(),
            })
        })
        .await
        .unwrap()
}

async fn is_partial(f: &Fixture, room: RoomNid) -> bool {
    f.store.read::<_, StoreError, _>(move |read| partial_joins::is_partial(read, room)).await.unwrap()
}

/// Fills in the state before the join.
async fn complete(f: &Fixture, room: &RoomKey, far: &Oracle, join: &Pdu) -> bool {
    let state = &far.before[join.event_id()];
    add_state(f, room.nid, far, state).await;
    f.appenders.complete(room.nid, join.owned_event_id().clone(), state.values().cloned().collect()).await.unwrap()
}

#[tokio::test]
async fn a_room_that_was_filled_in_is_as_if_nothing_had_been_left_out() {
    let (mut judged_otherwise, mut joined) = (0, 0);
    for seed in 1..13u64 {
        let version = if seed % 2 == 0 { room_version_id!("11") } else { room_version_id!("12") };
        let f = fixture();
        let (room, first) = room(&f, version).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let before = random_dag(&mut far, &room, &start, seed * 7919, 25);
        // All tips are joined, so that the join stands on one.
        let content = json!({ "membership": "join", "again": true });
        let again =
            far.build(&room, &alice(), ("m.room.member", Some(alice().as_str()), content), &tips(&before), 9_000);
        if !far.add(again.clone()) {
            // alice banned herself.
            continue;
        }
        joined += 1;
        let join = member(&mut far, &room, "join", &[again.event_id().to_owned()], 9_001);
        let after = random_dag(&mut far, &room, &join.event_id().to_owned(), seed * 104_729, 30);
        let (full, part) = (near(), near());
        let whole_answer = answer(&far, &room, &join);
        let (there, _) = full.appenders.import(whole_answer.clone()).await.unwrap();
        let (here, _) = part.appenders.import(without_members(&whole_answer, &[])).await.unwrap();
        assert!(is_partial(&part, here.nid).await);
        let mut dice = Dice(seed);
        let mut left = after;
        while !left.is_empty() {
            // Some come from ahead, with the state before them as a peer says it.
            let at = if dice.roll(4) == 0 { dice.roll(left.len().min(4)) } else { 0 };
            let pdu = left.remove(at);
            let state = far.before[pdu.event_id()].clone();
            let mut received = Vec::new();
            for (f, room) in [(&full, &there), (&part, &here)] {
                add_state(f, room.nid, &far, &state).await;
                let answers = f.appenders.receive(room.nid, vec![told(&far, &pdu)]).await.unwrap();
                received.push(std::mem::discriminant(&answers[0]));
            }
            judged_otherwise += usize::from(received[0] != received[1]);
        }
        assert!(complete(&part, &here, &far, &join).await);
        assert!(!is_partial(&part, here.nid).await);
        assert_eq!(whole(&part, &here).await, whole(&full, &there).await, "seed {seed}");
        assert!(!complete(&part, &here, &far, &join).await, "there is nothing left to fill in");
        // It goes on from there.
        let said = LocalEvent::message(nora(), "m.room.message", object(json!({ "body": "hi", "msgtype": "m.text" })));
        part.appenders.append(here.nid, vec![said], None).await.unwrap();
        agrees(&full, seed).await;
        agrees(&part, seed).await;
    }
    assert!(joined > 3, "{joined} rooms show too little");
    assert!(judged_otherwise > 0, "no event was judged otherwise meanwhile: the test shows too little");
}

#[tokio::test]
async fn who_joins_talks_at_once_and_is_heard_by_the_servers_that_are_named() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("12")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let bob = user_id!("@b:b.example");
    let content = json!({ "membership": "join" });
    let start = first.last().unwrap().event_id.clone();
    let bobs = far.build(&room, bob, ("m.room.member", Some(bob.as_str()), content), &[start], 1);
    far.add(bobs.clone());
    let join = member(&mut far, &room, "join", &[bobs.event_id().to_owned()], 2);
    let n = near();
    let answer = without_members(&answer(&far, &room, &join), &[bob.as_str()]);
    let (here, _) = n.appenders.import(answer).await.unwrap();
    let said = LocalEvent::message(nora(), "m.room.message", object(json!({ "body": "hi", "msgtype": "m.text" })));
    let said = n.appenders.append(here.nid, vec![said], None).await.unwrap().remove(0);
    let nid = said.nid;
    let said = n.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap();
    assert!(far.add(said.clone()));
    // alice is a member whom the state does not name; the only known one of b.example leaves.
    let topic = json!({ "topic": "here" });
    let topic = far.build(&room, &alice(), ("m.room.topic", Some(""), topic), &[said.event_id().to_owned()], 3);
    assert!(far.add(topic.clone()));
    assert!(matches!(n.receive(here.nid, &topic).await, Received::Accepted(_)));
    let leave = json!({ "membership": "leave" });
    let leave = far.build(&room, bob, ("m.room.member", Some(bob.as_str()), leave), &[topic.event_id().to_owned()], 4);
    assert!(far.add(leave.clone()));
    assert!(matches!(n.receive(here.nid, &leave).await, Received::Accepted(_)));
    let servers = |nid| n.store.read::<_, StoreError, _>(move |read| rooms::servers(read, nid));
    let meanwhile: HashSet<String> = servers(here.nid).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(meanwhile, ["a.example", "b.example", "c.example"].map(str::to_owned).into());
    // A state that does not allow the join, or is not all here, changes nothing.
    let mut lie: Vec<OwnedEventId> = far.before[join.event_id()].values().cloned().collect();
    lie.retain(|id| far.pdus[id].event_type().to_string() != "m.room.join_rules");
    add_state(&n, here.nid, &far, &far.before[join.event_id()].clone()).await;
    let lied = n.appenders.complete(here.nid, join.owned_event_id().clone(), lie).await;
    assert!(matches!(lied, Err(AppendError::Malformed(_))), "{lied:?}");
    assert!(is_partial(&n, here.nid).await);
    assert!(complete(&n, &here, &far, &join).await);
    assert_eq!(servers(here.nid).await.unwrap(), ["a.example"]);
    assert_eq!(current_of(&n, &here).await.1, far.after[leave.event_id()]);
    agrees(&n, 0).await;
}

#[tokio::test]
async fn who_leaves_before_gives_up_and_may_come_again() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("11")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let join = member(&mut far, &room, "join", &[first.last().unwrap().event_id.clone()], 1);
    let n = near();
    let (here, _) = n.appenders.import(without_members(&answer(&far, &room, &join), &[])).await.unwrap();
    n.appenders.give_up_partial(here.nid).await.unwrap();
    assert!(is_partial(&n, here.nid).await, "nora is in it");
    let leave = LocalEvent::state(nora(), "m.room.member", nora(), object(json!({ "membership": "leave" })));
    let leave = n.appenders.append(here.nid, vec![leave], None).await.unwrap().remove(0);
    let nid = leave.nid;
    let leave = n.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap();
    assert!(far.add(leave.clone()));
    n.appenders.give_up_partial(here.nid).await.unwrap();
    assert!(!is_partial(&n, here.nid).await);
    let nid = here.nid;
    let servers = n.store.read::<_, StoreError, _>(move |read| rooms::servers(read, nid)).await.unwrap();
    assert!(servers.is_empty(), "{servers:?}");
    let again = member(&mut far, &room, "join", &[leave.event_id().to_owned()], 2);
    n.appenders.import(without_members(&answer(&far, &room, &again), &[])).await.unwrap();
    assert!(is_partial(&n, here.nid).await);
    assert!(complete(&n, &here, &far, &again).await);
    assert_eq!(current_of(&n, &here).await.1, far.after[again.event_id()]);
    agrees(&n, 0).await;
}
