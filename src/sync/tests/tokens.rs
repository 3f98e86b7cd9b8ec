//! Tokens across restarts, restores and long absences.

use super::*;

#[tokio::test]
async fn nothing_is_lost_over_a_restart() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    let quiet = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&alice, now(None)).await;
    let sent = server.say(&room, &bob, "one").await;
    let server = server.restarted();
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    assert_eq!(said(&answer, &room), ["one"]);
    assert_eq!(joined(&answer, &quiet), &Value::Null);
    server.read(&bob, &room, &sent).await;
    let server = server.restarted();
    let answer = server.sync(&alice, now(Some(token(&answer)))).await;
    assert_eq!(joined(&answer, &room)["ephemeral"]["events"][0]["type"], "m.receipt");
    assert_eq!(server.sync(&alice, now(Some(token(&answer)))).await.get("rooms"), None);
}

#[tokio::test]
async fn a_token_of_a_lost_future_gets_everything_at_once_and_limited() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    server.say(&room, &alice, "one").await;
    let (position, incarnation) = (server.store.position(), server.store.incarnation());
    for lost in [format!("s{}_{incarnation}_0_0", position + 1), format!("s1_{}_0_0", incarnation + 1)] {
        let answer = server.poll(&alice, now(Some(&lost))).await;
        assert_eq!(said(&answer, &room), ["one"], "{lost}");
        assert_eq!(joined(&answer, &room)["timeline"]["limited"], true, "{lost}");
    }
    let server = server.restarted();
    server.say(&room, &alice, "two").await;
    // Its position was reached in the meantime, but by another history.
    let answer = server.sync(&alice, now(Some(&format!("s{}_{incarnation}_0_0", position + 1)))).await;
    assert_eq!(said(&answer, &room), ["one", "two"]);
}

#[tokio::test]
async fn a_bad_token_or_filter_is_an_error() {
    let server = Server::new();
    let alice = server.account("alice").await;
    for since in ["", "x", "s1", "t1_2", "s1_1_0_0_0"] {
        let answer = server.try_sync(&alice, now(Some(since))).await;
        assert!(matches!(answer, Err(SyncError::BadToken)), "{since}: {answer:?}");
    }
    let with = |filter: &str| SyncRequest { filter: Some(filter.to_owned()), ..now(None) };
    for filter in ["{", "{\"room\":1}"] {
        assert!(matches!(server.try_sync(&alice, with(filter)).await, Err(SyncError::BadFilter(_))), "{filter}");
    }
    for filter in ["", "7", "abc", "-1"] {
        assert!(matches!(server.try_sync(&alice, with(filter)).await, Err(SyncError::UnknownFilter)), "{filter}");
    }
}

#[tokio::test]
async fn more_rooms_than_are_looked_at_one_by_one() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    server.say(&room, &alice, "one").await;
    // As if many other rooms had changed: the notifier can no longer name them.
    for n in 0..1_000 {
        server.notifier.will_change(ids::RoomNid(1_000_000 + n), server.store.position() + n + 1);
    }
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    assert_eq!(said(&answer, &room), ["one"]);
}
