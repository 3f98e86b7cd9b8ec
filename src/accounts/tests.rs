//! What tests of accounts share: a clock that stands still, randomness that repeats, watchers that remember.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use ruma::{OwnedServerName, server_name};

use super::*;
use crate::{
    clock::Clock,
    config,
    random::Random,
    store::{Store, ids::UserNid},
};

/// A clock that moves when it is told to.
pub(crate) struct FakeClock(AtomicI64);

impl Default for FakeClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_700_000_000_000))
    }
}

impl FakeClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that differ from call to call, and are the same in each run.
#[derive(Default)]
pub(crate) struct FakeRandom(AtomicU64);

impl Random for FakeRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&call.to_le_bytes()).finalize_xof().fill(bytes);
    }
}

/// Remembers whom it was told of.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) woken: Mutex<Vec<UserNid>>,
    pub(crate) profiles: Mutex<Vec<(UserNid, String)>>,
    pub(crate) deactivated: Mutex<Vec<UserNid>>,
}

impl DeviceWatcher for Told {
    fn device_changed(&self, _: &WriteTx<'_>, _: UserNid, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Wake for Told {
    fn wake_user(&self, user: UserNid) {
        self.woken.lock().unwrap().push(user);
    }
}

impl ProfileWatcher for Told {
    fn profile_changed(&self, user: UserNid, field: &FieldName) {
        let field = field.as_str().to_owned();
        self.profiles.lock().unwrap().push((user, field));
    }
}

impl DeactivationWatcher for Told {
    fn deactivated(&self, user: UserNid) {
        self.deactivated.lock().unwrap().push(user);
    }
}

/// The server of these tests.
pub(crate) fn server() -> OwnedServerName {
    server_name!("a.example").to_owned()
}

/// A guest's account, and what the services around it are made of.
struct Fixture {
    store: Store,
    told: Arc<Told>,
    clock: Arc<FakeClock>,
    last_seen: Arc<LastSeen>,
    sessions: Arc<Sessions>,
    session: Session,
    _folder: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    let clock = Arc::new(FakeClock::default());
    let random = Arc::new(FakeRandom::default());
    let last_seen = Arc::new(LastSeen::default());
    let told = Arc::<Told>::default();
    let load = Sessions::load(store.clone(), clock.clone(), random.clone(), last_seen.clone(), told.clone());
    let sessions = Arc::new(load.await.unwrap());
    let registration = Registration::new(
        store.clone(),
        clock.clone(),
        random.clone(),
        Arc::new(Passwords::new(random)),
        sessions.clone(),
        Arc::new(UserNames::new(server(), Vec::new())),
        config::Registration { guests: true, ..Default::default() },
    );
    let tokens = registration.guest(None).await.unwrap().tokens.unwrap();
    let session = sessions.authenticate(&tokens.access_token).await.unwrap();
    Fixture { store, told, clock, last_seen, sessions, session, _folder: folder }
}

#[tokio::test]
async fn changes_of_a_profile_are_told_and_nothing_else() {
    let f = fixture().await;
    let profiles = Profiles::new(f.store, f.told.clone());
    let field = |name: &str| FieldName::parse(name).unwrap();
    let user = f.session.user;
    for value in ["Alice", "Alice", "Al", ""] {
        profiles.set(user, field("displayname"), &value.into()).await.unwrap();
    }
    profiles.delete(user, field("displayname")).await.unwrap();
    let avatar = "https://nonsense".into();
    profiles.set(user, field("avatar_url"), &avatar).await.unwrap_err();
    let told = f.told.profiles.lock().unwrap().clone();
    assert_eq!(told, vec![(user, "displayname".to_owned()); 3]);
}

#[tokio::test]
async fn changes_of_account_data_wake_their_user() {
    let f = fixture().await;
    let account_data = Arc::new(AccountData::new(f.store.clone(), f.told.clone()));
    let rules = PushRules::new(f.store, account_data.clone());
    let user = f.session.user;
    let set = async |kind: &str| account_data.set(user, None, kind.into(), "{}".into()).await;
    set("org.example").await.unwrap();
    set("m.fully_read").await.unwrap_err();
    let kind = ruma::push::RuleKind::Override;
    rules.set_enabled(&f.session, kind.clone(), ".m.rule.master".into(), true).await.unwrap();
    rules.remove(&f.session, kind, "none".into()).await.unwrap_err();
    assert_eq!(*f.told.woken.lock().unwrap(), [user; 2]);
}

#[tokio::test]
async fn the_end_of_an_account_is_told() {
    let f = fixture().await;
    let deactivation = Deactivation::new(f.store, f.clock, f.sessions, f.told.clone());
    deactivation.deactivate(f.session.user, false).await.unwrap();
    assert_eq!(*f.told.deactivated.lock().unwrap(), [f.session.user]);
}

#[tokio::test]
async fn accesses_are_shown_before_and_after_they_are_written() {
    let f = fixture().await;
    let devices = Devices::new(f.store.clone(), f.sessions.clone(), f.last_seen.clone());
    f.clock.advance(5000);
    f.sessions.note_use(&f.session, Some([192, 0, 2, 1].into()), Some("A"));
    let noted = devices.list(f.session.user).await.unwrap();
    assert_eq!(noted[0].last_seen_ts, f.clock.now_ms());
    assert_eq!(noted[0].last_seen_ip.as_deref(), Some("192.0.2.1"));
    f.last_seen.flush(&f.store).await.unwrap();
    assert_eq!(f.last_seen.noted(f.session.device), None);
    assert_eq!(devices.list(f.session.user).await.unwrap(), noted);
}
