//! Rooms with more members than their appender keeps at hand.

use ruma::{UserId, room_version_id};
use serde_json::json;

use super::{LocalEvent, fixture, object, room};
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
