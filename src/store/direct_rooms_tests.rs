//! Which direct room of two users counts.

use ruma::{OwnedRoomId, UserId};

use super::*;
use crate::store::{Store, ids::EventNid, members::MemberRow, rooms::RoomHeadRow};
use Membership::{Ban, Invite, Join, Leave};

struct House {
    store: Store,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        Self { store, _folder: folder }
    }

    async fn user(&self, name: &str) -> UserNid {
        let id = UserId::parse(format!("@{name}:a.example")).unwrap();
        self.store.write::<_, StoreError, _>(move |tx| ids::intern_user(tx, &id)).await.unwrap()
    }

    /// A direct room of version 12 with this name for its hash; the first two of the members are its pair.
    async fn room(&self, hash: &str, members: &[(UserNid, Membership)]) -> RoomNid {
        let room_id = OwnedRoomId::try_from(format!("!{hash:A<43}")).unwrap();
        let room = self.store.write::<_, StoreError, _>(move |tx| rooms::create(tx, &room_id, "12")).await.unwrap().0;
        self.set(room, members).await;
        let (one, other) = (members[0].0, members[1].0);
        self.store.write::<_, StoreError, _>(move |tx| note(tx, room, one, other)).await.unwrap();
        room
    }

    async fn set(&self, room: RoomNid, members: &[(UserNid, Membership)]) {
        let members = members.to_vec();
        self.store
            .write::<_, StoreError, _>(move |tx| {
                let count = |wanted| members.iter().filter(|(_, is)| *is == wanted).count() as i64;
                let head = RoomHeadRow {
                    last_position: 1,
                    message_position: 1,
                    state_position: 1,
                    state_hash: 0,
                    joined: count(Join),
                    invited: count(Invite),
                    local_joined: count(Join),
                };
                rooms::put_head(tx, room, &head)?;
                for (user, membership) in members {
                    let (event, position, since, forgotten) = (EventNid(1), 1, 1, false);
                    members::put(tx, &MemberRow { user, room, membership, event, position, since, forgotten })?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }

    async fn between(&self, one: UserNid, other: UserNid) -> Option<RoomNid> {
        self.store
            .read::<_, StoreError, _>(move |read| {
                let found = between(read, one, other)?;
                assert_eq!(found, between(read, other, one)?, "both sides find the same");
                Ok(found)
            })
            .await
            .unwrap()
    }

    async fn peer(&self, room: RoomNid, user: UserNid) -> Option<UserNid> {
        self.store.read::<_, StoreError, _>(move |read| peer(read, room, user)).await.unwrap()
    }
}

#[tokio::test]
async fn the_room_with_the_smaller_id_stays_among_equals() {
    let house = House::new();
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    assert_eq!(house.between(alice, bob).await, None);
    let larger = house.room("b", &[(alice, Join), (bob, Invite)]).await;
    assert_eq!(house.between(alice, bob).await, Some(larger));
    let smaller = house.room("a", &[(bob, Join), (alice, Invite)]).await;
    assert_eq!(house.between(alice, bob).await, Some(smaller));
    // But where both are in comes first.
    house.set(larger, &[(alice, Join), (bob, Join)]).await;
    assert_eq!(house.between(alice, bob).await, Some(larger));
    house.set(larger, &[(alice, Join), (bob, Leave)]).await;
    assert_eq!(house.between(alice, bob).await, Some(smaller));
    house.set(smaller, &[(bob, Leave), (alice, Leave)]).await;
    assert_eq!(house.between(alice, bob).await, Some(larger));
    house.set(larger, &[(alice, Leave), (bob, Ban)]).await;
    assert_eq!(house.between(alice, bob).await, Some(smaller), "history is found, too");
}

#[tokio::test]
async fn a_third_one_makes_it_a_group_for_as_long_as_they_are_there() {
    let house = House::new();
    let (alice, bob, carol) = (house.user("alice").await, house.user("bob").await, house.user("carol").await);
    let room = house.room("a", &[(alice, Join), (bob, Join)]).await;
    assert_eq!(house.peer(room, alice).await, Some(bob));
    assert_eq!(house.peer(room, bob).await, Some(alice));
    assert_eq!(house.peer(room, carol).await, None);
    house.set(room, &[(alice, Join), (bob, Join), (carol, Invite)]).await;
    assert_eq!((house.peer(room, alice).await, house.between(alice, bob).await), (None, None));
    house.set(room, &[(alice, Join), (bob, Join), (carol, Leave)]).await;
    assert_eq!((house.peer(room, alice).await, house.between(alice, bob).await), (Some(bob), Some(room)));
}

#[tokio::test]
async fn a_room_stays_that_of_its_pair_until_one_is_gone() {
    let house = House::new();
    let (alice, bob, carol) = (house.user("alice").await, house.user("bob").await, house.user("carol").await);
    let room = house.room("a", &[(alice, Join), (bob, Invite)]).await;
    let noted = || house.store.write::<_, StoreError, _>(move |tx| note(tx, room, alice, carol));
    noted().await.unwrap();
    assert_eq!(house.peer(room, alice).await, Some(bob));
    house.set(room, &[(alice, Join), (bob, Leave)]).await;
    noted().await.unwrap();
    assert_eq!((house.peer(room, alice).await, house.peer(room, bob).await), (Some(carol), None));
    // Nobody has a direct room with themselves.
    house.store.write::<_, StoreError, _>(move |tx| note(tx, room, alice, alice)).await.unwrap();
    assert_eq!(house.peer(room, alice).await, Some(carol));
}

#[tokio::test]
async fn an_invitation_from_a_room_that_is_elsewhere_is_one() {
    let house = House::new();
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let room = house.room("a", &[(alice, Invite), (bob, Leave)]).await;
    house.store.write::<_, StoreError, _>(move |tx| members::delete(tx, bob, room)).await.unwrap();
    let found = house.store.read::<_, StoreError, _>(move |read| canonical(read, alice, bob)).await.unwrap();
    assert_eq!(found, Some(DirectRoom { room, own: Some(Invite), other: None }));
}
