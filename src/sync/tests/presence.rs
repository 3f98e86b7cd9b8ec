//! Client-Server API, "Presence", as /sync shows it.

use super::*;
use crate::{
    accounts::tests::FakeClock,
    presence::{Presence, State, Syncing},
};

/// A server that keeps presence, with a clock that is moved.
struct House {
    server: Server,
    presence: Arc<Presence>,
    clock: Arc<FakeClock>,
}

impl House {
    fn new() -> Self {
        Self::on(Server::new())
    }

    fn on(mut server: Server) -> Self {
        let clock = Arc::new(FakeClock::default());
        let presence = Arc::new(Presence::new(true, server.store.clone(), clock.clone(), server.notifier.clone()));
        let (notifier, typing) = (server.notifier.clone(), server.typing.clone());
        let v3 = V3::new(server.store.clone(), notifier, typing, Arc::default(), clock.clone());
        server.v3 = v3.showing(presence.clone());
        Self { server, presence, clock }
    }

    /// `who` is online from the next round on, until this is dropped.
    fn online(&self, who: &Session) -> Option<Syncing> {
        self.presence.syncing(who, None)
    }

    async fn round(&self) {
        self.presence.round().await.unwrap();
    }

    async fn look(&self, of: &Session, since: Option<&str>) -> Value {
        self.server.sync(of, unseen(now(since))).await
    }
}

/// A request that leaves its user as they are.
fn unseen(request: SyncRequest) -> SyncRequest {
    SyncRequest { set_presence: Some(State::Offline), ..request }
}

/// Who is what.
fn shown(answer: &Value) -> Vec<(&str, &str)> {
    let events = answer["presence"]["events"].as_array();
    let mut shown: Vec<_> = events
        .into_iter()
        .flatten()
        .map(|event| (event["sender"].as_str().unwrap(), event["content"]["presence"].as_str().unwrap()))
        .collect();
    shown.sort_unstable();
    shown
}

const ALICE: &str = "@alice:a.example";
const CAROL: &str = "@carol:a.example";

#[tokio::test]
async fn those_who_share_a_room_see_each_other_come_and_go() {
    let house = House::new();
    let server = &house.server;
    let (alice, bob, carol) =
        (server.account("alice").await, server.account("bob").await, server.account("carol").await);
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let (bobs, carols) = (house.look(&bob, None).await, house.look(&carol, None).await);
    let online = house.online(&alice);
    house.round().await;
    let answer = house.look(&bob, Some(token(&bobs))).await;
    let event = &answer["presence"]["events"][0];
    assert_eq!(event["type"], "m.presence");
    assert_eq!(event["content"], json!({ "presence": "online", "last_active_ago": 0, "currently_active": true }));
    assert_eq!(shown(&answer), [(ALICE, "online")]);
    assert_eq!(shown(&house.look(&carol, Some(token(&carols))).await), []);
    assert_eq!(shown(&house.look(&bob, Some(token(&answer))).await), [], "it is told once");
    // The token that led there leads there again.
    assert_eq!(shown(&house.look(&bob, Some(token(&bobs))).await), [(ALICE, "online")]);

    drop(online);
    house.clock.advance(30_000);
    house.round().await;
    let answer = house.look(&bob, Some(token(&answer))).await;
    assert_eq!(shown(&answer), [(ALICE, "offline")]);
    assert_eq!(answer["presence"]["events"][0]["content"], json!({ "presence": "offline", "last_active_ago": 30_000 }));
    assert_eq!(shown(&house.look(&bob, None).await), [], "who is offline is not in a first answer");
}

#[tokio::test]
async fn a_change_ends_a_poll_and_one_of_ones_own_does_not() {
    let house = House::new();
    let server = &house.server;
    let (alice, bob) = (server.account("alice").await, server.account("bob").await);
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = house.look(&bob, None).await;
    let _bob = house.online(&bob);
    let poll = server.poll(&bob, unseen(now(Some(token(&start)))));
    let act = async {
        while server.notifier.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        house.round().await;
        let _alice = house.online(&alice);
        house.round().await;
        _alice
    };
    let (answer, _alice) = tokio::join!(poll, act);
    assert!(shown(&answer).contains(&(ALICE, "online")), "{answer}");
}

#[tokio::test]
async fn whoever_is_ignored_or_filtered_out_is_not_shown() {
    let house = House::new();
    let server = &house.server;
    let (alice, bob, carol) =
        (server.account("alice").await, server.account("bob").await, server.account("carol").await);
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    let start = house.look(&bob, None).await;
    let (_alice, _carol) = (house.online(&alice), house.online(&carol));
    house.round().await;
    for (filter, expected) in [
        (json!({}), vec![(ALICE, "online"), (CAROL, "online")]),
        (json!({ "types": [] }), vec![]),
        (json!({ "not_types": ["m.*"] }), vec![]),
        (json!({ "senders": [ALICE] }), vec![(ALICE, "online")]),
        (json!({ "not_senders": [ALICE] }), vec![(CAROL, "online")]),
        (json!({ "limit": 0 }), vec![]),
    ] {
        for since in [None, Some(token(&start))] {
            let request = unseen(filtered(since, &json!({ "presence": filter })));
            assert_eq!(shown(&server.sync(&bob, request).await), expected, "{filter} {since:?}");
        }
    }
    let one = |since: String| {
        let filter = json!({ "presence": { "limit": 1 } });
        server.sync(&bob, unseen(filtered(Some(&since), &filter)))
    };
    let first = one(token(&start).to_owned()).await;
    let second = one(token(&first).to_owned()).await;
    let both = [shown(&first), shown(&second)].concat();
    assert_eq!(both, [(ALICE, "online"), (CAROL, "online")], "what found no place comes next");
    assert_eq!(shown(&one(token(&second).to_owned()).await), []);

    let list = json!({ "ignored_users": { ALICE: {} } });
    server.account_data(&bob, None, "m.ignored_user_list", list).await;
    assert_eq!(shown(&house.look(&bob, None).await), [(CAROL, "online")]);
    assert_eq!(shown(&house.look(&bob, Some(token(&start))).await), [(CAROL, "online")]);
}

#[tokio::test]
async fn who_comes_into_a_room_sees_who_is_there() {
    let house = House::new();
    let server = &house.server;
    let (alice, bob) = (server.account("alice").await, server.account("bob").await);
    let room = server.room(&alice, "shared").await;
    let _alice = house.online(&alice);
    house.round().await;
    let start = house.look(&bob, None).await;
    assert_eq!(shown(&start), []);
    server.join(&room, &bob).await;
    let answer = house.look(&bob, Some(token(&start))).await;
    assert_eq!(shown(&answer), [(ALICE, "online")]);
    assert_eq!(shown(&house.look(&bob, Some(token(&answer))).await), []);
}

#[tokio::test]
async fn a_poll_right_behind_an_answer_is_quick_again() {
    let house = House::new();
    let server = &house.server;
    let (alice, bob) = (server.account("alice").await, server.account("bob").await);
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let (_alice, _bob) = (house.online(&alice), house.online(&bob));
    house.round().await;
    let answer = house.look(&bob, None).await;
    assert!(house.presence.is_quiet(bob.user, house.presence.serial()));
    assert_eq!(shown(&house.look(&bob, Some(token(&answer))).await), []);
    // Strangers come and go: nothing of it concerns him.
    let stranger = server.account("dan").await;
    let _dan = house.online(&stranger);
    let before = house.presence.serial();
    house.round().await;
    assert!(house.presence.serial() > before && house.presence.is_quiet(bob.user, before));
}

#[tokio::test]
async fn a_client_from_before_a_restart_hears_who_did_not_come_back() {
    let mut house = House::new();
    let (alice, bob) = (house.server.account("alice").await, house.server.account("bob").await);
    let room = house.server.room(&alice, "shared").await;
    house.server.join(&room, &bob).await;
    let online = house.online(&alice);
    house.round().await;
    let answer = house.look(&bob, None).await;
    assert_eq!(shown(&answer), [(ALICE, "online")]);
    let seen_ms = house.presence.now_ms();
    house
        .server
        .write(move |tx| {
            tx.execute(
                "INSERT INTO devices (user, device_id, created_ts, last_seen_ts) VALUES (?1, 'PHONE', 0, ?2)",
                params![alice.user, seen_ms],
            )?;
            Ok(())
        })
        .await;
    drop(online);
    house = House::on(house.server.restarted());
    house.clock.advance(60_000);
    let since = token(&answer).to_owned();
    assert_eq!(shown(&house.look(&bob, Some(&since)).await), []);
    house.presence.resume(house.presence.now_ms()).await.unwrap();
    house.round().await;
    assert_eq!(shown(&house.look(&bob, Some(&since)).await), [(ALICE, "offline")]);
}
