//! Who lifts an ended mute when the group's own server is silent: b.example, whose user owns a group that a.example made.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use linkim_federation::SigningKey;
use ruma::{CanonicalJsonObject, OwnedServerName, OwnedUserId, RoomVersionId, server_name, user_id};
use serde_json::{Value, json};

use super::{
    Changes, Groups, Mute, ServiceUser, create::create_content, mutes, settings::MUTE, silent_server::OthersGroups,
};
use crate::{
    clock::Clock,
    params,
    random::OsRandom,
    rooms::{
        append::{Appenders, LocalEvent, NewRoom, NoWake, Signer},
        membership::Membership,
        state,
        state_hash::StateHashKey,
    },
    store::{Store, StoreError, ids, ids::RoomKey},
};

const MINUTE: i64 = 60_000;

/// When the mute of [`Scene`] ends.
const END: i64 = 100 * MINUTE;

#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A group of a.example's with members of both servers, in which bob of b.example is muted until [`END`].
struct Scene {
    store: Store,
    appenders: Arc<Appenders>,
    clock: Arc<TestClock>,
    room: Arc<RoomKey>,
    groups: Groups,
    others: OthersGroups,
    _folder: tempfile::TempDir,
}

fn content(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn bob() -> OwnedUserId {
    user_id!("@bob:b.example").to_owned()
}

impl Scene {
    /// `owner` is at 100.
    async fn new(owner: OwnedUserId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "b.example").unwrap();
        let clock = Arc::<TestClock>::default();
        clock.0.store(END - 10 * MINUTE, Ordering::Relaxed);
        let signer =
            Signer { server_name: own(), key: SigningKey::generate([1; 32], "1").unwrap(), random: Arc::new(OsRandom) };
        let key = StateHashKey::new([2; 32]);
        let appenders = Arc::new(Appenders::new(store.clone(), clock.clone(), signer, key, Arc::new(NoWake)));
        for user in [bob(), user_id!("@olga:b.example").to_owned()] {
            let made = store.write::<_, StoreError, _>(move |tx| {
                let user = ids::intern_user(tx, &user)?;
                tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![user])
            });
            made.await.unwrap();
        }
        let service = user_id!("@_linkim:a.example").to_owned();
        let state = |kind: &str, key: &str, value: Value| LocalEvent::state(service.clone(), kind, key, content(value));
        let mute = Mute { user_id: bob().to_string(), until_ts: END, former_level: 50 };
        let mut events = vec![
            state("m.room.member", service.as_str(), json!({ "membership": "join" })),
            state(
                "m.room.power_levels",
                "",
                json!({
                    "users": { owner.clone(): 100, bob(): -1 }, "events": { MUTE: 100, "m.room.power_levels": 100 },
                }),
            ),
            state("m.room.join_rules", "", json!({ "join_rule": "public" })),
            state("org.linkim.group.settings", "", json!({ "owner": &owner })),
        ];
        let users = [owner, bob(), user_id!("@alice:a.example").to_owned()];
        events.extend(users.into_iter().map(|user| {
            LocalEvent::state(user.clone(), "m.room.member", user, content(json!({ "membership": "join" })))
        }));
        events.push(LocalEvent::state(service.clone(), MUTE, mutes::key(&bob()), mute.content(&service)));
        let new = NewRoom { version: RoomVersionId::V12, creator: service, create_content: create_content() };
        let nid = appenders.create(new, events, None).await.unwrap().0.nid;
        let room = store.read::<_, StoreError, _>(move |read| ids::room_by_nid(read, nid)).await.unwrap();
        assert!(room.service.is_some(), "it is a group");
        let groups = started(&store, &appenders, &clock).await;
        Self { store, appenders, clock, room, groups, others: OthersGroups::default(), _folder: folder }
    }

    async fn at(&mut self, now_ms: i64) -> &mut Self {
        self.clock.0.store(now_ms, Ordering::Relaxed);
        self.groups.lift_for_silent_servers(&mut self.others).await.unwrap();
        self
    }

    /// Bob's level, and whether his mute stands.
    async fn bob(&self) -> (Value, bool) {
        let room = self.room.nid;
        let read = self.store.read::<_, StoreError, _>(move |read| {
            let levels: Value = state::current_content(read, room, "m.room.power_levels", "")?.unwrap_or_default();
            Ok((levels["users"][bob().as_str()].clone(), mutes::of_user(read, room, &bob())?.is_some()))
        });
        read.await.unwrap()
    }

    async fn append(&self, event: LocalEvent) {
        self.appenders.append(self.room.nid, vec![event], None).await.unwrap();
    }
}

fn own() -> OwnedServerName {
    server_name!("b.example").to_owned()
}

/// b.example, from now on.
async fn started(store: &Store, appenders: &Arc<Appenders>, clock: &Arc<TestClock>) -> Groups {
    let membership = Arc::new(Membership::new(store.clone(), appenders.clone(), own()));
    let service = ServiceUser::ensure(store, &own(), 0).await.unwrap();
    let changes = Arc::<Changes>::default();
    Groups::new(store.clone(), appenders.clone(), membership, clock.clone(), own(), service, changes)
}

fn olga() -> OwnedUserId {
    user_id!("@olga:b.example").to_owned()
}

#[tokio::test]
async fn after_ten_minutes_the_owners_server_does() {
    let mut scene = Scene::new(olga()).await;
    let muted = (json!(-1), true);
    assert_eq!(scene.bob().await, muted);
    for now_ms in [END, END + 9 * MINUTE, END + 10 * MINUTE - 1] {
        assert_eq!(scene.at(now_ms).await.bob().await, muted, "{now_ms}");
    }
    assert_eq!(scene.at(END + 11 * MINUTE).await.bob().await, (json!(50), false), "what he was before");
}

#[tokio::test]
async fn a_server_that_speaks_is_not_silent() {
    let mut scene = Scene::new(olga()).await;
    scene.at(END + 5 * MINUTE).await;
    let said = content(json!({ "body": "hello", "msgtype": "m.text" }));
    scene.append(LocalEvent::message(user_id!("@alice:a.example").to_owned(), "m.room.message", said.clone())).await;
    assert_eq!(scene.at(END + 11 * MINUTE).await.bob().await, (json!(-1), true));
    // What its own users say is no sign of the other's life.
    scene.append(LocalEvent::message(olga(), "m.room.message", said)).await;
    assert_eq!(scene.at(END + 16 * MINUTE).await.bob().await, (json!(50), false));
}

/// The group's server may have lifted it long since: a server that was away itself hears that first.
#[tokio::test]
async fn silence_counts_from_the_start() {
    let mut scene = Scene::new(olga()).await;
    scene.clock.0.store(END + 60 * MINUTE, Ordering::Relaxed);
    scene.groups = started(&scene.store, &scene.appenders, &scene.clock).await;
    assert_eq!(scene.at(END + 69 * MINUTE).await.bob().await, (json!(-1), true));
    assert_eq!(scene.at(END + 71 * MINUTE).await.bob().await, (json!(50), false));
}

#[tokio::test]
async fn only_the_owners_server_does() {
    let mut scene = Scene::new(user_id!("@alice:a.example").to_owned()).await;
    assert_eq!(scene.at(END + 24 * 60 * MINUTE).await.bob().await, (json!(-1), true));
}

#[tokio::test]
async fn a_newer_mute_holds() {
    let mut scene = Scene::new(olga()).await;
    scene.at(END + 5 * MINUTE).await;
    let newer = Mute { user_id: bob().to_string(), until_ts: END + 60 * MINUTE, former_level: 50 };
    scene.append(LocalEvent::state(olga(), MUTE, mutes::key(&bob()), newer.content(&olga()))).await;
    assert_eq!(scene.at(END + 69 * MINUTE).await.bob().await, (json!(-1), true));
    assert_eq!(scene.at(END + 71 * MINUTE).await.bob().await, (json!(50), false));
}
