//! Rooms with more members than their appender keeps at hand.

use ruma::{UserId, room_version_id};
use serde_json::json;

use super::{
    Incoming, LocalEvent, Oracle, Received, RemoteJoin, alice, fixture, object,
    remote::{near, nora},
    room,
};
use crate::store::{
    StoreError, ids,
    members::{self, Membership},
    state,
};

const CALLS: usize = 12;
const JOINS: usize = 7;

#[tokio::test]
async fn joins_go_on_when_there_is_no_more_room_at_hand() {
    let f = fixture();
    let (room, _) = room(&f, room_version_id!("12")).await;
    for call in 0..CALLS {
        let join = |number: usize| {
            let user = UserId::parse(format!("@user-{call}-{number}:a.example")).unwrap();
            LocalEvent::state(user.clone(), "m.room.member", user, object(json!({ "membership": "join" })))
        };
        f.appenders.append(room.nid, (0..JOINS).map(join).collect(), None).await.unwrap();
    }
    let nid = room.nid;
    f.store
        .read::<_, StoreError, _>(move |read| {
            let joined = members::of_room(read, nid, Membership::Join)?;
            assert_eq!(joined.len(), 1 + CALLS * JOINS);
            // Members are one stretch of the state's keys, and the key of each is known without a look-up.
            let others = state::current_others(read, nid)?;
            for (key, _) in &others {
                assert_ne!(&*ids::state_key(read, *key)?.0, "m.room.member");
            }
            assert_eq!(state::current(read, nid)?.len(), joined.len() + others.len());
            for member in joined {
                let key = ids::member_key(member.user);
                assert_eq!(state::current_value(read, nid, key)?, Some(member.event));
                let (kind, user) = ids::state_key(read, key)?;
                assert_eq!((&*kind, &*user), ("m.room.member", ids::user_id(read, member.user)?.as_str()));
                assert_eq!(ids::state_key_nid(read, &kind, &user)?, Some(key));
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// Members of the room that is joined.
const MEMBERS: usize = 1_500;

#[tokio::test]
async fn a_room_with_many_members_is_joined_and_talked_in() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("11")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let members = std::env::var("MEMBERS").ok().and_then(|n| n.parse().ok()).unwrap_or(MEMBERS);
    let before = far.after[&start].clone();
    let mut state: Vec<_> = before.values().map(|id| far.pdus[id].clone()).collect();
    for n in 0..members {
        let user = UserId::parse(format!("@user-{n}:s{}.example", n % 100)).unwrap();
        let content = json!({ "membership": "join" });
        let prev = std::slice::from_ref(&start);
        state.push(far.build(&room, &user, ("m.room.member", Some(user.as_str()), content), prev, n as u64));
    }
    let content = json!({ "membership": "join" });
    let prev = std::slice::from_ref(&start);
    let join = far.build(&room, &nora(), ("m.room.member", Some(nora().as_str()), content), prev, 1);
    far.add(join.clone());
    // An answer need not come in any order.
    state.reverse();
    let answer = RemoteJoin {
        room_id: room.room_id.clone(),
        version: room.version.clone(),
        join: join.clone(),
        state,
        auth_chain: Vec::new(),
        partial: None,
    };
    let n = near();
    let started = std::time::Instant::now();
    let (here, _) = n.appenders.import(answer).await.unwrap();
    eprintln!("import of {members}: {:?}", started.elapsed());
    let nid = here.nid;
    n.store
        .read::<_, StoreError, _>(move |read| {
            let head = crate::store::rooms::head(read, nid)?;
            assert_eq!((head.joined, head.local_joined), (members as i64 + 2, 1));
            assert_eq!(crate::store::rooms::servers(read, nid)?.len(), members.min(100) + 1);
            assert_eq!(members::of_room(read, nid, Membership::Join)?.len(), members + 2);
            Ok(())
        })
        .await
        .unwrap();
    let mut tip = join.event_id().to_owned();
    let mut run = Vec::new();
    for n in 0..500u64 {
        let content = json!({ "body": n, "msgtype": "m.text" });
        let pdu = far.build(&room, &alice(), ("m.room.message", None, content), &[tip], n);
        far.add(pdu.clone());
        tip = pdu.event_id().to_owned();
        run.push(Incoming::new(pdu));
    }
    let started = std::time::Instant::now();
    let answers = n.appenders.receive(nid, run).await.unwrap();
    eprintln!("a run of {}: {:?}", answers.len(), started.elapsed());
    assert!(answers.iter().all(|answer| matches!(answer, Received::Accepted(_))));
    super::agrees(&n, 0).await;
}
