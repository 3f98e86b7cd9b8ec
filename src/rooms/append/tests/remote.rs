//! Rooms of other servers: joined, left and joined again.

use super::{gaps::add_state, *};
use crate::store::{members, members::Membership};

/// A user of the server that joins.
pub(super) fn nora() -> OwnedUserId {
    user_id!("@nora:n.example").to_owned()
}

/// The server that joins.
pub(super) fn near() -> Fixture {
    fixture_of(server_name!("n.example"))
}

/// nora's member event on these events.
pub(super) fn member(
    oracle: &mut Oracle,
    room: &RoomKey,
    membership: &str,
    prev: &[OwnedEventId],
    ts: u64,
) -> Arc<Pdu> {
    let content = json!({ "membership": membership, "ts": ts });
    let pdu = oracle.build(room, &nora(), ("m.room.member", Some(nora().as_str()), content), prev, ts);
    assert!(oracle.add(pdu.clone()), "{membership}");
    pdu
}

/// The answer of a server that knows all.
pub(super) fn answer(oracle: &Oracle, room: &RoomKey, join: &Arc<Pdu>) -> RemoteJoin {
    let before = &oracle.before[join.event_id()];
    RemoteJoin {
        room_id: room.room_id.clone(),
        version: room.version.clone(),
        join: join.clone(),
        state: before.values().map(|id| oracle.pdus[id].clone()).collect(),
        auth_chain: oracle.with_chain(before.values().chain(join.auth_events())),
        partial: None,
    }
}

/// Events that no other one of these names.
pub(super) fn tips(dag: &[Arc<Pdu>]) -> Vec<OwnedEventId> {
    let named: HashSet<&EventId> = dag.iter().flat_map(|pdu| pdu.prev_events()).map(|id| &**id).collect();
    dag.iter().map(|pdu| pdu.owned_event_id()).filter(|id| !named.contains(&***id)).cloned().collect()
}

async fn stored(f: &Fixture, appended: &Appended) -> Arc<Pdu> {
    let nid = appended.nid;
    f.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap()
}

pub(super) async fn membership_of(f: &Fixture, room: RoomNid, user: OwnedUserId) -> Option<Membership> {
    let read = f.store.read::<_, StoreError, _>(move |read| {
        let Some(user) = ids::user_nid(read, &user)? else { return Ok(None) };
        Ok(members::of(read, user, room)?.map(|row| row.membership))
    });
    read.await.unwrap()
}

async fn servers(f: &Fixture, room: RoomNid) -> Vec<String> {
    let servers = f.store.read::<_, StoreError, _>(move |read| rooms::servers(read, room)).await.unwrap();
    let mut names: Vec<String> = servers.into_iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    names
}

fn message(body: &str) -> CanonicalJsonObject {
    object(json!({ "body": body, "msgtype": "m.text" }))
}

#[tokio::test]
async fn a_joined_room_is_talked_in_left_and_joined_again() {
    for version in [room_version_id!("11"), room_version_id!("12")] {
        let f = fixture();
        let (room, first) = room(&f, version.clone()).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let bob = user_id!("@b:b.example");
        let mut dag = random_dag(&mut far, &room, &start, 271_828, 30);
        let content = json!({ "membership": "join", "again": true });
        let again = far.build(&room, &alice(), ("m.room.member", Some(alice().as_str()), content), &tips(&dag), 9_000);
        assert!(far.add(again.clone()));
        dag.push(again.clone());
        let ban = json!({ "membership": "leave" });
        let unban = far.build(
            &room,
            &alice(),
            ("m.room.member", Some(bob.as_str()), ban),
            &[again.event_id().to_owned()],
            9_001,
        );
        far.add(unban.clone());
        let join = member(&mut far, &room, "join", &[unban.event_id().to_owned()], 9_002);
        let n = near();
        let (here, appended) = n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        assert!(!appended.repeated);
        let (before, after) = states_of(&n, join.event_id()).await;
        assert_eq!(before, far.before[join.event_id()]);
        assert_eq!(after, far.after[join.event_id()]);
        assert_eq!(current_of(&n, &here).await, (vec![join.event_id().to_owned()], after));
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Join));
        assert!(servers(&n, here.nid).await.contains(&"a.example".to_owned()));
        let repeated = n.appenders.import(answer(&far, &room, &join)).await.unwrap().1;
        assert_eq!((repeated.nid, repeated.repeated), (appended.nid, true));

        // A conversation of both.
        let said = LocalEvent::message(nora(), "m.room.message", message("hi"));
        let said = n.appenders.append(here.nid, vec![said], None).await.unwrap().remove(0);
        far.add(stored(&n, &said).await);
        let content = json!({ "membership": "join", "talks": true });
        let bobs = far.build(
            &room,
            bob,
            ("m.room.member", Some(bob.as_str()), content),
            std::slice::from_ref(&said.event_id),
            9_003,
        );
        assert!(far.add(bobs.clone()));
        assert!(matches!(n.receive(here.nid, &bobs).await, Received::Accepted(_)));
        let topic = json!({ "topic": "both" });
        let topic = far.build(&room, bob, ("m.room.topic", Some(""), topic), &[bobs.event_id().to_owned()], 9_004);
        assert!(far.add(topic.clone()));
        assert!(matches!(n.receive(here.nid, &topic).await, Received::Accepted(_)));
        assert_eq!(current_of(&n, &here).await.1, far.after[topic.event_id()]);
        assert_eq!(servers(&n, here.nid).await, ["a.example", "b.example"]);

        // Left; what happens then is not heard of.
        let leave = LocalEvent::state(nora(), "m.room.member", nora(), object(json!({ "membership": "leave" })));
        let leave = n.appenders.append(here.nid, vec![leave], None).await.unwrap().remove(0);
        let leave = stored(&n, &leave).await;
        assert!(far.add(leave.clone()));
        let mut tip = leave.event_id().to_owned();
        let mut gap = Vec::new();
        for (kind, key, content, by) in [
            ("m.room.name", Some(""), json!({ "name": "meanwhile" }), alice()),
            ("m.room.member", Some(bob.as_str()), json!({ "membership": "leave" }), bob.to_owned()),
            ("m.room.message", None, json!({ "body": "unheard", "msgtype": "m.text" }), alice()),
            ("m.room.topic", Some(""), json!({ "topic": "another" }), alice()),
        ] {
            let pdu = far.build(&room, &by, (kind, key, content), &[tip], 9_010);
            assert!(far.add(pdu.clone()), "{kind}");
            tip = pdu.event_id().to_owned();
            gap.push(pdu);
        }
        let join = member(&mut far, &room, "join", &[tip], 9_020);
        n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        let (tips, current) = current_of(&n, &here).await;
        assert_eq!(tips, [join.event_id().to_owned()]);
        assert_eq!(current, far.after[join.event_id()]);
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Join));
        assert_eq!(membership_of(&n, here.nid, bob.to_owned()).await, Some(Membership::Leave));
        assert_eq!(servers(&n, here.nid).await, ["a.example"]);

        // The gap comes as history.
        let incoming = gap.iter().cloned().map(Incoming::new).collect();
        for answer in n.appenders.backfill(here.nid, incoming).await.unwrap() {
            assert!(matches!(answer, Received::Accepted(Appended { position: ..0, .. })), "{answer:?}");
        }
        for pdu in &gap {
            let (before, after) = states_of(&n, pdu.event_id()).await;
            assert_eq!(before, far.before[pdu.event_id()]);
            assert_eq!(after, far.after[pdu.event_id()]);
        }
        assert_eq!(current_of(&n, &here).await, (tips, current));
        agrees(&n, 0).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_none_makes_nobody_a_member() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("12")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let join = member(&mut far, &room, "join", &[first.last().unwrap().event_id.clone()], 1);
    let n = near();
    let good = answer(&far, &room, &join);
    let without = |kind: &str| {
        let mut answer = good.clone();
        answer.state.retain(|pdu| pdu.event_type().to_string() != kind);
        answer
    };
    let refused = n.appenders.import(without("m.room.create")).await;
    assert!(matches!(refused, Err(AppendError::Malformed(_))), "{refused:?}");
    // Without join rules nobody may join.
    let refused = n.appenders.import(without("m.room.join_rules")).await;
    assert!(matches!(refused, Err(AppendError::Denied(_))), "{refused:?}");
    let other = RemoteJoin { version: room_version_id!("11"), ..good.clone() };
    let refused = n.appenders.import(other).await;
    assert!(matches!(refused, Err(AppendError::Malformed(_))), "{refused:?}");
    let (here, _) = n.appenders.import(good).await.unwrap();
    assert_eq!(here.version, room_version_id!("12"));
    assert_eq!(current_of(&n, &here).await.1, far.after[join.event_id()]);
    add_state(&n, here.nid, &far, &far.after[join.event_id()]).await;
    agrees(&n, 0).await;
}
