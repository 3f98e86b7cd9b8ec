//! Direct rooms, found and made, on a whole server in this process.

use std::{net::SocketAddr, sync::Arc};

use axum::{body::Body, extract::ConnectInfo, http::Request};
use http_body_util::BodyExt as _;
use ruma::UserId;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Contacts, Direct, OpenError, Requested, friends, settings};
use crate::{
    accounts::{
        Session,
        tests::{FakeClock, FakeRandom, server},
    },
    app,
    config::Config,
    numbers::User,
    ops::data_dir,
    store::{StoreError, friend_requests, members, members::Membership},
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
    let direct = house.contacts.open_direct(&alice, &user(&bob)).await.unwrap();
    assert!(direct.joined);
    assert_eq!(house.membership(&direct, &bob).await, Some(Membership::Join));
    assert!(!house.has_friend(&alice, &bob.user_id).await && !house.has_friend(&bob, &alice.user_id).await);
    assert!(!house.is_asked(&alice, &bob).await);
    // The other one finds the same, and nobody has one with themselves.
    let same = house.contacts.open_direct(&bob, &user(&alice)).await.unwrap();
    assert_eq!((same.room.nid, same.joined), (direct.room.nid, true));
    let own = house.contacts.open_direct(&alice, &user(&alice)).await;
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
        async move { contacts.open_direct(&by, &peer).await.unwrap().room.nid }
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
    let waits = house.contacts.open_direct(&alice, &user(&bob)).await.unwrap();
    assert!(!waits.joined);
    assert_eq!(house.membership(&waits, &bob).await, Some(Membership::Invite));
    // Whoever writes back accepts.
    let answered = house.contacts.open_direct(&bob, &user(&alice)).await.unwrap();
    assert_eq!((answered.room.nid, answered.joined), (waits.room.nid, true));
    assert!(house.has_friend(&alice, &bob.user_id).await);
}

#[tokio::test]
async fn who_has_left_is_asked_to_come_back() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let direct = house.contacts.open_direct(&alice, &user(&bob)).await.unwrap();
    house.app.state().leaving.leave(&bob, &direct.room.room_id, None).await.unwrap();
    let again = house.contacts.open_direct(&alice, &user(&bob)).await.unwrap();
    assert_eq!((again.room.nid, again.joined), (direct.room.nid, false));
    assert_eq!(house.membership(&again, &bob).await, Some(Membership::Invite));
}

#[tokio::test]
async fn who_is_blocked_or_a_stranger_opens_nothing() {
    let house = House::with(|_| {}).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.set(&bob, settings::KIND, json!({ "strangers_may_add": false })).await;
    let refused = house.contacts.open_direct(&alice, &user(&bob)).await;
    assert!(matches!(refused, Err(OpenError::RefusesStrangers)), "{refused:?}");
    let ignored = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    house.set(&bob, "m.ignored_user_list", ignored).await;
    let refused = house.contacts.open_direct(&alice, &user(&bob)).await;
    assert!(matches!(refused, Err(OpenError::Blocked)), "{refused:?}");
}

#[tokio::test]
async fn a_block_that_is_not_revealed_leaves_the_room_to_the_sender() {
    let house = House::with(|config| config.linkim.reveal_block = false).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let ignored = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    house.set(&bob, "m.ignored_user_list", ignored).await;
    let direct = house.contacts.open_direct(&alice, &user(&bob)).await.unwrap();
    assert!(!direct.joined);
    assert_eq!(house.membership(&direct, &alice).await, Some(Membership::Join));
}

#[tokio::test]
async fn only_friends_open_a_room_where_the_configuration_says_so() {
    let house = House::with(|config| config.linkim.friend_verify = true).await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    let refused = house.contacts.open_direct(&alice, &user(&bob)).await;
    assert!(matches!(refused, Err(OpenError::NotFriends)), "{refused:?}");
    house.contacts.request(&alice, &user(&bob), "").await.unwrap();
    house.contacts.accept(&bob, &user(&alice)).await.unwrap();
    assert!(house.contacts.open_direct(&alice, &user(&bob)).await.unwrap().joined);
}
