//! Direct rooms, found and made, on a whole server in this process.

use std::{net::SocketAddr, sync::Arc};

use axum::{body::Body, extract::ConnectInfo, http::Request};
use http_body_util::BodyExt as _;
use ruma::UserId;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Contacts, Crossings, Direct, OpenError, Requested, friends};
use crate::{
    accounts::{
        Session, UserSettings,
        tests::{FakeClock, FakeRandom, server},
    },
    app,
    config::Config,
    numbers::User,
    ops::data_dir,
    rooms::{create::CreateRequest, presets::Preset},
    store::{
        StoreError, friend_requests,
        friend_requests::{Answer, FriendRequest},
        ids, members,
        members::Membership,
    },
};

struct House {
    app: app::App,
    contacts: Arc<Contacts>,
    _folder: tempfile::TempDir,
}

fn user(session: &Session) -> User {
    User { nid: session.user, user_id: session.user_id.clone() }
}

impl House {
    async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(server(), folder.path().to_owned());
        config.rate_limits.enabled = false;
        config.federation.enabled = false;
        config.registration.open = true;
        configure(&mut config);
        let lock = data_dir::hold(&config.data_dir).unwrap();
        let (clock, random) = (Arc::new(FakeClock::default()), Arc::new(FakeRandom::default()));
        let app = app::App::start_with(Arc::new(config), lock, clock, random).await.unwrap();
        Self { contacts: app.linkim().contacts().clone(), app, _folder: folder }
    }

    async fn account(&self, name: &str) -> Session {
        let body = json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } });
        let request = Request::post("/_matrix/client/v3/register")
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))))
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.app.router().oneshot(request).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        self.app.state().sessions.authenticate(body["access_token"].as_str().unwrap()).await.unwrap()
    }

    async fn set(&self, of: &Session, kind: &str, content: Value) {
        let data = self.app.state().account_data.clone();
        data.set(of.user, None, kind.to_owned(), content.to_string()).await.unwrap();
    }

    async fn membership(&self, direct: &Direct, of: &Session) -> Option<Membership> {
        let (room, user) = (direct.room.nid, of.user);
        let read = self.app.store().read::<_, StoreError, _>(move |read| members::of(read, user, room));
        read.await.unwrap().map(|member| member.membership)
    }

    async fn has_friend(&self, of: &Session, friend: &UserId) -> bool {
        let (user, friend) = (of.user, friend.to_owned());
        let read = self.app.store().read::<_, StoreError, _>(move |read| friends::has(read, user, &friend));
        read.await.unwrap()
    }

    /// A room that a Matrix client makes for two.
    async fn second_room(&self, by: &Session, with: &Session) -> Direct {
        let request = CreateRequest {
            preset: Some(Preset::TrustedPrivateChat),
            invite: vec![with.user_id.clone()],
            is_direct: true,
            ..CreateRequest::default()
        };
        let room = self.app.state().room_creation.create(&by.user_id, request).await.unwrap();
        let room = self.app.store().read::<_, StoreError, _>(move |read| ids::room(read, &room)).await.unwrap();
        Direct { room: room.unwrap(), joined: false }
    }

    async fn is_asked(&self, by: &Session, whom: &Session) -> bool {
        let (by, whom) = (by.user, whom.user);
        let read = self.app.store().read::<_, StoreError, _>(move |read| friend_requests::get(read, by, whom));
        read.await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_stranger_of_this_server_is_joined_and_is_no_friend() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let direct = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    assert!(direct.joined);
    assert_eq!(house.membership(&direct, &bob).await, Some(Membership::Join));
    assert!(!house.has_friend(&alice, &bob.user_id).await && !house.has_friend(&bob, &alice.user_id).await);
    assert!(!house.is_asked(&alice, &bob).await);
    // The other one finds the same, and nobody has one with themselves.
    let same = house.contacts.open_direct(&bob, &user(&alice), "").await.unwrap();
    assert_eq!((same.room.nid, same.joined), (direct.room.nid, true));
    let own = house.contacts.open_direct(&alice, &user(&alice), "").await;
    assert!(matches!(own, Err(OpenError::Oneself)), "{own:?}");
    // Who talks already becomes a friend in the same room.
    assert_eq!(house.contacts.request(&alice, &user(&bob), "").await.unwrap(), Requested::Pending);
    house.contacts.accept(&bob, &user(&alice)).await.unwrap();
    assert!(house.has_friend(&alice, &bob.user_id).await && house.has_friend(&bob, &alice.user_id).await);
}

#[tokio::test]
async fn many_at_once_find_one_room() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let (to_bob, to_alice) = (user(&bob), user(&alice));
    let open = |by: &Session, peer: &User| {
        let (contacts, by, peer) = (house.contacts.clone(), by.clone(), peer.clone());
        async move { contacts.open_direct(&by, &peer, "").await.unwrap().room.nid }
    };
    let rooms =
        tokio::join!(open(&alice, &to_bob), open(&bob, &to_alice), open(&alice, &to_bob), open(&bob, &to_alice));
    assert!(rooms.0 == rooms.1 && rooms.1 == rooms.2 && rooms.2 == rooms.3, "{rooms:?}");
}

#[tokio::test]
async fn who_has_been_asked_is_not_joined_by_a_message() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.contacts.request(&alice, &user(&bob), "hello").await.unwrap();
    let waits = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    assert!(!waits.joined);
    assert_eq!(house.membership(&waits, &bob).await, Some(Membership::Invite));
    // Whoever writes back accepts.
    let answered = house.contacts.open_direct(&bob, &user(&alice), "").await.unwrap();
    assert_eq!((answered.room.nid, answered.joined), (waits.room.nid, true));
    assert!(house.has_friend(&alice, &bob.user_id).await);
}

#[tokio::test]
async fn who_has_left_is_asked_to_come_back() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let direct = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    house.app.state().leaving.leave(&bob, &direct.room.room_id, None).await.unwrap();
    let again = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    assert_eq!((again.room.nid, again.joined), (direct.room.nid, false));
    assert_eq!(house.membership(&again, &bob).await, Some(Membership::Invite));
}

#[tokio::test]
async fn who_is_blocked_or_a_stranger_opens_nothing() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.set(&bob, UserSettings::TYPE, json!({ "strangers_may_add": false })).await;
    let refused = house.contacts.open_direct(&alice, &user(&bob), "").await;
    assert!(matches!(refused, Err(OpenError::RefusesStrangers)), "{refused:?}");
    let ignored = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    house.set(&bob, "m.ignored_user_list", ignored).await;
    let refused = house.contacts.open_direct(&alice, &user(&bob), "").await;
    assert!(matches!(refused, Err(OpenError::Blocked)), "{refused:?}");
}

#[tokio::test]
async fn a_block_that_is_not_revealed_leaves_the_room_to_the_sender() {
    let house = House::with(|config| config.linkim.reveal_block = false).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let ignored = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    house.set(&bob, "m.ignored_user_list", ignored).await;
    let direct = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    assert!(!direct.joined);
    assert_eq!(house.membership(&direct, &alice).await, Some(Membership::Join));
}

#[tokio::test]
async fn only_friends_open_a_room_where_the_configuration_says_so() {
    let house = House::with(|config| config.linkim.friend_verify = true).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let refused = house.contacts.open_direct(&alice, &user(&bob), "").await;
    assert!(matches!(refused, Err(OpenError::NotFriends)), "{refused:?}");
    house.contacts.request(&alice, &user(&bob), "").await.unwrap();
    house.contacts.accept(&bob, &user(&alice)).await.unwrap();
    assert!(house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap().joined);
}

#[tokio::test]
async fn a_room_that_a_crash_left_over_is_given_up_at_the_start() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.contacts.request(&alice, &user(&bob), "").await.unwrap();
    house.contacts.accept(&bob, &user(&alice)).await.unwrap();
    let stays = house.contacts.open_direct(&alice, &user(&bob), "").await.unwrap();
    let (goes, other) = (house.second_room(&bob, &alice).await, house.second_room(&bob, &alice).await);
    // Bob's request had crossed Alice's and was accepted with it; then the process ended.
    let (requester, addressee, room) = (bob.user, alice.user, goes.room.nid);
    house
        .app
        .store()
        .write::<_, StoreError, _>(move |tx| {
            let (answer, text, position) = (Answer::Accepted, String::new(), tx.next_position());
            let request = FriendRequest { requester, addressee, room, answer, text, created_ts: 0, position };
            friend_requests::put(tx, &request)
        })
        .await
        .unwrap();
    let crossings = Arc::<Crossings>::default();
    house.contacts.find_unsettled(&crossings).await;
    house.contacts.settle_waiting(&crossings).await;
    for (direct, expected) in [
        (&stays, [Membership::Join, Membership::Join]),
        (&goes, [Membership::Leave, Membership::Leave]),
        // A room of friends that no request was for is theirs to keep.
        (&other, [Membership::Invite, Membership::Join]),
    ] {
        let found = [house.membership(direct, &alice).await, house.membership(direct, &bob).await];
        assert_eq!(found, expected.map(Some));
    }
    assert!(house.has_friend(&alice, &bob.user_id).await && house.has_friend(&bob, &alice.user_id).await);
}
