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
        blake3::Hasher::new()
            .update(&call.to_le_bytes())
            .finalize_xof()
            .fill(bytes);
    }
}

/// Remembers whom it was told of.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) woken: Mutex<Vec<UserNid>>,
    pub(crate) profiles: Mutex<Vec<(UserNid, String)>>,
    pub(crate) deactivated: Mutex<Vec<UserNid>>,
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

/// All services over one fresh database.
pub(crate) struct Services {
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) told: Arc<Told>,
    pub(crate) store: Store,
    pub(crate) last_seen: Arc<LastSeen>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) names: Arc<UserNames>,
    pub(crate) registration: Arc<Registration>,
    pub(crate) login: Arc<Login>,
    pub(crate) uia: Arc<Uia>,
    pub(crate) devices: Arc<Devices>,
    pub(crate) deactivation: Arc<Deactivation>,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) account_data: Arc<AccountData>,
    pub(crate) tags: Arc<Tags>,
    pub(crate) push_rules: Arc<PushRules>,
    pub(crate) filters: Arc<Filters>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) shared_secret: Arc<SharedSecret>,
    _folder: tempfile::TempDir,
}

/// The server of these tests.
pub(crate) fn server() -> OwnedServerName {
    server_name!("a.example").to_owned()
}

impl Services {
    pub(crate) async fn new(policy: config::Registration, limited: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let clock = Arc::new(FakeClock::default());
        let random = Arc::new(FakeRandom::default());
        let told = Arc::new(Told::default());
        let last_seen = Arc::new(LastSeen::default());
        let load = Sessions::load(store.clone(), clock.clone(), random.clone(), last_seen.clone());
        let sessions = Arc::new(load.await.unwrap());
        let names = Arc::new(UserNames::new(server(), policy.reserved_names.clone()));
        let passwords = Arc::new(Passwords::new(random.clone()));
        let limits = Arc::new(RateLimits::new(limited, clock.clone()));
        let secret = policy.shared_secret.clone();
        let shared_secret = SharedSecret::new(secret, clock.clone(), random.clone());
        let registration = Arc::new(Registration::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            passwords.clone(),
            sessions.clone(),
            names.clone(),
            policy,
        ));
        let login = Login::new(store.clone(), passwords, sessions.clone(), limits.clone());
        let login = Arc::new(login);
        let uia = Uia::new(
            login.clone(),
            registration.clone(),
            names.clone(),
            clock.clone(),
            random,
        );
        let account_data = Arc::new(AccountData::new(store.clone(), told.clone()));
        Self {
            devices: Arc::new(Devices::new(store.clone(), sessions.clone(), last_seen.clone())),
            deactivation: Arc::new(Deactivation::new(
                store.clone(),
                clock.clone(),
                sessions.clone(),
                told.clone(),
            )),
            profiles: Arc::new(Profiles::new(store.clone(), told.clone())),
            tags: Arc::new(Tags::new(store.clone(), account_data.clone())),
            push_rules: Arc::new(PushRules::new(store.clone(), account_data.clone())),
            filters: Arc::new(Filters::new(store.clone())),
            shared_secret: Arc::new(shared_secret),
            uia: Arc::new(uia),
            account_data,
            login,
            registration,
            limits,
            names,
            sessions,
            last_seen,
            told,
            clock,
            store,
            _folder: folder,
        }
    }
}
