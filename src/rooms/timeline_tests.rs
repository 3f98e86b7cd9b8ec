//! Pages of history.

use serde_json::{Value, json};

use super::*;
use crate::{
    params,
    rooms::{
        access::Standing,
        append::Appended,
        client_event::{Shape, Viewer},
        reading_fixture::{Fixture, Room, fixture, user},
    },
    store::events,
};

fn asked(direction: Direction, from: Option<PageToken>, limit: usize) -> Asked {
    Asked { from, to: None, direction, limit, filter: RoomEventFilter::default(), pause: None }
}

async fn turn(room: &Room<'_>, viewer: &Viewer, asked: Asked) -> Page {
    room.look(viewer, Shape::ClientWithRoom, move |open| Ok(page(open, &asked)?)).await.unwrap()
}

fn events_of(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn ids(json: &str) -> Vec<String> {
    events_of(json).iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// Turns pages until there are none, at most 50.
async fn leaf(room: &Room<'_>, viewer: &Viewer, mut asked: Asked) -> (Vec<String>, Vec<usize>) {
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        let page = turn(room, viewer, asked.clone()).await;
        let chunk = ids(&page.chunk);
        sizes.push(chunk.len());
        all.extend(chunk);
        match page.end {
            Some(end) => asked.from = Some(end),
            None => return (all, sizes),
        }
    }
    panic!("the pages do not end");
}

fn expected(events: &[Appended]) -> Vec<String> {
    events.iter().map(|event| event.event_id.to_string()).collect()
}

async fn filled<'f>(f: &'f Fixture, messages: usize) -> (Room<'f>, Viewer, Vec<Appended>) {
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    let mut events = room.first.clone();
    for n in 0..messages {
        events.push(room.say("alice", &n.to_string()).await);
    }
    (room, alice, events)
}

#[tokio::test]
async fn every_event_once_in_both_directions() {
    let f = fixture();
    let (room, alice, events) = filled(&f, 26).await;
    let mut all = expected(&events);
    let (forwards, sizes) = leaf(&room, &alice, asked(Direction::Forwards, None, 10)).await;
    assert_eq!((forwards, sizes), (all.clone(), vec![10, 10, 10]));
    all.reverse();
    let (backwards, sizes) = leaf(&room, &alice, asked(Direction::Backwards, None, 7)).await;
    assert_eq!((backwards, sizes), (all, vec![7, 7, 7, 7, 2]));
}

/// A place divides history: backwards from it and forwards from it have nothing in common and lack nothing.
#[tokio::test]
async fn tokens_hold_in_both_directions() {
    let f = fixture();
    let (room, alice, events) = filled(&f, 16).await;
    let all = expected(&events);
    let first = turn(&room, &alice, asked(Direction::Backwards, None, 5)).await;
    let sync = PageToken::Sync(events[9].position);
    for token in [first.end.unwrap(), sync] {
        let (mut before, _) = leaf(&room, &alice, asked(Direction::Backwards, Some(token), 4)).await;
        let (after, _) = leaf(&room, &alice, asked(Direction::Forwards, Some(token), 4)).await;
        assert!(!before.is_empty() && !after.is_empty());
        before.reverse();
        assert_eq!([before, after].concat(), all, "{token}");
    }
}

#[tokio::test]
async fn to_is_not_passed() {
    let f = fixture();
    let (room, alice, events) = filled(&f, 10).await;
    let at = |n: usize| PageToken::Sync(events[n].position);
    let place = |event: &Appended| {
        let nid = event.nid;
        f.store.read::<_, StoreError, _>(move |read| {
            let (depth, position) = events::by_nid(read, nid)?.topological();
            Ok(PageToken::Topological { depth, position })
        })
    };
    let topological = [place(&events[3]).await.unwrap(), place(&events[8]).await.unwrap()];
    for [low, high] in [[at(3), at(8)], topological, [topological[0], at(8)], [at(3), topological[1]]] {
        let mut back = asked(Direction::Backwards, Some(high), 100);
        back.to = Some(low);
        let mut forth = asked(Direction::Forwards, Some(low), 100);
        forth.to = Some(high);
        let mut between = expected(&events[4..=8]);
        assert_eq!(leaf(&room, &alice, forth).await.0, between, "{low} to {high}");
        between.reverse();
        assert_eq!(leaf(&room, &alice, back).await.0, between, "{high} to {low}");
    }
}

/// An event that came late with a low depth is neither missed after a token of /sync nor repeated before it.
#[tokio::test]
async fn late_events_of_another_branch() {
    let f = fixture();
    let (room, alice, events) = filled(&f, 8).await;
    let late = events.last().unwrap().clone();
    f.store
        .write::<_, StoreError, _>(move |tx| {
            tx.execute("UPDATE events SET depth = 6 WHERE nid = ?1", params![late.nid])
        })
        .await
        .unwrap();
    let last = events.len() - 1;
    let token = Some(PageToken::Sync(events[last - 1].position));
    let (after, _) = leaf(&room, &alice, asked(Direction::Forwards, token, 5)).await;
    assert_eq!(after, expected(&events[last..]));
    let page = turn(&room, &alice, asked(Direction::Backwards, token, 100)).await;
    let mut before = expected(&events[..last]);
    before.reverse();
    assert_eq!(ids(&page.chunk), before);
    // In history it stands at its depth.
    let (all, _) = leaf(&room, &alice, asked(Direction::Forwards, None, 100)).await;
    let mut topological = expected(&events[..last]);
    topological.insert(6, events[last].event_id.to_string());
    assert_eq!(all, topological);
}

#[tokio::test]
async fn filters() {
    let f = fixture();
    let (room, alice, _) = filled(&f, 3).await;
    room.member("bob", "bob", "join").await;
    let bobs = room.say("bob", "b").await;
    let picture = room.send("alice", "m.room.message", json!({ "url": "mxc://a/b" })).await;
    let filtered =
        |filter: &str| Asked { filter: serde_json::from_str(filter).unwrap(), ..asked(Direction::Forwards, None, 2) };
    let (found, _) =
        leaf(&room, &alice, filtered(r#"{"senders":["@bob:a.example"],"types":["m.room.message"]}"#)).await;
    assert_eq!(found, expected(&[bobs]));
    let (found, _) = leaf(&room, &alice, filtered(r#"{"contains_url":true}"#)).await;
    assert_eq!(found, expected(&[picture]));
    let (found, sizes) = leaf(&room, &alice, filtered(r#"{"not_types":["m.room.message"]}"#)).await;
    assert_eq!((found.len(), sizes.iter().all(|size| *size <= 2)), (5, true));
    let (found, _) = leaf(&room, &alice, filtered(r#"{"not_rooms":["!x:y"],"rooms":["!x:y"]}"#)).await;
    assert_eq!(found.len(), 0);
}

#[tokio::test]
async fn lazily_loaded_members() {
    let f = fixture();
    let (room, alice, _) = filled(&f, 1).await;
    for name in ["bob", "carol"] {
        room.member(name, name, "join").await;
    }
    room.say("bob", "1").await;
    let mut lazy = asked(Direction::Backwards, None, 2);
    assert_eq!(turn(&room, &alice, lazy.clone()).await.state, None);
    lazy.filter.lazy_load_members = true;
    lazy.limit = 1;
    let page = turn(&room, &alice, lazy).await;
    let state = events_of(&page.state.unwrap());
    assert_eq!(state.iter().map(|event| &event["state_key"]).collect::<Vec<_>>(), ["@bob:a.example"]);
}

#[tokio::test]
async fn somebody_who_left_reads_up_to_there() {
    let f = fixture();
    let (room, _, mut events) = filled(&f, 3).await;
    let bob = f.viewer("bob").await;
    events.push(room.member("bob", "bob", "join").await);
    events.push(room.say("alice", "with bob").await);
    events.push(room.member("bob", "bob", "leave").await);
    let after = room.say("alice", "without bob").await;
    let mut all = expected(&events);
    let (forwards, _) = leaf(&room, &bob, asked(Direction::Forwards, None, 4)).await;
    assert_eq!(forwards, all);
    all.reverse();
    for from in [None, Some(PageToken::Sync(after.position)), Some(PageToken::Sync(i64::MAX))] {
        assert_eq!(leaf(&room, &bob, asked(Direction::Backwards, from, 4)).await.0, all);
    }
    let standing = room.look(&bob, Shape::Client, |open| Ok(open.standing)).await.unwrap();
    let at = events.last().unwrap().position;
    assert_eq!(standing, Standing::Left { at, world_readable: false });
}

#[tokio::test]
async fn who_may_read_a_room_at_all() {
    let f = fixture();
    let room = f.room("12", Some("shared")).await;
    let (alice, bob) = (f.viewer("alice").await, f.viewer("bob").await);
    let key = room.key.nid;
    let standing = |viewer: &Viewer| {
        let viewer = viewer.clone();
        let room = &room;
        async move { room.look(&viewer, Shape::Client, |open| Ok(open.standing)).await.ok() }
    };
    assert_eq!(standing(&alice).await, Some(Standing::Joined));
    assert_eq!(standing(&bob).await, None, "a stranger");
    room.member("alice", "bob", "invite").await;
    assert_eq!(standing(&bob).await, None, "invited");
    room.member("bob", "bob", "leave").await;
    assert_eq!(standing(&bob).await, None, "refused the invitation");
    room.member("bob", "bob", "join").await;
    assert_eq!(standing(&bob).await, Some(Standing::Joined));
    room.member("alice", "bob", "ban").await;
    assert!(matches!(standing(&bob).await, Some(Standing::Left { .. })), "banned");
    let nid = bob.user;
    f.store
        .write::<_, StoreError, _>(move |tx| {
            let position = tx.next_position();
            crate::store::members::forget(tx, nid, key, position)
        })
        .await
        .unwrap();
    assert_eq!(standing(&bob).await, None, "forgot the room");
    room.set("alice", "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" })).await;
    assert_eq!(standing(&bob).await, Some(Standing::Peeking));
    let unknown = f
        .store
        .read(move |read| OpenRoom::open(read, ruma::room_id!("!no:a.example"), Shape::Client, &alice).map(|_| ()))
        .await;
    assert!(matches!(unknown, Err(ReadError::NoPart)));
}

#[tokio::test]
async fn ignored_users_messages_are_left_out() {
    let f = fixture();
    let (room, alice, mut events) = filled(&f, 1).await;
    events.push(room.member("bob", "bob", "join").await);
    room.say("bob", "unheard").await;
    events.push(room.say("alice", "heard").await);
    let list = json!({ "ignored_users": { user("bob").as_str(): {} } }).to_string();
    let nid = alice.user;
    f.store
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "INSERT INTO account_data (user, room, type, content, position) \
                 VALUES (?1, 0, 'm.ignored_user_list', ?2, 1)",
                params![nid, &list],
            )
        })
        .await
        .unwrap();
    let (found, _) = leaf(&room, &alice, asked(Direction::Forwards, None, 50)).await;
    assert_eq!(found, expected(&events));
}

#[tokio::test]
async fn context_has_both_sides_and_the_state_there() {
    let f = fixture();
    let (room, alice, mut events) = filled(&f, 4).await;
    let target = events.last().unwrap().clone();
    events.push(room.set("alice", "m.room.topic", "", json!({ "topic": "then" })).await);
    events.push(room.say("alice", "after").await);
    events.push(room.set("alice", "m.room.topic", "", json!({ "topic": "later" })).await);
    let middle = events.iter().position(|event| event.nid == target.nid).unwrap();
    let look = |limit: usize, filter: &str| {
        let (id, filter) = (target.event_id.clone(), serde_json::from_str(filter).unwrap());
        room.look(&alice, Shape::ClientWithRoom, move |open| context(open, &id, limit, &filter))
    };
    let found = look(4, "{}").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&found.event).unwrap()["event_id"], target.event_id.as_str());
    let mut before = expected(&events[middle - 2..middle]);
    before.reverse();
    assert_eq!(ids(&found.before), before);
    assert_eq!(ids(&found.after), expected(&events[middle + 1..middle + 3]));
    let topic = |state: &str| {
        let topic = events_of(state).into_iter().find(|event| event["type"] == "m.room.topic");
        topic.map(|event| event["content"]["topic"].as_str().unwrap().to_owned())
    };
    assert_eq!(topic(&found.state).as_deref(), Some("then"));
    // Its tokens go on where it ends.
    let (back, _) = leaf(&room, &alice, asked(Direction::Backwards, Some(found.start), 10)).await;
    let mut older = expected(&events[..middle - 2]);
    older.reverse();
    assert_eq!(back, older);
    let (forth, _) = leaf(&room, &alice, asked(Direction::Forwards, Some(found.end), 10)).await;
    assert_eq!(forth, expected(&events[middle + 3..]));
    let alone = look(0, "{}").await.unwrap();
    assert_eq!((alone.before.as_str(), alone.after.as_str()), ("[]", "[]"));
    assert_eq!(topic(&alone.state), None);
    // A filter does not concern the event itself.
    let filtered = look(10, r#"{"types":["m.room.topic"]}"#).await.unwrap();
    assert!(filtered.event.contains("m.room.message"));
    assert_eq!(ids(&filtered.after).len(), 2);
    assert_eq!(events_of(&filtered.state).len(), 1);
}

#[tokio::test]
async fn an_invisible_event_is_not_found() {
    let f = fixture();
    let room = f.room("12", Some("joined")).await;
    let other = f.room("12", None).await;
    let bob = f.viewer("bob").await;
    let before = room.say("alice", "before").await;
    room.member("bob", "bob", "join").await;
    let elsewhere = other.say("alice", "elsewhere").await;
    for event in [before, elsewhere] {
        let id = event.event_id.clone();
        let found = room.look(&bob, Shape::Client, move |open| visible(open, &id).map(|_| ())).await;
        assert!(matches!(found, Err(ReadError::NotFound(_))));
    }
}

#[tokio::test]
async fn the_event_nearest_to_a_time() {
    let f = fixture();
    let (room, alice, events) = filled(&f, 5).await;
    let times = {
        let nids: Vec<_> = events.iter().map(|event| event.nid).collect();
        f.store
            .read::<_, StoreError, _>(move |read| {
                nids.into_iter().map(|nid| Ok(events::by_nid(read, nid)?.origin_ts)).collect::<Result<Vec<_>, _>>()
            })
            .await
            .unwrap()
    };
    let near = |ts: i64, direction: Direction| {
        room.look(&alice, Shape::Client, move |open| {
            at_timestamp(open, ts, direction)?.event.map(|event| event.event_id).ok_or(ReadError::NotFound("Event"))
        })
    };
    let (n, ts) = (events.len() - 2, times[events.len() - 2]);
    assert_eq!(near(ts, Direction::Forwards).await.unwrap(), events[n].event_id);
    assert_eq!(near(ts + 1, Direction::Forwards).await.unwrap(), events[n + 1].event_id);
    assert_eq!(near(ts - 1, Direction::Backwards).await.unwrap(), events[n - 1].event_id);
    let last = *times.last().unwrap();
    assert!(matches!(near(last + 1, Direction::Forwards).await, Err(ReadError::NotFound(_))));
    assert!(matches!(near(times[0] - 1, Direction::Backwards).await, Err(ReadError::NotFound(_))));
}

/// Where history is closed to the viewer, pages stay short but end.
#[tokio::test]
async fn closed_history_ends() {
    let f = fixture();
    let room = f.room("12", Some("joined")).await;
    let bob = f.viewer("bob").await;
    for n in 0..40 {
        room.say("alice", &n.to_string()).await;
    }
    let mut open_to_bob = room.first.clone();
    open_to_bob.extend([room.member("bob", "bob", "join").await, room.say("alice", "hi").await]);
    // For all that stands before and at the setting of the history visibility, `shared` holds.
    let mut expected = expected(&open_to_bob);
    expected.reverse();
    assert_eq!(leaf(&room, &bob, asked(Direction::Backwards, None, 10)).await.0, expected);
}

/// A view that counts statements.
struct Counting<'a> {
    read: &'a dyn Read,
    statements: std::cell::Cell<usize>,
}

impl Read for Counting<'_> {
    fn position(&self) -> i64 {
        self.read.position()
    }

    fn ids(&self) -> &ids::Ids {
        self.read.ids()
    }

    fn uncommitted(&self) -> bool {
        self.read.uncommitted()
    }

    fn each(
        &self,
        sql: &'static str,
        params: &[crate::store::Param<'_>],
        each: &mut dyn FnMut(&crate::store::Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.statements.set(self.statements.get() + 1);
        self.read.each(sql, params, each)
    }
}

/// What a page costs must not grow with its events: plain messages need no look-up each.
#[tokio::test]
async fn a_page_of_messages_is_one_statement_and_a_few() {
    let f = fixture();
    let (room, alice, _) = filled(&f, 120).await;
    let room_id = room.key.room_id.clone();
    let (count, statements) = f
        .store
        .read::<_, ReadError, _>(move |read| {
            let turn = |limit| {
                let counting = Counting { read, statements: 0.into() };
                let mut open = OpenRoom::open(&counting, &room_id, Shape::ClientWithRoom, &alice)?;
                let page = page(&mut open, &asked(Direction::Backwards, None, limit))?;
                Ok::<_, ReadError>((events_of(&page.chunk).len(), counting.statements.get()))
            };
            // The first fills the cache of names.
            turn(100)?;
            turn(100)
        })
        .await
        .unwrap();
    assert_eq!(count, 100);
    // Membership; history of the two keys with their lines and one body each; the ignored; the page.
    assert!(statements <= 8, "{statements} statements");
}
