//! The table of «Room History Visibility»: four visibilities by the stations of a member's life.

use ruma::OwnedEventId;
use serde_json::json;

use super::*;
use crate::rooms::{
    append::Appended,
    client_event::Viewer,
    reading_fixture::{Fixture, Room, fixture},
};

async fn sees(f: &Fixture, room: &Room<'_>, viewer: &Viewer, events: &[&Appended]) -> String {
    let ids: Vec<OwnedEventId> = events.iter().map(|event| event.event_id.clone()).collect();
    let (key, user) = (room.key.clone(), viewer.user);
    f.store
        .read::<_, StoreError, _>(move |read| {
            let mut visibility = Visibility::new(read, &key, user)?;
            let mut seen = String::new();
            for id in &ids {
                let row = events::by_id(read, id)?.unwrap();
                seen.push(if visibility.allows(read, &row)? { 'x' } else { '.' });
            }
            Ok(seen)
        })
        .await
        .unwrap()
}

/// What bob sees of messages sent while he was: a stranger, invited, joined, gone, joined again. At each station of his
/// life, for each visibility.
#[tokio::test]
async fn the_table() {
    // (visibility, as a stranger, invited, joined, gone, joined again)
    let table = [
        ("world_readable", ["x", "xx", "xxx", "xxxx", "xxxxx"]),
        ("shared", [".", "..", "xxx", "xxx.", "xxxxx"]),
        ("invited", [".", ".x", ".xx", ".xx.", ".xx.x"]),
        ("joined", [".", "..", "..x", "..x.", "..x.x"]),
    ];
    for (value, expected) in table {
        let f = fixture();
        let room = f.room("12", Some(value)).await;
        let bob = f.viewer("bob").await;
        let mut said = Vec::new();
        let stations =
            [None, Some(("alice", "invite")), Some(("bob", "join")), Some(("bob", "leave")), Some(("bob", "join"))];
        for (station, expected) in stations.into_iter().zip(expected) {
            if let Some((by, membership)) = station {
                room.member(by, "bob", membership).await;
            }
            said.push(room.say("alice", "x").await);
            let said: Vec<&Appended> = said.iter().collect();
            assert_eq!(sees(&f, &room, &bob, &said).await, expected, "{value} at {station:?}");
        }
    }
}

/// Kicked and banned users see what they saw before, and their own removal; nothing later.
#[tokio::test]
async fn removal_ends_it() {
    for (value, expected) in [("shared", "xxx.."), ("invited", ".xx.."), ("joined", ".xx..")] {
        let f = fixture();
        let room = f.room("12", Some(value)).await;
        let bob = f.viewer("bob").await;
        let before = room.say("alice", "1").await;
        room.member("bob", "bob", "join").await;
        let during = room.say("alice", "2").await;
        let kick = room.member("alice", "bob", "leave").await;
        let after = room.say("alice", "3").await;
        let ban = room.member("alice", "bob", "ban").await;
        assert_eq!(sees(&f, &room, &bob, &[&before, &during, &kick, &after, &ban]).await, expected, "{value}");
    }
}

/// A user's own member events: the membership before or after counts.
#[tokio::test]
async fn own_member_events() {
    for (value, expected) in [("invited", "xxx"), ("joined", ".xx")] {
        let f = fixture();
        let room = f.room("12", Some(value)).await;
        let bob = f.viewer("bob").await;
        let invite = room.member("alice", "bob", "invite").await;
        let join = room.member("bob", "bob", "join").await;
        let leave = room.member("bob", "bob", "leave").await;
        assert_eq!(sees(&f, &room, &bob, &[&invite, &join, &leave]).await, expected, "{value}");
        // The same events are nothing to somebody else.
        let carol = f.viewer("carol").await;
        assert_eq!(sees(&f, &room, &carol, &[&invite, &join, &leave]).await, "...", "{value}");
    }
}

/// Changes of the history visibility itself: the value before or after counts.
#[tokio::test]
async fn history_visibility_events() {
    let f = fixture();
    let room = f.room("12", Some("joined")).await;
    let stranger = f.viewer("bob").await;
    let mut changes = Vec::new();
    for value in ["shared", "world_readable", "joined", "invited"] {
        changes.push(room.set("alice", "m.room.history_visibility", "", json!({ "history_visibility": value })).await);
    }
    let changes: Vec<&Appended> = changes.iter().collect();
    assert_eq!(sees(&f, &room, &stranger, &changes).await, ".xx.");
}

/// The value at the event counts, not the present one.
#[tokio::test]
async fn later_changes_do_not_reach_back() {
    let f = fixture();
    let room = f.room("12", Some("joined")).await;
    let bob = f.viewer("bob").await;
    let hidden = room.say("alice", "1").await;
    room.set("alice", "m.room.history_visibility", "", json!({ "history_visibility": "shared" })).await;
    let open = room.say("alice", "2").await;
    room.set("alice", "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
    room.member("bob", "bob", "join").await;
    assert_eq!(sees(&f, &room, &bob, &[&hidden, &open]).await, ".x");
}

/// No event, a value that is not understood, and an event without a value mean `shared`.
#[tokio::test]
async fn shared_is_the_default() {
    let f = fixture();
    let room = f.room("12", None).await;
    let bob = f.viewer("bob").await;
    let first = room.say("alice", "1").await;
    for odd in [json!({ "history_visibility": "public" }), json!({ "history_visibility": 7 }), json!({})] {
        room.set("alice", "m.room.history_visibility", "", odd).await;
        let next = room.say("alice", "2").await;
        assert_eq!(sees(&f, &room, &bob, &[&first, &next]).await, "..");
    }
    let last = room.say("alice", "3").await;
    room.member("bob", "bob", "join").await;
    assert_eq!(sees(&f, &room, &bob, &[&first, &last]).await, "xx");
}

/// Outliers, rejected and soft-failed events are nobody's.
#[tokio::test]
async fn hidden_events_are_never_shown() {
    let f = fixture();
    let room = f.room("12", Some("world_readable")).await;
    let alice = f.viewer("alice").await;
    let event = room.say("alice", "1").await;
    let key = room.key.clone();
    let shown = f
        .store
        .read::<_, StoreError, _>(move |read| {
            let mut visibility = Visibility::new(read, &key, alice.user)?;
            let row = events::by_nid(read, event.nid)?;
            let mut shown = vec![visibility.allows(read, &row)?];
            for bit in [flag::OUTLIER, flag::REJECTED, flag::SOFT_FAILED] {
                shown.push(visibility.allows(read, &EventRow { flags: row.flags | bit, ..row.clone() })?);
            }
            shown.push(visibility.allows(read, &EventRow { before: None, ..row })?);
            Ok(shown)
        })
        .await
        .unwrap();
    assert_eq!(shown, [true, false, false, false, false]);
}

/// The membership at an event, with the change that it makes.
#[tokio::test]
async fn membership_at_an_event() {
    let f = fixture();
    let room = f.room("12", None).await;
    let bob = f.viewer("bob").await;
    let events = [
        room.say("alice", "1").await,
        room.member("alice", "bob", "invite").await,
        room.say("alice", "2").await,
        room.member("bob", "bob", "join").await,
        room.member("alice", "bob", "ban").await,
    ];
    let key = room.key.clone();
    let found = f
        .store
        .read::<_, StoreError, _>(move |read| {
            let mut visibility = Visibility::new(read, &key, bob.user)?;
            events
                .iter()
                .map(|event| visibility.membership(read, &events::by_nid(read, event.nid)?))
                .collect::<Result<Vec<_>, _>>()
        })
        .await
        .unwrap();
    use Membership::{Ban, Invite, Join, Leave};
    assert_eq!(found, [Leave, Invite, Invite, Join, Ban]);
}

/// On a fork its own values count; what it lacks is looked up where it starts.
#[tokio::test]
async fn forks() {
    let f = fixture();
    let room = f.room("12", Some("joined")).await;
    let bob = f.viewer("bob").await;
    let base = room.say("alice", "1").await;
    room.member("bob", "bob", "join").await;
    let open =
        room.set("alice", "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" })).await;
    let (key, open) = (room.key.clone(), open.nid);
    let shown = f
        .store
        .write::<_, StoreError, _>(move |tx| {
            let row = events::by_nid(tx, base.nid)?;
            let fork = state::open_line(tx, key.nid, row.before)?;
            let visibility = ids::state_key_nid(tx, "m.room.history_visibility", "")?.unwrap();
            let changed = StateRef { line: fork, epoch: 2000 };
            state::put(tx, changed, visibility, Some(open))?;
            let removed = StateRef { line: fork, epoch: 3000 };
            state::put(tx, removed, visibility, None)?;
            let mut judge = Visibility::new(tx, &key, bob.user)?;
            let mut shown = Vec::new();
            for epoch in [1999, 2000, 2999, 3000] {
                let before = Some(StateRef { line: fork, epoch });
                shown.push(judge.allows(tx, &EventRow { before, ..row.clone() })?);
            }
            Ok(shown)
        })
        .await
        .unwrap();
    // joined and bob was not; world_readable; world_readable; none, hence shared, and bob has joined since.
    assert_eq!(shown, [false, true, true, true]);
}
